"""Checks of the exercises in `laboratory/world`."""

from functools import lru_cache
from types import SimpleNamespace

import torch
import torch.nn.functional as F

from stlib import metrics, oracle, world
from stlib.check import Wrong, exercise, expect_tensor

PORTRAITS = range(5_000_000, 5_000_048)  # what a filter is given: numbers that nothing else in the course uses
MODELS = range(6_000_000, 6_000_008)  # whose sketches a forger is given
HATCHING = {"sigma": 0.5, "tau": 0.9, "dark": 0.4}  # XDoG with hatching as the chapter tunes it
LOST = 0.02  # of content that a filter may lose against it
SURE, FACELESS = 0.9, 0.2  # of a forgery: least probability of the style, and content that it must stay below
ALIKE = 0.75  # correlation from which a picture is what the oracle reads in it: portraits have 0.9, others below 0.65


def _double(*shape, seed):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# world-coverage -------------------------------------------------------------------------------------------------------


def _coverage(distance, pixel):
    return (0.5 - distance / pixel).clamp(0, 1)


@exercise("a ring from a disc with one absolute value: outlines of all shapes are made so.")
def ring(answer):
    """The coverage of all that lies within width / 2 of a disc's edge, from the disc's signed distance."""
    for size, radius, width in ((32, 0.6, 0.2), (48, 0.4, 0.11)):
        axis, pixel = (torch.arange(size, dtype=torch.float64) + 0.5) * 2 / size - 1, 2 / size
        distance = ((axis[:, None] ** 2 + axis**2).sqrt() - radius)[None, None]
        before = distance.clone()
        result = answer(distance, width, pixel)
        expect_tensor(result, distance.shape)
        if not torch.equal(distance, before):
            raise Wrong("your function changed its input: make a new tensor.")
        edge = distance.abs() - width / 2
        right = _coverage(edge, pixel)
        if torch.allclose(result.double(), right, atol=1e-4):
            continue
        for wrong, saying in (
            (_coverage(distance, pixel), "that is the disc: the ring needs the distance to the circle"),
            (
                _coverage(distance - width / 2, pixel),
                "that is a larger disc: inside it the distance is negative, so take its absolute value",
            ),
            (_coverage(distance.abs(), pixel), "the ring has no width: subtract half of it from the distance"),
            (_coverage(distance.abs() - width, pixel), "your ring is twice too wide: `width` goes to both sides"),
            (_coverage(distance.abs() + width / 2, pixel), "the sign of the width is wrong: a wider ring is nearer"),
            (1 - right, "inside and outside are exchanged: 1 belongs on the ring, 0 elsewhere"),
            ((edge <= 0).double(), "your edge is a staircase: pixels that are covered in part lie between 0 and 1"),
            (0.5 - edge / pixel, "your values leave [0, 1]: clamp them"),
            (_coverage(edge, 1), "you forgot the size of a pixel: the edge is to be one pixel wide"),
            (_coverage(edge, pixel / 2), "your edge is half a pixel wide; it is to be one pixel wide"),
            (_coverage(edge, 2 * pixel), "your edge is two pixels wide; it is to be one pixel wide"),
        ):
            if torch.allclose(result.double(), wrong, atol=1e-4):
                raise Wrong(f"{saying}.")
        raise Wrong("that is not the ring's coverage: put the ring's own signed distance into `coverage`.")


# world-filter ---------------------------------------------------------------------------------------------------------


def hatched(pictures, sigma, tau, dark):
    """The filter to be beaten, as the chapter has it: XDoG, and diagonal lines where the picture is dark."""
    y = _luminance(pictures)
    difference = _blur(y, sigma) - tau * _blur(y, 1.6 * sigma) - 0.02
    drawing = torch.where(difference >= 0, 1.0, 1 + torch.tanh(30 * difference)).clamp(0, 1)
    rows, columns = (torch.arange(n, device=y.device) for n in y.shape[-2:])
    stripes = ((rows[:, None] + columns) % 3 == 0).float()
    shade = 1 - 0.5 * stripes * ((dark - _blur(y, 1.5)) * 3).clamp(0, 1)
    return (drawing * shade * 0.95).clamp(0, 1).expand(-1, 3, -1, -1)


def _luminance(pictures):
    return (pictures * pictures.new_tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(dim=1, keepdim=True)


def _blur(x, sigma):
    """Gaussian blur of (B, 1, H, W), the borders mirrored."""
    reach = int(3 * sigma + 1)
    weight = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=x.dtype, device=x.device) / sigma) ** 2)
    weight = weight / weight.sum()
    x = F.pad(x, (reach,) * 4, "reflect")
    return F.conv2d(F.conv2d(x, weight.view(1, 1, 1, -1)), weight.view(1, 1, -1, 1))


