"""The ResNet generator and the PatchGAN: sizes, places, starts, what a logit sees, right gradients at batch 1."""

import copy
import pickle

import pytest
import torch
from torch import nn

from stlib.losses.adversarial import r1
from stlib.nets import patchgan, resnet
from stlib.nets.normalization import InstanceNorm

pytestmark = pytest.mark.usefixtures("one_thread")
BOTH = pytest.mark.parametrize("antialias", [False, True], ids=["strided", "antialias"])


def millions(network):
    return round(sum(p.numel() for p in network.parameters()) / 1e6, 3)


@BOTH
def test_the_published_networks_by_their_size(antialias):
    with torch.device("meta"):
        generator, discriminator = resnet.Generator(antialias=antialias), patchgan.Discriminator(antialias=antialias)
        picture = torch.zeros(1, 3, 256, 256)
    assert (millions(generator), millions(discriminator)) == (11.378, 2.765)
    assert generator(picture).shape == (1, 3, 256, 256) and discriminator(picture).shape == (1, 1, 30, 30)


# The start ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["normal", "xavier"])
@pytest.mark.parametrize("network", [resnet.Generator, patchgan.Discriminator])
def test_initial_weights(network, init):
    torch.manual_seed(0)
    for layer in network(32, init=init, gain=0.02).modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            fans = (layer.in_channels + layer.out_channels) * layer.kernel_size[0] ** 2
            std = 0.02 if init == "normal" else 0.02 * (2 / fans) ** 0.5
            assert layer.weight.std().item() == pytest.approx(std, rel=0.15) and (layer.bias == 0).all()


def test_an_unknown_start_is_an_error():
    with pytest.raises(ValueError, match="'normal' and 'xavier', not 'orthogonal'"):
        resnet.Generator(2, 1, init="orthogonal")


# The generator --------------------------------------------------------------------------------------------------------


@BOTH
def test_pictures_of_the_generator(antialias):
    torch.manual_seed(0)
    network, x = resnet.Generator(4, 2, antialias, gain=1.0).double(), torch.rand(2, 3, 16, 24).double() * 2 - 1
    y = network(x)
    assert y.shape == x.shape and 0.5 < y.abs().max() <= 1
    torch.testing.assert_close(network(x[1:]), y[1:])  # a picture is made alone
    assert resnet.Generator(4, 1, antialias, inputs=1, outputs=2)(x[:, :1].float()).shape == (2, 2, 16, 24)


@BOTH
@pytest.mark.parametrize("blocks, of_block", [(9, 5), (6, 4), (5, 3), (1, 1)])
def test_taps_are_the_same_maps_in_both_forms(blocks, of_block, antialias):
    network, x = resnet.Generator(2, blocks, antialias), torch.zeros(1, 3, 16, 16)
    taps, first = network.taps, 12 if antialias else 10
    assert taps == list(dict.fromkeys([0, 4, 8 if antialias else 7, first, first + of_block - 1]))
    maps = network.features(x, taps)
    side = (16, 8) if antialias else (8, 4)
    expected = [(1, 3, 22, 22), *((1, c, s, s) for c, s in zip((4, 8), side, strict=True))]
    assert [tuple(m.shape) for m in maps] == expected + [(1, 8, 4, 4)] * (len(taps) - 3)
    assert network.widths(taps) == [m.shape[1] for m in maps]


def test_cut_s_places_without_antialias_are_other_maps():
    network = resnet.Generator(2, 9)
    kinds = [type(network.model[place]).__name__ for place in (0, 4, 8, 12, 16)]
    assert kinds == ["ReflectionPad2d", "Conv2d", "InstanceNorm", "Block", "Block"]
    assert [network.model[p] is network.model[10 + b - 1] for p, b in ((12, 3), (16, 7))] == [True, True]


