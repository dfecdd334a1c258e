"""Checks of the exercises in `laboratory/part1_measured`."""

import numbers

import torch

from stlib.check import Wrong, exercise, expect_tensor, kind


def _random(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _close(result, wanted, loose=1e-4):
    return bool(((result - wanted).abs().max() <= loose * wanted.abs().max()).item())


def _grams(features, divisor):
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / divisor


@exercise("each picture has its own error, relative to the target, and does not feel its neighbours.")
def gram(answer):
    """||G(x_b) - A||^2 / ||A||^2 (B,) for `features` (B, C, H, W) and a target Gram matrix A (1, C, C)."""
    count, channels, height, width = 3, 5, 6, 4
    features = _random(count, channels, height, width, seed=1) * torch.tensor([0.5, 1.0, 2.0]).view(3, 1, 1, 1) + 0.3
    example = _random(1, channels, 7, 7, seed=2) + 0.5
    target = _grams(example, 49)
    before = features.clone(), target.clone()
    result = answer(features, target)
    if not (torch.equal(features, before[0]) and torch.equal(target, before[1])):
        raise Wrong("your function changed its input: make a new tensor.")

    own = _grams(features, height * width)
    square, energy = (own - target).square(), target.square().sum()
    wanted = square.sum(dim=(1, 2)) / energy
    if (torch.is_tensor(result) and result.ndim == 0) or isinstance(result, numbers.Real):
        raise Wrong(
            "your function returns one number for the whole batch: return one for each picture, summed over "
            "dimensions 1 and 2 only."
        )
    if torch.is_tensor(result) and result.shape == own.shape:
        raise Wrong("your function returns an error for every pair of channels: sum over dimensions 1 and 2.")
    expect_tensor(result, (count,))
    if _close(result, wanted):
        return
    mixed = features.transpose(0, 1).flatten(1)
    mixed = (mixed @ mixed.T / mixed.shape[1] - target[0]).square().sum() / energy
    undivided, doubly = (_grams(features, n) for n in (1, channels * height * width))
    for wrong, saying in (
        (
            mixed.expand(count),
            "you made one Gram matrix of the whole batch, so the pictures are mixed: flatten from dimension 2 on",
        ),
        (square.sum(dim=(1, 2)), "the error is not relative yet: divide it by the sum of the target's squares"),
        (
            square.mean(dim=(1, 2)),
            "you took a mean over the pairs of channels: take the sum, divided by the sum of the target's squares",
        ),
        (wanted.sqrt(), "you took the root: the squared error is asked for"),
        (square.sum(dim=(1, 2)) / target.abs().sum(), "you divided by the sum of the target, not of its squares"),
        (
            square.sum(dim=(1, 2)) / own.square().sum(dim=(1, 2)),
            "you divided by the energy of the pictures' own Gram matrices: it is the target's that all share",
        ),
        (
            (undivided - target).square().sum(dim=(1, 2)) / energy,
            "your Gram matrices are not divided by the number of positions H W",
        ),
        (
            (doubly - target).square().sum(dim=(1, 2)) / energy,
            "you divided the Gram matrices by C H W: the target was divided by its positions only",
        ),
        (wanted / count, "you divided by the number of pictures: then a picture's gradient depends on its neighbours"),
        (wanted.sum().expand(count), "every picture gets the sum over the batch: keep them apart"),
    ):
        if _close(result, wrong):
            raise Wrong(f"{saying}.")
    raise Wrong("the errors are not those of the pictures: compare with one picture, by hand.")


# Weight, content, style: each mean has its own favourite
SCORES = (
    (0.1, 1.0, 0.02),
    (1.0, 0.95, 0.3),
    (10.0, 0.56, 0.44),
    (100.0, 0.21, 0.93),
    (1000.0, 0.01, 0.98),
    (10000.0, 0.0, 0.0),
)


@exercise("the weight whose lower score is best paid for.")
def weight(answer):
    """The weight with the largest harmonic mean of content and style; 0 where both are 0."""
    for scores in (SCORES, SCORES[::-1]):
        columns = [list(column) for column in zip(*scores, strict=True)]
        given = [list(column) for column in columns]
        result = answer(*given)
        if given != columns:
            raise Wrong("your function changed a list it was given: make new ones.")
        if torch.is_tensor(result) and result.numel() == 1:
            result = result.item()
        if not isinstance(result, numbers.Real) or isinstance(result, bool):
            raise Wrong(f"your function returns {kind(result)}; one of the weights is expected.")
        weights, content, style = columns
        means = [2 * c * s / (c + s) if c + s else 0.0 for c, s in zip(content, style, strict=True)]
        best = means.index(max(means))
        if abs(result - weights[best]) < 1e-6:
            continue
        if abs(result - max(means)) < 1e-6:
            raise Wrong("you returned the largest mean: return the weight that has it.")
        if result == best and isinstance(result, int):
            raise Wrong("you returned the place in the list: return the weight that stands there.")
        for wrong, saying in (
            (content, "you chose by content alone: then the untouched photograph wins"),
            (style, "you chose by style alone: then a picture of somebody else wins"),
            (
                [c + s for c, s in zip(content, style, strict=True)],
                "you chose by the plain or the geometric mean, in which one score pays for the other: "
                "take the harmonic mean",
            ),
            ([-m for m in means], "you chose the smallest mean: take the largest"),
        ):
            if abs(result - weights[wrong.index(max(wrong))]) < 1e-6:
                raise Wrong(f"{saying}.")
        raise Wrong("another weight has a larger harmonic mean: print the means beside the weights.")


@exercise("nothing is lost on the way, and every painted pixel counts.")
def enlarge(answer):
    """Each picture enlarged four times, painted alone, averaged down: exactly the input where nothing is painted."""
    pictures = torch.rand(3, 3, 8, 6, generator=torch.Generator().manual_seed(3))
    before, calls = pictures.clone(), []

    def run(change):
        calls.clear()

        def paint(picture):
            if not torch.is_tensor(picture):
                raise Wrong(f"`paint` was given {kind(picture)}; it takes a picture (1, 3, 4H, 4W).")
            calls.append(tuple(picture.shape))
            return change(picture.clone())

        result = answer(paint, pictures)
        if any(shape[0] != 1 for shape in calls):
            raise Wrong("`paint` was given several pictures at once: it takes one, (1, 3, 4H, 4W).")
        if any(shape[2:] != (32, 24) for shape in calls):
            given = " x ".join(map(str, calls[0][2:]))
            raise Wrong(f"`paint` was given {given} pixels for a picture of 8 x 6: four times the side is 32 x 24.")
        if isinstance(result, (list, tuple)):
            raise Wrong("your function returns a list of pictures: join them with `torch.cat`.")
        if torch.is_tensor(result) and result.shape == (3, 3, 32, 24):
            raise Wrong("your result is as large as what `paint` returned: average it down at the end.")
        expect_tensor(result, pictures.shape)
        return result

    same = run(lambda x: x)
    if not torch.equal(pictures, before):
        raise Wrong("your function changed its input: make a new tensor.")
    if not calls:
        raise Wrong("`paint` was never called.")
    if len(calls) != 3:
        raise Wrong(f"`paint` was called {len(calls)} times for 3 pictures.")
    if not torch.allclose(same, pictures, atol=1e-5):
        if any(torch.allclose(same[0], other, atol=1e-5) for other in pictures[1:]):
            raise Wrong("the pictures come back in another order.")
        raise Wrong(
            "with a `paint` that does nothing the result is not the input: smooth interpolation mixes neighbours, "
            "repeating each pixel does not."
        )
    # Each 4 x 4 block: +0.3 in one corner pixel, which an average sees as 0.3 / 16
    dots = torch.zeros(1, 3, 32, 24)
    dots[..., 1::4, 2::4] = 0.3
    result, wanted = run(lambda x: x + dots), pictures + 0.3 / 16
    if torch.allclose(result, pictures, atol=1e-4) or torch.allclose(result, pictures + 0.3, atol=1e-4):
        raise Wrong("only some of the painted pixels count: take the mean of each block of 4 x 4, not one pixel of it.")
    if not torch.allclose(result, wanted, atol=1e-4):
        raise Wrong("what `paint` does is not averaged over blocks of 4 x 4 pixels.")
    steps = torch.arange(3.0).view(3, 1, 1, 1) / 10
    order = iter(steps)
    if not torch.allclose(run(lambda x: x * 0 + next(order)), steps.expand_as(pictures), atol=1e-4):
        raise Wrong("the pictures come back in another order than they were painted in.")


__all__ = ["enlarge", "gram", "weight"]