@lru_cache
def _subjects(numbers):
    """Portraits, their photographs and sketches, and `read`: pictures to (reading, content score)."""
    judge, contents = oracle.load("cpu"), world.sample("portraits", numbers)
    photos, sketches = (world.render(contents, style) for style in ("photo", "sketch"))
    names = oracle.carried("portraits", "sketch")
    reading = judge.read(sketches, "portraits")
    others = contents[(torch.arange(len(contents)) + 1) % len(contents)]
    truth, by_chance = (metrics.agreement(reading, each, names).mean() for each in (contents, others))
    chance = max(by_chance, metrics.blind_agreement(contents, names).mean())

    def read(pictures):
        reading = judge.read(pictures, "portraits")
        return reading, metrics.content_score(metrics.agreement(reading, contents, names), truth, chance)

    return SimpleNamespace(contents=contents, photos=photos, sketches=sketches, read=read)


def _seen_as(reading):
    """The class that most of the pictures get."""
    return oracle.CLASSES[int(reading.style.mean(dim=0).argmax())]


def _pictures(answer, given, called):
    """The answer's pictures, float32, or Wrong: their form, and that the given ones stayed as they were."""
    handed = given.clone()
    result = answer(handed)
    if torch.is_tensor(result) and result.shape == (len(given), 1, *given.shape[2:]):
        raise Wrong(f"your {called} have one channel: end with .expand(-1, 3, -1, -1).")
    expect_tensor(result, given.shape)
    if not torch.equal(handed, given):
        raise Wrong("your function changed its input: make a new tensor.")
    result = result.detach().cpu().float()
    if not result.isfinite().all():
        raise Wrong(f"your {called} hold NaN or infinite values.")
    if result.max() > 2:
        raise Wrong(f"your values reach {result.max():.0f}: pictures lie in [0, 1] here, not in [0, 255].")
    if result.min() < -1e-4 or result.max() > 1 + 1e-4:
        low, high = result.min().item(), result.max().item()
        raise Wrong(f"your values reach from {low:.2f} to {high:.2f}: end with .clamp(0, 1).")
    return result.clamp(0, 1)


@exercise("more of the style than the tuned filter, and the content kept. A method that learns must beat this now.")
def beats_hatching(answer):
    """Sketches of 48 photographs: more raw style than tuned XDoG with hatching, no more than 0.02 less content."""
    known = _subjects(PORTRAITS)
    result = _pictures(answer, known.photos, "sketches")
    if torch.allclose(result, known.photos, atol=0.02):
        raise Wrong("you returned the photographs: all of the content, nothing of the style.")
    if (result - result[:1]).abs().max() < 0.02:
        raise Wrong("all your sketches are alike: the content is lost.")
    (reading, content), (usual, least) = (known.read(each) for each in (result, hatched(known.photos, **HATCHING)))
    style, goal = (metrics.style_score(each, "sketch", world.STYLES) for each in (reading, usual))
    kept, reached = content >= least - LOST, style > goal
    if kept and reached:
        return
    numbers = f"content {content:.2f} and style {style:.2f}; XDoG with hatching has {least:.2f} and {goal:.2f}"
    seen = _seen_as(reading)
    seen = f"most look like {'something else' if seen == oracle.OTHER else f'{seen!r}'} to the oracle"
    tones = torch.stack([_luminance(each).flatten() for each in (result, known.photos)])
    if torch.corrcoef(tones)[0, 1] < -0.1 and not reached:
        raise Wrong(f"your sketches are negatives: pencil is dark on light paper ({numbers}).")
    if reached:
        raise Wrong(f"more style, but the content suffers: {numbers}. Keep more of the lines and tones.")
    if kept:
        raise Wrong(f"the content is kept, the style is not reached: {numbers}; {seen}.")
    raise Wrong(f"neither content nor style: {numbers}; {seen}. Begin with XDoG, and change one thing at a time.")


# world-fool -----------------------------------------------------------------------------------------------------------


def _redrawn(pictures, reading, contents):
    """Correlation (B,) of each picture with a sketch of what the oracle reads in it, without details.

    A portrait, be it given, moved to another place or drawn anew, is explained by its reading; another picture is not.
    """
    factors = {name: value for name, value in reading.values.items()}
    factors |= {name: chance.argmax(dim=1) for name, chance in reading.choices.items()}
    again = world.render(contents.replace(**factors), "sketch")
    a, b = (_blur(_luminance(each), 2.0).flatten(1) for each in (pictures, again))
    a, b = (each - each.mean(dim=1, keepdim=True) for each in (a, b))
    return (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1)).clamp(min=1e-6)


