"""Checks of the exercises in `2_gan/stargan`."""

import math
import numbers

import torch

from stlib.check import Wrong, exercise, expect_tensor, kind

UNTOUCHED = "your function changed its input: make a new tensor."


def _random(*shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# stargan-adain --------------------------------------------------------------------------------------------------------


def _normed(x, dim=(2, 3), eps=1e-5):
    variance, mean = torch.var_mean(x, dim=dim, correction=0, keepdim=True)
    return (x - mean) / (variance + eps).sqrt()


def _adain_mistakes(x, s, weight, bias):
    """Maps that answers with one mistake would give, each with its diagnosis."""
    h, channels = s @ weight.T + bias, x.shape[1]

    def split(h, gamma=slice(None, channels), beta=slice(channels, None)):
        return h[:, gamma, None, None], h[:, beta, None, None]

    gamma, beta = split(h)
    n, mean = _normed(x), x.mean(dim=(2, 3), keepdim=True)
    turned = split(h, slice(channels, None), slice(None, channels))
    woven = split(h, slice(None, None, 2), slice(1, None, 2))
    plain = split(s @ weight.T)
    first = split(h[:1].expand_as(h))
    unbiased = (x - mean) / (x.var(dim=(2, 3), keepdim=True) + 1e-5).sqrt()
    return (
        (gamma * n + beta, "the 1 is missing: the scale is 1 + gamma, so a code that says nothing changes nothing"),
        ((1 + turned[0]) * n + turned[1], "gamma and beta are exchanged: the first C numbers are gamma, the rest beta"),
        ((1 + woven[0]) * n + woven[1], "you took every second number for gamma: it is the first half, beta the other"),
        ((1 + gamma) * n + 1 + beta, "beta has a 1 as well: only the scale is 1 + gamma"),
        ((1 + gamma) * n, "beta is missing: shift each channel by it"),
        (n + beta, "gamma is missing: scale each channel by 1 + gamma"),
        ((1 + gamma) * x + beta, "the map is not normalised: take off its mean and divide by its deviation first"),
        ((1 + gamma) * (n + beta), "you shifted before you scaled: beta is added at the end"),
        ((1 + gamma) * unbiased + beta, "your variance is divided by H W - 1: here it is the mean square, H W below"),
        ((1 + gamma) * (x - mean) / (x.var(dim=(2, 3), correction=0, keepdim=True) + 1e-5) + beta,
         "you divided by the variance: divide by its root"),
        ((1 + gamma) * (x - mean) / (x.std(dim=(2, 3), correction=0, keepdim=True) + 1e-5) + beta,
         "1e-5 is added to the deviation: it belongs to the variance, under the root"),
        ((1 + gamma) * (x - mean) + beta, "you took off the mean only: divide by the deviation as well"),
        ((1 + gamma) * x / (x.var(dim=(2, 3), correction=0, keepdim=True) + 1e-5).sqrt() + beta,
         "the mean is not taken off before you divide"),
        ((1 + gamma) * _normed(x, (0, 2, 3)) + beta,
         "mean and deviation run over the whole batch, as in batch norm: each picture has its own"),
        ((1 + gamma) * _normed(x, (1, 2, 3)) + beta,
         "mean and deviation run over all channels: each channel has its own"),
        ((1 + gamma) * _normed(x, 1) + beta, "you normalised over the channels of each position: it is the other way "
                                             "round, over the positions of each channel"),
        ((1 + plain[0]) * n + plain[1], "the bias is missing: the linear layer gives W s + b"),
        ((1 + first[0]) * n + first[1], "every picture got the code of the first: each has its own"),
    )  # fmt: skip


@exercise("each channel gets its deviation and its mean from the code, and a code of zeros changes nothing.")
def adain(answer):
    """(1 + gamma) IN(x) + beta with (gamma, beta) = W s + b, for maps (B, C, H, W) and codes (B, d)."""
    x, s = 4 * _random(2, 3, 4, 5, seed=1) - 1, (2 * _random(2, 6, seed=2) - 1).requires_grad_()
    x[:, 0] *= 0.005  # where 1e-5 counts
    weight, bias = 2 * _random(6, 6, seed=3) - 1, _random(6, seed=4)
    before = [t.detach().clone() for t in (x, s, weight, bias)]
    result = answer(x, s, weight, bias)
    if any(not torch.equal(t, b) for t, b in zip((x, s, weight, bias), before, strict=True)):
        raise Wrong(UNTOUCHED)
    expect_tensor(result, x.shape)
    h = before[1] @ weight.T + bias
    right = (1 + h[:, :3, None, None]) * _normed(before[0]) + h[:, 3:, None, None]

    def same(other):
        return torch.allclose(result.detach().double(), other, atol=1e-6, rtol=1e-5)

    if not same(right):
        for wrong, saying in _adain_mistakes(*before):
            if same(wrong):
                raise Wrong(f"{saying}.")
        if not result.isfinite().all():
            raise Wrong("your map is not finite: add 1e-5 to the variance, under the root.")
        raise Wrong("that is another map: normalise each channel of each picture, then times 1 + gamma, plus beta.")
    if not result.requires_grad or not torch.autograd.grad(result.square().sum(), s)[0].any():
        raise Wrong("right, but the code learns nothing from it: do not detach it.")
    flat = answer(torch.ones(1, 3, 4, 5), torch.zeros(1, 6), torch.zeros(6, 6), torch.zeros(6))
    if not flat.isfinite().all():
        raise Wrong("right, but a channel that is the same everywhere gives no number: add 1e-5 to the variance, under "
                    "the root.")  # fmt: skip


# stargan-diversity ----------------------------------------------------------------------------------------------------


def _number(result):
    if torch.is_tensor(result) and result.numel() == 1:
        return result.item()
    if isinstance(result, numbers.Real) and not isinstance(result, bool):
        return float(result)
    told = f"a tensor of shape {tuple(result.shape)}" if torch.is_tensor(result) else kind(result)
    raise Wrong(f"your function returns {told}; one number is expected.")


def _close(x, y):
    return abs(x - y) <= 1e-6 * max(abs(y), 1e-3)


@exercise("two codes are pulled apart, the second picture only stands there, and in the end the pull is gone.")
def diversity(answer):
    """-weight (1 - step / steps) E|G(x, s) - sg G(x, s2)|, and 0 from `steps` on; the gradient of the first alone."""
    knob = torch.tensor(1.3, dtype=torch.float64, requires_grad=True)
    x, s, s2 = _random(2, 3, 4, 5, seed=5), _random(2, 4, seed=6), 2 * _random(2, 4, seed=7)

    def G(x, s):
        return knob * (x + 0.5).square() * s.sum(dim=1)[:, None, None, None]

    before = [t.clone() for t in (x, s, s2)]

    def ask(step, weight=0.8):
        return answer(G, x, s, s2, step, 10, weight)

    results = {step: ask(step) for step in (0, 4, 10, 15)}
    if any(not torch.equal(t, b) for t, b in zip((x, s, s2), before, strict=True)):
        raise Wrong(UNTOUCHED)
    found = {step: _number(result) for step, result in results.items()}
    apart = (G(x, s) - G(x, s2)).abs().mean().item()
    square = (G(x, s) - G(x, s2)).square().mean().item()
    total = (G(x, s) - G(x, s2)).abs().sum().item()
    if not _close(found[0], -0.8 * apart):
        for wrong, saying in (
            (0.8 * apart, "the sign is the other way round: it is added to a loss, which is made small, so a minus "
                          "pulls apart"),
            (-apart, "the weight is missing: multiply by it"),
            (-0.8 * total, "you summed over the pixels: take the mean"),
            (-0.8 * square, "you squared the differences: take their absolute values"),
            (-0.8 * math.sqrt(square), "you took the root of the mean square: take the mean of the absolute values"),
            (-0.8 * (s - s2).abs().mean().item(), "you compared the codes: compare what the generator makes of them"),
            (-0.8 * (G(x, s) - x).abs().mean().item(), "you compared with the source picture: compare the two results"),
            (-0.8 / apart, "you divided by the distance: take it off, with its weight"),
            (0.0, "it is 0 at the start, where it should be strongest: the weight falls with the steps, it does not "
                  "rise"),
            (-0.8 * 0.9 * apart, "at step 0 the weight is whole: 1 - step / steps, not one step later"),
        ):  # fmt: skip
            if _close(found[0], wrong):
                raise Wrong(f"{saying}.")
        raise Wrong(f"at step 0 you found {found[0]:.4f} where {-0.8 * apart:.4f} is right: minus the weight times the "
                    "mean absolute difference of the two pictures.")  # fmt: skip
    if not _close(found[4], -0.8 * 0.6 * apart):
        for wrong, saying in (
            (-0.8 * apart, "the weight never falls: multiply it by 1 - step / steps"),
            (-0.8 * 0.4 * apart, "the weight rises with the steps: it is to fall, 1 - step / steps"),
            (-0.8 * 0.6**2 * apart, "the weight falls twice: multiply by 1 - step / steps once"),
            (0.0, "with whole numbers `step // steps` is 0 or 1: divide by `/`"),
        ):
            if _close(found[4], wrong):
                raise Wrong(f"right at step 0, but {saying}.")
        raise Wrong("right at step 0, but the weight does not fall in a straight line: 1 - step / steps of it is left.")
    if abs(found[10]) > 1e-9:
        raise Wrong("right, but at the last step something is left: 1 - steps / steps is 0.")
    if found[15] > 1e-9:
        raise Wrong("right, but after the last step the weight is below 0, and the two are pushed together: keep it at "
                    "0, `max(0, ...)`. (The released code may end one step below 0.)")  # fmt: skip
    if abs(found[15]) > 1e-9:
        raise Wrong("right, but after the last step something is left: the weight stays at 0.")
    if not torch.is_tensor(results[4]) or not results[4].requires_grad:
        raise Wrong("right, but nothing can be learnt from it: only the second picture is to be detached.")
    given = torch.autograd.grad(results[4], knob)[0].item()
    one, other = G(x, s), G(x, s2)
    loss = -0.48 * (one - other.detach()).abs().mean()
    second = -0.48 * (one.detach() - other).abs().mean()
    of_one, of_two = (torch.autograd.grad(each, knob)[0].item() for each in (loss, second))
    if _close(given, of_one):
        return
    if _close(given, of_one + of_two):
        raise Wrong("right, but both pictures learn: the second only stands there, `G(x, s2).detach()`, or "
                    "`torch.no_grad()` around it.")  # fmt: skip
    if _close(given, of_two):
        raise Wrong("right, but you detached the first picture instead of the second.")
    raise Wrong("right, but the generator gets another gradient than that of the first picture.")


# stargan-average ------------------------------------------------------------------------------------------------------


def _moved(weights, start, beta):
    average = start
    for now in weights:
        average = beta * average + (1 - beta) * now
    return average


def _released_mistakes(weights, start, beta):
    """Averages that answers with one mistake would give, each with its diagnosis."""
    return (
        (_moved(weights, start, 1 - beta), "beta and 1 - beta are exchanged: beta, the large one, keeps the average"),
        (_moved(weights[1:], weights[0], beta), "it begins with the first weights: as released it begins with `start`"),
        (_moved(weights, 0 * start, beta), "it begins with zeros, as Adam's averages do: as released it begins with "
                                           "`start`"),
        (_moved(weights[1:], start, beta), "the first weights are left out: each iteration moves the average"),
        (_moved(weights[:-1], start, beta), "the last weights are left out: each iteration moves the average"),
        (_moved(weights[::-1], start, beta), "the weights come in the wrong order: the last ones count most"),
        (sum(weights) / len(weights), "that is the plain mean: the average moves by a share of 1 - beta each time"),
        (weights[-1], "these are the last weights: there is no average in it"),
    )  # fmt: skip


def _repaired_mistakes(weights, start, beta):
    a, n = _moved(weights, start, beta), len(weights)
    return (
        (a, "nothing is taken out yet"),
        (a - beta**n * start, "the start is out, but the shares of the weights add up to 1 - beta^n: divide by it"),
        (a / (1 - beta**n), "that is Adam's correction, for an average that begins with zeros: take beta^n of `start` "
                            "out first"),
        ((a - start) / (1 - beta**n), "all of `start` is taken out: only beta^n of it is left"),
        ((a - beta * start) / (1 - beta), "beta is the share of the start after one iteration: after n it is beta^n"),
        ((a - beta ** (n - 1) * start) / (1 - beta ** (n - 1)),
         "the power is one too small: after the first iteration beta of the start is left"),
        ((a - beta ** (n + 1) * start) / (1 - beta ** (n + 1)),
         "the power is one too large: after the first iteration beta of the start is left"),
        (sum(weights) / n, "that is the plain mean: it forgets nothing, the repaired average does"),
    )  # fmt: skip


@exercise("the strangers are out, and what is left adds up to one.")
def average(answer):
    """(a_n, (a_n - beta^n a_0) / (1 - beta^n)) for weights [w_1, ..., w_n], a_0 and beta."""
    weights, start, beta = [_random(2, 3, seed=8 + i) for i in range(5)], 4 + _random(2, 3, seed=13), 0.9
    before = [start.clone(), *(w.clone() for w in weights)]
    result = answer(list(weights), start, beta)
    if any(not torch.equal(t, b) for t, b in zip((start, *weights), before, strict=True)):
        raise Wrong(UNTOUCHED)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise Wrong(f"two tensors are expected, `return a, repaired`; got {kind(result)}.")
    for each in result:
        expect_tensor(each, start.shape)
    released, repaired = (each.detach().double() for each in result)
    right = _moved(weights, start, beta)
    wanted = (right - beta**5 * start) / (1 - beta**5)

    def same(one, other):
        return torch.allclose(one, other, atol=1e-6, rtol=1e-5)

    if same(released, wanted) and same(repaired, right):
        raise Wrong("the two are exchanged: first the average as released.")
    for found, truth, wrongs, which in (
        (released, right, _released_mistakes, "the average as released"),
        (repaired, wanted, _repaired_mistakes, "right as released, but the repaired average"),
    ):
        if not same(found, truth):
            for wrong, saying in wrongs(weights, start, beta):
                if same(found, wrong):
                    raise Wrong(f"{which}: {saying}.")
            raise Wrong(f"{which} is another one: compare it with the formula, for one iteration first.")
