"""Checks of the exercises in `2_gan/cyclegan`."""

import numbers

import torch

from stlib.check import Wrong, diagnosed, exercise, expect_tensor, kind


def _random(*shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _number(result):
    """A result as a float; raises Wrong for what is no number."""
    if torch.is_tensor(result) and result.numel() == 1:
        return result.item()
    if isinstance(result, numbers.Real) and not isinstance(result, bool):
        return float(result)
    told = f"a tensor of shape {tuple(result.shape)}" if torch.is_tensor(result) else kind(result)
    raise Wrong(f"your function returns {told}; one number is expected.")


def _close(x, y):
    return abs(x - y) <= 1e-6 * max(abs(y), 1e-3)


# cyclegan-cycle -------------------------------------------------------------------------------------------------------


@exercise("there and back, from both sides; and both generators learn from it.")
def cycle(answer):
    """E|to_a(to_b(a)) - a| + E|to_b(to_a(b)) - b|, differentiable through both functions."""
    a, b = _random(2, 3, 6, 4, seed=1), 0.5 * _random(3, 3, 6, 4, seed=2)
    knobs = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (1.7, 0.4)]

    def to_b(x):
        return knobs[0] * x.flip(3) + 0.1

    def to_a(x):
        return (knobs[1] * x + 0.3).square()

    before = a.clone(), b.clone()
    result = answer(to_b, to_a, a, b)
    if not (torch.equal(a, before[0]) and torch.equal(b, before[1])):
        raise Wrong("your function changed its input: make a new tensor.")
    found = _number(result)

    def mean(x, y, norm=torch.abs):
        return norm(x - y).mean().item()

    fake_b, fake_a = to_b(a), to_a(b)
    back_a, back_b = to_a(fake_b), to_b(fake_a)
    one, other = mean(back_a, a), mean(back_b, b)
    if not _close(found, one + other):
        for wrong, saying in (
            (one, "only the way A to B to A counts: add the one that starts in B"),
            (other, "only the way B to A to B counts: add the one that starts in A"),
            ((one + other) / 2, "you took the mean of both ways: add them"),
            (
                mean(back_a, a, torch.square) + mean(back_b, b, torch.square),
                "you squared the differences: take their absolute values, which blur less",
            ),
            (
                (back_a - a).abs().sum().item() + (back_b - b).abs().sum().item(),
                "you summed over the pixels: take the mean, or the weight depends on the size of the pictures",
            ),
            (mean(fake_b, a) + mean(fake_a, b), "you compared with the picture half way: it has to go back first"),
            (
                mean(back_a, fake_b) + mean(back_b, fake_a),
                "you compared the end with the picture half way: compare it with the start",
            ),
            (
                mean(to_b(to_a(a)), a) + mean(to_a(to_b(b)), b),
                "the order is wrong: a picture of A goes through `to_b` first, then through `to_a`",
            ),
            (
                mean(to_b(fake_b), a) + mean(to_a(fake_a), b),
                "you went the same way twice: come back by the other function",
            ),
            (
                mean(to_b(b), b) + mean(to_a(a), a),
                "that is the identity loss: nothing goes there and back",
            ),
            (10 * (one + other), "the weight 10 is already in it: leave it out"),
        ):
            if _close(found, wrong):
                raise Wrong(f"{saying}.")
        raise Wrong("the number is not that of the two ways: try it with functions that change nothing, where it is 0.")
    if not torch.is_tensor(result) or not result.requires_grad:
        raise Wrong(
            "right, but nothing can be learnt from it: return the tensor itself, not a number or a detached one."
        )
    wanted = torch.autograd.grad((back_a - a).abs().mean() + (back_b - b).abs().mean(), knobs)
    given = torch.autograd.grad(result, knobs, allow_unused=True)
    if any(g is None or not _close(g.item(), w.item()) for g, w in zip(given, wanted, strict=True)):
        raise Wrong("right, but the gradient stops half way: do not detach the picture in between, or only the second "
                    "function learns to come back.")  # fmt: skip


