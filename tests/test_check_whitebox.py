"""Answers to the exercises of `whitebox`, right and wrong; `test_check.py` asks for their verdicts."""

import torch
from torch.nn import functional

from stlib import check


def pool(x, side, padding, **options):
    return functional.avg_pool2d(x, side, 1, padding, **options)


def sums(x, radius):
    ones = torch.ones(x.shape[1], 1, 2 * radius + 1, 2 * radius + 1, dtype=x.dtype)
    return functional.conv2d(x, ones, padding=radius, groups=x.shape[1])


def by_cumulative_sums(x, radius):
    made = torch.empty_like(x)
    for i in range(x.shape[2]):
        for j in range(x.shape[3]):
            rows, columns = (slice(max(p - radius, 0), p + radius + 1) for p in (i, j))
            made[..., i, j] = x[..., rows, columns].mean(dim=(2, 3))
    return made


def by_lines(x, radius):
    side = 2 * radius + 1
    rows = pool(x, (side, 1), (radius, 0), count_include_pad=False)
    return pool(rows, (1, side), (0, radius), count_include_pad=False)


def padded(mode):
    return lambda x, r: pool(functional.pad(x, (r,) * 4, mode=mode), 2 * r + 1, 0)


def half_wrong(x, radius):
    made = by_lines(x, radius)
    made[..., 0, 0] += 1
    return made


BOX = {
    "right": [lambda x, r: sums(x, r) / sums(torch.ones_like(x), r), by_cumulative_sums, by_lines],
    "divide by the whole window": lambda x, r: pool(x, 2 * r + 1, r),
    "the sum over the window": sums,
    "repeated the border": padded("replicate"),
    "mirrored the border": padded("reflect"),
    "always 3 x 3": lambda x, r: pool(x, 3, 1, count_include_pad=False),
    "a line": lambda x, r: pool(x, (1, 2 * r + 1), (0, r), count_include_pad=False),
    "too wide": lambda x, r: pool(x, 4 * r + 1, 2 * r, count_include_pad=False),
    "is the input": lambda x, r: x.clone(),
    "over the channels as well": lambda x, r: by_lines(x, r).mean(1, keepdim=True).expand_as(x),
    "mixed the channels": lambda x, r: by_lines(x, r).mean(1, keepdim=True),
    "the border is missing": lambda x, r: pool(x, 2 * r + 1, 0),
    "wrong at the border": half_wrong,
    "not the means": lambda x, r: by_lines(x, r) + 1,
    "changed its input": lambda x, r: by_lines(x.mul_(2), r),
    "has the shape": lambda x, r: by_lines(x, r)[..., :2],
}

LOW, HIGH = torch.tensor([0.199, 0.487, 0.014]), torch.tensor([0.399, 0.687, 0.214])


def triple(generator):
    return LOW + (HIGH - LOW) * torch.rand(3, generator=generator)


def grey(x, w, divide=True):
    w = w.to(x).view(1, 3, 1, 1)
    return (w * x).sum(dim=1, keepdim=True) / (w.sum() if divide else 1)


def pair(draw=triple, look=grey):
    def answer(made, real, generator):
        w = draw(generator)
        return look(made.detach(), w), look(real, w)

    return answer


def in_one_pass(made, real, generator):
    w = triple(generator)
    both = torch.einsum("c,bchw->bhw", (w / w.sum()).double(), torch.cat([made.detach(), real]))
    return both[:, None].split([len(made), len(real)])


def each_its_own(made, real, generator):
    return grey(made.detach(), triple(generator)), grey(real, triple(generator))


def per_picture(made, real, generator):
    return tuple(torch.cat([grey(p[None], triple(generator)) for p in x.detach()]) for x in (made, real))


SHIFT = {
    "right": [pair(), in_one_pass],
    "different triples": each_its_own,
    "draw once": lambda m, r, g: each_its_own(r, m, g)[::-1],
    "a triple of its own": per_picture,
    "divide by the sum": pair(look=lambda x, w: grey(x, w, divide=False)),
    "red and blue are exchanged": pair(look=lambda x, w: grey(x, w.flip(0))),
    "your weights are fixed": pair(draw=lambda g: torch.tensor([0.299, 0.587, 0.114])),
    "from 0 to 1": pair(draw=lambda g: torch.rand(3, generator=g)),
    "all colours count alike": pair(look=lambda x, w: x.mean(dim=1, keepdim=True)),
    "not high * rand": pair(draw=lambda g: LOW + HIGH * torch.rand(3, generator=g)),
    "you get another triple": pair(draw=lambda g: triple(None)),
    "no weighted mean": pair(look=lambda x, w: grey(x, w).square()),
    "by the first triple": pair(draw=lambda g: triple(g) * 0 + triple(g)),
    "are exchanged: made": lambda m, r, g: pair()(m, r, g)[::-1],
    "the axis of the channels is gone": pair(look=lambda x, w: grey(x, w)[:, 0]),
    "three channels come out": pair(look=lambda x, w: x * w.to(x).view(1, 3, 1, 1)),
    "still carry a gradient": lambda m, r, g: (lambda w: (grey(m, w), grey(r, w)))(triple(g)),
    "two tensors are expected": lambda m, r, g: pair()(m, r, g)[0],
    "changed its input": lambda m, r, g: pair()(m.data.mul_(2), r, g),
    "has the shape": pair(look=lambda x, w: grey(x, w)[..., :2]),
}


