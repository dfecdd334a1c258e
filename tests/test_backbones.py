"""Backbones: names, freezing, early stop, errors, the unpacking of the compressed weights; WorldNet."""

import struct

import numpy
import pytest
import torch
import torchvision
from torch import nn

from stlib import assets, backbones, world, zoo

REAL = assets.available("squeezenet_deep_compression")


@pytest.fixture(scope="module")
def picture():
    return torch.rand(1, 3, 72, 80, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network():
    with pytest.warns(UserWarning, match="random weights") if not REAL else _nothing():
        return backbones.load("squeezenet", device="cpu", fast=False)


class _nothing:
    def __enter__(self):
        return None

    def __exit__(self, *error):
        return None


def test_layers_are_those_of_torchvision(network, picture):
    plain = torchvision.models.squeezenet1_0(weights=None)
    names = [n for n in backbones.SQUEEZENET_LAYERS]
    for mine, theirs in zip(network.layers.values(), plain.features, strict=True):
        theirs.load_state_dict(mine.state_dict())
    x = (picture - network.mean) / network.std
    found = network(picture, names)
    for name, layer in zip(names, plain.features.eval(), strict=True):
        x = layer(x)
        if name != "conv1":  # torchvision's ReLU overwrites it in place; ours keeps it
            torch.testing.assert_close(found[name], x)
        else:
            assert (found[name] < 0).any()


def test_it_stops_at_the_deepest_layer_asked_for(network, picture):
    calls = []
    hooks = [layer.register_forward_hook(lambda *_, n=n: calls.append(n)) for n, layer in network.layers.items()]
    network(picture, ["fire3", "relu1"])
    for hook in hooks:
        hook.remove()
    assert calls == ["conv1", "relu1", "pool1", "fire2", "fire3"]


def test_gradients_reach_the_picture_and_never_the_weights(network, picture):
    x = picture.clone().requires_grad_(True)
    network(x, ["fire5"])["fire5"].sum().backward()
    assert x.grad.abs().sum() > 0
    assert not any(p.requires_grad for p in network.parameters()) and not network.training


def test_fast_and_plain_agree_within_bfloat16(network, picture):
    quick = backbones.load("squeezenet", device="cpu", fast=True)
    for name in ("relu1", "fire4", "fire9"):
        plain, fast = network(picture, [name])[name], quick(picture, [name])[name]
        assert fast.dtype == torch.float32
        assert (plain - fast).norm() / plain.norm() < 0.03


@pytest.mark.parametrize("size", [(1, 1), (5, 200), (20, 20)])
def test_a_small_picture_is_a_sentence(network, size):
    with pytest.raises(backbones.PictureTooSmall, match=f"{size[1]} x {size[0]} pixels is too small for layer"):
        network(torch.rand(1, 3, *size), ["fire9"])


def test_unknown_layer_and_backbone_are_sentences(network, picture):
    with pytest.raises(ValueError, match="has no layer 'relu4_2'; it has: conv1, relu1"):
        network(picture, ["relu4_2"])
    with pytest.raises(ValueError, match="squeezenet, vgg16, vgg19"):
        backbones.load("resnet")


@pytest.mark.parametrize("name", ["vgg16", "vgg19"])
def test_vgg_names_follow_the_paper(name):
    """Layer relu4_2 of VGG-19 is torchvision's module 22; checked on both networks by walking the modules."""
    features = getattr(torchvision.models, name)(weights=None).features
    layers = backbones.vgg_layers(features, backbones.VGG_CONVOLUTIONS[name])
    convolutions = [m for m in features if isinstance(m, nn.Conv2d)]
    named = [layer for key, layer in layers.items() if key.startswith("conv")]
    assert all(a is b for a, b in zip(named, convolutions, strict=True))
    assert layers["conv4_2"] is features[{"vgg16": 19, "vgg19": 21}[name]]
    assert sum(key.startswith("pool") for key in layers) == 5


def packed(network, seed=0):
    """Pack random sparse weights in the deep-compressed format: an independent writer to test the reader with."""
    random = numpy.random.default_rng(seed)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    counts, body, weights = [], b"", []
    for convolution in convolutions:
        size = convolution.weight.numel()
        book = random.normal(size=256).astype("f4")
        book[0] = 0
        dense, positions, last = numpy.zeros(size, "f4"), [], -1
        while True:
            last += int(random.integers(1, 17))
            if last >= size:
                break
            positions.append(last)
        codes = random.integers(0, 256, len(positions)).astype("u1")
        dense[positions] = book[codes]
        gaps = numpy.diff(numpy.array([-1, *positions])) - 1
        nibbles = numpy.append(gaps, 0) if len(gaps) % 2 else gaps
        pairs = (nibbles[::2] | (nibbles[1::2] << 4)).astype("u1")
        bias = random.normal(size=convolution.out_channels).astype("f4")
        counts.append(len(codes))
        body += book.tobytes() + bias.tobytes() + codes.tobytes() + pairs.tobytes()
        weights.append((dense.reshape(convolution.weight.shape), bias))
    return struct.pack(f"<{len(counts)}I", *counts) + body, weights


def test_unpacking_restores_what_was_packed():
    network = torchvision.models.squeezenet1_0(weights=None)
    data, weights = packed(network)
    network.load_state_dict(backbones.unpack_deep_compressed(data))
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    for convolution, (weight, bias) in list(zip(convolutions, weights, strict=True))[1:]:
        assert numpy.array_equal(convolution.weight.detach().numpy(), weight)
        assert numpy.array_equal(convolution.bias.detach().numpy(), bias)
    # conv1 is refolded: on normalised RGB it must give what the packed one gives on BGR in 0..255 minus the mean
    rgb = torch.rand(1, 3, 20, 20, dtype=torch.float64)
    bgr = rgb.flip(1) * 255 - torch.tensor([104.0, 117.0, 123.0]).view(1, 3, 1, 1)
    expected = nn.functional.conv2d(bgr, *(torch.from_numpy(w).double() for w in weights[0]), stride=2)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (backbones.MEAN, backbones.STD))
    found = convolutions[0].double()((rgb - mean) / std)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-3)


