"""Checks of the exercises in `2_gan/sapgan`."""

import math
import numbers

import torch

from stlib.check import NotAttempted, Wrong, diagnosed, exercise, kind


def _two(result, what):
    """The two parts of a result; raises Wrong for what is no pair. `what` says what is expected."""
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        got = f"{len(result)} things" if isinstance(result, (tuple, list)) else kind(result)
        raise Wrong(f"your function returns {got}; two are expected: `return {what}`.")
    if any(part is ... for part in result):
        raise NotAttempted
    return result


# sapgan-relativistic --------------------------------------------------------------------------------------------------


def _squares(real, fake):
    """((D(x) - mean D(x~) - 1)^2 and (D(x~) - mean D(x) + 1)^2), each a mean, for logits (B,)."""
    return (real - fake.mean() - 1).square().mean(), (fake - real.mean() + 1).square().mean()


def _mistakes(real, fake, exchanged):
    """Numbers that one mistake would give for the loss of D, or of G with `exchanged`; each with its diagnosis."""
    first, second = _squares(real, fake)
    other = sum(_squares(fake, real)) / 2
    who, whose = ("G", "D") if exchanged else ("D", "G")
    plain = ((real - 1).square().mean() + (fake if exchanged else fake + 1).square().mean()) / 2
    squares = ((real - 1).square().mean() + fake.square().mean()) / 2
    pairs = ((real - fake - 1).square().mean() + (fake - real + 1).square().mean()) / 2
    means = (real.mean() - fake.mean() - 1).square()
    softs = torch.nn.functional.softplus
    logs = softs(fake.mean() - real).mean() + softs(fake - real.mean()).mean()
    every = (real[:, None] - fake - 1).square().mean()
    return (
        (other, f"that is the loss of {whose}: for {who} real and made change places"),
        (first + second, f"{who}'s loss is not halved: it is the mean of its two squares"),
        (len(real) * (first + second) / 2, f"{who}'s loss is a sum over the batch: take means"),
        (-(first + second) / 2, f"{who}'s loss has the wrong sign: it is to be *minimised*"),
        (first / 2, f"{who}'s loss lacks its second half"),
        (second / 2, f"{who}'s loss lacks its first half"),
        (first, f"{who}'s loss lacks its second half"),
        (second, f"{who}'s loss lacks its first half"),
        (((real - real.mean() - 1).square().mean() + (fake - fake.mean() + 1).square().mean()) / 2,
         f"in {who}'s loss each logit is compared with the mean of its *own* side: take the other side's"),
        (plain, f"{who}'s loss compares nothing: each logit minus the mean of the *other* side, then the square"),
        (squares, f"those are plain least squares: in {who}'s loss each logit is compared with the other side's mean"),
        (pairs, f"{who}'s loss compares picture i with picture i: what is asked for is the other side's *mean*"),
        (every, f"{who}'s loss compares every real picture with every made one: take the other side's *mean* first"),
        (means, f"{who}'s loss is a square of means: square each picture's difference, then take the mean"),
        (logs, f"{who}'s loss is the relativistic *logarithm*: squares are asked for"),
        (((real - fake.mean()).square().mean() + (fake - real.mean()).square().mean()) / 2,
         f"{who}'s targets are missing: real pictures shall be 1 above the made ones, those 1 below"),
        (((real - fake.mean() - 1).square().mean() + (fake - real.mean()).square().mean()) / 2,
         f"{who}'s second target is 0: made pictures shall be 1 *below* the real ones"),
        (((real - fake.mean() - 1).square().mean() + (fake - real.mean() - 1).square().mean()) / 2,
         f"both targets of {who} are +1: one side shall lie above, the other below"),
    )  # fmt: skip


def _number(part, who):
    if torch.is_tensor(part) and part.numel() > 1:
        raise Wrong(f"{who}'s loss has the shape {tuple(part.shape)}: it is one number, a mean over the batch.")
    if not torch.is_tensor(part) and (not isinstance(part, numbers.Real) or isinstance(part, bool)):
        raise Wrong(f"{who}'s loss is {kind(part)}; a number is expected.")
    return float(part.detach() if torch.is_tensor(part) else part)


