"""Every exercise check: the right answer, another right answer, wrong answers with their own diagnosis, the stub."""

import importlib
from pathlib import Path

import pytest
import torch

from stlib import check
from stlib.nets.normalization import adaptive_instance_norm

pytestmark = pytest.mark.usefixtures("one_thread")


def flat(features):
    return features.flatten(2)


def clamping(x, optimizer, loss_of):
    def closure():
        optimizer.zero_grad()
        x.data.clamp_(0, 1)
        loss = loss_of(x)
        loss.backward()
        return loss

    return closure


def closure_maker(zero=True, give_back=True, backward=True):
    def make(x, optimizer, loss_of):
        def closure():
            if zero:
                optimizer.zero_grad()
            loss = loss_of(x)
            if backward:
                loss.backward()
            return loss if give_back else None

        return closure

    return make


def closure_by_autograd(x, optimizer, loss_of):
    def closure():
        loss = loss_of(x)
        x.grad = torch.autograd.grad(loss, x)[0]
        return loss

    return closure


def shuffled(per_channel=False, channels=False):
    def answer(features):
        b, c, h, w = features.shape
        if channels:
            return features[:, torch.randperm(c, generator=torch.Generator().manual_seed(5))]
        if per_channel:
            return torch.stack([f.flatten()[torch.randperm(h * w)].view(h, w) for f in features[0]])[None]
        return flat(features)[..., torch.randperm(h * w)].view(b, c, h, w)

    return answer


def swapped_pair(features):
    moved = features.clone()
    moved[..., 0, 0], moved[..., 0, 1] = features[..., 0, 1], features[..., 0, 0]
    return moved


def reversed_positions(features):
    return features.flip(2, 3)


GRAM = {
    "right": [
        lambda f: flat(f) @ flat(f).transpose(1, 2) / flat(f).shape[2],
        lambda f: torch.einsum("bchw,bdhw->bcd", f, f) / f[0, 0].numel(),
    ],
    "is not divided by H W": lambda f: flat(f) @ flat(f).transpose(1, 2),
    "divided by C H W": lambda f: flat(f) @ flat(f).transpose(1, 2) / f[0].numel(),
    "divided by C but not by H W": lambda f: flat(f) @ flat(f).transpose(1, 2) / f.shape[1],
    "compares positions": lambda f: flat(f).transpose(1, 2) @ flat(f),
    "one matrix for the whole batch": lambda f: torch.einsum("bchw,bdhw->cd", f, f) / f[0, 0].numel(),
    "covariance": lambda f: torch.stack([torch.cov(x.flatten(1), correction=0) for x in f]),
    "mixes channels and positions": lambda f: (
        f.reshape(f.shape[0], -1, f.shape[1]).transpose(1, 2) @ f.reshape(f.shape[0], -1, f.shape[1]) / f[0, 0].numel()
    ),
}
SHUFFLE = {
    "right": [shuffled(), reversed_positions, lambda f: f.roll(-1, 3)],
    "only a few positions moved": swapped_pair,
    "in its own way": shuffled(per_channel=True),
    "permuted the channels": shuffled(channels=True),
    "nothing moved": lambda f: f.clone(),
    "values themselves changed": lambda f: torch.randn_like(f),
    "changed its input": lambda f: f.copy_(f.flip(2)),
}
CLOSURE = {
    "right": [closure_maker(), closure_by_autograd],
    "clamps the picture": clamping,
    "doubled the gradient": closure_maker(zero=False),
    "returns nothing": closure_maker(give_back=False),
    "call loss.backward": closure_maker(backward=False),
    "return the closure itself": lambda x, optimizer, loss_of: loss_of(x),
}
WEIGHTS = {
    "right": [lambda n: 1e3, lambda n: 1e3 / n**2 * n**2],
    "left the notebook's own weight": lambda n: 1e3 / n**2,
    "forgot the notebook's own 1/N^2": lambda n: 1e3 * n**2,
    "off by N": lambda n: 1e3 / n,
    "lost the notebook's factor": lambda n: 1.0,
}
COST = {
    "right": [
        lambda sizes, calls: sum(n * (s / sizes[-1]) ** 2 for s, n in zip(sizes, calls, strict=True)),
        lambda sizes, calls: sum(n * s * s for s, n in zip(sizes, calls, strict=True)) / sizes[-1] ** 2,
    ],
    "took the sides": lambda sizes, calls: sum(n * s for s, n in zip(sizes, calls, strict=True)) / sizes[-1],
    "counted every call alike": lambda sizes, calls: sum(calls),
    "forgot the calls at the last size": lambda sizes, calls: sum(
        n * (s / sizes[-1]) ** 2 for s, n in zip(sizes[:-1], calls, strict=False)
    ),
    "upside down": lambda sizes, calls: sum(n * (sizes[-1] / s) ** 2 for s, n in zip(sizes, calls, strict=True)),
    "at the *first* size": lambda sizes, calls: sum(n * (s / sizes[0]) ** 2 for s, n in zip(sizes, calls, strict=True)),
    "you rounded": lambda sizes, calls: round(sum(n * (s / sizes[-1]) ** 2 for s, n in zip(sizes, calls, strict=True))),
}


