"""Answers to the exercises of `part1_measured`, right and wrong; `test_check.py` asks for their verdicts."""

import torch
from torch.nn import functional

from stlib import check


def grams(features, divisor=None):
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / (divisor or flat.shape[2])


def gram_loss(own=grams, finish=lambda square, target: square.sum(dim=(1, 2)) / target.square().sum()):
    return lambda features, target: finish((own(features) - target).square(), target)


def mixed(features):
    flat = features.transpose(0, 1).flatten(1)
    return (flat @ flat.T / flat.shape[1]).expand(len(features), -1, -1)


def one_by_one(features, target):
    errors = [(f.flatten(1) @ f.flatten(1).T / f[0].numel() - target[0]).norm() ** 2 for f in features]
    return torch.stack(errors) / target.norm() ** 2


GRAM = {
    "right": [gram_loss(), one_by_one],
    "pictures are mixed": gram_loss(mixed),
    "one number for the whole batch": gram_loss(finish=lambda s, t: s.sum() / t.square().sum()),
    "every pair of channels": gram_loss(finish=lambda s, t: s / t.square().sum()),
    "not relative yet": gram_loss(finish=lambda s, t: s.sum(dim=(1, 2))),
    "a mean over the pairs": gram_loss(finish=lambda s, t: s.mean(dim=(1, 2))),
    "took the root": gram_loss(finish=lambda s, t: (s.sum(dim=(1, 2)) / t.square().sum()).sqrt()),
    "not of its squares": gram_loss(finish=lambda s, t: s.sum(dim=(1, 2)) / t.abs().sum()),
    "pictures' own Gram matrices": lambda f, t: (
        (grams(f) - t).square().sum(dim=(1, 2)) / grams(f).square().sum(dim=(1, 2))
    ),
    "not divided by the number of positions": gram_loss(lambda f: grams(f, 1)),
    "divided the Gram matrices by C H W": gram_loss(lambda f: grams(f, f[0].numel())),
    "by the number of pictures": gram_loss(finish=lambda s, t: s.sum(dim=(1, 2)) / t.square().sum() / len(s)),
    "keep them apart": gram_loss(finish=lambda s, t: (s.sum() / t.square().sum()).expand(len(s))),
    "has the shape": gram_loss(finish=lambda s, t: (s.sum(dim=(1, 2)) / t.square().sum())[:2]),
    "changed its input": lambda f, t: gram_loss()(f.mul_(1).add_(1), t),
    "compare with one picture": gram_loss(finish=lambda s, t: s.sum(dim=(1, 2)) / t.square().sum() + 1),
}


def choosing(mean, pick=max, give=lambda weights, means, best: weights[best]):
    def answer(weights, content, style):
        means = [mean(c, s) for c, s in zip(content, style, strict=True)]
        return give(weights, means, means.index(pick(means)))

    return answer


def harmonic(c, s):
    return 2 * c * s / (c + s) if c + s else 0.0


def reversing(weights, content, style):
    weights.reverse()
    return weights[0]


WEIGHT = {
    "right": [
        choosing(harmonic),
        choosing(lambda c, s: 1 / (1 / c + 1 / s) if c * s else 0),
        choosing(harmonic, give=lambda weights, means, best: torch.tensor(weights)[torch.tensor(means).argmax()]),
    ],
    "plain or the geometric": choosing(lambda c, s: c + s),
    "geometric mean": choosing(lambda c, s: c * s),
    "content alone": choosing(lambda c, s: c),
    "style alone": choosing(lambda c, s: s),
    "the smallest mean": choosing(harmonic, min),
    "returned the largest mean": choosing(harmonic, give=lambda w, means, best: means[best]),
    "the place in the list": choosing(harmonic, give=lambda w, means, best: best),
    "returns a list": choosing(harmonic, give=lambda w, means, best: means),
    "changed a list": reversing,
    "another weight has": choosing(lambda c, s: -abs(s - 0.93)),
}


def enlarging(grow=None, shrink=None, each=True, order=slice(None)):
    def repeated(p):
        return p.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)

    def answer(paint, pictures):
        large = (grow or repeated)(pictures)
        painted = torch.cat([paint(p) for p in large.split(1)]) if each else paint(large)
        return (shrink or (lambda p: functional.avg_pool2d(p, 4)))(painted)[order]

    return answer


def nearest(pictures):
    return functional.interpolate(pictures, scale_factor=4)


def last_first(paint, pictures):
    return enlarging()(paint, pictures.flip(0)).flip(0)


def mostly_the_lowest(painted):
    low, high = -functional.max_pool2d(-painted, 4), functional.max_pool2d(painted, 4)
    return 0.9 * low + 0.1 * high


ENLARGE = {
    "right": [enlarging(), enlarging(nearest, lambda p: functional.interpolate(p, scale_factor=0.25, mode="area"))],
    "smooth interpolation": enlarging(lambda p: functional.interpolate(p, scale_factor=4, mode="bicubic")),
    "only some of the painted pixels": enlarging(shrink=lambda p: p[..., ::4, ::4]),
    "not one pixel of it": enlarging(shrink=lambda p: p[..., 1::4, 2::4]),
    "several pictures at once": enlarging(each=False),
    "four times the side": enlarging(lambda p: p.repeat_interleave(2, 2).repeat_interleave(2, 3)),
    "as large as what": enlarging(shrink=lambda p: p),
    "never called": lambda paint, pictures: pictures.clone(),
    "in another order.": enlarging(order=[1, 2, 0]),
    "than they were painted in": last_first,
    "returns a list": lambda paint, pictures: [paint(p) for p in nearest(pictures).split(1)],
    "times for 3 pictures": lambda paint, pictures: [enlarging()(paint, pictures) for _ in range(2)][0],
    "not averaged over blocks": enlarging(shrink=mostly_the_lowest),
    "changed its input": lambda paint, pictures: enlarging()(paint, pictures.add_(0.1)),
}

CHECKS = {"gram": GRAM, "weight": WEIGHT, "enlarge": ENLARGE}


def test_dividing_by_zero_is_told():
    def careless(weights, content, style):
        return max(zip([2 * c * s / (c + s) for c, s in zip(content, style, strict=True)], weights, strict=True))[1]

    assert "ZeroDivisionError" in check.part1_measured.weight(careless).message