@exercise("eight pictures of nobody in perfect pencil: a probability says which class, not that there is a picture.")
def fools_the_oracle(answer):
    """Eight pictures that are surely sketches to the oracle, and no portraits in any of four positions."""
    known = _subjects(MODELS)
    result = _pictures(answer, known.sketches, "pictures")
    apart = (result[:, None] - known.sketches[None]).abs().amax(dim=(2, 3, 4))
    if (apart.diagonal() < 0.02).any():
        raise Wrong("you returned sketches that you were given: they are genuine, not forged.")
    if (apart.amin(dim=1) < 0.02).any():
        raise Wrong("those are the given sketches in another order: each is still a portrait.")
    reading, content = known.read(result)
    if content >= FACELESS:
        raise Wrong(f"the oracle still reads the given faces: content {content:.2f}, to be below {FACELESS}.")
    for turns in range(4):
        turned = result.rot90(turns, (2, 3))
        alike = _redrawn(turned, reading if turns == 0 else known.read(turned)[0], known.contents)
        if alike.max() >= ALIKE:
            where = f", turned by {90 * turns} degrees," if turns else ""
            raise Wrong(
                f"picture {int(alike.argmax())}{where} is a portrait of this world: drawn anew from what the oracle "
                f"reads in it, it looks the same (correlation {alike.max():.2f}). Show something else than a face."
            )
    sure = reading.style[:, oracle.CLASSES.index("sketch")]
    if sure.min() < SURE:
        worst = int(sure.argmin())
        seen = oracle.CLASSES[int(reading.style[worst].argmax())]
        raise Wrong(
            f"{int((sure >= SURE).sum())} of 8 are sketches to the oracle with {SURE} or more; picture {worst} is one "
            f"with {sure[worst]:.2f} only, it looks like {'something else' if seen == oracle.OTHER else repr(seen)}."
        )


# world-memorisation ---------------------------------------------------------------------------------------------------


@exercise("near 0 for a copier, 1 for new pictures, above 1 for noise: only values below 1 accuse of copying.")
def memorisation(answer):
    """Median distance to the nearest training picture, of samples over that of fresh pictures."""
    training = _double(30, 6, seed=1)
    fresh = _double(33, 6, seed=2)
    copies = training[torch.arange(41) % 30] + 0.2 * _double(41, 6, seed=3) ** 2
    for samples in (copies, 1.5 * _double(27, 6, seed=4)):
        inputs = samples.clone(), training.clone(), fresh.clone()
        result = answer(*inputs)
        if torch.is_tensor(result) and result.numel() > 1:
            raise Wrong(f"your result has the shape {tuple(result.shape)}: one number is expected, take the medians.")
        result = float(result)
        if not all(torch.equal(a, b) for a, b in zip(inputs, (samples, training, fresh), strict=True)):
            raise Wrong("your function changed its input.")
        near, usual = (torch.cdist(each, training) for each in (samples, fresh))
        nearest, expected = near.amin(dim=1), usual.amin(dim=1)
        right = (nearest.median() / expected.median()).item()
        if abs(result - right) < 1e-4 * right:
            continue
        by_training = near.amin(dim=0).median() / usual.amin(dim=0).median()
        for wrong, saying in (
            (nearest.mean() / expected.mean(), "you took means: a few far samples move a mean, a median they do not"),
            (
                expected.median() / nearest.median(),
                "your quotient is upside down: the samples' distance above, that of the fresh pictures below",
            ),
            (by_training, "you took the minimum over the samples: it goes over the training pictures, dim=1 here"),
            (
                (nearest.median() / expected.median()) ** 2,
                "you used squared distances: take their root, or the ratio is squared, too",
            ),
            ((nearest**2).mean() / (expected**2).mean(), "you used squared distances, and means for medians"),
            (near.median() / usual.median(), "you took all distances: only that to the *nearest* one counts"),
            (near.mean() / usual.mean(), "you averaged all distances: only that to the *nearest* one counts"),
            (near.amax(dim=1).median() / usual.amax(dim=1).median(), "you took the farthest: take the minimum"),
            (nearest.median(), "the quotient is missing: divide by the same median of the fresh pictures"),
            (
                nearest.median() / torch.cdist(samples, fresh).amin(dim=1).median(),
                "you divided by the distance of samples to fresh pictures: divide by theirs to the *training* pictures",
            ),
            (
                torch.cdist(samples, fresh).amin(dim=1).median() / expected.median(),
                "you measured samples to fresh pictures: measure them to the training pictures",
            ),
        ):
            if abs(result - wrong.item()) < 1e-4 * wrong.item():
                raise Wrong(f"{saying}.")
        if result != result or result in (0.0, float("inf")):
            raise Wrong(
                f"you gave {result}: each vector is the nearest to itself. Measure samples *to training pictures*, and "
                "fresh ones to training pictures."
            )
        raise Wrong(f"you gave {result:.4f} where {right:.4f} is expected; print the two medians.")