def indexed(x, labels, apart=True, least=1):
    shift = torch.arange(len(x)).view(-1, 1, 1) * (labels.max() + 1) * apart
    index = (labels + shift).flatten()
    pixels = x.detach().permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    count = torch.bincount(index).clamp(min=least)[:, None]
    total = torch.zeros(len(count), x.shape[1], dtype=x.dtype).index_add_(0, index, pixels)
    return total, count, index


def back(rows, x):
    return rows.view(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2)


def plain(x, labels, apart=True, least=1):
    total, count, index = indexed(x, labels, apart, least)
    return back((total / count)[index], x)


def segment_by_segment(x, labels, mean=lambda v: v.mean(dim=1, keepdim=True), detach=True):
    made, x = [], x.detach() if detach else x
    for picture, marks in zip(x, labels, strict=True):
        out = torch.zeros_like(picture)
        for label in marks.unique():
            out = torch.where(marks == label, mean(picture[:, marks == label])[..., None], out)
        made.append(out)
    return torch.stack(made)


def added_up(x, labels):
    total, _, index = indexed(x, labels)
    return back(total[index], x)


def with_nan(x, labels):
    """The means of all labels summed with 0 where a pixel has another: 0 times NaN."""
    total, count, index = indexed(x, labels, least=0)
    hot = functional.one_hot(index, len(count)).to(x)
    return back(hot @ (total / count), x)


def scrambled(x, labels):
    total, count, index = indexed(x.detach().reshape(-1, 3).view(2, 5, 6, 3).permute(0, 3, 1, 2), labels)
    return back((total / count)[index], x)


PLAIN = {
    "right": [plain, segment_by_segment],
    "share their segments": lambda x, labels: plain(x, labels, apart=False),
    "you have the sums": added_up,
    "your segments are grey": lambda x, labels: plain(x, labels).mean(1, keepdim=True).expand_as(x),
    "you took the median": lambda x, labels: segment_by_segment(x, labels, lambda v: v.median(1, keepdim=True).values),
    "is the input": lambda x, labels: x.detach().clone(),
    "one mean for the whole picture": lambda x, labels: x.detach().mean((2, 3), keepdim=True).expand_as(x),
    "not finite": with_nan,
    "reshaped without moving": scrambled,
    "within a segment your colours differ": lambda x, labels: plain(x, labels) + torch.arange(6.0),
    "its colour is not the mean": lambda x, labels: plain(x, labels) + 1,
    "channels come last": lambda x, labels: plain(x, labels).permute(0, 2, 3, 1),
    "a gradient passes": lambda x, labels: segment_by_segment(x, labels, detach=False),
    "changed its input": lambda x, labels: plain(x.data.mul_(2), labels),
    "has the shape": lambda x, labels: plain(x, labels)[..., :2],
}

CAUSES = check.whitebox._CAUSES
OTHERS = [key for key in check.whitebox.MISTAKES if key not in CAUSES.values()]
BROKEN = {
    "right": [CAUSES, dict(reversed(CAUSES.items()))],
    **{f"{run} again": CAUSES | {run: OTHERS[0]} for run in CAUSES},
    "the same answer 4 times": dict.fromkeys(CAUSES, OTHERS[0]),
    "no answer for run D": {run: cause for run, cause in CAUSES.items() if run != "run D"},
    "is not on the list": CAUSES | {"run A": "bad luck"},
    "give a dict": list(CAUSES.values()),
}

CHECKS = {"box": BOX, "shift": SHIFT, "plain": PLAIN, "broken": BROKEN}


def test_dots_in_a_diagnosis_are_not_attempted():
    assert check.whitebox.broken(CAUSES | {"run B": ...}).status == "not attempted"


def test_the_runs_have_all_steps_and_all_measures():
    for losses, values in check.whitebox.RUNS.values():
        assert all(len(curve) == len(check.whitebox.STEPS) for curve in losses.values())
        assert set(values) == set(check.whitebox.PHOTOGRAPHS)
    assert {*check.whitebox.RUNS} == {"healthy", *CAUSES} and {*CAUSES.values()} < {*check.whitebox.MISTAKES}


def test_the_mistakes_are_those_of_the_script():
    from whitebox_mistakes import MISTAKES

    # too much structure and content draws the photograph, as "detached" does, with the same curves: not asked for
    assert {*MISTAKES} == {*check.whitebox.MISTAKES, "weights"}
