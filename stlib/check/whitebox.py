"""Checks of the exercises in `2_gan/whitebox`."""

import torch
from torch.nn import functional

from stlib.check import NotAttempted, Wrong, exercise, expect_tensor


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
    "weights": "structure and content weigh a hundred times too much",
    "variation": "total variation is a sum over all pixels, where a mean was meant",
    "still": "the critics' optimiser is never called",
    "targets": "the critics' targets are exchanged: made pictures are to get 1, real ones 0",
    "detached": "the generator's pictures are detached before its critics see them",
    "content": "content compares the cartoon with another photograph of the set",
}
STEPS = (40, 80, 120, 160, 200, 240, 280, 320, 360, 400)
PHOTOGRAPHS = {"regions": 0.0, "outlines": 0.0, "grain": 0.0}
RUNS = {}
_CAUSES = {}
_LOOK = {}
_AGAINST = {}


@exercise("four mistakes told by their curves and by what they drew, without a line of their code.")
def broken(answer):
    """{run: key of MISTAKES} for the four runs of RUNS that are not healthy."""
    if callable(answer):
        answer = answer()
    if not isinstance(answer, dict):
        raise Wrong(f'give a dict, {{"run A": "...", ...}}; got a {type(answer).__name__}.')
    if any(value is ... or value is None for value in answer.values()):
        raise NotAttempted
    if missing := [run for run in _CAUSES if run not in answer]:
        raise Wrong(f"there is no answer for {missing[0]}: four runs are to be diagnosed, A to D.")
    if unknown := [answer[run] for run in _CAUSES if answer[run] not in MISTAKES]:
        raise Wrong(f"{unknown[0]!r} is none of the mistakes; they are: {', '.join(MISTAKES)}.")
    wrong = [run for run, cause in _CAUSES.items() if answer[run] != cause]
    if not wrong:
        return
    if len(wrong) >= 3 and len(set(answer[run] for run in _CAUSES)) == 1:
        raise Wrong("you gave the same mistake four times: each run has another one.")
    run = wrong[0]
    told = f" (and {_AGAINST[answer[run]]})" if answer[run] in _AGAINST else ""
    raise Wrong(f"look at {run} again: {_LOOK[run]}{told}. {4 - len(wrong)} of 4 are right.")


__all__ = ["MISTAKES", "PHOTOGRAPHS", "RUNS", "STEPS", "box", "broken", "plain", "shift"]
