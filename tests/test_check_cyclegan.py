"""Answers to the exercises of `cyclegan`, right and wrong; `test_check.py` asks for their verdicts."""

import torch

from stlib import check, metrics


def mean(x, y):
    return (x - y).abs().mean()


def both_ways(compare=mean, join=lambda one, other: one + other):
    return lambda to_b, to_a, a, b: join(compare(to_a(to_b(a)), a), compare(to_b(to_a(b)), b))


def cycle_in_one(to_b, to_a, a, b):
    back = [to_a(to_b(a)), to_b(to_a(b))]
    return sum(torch.nn.functional.l1_loss(x, y) for x, y in zip(back, (a, b), strict=True))


CYCLE = {
    "right": [both_ways(), cycle_in_one],
    "only the way A to B to A": lambda to_b, to_a, a, b: mean(to_a(to_b(a)), a),
    "only the way B to A to B": lambda to_b, to_a, a, b: mean(to_b(to_a(b)), b),
    "mean of both ways": both_ways(join=lambda one, other: (one + other) / 2),
    "squared the differences": both_ways(lambda x, y: (x - y).square().mean()),
    "summed over the pixels": both_ways(lambda x, y: (x - y).abs().sum()),
    "compared with the picture half way": lambda to_b, to_a, a, b: mean(to_b(a), a) + mean(to_a(b), b),
    "compare it with the start": lambda to_b, to_a, a, b: mean(to_a(to_b(a)), to_b(a)) + mean(to_b(to_a(b)), to_a(b)),
    "the order is wrong": lambda to_b, to_a, a, b: mean(to_b(to_a(a)), a) + mean(to_a(to_b(b)), b),
    "the same way twice": lambda to_b, to_a, a, b: mean(to_b(to_b(a)), a) + mean(to_a(to_a(b)), b),
    "the identity loss": lambda to_b, to_a, a, b: mean(to_b(b), b) + mean(to_a(a), a),
    "the weight 10": both_ways(join=lambda one, other: 10 * (one + other)),
    "nothing can be learnt": lambda *given: both_ways()(*given).item(),
    "the gradient stops half way": lambda to_b, to_a, a, b: (
        mean(to_a(to_b(a).detach()), a) + mean(to_b(to_a(b).detach()), b)
    ),
    "changed its input": lambda to_b, to_a, a, b: both_ways()(to_b, to_a, a.add_(1), b),
    "one number is expected": both_ways(lambda x, y: (x - y).abs().mean(dim=(1, 2, 3)).sum().expand(2)),
    "not that of the two ways": both_ways(join=lambda one, other: one * other),
}


def query(detached=True, fill=True, above=True, replace=True, show_old=True, keep_always=False, other=0, grow=False):
    def answer(kept, picture, size, coin, place):
        picture = picture.detach() if detached else picture
        if fill and len(kept) < size:
            kept.append(picture)
            return picture
        if (coin > 0.5) == above:
            old = kept[(place + other) % len(kept)] if kept else picture
            if grow:
                kept.append(picture)
            elif replace:
                kept[place] = picture
            return old if show_old else picture
        if keep_always:
            kept[place] = picture
        return picture

    return answer


def by_index(kept, picture, size, coin, place):
    new = picture.detach().clone()
    if len(kept) < size:
        kept += [new]
        return new.clone()
    if coin <= 0.5:
        return new
    old, kept[place] = kept[place], new
    return old


def keeping_the_graph(kept, picture, size, coin, place):
    if len(kept) < size:
        kept.append(picture)
        return picture.detach()
    return query()(kept, picture, size, coin, place)


def showing_the_graph(kept, picture, size, coin, place):
    shown = query()(kept, picture, size, coin, place)
    return picture if torch.equal(shown, picture) else shown


def elsewhere(kept, picture, size, coin, place):
    if len(kept) < size or coin <= 0.5:
        return query()(kept, picture, size, coin, place)
    old = kept[place]
    kept[0] = picture.detach()
    return old


POOL = {
    "right": [query(), by_index],
    "whatever the coin says": lambda kept, picture, size, coin, place: (
        (kept.append(picture.detach()) or kept[-2 if coin > 0.5 and kept[1:] else -1])
        if len(kept) < size
        else query()(kept, picture, size, coin, place)
    ),
    "yours holds": query(fill=False),
    "keep `picture.detach()`": keeping_the_graph,
    "show `picture.detach()`": showing_the_graph,
    "grows beyond its size": query(grow=True),
    "the wrong way round": query(above=False),
    "the pool stays as it was": query(keep_always=True),
    "showed it at once": query(show_old=False),
    "an old picture is shown": query(show_old=False, replace=False),
    "another old picture": query(other=1),
    "still there": query(replace=False),
    "belongs at `place`": elsewhere,
    "has the shape": lambda kept, picture, size, coin, place: query()(kept, picture, size, coin, place)[None],
}