# cyclegan-pool --------------------------------------------------------------------------------------------------------


@exercise("old forgeries are shown, and each of them only once more.")
def pool(answer):
    """The pool of the chapter for one picture: fill, then show the new one or exchange it for the one at `place`."""
    weight = torch.ones((), requires_grad=True)

    def picture(number):
        return torch.full((3, 2, 2), float(number)) * weight

    def tag(shown):
        expect_tensor(shown, (3, 2, 2))
        return round(shown[0, 0, 0].item(), 3)

    kept = []
    for number in range(2):  # coins of both kinds while it fills
        shown = answer(kept, picture(number), 2, (0.1, 0.9)[number], 0)
        if tag(shown) != number:
            raise Wrong("while the pool is not full, the new picture is shown, whatever the coin says.")
        if len(kept) != number + 1:
            raise Wrong(f"after {number + 1} pictures a pool of size 2 holds {number + 1}; yours holds {len(kept)}.")
    if any(each.requires_grad for each in kept):
        raise Wrong("what you keep still hangs on the generator: keep `picture.detach()`.")
    if shown.requires_grad:
        raise Wrong("what you show still hangs on the generator: show `picture.detach()`.")
    kept[:] = [picture(0).detach(), picture(1).detach()]
    shown = answer(kept, picture(2), 2, 0.3, 1)
    if len(kept) > 2:
        raise Wrong("your pool grows beyond its size: put the new picture in the place of an old one.")
    if tag(shown) == 1 and [tag(each) for each in kept] == [0, 2]:
        raise Wrong("your coin is the wrong way round: *above* 0.5 an old picture is shown.")
    if tag(shown) != 2:
        raise Wrong("for a coin of 0.3 the new picture is shown.")
    if [tag(each) for each in kept] != [0, 1]:
        raise Wrong("for a coin of 0.3 the new picture is shown and not kept: the pool stays as it was.")
    shown = answer(kept, picture(3), 2, 0.7, 1)
    now = [tag(each) for each in kept]
    if tag(shown) == 3:
        if now == [0, 3]:
            raise Wrong("you put the new picture in and showed it at once: show the old one whose place it takes.")
        raise Wrong("for a coin of 0.7 an old picture is shown, the one at `place`.")
    if tag(shown) != 1:
        raise Wrong("you showed another old picture than the one at `place`.")
    if now == [0, 1]:
        raise Wrong("the old picture is still there: the new one takes its place, else the pool never changes.")
    if len(kept) > 2:
        raise Wrong("your pool grows beyond its size: put the new picture in the place of an old one.")
    if now != [0, 3]:
        raise Wrong(f"the new picture belongs at `place`; the pool now holds {now}, and [0, 3] is expected.")
    if shown.requires_grad or any(each.requires_grad for each in kept):
        raise Wrong("what you keep still hangs on the generator: keep `picture.detach()`.")


# cyclegan-hidden_code -------------------------------------------------------------------------------------------------


def _psnr(x, y):
    return -10 * (x - y).square().flatten(1).mean(dim=1).log10()


def _levels(x, steps, to=torch.round):
    return to(x * steps) / steps