def test_features_are_the_maps_of_the_pass_and_stop_behind_the_last(monkeypatch):
    torch.manual_seed(0)
    network, x = resnet.Generator(3, 2, gain=1.0), torch.rand(1, 3, 8, 12)
    maps, seen = [], x
    for layer in network.model:
        maps.append(seen := layer(seen))
    places = [2, 10, 0, len(maps) - 1]  # in the order in which they are asked for
    for found, place in zip(network.features(x, places), places, strict=True):
        torch.testing.assert_close(found, maps[place], rtol=0, atol=0)
    torch.testing.assert_close(network(x), maps[-1])
    assert maps[2].min() < 0  # the ReLU behind does not work in place
    network.model[-1].register_forward_hook(lambda *_: pytest.fail("The last layer was computed."))
    network.features(x, [0, 10])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda g, d: g(torch.zeros(1, 3, 18, 16)), r"multiples of 4 from 8 on, not \(1, 3, 18, 16\)"),
        (lambda g, d: g(torch.zeros(1, 3, 4, 8)), r"from 8 on, not \(1, 3, 4, 8\)"),
        (lambda g, d: g(torch.zeros(1, 1, 8, 8)), r"\(B, 3, H, W\).*not \(1, 1, 8, 8\)"),
        (lambda g, d: g.features(torch.zeros(1, 3, 8, 8), []), r"the layers 0 to \d+, not \[\]"),
        (lambda g, d: g.features(torch.zeros(1, 3, 8, 8), [0, 99]), r"the layers 0 to \d+, not \[0, 99\]"),
        (lambda g, d: g.widths([-1]), r"the layers 0 to \d+, not \[-1\]"),
        (lambda g, d: d(torch.zeros(1, 3, 11, 16)), r"at least 12 pixels a side, not \(1, 3, 11, 16\)"),
        (lambda g, d: d(torch.zeros(3, 16, 16)), r"\(B, 3, H, W\) of at least 12 pixels a side, not \(3, 16, 16\)"),
    ],
)
def test_errors_say_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call(resnet.Generator(2, 1), patchgan.Discriminator(2, 2))


@BOTH
def test_the_smallest_pictures_pass(antialias):
    assert resnet.Generator(2, 1, antialias)(torch.randn(1, 3, 8, 8)).shape == (1, 3, 8, 8)
    for n_layers in (1, 2, 3):
        least = 3 * 2**n_layers
        logits = patchgan.Discriminator(2, n_layers, antialias)(torch.randn(1, 3, least, least + 1))
        assert logits.shape == (1, 1, 1, 1) and logits.isfinite().all()


def test_official_filters_are_skipped_and_copies_work():
    network = resnet.Generator(2, 1, antialias=True)
    official = network.state_dict()
    assert not [name for name in official if "kernel" in name]
    for place, width in ((7, 4), (11, 8), (13, 8), (17, 4)):
        official[f"model.{place}.filt"] = torch.ones(width, 1, 3, 3)
    copied = pickle.loads(pickle.dumps(copy.deepcopy(network)))
    copied.load_state_dict(official)  # strict
    with pytest.raises(RuntimeError, match="model.12.filt"):
        copied.load_state_dict(official | {"model.12.filt": torch.ones(1)})


# Anti-aliased layers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [resnet.BlurDown(), resnet.BlurUp()])
def test_filters_keep_flat_maps_and_shift_nothing(layer):
    flat = torch.full((1, 2, 6, 6), 3.0)
    torch.testing.assert_close(layer(flat), torch.full_like(layer(flat), 3.0))
    x = torch.randn(1, 1, 7, 9, dtype=torch.float64)
    layer = copy.deepcopy(layer).double()
    torch.testing.assert_close(layer(x.flip(2)), layer(x).flip(2))
    torch.testing.assert_close(layer(x.mT), layer(x).mT)


def test_a_pattern_of_single_pixels_becomes_grey_and_not_black_or_white():
    """What anti-aliasing is for: a stride alone keeps every second pixel, whichever that is."""
    stripes = torch.arange(16).remainder(2).float().expand(1, 1, 16, 16)
    torch.testing.assert_close(resnet.BlurDown()(stripes), torch.full((1, 1, 8, 8), 0.5))
    assert stripes[..., ::2, ::2].std() == 0 and stripes[..., ::2, ::2].mean() in (0, 1)


