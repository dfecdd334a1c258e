"""Answers to the exercises of `world`, right and wrong; `test_check.py` asks for their verdicts."""

import pytest
import torch

from stlib import chapters, oracle, world
from stlib.check import world as checks

pytestmark = pytest.mark.usefixtures("one_thread")


def covered(edge, pixel):
    return (0.5 - edge / pixel).clamp(0, 1)


RING = {
    "right": [
        lambda d, width, pixel: covered(d.abs() - width / 2, pixel),
        lambda d, width, pixel: covered(d - width / 2, pixel) - covered(d + width / 2, pixel),
        lambda d, width, pixel: covered(torch.maximum(d, -d) - width / 2, pixel).float(),
    ],
    "that is the disc": lambda d, width, pixel: covered(d, pixel),
    "a larger disc": lambda d, width, pixel: covered(d - width / 2, pixel),
    "no width": lambda d, width, pixel: covered(d.abs(), pixel),
    "twice too wide": lambda d, width, pixel: covered(d.abs() - width, pixel),
    "the sign of the width": lambda d, width, pixel: covered(d.abs() + width / 2, pixel),
    "exchanged": lambda d, width, pixel: 1 - covered(d.abs() - width / 2, pixel),
    "staircase": lambda d, width, pixel: (d.abs() < width / 2).double(),
    "leave [0, 1]": lambda d, width, pixel: 0.5 - (d.abs() - width / 2) / pixel,
    "forgot the size of a pixel": lambda d, width, pixel: covered(d.abs() - width / 2, 1),
    "half a pixel wide": lambda d, width, pixel: covered(d.abs() - width / 2, pixel / 2),
    "two pixels wide": lambda d, width, pixel: covered(d.abs() - width / 2, 2 * pixel),
    "changed its input": lambda d, width, pixel: covered(d.abs_() - width / 2, pixel),
    "has the shape": lambda d, width, pixel: covered(d.abs() - width / 2, pixel)[0],
    "not the ring's coverage": lambda d, width, pixel: covered(d.abs() - width / 3, pixel),
}

PAPER, GRAPHITE = (torch.tensor(c).view(1, 3, 1, 1) for c in ((0.965, 0.955, 0.93), (0.16, 0.16, 0.19)))


def pencil(noise=0.01, **options):
    """A drawing in graphite on paper of what XDoG with hatching leaves."""

    def answer(pictures):
        dark = 1.0 * (1 - checks.hatched(pictures, **{"sigma": 0.5, "tau": 0.9, "dark": 0.6} | options)[:, :1] / 0.95)
        grain = noise * torch.randn(dark.shape, generator=torch.Generator().manual_seed(0))
        return (PAPER + (GRAPHITE - PAPER) * dark + grain).clamp(0, 1)

    return answer


FILTER = {
    "right": [pencil()],
    "you returned the photographs": lambda x: x.clone(),
    "the style is not reached": lambda x: checks._luminance(x).expand(-1, 3, -1, -1),
    "but the content suffers": lambda x: pencil()(x).roll(1, 0),
    "all your sketches are alike": lambda x: torch.full_like(x, 0.9),
    "neither content nor style": lambda x: torch.rand(x.shape, generator=torch.Generator().manual_seed(1)),
    "your sketches are negatives": lambda x: 1 - pencil()(x),
    "one channel": lambda x: pencil()(x)[:, :1],
    "is expected": lambda x: pencil()(x)[:1],
    "not in [0, 255]": lambda x: 255 * pencil()(x),
    "end with .clamp(0, 1)": lambda x: 2 * pencil()(x) - 1,
    "NaN": lambda x: pencil()(x) * float("nan"),
    "changed its input": lambda x: pencil()(x.mul_(0.9)),
}


def landscapes(sketches):
    """The surest of many, as the solution has it."""
    drawn = world.render(world.sample("landscapes", range(64)), "sketch")
    sure = oracle.load("cpu").read(drawn, "portraits").style[:, oracle.CLASSES.index("sketch")]
    return drawn[sure.topk(len(sketches)).indices]


