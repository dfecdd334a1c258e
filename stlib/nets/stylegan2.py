"""StyleGAN2 in pure torch: the generator and the discriminator, with the names and shapes of rosinality's checkpoints.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN". Networks work in their own range: pictures
are about [-1, 1], not clipped; `(pictures + 1) / 2` is the range of the course. Inside, maps lie channels-last. Under
autocast only the convolutions compute in bfloat16; mapping, styles, colours and logits stay in float32.
"""

import argparse
import math
import pickle
import re
import warnings
import zipfile
from types import SimpleNamespace

import safetensors
import torch
from torch import nn
from torch.nn import functional

from stlib.nets.convolutions import convolve, convolve_transposed, fir_kernel, resample, without_autocast

SLOPE, GAIN = 0.2, math.sqrt(2)  # every activation is sqrt(2) * leaky ReLU, which keeps the variance of its input
BLUR = (1, 3, 3, 1)
LR_MLP = 0.01


class CheckpointError(ValueError):
    """A file holds no StyleGAN2 that can be used, or only a part of one."""


def channel_table(size, multiplier=2):
    """Width of the maps at each resolution, {4: 512, ...}, of the published networks (config-f has `multiplier` 2)."""
    resolutions = [2**i for i in range(2, int(math.log2(size)) + 1)]
    return {r: 512 if r <= 32 else 16384 // r * multiplier for r in resolutions}


def _widths(size, channels, multiplier):
    """The table of widths for pictures of `size`; raises ValueError where size or table cannot be."""
    if size < 8 or size & (size - 1):
        raise ValueError(f"StyleGAN2 makes pictures whose size is a power of two from 8 on, not {size}.")
    table = channel_table(size, multiplier)
    missing = [r for r in table if channels is not None and r not in channels]
    if missing:
        raise ValueError(f"channels needs a width for each resolution; it has none for {missing[0]}.")
    return table if channels is None else {r: channels[r] for r in table}


# Layers. Their attributes are named as in the checkpoints; the factors of equalised learning rates are not in these.


class PixelNorm(nn.Module):
    """z / sqrt(mean(z^2) + 1e-8), each row by itself."""

    def forward(self, z):
        return z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()


class EqualLinear(nn.Module):
    """(B, in) to (B, out). Stores W / lr and b / lr, and multiplies in use: Adam's steps are lr times as large."""

    def __init__(self, inputs, outputs, bias=0.0, lr=1.0, activated=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr)
        self.bias = nn.Parameter(torch.full((outputs,), float(bias)))
        self.scale, self.lr, self.activated = lr / math.sqrt(inputs), lr, activated

    def forward(self, x):
        with without_autocast(x):
            y = functional.linear(x.to(self.weight.dtype), self.weight * self.scale, self.bias * self.lr)
        return GAIN * functional.leaky_relu(y, SLOPE) if self.activated else y


class Constant(nn.Module):
    """The learned 4 x 4 map from which every picture starts."""

    def __init__(self, channels):
        super().__init__()
        self.input = nn.Parameter(torch.randn(1, channels, 4, 4))


class Blur(nn.Module):
    """The buffer `kernel` (n, n), and the padding (before, after) with which it is used, unless `pad` is None."""

    def __init__(self, taps, gain=1, pad=None):
        super().__init__()
        self.register_buffer("kernel", fir_kernel(taps, gain))
        self.pad = pad

    def forward(self, x):
        return resample(x, self.kernel, pad=self.pad)


class ModulatedConv(nn.Module):
    """The weight (1, out, in, k, k) of a convolution, and the style `modulation` (B, style_dim) to (B, in), bias 1."""

    def __init__(self, inputs, outputs, side, style_dim, upsample=False, blur=BLUR):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, outputs, inputs, side, side))
        spare = len(blur) - 4  # taps beyond the four for which padding 1 restores the size
        self.blur = Blur(blur, 4, ((spare + 1) // 2 + 1, spare // 2 + 1)) if upsample else None
        self.modulation = EqualLinear(style_dim, inputs, bias=1)
        self.scale = 1 / math.sqrt(inputs * side * side)

    def forward(self, x, w):
        """The convolution with weights c s_i W_oij, and what demodulates it: maps (B, out, H, W), factors (B, out).

        To scale the maps by s before, and by the factors afterwards, is to modulate and demodulate the weights, but one
        dense convolution serves the batch, where weights of their own ask for a grouped one, many times slower on CPUs.
        """
        s, weight = self.modulation(w), self.weight[0] * self.scale
        with without_autocast(x):
            factors = (s.square() @ weight.square().sum((2, 3)).T + 1e-8).rsqrt()
        x = x * s[..., None, None].to(x.dtype)
        if self.blur is None:
            return convolve(x, weight, padding=weight.shape[-1] // 2), factors
        return self.blur(convolve_transposed(x, weight.transpose(0, 1))), factors


class Noise(nn.Module):
    """The strength (1) of a layer's noise; 0 at the start."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class Bias(nn.Module):
    """The bias (C) that is added before an activation."""

    def __init__(self, channels):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))


class StyledConv(nn.Module):
    """Modulated 3 x 3 convolution, demodulated; + strength * noise (B or 1, 1, H, W); + bias; activation."""

    def __init__(self, inputs, outputs, style_dim, upsample=False, blur=BLUR):
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, style_dim, upsample, blur)
        self.noise = Noise()
        self.activate = Bias(outputs)

    def forward(self, x, w, noise):
        y, factors = self.conv(x, w)
        # sqrt(2) lrelu(t) = lrelu(sqrt(2) t): the gain goes into the three small factors
        factors, bias = (GAIN * factors)[..., None, None], (GAIN * self.activate.bias)[:, None, None]
        if noise is None:
            return functional.leaky_relu(torch.addcmul(bias.to(y.dtype), y, factors.to(y.dtype)), SLOPE)
        grain = (GAIN * self.noise.weight * noise).to(y.dtype)
        return functional.leaky_relu(torch.addcmul(grain, y, factors.to(y.dtype)) + bias.to(y.dtype), SLOPE)


class ToRGB(nn.Module):
    """Maps to colours (B, 3, H, W) without demodulation, added to the upsampled colours of the resolution before."""

    def __init__(self, inputs, style_dim, upsample=True, blur=BLUR):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        if upsample:
            self.upsample = Blur(blur, 4)
            self.pad = ((len(blur) - 1) // 2 + 1, (len(blur) - 2) // 2)
        self.conv = ModulatedConv(inputs, 3, 1, style_dim)

    def forward(self, x, w, rgb=None):
        s = self.conv.modulation(w)
        colours = s[:, None] * self.conv.weight[0, :, :, 0, 0] * self.conv.scale  # (B, 3, in): so few that each picture
        y = torch.einsum("bchw,boc->bohw", x, colours.to(x.dtype)).to(s.dtype) + self.bias  # can have its own
        return y if rgb is None else y + resample(rgb, self.upsample.kernel, up=2, pad=self.pad)


# The generator --------------------------------------------------------------------------------------------------------


class Generator(nn.Module):
    """Latents z (B, style_dim) or w to pictures (B, 3, size, size), about [-1, 1], not clipped.

    `size` is a power of two from 8 on; `channels` {resolution: width}, by default the published ones
    (`channel_table`); `n_mlp` layers of mapping that learn `lr_mlp` times as fast; `blur` the taps of the FIR filter.
    A code in W+ is (B, n_latent, style_dim), n_latent = 2 log2(size) - 2: place 0 drives conv1, place 1 to_rgb1 and
    convs.0, place k convs.(k-1), and each later ToRGB shares the place of the next resolution's first convolution; the
    last place drives only the last ToRGB. `noises` are fixed maps for each styled convolution, part of the checkpoint.
    """

    def __init__(self, size, style_dim=512, n_mlp=8, channels=None, channel_multiplier=2, blur=BLUR, lr_mlp=LR_MLP):
        super().__init__()
        widths = _widths(size, channels, channel_multiplier)
        self.size, self.style_dim, self.channels = size, style_dim, widths
        self.n_latent = 2 * int(math.log2(size)) - 2
        layers = [EqualLinear(style_dim, style_dim, lr=lr_mlp, activated=True) for _ in range(n_mlp)]
        self.style = nn.Sequential(PixelNorm(), *layers)
        self.input = Constant(widths[4])
        self.conv1 = StyledConv(widths[4], widths[4], style_dim)
        self.to_rgb1 = ToRGB(widths[4], style_dim, upsample=False)
        self.convs, self.to_rgbs, self.noises = nn.ModuleList(), nn.ModuleList(), nn.Module()
        for resolution in list(widths)[1:]:
            before, width = widths[resolution // 2], widths[resolution]
            self.convs.append(StyledConv(before, width, style_dim, upsample=True, blur=blur))
            self.convs.append(StyledConv(width, width, style_dim))
            self.to_rgbs.append(ToRGB(width, style_dim, blur=blur))
        for number, side in enumerate(self.noise_sizes()):
            self.noises.register_buffer(f"noise_{number}", torch.randn(1, 1, side, side))
        self.register_buffer("latent_avg", None, persistent=False)

    def noise_sizes(self):
        """Sides of the noise maps, one for each styled convolution: 4, 8, 8, 16, 16, ..."""
        return [2 ** ((j + 5) // 2) for j in range(self.n_latent - 1)]

    def make_noise(self, batch=1, generator=None):
        """Noise maps [(batch, 1, side, side), ...], to be given as `noise`; `generator` is on the weights' device."""
        like = self.input.input
        draw = dict(device=like.device, dtype=like.dtype, generator=generator)
        return [torch.randn(batch, 1, side, side, **draw) for side in self.noise_sizes()]

    def mapping(self, z):
        """w (B, style_dim) of latents z (B, style_dim), first normalised. Raises ValueError on other shapes."""
        if z.ndim != 2 or z.shape[1] != self.style_dim:
            raise ValueError(f"This generator takes z of the shape (B, {self.style_dim}), not {tuple(z.shape)}.")
        with without_autocast(z):
            return self.style(z.to(self.input.input.dtype))

    @torch.no_grad()
    def mean_latent(self, count=4096, generator=None):
        """The mean (1, style_dim) of `count` mapped random z. It is also kept as `latent_avg`, for `truncation`."""
        like = self.input.input
        z = torch.randn(count, self.style_dim, device=like.device, dtype=like.dtype, generator=generator)
        self.latent_avg = self.mapping(z).mean(dim=0, keepdim=True)
        return self.latent_avg

    def truncate(self, w, truncation, mean=None):
        """w, in W or W+, drawn to the mean: mean + truncation (w - mean). `mean` defaults to `latent_avg`."""
        mean = self.latent_avg if mean is None else mean
        if mean is None:
            raise ValueError("Truncation needs the mean latent: call mean_latent() once, or give mean=.")
        return mean + truncation * (w - mean)

    def expand(self, w):
        """The W+ code (B, n_latent, style_dim) of w (B, style_dim); a W+ code as it is. Raises ValueError on others."""
        if w.ndim == 2 and w.shape[1] == self.style_dim:
            return w[:, None].expand(-1, self.n_latent, -1)
        if w.shape[1:] != (self.n_latent, self.style_dim):
            shapes = f"(B, {self.style_dim}) or (B, {self.n_latent}, {self.style_dim})"
            raise ValueError(f"This generator takes w of the shape {shapes}, not {tuple(w.shape)}.")
        return w

    def mix(self, w, other, layer):
        """A W+ code with `w` in the places before `layer` and `other` from there on, 0 <= layer <= n_latent.

        In training the official codes mix 9 of 10 batches, at one layer for the batch, drawn from 1 to n_latent - 1.
        """
        if not 0 <= layer <= self.n_latent:
            raise ValueError(f"The layer to mix at is between 0 and {self.n_latent}, not {layer}.")
        return torch.cat([self.expand(w)[:, :layer], self.expand(other)[:, layer:]], dim=1)

    def _maps_of_noise(self, noise):
        """One map, or None, for each styled convolution."""
        count = self.n_latent - 1
        if noise is None or noise == "none":
            return [None] * count
        if isinstance(noise, str):
            if noise not in ("random", "fixed"):
                raise ValueError(f"noise is 'random', 'fixed', 'none' or a list of maps, not {noise!r}.")
            return (
                [getattr(self.noises, f"noise_{j}") for j in range(count)] if noise == "fixed" else ["random"] * count
            )
        if len(noise) != count:
            raise ValueError(f"This generator takes {count} maps of noise, not {len(noise)}.")
        return noise

    def _steps(self, w, noise):
        """After each styled convolution: the map, and the colours so far where a ToRGB follows, else None."""
        w, rgb = self.expand(w), None
        x = self.input.input.expand(len(w), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        for number, (grain, side) in enumerate(zip(self._maps_of_noise(noise), self.noise_sizes(), strict=True)):
            if isinstance(grain, str):
                grain = torch.randn(len(w), 1, side, side, device=w.device, dtype=w.dtype)
            x = (self.convs[number - 1] if number else self.conv1)(x, w[:, number], grain)
            coloured = number % 2 == 0
            if coloured:
                to_rgb = self.to_rgbs[number // 2 - 1] if number else self.to_rgb1
                rgb = to_rgb(x, w[:, number + 1], rgb)
            yield x, rgb if coloured else None

    def features(self, w, noise="fixed"):
        """Maps {resolution: (B, width, resolution, resolution)} of a code in W or W+: the last of each resolution."""
        return {x.shape[-1]: x for x, rgb in self._steps(w, noise) if rgb is not None}

    def activations(self, w, noise="fixed"):
        """The list of the maps after every styled convolution: conv1, convs.0, convs.1, ..."""
        return [x for x, _ in self._steps(w, noise)]

    def forward(self, z=None, *, w=None, mix=None, truncation=1.0, mean=None, noise="random"):
        """Pictures (B, 3, size, size) of latents `z`, or of a code `w` in W or W+ (exactly one of the two).

        `mix`, a pair (second z or w, layer), takes the places from `layer` on from the second (`Generator.mix`);
        `truncation` below 1 draws all places to `mean` (default `latent_avg`). `noise` is "random" (new maps for each
        picture), "fixed" (the network's own), "none", or a list of maps (B or 1, 1, side, side). Raises ValueError.
        """
        if (z is None) == (w is None):
            raise ValueError("Give the generator latents z or a code w, and not both.")
        code = self.mapping(z) if w is None else w
        if mix is not None:
            second, layer = mix
            code = self.mix(code, self.mapping(second) if w is None else second, layer)
        if truncation != 1:
            code = self.truncate(code, truncation, mean)
        picture = None
        for _, rgb in self._steps(code, noise):
            picture = picture if rgb is None else rgb
        return picture


# The discriminator ----------------------------------------------------------------------------------------------------


class EqualConv(nn.Module):
    """The weight (out, in, k, k) of a convolution, times 1 / sqrt(in k^2) in use; without a bias."""

    def __init__(self, inputs, outputs, side, stride=1, padding=0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side))
        self.scale, self.stride, self.padding = 1 / math.sqrt(inputs * side * side), stride, padding

    def forward(self, x, bias=None, gain=1.0):
        bias = None if bias is None else gain * bias
        return convolve(x, self.weight * (gain * self.scale), bias, self.stride, self.padding)


class ConvLayer(nn.Sequential):
    """[Blur,] EqualConv[, Bias and activation]; with `halve` it filters and takes every second position.

    The activation's sqrt(2) is put into weight and bias; `gain` multiplies the result.
    """

    def __init__(self, inputs, outputs, side, halve=False, activated=True, blur=BLUR, gain=1.0):
        spare = len(blur) - 2 + side - 1
        first = [Blur(blur, pad=((spare + 1) // 2, spare // 2))] if halve else []
        conv = EqualConv(inputs, outputs, side, 2 if halve else 1, 0 if halve else side // 2)
        super().__init__(*first, conv, *([Bias(outputs)] if activated else []))
        self.halve, self.activated, self.gain = halve, activated, gain * GAIN if activated else gain

    def forward(self, x):
        x = self[0](x) if self.halve else x
        if not self.activated:
            return self[-1](x, None, self.gain)
        return functional.leaky_relu(self[-2](x, self[-1].bias, self.gain), SLOPE)


class ResBlock(nn.Module):
    """Halves the side: (two convolutions + a filtered 1 x 1 skip) / sqrt(2); the division is in the layers' gains."""

    def __init__(self, inputs, outputs, blur=BLUR):
        super().__init__()
        self.conv1 = ConvLayer(inputs, inputs, 3)
        self.conv2 = ConvLayer(inputs, outputs, 3, halve=True, blur=blur, gain=1 / GAIN)
        self.skip = ConvLayer(inputs, outputs, 1, halve=True, activated=False, blur=blur, gain=1 / GAIN)

    def forward(self, x):
        return self.conv2(self.conv1(x)) + self.skip(x)


def minibatch_std(x, group=4):
    """Mean over channels and positions of the deviation within groups of pictures: (B, C, H, W) to (B).

    There are ceil(B / group) groups, strided: picture b is in group b mod their number. Where `group` does not divide B
    the official codes stop with an error; here the groups then differ by one picture. A group of one gives 1e-4.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    count = -(-len(x) // group)
    groups = [x[i::count] for i in range(count)]
    stds = [((g - g.mean(dim=0)).square().mean(dim=0) + 1e-8).sqrt().mean() for g in groups]
    return torch.stack(stds).repeat(-(-len(x) // count))[: len(x)]


class Discriminator(nn.Module):
    """Pictures (B, 3, size, size), about [-1, 1], to logits (B, 1): high for real ones.

    `size`, `channels`, `channel_multiplier` and `blur` are those of `Generator`. The pictures of a batch are not judged
    alone: `minibatch_std` compares each with its group of (at most) 4.
    """

    def __init__(self, size, channels=None, channel_multiplier=2, blur=BLUR):
        super().__init__()
        widths = _widths(size, channels, channel_multiplier)
        self.size, self.channels = size, widths
        blocks = [ResBlock(widths[r], widths[r // 2], blur) for r in sorted(widths, reverse=True)[:-1]]
        self.convs = nn.Sequential(ConvLayer(3, widths[size], 1), *blocks)
        self.final_conv = ConvLayer(widths[4] + 1, widths[4], 3)
        self.final_linear = nn.Sequential(
            EqualLinear(widths[4] * 16, widths[4], activated=True), EqualLinear(widths[4], 1)
        )

    def features(self, pictures):
        """Maps {side: (B, width, side, side)} from `size`, after the 1 x 1 convolution, down to 4."""
        if pictures.shape[1:] != (3, self.size, self.size):
            wanted, got = f"(B, 3, {self.size}, {self.size})", tuple(pictures.shape)
            raise ValueError(f"This discriminator takes pictures of the shape {wanted}, not {got}.")
        x, maps = pictures.contiguous(memory_format=torch.channels_last), {}
        for block in self.convs:
            x = block(x)
            maps[x.shape[-1]] = x
        return maps

    def head(self, x, parts=1):
        """Logits (B, 1) of the maps at resolution 4."""
        if len(x) % parts:
            raise ValueError(f"{len(x)} pictures cannot be {parts} batches of one size.")
        std = torch.cat([minibatch_std(part) for part in x.chunk(parts)]).to(x.dtype)
        x = torch.cat([x, std[:, None, None, None].expand(-1, 1, *x.shape[2:])], dim=1)
        x = self.final_conv(x.contiguous(memory_format=torch.channels_last))
        return self.final_linear(x.flatten(1))  # in the order channel, row, column

    def forward(self, pictures, parts=1):
        """Logits (B, 1). `parts` 2 says that two batches, such as real and made pictures, lie one after the other.

        Each then has the statistics it would have alone, and the two cost one pass.
        """
        return self.head(self.features(pictures)[4], parts)


# Public checkpoints ---------------------------------------------------------------------------------------------------


def _read(path):
    """The dict of a checkpoint; raises CheckpointError or FileNotFoundError in one sentence."""
    try:
        with open(path, "rb") as handle:
            start = handle.read(9)
    except OSError as error:
        raise FileNotFoundError(f"The checkpoint {path} cannot be read: {error.strerror}.") from None
    try:
        if start[8:9] == b"{":  # safetensors: eight bytes of length, then JSON
            with safetensors.safe_open(path, "pt") as opened:
                return _nested({name: opened.get_tensor(name) for name in opened.keys()})
        # "args" of a training is a Namespace, a plain bag of settings
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings(action="ignore"):
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError:
        advice = "NVIDIA's .pkl files have to be converted to rosinality's layout first."
        raise CheckpointError(f"{path} is no checkpoint of plain tensors, and is not read further; {advice}") from None
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, safetensors.SafetensorError):
        raise CheckpointError(f"{path} is damaged or no checkpoint: fetch it again.") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not the dict of a StyleGAN2 checkpoint.")
    return state


def _nested(flat):
    """{"g_ema/conv1.noise.weight": t} or {"g_ema.conv1.noise.weight": t} as {"g_ema": {"conv1.noise.weight": t}}."""
    state = {}
    for name, tensor in flat.items():
        match = re.match(r"(g_ema|g|d)[./](.+)", name)
        if match:
            state.setdefault(match[1], {})[match[2]] = tensor
        else:
            state[name] = tensor
    return state


def _count(state, pattern):
    return sum(re.fullmatch(pattern, name) is not None for name in state)


def _fill(network, state, source, optional=()):
    """Load `state` into `network`, whose layout it must have but for the keys that start with `optional`."""
    wanted = network.state_dict()
    missing = [name for name in wanted if name not in state and not name.startswith(optional)]
    unknown = [name for name in state if name not in wanted]
    if missing or unknown:
        names, verb = (missing, "lacks") if missing else (unknown, "has unknown")
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise CheckpointError(f"{source} is no complete StyleGAN2 in rosinality's layout: it {verb} {names[0]}{more}.")
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"{tuple(tensor.shape)}, not {tuple(wanted[name].shape)}"
            raise CheckpointError(f"{source} does not fit together: the shape of {name} is {shapes}.")
    network.load_state_dict(state, strict=not optional)
    return network


def generator_from(state, lr_mlp=LR_MLP, source="The state dict"):
    """A `Generator` with the weights of a state dict in rosinality's layout, its sizes read off the shapes.

    The learning rate of the mapping, which multiplies its weights, is not in the shapes. Where `noises.*` are missing,
    as in the oldest files, new ones are drawn. Raises CheckpointError for a state dict that is not whole.
    """
    layers, n_mlp = _count(state, r"convs\.\d+\.conv\.weight"), _count(state, r"style\.\d+\.weight")
    try:
        channels = {4: state["input.input"].shape[1]}
        style_dim = state["conv1.conv.modulation.weight"].shape[1]
        for i in range(0, layers, 2):
            channels[2 ** (i // 2 + 3)] = state[f"convs.{i}.conv.weight"].shape[1]
        taps = (1,) * len(state["convs.0.conv.blur.kernel"])  # as many as the kernel, which is then loaded
    except (KeyError, IndexError, AttributeError) as error:
        told = f"it lacks {error.args[0]}" if isinstance(error, KeyError) else "its shapes are others"
        raise CheckpointError(f"{source} is no complete StyleGAN2 in rosinality's layout: {told}.") from None
    network = Generator(2 ** (2 + (layers + 1) // 2), style_dim, n_mlp, channels, blur=taps, lr_mlp=lr_mlp)
    return _fill(network, state, source, optional=("noises.",))


def discriminator_from(state, source="The state dict"):
    """A `Discriminator` with the weights of a state dict in rosinality's layout. Raises CheckpointError."""
    blocks = _count(state, r"convs\.\d+\.skip\.1\.weight")
    size = 2 ** (2 + blocks)
    try:
        channels = {size: state["convs.0.0.weight"].shape[0]}
        for i in range(1, blocks + 1):
            channels[size // 2**i] = state[f"convs.{i}.skip.1.weight"].shape[0]
        taps = (1,) * len(state["convs.1.skip.0.kernel"])
    except (KeyError, IndexError, AttributeError) as error:
        told = f"it lacks {error.args[0]}" if isinstance(error, KeyError) else "its shapes are others"
        raise CheckpointError(f"{source} is no complete StyleGAN2 in rosinality's layout: {told}.") from None
    return _fill(Discriminator(size, channels, blur=taps), state, source)


def load_public(path, lr_mlp=LR_MLP):
    """The networks of a public checkpoint in rosinality's layout: a namespace `generator`, `discriminator`.

    Reads .pt files (`weights_only=True`) with the keys "g_ema" (or else "g"), "d" and "latent_avg", safetensors with
    the same as prefixes, and bare state dicts of a generator. The generator is the averaged one, on the CPU, in
    float32, with `latent_avg` (1, style_dim) or None; the discriminator is None where the file has none. Raises
    FileNotFoundError or CheckpointError, in one sentence.
    """
    state = _read(path)
    chosen = state if "input.input" in state else state.get("g_ema", state.get("g"))
    if not isinstance(chosen, dict):
        raise CheckpointError(f"{path} has no generator: neither 'g_ema' nor 'g' is in it.")
    generator = generator_from(chosen, lr_mlp, str(path))
    mean = state.get("latent_avg")
    if mean is not None and mean.numel() == generator.style_dim:
        generator.latent_avg = mean.detach().float().reshape(1, -1)
    discriminator = discriminator_from(state["d"], f"The discriminator of {path}") if "d" in state else None
    return SimpleNamespace(generator=generator, discriminator=discriminator)
