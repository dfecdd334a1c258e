"""Answers to the exercises of `stargan`, right and wrong; `test_check.py` asks for their verdicts."""

import torch
from torch.nn import functional

from stlib.nets import stargan
from stlib.nets.normalization import instance_norm


def linear(s, weight, bias):
    return functional.linear(s, weight.to(s.dtype), bias.to(s.dtype))[:, :, None, None]


def adain(code=linear, norm=instance_norm, finish=lambda gamma, n, beta: (1 + gamma) * n + beta):
    def answer(x, s, weight, bias):
        gamma, beta = code(s, weight, bias).chunk(2, dim=1)
        return finish(gamma, norm(x), beta)

    return answer


def by_layer(x, s, weight, bias):
    layer = stargan.AdaIN(x.shape[1], s.shape[1]).to(x.dtype)
    layer.fc.weight.data, layer.fc.bias.data = weight.to(x.dtype), bias.to(x.dtype)
    return layer(x, s)


def by_channels(x, s, weight, bias):
    h, made = s @ weight.T + bias, torch.empty_like(x)
    rows = []
    for i in range(len(x)):
        for c in range(x.shape[1]):
            m = x[i, c]
            n = (m - m.mean()) / (m.var(correction=0) + 1e-5) ** 0.5
            rows.append(n * (h[i, c] + 1) + h[i, x.shape[1] + c])
    return torch.stack(rows).view_as(made)


def normed(dim=(2, 3), correction=0, eps=1e-5, root=True):
    def norm(x):
        variance, mean = torch.var_mean(x, dim=dim, correction=correction, keepdim=True)
        return (x - mean) / ((variance + eps).sqrt() if root else variance + eps)

    return norm


def woven(s, weight, bias):
    h = linear(s, weight, bias)
    return torch.cat([h[:, ::2], h[:, 1::2]], dim=1)


def mean(x):
    return x.mean(dim=(2, 3), keepdim=True)


def deviation(x):
    return (x.var(dim=(2, 3), correction=0, keepdim=True) + 1e-5).sqrt()


ADAIN = {
    "right": [adain(), by_layer, by_channels, adain(norm=normed())],
    "the 1 is missing": adain(finish=lambda g, n, b: g * n + b),
    "are exchanged": adain(finish=lambda g, n, b: (1 + b) * n + g),
    "every second number": adain(code=woven),
    "beta has a 1": adain(finish=lambda g, n, b: (1 + g) * n + 1 + b),
    "beta is missing": adain(finish=lambda g, n, b: (1 + g) * n),
    "gamma is missing": adain(finish=lambda g, n, b: n + b),
    "is not normalised": adain(norm=lambda x: x),
    "shifted before you scaled": adain(finish=lambda g, n, b: (1 + g) * (n + b)),
    "H W - 1": adain(norm=normed(correction=1)),
    "divided by the variance": adain(norm=normed(root=False)),
    "belongs to the variance": adain(
        norm=lambda x: (x - mean(x)) / (x.std(dim=(2, 3), correction=0, keepdim=True) + 1e-5)
    ),
    "took off the mean only": adain(norm=lambda x: x - mean(x)),
    "the mean is not taken off": adain(norm=lambda x: x / deviation(x)),
    "batch norm": adain(norm=normed((0, 2, 3))),
    "over all channels": adain(norm=normed((1, 2, 3))),
    "over the channels of each position": adain(norm=normed(1)),
    "the bias is missing": adain(code=lambda s, w, b: linear(s, w, 0 * b)),
    "code of the first": adain(code=lambda s, w, b: linear(s[:1].expand_as(s), w, b)),
    "another map": adain(finish=lambda g, n, b: (2 + g) * n + b),
    "is not finite": adain(norm=lambda x: x / 0),
    "gives no number": adain(norm=lambda x: (x - mean(x)) / deviation(x).sub(0).where(mean(x) != 1, 0)),
    "the code learns nothing": lambda x, s, *linear: adain()(x, s.detach(), *linear),
    "changed its input": lambda x, *given: adain()(x.mul_(2), *given),
    "has the shape": lambda *given: adain()(*given)[:1],
}


def falling(step, steps):
    return max(0.0, 1 - step / steps)


def diversity(fall=falling, of=lambda a, b: (a - b).abs().mean(), factor=-1.0, first=lambda x: x, second=torch.detach):
    def answer(G, x, s, s2, step, steps, weight):
        return factor * weight * fall(step, steps) * of(first(G(x, s)), second(G(x, s2)))

    return answer


def without_grad(G, x, s, s2, step, steps, weight):
    made = G(x, s)
    with torch.no_grad():
        other = G(x, s2)
    return weight * min(0.0, step / steps - 1) * functional.l1_loss(made, other)


