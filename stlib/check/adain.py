"""Checks of the exercises in `1_optimization/adain`."""

import torch

from stlib.check import Wrong, exercise, expect_tensor, kind

ONE_BY_ONE = "compare with one channel of one picture, by hand"


def _random(*shape, seed):
    """Features whose channels differ in mean and deviation, in float64."""
    generator = torch.Generator().manual_seed(seed)
    scale, shift = torch.rand(2, *shape[:2], 1, 1, generator=generator, dtype=torch.float64)
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    return (0.4 + 2 * scale) * noise + 3 * shift - 1


def _moved(content, style, dims=(2, 3)):
    """The content with mean and deviation of the style over `dims`."""
    std_c, mean_c = torch.std_mean(content, dim=dims, correction=0, keepdim=True)
    std_s, mean_s = torch.std_mean(style, dim=dims, correction=0, keepdim=True)
    return std_s * (content - mean_c) / std_c + mean_s


def _like(result, wanted, loose=2e-3):
    """Equal up to what biased or unbiased variances and a small eps change."""
    return bool(((result - wanted).abs().max() <= loose * wanted.abs().max()).item())


def _unchanged(inputs, before):
    if not all(torch.equal(now, old) for now, old in zip(inputs, before, strict=True)):
        raise Wrong("your function changed its input: make a new tensor.")


@exercise("every channel has the style's mean and deviation, picture by picture.")
def layer(answer):
    """`content` (B, C, H, W) with the moments of `style` (B, C, h, w); any correction, eps from 0 to 1e-4."""
    content, style = _random(2, 4, 24, 20, seed=1), _random(2, 4, 22, 26, seed=2)
    before = content.clone(), style.clone()
    result = answer(content, style)
    if torch.is_tensor(result) and result.shape == style.shape:
        raise Wrong(
            "content and style are swapped: the result has the size of the style. The content is changed, the style "
            "only gives its moments."
        )
    expect_tensor(result, content.shape)
    _unchanged((content, style), before)
    if not result.isfinite().all():
        raise Wrong("your result holds NaN or infinite values: divide by the content's deviation, which is not 0 here.")
    if _like(result, _moved(content, style)):
        return
    (var_c, mean_c), (var_s, mean_s) = (
        torch.var_mean(f, dim=(2, 3), correction=0, keepdim=True) for f in (content, style)
    )
    centred = content - mean_c
    for wrong, saying in (
        (content, "nothing changed: you returned the content as it was"),
        (
            _moved(content, style, (0, 2, 3)),
            "you took statistics over the batch as well: each picture has its own, over dim=(2, 3)",
        ),
        (
            _moved(content, style, (1, 2, 3)),
            "you took one mean and deviation for all channels: each channel has its own, over dim=(2, 3)",
        ),
        (_moved(content, style, (0, 1, 2, 3)), "you took one mean and deviation for everything: use dim=(2, 3)"),
        (centred + mean_s, "only the mean was moved: the deviation must become the style's, too"),
        (
            (var_s / var_c).sqrt() * centred + mean_c,
            "only the deviation was changed: the mean must become the style's, too",
        ),
        ((var_s / var_c).sqrt() * content + mean_s, "you did not subtract the content's mean before scaling"),
        (
            (var_s / var_c).sqrt() * centred,
            "the mean of your result is 0: add the style's at the end",
        ),
        (
            centred / var_c.sqrt(),
            "you only took the content's moments out: put the style's in (multiply, then add)",
        ),
        (var_s / var_c * centred + mean_s, "you used variances where deviations belong: take their square roots"),
        (
            var_s.sqrt() / var_c * centred + mean_s,
            "you divided by the content's variance, not its deviation: take the square root",
        ),
        (
            var_s / var_c.sqrt() * centred + mean_s,
            "you multiplied by the style's variance, not its deviation: take the square root",
        ),
        (
            (var_c / var_s).sqrt() * centred + mean_s,
            "your ratio is upside down: divide by the content's deviation, multiply by the style's",
        ),
    ):
        if _like(result, wrong):
            raise Wrong(f"{saying}.")
    raise Wrong(f"mean or deviation of a channel is not the style's; {ONE_BY_ONE}.")