def moments(p, dims=(2, 3)):
    return torch.std_mean(p, dim=dims, keepdim=True)


def channel_match(scale=lambda old, new: new / old, shift=True, dims=(2, 3)):
    def answer(picture, target):
        (old, old_mean), (new, new_mean) = moments(picture, dims), moments(target, dims)
        return (picture - old_mean) * scale(old, new) + (new_mean if shift else old_mean)

    return answer


def whitened(picture, target):
    p, t = picture[0].flatten(1), target[0].flatten(1)
    change = torch.linalg.cholesky(torch.cov(t)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(p)))
    return (change @ (p - p.mean(1, keepdim=True)) + t.mean(1, keepdim=True)).view_as(picture)


CHANNELS = {
    "right": [
        channel_match(),
        lambda p, t: (p - moments(p)[1]) / p.std((2, 3), correction=0, keepdim=True) * moments(t)[0] + moments(t)[1],
    ],
    "only the means were moved": channel_match(scale=lambda old, new: 1),
    "the means are not": channel_match(shift=False),
    "ratio of the variances": channel_match(scale=lambda old, new: (new / old) ** 2),
    "upside down": channel_match(scale=lambda old, new: old / new),
    "correlations changed": whitened,
    "you clamped": lambda p, t: channel_match()(p, t).clamp(0, 1),
    "one mean and deviation for all": channel_match(dims=(1, 2, 3)),
    "has the size of the target": lambda p, t: channel_match()(t, p),
    "nothing changed": lambda p, t: p,
    "changed its input": lambda p, t: p.copy_(channel_match()(p, t)),
}


def by_filling(first, second, fine):
    mixed = {}
    for name in second:
        mixed[name] = first[name].clone() if name in fine else second[name].clone()
    return mixed


MIX = {
    "right": [lambda a, b, fine: {n: a[n] if n in fine else b[n] for n in b}, by_filling],
    "swapped": lambda a, b, fine: {n: b[n] if n in fine else a[n] for n in b},
    "only the fine layers": lambda a, b, fine: {n: a[n] for n in fine},
    "you blended": lambda a, b, fine: {n: (a[n] + b[n]) / 2 if n in fine else b[n] for n in b},
    "by their number": lambda a, b, fine: {n: a[n] if i < len(fine) else b[n] for i, n in enumerate(b)},
    "from the first painting": lambda a, b, fine: dict(a),
    "changed one of the dicts": lambda a, b, fine: b.update({n: a[n] for n in fine}) or b,
    "in the order": lambda a, b, fine: {n: a[n] if n in fine else b[n] for n in reversed(list(b))},
}


def projected(zero=True, clamp="after", step=True, give="before"):
    def answer(x, optimizer, loss_of):
        if clamp == "before":
            x.data.clamp_(0, 1)
        if zero:
            optimizer.zero_grad()
        loss = loss_of(x)
        loss.backward()
        if step:
            optimizer.step()
        if clamp == "after":
            with torch.no_grad():
                x.clamp_(0, 1)
        if clamp == "copy":
            x = x.clamp(0, 1)
        return loss if give == "before" else loss_of(x) if give == "after" else None

    return answer


def projected_by_hand(x, optimizer, loss_of):
    loss = loss_of(x)
    x.grad = torch.autograd.grad(loss, x)[0]
    optimizer.step()
    x.data.copy_(x.data.clip(0, 1))
    return loss.item()


