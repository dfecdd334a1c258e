"""StyleGAN2: the formulas behind the shortcuts, the places of the code, noise, odd batches, files of all kinds."""

import argparse
import copy
import math
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from stlib.losses.adversarial import path_length, r1
from stlib.nets.stylegan2 import (
    CheckpointError,
    Discriminator,
    Generator,
    ModulatedConv,
    channel_table,
    discriminator_from,
    generator_from,
    load_public,
    minibatch_std,
)

pytestmark = pytest.mark.usefixtures("one_thread")
NARROW = {4: 8, 8: 7, 16: 6, 32: 5, 64: 4}


def randomised(network, seed=0):
    """Biases, noise strengths and all else away from the zeros of the start, which would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        scale = 100 if name.startswith("style.") and name.endswith("weight") else 1
        parameter.data.copy_(scale * torch.randn(parameter.shape, generator=generator))
    return network


@pytest.fixture
def generator():
    torch.manual_seed(0)
    return randomised(Generator(16, 12, 2, NARROW))


@pytest.fixture
def discriminator():
    torch.manual_seed(0)
    return randomised(Discriminator(16, NARROW))


# The formulas ---------------------------------------------------------------------------------------------------------


def plain_modulated(x, w, layer, demodulate):
    """Weights of its own for each picture, and a grouped convolution: the formulation of the paper."""
    batch, width, side = len(x), layer.weight.shape[1], layer.weight.shape[-1]
    s = w @ layer.modulation.weight.T / math.sqrt(w.shape[1]) + layer.modulation.bias
    weight = layer.weight * s[:, None, :, None, None] / math.sqrt(layer.weight[0, 0].numel())
    if demodulate:
        weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    grouped = x.reshape(1, -1, *x.shape[2:])
    if layer.blur is None:
        y = functional.conv2d(grouped, weight.flatten(0, 1), padding=side // 2, groups=batch)
    else:
        y = functional.conv_transpose2d(grouped, weight.transpose(1, 2).flatten(0, 1), stride=2, groups=batch)
        taps = torch.tensor([1.0, 3, 3, 1], dtype=x.dtype)
        kernel = (torch.outer(taps, taps) / 16).expand(batch * width, 1, 4, 4)
        y = functional.conv2d(y, kernel, padding=1, groups=batch * width)
    return y.view(batch, width, *y.shape[2:])


@pytest.mark.parametrize("side, upsample, demodulate", [(3, False, True), (3, True, True), (1, False, False)])
def test_scaling_the_maps_is_modulating_the_weights(side, upsample, demodulate):
    layer = randomised(ModulatedConv(5, 4, side, 6, upsample)).double()
    inputs = [torch.randn(3, 5, 4, 6).double().requires_grad_(True), torch.randn(3, 6).double().requires_grad_(True)]
    inputs += [layer.weight, layer.modulation.weight, layer.modulation.bias]
    y, factors = layer(*inputs[:2])
    ours = y * factors[..., None, None] if demodulate else y
    plain = plain_modulated(*inputs[:2], layer, demodulate)
    torch.testing.assert_close(ours, plain)
    probe = torch.randn_like(plain)
    first = [torch.autograd.grad((of * probe).sum(), inputs, create_graph=True) for of in (ours, plain)]
    second = [torch.autograd.grad(sum(g.square().sum() for g in of), inputs, allow_unused=True) for of in first]
    for found, expected in (*zip(*first, strict=True), *zip(*second, strict=True)):
        torch.testing.assert_close(found, expected)


def test_a_demodulated_layer_does_not_see_the_size_of_a_style():
    layer, x, w = (
        randomised(ModulatedConv(5, 4, 3, 6)).double(),
        torch.randn(2, 5, 4, 4).double(),
        torch.randn(2, 6).double(),
    )
    y, factors = layer(x, w)
    layer.modulation.weight.data *= 7
    layer.modulation.bias.data *= 7
    larger, smaller = layer(x, w)
    torch.testing.assert_close(larger, 7 * y)
    torch.testing.assert_close(larger * smaller[..., None, None], y * factors[..., None, None])


def test_maps_keep_their_variance_at_the_start():
    """What demodulation, equalised rates and sqrt(2) are for; without the gain each layer would lose half."""
    torch.manual_seed(0)
    network, z = Generator(32, 64, 8, dict.fromkeys(NARROW, 64)), torch.randn(64, 64)
    assert 0.5 < network.mapping(z).square().mean() < 2
    with torch.no_grad():
        for x in network.activations(network.mapping(z)):
            assert 0.1 < x.square().mean() < 3  # the blur takes a little; 7 lost halves would leave 1/128
        pictures = network(z)
        for x in Discriminator(32, dict.fromkeys(NARROW, 64)).features(torch.randn_like(pictures)).values():
            assert 0.1 < x.square().mean() < 3


def test_initialisation():
    torch.manual_seed(0)
    network = Generator(16, 128, 2, dict.fromkeys(NARROW, 32))
    state, spread = network.state_dict(), {}
    for name, tensor in state.items():
        if name.endswith("modulation.bias"):
            assert (tensor == 1).all()
        elif name.endswith(("bias", "noise.weight")):
            assert (tensor == 0).all()
        elif "kernel" in name:
            assert tensor.sum() == 4
        else:
            spread[name] = tensor.std().item()
    for name, std in spread.items():
        wanted = 100 if name.startswith("style") else 1  # stored divided by the learning rate 0.01
        assert std == pytest.approx(wanted, rel=0.25), name
    for name, tensor in Discriminator(16, NARROW).state_dict().items():
        assert "kernel" not in name or tensor.sum() == pytest.approx(1)


# Z, W, W+ -------------------------------------------------------------------------------------------------------------


def test_only_the_direction_of_z_counts(generator):
    z = torch.randn(3, 12)
    torch.testing.assert_close(generator.mapping(5 * z), generator.mapping(z))
    normalised = generator.style[0](z)
    torch.testing.assert_close(normalised.square().mean(1), torch.ones(3))  # the mean of squares, not their sum


def test_z_w_and_the_expanded_code_give_the_same_pictures(generator):
    z = torch.randn(2, 12)
    w = generator.mapping(z)
    expected = generator(z, noise="fixed")
    assert expected.shape == (2, 3, 16, 16)
    torch.testing.assert_close(generator(w=w, noise="fixed"), expected)
    torch.testing.assert_close(generator(w=generator.expand(w), noise="fixed"), expected)
    torch.testing.assert_close(generator(w=w[1:], noise="fixed"), expected[1:])  # a picture is made alone


def test_each_place_of_the_code_reaches_what_it_should(generator):
    w = torch.randn(1, 6, 12).requires_grad_(True)
    maps, picture = generator.activations(w), generator(w=w, noise="fixed")
    for number, x in enumerate(maps):
        reached = torch.autograd.grad(x.sum(), w, retain_graph=True)[0].abs().amax(dim=(0, 2)) > 0
        assert reached.tolist() == [place <= number for place in range(6)]  # the last place reaches no map
    assert (torch.autograd.grad(picture.sum(), w)[0].abs().amax(dim=(0, 2)) > 0).all()


def test_mixing(generator):
    z, z2 = torch.randn(2, 2, 12)
    w, w2 = generator.mapping(z), generator.mapping(z2)
    mixed = generator.mix(w, w2, 2)
    assert mixed.shape == (2, 6, 12) and (mixed[:, :2] == w[:, None]).all() and (mixed[:, 2:] == w2[:, None]).all()
    torch.testing.assert_close(generator(z, mix=(z2, 2), noise="fixed"), generator(w=mixed, noise="fixed"))
    torch.testing.assert_close(generator(w=w, mix=(w2, 2), noise="fixed"), generator(w=mixed, noise="fixed"))
    assert (generator.mix(w, w2, 0) == w2[:, None]).all() and (generator.mix(w, w2, 6) == w[:, None]).all()
    with pytest.raises(ValueError, match="between 0 and 6, not 7"):
        generator.mix(w, w2, 7)


def test_truncation(generator):
    z = torch.randn(2, 12)
    with pytest.raises(ValueError, match="call mean_latent"):
        generator(z, truncation=0.5)
    draws = torch.Generator().manual_seed(1)
    mean = generator.mean_latent(50, draws)
    expected = generator.mapping(torch.randn(50, 12, generator=draws.manual_seed(1))).mean(0, keepdim=True)
    torch.testing.assert_close(mean, expected)  # the mean of mapped latents, not the mapped mean
    w = generator.mapping(z)
    half = generator(w=mean + 0.5 * (w - mean), noise="fixed")
    torch.testing.assert_close(generator(z, truncation=0.5, noise="fixed"), half)
    at_zero = generator(z, truncation=0, noise="fixed")
    torch.testing.assert_close(at_zero[0], at_zero[1])
    assert "latent_avg" not in generator.state_dict()
    assert copy.deepcopy(generator).double().latent_avg.dtype == torch.float64


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda g: g(), "latents z or a code w, and not both"),
        (lambda g: g(torch.zeros(1, 12), w=torch.zeros(1, 12)), "latents z or a code w, and not both"),
        (lambda g: g(w=torch.zeros(1, 5, 12)), r"\(B, 12\) or \(B, 6, 12\), not \(1, 5, 12\)"),
        (lambda g: g(w=torch.zeros(1, 11)), r"not \(1, 11\)"),
        (
            lambda g: g(torch.zeros(1, 12), noise="constant"),
            "'random', 'fixed', 'none' or a list of maps, not 'constant'",
        ),
        (lambda g: g(torch.zeros(1, 12), noise=[torch.zeros(1, 1, 4, 4)]), "takes 5 maps of noise, not 1"),
        (lambda g: Generator(48), "power of two from 8 on, not 48"),
        (lambda g: Discriminator(4), "power of two from 8 on, not 4"),
        (lambda g: Generator(16, channels={4: 3, 16: 3}), "it has none for 8"),
        (lambda g: Discriminator(16, NARROW)(torch.zeros(1, 3, 32, 32)), r"\(B, 3, 16, 16\), not \(1, 3, 32, 32\)"),
        (lambda g: Discriminator(16, NARROW)(torch.zeros(3, 3, 16, 16), parts=2), "3 pictures cannot be 2 batches"),
    ],
)
def test_errors_say_what_to_do(generator, call, message):
    with pytest.raises(ValueError, match=message):
        call(generator)


# Noise ----------------------------------------------------------------------------------------------------------------


def test_noise(generator):
    z = torch.randn(1, 12).repeat(2, 1)
    random = generator(z)
    assert (random[0] - random[1]).abs().max() > 1e-3  # maps of its own for each picture
    fixed = generator(z, noise="fixed")
    torch.testing.assert_close(fixed[0], fixed[1])
    buffers = [getattr(generator.noises, f"noise_{j}") for j in range(5)]
    torch.testing.assert_close(generator(z, noise=buffers), fixed)
    assert [tuple(m.shape) for m in generator.make_noise(2)] == [(2, 1, s, s) for s in (4, 8, 8, 16, 16)]
    first, second = (generator.make_noise(1, torch.Generator().manual_seed(4)) for _ in range(2))
    torch.testing.assert_close(generator(z, noise=first), generator(z, noise=second))
    for layer in (generator.conv1, *generator.convs):
        layer.noise.weight.data.zero_()
    torch.testing.assert_close(generator(z), generator(z, noise="none"))


def test_one_strength_for_a_layer_and_one_map_for_all_its_channels(generator):
    w = torch.randn(1, 12)
    grain = [torch.zeros(1, 1, s, s) for s in generator.noise_sizes()]
    grain[0] = torch.full((1, 1, 4, 4), 1e-3)
    layer = generator.conv1
    layer.activate.bias.data.fill_(100)  # far from the kink: the layer is linear there
    change = (generator.activations(w, grain)[0] - generator.activations(w, "none")[0]) / 1e-3
    expected = math.sqrt(2) * layer.noise.weight.item()
    torch.testing.assert_close(change, torch.full_like(change, expected), rtol=0.02, atol=0.02)


# The discriminator ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5, 6, 7, 8, 9, 12])
def test_minibatch_std_by_its_formula(batch):
    x, groups = torch.randn(batch, 3, 4, 4, dtype=torch.float64), math.ceil(batch / 4)
    expected = []
    for b in range(batch):
        mine = [x[i].flatten().tolist() for i in range(batch) if i % groups == b % groups]  # strided, not in a row
        columns = list(zip(*mine, strict=True))
        means = [sum(c) / len(c) for c in columns]
        variances = [sum((v - m) ** 2 for v in c) / len(c) for c, m in zip(columns, means, strict=True)]
        expected.append(sum(math.sqrt(v + 1e-8) for v in variances) / len(variances))
    torch.testing.assert_close(minibatch_std(x), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("batch", [1, 3, 5, 6, 7, 9])
def test_batches_that_the_group_does_not_divide(discriminator, batch):
    x = torch.randn(batch, 3, 16, 16).requires_grad_(True)
    logits = discriminator(x)
    assert logits.shape == (batch, 1) and logits.isfinite().all()
    penalty = r1(logits, x)
    penalty.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in discriminator.parameters())


def test_groups_of_a_batch_are_strided(discriminator):
    x = torch.randn(8, 3, 16, 16)
    logits = discriminator(x)
    torch.testing.assert_close(logits[::2], discriminator(x[::2]))
    assert (logits[:4] - discriminator(x[:4])).abs().max() > 1e-4


def test_two_batches_in_one_pass_are_two_passes(discriminator):
    made, real = torch.randn(4, 3, 16, 16), 3 * torch.randn(4, 3, 16, 16)
    apart = torch.cat([discriminator(made), discriminator(real)])
    together = torch.cat([made, real])
    torch.testing.assert_close(discriminator(together, parts=2), apart, rtol=1e-4, atol=1e-5)
    assert (discriminator(together) - apart).abs().max() > 1e-3  # simply joined they would share their statistics


def test_features_by_resolution(generator, discriminator):
    pictures = generator(torch.randn(2, 12))
    maps = discriminator.features(pictures)
    assert {r: tuple(m.shape) for r, m in maps.items()} == {r: (2, NARROW[r], r, r) for r in (16, 8, 4)}
    torch.testing.assert_close(discriminator.head(maps[4]), discriminator(pictures))
    maps = generator.features(torch.randn(2, 12))
    assert {r: tuple(m.shape) for r, m in maps.items()} == {r: (2, NARROW[r], r, r) for r in (4, 8, 16)}


# Precision and memory layout ------------------------------------------------------------------------------------------


def test_bfloat16_autocast(generator, discriminator):
    z = torch.randn(4, 12)

    def gradients(fast):
        for network in (generator, discriminator):
            network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            w = generator.mapping(z)
            pictures = generator(w=w, noise="fixed")
            logits = discriminator(pictures)
        functional.softplus(-logits).mean().backward()
        parameters = (*generator.parameters(), *discriminator.parameters())
        return w, pictures, logits, torch.cat([p.grad.flatten() for p in parameters])

    exact, fast = gradients(False), gradients(True)
    for found in fast:
        assert found.dtype == torch.float32
    torch.testing.assert_close(fast[0], exact[0])  # the mapping is not in bfloat16
    assert 1e-5 < (fast[1] - exact[1]).abs().max() / exact[1].abs().max() < 0.05
    assert (fast[2] - exact[2]).abs().max() < 0.1 * exact[2].abs().max()
    assert functional.cosine_similarity(fast[3], exact[3], dim=0) > 0.98


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_layout_of_the_pictures_does_not_matter(discriminator, layout):
    x = torch.randn(3, 3, 16, 16)
    laid = x.contiguous(memory_format=layout).requires_grad_(True)
    penalty = r1(discriminator(laid), laid)
    other = x.transpose(2, 3).contiguous().transpose(2, 3).requires_grad_(True)
    torch.testing.assert_close(penalty, r1(discriminator(other), other))
    assert discriminator.features(laid)[8].is_contiguous(memory_format=torch.channels_last)


def test_path_length_trains_all_that_shapes_the_picture(generator):
    w = generator.expand(generator.mapping(torch.randn(2, 12)))
    path_length(generator(w=w), w, 0.0)[0].backward()
    without = [name for name, p in generator.named_parameters() if p.grad is None]
    assert without == ["to_rgb1.bias", "to_rgbs.0.bias", "to_rgbs.1.bias"]


# Checkpoints ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def networks():
    """A generator and a discriminator of 64 pixels with widths that no table has, and an average unlike the rest."""
    torch.manual_seed(1)
    g, g_ema = (randomised(Generator(64, 10, 3, NARROW), seed) for seed in (1, 2))
    return g, g_ema, randomised(Discriminator(64, NARROW), 3)


@pytest.fixture
def checkpoint(networks):
    g, g_ema, d = networks
    return {"g": g.state_dict(), "g_ema": g_ema.state_dict(), "d": d.state_dict(), "latent_avg": torch.randn(10)}


def assert_loaded(found, networks, mean=None):
    _, g_ema, d = networks
    assert (found.generator.size, found.generator.style_dim, found.generator.n_latent) == (64, 10, 10)
    assert found.generator.channels == NARROW and len(found.generator.style) == 4
    z = torch.randn(2, 10)
    torch.testing.assert_close(found.generator(z, noise="fixed"), g_ema(z, noise="fixed"))
    if mean is not None:
        torch.testing.assert_close(found.generator.latent_avg, mean[None])
        assert found.generator(z, truncation=0.7).isfinite().all()
    if found.discriminator is not None:
        x = torch.randn(2, 3, 64, 64)
        torch.testing.assert_close(found.discriminator(x), d(x))


def test_a_checkpoint_of_a_training(networks, checkpoint, tmp_path):
    """With what rosinality's training saves beside the weights: the optimiser, a Namespace, a number."""
    optimizer = torch.optim.Adam(networks[0].parameters())
    more = {"g_optim": optimizer.state_dict(), "args": argparse.Namespace(size=64, lr=0.002), "ada_aug_p": 0.0}
    for name, modern in (("new.pt", True), ("old.pt", False)):  # files written before torch 1.6 are no zip archives
        torch.save({**checkpoint, **more}, tmp_path / name, _use_new_zipfile_serialization=modern)
        found = load_public(tmp_path / name)
        assert found.discriminator is not None
        assert_loaded(found, networks, checkpoint["latent_avg"])