@exercise("each side is measured against the other's mean, and the means learn, too.")
def relativistic(answer):
    """(d, g): the two relativistic average least-squares losses of logits (B,), (B,), with the means in the graph."""
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, 9, generator=generator, dtype=torch.float64) + torch.tensor([[0.7], [-0.4]])
    real, fake = real.requires_grad_(), fake.requires_grad_()
    before = real.detach().clone(), fake.detach().clone()
    losses = _two(answer(real, fake), "d, g")
    if not (torch.equal(real, before[0]) and torch.equal(fake, before[1])):
        raise Wrong("your function changed its input: make new tensors.")
    found = [_number(part, who) for part, who in zip(losses, "DG", strict=True)]

    def same(a, b):
        return math.isclose(a, float(b), rel_tol=1e-6, abs_tol=1e-9)

    right = [sum(_squares(*pair)) / 2 for pair in (before, before[::-1])]
    if same(found[0], right[1]) and same(found[1], right[0]):
        raise Wrong("the two losses are exchanged: return D's first.")
    for number, wanted, pair, who in zip(found, right, (before, before[::-1]), "DG", strict=True):
        if same(number, wanted):
            continue
        for wrong, saying in _mistakes(*pair, who == "G"):
            if same(number, wrong):
                raise Wrong(f"{saying}.")
        raise Wrong(f"{who}'s loss is {number:.4f} where {wanted:.4f} is expected; compute two pictures by hand.")
    for part, pair, who in zip(losses, ((real, fake), (fake, real)), "DG", strict=True):
        if not torch.is_tensor(part) or not part.requires_grad:
            raise Wrong(f"right, but nothing can be learnt from {who}'s loss: return the tensor itself.")
        for side, logits in (("real", real), ("made", fake)):
            if side == "real" and who == "G":
                continue  # no picture of G hangs on them
            (wanted,) = torch.autograd.grad(sum(_squares(*pair)) / 2, logits)
            (given,) = torch.autograd.grad(part, logits, retain_graph=True, allow_unused=True)
            if given is None or not torch.allclose(given, wanted):
                raise Wrong(f"{who}'s number is right, but the gradient for the {side} logits is another one: a mean "
                            "or a side was detached, or computed without a graph.")  # fmt: skip


# sapgan-pair ----------------------------------------------------------------------------------------------------------


@exercise("D judges the two together: does this painting belong to these edges?")
def pair(answer):
    """What PaintGAN's discriminator is shown as real and as made, (B, 4, H, W) each; G learns nothing from it."""
    draws = torch.Generator().manual_seed(1)
    e, y = (torch.rand(2, n, 4, 4, generator=draws, dtype=torch.float64) * 2 - 1 for n in (1, 3))
    weight = torch.full((), 0.5, dtype=torch.float64, requires_grad=True)
    shift = torch.rand(2, 3, 4, 4, generator=draws, dtype=torch.float64)

    def G(x):  # noqa: N802
        return torch.tanh(weight * x + shift)

    before = e.clone(), y.clone()
    result = _two(answer(e, y, G), "real, made")
    if not (torch.equal(e, before[0]) and torch.equal(y, before[1])):
        raise Wrong("your function changed its input: make new tensors.")
    for part in result:
        if not torch.is_tensor(part):
            raise Wrong(f"your function returns {kind(part)} where a tensor (B, 4, H, W) is expected.")
    with torch.no_grad():
        made = G(e)
    shapes = {tuple(part.shape) for part in result}
    if shapes == {(2, 3, 4, 4)}:
        raise Wrong("D gets the paintings alone: without the edges it cannot ask whether the two belong together.")
    if shapes == {(2, 1, 4, 4)}:
        raise Wrong("D gets the edges alone: it is to judge edges and painting together.")
    if shapes == {(4, 3, 4, 4)} or shapes == {(4, 1, 4, 4)}:
        raise Wrong("you joined along the batch: edges and painting become *channels* of one input, `dim=1`.")
    if shapes == {(2, 6, 4, 4)}:
        raise Wrong("your inputs have 6 channels: one for the edges and three of the painting are asked for.")
    for part in result:
        if part.shape != (2, 4, 4, 4):
            raise Wrong(f"your input has the shape {tuple(part.shape)}; (2, 4, 4, 4) is expected.")

    def same(part, *with_what):
        return torch.allclose(part, torch.cat(with_what, dim=1))

    real, fake = result
    if same(fake, e, y) and same(real, e, made):
        raise Wrong("the two are exchanged: return the real pair first.")
    for part, painting, who in ((real, y, "real"), (fake, made, "made")):
        for wrong, saying in (
            ((painting, e), "has the painting before the edges: the networks here expect the edges first"),
            ((e.flip(0), painting), "holds the edges of another picture: each painting goes with its own"),
            ((e, painting.flip(0)), "holds the painting of another picture: each goes with its own edges"),
            ((-e, painting), "has its edges in the other polarity: take them as they are given"),
            ((e, (painting + 1) / 2), "has its painting in [0, 1]: the networks work in [-1, 1]"),
            ((e, G(-e).detach()), "holds a painting of edges in the other polarity"),
        ):
            if same(part, *wrong):
                raise Wrong(f"your {who} pair {saying}.")
    if same(real, e, made):
        raise Wrong("your real pair holds a made painting.")
    if same(fake, e, y):
        raise Wrong("your made pair holds the real painting: let `G` paint the edges.")
    if not same(real, e, y):
        raise Wrong("your real pair is not the edges, then the painting.")
    if not same(fake, e, made):
        raise Wrong("your made pair is not the edges, then what `G` paints of them.")
    if fake.requires_grad:
        raise Wrong("right, but D's step would reach into `G`: detach the made painting, or paint without a graph.")


# sapgan-broken --------------------------------------------------------------------------------------------------------