PROJECTED = {
    "right": [projected(), projected_by_hand],
    "clamp it in place after the step": projected(clamp="copy"),
    "zero_grad, loss, backward, step": projected(zero=False),
    "did not move": projected(step=False),
    "return the loss before the step": projected(give="after"),
    "returns nothing": projected(give="nothing"),
}


def layer(dims=(2, 3), correction=0, eps=0.0, scale=lambda c, s: s / c, shift=True, leave=False):
    """AdaIN as many would write it; `scale` of the deviations, `leave` keeps the content's mean."""

    def answer(content, style):
        variance, mean = torch.var_mean(content, dim=dims, correction=correction, keepdim=True)
        variance_s, mean_s = torch.var_mean(style, dim=dims, correction=correction, keepdim=True)
        moved = (content - mean) * scale((variance + eps).sqrt(), (variance_s + eps).sqrt())
        return moved + (mean if leave else mean_s if shift else 0)

    return answer


def layer_by_loops(content, style):
    made = torch.empty_like(content)
    for b in range(content.shape[0]):
        for c in range(content.shape[1]):
            x, y = content[b, c], style[b, c]
            made[b, c] = (x - x.mean()) / (x.std() + 1e-5) * y.std() + y.mean()
    return made


LAYER = {
    "right": [
        layer(),
        layer(correction=1, eps=1e-4),
        lambda c, s: torch.nn.functional.instance_norm(c) * s.std((2, 3), keepdim=True) + s.mean((2, 3), keepdim=True),
        layer_by_loops,
        adaptive_instance_norm,
    ],
    "content and style are swapped": lambda c, s: layer()(s, c),
    "statistics over the batch": layer(dims=(0, 2, 3)),
    "for all channels": layer(dims=(1, 2, 3)),
    "for everything": layer(dims=(0, 1, 2, 3)),
    "only the mean was moved": layer(scale=lambda c, s: 1),
    "only the deviation was changed": layer(leave=True),
    "did not subtract": lambda c, s: (
        c * s.std((2, 3), keepdim=True) / c.std((2, 3), keepdim=True) + s.mean((2, 3), keepdim=True)
    ),
    "the mean of your result is 0": layer(shift=False),
    "only took the content's moments out": layer(scale=lambda c, s: 1 / c, shift=False),
    "used variances": layer(scale=lambda c, s: (s / c) ** 2),
    "divided by the content's variance": layer(scale=lambda c, s: s / c**2),
    "multiplied by the style's variance": layer(scale=lambda c, s: s**2 / c),
    "upside down": layer(scale=lambda c, s: c / s),
    "nothing changed": lambda c, s: c.clone(),
    "changed its input": lambda c, s: c.copy_(layer()(c, s)),
    "NaN": lambda c, s: c / 0 * 0,
    "is not the style's": lambda c, s: layer()(c, s) + 1,
}


def mixing(share=lambda w: [x / sum(w) for x in w], styles=slice(None), blend=lambda a: (a, 1 - a)):
    def answer(content, given, weights, alpha):
        pairs = zip(share(weights)[styles], given[styles], strict=True)
        of_styles, of_content = blend(alpha)
        return of_styles * sum(w * adaptive_instance_norm(content, s) for w, s in pairs) + of_content * content

    return answer


def mixing_in_place(content, styles, weights, alpha):
    shares = torch.tensor(weights) / sum(weights)
    made = (1 - alpha) * content
    for share, style in zip(shares, styles, strict=True):
        made = made + alpha * share * layer(correction=1)(content, style)
    return made