def test_other_forms_of_the_same(networks, checkpoint, tmp_path):
    converted = {"g_ema": checkpoint["g_ema"], "latent_avg": checkpoint["latent_avg"][None]}
    torch.save(converted, tmp_path / "converted.pt")
    assert_loaded(load_public(tmp_path / "converted.pt"), networks, checkpoint["latent_avg"])
    torch.save({"g": checkpoint["g_ema"]}, tmp_path / "only_g.pt")
    torch.save(checkpoint["g_ema"], tmp_path / "bare.pt")
    for name in ("only_g.pt", "bare.pt"):
        found = load_public(tmp_path / name)
        assert found.discriminator is None and found.generator.latent_avg is None
        assert_loaded(found, networks)
    for mark in "./":
        flat = {f"g_ema{mark}{k}": t.contiguous() for k, t in checkpoint["g_ema"].items()}
        flat |= {f"d{mark}{k}": t.contiguous() for k, t in checkpoint["d"].items()}
        save_file({**flat, "latent_avg": checkpoint["latent_avg"]}, tmp_path / "safe.safetensors")
        found = load_public(tmp_path / "safe.safetensors")
        assert found.discriminator is not None
        assert_loaded(found, networks, checkpoint["latent_avg"])


def test_the_kernels_and_the_rate_of_a_file_are_used(networks):
    _, g_ema, d = networks
    state, z = dict(g_ema.state_dict()), torch.randn(2, 10)
    other = generator_from({**state, "convs.0.conv.blur.kernel": torch.ones(4, 4) / 4})
    assert (other(z, noise="fixed") - g_ema(z, noise="fixed")).abs().max() > 1e-3
    assert (generator_from(state, lr_mlp=1).mapping(z) - g_ema.mapping(z)).abs().max() > 1e-3
    six = Generator(8, 10, 1, {4: 3, 8: 3}, blur=(1, 5, 10, 10, 5, 1))
    torch.testing.assert_close(generator_from(six.state_dict())(z, noise="fixed"), six(z, noise="fixed"))
    six = Discriminator(8, {4: 3, 8: 3}, blur=(1, 5, 10, 10, 5, 1))
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(discriminator_from(six.state_dict())(x), six(x))


