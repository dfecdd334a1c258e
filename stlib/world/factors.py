"""What a picture of the world is of: named factors, their ranges and units, and a batch of their values."""

import math
import operator
from dataclasses import dataclass
from types import SimpleNamespace

import torch

from stlib.world import noise


class WorldError(ValueError):
    """A factor, family, style or size that the world does not have; the message says what it has."""


@dataclass(frozen=True)
class Factor:
    """One named factor of a content: continuous, an angle (periodic), or a choice among `options`.

    Values lie in [low, high]; an angle is counted in turns, 0 and 1 being the same; a choice is the index of its
    option. `absent` is the share of contents that have the lowest value or the first option (no beard, no glasses).
    `needs` names another factor and the least value of it with which this one shows (the place of a house needs one).
    """

    name: str
    text: str
    low: float = 0.0
    high: float = 1.0
    unit: str = ""
    absent: float = 0.0
    options: tuple = ()
    periodic: bool = False
    needs: tuple = ()

    def draw(self, u):
        """A value for each uniform number u in [0, 1): the factor's distribution in the world."""
        if self.options and not self.absent:
            return (u * len(self.options)).floor()
        u = ((u - self.absent) / (1 - self.absent)).clamp(min=0)
        if self.options:
            return (u * (len(self.options) - 1)).ceil()
        return self.low + u * (self.high - self.low)

    @property
    def outputs(self):
        """How many numbers a network puts out for it: one, cosine and sine of an angle, or one for each option."""
        return len(self.options) or (2 if self.periodic else 1)


class Contents:
    """A batch of contents: `values` (B, F) float32 in the order of the family's factors, and where they come from.

    `contents["smile"]` is a factor's values (B,), `contents[2:5]` a part of the batch, `replace(smile=1)` a copy
    with other values. `numbers` (B,) and `seed` name the pictures: everything random is drawn from them.
    """

    def __init__(self, family, factors, values, numbers, seed):
        self.family, self.factors, self.values, self.numbers, self.seed = family, factors, values, numbers, seed

    def __len__(self):
        return len(self.values)

    def __getitem__(self, what):
        if isinstance(what, str):
            return self.values[:, self._column(what)]
        if isinstance(what, int):
            if not -len(self) <= what < len(self):
                raise WorldError(f"There is no content {what}: these are {len(self)}, counted from 0.")
            what = slice(what, what + 1 or None)
        return Contents(self.family, self.factors, self.values[what], self.numbers[what], self.seed)

    def _column(self, name):
        names = [factor.name for factor in self.factors]
        if name not in names:
            raise WorldError(f"{self.family} have no factor {name!r}; they have: {', '.join(names)}.")
        return names.index(name)

    def replace(self, **values):
        """A copy in which the named factors have other values (numbers, or tensors (B,)); choices take their name."""
        copy = self[:]
        copy.values = self.values.clone()
        for name, value in values.items():
            at = self._column(name)
            factor = self.factors[at]
            if isinstance(value, str):
                if value not in factor.options:
                    raise WorldError(f"{name} has no option {value!r}; it has: {', '.join(factor.options) or 'none'}.")
                value = factor.options.index(value)
            value = torch.as_tensor(value, dtype=copy.values.dtype, device=copy.values.device)
            if value.shape not in ((), (len(self),)):
                raise WorldError(f"{name} takes one number, or one for each of {len(self)}; got {tuple(value.shape)}.")
            high = len(factor.options) - 1 if factor.options else factor.high
            whole = not factor.options or bool((value == value.round()).all())
            if not whole or not bool(((value >= factor.low) & (value <= high)).all()):
                kind = "is a whole number" if factor.options else "lies"
                raise WorldError(
                    f"{name} {kind} between {factor.low:g} and {high:g}; got {value.flatten().tolist()[:4]}."
                )
            copy.values[:, at] = value
        return copy

    def shown(self, name):
        """A factor's values (B,), NaN in contents where it does not show: see `Factor.needs`."""
        needs = self.factors[self._column(name)].needs
        if not needs:
            return self[name]
        other, least = needs
        return self[name].where(self.shown(other) >= least, torch.nan)

    def repeat(self, times):
        """Each content `times` times in a row: the frames of a factor that is moved by `replace`."""
        return self[torch.arange(len(self)).repeat_interleave(times)]

    def key(self, stream):
        """The keys (B,) of the random stream called `stream`; see `stlib.world.noise`."""
        return noise.keys(self.seed, self.numbers, stream).to(self.values.device)

    def maps(self):
        """All factors as tensors (B, 1, 1, 1), by name: what a renderer computes with."""
        columns = self.values.T[..., None, None, None]
        return SimpleNamespace(**{factor.name: column for factor, column in zip(self.factors, columns, strict=True)})

    def to(self, device):
        """The same contents on another device."""
        copy = self[:]
        copy.values, copy.numbers = self.values.to(device), self.numbers.to(device)
        return copy


def targets(contents):
    """What a network should put out for contents, (B, columns): [-1, 1], cosine and sine, or the option's number.

    NaN where a factor does not show.
    """
    columns = []
    for factor in contents.factors:
        value = contents.shown(factor.name)
        if factor.options:
            columns.append(value)
        elif factor.periodic:
            columns += [torch.cos(2 * math.pi * value), torch.sin(2 * math.pi * value)]
        else:
            columns.append((2 * value - factor.high - factor.low) / (factor.high - factor.low))
    return torch.stack(columns, dim=1)


def draw(family, factors, numbers, seed=0, device="cpu"):
    """The contents called `numbers` (ints) of `seed`: each factor drawn on its own from its distribution."""
    try:
        numbers = torch.as_tensor([operator.index(number) for number in numbers], dtype=torch.int64)
    except TypeError:
        raise WorldError(f"Contents are named by whole numbers, as in [3] or range(8); got {numbers!r}.") from None
    u = noise.uniform(noise.keys(seed, numbers, f"{family}/content"), len(factors))
    values = torch.stack([factor.draw(u[:, i]) for i, factor in enumerate(factors)], dim=1)
    return Contents(family, factors, values, numbers, seed).to(device)