BLEND = {
    "right": [mixing(), mixing_in_place],
    "not normalised: divide": mixing(share=lambda w: w),
    "alpha and 1 - alpha are exchanged: alpha": mixing(blend=lambda a: (1 - a, a)),
    "not normalised, and alpha and 1 - alpha": mixing(share=lambda w: w, blend=lambda a: (1 - a, a)),
    "alpha is ignored: blend": mixing(blend=lambda a: (1, 0)),
    "alpha is ignored, and your weights": mixing(share=lambda w: w, blend=lambda a: (1, 0)),
    "only the first style counts: sum": mixing(share=lambda w: [1.0], styles=slice(1)),
    "only the first style counts, and alpha": mixing(lambda w: [1.0], slice(1), lambda a: (1, 0)),
    "only the last style counts": mixing(share=lambda w: [0, 0, 1.0]),
    "your weights are ignored": mixing(share=lambda w: [1 / len(w)] * len(w)),
    "alpha only scales the styles' weights: the": mixing(blend=lambda a: (a, 0)),
    "which are not normalised": mixing(share=lambda w: w, blend=lambda a: (a, 0)),
    "the content is added whole": mixing(blend=lambda a: (a, 1)),
    "divided by the number of styles": mixing(share=lambda w: [x / len(w) for x in w]),
    "softmax": mixing(share=lambda w: torch.tensor(w).softmax(0).tolist()),
    "but not for": lambda c, styles, w, a: mixing()(c, styles, [2.0, 1.0, 0.5], a),
    "the size of a style": lambda c, styles, w, a: adaptive_instance_norm(styles[0], c),
    "changed a list": lambda c, styles, w, a: mixing()(c, [styles.pop()], [1.0], a),
    "are not that blend": lambda c, styles, w, a: mixing()(c, styles, w, a) + 1,
}
REDUCTION = {
    "right": [lambda w, channels: w * channels, lambda w, channels: w / (1 / channels)],
    "upside down": lambda w, channels: w / channels,
    "w itself": lambda w, channels: w,
    "counted the channels twice": lambda w, channels: w * channels**2,
    "took a root": lambda w, channels: w * channels**0.5,
    "lost w": lambda w, channels: channels,
    "the same number for every layer": lambda w, channels: w * 64,
    "whatever w and `channels` are": lambda w, channels: 10,
    "write both losses": lambda w, channels: w * channels + 1,
}


def tile_moments(tiles, correction=0):
    return [torch.var_mean(t[0].flatten(1), dim=1, correction=correction) for t in tiles]


def positions(tiles):
    return torch.tensor([float(t[0, 0].numel()) for t in tiles]).double()


def by_sums(tiles):
    count = sum(t.shape[2] * t.shape[3] for t in tiles)
    mean = sum(t.sum(dim=(0, 2, 3)) for t in tiles) / count
    return mean, sum(t.square().sum(dim=(0, 2, 3)) for t in tiles) / count - mean**2


def by_merging(tiles):
    count, mean, variance = 0, 0, 0
    for tile in tiles:
        more = tile.shape[2] * tile.shape[3]
        new_variance, new_mean = torch.var_mean(tile, dim=(0, 2, 3), correction=0, keepdim=True)
        share = more / (count + more)
        variance = (1 - share) * variance + share * new_variance + share * (1 - share) * (new_mean - mean) ** 2
        count, mean = count + more, mean + share * (new_mean - mean)
    return [mean, variance]


def averaged(combine, exact_mean=True):
    """Tiles combined by `combine(shares, variances, means)`, beside the right mean or the plain average of means."""

    def answer(tiles):
        variances, means = (torch.stack(part) for part in zip(*tile_moments(tiles), strict=True))
        shares = (positions(tiles) / positions(tiles).sum())[:, None]
        mean = by_sums(tiles)[0] if exact_mean else means.mean(0)
        return mean, combine(shares, variances, means)

    return answer