DIVERSITY = {
    "right": [diversity(), without_grad],
    "the sign is the other way round": diversity(factor=1.0),
    "the weight is missing": lambda G, x, s, s2, step, steps, weight: diversity()(G, x, s, s2, step, steps, 1.0),
    "you summed": diversity(of=lambda a, b: (a - b).abs().sum()),
    "you squared": diversity(of=lambda a, b: (a - b).square().mean()),
    "root of the mean square": diversity(of=lambda a, b: (a - b).square().mean().sqrt()),
    "you compared the codes": lambda G, x, s, s2, step, steps, weight: (
        -weight * falling(step, steps) * (s - s2).abs().mean()
    ),
    "with the source picture": lambda G, x, s, s2, step, steps, weight: (
        -weight * falling(step, steps) * (G(x, s) - x).abs().mean()
    ),
    "divided by the distance": diversity(of=lambda a, b: 1 / (a - b).abs().mean()),
    "strongest": diversity(fall=lambda step, steps: min(1.0, step / steps)),
    "not one step later": diversity(fall=lambda step, steps: max(0.0, 1 - (step + 1) / steps)),
    "minus the weight times": diversity(factor=-3.0),
    "never falls": diversity(fall=lambda step, steps: 1.0),
    "the weight rises": diversity(fall=lambda step, steps: step / steps if step else 1.0),
    "falls twice": diversity(fall=lambda step, steps: falling(step, steps) ** 2),
    "with whole numbers": diversity(fall=lambda step, steps: 0.0 if step else 1.0),
    "in a straight line": diversity(fall=lambda step, steps: 0.5 ** (10 * step / steps)),
    "at the last step something is left": diversity(fall=lambda step, steps: max(0.02, falling(step, steps))),
    "below 0": diversity(fall=lambda step, steps: 1 - step / steps),
    "after the last step something": diversity(fall=lambda step, steps: abs(1 - step / steps)),
    "nothing can be learnt": lambda *given: diversity()(*given).detach(),
    "both pictures learn": diversity(second=lambda x: x),
    "the first picture instead": diversity(first=torch.detach, second=lambda x: x),
    "another gradient": lambda *given: diversity()(*given) * 0.5 + diversity()(*given).detach() * 0.5,
    "one number is expected": lambda G, x, *given: G(x, given[0]),
    "changed its input": lambda G, x, *given: diversity()(G, x.mul_(2), *given),
}


def moved(weights, start, beta):
    average = start
    for now in weights:
        average = torch.lerp(average, now, 1 - beta)
    return average


def average(released=moved, repair=lambda a, start, beta, n: (a - beta**n * start) / (1 - beta**n)):
    def answer(weights, start, beta):
        right = moved(weights, start, beta)
        return released(weights, start, beta), repair(right, start, beta, len(weights))

    return answer


def by_shares(weights, start, beta):
    n = len(weights)
    inside = sum((1 - beta) * beta ** (n - 1 - i) * w for i, w in enumerate(weights))
    return [beta**n * start + inside, inside / (1 - beta**n)]


def in_place(weights, start, beta):
    for now in weights:
        start.lerp_(now, 1 - beta)
    return start, start


AVERAGE = {
    "right": [average(), by_shares],
    "beta and 1 - beta are exchanged": average(lambda w, a, beta: moved(w, a, 1 - beta)),
    "begins with the first weights": average(lambda w, a, beta: moved(w[1:], w[0], beta)),
    "begins with zeros, as Adam": average(lambda w, a, beta: moved(w, 0 * a, beta)),
    "the first weights are left out": average(lambda w, a, beta: moved(w[1:], a, beta)),
    "the last weights are left out": average(lambda w, a, beta: moved(w[:-1], a, beta)),
    "in the wrong order": average(lambda w, a, beta: moved(w[::-1], a, beta)),
    "the average moves by a share": average(lambda w, a, beta: sum(w) / len(w)),
    "there is no average in it": average(lambda w, a, beta: w[-1]),
    "the average as released is another one": average(lambda w, a, beta: 2 * moved(w, a, beta)),
    "nothing is taken out": average(repair=lambda a, start, beta, n: a),
    "divide by it": average(repair=lambda a, start, beta, n: a - beta**n * start),
    "that is Adam's correction": average(repair=lambda a, start, beta, n: a / (1 - beta**n)),
    "all of `start` is taken out": average(repair=lambda a, start, beta, n: (a - start) / (1 - beta**n)),
    "after one iteration: after n": average(repair=lambda a, start, beta, n: (a - beta * start) / (1 - beta)),
    "one too small": average(repair=lambda a, start, beta, n: (a - beta ** (n - 1) * start) / (1 - beta ** (n - 1))),
    "one too large": average(repair=lambda a, start, beta, n: (a - beta ** (n + 1) * start) / (1 - beta ** (n + 1))),
    "it forgets nothing": lambda w, a, beta: (moved(w, a, beta), sum(w) / len(w)),
    "but the repaired average is another one": average(repair=lambda a, start, beta, n: 2 * a),
    "the two are exchanged": lambda *given: average()(*given)[::-1],
    "two tensors are expected": lambda *given: average()(*given)[0],
    "changed its input": in_place,
}

CHECKS = {"adain": ADAIN, "diversity": DIVERSITY, "average": AVERAGE}
