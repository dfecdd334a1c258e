"""Answers to the exercises of `sapgan`, right and wrong; `test_check.py` asks for their verdicts."""

import torch
from torch.nn import functional

from stlib import check


def squares(high, low):
    return ((high - low.mean() - 1).square().mean() + (low - high.mean() + 1).square().mean()) / 2


def both(loss, other=None):
    """(d, g) of one function of the side that shall lie above and the other."""
    return lambda real, made: (loss(real, made), (other or loss)(made, real))


def picture_by_picture(real, made):
    d = sum((x - made.mean() - 1) ** 2 for x in real) / len(real) + sum((x - real.mean() + 1) ** 2 for x in made) / 9
    g = functional.mse_loss(made - real.mean(), torch.ones_like(made))
    g = g + functional.mse_loss(real - made.mean(), -torch.ones_like(real))
    return d / 2, g / 2


RELATIVISTIC = {
    "right": [both(squares), picture_by_picture],
    "the two losses are exchanged": lambda r, m: (squares(m, r), squares(r, m)),
    "that is the loss of G": lambda r, m: (squares(m, r),) * 2,
    "that is the loss of D": lambda r, m: (squares(r, m),) * 2,
    "D's loss is not halved": both(lambda a, b: 2 * squares(a, b)),
    "G's loss is not halved": both(squares, lambda a, b: 2 * squares(a, b)),
    "is a sum over the batch": both(lambda a, b: len(a) * squares(a, b)),
    "has the wrong sign": both(squares, lambda a, b: -squares(a, b)),
    "lacks its second half": both(lambda a, b: (a - b.mean() - 1).square().mean() / 2),
    "lacks its first half": both(squares, lambda a, b: (b - a.mean() + 1).square().mean()),
    "of its *own* side": both(
        lambda a, b: ((a - a.mean() - 1).square().mean() + (b - b.mean() + 1).square().mean()) / 2
    ),
    "compares nothing": both(lambda a, b: ((a - 1).square().mean() + (b + 1).square().mean()) / 2),
    "those are plain least squares": both(lambda a, b: ((a - 1).square().mean() + b.square().mean()) / 2),
    "compares picture i with picture i": both(
        lambda a, b: ((a - b - 1).square().mean() + (b - a + 1).square().mean()) / 2
    ),
    "every real picture with every made one": both(lambda a, b: (a[:, None] - b - 1).square().mean()),
    "a square of means": both(lambda a, b: (a.mean() - b.mean() - 1).square()),
    "the relativistic *logarithm*": both(
        lambda a, b: functional.softplus(b.mean() - a).mean() + functional.softplus(b - a.mean()).mean()
    ),
    "targets are missing": both(lambda a, b: ((a - b.mean()).square().mean() + (b - a.mean()).square().mean()) / 2),
    "second target is 0": both(lambda a, b: ((a - b.mean() - 1).square().mean() + (b - a.mean()).square().mean()) / 2),
    "both targets of D are +1": both(
        lambda a, b: ((a - b.mean() - 1).square().mean() + (b - a.mean() - 1).square().mean()) / 2
    ),
    "compute two pictures by hand": both(lambda a, b: squares(a, b) + 1),
    "nothing can be learnt from D's": both(lambda a, b: squares(a, b).item(), squares),
    "nothing can be learnt from G's": both(squares, lambda a, b: squares(a, b).detach()),
    "a mean or a side was detached": both(
        squares, lambda a, b: ((a - b.mean() - 1).square().mean() + (b - a.mean().detach() + 1).square().mean()) / 2
    ),
    "gradient for the real logits": both(lambda a, b: squares(a.detach(), b), squares),
    "gradient for the made logits": both(lambda a, b: squares(a, b.detach()), squares),
    "two are expected": lambda r, m: squares(r, m),
    "has the shape (9,)": both(lambda a, b: (a - b.mean() - 1).square()),
    "D's loss is a str": lambda r, m: ("small", squares(m, r)),
    "changed its input": lambda r, m: both(squares)(r, m.data.mul_(2)),
}


def joined(real=lambda e, y, G: (e, y), made=lambda e, y, G: (e, G(e).detach()), dim=1):
    return lambda e, y, G: tuple(torch.cat(part(e, y, G), dim=dim) for part in (real, made))


def without_graph(e, y, G):
    with torch.no_grad():
        painting = G(e)
    return torch.cat([e, y], dim=1), torch.cat([e, painting], dim=1)


