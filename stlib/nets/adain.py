"""The two ends of AdaIN: how a frozen SqueezeNet encodes a picture, and the decoder that paints one from features.

Built and trained in the chapter `1_optimization/adain`; a test holds chapter and module equal.
"""

import torch
from torch import nn
from torch.nn import functional

from stlib import runtime

LAYER = "fire5"  # 256 channels, one position for 8 x 8 pixels: what VGG's relu4_1 is to the paper
STAGES = ((192, 128, 128), (96, 64), (48, 32), (32, 3))  # widths of the convolutions, with x2 upsampling between stages


def encode(network, picture, names=(LAYER,)):
    """Features of pictures (B, 3, H, W) in [0, 1] at the named layers of SqueezeNet; fire5 is (B, 256, H/8, W/8).

    H and W are multiples of 8. SqueezeNet's first layer does not pad and its pools look ahead: five mirrored pixels
    above and on the left put each position over the middle of its 8 x 8 pixels.
    """
    return network(functional.pad(picture, (5, 0, 5, 0), mode="reflect"), list(names))


class Decoder(nn.Module):
    """Features (B, C, h, w) to pictures (B, 3, 8h, 8w): 3 x 3 convolutions, mirrored borders, no norm.

    `stages` holds the widths of the convolutions between upsamplings. The input is standardised by the fixed buffers
    `mean` and `std` (1, C, 1, 1). Huang and Belongie 2017: channels 512, stages (256,), (256, 256, 256, 128),
    (128, 64), (64, 3).
    """

    def __init__(self, channels=256, stages=STAGES):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("std", torch.ones(1, channels, 1, 1))
        layers = []
        for number, widths in enumerate(stages):
            layers += [nn.Upsample(scale_factor=2, mode="nearest")] if number else []
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1, padding_mode="reflect"), nn.ReLU()]
                nn.init.kaiming_normal_(layers[-2].weight, nonlinearity="relu")
                nn.init.zeros_(layers[-2].bias)
                channels = width
        self.layers = nn.Sequential(*layers[:-1]).to(memory_format=torch.channels_last)  # no ReLU after the last

    def forward(self, features):
        x = ((features - self.mean) / self.std).contiguous(memory_format=torch.channels_last)
        dtype = runtime.fast_dtype(x.device)
        with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32 == x.dtype):
            return self.layers(x).to(x.dtype)
