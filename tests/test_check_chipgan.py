"""Answers to the exercises of `chipgan`, right and wrong; `test_check.py` asks for their verdicts."""

import math

import torch
from torch.nn import functional

from stlib import check


def eroded(pool=lambda x, size: -functional.max_pool2d(-x, size, 1), around=1.0, half=lambda size: size // 2):
    def answer(x, size):
        r = half(size)
        return pool(functional.pad(x, (r, r, r, r), value=around), size)

    return answer


def largest(x, size):
    return functional.max_pool2d(x, size, 1)


def by_windows(x, size):
    r = size // 2
    padded = functional.pad(x, (r,) * 4, mode="replicate")
    return padded.unfold(2, size, 1).unfold(3, size, 1).amin(dim=(4, 5))


def by_shifts(x, size):
    r, made = size // 2, x
    padded = functional.pad(x, (r,) * 4, value=1.0)
    for i in range(size):
        for j in range(size):
            made = torch.minimum(made, padded[..., i : i + x.shape[2], j : j + x.shape[3]])
    return made


EROSION = {
    "right": [eroded(), lambda x, size: -functional.max_pool2d(-x, size, 1, size // 2), by_windows, by_shifts],
    "you took the maximum: that lets": eroded(largest, around=-1.0),
    "the paper around the picture wins": eroded(largest),
    "that lets the paper grow": eroded(largest, around=0.0),
    "the sign was not turned back": eroded(lambda x, size: functional.max_pool2d(-x, size, 1)),
    "turned into its negative": lambda x, size: eroded()(-x, size),
    "grey (0)": eroded(around=0.0),
    "black (-1)": eroded(around=-1.0),
    "you took the mean": eroded(lambda x, size: functional.avg_pool2d(x, size, 1)),
    "the mean of each window": lambda x, size: functional.avg_pool2d(x, size, 1, size // 2),
    "you took the median": eroded(lambda x, size: x.unfold(2, size, 1).unfold(3, size, 1).flatten(4).median(4).values),
    "over the channels, too": lambda x, size: eroded()(x, size).amin(1, keepdim=True).expand_as(x),
    "over the channels: it goes": lambda x, size: x.amin(1, keepdim=True).expand_as(x),
    "one column only": lambda x, size: -functional.max_pool2d(-x, (size, 1), 1, (size // 2, 0)),
    "one row only": lambda x, size: -functional.max_pool2d(-x, (1, size), 1, (0, size // 2)),
    "always 3": lambda x, size: eroded()(x, 3),
    "reaches `size` pixels to each side": lambda x, size: eroded()(x, 2 * size + 1),
    "you eroded twice": lambda x, size: eroded()(eroded()(x, size), size),
    "nothing changed": lambda x, size: x.clone(),
    "pixels smaller": lambda x, size: -functional.max_pool2d(-x, size, 1),
    "do not overlap": lambda x, size: -functional.max_pool2d(-x, size),
    "right inside": eroded(around=0.4),
    "is not the minimum of each window": lambda x, size: eroded()(x, size) * 0.5 - 0.1,
    "nothing can be learnt": lambda x, size: eroded()(x.detach(), size),
    "the gradient is another": lambda x, size: x + (eroded()(x, size) - x).detach(),
    "changed its input": lambda x, size: eroded()(x.data.mul_(0.5), size),
    "has the shape": lambda x, size: eroded()(x, size)[:, :1],
    "returns a list": lambda x, size: eroded()(x, size).tolist(),
}


def brush(
    beta=lambda y: (1 - y).mean(), edge=lambda p, y: y * p.log(), rest=lambda p, y: (1 - y) * (1 - p).log(),
    of=torch.mean, detach=True, clamp=1e-6, before=lambda p: p, target=lambda y: y,
):  # fmt: skip
    def answer(p, y):
        y = target(y.detach() if detach else y)
        p = before(p)
        p = p.clamp(clamp, 1 - clamp) if clamp else p
        b = beta(y)
        return -of(b * edge(p, y) + (1 - b) * rest(p, y))

    return answer


def as_released(p, y):
    """A weight for the positive part, and the whole times 1 - beta."""
    p, y = p.clamp(1e-6, 1 - 1e-6), y.detach()
    beta = (1 - y).sum() / y.numel()
    return ((1 - beta) * -(beta / (1 - beta) * y * p.log() + (1 - y) * (1 - p).log())).mean()


def by_two_entropies(p, y):
    y = y.detach()
    beta = 1 - y.mean()
    ones = torch.ones_like(p)
    yes, no = (functional.binary_cross_entropy(p, t, reduction="none") for t in (ones, 0 * ones))
    return (beta * y * yes + (1 - beta) * (1 - y) * no).mean()


def hard(y):
    return (y > 0.5).to(y)


def twice(p, y):
    p, y = p.sigmoid(), y.detach().sigmoid()
    return brush()(p, y)


def late(p):
    """A logarithm whose infinity is taken away behind it: its gradient stays."""
    return p.log().clamp(min=-20)


BRUSH = {
    "right": [brush(), as_released, by_two_entropies],
    "the sign is the other way": lambda p, y: -brush()(p, y),
    "the balance is missing": lambda p, y: functional.binary_cross_entropy(p, y.detach()),
    "the balance is missing: β": brush(beta=lambda y: 0.5),
    "the wrong class": brush(beta=lambda y: y.mean()),
    "β is taken of each picture": brush(beta=lambda y: (1 - y).mean(dim=(1, 2, 3), keepdim=True)),
    "β is taken of each pixel": brush(beta=lambda y: (1 - y).mean(dim=0, keepdim=True)),
    "β is taken of the painting": lambda p, y: brush(beta=lambda _: (1 - p).mean())(p, y),
    "β counts the pixels": brush(beta=lambda y: (1 - hard(y)).mean()),
    "you rounded the edges": brush(target=hard),
    "p and y are exchanged": lambda p, y: brush()(y, p),
    "you summed": brush(of=torch.sum),
    "only the edges count": brush(rest=lambda p, y: 0),
    "only the places without": brush(edge=lambda p, y: 0),
    "a sigmoid has been taken of p: it": brush(before=torch.sigmoid),
    "a sigmoid has been taken of p and y": twice,
    "and the balance is missing": lambda p, y: functional.binary_cross_entropy(p.sigmoid(), y.detach()),
    "(1 - y) is missing": brush(rest=lambda p, y: (1 - p).log()),
    "y is missing": brush(edge=lambda p, y: p.log()),
    "that of 1 - p": brush(rest=lambda p, y: (1 - y) * p.log()),
    "both terms have the same sign": brush(rest=lambda p, y: -(1 - y) * (1 - p).log()),
    "multiplied by 1 - β": lambda p, y: as_released(p, y) / y.detach().mean(),
    "the weight 10": lambda p, y: 10 * brush()(p, y),
    "base 2": lambda p, y: brush()(p, y) / math.log(2),
    "that is a squared difference": lambda p, y: (p - y.detach()).square().mean(),
    "that is a difference": lambda p, y: (p - y.detach()).abs().mean(),
    "too much": brush(clamp=0.1),
    "plus (1 - β)": lambda p, y: brush()(p, y) + 1,
    "nothing can be learnt": lambda p, y: brush()(p, y).item(),
    "the painting gets no gradient": lambda p, y: brush(detach=False)(p.detach(), y),
    "y gets a gradient": brush(detach=False),
    "another gradient": lambda p, y: 2 * brush()(p, y) - brush()(p, y).detach(),
    "where p is exactly 0 or 1: clamp": brush(clamp=0),
    "the gradient is not finite": brush(
        clamp=0, edge=lambda p, y: y * late(p), rest=lambda p, y: (1 - y) * late(1 - p)
    ),
    "of shape": brush(of=lambda x: x),
    "returns a str": lambda p, y: "a loss",
    "changed its input": lambda p, y: brush()(p.data.mul_(0.9), y),
}  # fmt: skip


CAUSES = {"run A": "heavy", "run B": "left_out", "run C": "targets", "run D": "still"}
BROKEN = {
    "right": [CAUSES, dict(reversed(CAUSES.items())) | {"healthy": "maximum"}],
    "run A again": CAUSES | {"run A": "targets"},
    "run B again": CAUSES | {"run B": "still", "run D": "left_out"},
    "run C again": CAUSES | {"run C": "left_out"},
    "run D again": CAUSES | {"run D": "maximum"},
    "a wish that cannot be granted": CAUSES | {"run A": "stranger"},
    "can play their game": CAUSES | {"run D": "maximum"},
    "the same answer 4 times": dict.fromkeys(CAUSES, "stranger"),
    "each has another one": dict.fromkeys(CAUSES, "maximum"),
    "no answer for run D": {run: cause for run, cause in CAUSES.items() if run != "run D"},
    "is not on the list": CAUSES | {"run A": "bad luck"},
    "give a dict": list(CAUSES.values()),
}

CHECKS = {"erosion": EROSION, "brush": BRUSH, "broken": BROKEN}


def test_dots_in_a_diagnosis_are_not_attempted():
    assert check.chipgan.broken(CAUSES | {"run B": ...}).status == "not attempted"


def test_the_curves_have_all_steps():
    curves, steps = check.chipgan.CURVES, check.chipgan.STEPS
    assert all(len(values) == len(steps) for run in curves.values() for values in run.values())
    assert {*curves} == {"healthy", *CAUSES} and {*CAUSES.values()} < {*check.chipgan.MISTAKES}


def test_the_mistakes_are_those_of_the_script():
    from chipgan_mistakes import MISTAKES

    assert {*MISTAKES} == {*check.chipgan.MISTAKES}
