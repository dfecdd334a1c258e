"""Answers to the exercises of `portrait`, right and wrong; `test_check.py` asks for their verdicts."""

import torch

from stlib import check

# portrait-truncate ----------------------------------------------------------------------------------------------------


def scale_of(levels):
    return 255 * levels / 512


def floored(x, levels):
    return ((x + 1) * scale_of(levels)).floor() / scale_of(levels) - 1


def stepping(rounded, gradient=lambda x: x - x.detach()):
    """An answer with the given values, and the gradient of `gradient`."""
    return lambda x, levels: rounded(x, levels).detach() + gradient(x)


class Rounding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, levels):
        return floored(x, levels)

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


TRUNCATE = {
    "right": [
        stepping(floored),
        lambda x, levels: x + (floored(x, levels) - x).detach(),
        lambda x, levels: Rounding.apply(x, levels),
        stepping(lambda x, levels: ((x + 1) * scale_of(levels)).int() / scale_of(levels) - 1),
    ],
    "rounded to the nearest level": stepping(lambda x, n: ((x + 1) * scale_of(n)).round() / scale_of(n) - 1),
    "you rounded up": stepping(lambda x, n: ((x + 1) * scale_of(n)).ceil() / scale_of(n) - 1),
    "did not shift back": stepping(lambda x, n: ((x + 1) * scale_of(n)).floor() / scale_of(n)),
    "did not scale back": stepping(lambda x, n: ((x + 1) * scale_of(n)).floor() - 1),
    "the number of the level": stepping(lambda x, n: ((x + 1) * scale_of(n)).floor()),
    "did not shift by 1 first": stepping(lambda x, n: (x * scale_of(n)).floor() / scale_of(n)),
    "towards zero": stepping(lambda x, n: (x * scale_of(n)).int() / scale_of(n)),
    "always take 64": stepping(lambda x, n: floored(x, 64)),
    "always take 256": stepping(lambda x, n: floored(x, 256)),
    "your highest level is +1": stepping(lambda x, n: ((x + 1) / 2 * (n - 1)).floor() / (n - 1) * 2 - 1),
    "2 / levels apart": stepping(lambda x, n: ((x + 1) / 2 * n).floor() / n * 2 - 1),
    "nearest of evenly spread": stepping(lambda x, n: ((x + 1) / 2 * (n - 1)).round() / (n - 1) * 2 - 1),
    "not in [0, 1]": stepping(lambda x, n: (x * (n - 1)).round() / (n - 1)),
    "you added x and its rounded form": lambda x, n: x + floored(x, n),
    "your result is x itself": lambda x, n: x + floored(x, n).detach() - floored(x, n).detach(),
    "the error of the rounding": lambda x, n: floored(x, n) - x,
    "the gradient is cut off": lambda x, n: ((x.detach() + 1) * scale_of(n)).int() / scale_of(n) - 1,
    "the gradient is 0 everywhere": floored,
    "not that of the identity": stepping(floored, lambda x: 2 * (x - x.detach())),
    "these are not the levels": stepping(lambda x, n: floored(x, n) + 0.3),
    "not finite": stepping(lambda x, n: floored(x, n) / 0),
    "changed its input": lambda x, n: stepping(floored)(x.data.add_(0.1), n),
    "returns a float": lambda x, n: 0.5,
    "has the shape": lambda x, n: stepping(floored)(x, n)[:, 0],
}


# portrait-masked ------------------------------------------------------------------------------------------------------


def white(x, m):
    return x * m + 1 - m


def judged(pooled=None, real=white, made=white, finish=lambda real, made: (real, made), detach=True):
    """An answer: `pooled(pool, made, mask)` gives what is shown, `real` and `made` mask."""

    def together(pool, x, m):
        return pool(torch.cat([x, m], dim=1)).split(1, dim=1)

    def answer(pool, x, x_mask, y, y_mask):
        y, m = (pooled or together)(pool, y.detach() if detach else y, y_mask)
        return finish(torch.cat([real(x, x_mask), x_mask], 1), torch.cat([made(y, m), m], 1))

    return answer


def masked_before(pool, x, x_mask, y, y_mask):
    """What is masked already may go into the pool, too."""
    shown = pool(torch.cat([white(y.detach(), y_mask), y_mask], dim=1))
    return torch.cat([torch.where(x_mask == 1, x, torch.ones_like(x)), x_mask], dim=1), shown


