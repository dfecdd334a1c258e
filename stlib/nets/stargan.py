"""The four networks of StarGAN v2 for pictures of many domains, without its masked skips (Choi et al. 2020).

Pictures have the networks' own range: about [-1, 1], and nothing keeps them in it, there is no tanh. `2 * pictures - 1`
leads there and `((pictures + 1) / 2).clamp(0, 1)` back. A domain is a whole number from 0. State dicts have the names
of the official code. Published widths: `width` 2^14 / size (256 at 64 pixels), `cap` 512, codes of 64, latents of 16,
mapping of 512.
"""

import contextlib
import math

import torch
from torch import nn
from torch.nn import functional

from stlib.nets.convolutions import convolve, without_autocast
from stlib.nets.normalization import InstanceNorm

SLOPE = 0.2  # of all leaky ReLUs
HALF = math.sqrt(0.5)  # keeps the variance of a sum of two


def he_init(network):
    """Draw the weights of all convolutions and linear layers from N(0, 2 / fan in), biases 0; return the network."""
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network


def of_domain(rows, domains):
    """rows (B, D, ...) and the domain (B,) of each picture: (B, ...), each picture's own."""
    return rows[torch.arange(len(rows), device=rows.device), domains]


# Layers ---------------------------------------------------------------------------------------------------------------


class Norm(nn.Module):
    """Instance norm with a learnt scale and shift of each channel."""

    def __init__(self, channels):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.norm = InstanceNorm()

    def forward(self, x):
        scale, shift = (p.to(x.dtype)[None, :, None, None] for p in (self.weight, self.bias))
        return torch.addcmul(shift, self.norm(x), scale)


class AdaIN(nn.Module):
    """(1 + gamma) IN(x) + beta, where gamma and beta (B, C) are a linear function of a style code (B, `code`).

    The 1 keeps the map where the code says nothing. Here the statistics come from a code; in `nets.normalization` they
    are another picture's.
    """

    def __init__(self, channels, code):
        super().__init__()
        self.fc = nn.Linear(code, 2 * channels)
        self.norm = InstanceNorm()

    def forward(self, x, s):
        gamma, beta = self.fc(s).to(x.dtype)[:, :, None, None].chunk(2, dim=1)
        return torch.addcmul(beta, self.norm(x), 1 + gamma)


_twice = False


@contextlib.contextmanager
def differentiated_twice():
    """Inside, 3 x 3 convolutions take a form whose gradients can be differentiated again, as R1 does, at little cost.

    Outside they are torch's, quicker for a single gradient. The numbers are the same.
    """
    global _twice
    before, _twice = _twice, True
    try:
        yield
    finally:
        _twice = before


