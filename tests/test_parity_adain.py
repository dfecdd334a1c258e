"""Against numbers computed with the official implementations (tests/parity/adain; sources in its README)."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from stlib import images, runtime
from stlib.losses.perceptual import content_loss, moment_loss
from stlib.nets.adain import Decoder
from stlib.nets.normalization import adaptive_instance_norm, channel_moments

FOLDER = Path(__file__).parent / "parity" / "adain"
TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
NARROW = dict(channels=16, stages=((8,), (8, 8, 8, 6), (6, 4), (4, 3)))  # 512, 256, 128, 64 made 16, 8, 6, 4
DOUBLE, SINGLE = torch.float64, torch.float32


def numbers(case, dtype=DOUBLE):
    return {name: tensor.to(dtype) for name, tensor in load_file(FOLDER / f"{case}.safetensors").items()}


def near(found, expected, tolerance, relative=False):
    assert found.shape == expected.shape
    scale = expected.abs().max().item() if relative else 1
    assert (found - expected).abs().max().item() <= tolerance * scale


@pytest.fixture(autouse=True)
def no_bfloat16(monkeypatch):
    """The numbers are those of float64 and float32; where bfloat16 is quicker the decoder would take it."""
    monkeypatch.setattr(runtime, "fast_dtype", lambda where: SINGLE)


# Statistics and AdaIN -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype, tolerance", [(DOUBLE, 1e-12), (SINGLE, 1e-5)])
def test_statistics_and_adain_of_the_port(dtype, tolerance):
    case, exact = numbers("stats_adain", dtype), numbers("stats_adain")
    content, style = case["content"].requires_grad_(True), case["style"].requires_grad_(True)
    moments = {name: channel_moments(features, correction=1) for name, features in (("c", content), ("s", style))}
    for name, whole in (("c", "content"), ("s", "style")):
        for found, which in zip(moments[name], ("mean", "std"), strict=True):
            near(found, exact[f"{whole}_{which}"], tolerance)
    t = adaptive_instance_norm(content, style, correction=1)
    near(t, exact["out_alpha_100"], tolerance)
    for alpha, name in ((0.3, "out_alpha_030"), (1.0, "out_alpha_100")):
        near(alpha * t + (1 - alpha) * content, exact[name], tolerance)
        mean, std = (alpha * s + (1 - alpha) * c for c, s in zip(moments["c"], moments["s"], strict=True))
        near(std * (content - moments["c"][0]) / moments["c"][1] + mean, exact[name], tolerance)  # as stylize blends
    gradients = torch.autograd.grad((case["probe"] * t).sum(), (content, style))
    for found, name in zip(gradients, ("grad_content", "grad_style"), strict=True):
        near(found, exact[name], 10 * tolerance if dtype == DOUBLE else tolerance)


def test_the_two_corrections_are_told_apart():
    case = numbers("stats_adain")
    biased = adaptive_instance_norm(case["content"], case["style"])
    assert (biased - case["out_alpha_100"]).abs().max() > 1e-3


@pytest.mark.parametrize("dtype, tolerance", [(DOUBLE, 1e-12), (SINGLE, 1e-5)])
def test_adain_of_the_authors(dtype, tolerance):
    case = numbers("original_lua_forms", dtype)
    found = adaptive_instance_norm(case["content"], case["style"], style_eps=0)
    near(found, numbers("original_lua_forms")["adain"], tolerance)


@pytest.mark.parametrize("dtype, tolerance", [(DOUBLE, 1e-12), (SINGLE, 1e-5)])
@pytest.mark.parametrize("form, eps", [("", 0), ("_eps", 1e-6)])
@pytest.mark.parametrize("tap", range(4))
def test_style_loss_of_the_authors(tap, form, eps, dtype, tolerance):
    case, exact = numbers("original_lua_forms", dtype), numbers("original_lua_forms")
    features, target = case[f"tap{tap}.input"].requires_grad_(True), case[f"tap{tap}.target"]
    loss = moment_loss(features, target, "sum", eps=eps, target_eps=0)
    near(loss, exact[f"tap{tap}.loss{form}"], tolerance)
    near(torch.autograd.grad(loss, features)[0], exact[f"tap{tap}.grad{form}"], tolerance)
    mean = moment_loss(features, target, "mean", eps=eps, target_eps=0)
    near(exact["mean_form_weight"][tap] * mean, 1e-2 * exact[f"tap{tap}.loss{form}"], tolerance)


def test_weights_of_the_mean_form_at_the_real_widths():
    weights = numbers("original_lua_forms")["mean_form_weight_vgg"]
    for channels, weight in zip((64, 128, 256, 512), weights, strict=True):
        random = torch.Generator().manual_seed(channels)
        pair = [torch.rand(2, channels, *size, generator=random, dtype=DOUBLE) for size in ((3, 4), (5, 3))]
        near(weight * moment_loss(*pair), 1e-2 * moment_loss(*pair, "sum"), 1e-12)


# Colours --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype, tolerance", [(DOUBLE, 1e-10), (SINGLE, 1e-4)])
def test_coral(dtype, tolerance):
    case = numbers("coral", dtype)
    found = images.coral(case["source"][None], case["target"][None])[0]
    near(found, case["out" if dtype == DOUBLE else "out_official_float32"], tolerance)
    near(found, numbers("coral")["out_official_float32"], 1e-4)


# Networks and losses --------------------------------------------------------------------------------------------------


def with_weights(module, case, prefix):
    """`module` with the fixture's numbers in the order of its parameters."""
    names = sorted(name for name in case if name.startswith(prefix + "."))
    for parameter, name in zip(module.parameters(), names, strict=True):
        parameter.data.copy_(case[name])
    return module


