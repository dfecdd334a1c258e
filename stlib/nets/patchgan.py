"""The PatchGAN discriminator: one logit for each patch of a picture, no verdict on the whole.

Isola et al. 2017; the CycleGAN family. Pictures have the range of the generators, [-1, 1]. State dicts have the names
of the official PyTorch codes.
"""

from torch import nn

from stlib.nets.normalization import InstanceNorm
from stlib.nets.resnet import BlurDown, initialize


def receptive_field(n_layers, antialias=False):
    """The side in pixels of the patch behind one logit: 16, 34, 70 for 1, 2, 3 layers; with `antialias` 18, 40, 84.

    By the convolutions alone: each instance norm lets the mean and deviation of whole maps in.
    """
    side = 1 + 3 + 3  # one position of the map, and two 4 x 4 convolutions of stride 1
    for _ in range(n_layers):
        side = 2 * side + (4 if antialias else 2)
    return side


class Discriminator(nn.Module):
    """Pictures (B, `inputs`, H, W) in [-1, 1] to logits (B, 1, H / 2^n - 2, W / 2^n - 2), rounded down, high for real.

    `n_layers` 4 x 4 convolutions of stride 2, the first to `width` maps, each next to twice as many (at most 8 times);
    one of stride 1, and one of stride 1 to the logits. Instance norm after all but the first and the last, leaky ReLU
    0.2. Published: width 64, 3 layers at 256 pixels (2.765 million parameters). Three layers see 70 pixels, more than
    the whole picture at 64: take 2 there. With `antialias`, as in CUT, a filter halves behind the leaky ReLU. `init`
    and `gain` are those of `resnet.initialize` (CUT: "xavier"). Raises ValueError for pictures without a logit.
    """

    def __init__(self, width=64, n_layers=3, antialias=False, inputs=3, init="normal", gain=0.02):
        super().__init__()
        self.inputs, self.n_layers = inputs, n_layers
        layers, before = [], inputs
        for number in range(n_layers + 1):
            halves, now = number < n_layers, width * min(2**number, 8)
            layers += [nn.Conv2d(before, now, 4, 2 if halves and not antialias else 1, 1)]
            layers += [InstanceNorm()] if number else []
            layers += [nn.LeakyReLU(0.2)] + ([BlurDown()] if halves and antialias else [])
            before = now
        self.model = nn.Sequential(*layers, nn.Conv2d(before, 1, 4, 1, 1))
        initialize(self, init, gain)

    def forward(self, pictures):
        least = 3 * 2**self.n_layers
        if pictures.ndim != 4 or pictures.shape[1] != self.inputs or min(pictures.shape[2:]) < least:
            wanted = f"(B, {self.inputs}, H, W) of at least {least} pixels a side"
            raise ValueError(f"This discriminator takes pictures {wanted}, not {tuple(pictures.shape)}.")
        return self.model(pictures).to(pictures.dtype)