def test_files_without_noise_get_new_noise(networks):
    state = {k: t for k, t in networks[1].state_dict().items() if not k.startswith("noises.")}
    found, z = generator_from(state), torch.randn(1, 10)
    torch.testing.assert_close(found(z, noise="none"), networks[1](z, noise="none"))
    assert found.noises.noise_8.shape == (1, 1, 64, 64)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s["g_ema"].pop("convs.3.noise.weight"), "no complete StyleGAN2 .* it lacks convs.3.noise.weight"),
        (lambda s: s["g_ema"].pop("input.input"), "lacks input.input"),
        (lambda s: s["g_ema"].pop("style.2.weight"), "has unknown|lacks"),
        (lambda s: s["g_ema"].pop("convs.7.conv.weight"), "lacks convs.7.conv.weight"),
        (lambda s: s["g_ema"].update(extra=torch.zeros(1)), "has unknown extra"),
        (
            lambda s: s["g_ema"].update({"conv1.activate.bias": torch.zeros(3)}),
            r"the shape of conv1.activate.bias is \(3,\), not",
        ),
        (lambda s: s["d"].pop("final_linear.1.bias"), "The discriminator of .* it lacks final_linear.1.bias"),
        (lambda s: s["d"].pop("convs.0.0.weight"), "The discriminator of .* it lacks convs.0.0.weight"),
        (lambda s: [s.pop("g"), s.pop("g_ema")], "neither 'g_ema' nor 'g'"),
    ],
)
def test_incomplete_checkpoints(checkpoint, tmp_path, change, message):
    checkpoint = {k: dict(v) if isinstance(v, dict) else v for k, v in checkpoint.items()}
    change(checkpoint)
    torch.save(checkpoint, tmp_path / "part.pt")
    with pytest.raises(CheckpointError, match=message) as caught:
        load_public(tmp_path / "part.pt")
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