def decoder(case, dtype):
    return with_weights(Decoder(**NARROW).to(dtype), case, "decoder")


@pytest.mark.parametrize("dtype, tolerance", [(DOUBLE, 1e-11), (SINGLE, 1e-5)])
def test_decoder(dtype, tolerance):
    case = numbers("decoder", dtype)
    near(decoder(case, dtype)(case["z"]), numbers("decoder")["image"], tolerance)


class Encoder(nn.Module):
    """The official encoder with 4, 6, 8, 16 channels: VGG-19 to relu4_1 after a 1 x 1 convolution of the colours."""

    def __init__(self):
        super().__init__()
        layers, before = [nn.Conv2d(3, 3, 1)], 3
        for block, (width, number) in enumerate(((4, 2), (6, 2), (8, 4), (16, 1))):
            layers += [nn.MaxPool2d(2, ceil_mode=True)] if block else []
            for _ in range(number):
                layers += [nn.Conv2d(before, width, 3, padding=1, padding_mode="reflect"), nn.ReLU()]
                before = width
        self.layers = nn.Sequential(*layers)
        self.ends = (2, 7, 12, 21)  # relu1_1, relu2_1, relu3_1, relu4_1

    def forward(self, x):
        taps = []
        for number, layer in enumerate(self.layers):
            x = layer(x)
            taps += [x] if number in self.ends else []
        return taps


@pytest.fixture(params=[DOUBLE, SINGLE], ids=["float64", "float32"])
def training(request):
    """The case, the two networks, and the tolerances of losses and of everything else."""
    case, dtype = numbers("net_losses", request.param), request.param
    encoder = with_weights(Encoder().to(dtype), case, "encoder").requires_grad_(False)
    return case, encoder, decoder(case, dtype), ((1e-10, 1e-9) if dtype == DOUBLE else (1e-4, 1e-4))


def test_the_encoder_of_this_test_is_the_official_one(training):
    case, encoder, _, (_, tolerance) = training
    for name, found in zip(TAPS, encoder(case["odd_image"]), strict=True):
        near(found, numbers("net_losses")[f"odd_{name}"], tolerance, relative=True)


@pytest.mark.parametrize("part, alpha", [("a030", 0.3), ("a100", 1.0)])
def test_losses_of_a_training_step(training, part, alpha):
    case, encoder, decoder, (of_losses, tolerance) = training
    exact = {name.split(".", 1)[1]: t for name, t in numbers("net_losses").items() if name.startswith(part)}
    wanted, f = encoder(case["style"]), encoder(case["content"])[-1]
    t = alpha * adaptive_instance_norm(f, wanted[-1], correction=1) + (1 - alpha) * f
    g = decoder(t)
    near(t, exact["t"], tolerance, relative=True)
    near(g[:1], exact["g"], tolerance, relative=True)
    found = encoder(g)
    content = content_loss(found[-1], t)
    style = torch.stack([moment_loss(a, b, correction=1) for a, b in zip(found, wanted, strict=True)])
    near(content, exact["loss_c"], of_losses, relative=True)
    near(style, exact["loss_s_taps"], of_losses, relative=True)
    near(style.sum(), exact["loss_s"], of_losses, relative=True)
    parameters = list(decoder.parameters())
    chosen = {"grad_dec_first": parameters[0], "grad_dec_last": parameters[16], "grad_dec_last_bias": parameters[17]}
    gradients = torch.autograd.grad(content + 10 * style.sum(), list(chosen.values()))
    for name, gradient in zip(chosen, gradients, strict=True):
        near(gradient, exact[name], tolerance, relative=True)