def test_a_damaged_weight_file_is_refused():
    data, _ = packed(torchvision.models.squeezenet1_0(weights=None))
    with pytest.raises(ValueError, match="left over"):
        backbones.unpack_deep_compressed(data + b"\0\0")
    with pytest.raises(ValueError):
        backbones.unpack_deep_compressed(data[:-100])


def test_without_weights_it_goes_on_and_says_so(monkeypatch, tmp_path, picture):
    monkeypatch.setenv("STLIB_ASSETS", "")
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))
    monkeypatch.setenv("STLIB_OFFLINE", "1")
    backbones._load.cache_clear()
    with pytest.warns(UserWarning, match="random weights"):
        network = backbones.load("squeezenet", device="cpu")
    backbones._load.cache_clear()
    assert network.weights.startswith("random") and network(picture, ["fire4"])["fire4"].isfinite().all()


@pytest.mark.skipif(not REAL, reason="the real SqueezeNet weights are not at hand")
def test_the_real_weights_know_a_cat_and_a_coffee():
    from stlib import images

    network = torchvision.models.squeezenet1_0(weights=None).eval()
    network.load_state_dict(backbones.unpack_deep_compressed(assets.path("squeezenet_deep_compression").read_bytes()))
    assert sum(p.numel() for p in network.parameters()) == 1_248_424
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (backbones.MEAN, backbones.STD))
    for name, label in (("chelsea", 285), ("coffee", 967)):  # ImageNet: Egyptian cat, espresso
        x = images.crop(images.picture(name, 256), 227, 227)  # as in training: 256, then the middle
        scores = network((x - mean) / std).softmax(1)[0]
        assert scores.argmax() == label and scores[label] > 0.6