@exercise("weights that sum to 1, and alpha between the content and what the styles make of it.")
def mix(answer):
    """alpha times the weighted mean of AdaIN(content, style) over `styles`, plus (1 - alpha) times `content`."""
    content = _random(1, 4, 12, 11, seed=3)
    styles = [_random(1, 4, *size, seed=4 + i) for i, size in enumerate(((13, 9), (12, 14), (10, 11)))]
    weights, alpha = [2.0, 1.0, 0.5], 0.3
    before = [f.clone() for f in (content, *styles)]
    given = list(styles), list(weights)
    result = answer(content, given[0], given[1], alpha)
    if torch.is_tensor(result) and result.shape != content.shape and result.shape in [s.shape for s in styles]:
        raise Wrong("your result has the size of a style: AdaIN(content, style) keeps the content's size.")
    expect_tensor(result, content.shape)
    if len(given[0]) != len(styles) or given[1] != weights:
        raise Wrong("your function changed a list it was given: make new ones.")
    _unchanged((content, *given[0]), before)
    made = [_moved(content, style) for style in styles]
    total = sum(weights)

    def mixed(shares, a=alpha, rest=None):
        painted = sum(share * m for share, m in zip(shares, made, strict=True))
        return a * painted + (1 - a if rest is None else rest) * content

    shares = [weight / total for weight in weights]
    if _like(result, mixed(shares)):
        for others, a in (([1.0, 1.0, 1.0], 1.0), ([0.0, 3.0, 0.0], 0.6)):  # and for other numbers
            again = answer(content, list(styles), list(others), a)
            expect_tensor(again, content.shape)
            if not _like(again, mixed([weight / sum(others) for weight in others], a)):
                raise Wrong(f"right for weights {weights} and alpha {alpha}, but not for {others} and {a}.")
        return
    equal = [1 / len(styles)] * len(styles)
    for wrong, saying in (
        (mixed(shares, 1 - alpha), "alpha and 1 - alpha are exchanged: alpha = 1 is all style"),
        (mixed(weights), "your weights are not normalised: divide them by their sum"),
        (mixed(weights, 1 - alpha), "your weights are not normalised, and alpha and 1 - alpha are exchanged"),
        (mixed(shares, 1.0), "alpha is ignored: blend with the content's own features at the end"),
        (mixed(weights, 1.0), "alpha is ignored, and your weights are not normalised"),
        (mixed([1, 0, 0]), "only the first style counts: sum over all of them"),
        (mixed([1, 0, 0], 1.0), "only the first style counts, and alpha is ignored"),
        (mixed([0, 0, 1]), "only the last style counts: add up, do not overwrite"),
        (mixed(equal), "your weights are ignored: all styles count alike"),
        (
            mixed(shares, rest=0),
            "alpha only scales the styles' weights: the content's own features, times 1 - alpha, are missing",
        ),
        (
            mixed(weights, rest=0),
            "alpha only scales the styles' weights, which are not normalised; and the content is missing",
        ),
        (mixed(shares, rest=1), "the content is added whole: it counts 1 - alpha"),
        (
            mixed([w / len(styles) for w in weights]),
            "you divided by the number of styles: your weights are not normalised, divide by their sum",
        ),
    ):
        if _like(result, wrong):
            raise Wrong(f"{saying}.")
    exponent = torch.softmax(torch.tensor(weights, dtype=torch.float64), 0).tolist()
    if _like(result, mixed(exponent)):
        raise Wrong("you took a softmax: a weight of 2 is to count twice as much as a weight of 1.")
    raise Wrong("the features are not that blend; try one style with weight 1 and alpha = 1: that is AdaIN alone.")


@exercise("the same loss in both programs, layer by layer.")
def weights(answer):
    """The weight of the mean form that equals the sum form with weight `w` for a layer with `channels` channels."""
    cases = [(0.01, 64), (0.01, 512), (0.3, 20)]
    told = [float(answer(w, channels)) for w, channels in cases]
    factors = [number / w for number, (w, _) in zip(told, cases, strict=True)]

    def fits(power, without_w=False):
        wanted = (channels**power * (1 / w if without_w else 1) for w, channels in cases)
        return all(abs(factor - right) <= 1e-6 * right for factor, right in zip(factors, wanted, strict=True))

    if fits(1):
        return
    example = f"for w = {cases[0][0]} and {cases[0][1]} channels you gave {told[0]:.6g}"
    for power, saying in (
        (-1, "upside down: the mean is the smaller number, so its weight must be the larger"),
        (0, "you gave w itself: a mean over the channels is smaller than their sum"),
        (2, "you counted the channels twice: moments have one index, not two as a Gram matrix has"),
        (0.5, "you took a root: the sum runs over squares already"),
    ):
        if fits(power):
            raise Wrong(f"{saying} ({example}).")
    if fits(1, without_w=True):
        raise Wrong(f"you lost w: the answer is proportional to it ({example}).")
    if max(told) == min(told):
        raise Wrong(f"you gave {told[0]:.6g} whatever w and `channels` are: the answer depends on both.")
    if max(factors) - min(factors) <= 1e-6 * max(factors):
        raise Wrong(f"you use the same number for every layer, {factors[0]:.6g}: it depends on `channels` ({example}).")
    raise Wrong(f"{example}; write both losses for one layer and divide one by the other.")


