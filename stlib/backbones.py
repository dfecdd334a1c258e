"""Frozen feature networks with named layers: SqueezeNet 1.0 (default), VGG-16, VGG-19, and our WorldNet.

Pictures go in as (B, 3, H, W) in [0, 1]; each network normalises them itself.
"""

import pickle
import socket
import warnings
from functools import lru_cache
from pathlib import Path

import numpy
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from stlib import assets, runtime, world, zoo

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, in RGB
VGG_CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
SQUEEZENET_LAYERS = "conv1 relu1 pool1 fire2 fire3 fire4 pool4 fire5 fire6 fire7 fire8 pool8 fire9".split()


class PictureTooSmall(ValueError):
    """A picture shrinks to nothing before the layer asked for."""


class Backbone(nn.Module):
    """A frozen network cut into named layers.

    `backbone(x, ["fire2", "fire5"])` maps a picture (B, 3, H, W) in [0, 1] to a dict of float32 feature maps and
    stops at the deepest layer asked for. Gradients flow to the picture, never to the weights. With `fast=True`
    the convolutions run channels-last, and in bfloat16 where the device is quicker with it. `embed` maps a picture to
    one vector, where the network has that (WorldNet), and is None elsewhere.
    """

    embed = None

    def __init__(self, name, layers, weights, mean=MEAN, std=STD, fast=True):
        super().__init__()
        self.name, self.weights, self.fast = name, weights, fast
        self.layers = nn.ModuleDict(layers)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()
        if fast:
            self.to(memory_format=torch.channels_last)

    def forward(self, picture, names):
        unknown = [name for name in names if name not in self.layers]
        if unknown:
            raise ValueError(f"{self.name} has no layer {unknown[0]!r}; it has: {', '.join(self.layers)}.")
        x = (picture - self.mean) / self.std
        if self.fast:
            x = x.contiguous(memory_format=torch.channels_last)
        dtype = runtime.fast_dtype(picture.device) if self.fast else torch.float32
        features = {}
        with torch.autocast(picture.device.type, dtype, enabled=dtype != torch.float32):
            for name, layer in self.layers.items():
                if len(features) == len(set(names)):
                    break
                try:
                    x = layer(x)
                except RuntimeError as error:
                    if "too small" not in str(error) and "greater than actual input size" not in str(error):
                        raise
                    size = f"{picture.shape[-1]} x {picture.shape[-2]}"
                    advice = "Use a larger picture or shallower layers."
                    raise PictureTooSmall(
                        f"A picture of {size} pixels is too small for layer {name} of {self.name}. {advice}"
                    ) from None
                if name in names:
                    features[name] = x if x.dtype == torch.float64 else x.float()
        return {name: features[name] for name in names}


def caffe_range(picture):
    """RGB in [0, 1] as the original Caffe VGG expects it: BGR, times 255, minus the ImageNet mean, no division.

    For weights in that convention, such as those of Gatys' own notebook. Torchvision's do not want it.
    """
    mean = torch.tensor([0.40760392, 0.45795686, 0.48501961], dtype=picture.dtype, device=picture.device)
    return (picture.flip(1) - mean.view(1, 3, 1, 1)) * 255


def unpack_deep_compressed(data):
    """Unpack SqueezeNet 1.0's weights from the 676 kB deep-compressed file (bytes) into a torchvision state dict.

    Format (little-endian), for the 26 convolutions in network order: 26 uint32 with the number of stored codes; then
    per layer 256 float32 of code book, the float32 biases, one byte per code (its entry in the code book), and
    4 bits per code for the number of zeros skipped before it. The input layer is refolded from BGR in 0..255 minus
    the mean to torchvision's normalised RGB. Source: Han et al. 2016; Iandola et al. 2016.
    """
    network = torchvision.models.squeezenet1_0(weights=None)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    counts, at = numpy.frombuffer(data, "<u4", len(convolutions)), 4 * len(convolutions)

    def take(dtype, number):
        nonlocal at
        values = numpy.frombuffer(data, dtype, number, at)
        at += values.nbytes
        return values

    for convolution, count in zip(convolutions, counts.astype(int), strict=True):
        book = take("<f4", 256)
        bias = take("<f4", convolution.out_channels)
        codes = take("u1", count)
        pairs = take("u1", (count - 1) // 2 + 1)
        gaps = numpy.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1)[:count].astype(int)
        weight = numpy.zeros(convolution.weight.numel(), "f4")
        weight[numpy.cumsum(gaps + 1) - 1] = book[codes]
        convolution.weight.data = torch.from_numpy(weight).view_as(convolution.weight)
        convolution.bias.data = torch.from_numpy(bias.copy())
    if at != len(data):
        raise ValueError(f"The SqueezeNet file has {len(data) - at} bytes left over: it is damaged or another format.")

    # BGR in 0..255 minus (104, 117, 123)  ->  RGB normalised by MEAN and STD. conv1 has no padding: this is exact.
    first = convolutions[0]
    weight = first.weight.data.flip(1)
    shift = 255 * torch.tensor(MEAN) - torch.tensor([123.0, 117.0, 104.0])
    first.bias.data += (weight.sum(dim=(2, 3)) * shift).sum(dim=1)
    first.weight.data = weight * (255 * torch.tensor(STD)).view(1, 3, 1, 1)
    return network.state_dict()


def _squeezenet():
    network = torchvision.models.squeezenet1_0(weights=None)
    try:
        network.load_state_dict(unpack_deep_compressed(assets.path("squeezenet_deep_compression").read_bytes()))
        weights = "ImageNet, deep-compressed, sha256 " + assets.REGISTRY["squeezenet_deep_compression"].sha256[:12]
    except assets.AssetUnavailable as error:
        weights = _random_weights(network, error)
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # in place it would overwrite conv1, which may be asked for
    return dict(zip(SQUEEZENET_LAYERS, network.features, strict=True)), weights