# WorldNet -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worldnet():
    torch.manual_seed(0)
    return backbones.WorldNet().eval()


def test_worldnet_has_seven_named_convolutions(worldnet):
    names = list(worldnet.layers)
    assert [name for name in names if name.startswith("conv")] == [f"conv{i}" for i in range(1, 8)]
    assert [name for name in names if name.startswith("pool")] == ["pool1", "pool2", "pool3"]
    assert names[:5] == ["conv1", "relu1", "conv2", "relu2", "pool1"] and names[-1] == "relu7"
    raw = worldnet(torch.rand(2, 3, 64, 64))
    sizes = {family: sum(f.outputs for f in module.FACTORS) for family, module in world.FAMILIES.items()}
    assert {name: tuple(x.shape) for name, x in raw.items()} == {
        **{family: (2, size) for family, size in sizes.items()},
        "style": (2, len(world.STYLES) + 1),
    }


@pytest.mark.parametrize("size", [(64, 64), (32, 32), (100, 70), (256, 256)])
def test_worldnet_embeds_pictures_of_any_size(worldnet, size):
    x = torch.rand(3, 3, *size) * torch.tensor([0.2, 0.6, 1.0]).view(3, 1, 1, 1)
    with torch.no_grad():
        vectors = worldnet.embed(x)
        assert vectors.shape == (3, 64) and vectors.dtype == torch.float32 and vectors.isfinite().all()
        torch.testing.assert_close(worldnet.embed(x[1:2]), vectors[1:2], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(vectors[0], vectors[1], atol=1e-4)


@pytest.fixture
def shipped(worldnet, monkeypatch):
    """The zoo with a worldnet in it: random weights."""
    monkeypatch.setattr(zoo, "load", lambda name, module: worldnet)
    monkeypatch.setattr(worldnet, "weights", "random", raising=False)
    for cache in (backbones.worldnet, backbones._load):
        cache.cache_clear()
    yield backbones.load("worldnet", device="cpu")
    for cache in (backbones.worldnet, backbones._load):
        cache.cache_clear()


def test_worldnet_is_a_backbone(shipped, worldnet):
    assert list(shipped.layers) == list(worldnet.layers) and (shipped.name, shipped.weights) == ("worldnet", "random")
    x = torch.rand(2, 3, 64, 64, requires_grad=True)
    found = shipped(x, ["relu2", "relu7"])
    assert found["relu2"].shape == (2, 24, 64, 64) and found["relu7"].shape == (2, 128, 8, 8)
    seen = x * 2 - 1
    for layer in worldnet.layers.values():
        seen = layer(seen)
    torch.testing.assert_close(found["relu7"], seen, rtol=1e-4, atol=1e-5)  # what it was trained to see
    found["relu7"].sum().backward()
    assert x.grad.abs().sum() > 0 and not any(p.requires_grad for p in shipped.parameters())
    torch.testing.assert_close(shipped.embed(x), worldnet.embed(x))


def test_worldnet_needs_the_zoo(monkeypatch):
    def nothing(name, module):
        raise zoo.ZooError(f"There is no network {name!r} in the zoo; there are: none yet.")

    monkeypatch.setattr(zoo, "load", nothing)
    for cache in (backbones.worldnet, backbones._load):
        cache.cache_clear()
    with pytest.raises(zoo.ZooError, match="There is no network 'worldnet' in the zoo"):
        backbones.load("worldnet", device="cpu")


def test_the_shipped_worldnet_is_trained():
    network = backbones.load("worldnet", device="cpu")
    contents = world.sample("portraits", range(12), seed=404)
    pictures = torch.cat([world.render(contents, style, 64) for style in ("photo", "line")])
    style = backbones.worldnet("cpu")(pictures)["style"].argmax(dim=1)
    wanted = torch.tensor([world.STYLES.index("photo"), world.STYLES.index("line")]).repeat_interleave(12)
    assert (style == wanted).float().mean() > 0.9 and "trained in the script 'judges'" in network.weights