def _channels(result, channels, name):
    if not torch.is_tensor(result):
        raise Wrong(f"your {name} is {kind(result)}; a tensor of shape ({channels},) is expected.")
    if result.numel() != channels or channels not in result.shape:
        raise Wrong(f"your {name} has the shape {tuple(result.shape)}; ({channels},) is expected.")
    return result.flatten()


@exercise("the moments of the whole picture, and no tile ever met another.")
def tiles(answer):
    """Mean and biased variance, (C,) each, of a picture whose feature maps come as tiles (1, C, h, w)."""
    sizes = ((6, 8), (6, 3), (2, 8), (2, 3))
    given = [3 * i + _random(1, 5, *size, seed=10 + i) for i, size in enumerate(sizes)]
    before = [tile.clone() for tile in given]
    handed = list(given)
    result = answer(handed)
    if not isinstance(result, (tuple, list)) and not (torch.is_tensor(result) and result.shape[:1] == (2,)):
        raise Wrong("return two things, the mean and the variance: `return mean, variance`.")
    if any(part is ... for part in result):
        from stlib.check import NotAttempted

        raise NotAttempted
    if len(result) != 2:
        raise Wrong(f"your function returns {len(result)} things; two are expected, the mean and the variance.")
    mean, variance = (_channels(part, 5, name) for part, name in zip(result, ("mean", "variance"), strict=True))
    if len(handed) != len(given):
        raise Wrong("your function changed the list it was given.")
    _unchanged(handed, before)
    whole = torch.cat([tile.flatten(2) for tile in given], dim=2)[0]
    right_variance, right_mean = torch.var_mean(whole, dim=1, correction=0)
    parts = [torch.var_mean(tile[0].flatten(1), dim=1, correction=0) for tile in given]
    variances, means = (torch.stack(part) for part in zip(*parts, strict=True))
    counts = torch.tensor([float(h * w) for h, w in sizes], dtype=torch.float64)[:, None]
    shares = counts / counts.sum()

    def same(one, two):
        return torch.allclose(one, two.to(one.dtype), rtol=1e-4, atol=1e-5)

    if same(variance, right_mean) and same(mean, right_variance):
        raise Wrong("the two are swapped: return the mean first.")
    if same(mean, parts[0][1]):
        raise Wrong("only the first tile counts: go through all of them.")
    if same(mean, means[-1]):
        raise Wrong("only the last tile counts: add up, do not overwrite.")
    if same(mean, means.mean(0)):
        raise Wrong("a plain average of the tiles' means: a tile with more positions must count more.")
    if same(mean, (shares * means).sum(0) * len(sizes)) or same(mean, whole.sum(1)):
        raise Wrong("the mean is too large: divide once, by the number of positions of the whole picture.")
    if not same(mean, right_mean):
        raise Wrong("the mean is not that of the whole picture: add up sums and positions, then divide once.")
    if same(variance, right_variance):
        return
    count = counts.sum()
    for wrong, saying in (
        (right_variance.sqrt(), "you returned the deviation: the variance is its square"),
        (
            right_variance * count / (count - 1),
            "your variance is unbiased: divide by the number of positions, not by one less",
        ),
        ((whole**2).mean(1), "you returned the mean square: subtract the squared mean"),
        (
            (shares * variances).sum(0),
            "you averaged the tiles' variances: the variance between the tiles' means is forgotten",
        ),
        (
            variances.mean(0),
            "a plain average of the tiles' variances: larger tiles must count more, and the variance between the "
            "tiles' means is forgotten",
        ),
        (
            (shares * variances.sqrt()).sum(0).square(),
            "you averaged the tiles' deviations and squared: deviations cannot be averaged, squares can",
        ),
        (
            variances.sqrt().mean(0).square(),
            "you averaged the tiles' deviations and squared: deviations cannot be averaged, squares can",
        ),
        (
            (shares * (means - right_mean) ** 2).sum(0),
            "only the variance between the tiles is there: the one within them is missing",
        ),
        (variances[0], "the variance is that of the first tile alone"),
    ):
        if same(variance, wrong):
            raise Wrong(f"the mean is right. {saying[0].upper()}{saying[1:]}.")
    raise Wrong("the mean is right, the variance is not: it is the mean square minus the squared mean.")
