"""Scores of single pictures: what the judge reads in them, and how far they are from the true picture."""

import torch

KERNEL_LIMIT = 3.0  # style counts while the kernel distance is at most this many times that of two real sets
LEAST_CONTRAST = 0.02  # of A(truth) - A(chance): below it the judge does not tell contents apart
LARGEST_PSNR = 99.0  # dB, for pictures that are equal


class MetricError(ValueError):
    """Pictures or sets that cannot be scored; one sentence says why."""


def _factor(contents, name):
    found = [factor for factor in contents.factors if factor.name == name]
    if not found:
        known = ", ".join(factor.name for factor in contents.factors)
        raise MetricError(f"{contents.family} have no factor {name!r} to score; they have: {known}.")
    return found[0]


def _agree(factor, value, truth):
    """Agreement in [0, 1] of answers `value` with the true values of a continuous factor or an angle."""
    error = (value - truth).abs()
    if factor.periodic:
        error = error % 1
        return (1 - torch.minimum(error, 1 - error) / 0.25).clamp(0, 1)
    drawn = factor.draw((torch.arange(1000) + 0.5) / 1000)
    scale = (drawn - drawn.median()).abs().mean()
    return (1 - error / scale).clamp(0, 1)


def _per_picture(by_factor, contents, names, also):
    """The mean (B,) over the factors that show in each picture, and in the contents `also`; 0 where none does."""
    if not names:
        raise MetricError("No factor is left to be scored: the style carries none that the judge reads well enough.")
    shown = torch.stack([~contents.shown(name).isnan() for name in names])
    if also is not None:
        shown &= torch.stack([~also.shown(name).isnan() for name in names])
    shown = shown.float()
    return (torch.stack(by_factor) * shown).sum(dim=0) / shown.sum(dim=0).clamp(min=1)


@torch.no_grad()
def agreement(reading, contents, names, also=None):
    """How far a reading agrees with the true contents: A (B,) in [0, 1], higher is better; the mean over those of
    `names` that show in a picture (the place of a house counts where there is one). With `also`, what shows there
    too: what an edit lets appear, nobody can know.

    A continuous factor gives max(0, 1 - |error| / s) with s the mean error of the best constant answer (the mean
    distance from the factor's median), an angle the same with the distance round the circle (s is a quarter turn), a
    choice the probability that the judge gives to the true option. `reading.values[name]` is (B,),
    `reading.choices[name]` (B, options). Source: this course.
    """
    each = []
    for name in names:
        factor, truth = _factor(contents, name), contents[name]
        if factor.options:
            chances = reading.choices[name].to(truth.device)
            each.append(chances.gather(1, truth.long()[:, None])[:, 0].float())
        else:
            each.append(_agree(factor, reading.values[name].to(truth.device), truth))
    return _per_picture(each, contents, names, also)


@torch.no_grad()
def blind_agreement(contents, names, steps=41, also=None):
    """A (B,) of the best answer that does not look: for each factor the constant that agrees best with the world.

    The judge may read a meaningless picture as the average face, which agrees with many contents a little.
    """
    each = []
    for name in names:
        factor, truth = _factor(contents, name), contents[name]
        drawn = factor.draw((torch.arange(1000) + 0.5) / 1000)
        if factor.options:
            shares = torch.bincount(drawn.long(), minlength=len(factor.options)) / 1000
            always = (truth == shares.argmax()).float()  # the most frequent option
            even = torch.full_like(always, 1 / len(factor.options))  # or, where all are alike, each a little
            each.append(always if shares.max() > 1.01 / len(factor.options) else even)
        else:
            constants = torch.linspace(factor.low, factor.high, steps)
            each.append(_agree(factor, max(constants, key=lambda c: _agree(factor, c, drawn).mean()), truth))
    return _per_picture(each, contents, names, also)


def content_score(result, truth, chance):
    """clip((A(x) - A(chance)) / (A(truth) - A(chance)), 0, 1): 0 knows nothing of the content, 1 as much as the truth.

    Each argument is a number or a tensor of agreements, of which the mean is taken: one picture alone says little.
    A(truth) is that of the true pictures in the target style; A(chance) that of true pictures of other contents, or
    of the best blind answer where that is higher. Raises MetricError where the judge sees no difference of the two.
    """
    result, truth, chance = (torch.as_tensor(a, dtype=torch.float64).mean().item() for a in (result, truth, chance))
    if truth - chance < LEAST_CONTRAST:
        reads = f"agreement {truth:.3f} with the true contents, {chance:.3f} by chance"
        raise MetricError(f"The judge does not tell contents apart in this style: {reads}; score fewer factors.")
    return min(max((result - chance) / (truth - chance), 0.0), 1.0)


@torch.no_grad()
def style_score(reading, style, styles):
    """Mean probability in [0, 1] that the judge gives to `style`, one of `styles` (`world.STYLES`); higher is better.

    Alone it can be fooled: see `counted_style`. The last column of `reading.style` is "other".
    """
    columns = (*styles, "other")
    if style not in columns:
        raise MetricError(f"The judge knows no style {style!r}; it knows: {', '.join(columns)}.")
    return reading.style[:, columns.index(style)].float().mean().item()


def counted_style(raw, ratio, limit=KERNEL_LIMIT):
    """The style score that counts, and why: (raw, "") while the kernel ratio is at most `limit`, else (0.0, reason).

    The pictures must be in the style's distribution, not only convince a classifier. `ratio` is that of
    `populations.kernel_ratio`.
    """
    if ratio <= limit:
        return raw, ""
    return (
        0.0,
        f"style {raw:.2f} is not counted: kernel distance {ratio:.3g} x that of two real sets, at most {limit:g}",
    )


@torch.no_grad()
def ssim(pictures, truth):
    """Structural similarity (B,) to the true pictures, in [-1, 1], 1 for equal ones. Source: Wang et al. 2004."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    return structural_similarity_index_measure(pictures, truth, data_range=1.0, reduction="none").reshape(-1)


@torch.no_grad()
def psnr(pictures, truth):
    """Peak signal-to-noise ratio (B,) to the true pictures in dB, higher is better, at most 99 (equal pictures)."""
    from torchmetrics.functional.image import peak_signal_noise_ratio

    ratio = peak_signal_noise_ratio(pictures, truth, data_range=1.0, dim=(1, 2, 3), reduction="none")
    return ratio.reshape(-1).clamp(max=LARGEST_PSNR)


@torch.no_grad()
def perceptual_distance(maps, truth):
    """Perceptual distance (B,) of two dicts of feature maps {layer: (B, C, H, W)}: in [0, 4], lower is better.

    At each position the channels are scaled to length 1; d is the squared distance, averaged over positions, then over
    layers. Source: Zhang et al. 2018 (LPIPS), eq. 1, without its learnt weights.
    """
    distances = []
    for name, there in truth.items():
        a, b = (m / m.square().sum(dim=1, keepdim=True).add(1e-10).sqrt() for m in (maps[name], there))
        distances.append((a - b).square().sum(dim=1).mean(dim=(1, 2)))
    return torch.stack(distances).mean(dim=0)