TILES = {
    "right": [
        by_sums,
        by_merging,
        lambda tiles: torch.stack(
            torch.var_mean(torch.cat([t.flatten(2) for t in tiles], 2), (0, 2), correction=0)[::-1]
        ),
    ],
    "plain average of the tiles' means": averaged(lambda shares, variances, means: variances.mean(0), exact_mean=False),
    "variance between the tiles' means is forgotten": averaged(lambda n, variances, means: (n * variances).sum(0)),
    "plain average of the tiles' variances": averaged(lambda n, variances, means: variances.mean(0)),
    "deviations and squared": averaged(lambda n, variances, means: (n * variances.sqrt()).sum(0) ** 2),
    "deviations cannot be averaged": averaged(lambda n, variances, means: variances.sqrt().mean(0) ** 2),
    "only the first tile": lambda tiles: by_sums(tiles[:1]),
    "only the last tile": lambda tiles: by_sums(tiles[-1:]),
    "unbiased": lambda tiles: (
        by_sums(tiles)[0],
        by_sums(tiles)[1] * positions(tiles).sum() / (positions(tiles).sum() - 1),
    ),
    "mean square": lambda tiles: (by_sums(tiles)[0], by_sums(tiles)[1] + by_sums(tiles)[0] ** 2),
    "returned the deviation": lambda tiles: (by_sums(tiles)[0], by_sums(tiles)[1].sqrt()),
    "one within them is missing": averaged(lambda n, variances, means: (n * means**2).sum(0) - (n * means).sum(0) ** 2),
    "the two are swapped": lambda tiles: by_sums(tiles)[::-1],
    "the mean is too large": lambda tiles: (sum(t.sum(dim=(0, 2, 3)) for t in tiles), by_sums(tiles)[1]),
    "first tile alone": lambda tiles: (by_sums(tiles)[0], by_sums(tiles[:1])[1]),
    "return two things": lambda tiles: by_sums(tiles)[0],
    "returns 3 things": lambda tiles: (*by_sums(tiles), 0),
    "has the shape": lambda tiles: tuple(m.mean() for m in by_sums(tiles)),
    "changed its input": lambda tiles: by_sums([t.mul_(1).add_(1) for t in tiles]),
    "changed the list": lambda tiles: by_sums([tiles.pop() for _ in range(4)]),
    "the mean is not that": lambda tiles: (by_sums(tiles)[0] + 1, by_sums(tiles)[1]),
    "the variance is not": lambda tiles: (by_sums(tiles)[0], by_sums(tiles)[1] + 1),
}
CHECKS = {
    "adain": {"layer": LAYER, "mix": BLEND, "weights": REDUCTION, "tiles": TILES},
    "gatys": {"gram": GRAM, "shuffle": SHUFFLE, "closure": CLOSURE, "weights": WEIGHTS},
    "gatys_studio": {
        "equal_cost": COST,
        "channel_match": CHANNELS,
        "mix_layers": MIX,
        "projected_step": PROJECTED,
    },
}
# Chapters with long answers have a file of their own
OWN = [path.stem for path in sorted(Path(__file__).parent.glob("test_check_*.py"))]
CHECKS |= {name.removeprefix("test_check_"): importlib.import_module(name).CHECKS for name in OWN}
WRONG = [(c, e, d) for c, es in CHECKS.items() for e, answers in es.items() for d in answers if d != "right"]
EXERCISES = [(c, e) for c, es in CHECKS.items() for e in es]


def ask(chapter, exercise):
    return getattr(getattr(check, chapter), exercise)


@pytest.mark.parametrize("chapter, exercise", EXERCISES)
def test_right_answers_pass(chapter, exercise):
    for answer in CHECKS[chapter][exercise]["right"]:
        verdict = ask(chapter, exercise)(answer)
        assert verdict and verdict.status == "right", verdict


@pytest.mark.parametrize("chapter, exercise, diagnosis", WRONG)
def test_wrong_answers_get_their_own_diagnosis(chapter, exercise, diagnosis):
    verdict = ask(chapter, exercise)(CHECKS[chapter][exercise][diagnosis])
    assert verdict.status == "wrong" and diagnosis in verdict.message, verdict


@pytest.mark.parametrize("chapter, exercise", EXERCISES)
def test_an_untouched_stub_is_not_attempted(chapter, exercise):
    def unfinished(*_):
        raise NotImplementedError

    def inner_dots(*_):
        return lambda: ...

    stubs = [..., None, lambda *_: ..., unfinished] + ([inner_dots] if exercise == "closure" else [])
    assert [ask(chapter, exercise)(stub).status for stub in stubs] == ["not attempted"] * len(stubs)


@pytest.mark.parametrize("chapter, exercise", EXERCISES)
def test_an_answer_that_crashes_is_told_so(chapter, exercise):
    def broken(*_):
        raise KeyError("oops")

    verdict = ask(chapter, exercise)(broken)
    assert verdict.status == "error" and "KeyError" in verdict.message


def test_a_function_that_returns_nothing_is_told_so():
    verdict = check.gatys.gram(lambda f: None)
    assert verdict.status == "wrong" and "returns nothing" in verdict.message


def test_there_are_no_checks_for_a_chapter_that_has_none():
    with pytest.raises(AttributeError, match="no checks for a chapter 'nothing'"):
        check.nothing  # noqa: B018


def test_every_exercise_of_the_chapters_is_checked_here():
    from stlib import chapters

    for path in chapters.notebooks():
        if "solutions" in path.parts:
            continue
        ids = {c["metadata"]["exercise"] for c in chapters.read(path)["cells"] if "exercise" in c["metadata"]}
        assert ids == {f"{path.stem}-{name}" for name in CHECKS[path.stem]} and len(ids) >= 3, path