class Conv3(nn.Conv2d):
    """A 3 x 3 convolution that keeps the size; see `differentiated_twice`."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, 3, padding=1)

    def forward(self, x):
        return convolve(x, self.weight, self.bias, padding=1) if _twice else super().forward(x)


class ResBlock(nn.Module):
    """Maps (B, `inputs`, H, W) to (B, `outputs`, H, W), or half the side: (shortcut + residual) / sqrt(2).

    Residual: norm, leaky ReLU, 3 x 3, average pooling where it halves, norm, leaky ReLU, 3 x 3. The norms are there
    with `normalize` only. The 1 x 1 shortcut stands before the pooling in the official code; behind it, as here, the
    numbers are the same.
    """

    def __init__(self, inputs, outputs, normalize=False, halves=False):
        super().__init__()
        self.halves = halves
        self.conv1, self.conv2 = Conv3(inputs, inputs), Conv3(inputs, outputs)
        self.norm1, self.norm2 = (Norm(inputs) if normalize else nn.Identity() for _ in range(2))
        self.conv1x1 = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x):
        y = self.conv1(functional.leaky_relu(self.norm1(x), SLOPE))
        if self.halves:
            x, y = functional.avg_pool2d(x, 2), functional.avg_pool2d(y, 2)
        y = self.conv2(functional.leaky_relu(self.norm2(y), SLOPE))
        return HALF * (self.conv1x1(x) + y)


class StyledBlock(nn.Module):
    """A `ResBlock` with AdaIN for its norms, which doubles the side where `doubles`: nearest neighbour, after the norm.

    Without `shortcut`, as where the official code adds high-pass skips, the residual alone is returned, not divided.
    """

    def __init__(self, inputs, outputs, code, doubles=False, shortcut=True):
        super().__init__()
        self.doubles, self.shortcut = doubles, shortcut
        self.conv1, self.conv2 = Conv3(inputs, outputs), Conv3(outputs, outputs)
        self.norm1, self.norm2 = AdaIN(inputs, code), AdaIN(outputs, code)
        self.conv1x1 = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x, s):
        y = functional.leaky_relu(self.norm1(x, s), SLOPE)
        y = self.conv1(_doubled(y) if self.doubles else y)
        y = self.conv2(functional.leaky_relu(self.norm2(y, s), SLOPE))
        if not self.shortcut:
            return y
        x = self.conv1x1(x)
        return HALF * ((_doubled(x) if self.doubles else x) + y)


def _doubled(x):
    return functional.interpolate(x, scale_factor=2, mode="nearest")


def high_pass(x, weight=1.0):
    """Each channel of maps (B, C, H, W) through the 3 x 3 kernel with 8 in the middle and -1 around, over `weight`.

    With `w_hpf` above 0 the official generator adds this of its masked early maps to late ones. Ours has no skips.
    """
    kernel = -torch.ones(3, 3, dtype=x.dtype, device=x.device)
    kernel[1, 1] = 8
    return functional.conv2d(x, (kernel / weight).expand(x.shape[1], 1, 3, 3), padding=1, groups=x.shape[1])


def _widths(width, cap, halvings):
    """Widths of the maps, from the whole picture down: [width, 2 width, ...], at most `cap`."""
    return [width, *(min(cap, width * 2**n) for n in range(1, halvings + 1))]


def _trunk(size, width, cap):
    """What the encoder and the discriminator have in common: pictures to (B, widths[-1], 1, 1), and that width."""
    widths = _widths(width, cap, int(math.log2(size)) - 2)
    blocks = [ResBlock(a, b, halves=True) for a, b in zip(widths, widths[1:], strict=False)]
    ends = [nn.LeakyReLU(SLOPE), nn.Conv2d(widths[-1], widths[-1], 4), nn.LeakyReLU(SLOPE)]
    return [Conv3(3, width), *blocks, *ends], widths[-1]


# The networks ---------------------------------------------------------------------------------------------------------


class Generator(nn.Module):
    """G(x, s): pictures (B, 3, H, W) and style codes (B, `code`) to pictures (B, 3, H, W). It knows of no domain.

    `maps` halves the picture, down to a side of 16 as published, and ends in two more blocks; the code has no part in
    them. `paint` goes the same way back, with the code in every norm. So many results of one picture need `maps` only
    once. `halvings` is log2(size) - 4, one more where the official code has its skips.
    """

    def __init__(self, size=64, code=64, width=256, cap=512, halvings=None):
        super().__init__()
        self.halvings = int(math.log2(size)) - 4 if halvings is None else halvings
        widths = _widths(width, cap, self.halvings)
        pairs, deep = list(zip(widths, widths[1:], strict=False)), widths[-1]
        down = [ResBlock(a, b, normalize=True, halves=True) for a, b in pairs]
        up = [StyledBlock(b, a, code, doubles=True) for a, b in reversed(pairs)]
        self.from_rgb = Conv3(3, width)
        self.encode = nn.ModuleList(down + [ResBlock(deep, deep, normalize=True) for _ in range(2)])
        self.decode = nn.ModuleList([StyledBlock(deep, deep, code) for _ in range(2)] + up)
        self.to_rgb = nn.Sequential(Norm(width), nn.LeakyReLU(SLOPE), nn.Conv2d(width, 3, 1))

    def maps(self, pictures):
        """What of the pictures every style keeps to: (B, C, H / 2^halvings, W / 2^halvings)."""
        height, width = pictures.shape[-2:]
        if pictures.ndim != 4 or pictures.shape[1] != 3 or height % 2**self.halvings or width % 2**self.halvings:
            wanted = f"(B, 3, H, W) whose sides are multiples of {2**self.halvings}"
            raise ValueError(f"This generator takes pictures {wanted}, not {tuple(pictures.shape)}.")
        x = self.from_rgb(pictures)
        for block in self.encode:
            x = block(x)
        return x

    def paint(self, maps, s):
        """Pictures (B, 3, H, W) of maps and codes (B, `code`)."""
        for block in self.decode:
            maps = block(maps, s)
        colours = self.to_rgb[:-1](maps)
        with without_autocast(colours):  # 8 bits are too few for a picture
            return self.to_rgb[-1](colours.to(s.dtype))

    def forward(self, pictures, s):
        return self.paint(self.maps(pictures), s)


class Mapping(nn.Module):
    """F(z, y): latents (B, `latent`) and domains (B,) to style codes (B, `code`), by four shared layers and four own.

    Each domain's own layers are computed for all pictures, so those that were not asked for get a gradient of zero.
    """

    def __init__(self, domains, latent=16, code=64, width=512):
        super().__init__()
        self.shared = _perceptron(latent, *[width] * 4)
        self.unshared = nn.ModuleList(
            [_perceptron(width, *[width] * 3).append(nn.Linear(width, code)) for _ in range(domains)]
        )

    def forward(self, z, domains):
        h = self.shared(z)
        codes = torch.stack([branch(h) for branch in self.unshared], dim=1)
        return of_domain(codes, domains).to(z.dtype)


def _perceptron(*widths):
    pairs = zip(widths, widths[1:], strict=False)
    return nn.Sequential(*[layer for a, b in pairs for layer in (nn.Linear(a, b), nn.ReLU())])


class StyleEncoder(nn.Module):
    """E(x, y): pictures (B, 3, size, size) and their domains (B,) to style codes (B, `code`); one linear layer each."""

    def __init__(self, domains, size=64, code=64, width=256, cap=512):
        super().__init__()
        layers, deep = _trunk(size, width, cap)
        self.shared = nn.Sequential(*layers)
        self.unshared = nn.ModuleList([nn.Linear(deep, code) for _ in range(domains)])

    def forward(self, pictures, domains):
        h = self.shared(pictures).flatten(1)
        codes = torch.stack([branch(h) for branch in self.unshared], dim=1)
        return of_domain(codes, domains).to(pictures.dtype)


class Discriminator(nn.Module):
    """D(x, y): pictures (B, 3, size, size) and domains (B,) to logits (B,), high for a real picture of that domain."""

    def __init__(self, domains, size=64, width=256, cap=512):
        super().__init__()
        layers, deep = _trunk(size, width, cap)
        self.main = nn.Sequential(*layers, nn.Conv2d(deep, domains, 1))

    def logits(self, pictures):
        """The logits of all domains, (B, D)."""
        return self.main(pictures).flatten(1).to(pictures.dtype)

    def forward(self, pictures, domains):
        return of_domain(self.logits(pictures), domains)