PAIR = {
    "right": [joined(), without_graph, lambda *given: list(joined()(*given))],
    "gets the paintings alone": lambda e, y, G: (y, G(e).detach()),
    "gets the edges alone": lambda e, y, G: (e, e),
    "joined along the batch": joined(lambda e, y, G: (y, y), lambda e, y, G: (G(e).detach(),) * 2, dim=0),
    "have 6 channels": joined(lambda e, y, G: (y, y), lambda e, y, G: (y, G(e).detach())),
    "has the shape": joined(lambda e, y, G: (e, e, y)),
    "the two are exchanged": lambda *given: joined()(*given)[::-1],
    "real pair has the painting before the edges": joined(lambda e, y, G: (y, e)),
    "made pair has the painting before the edges": joined(made=lambda e, y, G: (G(e).detach(), e)),
    "holds the edges of another": joined(lambda e, y, G: (e.flip(0), y)),
    "made pair holds the edges of another": joined(made=lambda e, y, G: (e.flip(0), G(e).detach())),
    "holds the painting of another": joined(lambda e, y, G: (e, y.flip(0))),
    "in the other polarity: take": joined(lambda e, y, G: (-e, y)),
    "painting of edges in the other polarity": joined(made=lambda e, y, G: (e, G(-e).detach())),
    "in [0, 1]": joined(lambda e, y, G: (e, (y + 1) / 2)),
    "real pair holds a made painting": joined(lambda e, y, G: (e, G(e).detach()), lambda e, y, G: (e, G(e).detach())),
    "made pair holds the real painting": joined(made=lambda e, y, G: (e, y)),
    "your real pair is not": joined(lambda e, y, G: (e, y + 1)),
    "your made pair is not": joined(made=lambda e, y, G: (e, G(e).detach() + 1)),
    "reach into `G`": joined(made=lambda e, y, G: (e, G(e))),
    "two are expected": lambda e, y, G: torch.cat([e, y], dim=1),
    "returns a list where a tensor": lambda e, y, G: ([e, y], [e, G(e)]),
    "changed its input": lambda e, y, G: joined()(e, y.mul_(2), G),
}

CAUSES = {"run A": "polarity", "run B": "memory", "run C": "targets", "run D": "strangers"}
BROKEN = {
    "right": [CAUSES, dict(reversed(CAUSES.items())) | {"healthy": "detached"}, lambda: CAUSES],
    "run A again": CAUSES | {"run A": "memory", "run B": "polarity"},
    "before anything could be learnt by heart": CAUSES | {"run A": "memory"},
    "run B again": CAUSES | {"run B": "strangers"},
    "run C again": CAUSES | {"run C": "still"},
    "stays at its first loss": CAUSES | {"run C": "still"},
    "run D again": CAUSES | {"run D": "detached"},
    "nothing draws the painter": CAUSES | {"run D": "detached"},
    "the same answer 4 times": dict.fromkeys(CAUSES, "detached"),
    "each has another one": dict.fromkeys(CAUSES, "still"),
    "no answer for run D": {run: cause for run, cause in CAUSES.items() if run != "run D"},
    "is not on the list": CAUSES | {"run A": "bad luck"},
    "give a dict": list(CAUSES.values()),
}

CHECKS = {"relativistic": RELATIVISTIC, "pair": PAIR, "broken": BROKEN}


def test_dots_in_a_diagnosis_are_not_attempted():
    assert check.sapgan.broken(CAUSES | {"run B": ...}).status == "not attempted"


def test_the_curves_have_all_steps():
    curves, steps = check.sapgan.CURVES, check.sapgan.STEPS
    assert all(len(values) == len(steps) for run in curves.values() for values in run.values())
    assert {*curves} == {"healthy", *CAUSES} and {*CAUSES.values()} < {*check.sapgan.MISTAKES}


def test_the_mistakes_are_those_of_the_script():
    from sapgan_mistakes import MISTAKES

    assert {*MISTAKES} == {*check.sapgan.MISTAKES}


def test_the_curves_differ_as_the_diagnoses_say():
    """Two claims of the diagnoses that rest on numbers: A is the healthy run but for new edges, B rises on these."""
    healthy, a, b, c, d = (check.sapgan.CURVES[run] for run in ("healthy", *CAUSES))
    assert all(a[name] == healthy[name] for name in ("D", "GAN", "L1")) and a["L1, new"][0] > 0.5
    assert b["L1"][-1] <= 0.51 * healthy["L1"][-1] and b["L1, new"][-1] > b["L1, new"][1]
    assert max(c["D"][-1], c["GAN"][-1]) < 0.01
    assert abs(d["L1"][-1] - d["L1, new"][-1]) < 0.02 and d["D"][2] < 0.5 * healthy["D"][2]