# The discriminator ----------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("n_layers, side", [(1, (16, 18)), (2, (34, 40)), (3, (70, 84))])
def test_receptive_field(n_layers, side, antialias):
    """Measured where a logit has a gradient, without the instance norms, which see everything."""
    assert patchgan.receptive_field(n_layers, antialias) == side[antialias]
    network = patchgan.Discriminator(1, n_layers, antialias)
    for place, layer in enumerate(network.model):
        if isinstance(layer, InstanceNorm):
            network.model[place] = nn.Identity()
        if isinstance(layer, nn.Conv2d):
            nn.init.ones_(layer.weight)
    x = torch.zeros(1, 3, 128, 128, requires_grad=True)
    logits = network(x)
    middle = logits.shape[-1] // 2
    seen = torch.autograd.grad(logits[0, 0, middle, middle], x)[0][0, 0] != 0
    rows, columns = seen.any(1).nonzero().flatten(), seen.any(0).nonzero().flatten()
    assert 0 < rows[0] and rows[-1] < 127  # nothing is cut off
    assert [int(at[-1] - at[0]) + 1 for at in (rows, columns)] == [side[antialias]] * 2
    with_norms = patchgan.Discriminator(1, n_layers, antialias, gain=1.0)
    logits = with_norms(x + torch.randn_like(x))
    seen = torch.autograd.grad(logits[0, 0, middle, middle], x)[0][0, 0] != 0
    assert seen.all()


def test_two_layers_see_a_part_of_64_pixels_and_three_see_all():
    assert patchgan.receptive_field(2) < 64 < patchgan.receptive_field(3)
    shapes = [patchgan.Discriminator(1, n)(torch.zeros(1, 3, 64, 64)).shape[-1] for n in (1, 2, 3)]
    assert shapes == [30, 14, 6]


def test_widths_double_up_to_eight_times_the_first():
    convs = [layer for layer in patchgan.Discriminator(2, 5).model if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convs] == [2, 4, 8, 16, 16, 16, 1]


def test_r1_goes_through_the_discriminator():
    torch.manual_seed(0)
    network, x = patchgan.Discriminator(2, 1, True, gain=0.5).double(), torch.randn(1, 3, 8, 8, dtype=torch.float64)

    def penalty(x):
        return r1(network(x), x)

    assert torch.autograd.gradcheck(penalty, x.requires_grad_(True), atol=1e-4)


# Gradients and precision ----------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("batch", [1, 2])
def test_what_reads_positions_gets_the_same_gradient_in_every_layout(batch, antialias):
    """The gradient of columns picked from a block arrives channels-last at its instance norm."""
    torch.manual_seed(0)
    network, x = resnet.Generator(2, 2, antialias, gain=1.0).double(), torch.randn(batch, 3, 8, 8, dtype=torch.float64)
    probe = torch.randn(batch, 4, 8, dtype=torch.float64)

    def gradient(layout):
        laid = x.contiguous(memory_format=layout).requires_grad_(True)
        (block,) = network.to(memory_format=layout).features(laid, network.taps[-1:])
        return torch.autograd.grad((block.permute(0, 2, 3, 1).flatten(1, 2) * probe).sum(), laid)[0]

    (block,) = network.features(leaf := x.clone().requires_grad_(True), network.taps[-1:])
    (expected,) = torch.autograd.grad((block * probe.transpose(1, 2).reshape(block.shape)).sum(), leaf)
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.testing.assert_close(gradient(layout), expected)


@BOTH
def test_bfloat16_autocast(antialias):
    torch.manual_seed(0)
    generator, discriminator = resnet.Generator(4, 1, antialias, gain=0.1), patchgan.Discriminator(4, 1, antialias)
    x = torch.randn(2, 3, 16, 16)
    exact = generator(x)
    with torch.autocast("cpu", torch.bfloat16):
        made = generator(x)
        logits = discriminator(made)
        features = generator.features(x, [5])[0]
    assert made.dtype == logits.dtype == torch.float32 and features.dtype == torch.bfloat16
    assert 1e-5 < (made - exact).abs().mean() < 0.02 * exact.abs().mean()
    logits.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in generator.parameters())