def mask_in_front(pool, x, x_mask, y, y_mask):
    m, y = pool(torch.cat([y_mask, y.detach()], dim=1)).split(1, dim=1)
    return [torch.cat([white(a, b), b], dim=1) for a, b in ((x, x_mask), (y, m))]


def through_pictures(pool, x, x_mask, y, y_mask):
    """As released: in [0, 1], and back."""
    y, m = pool(torch.cat([y.detach(), y_mask], dim=1)).split(1, dim=1)
    return tuple(torch.cat([((a / 2 + 0.5) * b + 1 - b) * 2 - 1, b], dim=1) for a, b in ((x, x_mask), (y, m)))


def with_this_mask(pool, y, m):
    return pool(y), m


def black(x, m):
    return x * m - (1 - m)


def other_mask(pool, x, x_mask, y, y_mask):
    shown, m = pool(torch.cat([y.detach(), y_mask], dim=1)).split(1, dim=1)
    return torch.cat([white(x, x_mask), x_mask], 1), torch.cat([white(shown, y_mask), m], 1)


MASKED = {
    "right": [judged(), masked_before, mask_in_front, through_pictures],
    "belong to two heads": judged(with_this_mask),
    "masked by the new mask": other_mask,
    "did not come from the pool": judged(lambda pool, y, m: (y, m)),
    "the drawing does not: both": judged(lambda pool, y, m: (y, pool(m))),
    "the made drawing is black outside": judged(made=black),
    "outside is black, -1": judged(real=black, made=black),
    "outside is grey": judged(real=lambda x, m: x * m, made=lambda x, m: x * m),
    "nothing is masked": judged(real=lambda x, m: x, made=lambda x, m: x),
    "the wrong way round": judged(real=lambda x, m: white(x, 1 - m), made=lambda x, m: white(x, 1 - m)),
    "stands in front": judged(finish=lambda real, made: (real.flip(1), made.flip(1))),
    "the two are exchanged": judged(finish=lambda real, made: (made, real)),
    "it has its own": lambda pool, x, x_mask, y, y_mask: judged()(pool, x, y_mask, y, y_mask),
    "that of its photograph": lambda pool, x, x_mask, y, y_mask: judged(lambda pool, y, m: (pool(y), x_mask))(
        pool, x, x_mask, y, y_mask
    ),
    "you asked the pool 2 times": judged(lambda pool, y, m: (pool(y), pool(m))),
    "still leads a gradient": judged(detach=False),
    "the pool keeps drawings with their whole graph": judged(
        detach=False, finish=lambda real, made: (real, made.detach())
    ),
    "the made one is not right": judged(made=lambda x, m: white(x, m) + 0.2),
    "the real one is not right": judged(real=lambda x, m: white(x, m) + 0.2),
    "the mask is missing": judged(finish=lambda real, made: (real[:, :1], made[:, :1])),
    "has the shape": judged(finish=lambda real, made: (real[:, :, :4], made)),
    "two tensors are expected": judged(finish=lambda real, made: torch.cat([real, made])),
    "no batch of pictures": judged(lambda pool, y, m: (pool(y[0]), m)),
    "changed its input": lambda pool, x, x_mask, y, y_mask: judged()(pool, x.mul_(x_mask), x_mask, y, y_mask),
}


# portrait-relaxed -----------------------------------------------------------------------------------------------------


def forward(
    weights=lambda p: (5 * (1 - 0.9 * p), 5 * 0.9 * p),
    first=lambda draw, read, truncate, a: read(draw(a)),
    second=lambda draw, read, truncate, a: read(truncate(draw(a))),
    apart=lambda edges, distance, x, a: distance(edges(x), edges(a)),
    finish=lambda total: total,
):
    def answer(draw, read, truncate, edges, distance, a, p):
        ways = [way(draw, read, truncate, a) for way in (first, second)]
        return finish(sum(w * apart(edges, distance, x, a) for w, x in zip(weights(p), ways, strict=True)))

    return answer


def in_two_lines(draw, read, truncate, edges, distance, a, p):
    drawing, target = draw(a), edges(a)
    relaxed, coarse = distance(edges(read(drawing)), target), distance(edges(read(truncate(drawing))), target)
    return 5 * relaxed + 4.5 * p * (coarse - relaxed)