@exercise("so many decibels were hidden below what an eye can see.")
def hidden_code(answer):
    """Mean over pictures of PSNR(back, photo) - PSNR(back through a drawing of 64 levels, photo), in dB."""
    photos = (0.2 + 0.6 * _random(4, 3, 8, 8, seed=5)).float()
    photos = photos * torch.tensor([0.3, 0.6, 0.9, 1.0]).view(4, 1, 1, 1)

    def to_b(x):  # grey, and in its last digits a hundredth of the colour
        grey = x.mean(dim=1, keepdim=True)
        return (grey + 0.01 * (x - grey)).clamp(0, 1)

    def to_a(y):
        grey = y.mean(dim=1, keepdim=True)
        return (grey + 97 * (y - grey)).clamp(0, 1)

    before = photos.clone()
    result = answer(to_b, to_a, photos)
    if not torch.equal(photos, before):
        raise Wrong("your function changed its input: make a new tensor.")
    if torch.is_tensor(result) and tuple(result.shape) == (4,):
        raise Wrong("you returned one number a picture: take the mean at the end.")
    found = _number(result)
    drawing = to_b(photos)

    def loss(rounded=None, target=photos):
        spoilt = to_a(_levels(drawing, 63) if rounded is None else rounded)
        return (_psnr(to_a(drawing), target) - _psnr(spoilt, target)).mean().item()

    def same(wrong):
        return abs(found - wrong) <= 1e-3 * max(abs(wrong), 1)

    right = loss()
    if same(right):
        return
    spoilt = to_a(_levels(drawing, 63))
    pooled = [-10 * (x - photos).square().mean().log10().item() for x in (to_a(drawing), spoilt)]
    clean_photo = (_psnr(to_a(drawing), photos) - _psnr(to_a(to_b(_levels(photos, 63))), photos)).mean().item()
    for wrong, saying in (
        (-right, "the sign is the other way round: a loss is positive where rounding hurts"),
        (clean_photo, "you rounded the photographs: it is the drawing that is rounded"),
        (loss(_levels(drawing, 5)), "you took 6 levels: 6 *bits* are 2^6 = 64 levels"),
        (loss(_levels(drawing, 64)), "64 steps from 0 to 1 are 65 levels: 64 levels have 63 steps between them"),
        (loss(_levels(drawing, 255)), "that is 8 bits, what a file keeps: 6 bits are asked for"),
        (loss(_levels(drawing, 63, torch.floor)), "you cut off instead of rounding: that also darkens the drawing"),
        (pooled[0] - pooled[1], "you averaged the squared errors over all pictures first: take each picture's PSNR"),
        (
            _psnr(spoilt, photos).mean().item(),
            "that is the PSNR through the rounded drawing: subtract it from the clean one",
        ),
        (_psnr(to_a(drawing), photos).mean().item(), "that is the PSNR of the clean way back alone"),
        (_psnr(_levels(drawing, 63), drawing).mean().item(), "you compared the drawings: compare what comes back"),
        (
            _psnr(spoilt, to_a(drawing)).mean().item(),
            "you compared the two ways back with each other: compare both with the photographs",
        ),
        (
            (_psnr(drawing, photos) - _psnr(_levels(drawing, 63), photos)).mean().item(),
            "the drawings never went back: apply `to_a`",
        ),
        (0.0, "nothing is lost in your way back: was anything rounded?"),
    ):  # fmt: skip
        if same(wrong):
            raise Wrong(f"{saying}.")
    raise Wrong(f"you found {found:.2f} dB where {right:.2f} dB are lost: write down what goes into each function.")


# cyclegan-broken ------------------------------------------------------------------------------------------------------