class Evil:
    """What a pickle can do: call any function when it is read."""

    def __reduce__(self):
        return (print, ("this must never be printed",))


def test_files_that_are_no_checkpoints(checkpoint, tmp_path, capsys):
    whole = tmp_path / "whole.pt"
    torch.save(checkpoint, whole)
    (tmp_path / "cut.pt").write_bytes(whole.read_bytes()[:5000])
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "page.pt").write_text("<html>Quota exceeded</html>")
    (tmp_path / "picture.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{nonsense")
    (tmp_path / "network.pkl").write_bytes(pickle.dumps({"G_ema": Evil()}))
    torch.save({"g_ema": Evil()}, tmp_path / "evil.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    messages = dict.fromkeys(("cut.pt", "empty.pt", "page.pt", "picture.safetensors"), "damaged|no checkpoint")
    messages |= {"network.pkl": "no checkpoint of plain tensors", "evil.pt": "no checkpoint of plain tensors"}
    messages |= {"list.pt": "holds a list"}
    for name, message in messages.items():
        with pytest.raises(CheckpointError, match=message) as caught:
            load_public(tmp_path / name)
        assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    with pytest.raises(FileNotFoundError, match="nowhere.pt cannot be read: No such file"):
        load_public(tmp_path / "nowhere.pt")
    assert "never" not in capsys.readouterr().out


def test_the_published_widths():
    assert channel_table(1024) == {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}
    assert channel_table(256, 1)[256] == 64 and max(channel_table(64)) == 64