def to_each_other(draw, read, truncate, edges, distance, a, p):
    one, two = (edges(read(x)) for x in (draw(a), truncate(draw(a))))
    return 5 * (1 - 0.9 * p) * distance(one, edges(a)) + 5 * 0.9 * p * distance(two, one)


RELAXED = {
    "right": [forward(), in_two_lines],
    "the two weights are exchanged": forward(lambda p: (5 * 0.9 * p, 5 * (1 - 0.9 * p))),
    "0.9 is missing": forward(lambda p: (5 * (1 - p), 5 * p)),
    "the 5 is missing in front of both": forward(lambda p: (1 - 0.9 * p, 0.9 * p)),
    "nothing is truncated": forward(second=lambda draw, read, truncate, a: read(draw(a))),
    "both ways are truncated": forward(first=lambda draw, read, truncate, a: read(truncate(draw(a)))),
    "you compare the photographs": forward(apart=lambda edges, distance, x, a: distance(x, a)),
    "the arguments of `distance`": forward(apart=lambda edges, distance, x, a: distance(edges(a), edges(x))),
    "it is the drawing that is coarse": forward(second=lambda draw, read, truncate, a: truncate(read(draw(a)))),
    "compared with the other way back": to_each_other,
    "the truncated cycle is missing": forward(lambda p: (5 * (1 - 0.9 * p), 0)),
    "the relaxed cycle is missing": forward(lambda p: (0, 5 * 0.9 * p)),
    "p is missing: the weights": forward(lambda p: (5, 5)),
    "weights are 5 (1 - 0.9 p) and 5 * 0.9 p": forward(lambda p: (5 * (1 - 0.9), 5 * 0.9)),
    "the 0.9 belongs to p alone": forward(lambda p: (5 * 0.9 * (1 - p), 5 * 0.9 * p)),
    "missing in front of the truncated": forward(lambda p: (5 * (1 - 0.9 * p), 0.9 * p)),
    "the two add up to 5": forward(lambda p: (5 * (1 - 0.9 * p), 5 * p)),
    "a sum, not a mean": forward(finish=lambda total: total / 2),
    "where": forward(finish=lambda total: total + 1),
    "nothing can be learnt": forward(finish=lambda total: total.item()),
    "another gradient": forward(first=lambda draw, read, truncate, a: read(draw(a).detach() + 0 * draw(a))),
    "`read` makes photographs of *drawings*": forward(first=lambda draw, read, truncate, a: read(a)),
    "edges with edges": forward(apart=lambda edges, distance, x, a: distance(edges(x), a)),
    "one number is expected": forward(apart=lambda edges, distance, x, a: (edges(x) - edges(a)).abs()),
    "changed its input": lambda *given: forward()(*given[:5], given[5].mul_(0.5), given[6]),
}

CAUSES = {"run A": "black", "run B": "targets", "run C": "forgetful", "run D": "too_early"}
BROKEN = {
    "right": [CAUSES, dict(reversed(CAUSES.items())) | {"healthy": "still"}],
    "run A again": CAUSES | {"run A": "still"},
    "run B again": CAUSES | {"run B": "too_early"},
    "run C again": CAUSES | {"run C": "strangers"},
    "run D again": CAUSES | {"run D": "targets"},
    "the same answer 4 times": dict.fromkeys(CAUSES, "still"),
    "each has another one": dict.fromkeys(CAUSES, "strangers"),
    "no answer for run D": {run: cause for run, cause in CAUSES.items() if run != "run D"},
    "is not on the list": CAUSES | {"run A": "bad luck"},
    "give a dict": list(CAUSES.values()),
}

CHECKS = {"truncate": TRUNCATE, "masked": MASKED, "relaxed": RELAXED, "broken": BROKEN}


def test_dots_in_a_diagnosis_are_not_attempted():
    assert check.portrait.broken(CAUSES | {"run B": ...}).status == "not attempted"


def test_the_curves_have_all_steps():
    curves, steps = check.portrait.CURVES, check.portrait.STEPS
    assert all(len(values) == len(steps) for run in curves.values() for values in run.values())
    assert {*curves} == {"healthy", *CAUSES} and {*CAUSES.values()} < {*check.portrait.MISTAKES}


def test_the_mistakes_are_those_of_the_script():
    from portrait_mistakes import MISTAKES

    assert {*MISTAKES} == {*check.portrait.MISTAKES}
