"""The oracle: it reads the factors and the style off any picture. It judges; nothing is ever trained through it.

>>> judge = oracle.load()
>>> reading = judge.read(pictures, "portraits")
>>> reading.values["smile"], reading.choices["hair"], reading.style

How it was trained: `stlib/zoo/judges.py`. How well it reads: `accuracy`, and the chapter `laboratory/world`.
"""

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from stlib import runtime, world, zoo

SIDE = 64  # pixels; pictures of other sizes are averaged or interpolated to it
OTHER = "other"  # the class of pictures that are not of this world
CLASSES = (*world.STYLES, OTHER)
READABLE = 0.8  # held-out accuracy (R^2, or for choices its analogue) from which a factor counts in a style


@dataclass
class Reading:
    """What the oracle sees in B pictures.

    `values`: continuous factors and angles, each (B,), in the factor's own unit. `choices`: probabilities (B, options).
    `style`: probabilities (B, 7) of `CLASSES`.
    """

    values: dict
    choices: dict
    style: torch.Tensor


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm around a skip; the first may halve the picture."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)])
        self.skip = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 else nn.Identity()

    def forward(self, x):
        y = self.norms[1](self.second(F.relu(self.norms[0](self.first(x)))))
        return F.relu(y + self.skip(x))


class Oracle(nn.Module):
    """A small residual network with one head per family and one for the style; (B, 3, 64, 64) in [0, 1]."""

    def __init__(self, widths=(32, 64, 128), narrow=28, hidden=224):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 5, 2, 2, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
        blocks = [Block(widths[0], widths[0], 1)]
        for before, wide in zip(widths, widths[1:], strict=False):
            blocks += [Block(before, wide, 2), Block(wide, wide, 1)]
        self.blocks = nn.Sequential(*blocks, Block(widths[-1], widths[-1], 1))
        self.narrow = nn.Sequential(
            nn.Conv2d(widths[-1], narrow, 1, bias=False), nn.BatchNorm2d(narrow), nn.ReLU(), nn.Flatten()
        )
        self.hidden = nn.Sequential(nn.Linear(narrow * (SIDE // 8) ** 2, hidden), nn.ReLU())
        sizes = {family: sum(f.outputs for f in module.FACTORS) for family, module in world.FAMILIES.items()}
        self.factors = nn.ModuleDict({family: nn.Linear(hidden, size) for family, size in sizes.items()})
        self.style = nn.Linear(widths[-1], len(CLASSES))

    def forward(self, pictures):
        """The raw outputs: a dict with one entry (B, .) per family, and the logits "style" (B, 7)."""
        features = self.blocks(self.stem(pictures * 2 - 1))
        x = self.hidden(self.narrow(features))
        style = self.style(features.mean(dim=(2, 3)))
        return {"style": style, **{family: head(x) for family, head in self.factors.items()}}

    @torch.no_grad()
    def read(self, pictures, family):
        """Read pictures (B, 3, H, W) in [0, 1] of `family`, H = W of 32 pixels and more: a `Reading`.

        No gradient flows: this network is the judge, not a loss. Raises ValueError for other shapes and families.
        """
        if pictures.ndim != 4 or pictures.shape[1] != 3 or min(pictures.shape[2:]) < 32:
            raise ValueError(f"The oracle reads (B, 3, H, W) of 32 pixels and more; got {tuple(pictures.shape)}.")
        if family not in world.FAMILIES:
            raise ValueError(f"The oracle reads {' and '.join(world.FAMILIES)}; got {family!r}.")
        if not (pictures.min() >= -1e-3 and pictures.max() <= 1 + 1e-3):
            low, high = pictures.min().item(), pictures.max().item()
            raise ValueError(f"The oracle reads pictures in [0, 1]; these reach from {low:.3g} to {high:.3g}.")
        parts = [self(resized(part)) for part in pictures.detach().float().split(256)]
        raw = {name: torch.cat([part[name] for part in parts]).float() for name in (family, "style")}
        values, choices = {}, {}
        widths = [factor.outputs for factor in world.FAMILIES[family].FACTORS]
        for factor, x in zip(world.FAMILIES[family].FACTORS, raw[family].split(widths, dim=1), strict=True):
            if factor.options:
                choices[factor.name] = x.softmax(dim=1)
            elif factor.periodic:
                values[factor.name] = torch.atan2(x[:, 1], x[:, 0]) / (2 * math.pi) % 1
            else:
                middle, half = (factor.high + factor.low) / 2, (factor.high - factor.low) / 2
                values[factor.name] = (middle + half * x[:, 0]).clamp(factor.low, factor.high)
        return Reading(values, choices, raw["style"].softmax(dim=1))


def resized(pictures):
    """Pictures (B, 3, H, W) at the oracle's 64 pixels: averaged down, or interpolated up."""
    height, width = pictures.shape[-2:]
    if height == width == SIDE:
        return pictures
    if height == width and height % SIDE == 0:
        return F.avg_pool2d(pictures, height // SIDE)
    return F.interpolate(pictures, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False).clamp(0, 1)


def score(factor, reading, truth):
    """How well a factor was read: R^2; of choices (hits - chance) / (1 - chance); of angles the mean cosine of errors.

    `truth` (B,) in the factor's unit, NaN where it does not show, as `Contents.shown` gives it: those do not count.
    1 is perfect, 0 no better than a constant guess. Raises ValueError where fewer than two are left, or all are alike.
    """
    shown = ~truth.isnan()
    if shown.sum() < 2:
        raise ValueError(f"{factor.name} shows in {int(shown.sum())} of {len(truth)} contents: too few to score it.")
    truth = truth[shown]
    if not factor.periodic and bool((truth == truth[0]).all()):
        raise ValueError(f"The contents are all alike in {factor.name}: nothing tells reading from guessing.")
    if factor.options:
        hit = (reading.choices[factor.name][shown].argmax(dim=1) == truth).float().mean()
        chance = F.one_hot(truth.long(), len(factor.options)).float().mean(dim=0).max()
        return float((hit - chance) / (1 - chance))
    guess = reading.values[factor.name][shown]
    if factor.periodic:
        return float((2 * math.pi * (guess - truth)).cos().mean())
    return float(1 - (guess - truth).square().mean() / (truth - truth.mean()).square().mean())


@lru_cache(maxsize=2)
def _load(where):
    return zoo.load("oracle", Oracle()).requires_grad_(False).to(where)


def load(device=None):
    """The oracle that ships with the course, frozen, on `device` (the default: GPU if there is one)."""
    return _load(runtime.device(device))


def accuracy():
    """The published held-out accuracy: {size: {family: {style: {factor: score}}}}, and {size: {"style": ...}}."""
    return json.loads((Path(zoo.__file__).parent / "weights" / "oracle.json").read_text(encoding="utf8"))["training"][
        "accuracy"
    ]


def carried(family, style, size=64):
    """The factors that are scored in a style: those the oracle reads with `READABLE` accuracy there, at that size."""
    if style not in world.STYLES:
        raise ValueError(f"The world has no style {style!r}; it has: {', '.join(world.STYLES)}.")
    if family not in world.FAMILIES:
        raise ValueError(f"The oracle reads {' and '.join(world.FAMILIES)}; got {family!r}.")
    table = accuracy()["128" if size >= 96 else "64"][family][style]
    return tuple(name for name, value in table.items() if value >= READABLE)