MISTAKES = {
    "polarity": "the new edges are given with 1 for blank paper, those of the training with 1 for an edge",
    "strangers": "the edges in a batch belong to the next painting, not to their own",
    "still": "the discriminator's optimiser is never called",
    "targets": "the discriminator's targets are exchanged: made pairs are to be called real, real ones made",
    "detached": "the L1 term is detached: it is logged, but nobody learns from it",
    "memory": "the whole training sees the same eight paintings",
}
STEPS = tuple(range(50, 601, 50))
# Real trainings at 32 pixels, by `tests/sapgan_mistakes.py`; L1 without its weight, means over 50 steps
CURVES = {
    "healthy": {
        "D": (0.371, 0.250, 0.283, 0.350, 0.385, 0.450, 0.416, 0.393, 0.416, 0.396, 0.375, 0.367),
        "GAN": (2.227, 2.237, 2.273, 2.225, 2.048, 1.840, 1.768, 1.992, 1.825, 1.723, 1.557, 1.489),
        "L1": (0.293, 0.159, 0.152, 0.149, 0.152, 0.152, 0.150, 0.153, 0.153, 0.153, 0.151, 0.151),
        "L1, new": (0.174, 0.157, 0.151, 0.164, 0.152, 0.151, 0.158, 0.165, 0.155, 0.157, 0.155, 0.155),
    },
    "run A": {
        "D": (0.371, 0.250, 0.283, 0.350, 0.385, 0.450, 0.416, 0.393, 0.416, 0.396, 0.375, 0.367),
        "GAN": (2.227, 2.237, 2.273, 2.225, 2.048, 1.840, 1.768, 1.992, 1.825, 1.723, 1.557, 1.489),
        "L1": (0.293, 0.159, 0.152, 0.149, 0.152, 0.152, 0.150, 0.153, 0.153, 0.153, 0.151, 0.151),
        "L1, new": (0.515, 0.627, 0.968, 1.070, 1.009, 0.905, 0.765, 0.806, 0.673, 0.732, 0.776, 0.785),
    },
    "run B": {
        "D": (0.311, 0.213, 0.282, 0.274, 0.308, 0.289, 0.286, 0.260, 0.285, 0.266, 0.259, 0.243),
        "GAN": (2.303, 2.526, 2.388, 2.312, 2.375, 2.249, 2.336, 2.194, 1.959, 1.814, 1.717, 1.694),
        "L1": (0.273, 0.134, 0.120, 0.109, 0.105, 0.102, 0.097, 0.091, 0.085, 0.081, 0.079, 0.077),
        "L1, new": (0.197, 0.168, 0.175, 0.180, 0.187, 0.185, 0.183, 0.185, 0.189, 0.191, 0.191, 0.192),
    },
    "run C": {
        "D": (0.271, 0.056, 0.017, 0.008, 0.259, 0.026, 0.011, 0.008, 0.006, 0.005, 0.004, 0.004),
        "GAN": (0.285, 0.069, 0.048, 0.007, 0.293, 0.026, 0.010, 0.007, 0.005, 0.005, 0.004, 0.004),
        "L1": (0.296, 0.159, 0.149, 0.143, 0.140, 0.137, 0.134, 0.131, 0.129, 0.127, 0.125, 0.124),
        "L1, new": (0.177, 0.155, 0.153, 0.146, 0.140, 0.137, 0.134, 0.133, 0.131, 0.130, 0.129, 0.129),
    },
    "run D": {
        "D": (0.411, 0.240, 0.118, 0.122, 0.281, 0.332, 0.304, 0.272, 0.298, 0.329, 0.279, 0.281),
        "GAN": (2.112, 2.119, 2.975, 3.459, 2.598, 2.348, 2.159, 2.362, 2.061, 2.001, 1.912, 1.769),
        "L1": (0.315, 0.198, 0.194, 0.201, 0.204, 0.210, 0.212, 0.214, 0.215, 0.220, 0.220, 0.222),
        "L1, new": (0.191, 0.206, 0.198, 0.204, 0.226, 0.205, 0.201, 0.209, 0.208, 0.225, 0.212, 0.220),
    },
}
_CAUSES = {"run A": "polarity", "run B": "memory", "run C": "targets", "run D": "strangers"}
_LOOK = {
    "run A": "on the training's edges it is as good as the healthy run, curve for curve. Only new edges go wrong, and "
    "from the first point on, before anything could be learnt by heart",
    "run B": "L1 falls to half of the healthy run's where it learns, and *rises* on new edges: what is learnt there is "
    "of no use elsewhere",
    "run C": "D and GAN go to 0 together: two opponents cannot both win, unless both want the same",
    "run D": "L1 stops near 0.2 on both kinds of edges, while D sees through nearly every result at first: the painter "
    "guesses one average painting. What can the edges not tell it?",
}
_AGAINST = {
    "still": "a discriminator that never learns stays at its first loss, about 0.7",
    "detached": "without the pull of L1 nothing draws the painter to an average painting, and D does not win so",
}


@exercise("four mistakes told by their curves, without a line of their code.")
def broken(answer):
    """{run: key of MISTAKES} for the four runs of CURVES that are not healthy."""
    diagnosed(answer, _CAUSES, MISTAKES, _LOOK, _AGAINST)


__all__ = ["CURVES", "MISTAKES", "STEPS", "broken", "pair", "relativistic"]