def levels(x, steps=63, to=torch.round):
    return to(x * steps) / steps


def code(spoil=levels, finish=lambda clean, spoilt: (clean - spoilt).mean()):
    return lambda to_b, to_a, x: finish(metrics.psnr(to_a(to_b(x)), x), metrics.psnr(to_a(spoil(to_b(x))), x))


def one_by_one(to_b, to_a, photos):
    found = []
    for photo in photos.split(1):
        drawing = to_b(photo)
        errors = [(to_a(y) - photo).square().mean() for y in (drawing, (drawing * 63).round() / 63)]
        found.append(10 * (errors[1] / errors[0]).log10().item())
    return sum(found) / len(found)


def of_all(x, y):
    return -10 * (x - y).square().mean().log10()


HIDDEN = {
    "right": [code(), one_by_one],
    "the sign": code(finish=lambda clean, spoilt: (spoilt - clean).mean()),
    "you rounded the photographs": lambda to_b, to_a, x: (
        metrics.psnr(to_a(to_b(x)), x) - metrics.psnr(to_a(to_b(levels(x))), x)
    ).mean(),
    "you took 6 levels": code(lambda y: levels(y, 5)),
    "65 levels": code(lambda y: levels(y, 64)),
    "that is 8 bits": code(lambda y: levels(y, 255)),
    "cut off instead of rounding": code(lambda y: levels(y, to=torch.floor)),
    "over all pictures first": lambda to_b, to_a, x: of_all(to_a(to_b(x)), x) - of_all(to_a(levels(to_b(x))), x),
    "subtract it from the clean one": code(finish=lambda clean, spoilt: spoilt.mean()),
    "the clean way back alone": code(finish=lambda clean, spoilt: clean.mean()),
    "you compared the drawings": lambda to_b, to_a, x: metrics.psnr(levels(to_b(x)), to_b(x)).mean(),
    "with each other": lambda to_b, to_a, x: metrics.psnr(to_a(levels(to_b(x))), to_a(to_b(x))).mean(),
    "never went back": lambda to_b, to_a, x: (metrics.psnr(to_b(x), x) - metrics.psnr(levels(to_b(x)), x)).mean(),
    "was anything rounded": code(lambda y: y),
    "one number a picture": code(finish=lambda clean, spoilt: clean - spoilt),
    "changed its input": lambda to_b, to_a, x: code()(to_b, to_a, x.mul_(0.5)),
    "write down what goes into": code(finish=lambda clean, spoilt: (clean - spoilt).mean() + 1),
}

CAUSES = {"run A": "own_domain", "run B": "no_cycle", "run C": "targets", "run D": "still"}
BROKEN = {
    "right": [CAUSES, dict(reversed(CAUSES.items())) | {"healthy": "no_pool"}],
    "run A again": CAUSES | {"run A": "targets", "run C": "own_domain"},
    "run B again": CAUSES | {"run B": "still"},
    "run C again": CAUSES | {"run C": "no_pool"},
    "that alone gives none of these curves": CAUSES | {"run C": "no_pool"},
    "run D again": CAUSES | {"run D": "rate"},
    "these are smooth": CAUSES | {"run D": "rate"},
    "the same answer 4 times": dict.fromkeys(CAUSES, "rate"),
    "no answer for run D": {run: cause for run, cause in CAUSES.items() if run != "run D"},
    "is not on the list": CAUSES | {"run A": "bad luck"},
    "give a dict": list(CAUSES.values()),
}

CHECKS = {"cycle": CYCLE, "pool": POOL, "hidden_code": HIDDEN, "broken": BROKEN}


def test_dots_in_a_diagnosis_are_not_attempted():
    assert check.cyclegan.broken(CAUSES | {"run B": ...}).status == "not attempted"


def test_the_curves_have_all_steps():
    curves, steps = check.cyclegan.CURVES, check.cyclegan.STEPS
    assert all(len(values) == len(steps) for run in curves.values() for values in run.values())
    assert {*curves} == {"healthy", *CAUSES} and {*CAUSES.values()} < {*check.cyclegan.MISTAKES}
