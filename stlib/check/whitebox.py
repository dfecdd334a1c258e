"""Checks of the exercises in `2_gan/whitebox`."""

import torch
from torch.nn import functional

from stlib.check import Wrong, diagnosed, exercise, expect_tensor


def _random(*shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _same(found, wanted):
    return found.shape == wanted.shape and bool(torch.allclose(found.double(), wanted, atol=1e-6))


def _told(found, mistakes):
    """Raise Wrong with what is said of the first of the `mistakes` (result, sentence) that `found` equals."""
    for wrong, saying in mistakes:
        if _same(found, wrong):
            raise Wrong(f"{saying}.")


# whitebox-box ---------------------------------------------------------------------------------------------------------


def _pool(x, side, padding, **options):
    return functional.avg_pool2d(x, side, 1, padding, **options)


@exercise("every window is divided by the number of pixels that it holds.")
def box(answer):
    """Window means (B, C, H, W) of maps, for two radii; at the border of the pixels that are there."""
    x = _random(2, 3, 7, 6, seed=1) + 1
    before = x.clone()
    for radius in (1, 2):
        result, side = answer(x, radius), 2 * radius + 1
        if not torch.equal(x, before):
            raise Wrong("your function changed its input: make a new tensor.")
        if torch.is_tensor(result) and result.shape == (2, 3, 7 - 2 * radius, 6 - 2 * radius):
            raise Wrong("the border is missing: your result is smaller than the picture. Pad by the radius.")
        if torch.is_tensor(result) and result.ndim == 4 and result.shape[1] == 1:
            raise Wrong("you mixed the channels: each has a mean of its own.")
        expect_tensor(result, x.shape)
        right = _pool(x, side, radius, count_include_pad=False)
        if _same(result, right):
            continue
        repeated, mirrored = (functional.pad(x, (radius,) * 4, mode=mode) for mode in ("replicate", "reflect"))
        narrow = [(1, side), (0, radius)], [(side, 1), (radius, 0)]
        _told(result, (
            (_pool(x, side, radius), "at the border you divide by the whole window: the zeros outside are not there, "
                                     "so they must not count"),
            (_pool(x, side, radius) * side**2, "you have the sum over the window: divide by the number of its pixels"),
            (_pool(repeated, side, 0), "you repeated the border outwards: pixels outside are not there, do not count "
                                       "them"),
            (_pool(mirrored, side, 0), "you mirrored the border outwards: pixels outside are not there, do not count "
                                       "them"),
            (_pool(x, 3, 1, count_include_pad=False), "your window is always 3 x 3: it has 2 r + 1 pixels a side"),
            *((_pool(x, *one, count_include_pad=False), "your window is a line: it goes r pixels in both directions")
              for one in narrow),
            (_pool(x, 2 * side - 1, side - 1, count_include_pad=False), "your window is too wide: it goes r pixels to "
                                                                       "each side, not 2 r"),
            (x, "your result is the input"),
            (_pool(x, side, radius, count_include_pad=False).mean(dim=1, keepdim=True).expand_as(x),
             "you took the mean over the channels as well: each has its own"),
        ))  # fmt: skip
        inside = (slice(None), slice(None), slice(radius, -radius), slice(radius, -radius))
        if _same(result[inside], right[inside]):
            raise Wrong("right inside, wrong at the border: divide there by the number of pixels that are there.")
        raise Wrong("these are not the means over the windows of 2 r + 1 pixels a side.")


# whitebox-shift -------------------------------------------------------------------------------------------------------

_LOW, _HIGH = torch.tensor([0.199, 0.487, 0.014]), torch.tensor([0.399, 0.687, 0.214])


def _triples(seed, count=2):
    """The first triples that a generator of this seed gives, in float64."""
    generator = torch.Generator().manual_seed(seed)
    return [(_LOW + (_HIGH - _LOW) * torch.rand(3, generator=generator)).double() for _ in range(count)]


def _grey(x, w, divide=True):
    grey = (x * w.view(1, -1, 1, 1)).sum(dim=1, keepdim=True)
    return grey / w.sum() if divide else grey


@exercise("one triple for both batches, and the critic's loss stops before the generator.")
def shift(answer):
    """(made, real) as brightness (B, 1, H, W), (N, 1, H, W): one random triple; made pictures without a gradient."""
    made, real = _random(2, 3, 4, 5, seed=2).requires_grad_(), _random(3, 3, 4, 5, seed=3)
    before = made.detach().clone(), real.clone()

    def ask(seed):
        pair = answer(made, real, torch.Generator().manual_seed(seed))
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise Wrong("two tensors are expected: `return of_made, of_real`.")
        return pair

    given = ask(5)
    if not (torch.equal(made, before[0]) and torch.equal(real, before[1])):
        raise Wrong("your function changed its input: make new tensors.")
    if all(torch.is_tensor(x) for x in given) and [x.shape[0] for x in given] == [3, 2]:
        raise Wrong("the two are exchanged: made pictures come first.")
    for x, batch in zip(given, (2, 3), strict=True):
        if torch.is_tensor(x) and x.shape == (batch, 4, 5):
            raise Wrong("the axis of the channels is gone: keep it, (B, 1, H, W), with `keepdim=True`.")
        if torch.is_tensor(x) and x.shape == (batch, 3, 4, 5):
            raise Wrong("three channels come out: sum over them, one brightness is asked for.")
        expect_tensor(x, (batch, 1, 4, 5))
    w, second = _triples(5)
    x, y = (t.detach() for t in given)
    if not (_same(x, _grey(before[0], w)) and _same(y, _grey(before[1], w))):
        if _same(x, _grey(before[0], w)) and _same(y, _grey(before[1], second)):
            raise Wrong("made and real pictures have different triples: draw once, use it for both.")
        if _same(y, _grey(before[1], w)) and _same(x, _grey(before[0], second)):
            raise Wrong("made and real pictures have different triples: draw once, use it for both.")
        luma, drawn = torch.tensor([0.299, 0.587, 0.114]).double(), (w - _LOW) / (_HIGH - _LOW)
        _told(x, (
            (_grey(before[0], w, divide=False), "divide by the sum of the triple, or the brightness changes with it"),
            (_grey(before[0], w.flip(0)), "red and blue are exchanged: channels here are red, green, blue"),
            (_grey(before[0], luma), "your weights are fixed: draw them anew in each call"),
            (_grey(before[0], drawn), "your weights go from 0 to 1: scale them into their ranges, low + (high - low) "
                                      "* rand"),
            (before[0].mean(dim=1, keepdim=True), "all colours count alike: weigh them by the triple"),
            (_grey(before[0], (_LOW + _HIGH * drawn).double()), "the range goes from low to high: add (high - low) * "
                                                                "rand, not high * rand"),
        ))  # fmt: skip
        again = ask(5)
        if not _same(again[0].detach(), x):
            raise Wrong("with the same generator you get another triple: hand it on, `generator=generator`.")
        for picture, row in zip(before[0], x, strict=True):  # one triple for all pictures, or one for each?
            solved = torch.linalg.lstsq(picture.flatten(1).T, row.flatten()[:, None]).solution
            if not torch.allclose(picture.flatten(1).T @ solved, row.flatten()[:, None], atol=1e-6):
                raise Wrong("your brightness is no weighted mean of red, green and blue.")
        first, other = (torch.linalg.lstsq(p.flatten(1).T, r.flatten()[:, None]).solution
                        for p, r in zip(before[0], x, strict=True))  # fmt: skip
        if not torch.allclose(first, other, atol=1e-5):
            raise Wrong("each picture has a triple of its own: one serves the whole call.")
        raise Wrong("these are not the brightnesses by the first triple of the generator, red, green, blue: "
                    "`torch.rand(3, generator=generator)`.")  # fmt: skip
    if given[0].requires_grad:
        raise Wrong("right, but the made pictures still carry a gradient: detach them, the critic must not move the "
                    "generator.")  # fmt: skip


# whitebox-plain -------------------------------------------------------------------------------------------------------


def _plain(x, labels, apart=True):
    made = torch.zeros_like(x)
    groups = [(slice(i, i + 1),) for i in range(len(x))] if apart else [(slice(None),)]
    for (pictures,) in groups:
        for label in labels[pictures].unique():
            here = (labels[pictures] == label)[:, None].expand_as(x[pictures])
            for channel in range(x.shape[1]):
                mask = here[:, channel]
                made[pictures, channel][mask] = x[pictures, channel][mask].mean()
    return made


@exercise("each segment has the mean of its own picture, and nothing learns through it.")
def plain(answer):
    """Pictures with each segment in its mean colour, segment by segment and picture by picture; no gradient."""
    x = _random(2, 3, 5, 6, seed=4).requires_grad_()
    labels = torch.tensor([0, 0, 1, 1, 3, 3]).expand(2, 5, 6).clone()  # no segment has the label 2
    labels[0, 3:], labels[1, :2, 4:] = 1, 0
    before, marks = x.detach().clone(), labels.clone()
    result = answer(x, labels)
    if not (torch.equal(x, before) and torch.equal(labels, marks)):
        raise Wrong("your function changed its input: make a new tensor.")
    if torch.is_tensor(result) and result.shape == (2, 5, 6, 3):
        raise Wrong("the channels come last in your result: bring them back, `permute(0, 3, 1, 2)`.")
    expect_tensor(result, x.shape)
    found, right = result.detach(), _plain(before, labels)
    if not _same(found, right):
        if not found.isfinite().all():
            raise Wrong("there are numbers that are not finite: a label that no pixel has counts 0. "
                        "`clamp(min=1)` on the counts.")  # fmt: skip
        count = torch.stack([(labels == labels[:, i, j].view(-1, 1, 1)).sum(dim=(1, 2))
                             for i in range(5) for j in range(6)], dim=1).view(2, 1, 5, 6)  # fmt: skip
        medians = torch.zeros_like(right)
        for i in range(2):
            for label in labels[i].unique():
                here = labels[i] == label
                medians[i][:, here] = before[i][:, here].median(dim=1, keepdim=True).values
        scrambled = before.reshape(-1, 3).view(2, 5, 6, 3).permute(0, 3, 1, 2)
        _told(found, (
            (_plain(before, labels, apart=False), "the pictures of the batch share their segments: label 0 of the one "
                                                  "is not label 0 of the other"),
            (right * count, "you have the sums: divide by the number of pixels in each segment"),
            (right.mean(dim=1, keepdim=True).expand_as(right), "your segments are grey: each channel has its own mean"),
            (medians, "you took the median: the mean is asked for"),
            (before, "your result is the input"),
            (before.mean(dim=(2, 3), keepdim=True).expand_as(before), "one mean for the whole picture: each segment "
                                                                      "has its own"),
        ))  # fmt: skip
        mixed = _plain(scrambled, labels)
        if _same(found, mixed) or _same(found, mixed.permute(0, 2, 3, 1).reshape(before.shape)):
            raise Wrong("you reshaped without moving the channels: a row then mixes neighbours of one channel. "
                        "`permute(0, 2, 3, 1)` first.")  # fmt: skip
        for i in range(2):
            for label in labels[i].unique():
                if found[i][:, labels[i] == label].std(dim=1).max() > 1e-6:
                    raise Wrong("within a segment your colours differ: did the channels go back to their axis, "
                                "`permute(0, 3, 1, 2)`?")  # fmt: skip
        raise Wrong("each segment is plain, but its colour is not the mean of its pixels.")
    if result.requires_grad:
        raise Wrong("right, but a gradient passes through it: the simplified picture is a target. "
                    "`torch.no_grad()` or `detach()`.")  # fmt: skip


# whitebox-broken ------------------------------------------------------------------------------------------------------

MISTAKES = {
    "variation": "total variation is a sum over all pixels, where a mean was meant",
    "still": "the critics' optimiser is never called",
    "targets": "the critics' targets are exchanged: made pictures are to get 1, real ones 0",
    "detached": "the generator's pictures are detached before its critics see them",
    "content": "content compares the cartoon with another photograph of the set",
}
STEPS = (40, 80, 120, 160, 200, 240, 280, 320, 360, 400)
PHOTOGRAPHS = {"regions": 10.38, "outlines": 0.06, "grain": 1.56}  # by tests/whitebox_mistakes.py, as all below
RUNS = {
    "healthy": (
        {
            "D texture": (0.279, 0.247, 0.231, 0.218, 0.21, 0.207, 0.199, 0.198, 0.189, 0.196),
            "texture": (0.345, 0.28, 0.317, 0.332, 0.35, 0.358, 0.361, 0.358, 0.372, 0.352),
            "structure": (0.245, 0.255, 0.265, 0.298, 0.33, 0.342, 0.345, 0.37, 0.356, 0.359),
            "content": (0.1, 0.111, 0.171, 0.19, 0.197, 0.249, 0.237, 0.263, 0.275, 0.249),
        },
        {"regions": 14.04, "outlines": 0.2, "grain": 3.65},
    ),
    "run A": (
        {
            "D texture": (0.278, 0.247, 0.23, 0.224, 0.213, 0.207, 0.203, 0.2, 0.192, 0.204),
            "texture": (0.348, 0.278, 0.333, 0.329, 0.334, 0.363, 0.348, 0.356, 0.366, 0.346),
            "structure": (0.241, 0.234, 0.242, 0.282, 0.326, 0.346, 0.342, 0.353, 0.344, 0.348),
            "content": (0.571, 0.604, 0.595, 0.596, 0.566, 0.606, 0.605, 0.601, 0.597, 0.619),
        },
        {"regions": 14.33, "outlines": 0.23, "grain": 3.4},
    ),
    "run B": (
        {
            "D texture": (0.268, 0.229, 0.202, 0.182, 0.159, 0.134, 0.147, 0.124, 0.106, 0.111),
            "texture": (0.337, 0.354, 0.381, 0.415, 0.461, 0.535, 0.498, 0.566, 0.592, 0.578),
            "structure": (0.256, 0.27, 0.256, 0.259, 0.267, 0.26, 0.263, 0.273, 0.251, 0.258),
            "content": (0.016, 0.015, 0.016, 0.016, 0.017, 0.014, 0.014, 0.01, 0.008, 0.006),
        },
        {"regions": 10.28, "outlines": 0.06, "grain": 1.48},
    ),
    "run C": (
        {
            "D texture": (0.226, 0.155, 0.137, 0.121, 0.069, 0.087, 0.069, 0.05, 0.066, 0.056),
            "texture": (0.443, 0.561, 0.627, 0.609, 0.788, 0.701, 0.74, 0.81, 0.723, 0.728),
            "structure": (0.2, 0.079, 0.071, 0.088, 0.074, 0.104, 0.092, 0.056, 0.112, 0.154),
            "content": (0.366, 0.786, 0.838, 0.777, 0.786, 0.767, 0.793, 0.809, 0.747, 0.743),
        },
        {"regions": 6.63, "outlines": 0.08, "grain": 1.37},
    ),
    "run D": (
        {
            "D texture": (0.541, 0.54, 0.54, 0.54, 0.54, 0.54, 0.54, 0.54, 0.54, 0.54),
            "texture": (1.079, 1.076, 1.077, 1.076, 1.076, 1.076, 1.075, 1.075, 1.075, 1.076),
            "structure": (0.257, 0.261, 0.25, 0.252, 0.262, 0.256, 0.264, 0.265, 0.248, 0.25),
            "content": (0.018, 0.018, 0.024, 0.02, 0.024, 0.024, 0.028, 0.027, 0.029, 0.028),
        },
        {"regions": 10.19, "outlines": 0.05, "grain": 2.98},
    ),
}
_CAUSES = {"run A": "content", "run B": "detached", "run C": "variation", "run D": "still"}
_LOOK = {
    "run A": "`content` stands near 0.6 from the first value on, while all else goes as in the healthy run. With what "
    "is the cartoon compared?",
    "run B": "the critic learns, and `texture` rises without an answer; the bars are those of the photographs. What "
    "does the generator hear of its critics?",
    "run C": "`structure` has fallen and `content` risen by the second value, as if the picture had lost what is in "
    "it. Which term wants that, and how much would it have to weigh?",
    "run D": "the critic's loss is the same from the first value to the last, and 0.54 is worse than 0.25, which is "
    "what it would have if it said the same of all pictures",
}
_AGAINST = {
    "still": "a critic that never moves has a level curve",
    "targets": "with exchanged targets both would fall towards 0 together",
    "detached": "then the bars would be the photographs'",
    "variation": "then `structure` would fall at once",
    "content": "then `content` could not be small in the beginning, where the cartoon is still the photograph",
}


@exercise("four mistakes told by their curves and by what they drew, without a line of their code.")
def broken(answer):
    """{run: key of MISTAKES} for the four runs of RUNS that are not healthy."""
    diagnosed(answer, _CAUSES, MISTAKES, _LOOK, _AGAINST)


__all__ = ["MISTAKES", "PHOTOGRAPHS", "RUNS", "STEPS", "box", "broken", "plain", "shift"]
