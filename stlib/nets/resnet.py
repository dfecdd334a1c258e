"""The ResNet generator of the CycleGAN family, and CUT's form of it that filters where it changes the resolution.

Johnson et al. 2016, Zhu et al. 2017, Park et al. 2020. Pictures have the network's own range: [-1, 1] in, (-1, 1) out
by a tanh; `2 * pictures - 1` and `(pictures + 1) / 2` lead there and back. State dicts have the names of the official
PyTorch codes, whose constant filters (`filt`, CUT) are skipped on loading.
"""

from torch import nn
from torch.nn import functional

from stlib.nets.convolutions import fir_kernel, resample
from stlib.nets.normalization import InstanceNorm


def initialize(network, kind="normal", gain=0.02):
    """Draw the weights of all convolutions and linear layers anew, biases 0; return the network.

    `kind`: "normal" draws from N(0, gain^2) (CycleGAN), "xavier" with the deviation gain sqrt(2 / (fan in + fan out))
    (CUT, where the weights so are tens of times smaller). Raises ValueError on others.
    """
    if kind not in ("normal", "xavier"):
        raise ValueError(f"initialize() knows the kinds 'normal' and 'xavier', not {kind!r}.")
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(layer.weight, 0, gain) if kind == "normal" else nn.init.xavier_normal_(layer.weight, gain)
            nn.init.zeros_(layer.bias)
    return network


# Layers ---------------------------------------------------------------------------------------------------------------


def _skip_filter(module, state, prefix, *_):
    """Official state dicts of CUT hold the constant filters."""
    state.pop(prefix + "filt", None)


class BlurDown(nn.Module):
    """Maps (B, C, H, W) to (B, C, ceil(H/2), ceil(W/2)): mirrored borders, [1, 2, 1] both ways, every second kept."""

    def __init__(self):
        super().__init__()
        self.register_buffer("kernel", fir_kernel((1, 2, 1)), persistent=False)
        self.register_load_state_dict_pre_hook(_skip_filter)

    def forward(self, x):
        return resample(functional.pad(x, (1, 1, 1, 1), mode="reflect"), self.kernel, down=2)


class BlurUp(nn.Module):
    """Maps (B, C, H, W) to (B, C, 2H, 2W). CUT's filter [1, 3, 3, 1] with repeated borders is the bilinear one."""

    def __init__(self):
        super().__init__()
        self.register_load_state_dict_pre_hook(_skip_filter)

    def forward(self, x):
        return functional.interpolate(x, scale_factor=2, mode="bilinear")  # y[2i] = (3 x[i] + x[i-1]) / 4


class Block(nn.Module):
    """x + two 3 x 3 convolutions with mirrored borders and instance norm, ReLU between; none after the sum."""

    def __init__(self, width):
        super().__init__()
        first, second = ([nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), InstanceNorm()] for _ in range(2))
        self.conv_block = nn.Sequential(*first, nn.ReLU(), *second)

    def forward(self, x):
        return x + self.conv_block(x)


# The generator --------------------------------------------------------------------------------------------------------


class Generator(nn.Module):
    """Pictures (B, `inputs`, H, W) in [-1, 1] to pictures (B, `outputs`, H, W) in (-1, 1); sides multiples of 4.

    A 7 x 7 convolution to `width` maps, two halvings to 4 `width`, `blocks` residual blocks, two doublings, a 7 x 7
    convolution and tanh; each convolution is followed by an instance norm and a ReLU. Published: width 64, 9 blocks at
    256 pixels (11.378 million parameters), 6 at 128. With `antialias`, as in CUT, convolutions have stride 1 and a
    filter halves or doubles: fewer grids in the picture, more time for it. `init` and `gain` are those of `initialize`
    (CUT: "xavier"). A layer is named by its place in `model`, as in the official codes; with `antialias` the places
    differ: 12 is block 1 there, and block 3 without.
    """

    def __init__(self, width=64, blocks=9, antialias=False, inputs=3, outputs=3, init="normal", gain=0.02):
        super().__init__()
        self.inputs = inputs
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(inputs, width, 7), InstanceNorm(), nn.ReLU()]
        for n in (width, 2 * width):
            layers += [nn.Conv2d(n, 2 * n, 3, 1 if antialias else 2, 1), InstanceNorm(), nn.ReLU()]
            layers += [BlurDown()] if antialias else []
        layers += [Block(4 * width) for _ in range(blocks)]
        for n in (2 * width, width):
            if antialias:
                layers += [BlurUp(), nn.Conv2d(2 * n, n, 3, padding=1)]
            else:
                layers += [nn.ConvTranspose2d(2 * n, n, 3, stride=2, padding=1, output_padding=1)]
            layers += [InstanceNorm(), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, outputs, 7), nn.Tanh())
        initialize(self, init, gain)

    @property
    def taps(self):
        """Places for PatchNCE, the same maps with and without `antialias`.

        The padded picture, the two halving convolutions before their norm, the first block and the middle one: with
        9 blocks, CUT's (0, 4, 8, 12, 16).
        """
        convs = [place for place, layer in enumerate(self.model) if isinstance(layer, nn.Conv2d)]
        blocks = [place for place, layer in enumerate(self.model) if isinstance(layer, Block)]
        return list(dict.fromkeys([0, *convs[1:3], *blocks[:1], *blocks[len(blocks) // 2 :][:1]]))

    def widths(self, layers):
        """The number of channels of the maps after these layers: what a `PatchSampler` is made with."""
        width, after = self.inputs, []
        for layer in self.model:
            width = getattr(layer, "out_channels", width)
            after.append(width)
        return [after[place] for place in self._checked(layers)]

    def features(self, pictures, layers):
        """The maps after these layers of `model`, a list in their order; what comes behind the last is not computed.

        The map of an instance norm (place 8 without `antialias`) is what it is called. In the official code the ReLU
        behind works in place, so that a tap there returns the rectified map: ask for the place behind to get it.
        """
        last, maps, x = max(self._checked(layers)), {}, self._checked_pictures(pictures)
        for place, layer in enumerate(self.model[: last + 1]):
            x = layer(x)
            if place in layers:
                maps[place] = x
        return [maps[place] for place in layers]

    def forward(self, pictures):
        colours = self.model[:-1](self._checked_pictures(pictures))
        return self.model[-1](colours.to(pictures.dtype))  # also under autocast: 8 bits are too few for a picture

    def _checked(self, layers):
        if not layers or min(layers) < 0 or max(layers) >= len(self.model):
            raise ValueError(f"This generator has the layers 0 to {len(self.model) - 1}, not {list(layers)}.")
        return layers

    def _checked_pictures(self, pictures):
        height, width = pictures.shape[-2:]
        if pictures.ndim != 4 or pictures.shape[1] != self.inputs or height % 4 or width % 4 or min(height, width) < 8:
            wanted = f"(B, {self.inputs}, H, W) whose sides are multiples of 4 from 8 on"
            raise ValueError(f"This generator takes pictures {wanted}, not {tuple(pictures.shape)}.")
        return pictures