def hub_file(name):
    """Where torchvision's loader keeps the ImageNet weights of "vgg16" or "vgg19"."""
    url = torchvision.models.get_model_weights(name).IMAGENET1K_V1.url
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]


def _vgg(name):
    maker = getattr(torchvision.models, name)
    entry = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    network = maker(weights=None)
    timeout = socket.getdefaulttimeout()
    try:
        socket.setdefaulttimeout(20)
        if assets.offline() and not hub_file(name).exists():
            raise FileNotFoundError(f"{hub_file(name)} is not here and STLIB_OFFLINE forbids the network")
        state = torch.hub.load_state_dict_from_url(entry.url, progress=False, check_hash=True, weights_only=True)
        network.load_state_dict(state)
        weights = f"ImageNet, torchvision {entry.url.rsplit('/', 1)[1]}"
    except (OSError, RuntimeError, EOFError, TypeError, pickle.UnpicklingError) as error:
        there = hub_file(name).exists()  # torchvision's loader checks the hash of a download, not of what is there
        reason = f"{hub_file(name)} is damaged: delete it, so that it is fetched again" if there else error
        weights = _random_weights(network, f"The ImageNet weights of {name} could not be loaded ({reason}).")
    finally:
        socket.setdefaulttimeout(timeout)
    return vgg_layers(network.features, VGG_CONVOLUTIONS[name]), weights


def vgg_layers(features, convolutions):
    """Name the modules of a VGG's `features`: conv1_1, relu1_1, ..., pool1, ... (`convolutions` per block)."""
    modules, layers = iter(features), {}
    for block, number in enumerate(convolutions, 1):
        for i in range(1, number + 1):
            layers[f"conv{block}_{i}"] = next(modules)
            next(modules)
            layers[f"relu{block}_{i}"] = nn.ReLU(inplace=False)
        layers[f"pool{block}"] = next(modules)
    return layers


def _random_weights(network, reason):
    """Fill `network` with He-initialised weights (seed 0), say so in one sentence, and return their description."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(module.bias)
    warnings.warn(f"{reason} Going on with random weights: textures still transfer, but less well.", stacklevel=4)
    return "random (He initialisation, seed 0)"


class WorldNet(nn.Module):
    """A small network for the pictures of `stlib.world`: seven convolutions with batch norm, then 64 numbers.

    Its training (`stlib/zoo/judges.py`) asks those 64 numbers for all factors and the style. Its convolutions are the
    backbone "worldnet"; `embed` gives the 64 numbers, in which populations of pictures are compared.
    """

    WIDTHS = (24, 24, "pool", 48, 48, "pool", 96, 96, "pool", 128)

    def __init__(self):
        super().__init__()
        self.layers, width, number, pools = nn.ModuleDict(), 3, 0, 0
        for item in self.WIDTHS:
            if item == "pool":
                pools += 1
                self.layers[f"pool{pools}"] = nn.MaxPool2d(2)
                continue
            number += 1
            convolution = nn.Conv2d(width, item, 3, 1, 1, bias=False)
            self.layers[f"conv{number}"] = nn.Sequential(convolution, nn.BatchNorm2d(item))
            self.layers[f"relu{number}"] = nn.ReLU()
            width = item
        self.embedding = nn.Linear(width * 16, 64)
        sizes = {family: sum(f.outputs for f in module.FACTORS) for family, module in world.FAMILIES.items()}
        sizes["style"] = len(world.STYLES) + 1  # and what is not of this world
        self.heads = nn.ModuleDict({name: nn.Linear(64, size) for name, size in sizes.items()})

    def embed(self, pictures):
        """Pictures (B, 3, H, W) in [0, 1], brought to 64 pixels, as 64 numbers each: (B, 64)."""
        if pictures.shape[-2:] != (64, 64):
            pictures = F.interpolate(pictures, (64, 64), mode="bilinear", antialias=True, align_corners=False)
        x = pictures * 2 - 1
        for layer in self.layers.values():
            x = layer(x)
        return self.embedding(F.adaptive_avg_pool2d(x, 4).flatten(1)).float()

    def forward(self, pictures):
        """The raw outputs that its training compares, as `oracle.Oracle` gives them."""
        x = F.relu(self.embed(pictures))
        return {name: head(x) for name, head in self.heads.items()}


@lru_cache(maxsize=2)
def worldnet(device=None):
    """The WorldNet that ships with the course, frozen: `worldnet().embed(pictures)` compares populations."""
    return zoo.load("worldnet", WorldNet()).requires_grad_(False).to(runtime.device(device))


@lru_cache(maxsize=4)
def _load(name, where, fast):
    if name == "worldnet":
        network = worldnet(where)
        backbone = Backbone(name, network.layers, network.weights, (0.5,) * 3, (0.5,) * 3, fast=False).to(where)
        backbone.embed = network.embed
        return backbone
    layers, weights = _squeezenet() if name == "squeezenet" else _vgg(name)
    return Backbone(name, layers, weights, fast=fast).to(where)


def load(name="squeezenet", device=None, fast=True):
    """A frozen `Backbone`: "squeezenet" (1.0), "vgg16" or "vgg19", with ImageNet weights, or "worldnet".

    Weights come from `stlib.assets` (SqueezeNet) or torchvision's loader (VGG). Where they cannot be had, a warning
    says so and the network gets random weights; `backbone.weights` tells which. Raises ValueError for other names.
    """
    names = ("squeezenet", *VGG_CONVOLUTIONS, "worldnet")
    if name not in names:
        raise ValueError(f"There is no backbone {name!r}; choose one of: {', '.join(names)}.")
    return _load(name, runtime.device(device), fast)