MISTAKES = {
    "targets": "the discriminators' targets are exchanged: made pictures are to get 1, real ones 0",
    "own_domain": "the identity loss is fed with the own domain: G_AB(a) is to be a",
    "still": "the discriminators' optimiser is never called",
    "no_cycle": "the cycle loss is detached: it is logged, but nobody learns from it",
    "no_pool": "the pool has size 0: only the newest pictures are shown",
    "rate": "the learning rate is a hundred times too high",
}
STEPS = tuple(range(50, 601, 50))
# Real trainings at 32 pixels, by `tests/cyclegan_mistakes.py`; losses without their weights, means over 50 steps
CURVES = {
    "healthy": {
        "generators": (0.459, 0.479, 0.420, 0.411, 0.413, 0.402, 0.377, 0.365, 0.390, 0.411, 0.377, 0.393),
        "discriminators": (0.209, 0.114, 0.113, 0.129, 0.116, 0.136, 0.137, 0.138, 0.143, 0.145, 0.142, 0.146),
        "cycle": (0.283, 0.225, 0.215, 0.206, 0.196, 0.197, 0.187, 0.182, 0.177, 0.175, 0.167, 0.165),
        "identity": (0.282, 0.222, 0.210, 0.200, 0.190, 0.190, 0.179, 0.174, 0.169, 0.169, 0.160, 0.158),
    },
    "run A": {
        "generators": (0.469, 0.620, 0.749, 0.842, 0.891, 0.891, 0.891, 0.894, 0.912, 0.917, 0.929, 0.949),
        "discriminators": (0.209, 0.106, 0.061, 0.042, 0.032, 0.029, 0.021, 0.021, 0.014, 0.014, 0.011, 0.009),
        "cycle": (0.340, 0.249, 0.231, 0.234, 0.214, 0.207, 0.195, 0.188, 0.182, 0.181, 0.171, 0.169),
        "identity": (0.712, 0.563, 0.392, 0.327, 0.282, 0.264, 0.260, 0.255, 0.252, 0.257, 0.249, 0.251),
    },
    "run B": {
        "generators": (0.402, 0.286, 0.248, 0.280, 0.259, 0.265, 0.246, 0.252, 0.261, 0.256, 0.271, 0.269),
        "discriminators": (0.242, 0.188, 0.197, 0.204, 0.209, 0.214, 0.221, 0.222, 0.224, 0.231, 0.222, 0.224),
        "cycle": (0.292, 0.273, 0.295, 0.284, 0.290, 0.279, 0.272, 0.269, 0.284, 0.280, 0.294, 0.296),
        "identity": (0.264, 0.211, 0.191, 0.181, 0.174, 0.174, 0.162, 0.157, 0.152, 0.149, 0.141, 0.140),
    },
    "run C": {
        "generators": (0.265, 0.057, 0.024, 0.016, 0.012, 0.017, 0.011, 0.014, 0.008, 0.006, 0.005, 0.005),
        "discriminators": (0.209, 0.073, 0.028, 0.018, 0.013, 0.022, 0.014, 0.013, 0.011, 0.007, 0.007, 0.006),
        "cycle": (0.286, 0.224, 0.214, 0.205, 0.194, 0.195, 0.187, 0.178, 0.171, 0.170, 0.163, 0.163),
        "identity": (0.289, 0.222, 0.211, 0.200, 0.189, 0.191, 0.182, 0.174, 0.168, 0.166, 0.160, 0.160),
    },
    "run D": {
        "generators": (1.028, 0.915, 0.866, 0.819, 0.791, 0.779, 0.749, 0.730, 0.716, 0.705, 0.697, 0.687),
        "discriminators": (0.586, 0.584, 0.585, 0.581, 0.582, 0.582, 0.585, 0.586, 0.590, 0.589, 0.591, 0.590),
        "cycle": (0.285, 0.225, 0.213, 0.203, 0.193, 0.191, 0.181, 0.177, 0.169, 0.167, 0.160, 0.159),
        "identity": (0.288, 0.222, 0.210, 0.199, 0.188, 0.188, 0.178, 0.172, 0.166, 0.165, 0.158, 0.157),
    },
}
_CAUSES = {"run A": "own_domain", "run B": "no_cycle", "run C": "targets", "run D": "still"}
_LOOK = {
    "run A": "the discriminators' loss goes to 0 and the generators' to 1: the discriminators win. Who keeps the "
    "generators from translating?",
    "run B": "generators and discriminators are in balance and `identity` falls, but one curve stays where it began",
    "run C": "both adversarial losses go to 0 together: two opponents cannot both win, unless both want the same",
    "run D": "the discriminators' loss does not move at all, not even in the first steps",
}
_AGAINST = {
    "no_pool": "without a pool both sides still play: that alone gives none of these curves",
    "rate": "with such a rate the curves would be rough, or end in NaN; these are smooth",
}


@exercise("four mistakes told by their curves, without a line of their code.")
def broken(answer):
    """{run: key of MISTAKES} for the four runs of CURVES that are not healthy."""
    diagnosed(answer, _CAUSES, MISTAKES, _LOOK, _AGAINST)


__all__ = ["CURVES", "MISTAKES", "STEPS", "broken", "cycle", "hidden_code", "pool"]
