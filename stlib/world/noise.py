"""Random numbers and smooth noise that depend only on (seed, number of the picture, stream), not on the batch.

Numbers come from an integer hash, so that picture 7 is the same alone, in any batch and on any device.
"""

import zlib
from functools import lru_cache

import torch
import torch.nn.functional as F

MASK = 0xFFFFFFFF
TILE = 512  # side of the tile of smooth noise, in texels
FEATURE = 4  # texels between neighbouring values of that tile


def hash32(x):
    """Hash int64 numbers to 32 well-mixed bits, elementwise (C. Wellons' lowbias32)."""
    x = x & MASK
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & MASK
    return x ^ (x >> 16)


def keys(seed, numbers, stream):
    """One key (B,) int64 for each picture: `seed` an int, `numbers` (B,) int64, `stream` a text that names the use."""
    salt = zlib.crc32(f"{seed}/{stream}".encode())
    return hash32(hash32(numbers + 0x9E3779B9) ^ salt)


def uniform(key, count):
    """`count` numbers in [0, 1) for each key: (B, count) float32."""
    steps = torch.arange(count, device=key.device)
    u = hash32(key[:, None] ^ hash32(steps + 1)).float() / 2**32
    return u.clamp(max=1 - 2**-24)  # float32 rounds the largest up to 1


def unit(key):
    """One number in [0, 1) for each key: (B, 1, 1, 1)."""
    return uniform(key, 1)[..., None, None]


def pick(key, table):
    """One row of a table, such as a colour, for each key: (B, C, 1, 1)."""
    place = (unit(key).flatten() * len(table)).long()
    return torch.tensor(table, device=key.device)[place][..., None, None]


@lru_cache(maxsize=8)
def tile(device="cpu"):
    """The tile of smooth noise (1, 1, TILE, TILE): mean 0, standard deviation 1, `FEATURE` texels a feature."""
    cells = TILE // FEATURE
    white = uniform(hash32(torch.arange(cells) + 77), cells)[None, None] - 0.5
    smooth = F.interpolate(F.pad(white, (2, 2, 2, 2), "circular"), scale_factor=FEATURE, mode="bicubic")
    smooth = smooth[..., 2 * FEATURE : -2 * FEATURE, 2 * FEATURE : -2 * FEATURE]
    return ((smooth - smooth.mean()) / smooth.std()).to(device)


def smooth(key, u, v):
    """Smooth noise at the places (u, v), both (B, 1, H, W), one unit a feature: mean 0, standard deviation 1."""
    shift = uniform(key, 2)[..., None, None]
    texel = 2 * FEATURE / TILE
    # folded back at the border of the tile: grid_sample does it by reflection
    grid = torch.stack([u[:, 0] * texel + shift[:, 0] * 2 - 1, v[:, 0] * texel + shift[:, 1] * 2 - 1], dim=-1)
    there = tile(str(key.device)).expand(len(key), -1, -1, -1)
    return F.grid_sample(there, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def fractal(key, u, v, octaves=3):
    """Sum of `octaves` smooth noises, each twice as fine and half as strong: about mean 0, deviation 1."""
    total, scale = 0, sum(4.0**-i for i in range(octaves)) ** -0.5
    for i in range(octaves):
        total = total + smooth(hash32(key + i), u * 2**i, v * 2**i) * 2.0**-i
    return total * scale