def fresh(sketches):
    return world.render(world.sample("portraits", range(8), seed=5), "sketch")


FORGERY = {
    "right": [landscapes],
    "you returned sketches that you were given": lambda s: s.clone(),
    "in another order": lambda s: s.roll(1, 0),
    "is a portrait of this world": fresh,
    "degrees, is a portrait": lambda s: fresh(s).flip(2),
    "are sketches to the oracle": lambda s: torch.rand(s.shape, generator=torch.Generator().manual_seed(1)),
    "still reads the given faces": lambda s: 0.97 * s + 0.005,
    "is expected": lambda s: landscapes(s)[:4],
    "end with .clamp(0, 1)": lambda s: landscapes(s) * 1.5,
    "changed its input": lambda s: landscapes(s.mul_(0)),
}


def nearest(a, b, dim=1):
    return torch.cdist(a, b).min(dim=dim).values


MEMORISATION = {
    "right": [
        lambda s, t, f: nearest(s, t).median() / nearest(f, t).median(),
        lambda s, t, f: float(nearest(t, s, 0).quantile(0.5) / nearest(t, f, 0).quantile(0.5)),
    ],
    "you took means": lambda s, t, f: nearest(s, t).mean() / nearest(f, t).mean(),
    "upside down": lambda s, t, f: nearest(f, t).median() / nearest(s, t).median(),
    "nearest to itself": lambda s, t, f: nearest(s, s).median() / nearest(f, t).median(),
    "minimum over the samples": lambda s, t, f: nearest(s, t, 0).median() / nearest(f, t, 0).median(),
    "you used squared distances: take": lambda s, t, f: (
        nearest(s, t).square().median() / nearest(f, t).square().median()
    ),
    "and means for medians": lambda s, t, f: nearest(s, t).square().mean() / nearest(f, t).square().mean(),
    "you took all distances": lambda s, t, f: torch.cdist(s, t).median() / torch.cdist(f, t).median(),
    "you averaged all distances": lambda s, t, f: torch.cdist(s, t).mean() / torch.cdist(f, t).mean(),
    "you took the farthest": lambda s, t, f: (
        torch.cdist(s, t).amax(dim=1).median() / torch.cdist(f, t).amax(dim=1).median()
    ),
    "the quotient is missing": lambda s, t, f: nearest(s, t).median(),
    "distance of samples to fresh pictures": lambda s, t, f: nearest(s, t).median() / nearest(s, f).median(),
    "you measured samples to fresh": lambda s, t, f: nearest(s, f).median() / nearest(f, t).median(),
    "take the medians": lambda s, t, f: nearest(s, t) / nearest(f, t).median(),
    "changed its input": lambda s, t, f: nearest(s.mul_(2), t).median() / nearest(f, t).median(),
    "print the two medians": lambda s, t, f: 1.0,
}
CHECKS = {"ring": RING, "beats_hatching": FILTER, "fools_the_oracle": FORGERY, "memorisation": MEMORISATION}


def test_the_filter_to_be_beaten_is_that_of_the_chapter():
    photos = world.render(world.sample("portraits", range(4)), "photo")
    chapter = chapters.load_chapter("world")
    assert torch.allclose(
        checks.hatched(photos, **checks.HATCHING), chapter.xdog_hatched(photos, **checks.HATCHING), atol=1e-4
    )


def test_a_fresh_portrait_is_what_the_oracle_reads_in_it_and_a_landscape_is_not():
    known = checks._subjects(checks.MODELS)
    for pictures, is_portrait in ((fresh(known.sketches), True), (landscapes(known.sketches), False)):
        alike = checks._redrawn(pictures, known.read(pictures)[0], known.contents)
        assert bool((alike.max() >= checks.ALIKE).item()) is is_portrait, alike


def test_the_filter_to_beat_is_the_one_that_the_chapter_tuned():
    import ast

    from stlib import results

    settings = results.facts("world", results.rows("world"))["setting, sketch"]
    assert ast.literal_eval(settings["XDoG with hatching"][0]) == checks.HATCHING
