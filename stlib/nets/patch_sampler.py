"""What PatchNCE compares: vectors at random positions of feature maps, projected and made unit length.

Park et al. 2020. State dicts have the names of the official code.
"""

import torch
from torch import nn

from stlib.nets.resnet import initialize


def unit_length(x, eps=1e-7):
    """x / (length + eps) along the last axis. Zeros stay zeros, with a gradient (in the official code: NaN)."""
    return x / (torch.linalg.vector_norm(x, dim=-1, keepdim=True) + eps)


def draw_positions(maps, patches=256):
    """For each map (B, C, H, W) at most `patches` of its H W positions, without repetition, in random order.

    Position p is row p // W, column p % W. They come from torch's generator for the CPU.
    """
    return [torch.randperm(m.shape[2] * m.shape[3])[:patches].to(m.device) for m in maps]


class PatchSampler(nn.Module):
    """Maps [(B, C, H, W), ...] to vectors [(B, P, width), ...] of unit length: a linear layer, ReLU, a linear layer.

    `channels` are those of the maps (`resnet.Generator.widths`): the layers are made at once, so that an optimizer made
    next has them (in the official code they come with the first batch, and one made before it trains none of them).
    Without a `width` nothing is projected. `init` and `gain` are those of `resnet.initialize`.
    """

    def __init__(self, channels, width=256, init="xavier", gain=0.02):
        super().__init__()
        self.channels, self.width = list(channels), width
        for number, inputs in enumerate(self.channels if width else []):
            mlp = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width))
            self.add_module(f"mlp_{number}", mlp)
        initialize(self, init, gain)

    def forward(self, maps, positions):
        """The vectors at the `positions` of each map, the same for all pictures of a batch.

        `positions` are those of `draw_positions`: queries and keys must share them. Raises ValueError for other maps.
        """
        found = [m.shape[1] for m in maps]
        if found != self.channels or len(positions) != len(maps):
            made, got = f"maps of {self.channels} channels", f"maps of {found} and {len(positions)} lists of positions"
            raise ValueError(f"This sampler was made for {made}, with one list of positions each, not for {got}.")
        vectors = []
        for number, (m, at) in enumerate(zip(maps, positions, strict=True)):
            rows = m.permute(0, 2, 3, 1).flatten(1, 2)[:, at]
            vectors.append(unit_length(getattr(self, f"mlp_{number}")(rows) if self.width else rows))
        return vectors
