"""Checks of the exercises in `2_gan/chipgan`."""

import math
import numbers

import torch
from torch.nn import functional

from stlib.check import Wrong, diagnosed, exercise, expect_tensor, kind


def _random(*shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# chipgan-erosion ------------------------------------------------------------------------------------------------------


def _windows(x, size, value):
    """All windows (B, C, H, W, size * size) of pictures with `value` around them."""
    r = size // 2
    padded = functional.pad(x, (r, r, r, r), value=value)
    return padded.unfold(2, size, 1).unfold(3, size, 1).flatten(4)


def _erosion_mistakes(x, size):
    """Pictures that answers with one mistake would make, each with its diagnosis."""
    r = size // 2

    def along(rows, columns):
        padded = functional.pad(x, (columns, columns, rows, rows), value=1.0)
        return padded.unfold(2, 2 * rows + 1, 1).unfold(3, 2 * columns + 1, 1).flatten(4).amin(4)

    right = _windows(x, size, 1.0).amin(4)
    return (
        (_windows(x, size, -1.0).amax(4), "you took the maximum: that lets the paper grow, and strokes vanish"),
        (_windows(x, size, 1.0).amax(4), "you took the maximum, and the paper around the picture wins at its border"),
        (_windows(x, size, 0.0).amax(4), "you took the maximum: that lets the paper grow, and strokes vanish"),
        (-right, "the sign was not turned back: the negative once more, after the maximum"),
        (_windows(-x, size, 1.0).amin(4), "the picture was turned into its negative, and then the minimum taken: that "
                                          "is the maximum in other words"),
        (_windows(x, size, 0.0).amin(4), "around the picture lies grey (0), which is darker than paper: white is 1"),
        (_windows(x, size, -1.0).amin(4), "around the picture lies black (-1), which creeps in as a frame: white is 1"),
        (_windows(x, size, 1.0).mean(4), "you took the mean of each window: take its minimum"),
        (_windows(x, size, 0.0).mean(4), "you took the mean of each window: take its minimum"),
        (_windows(x, size, 1.0).median(4).values, "you took the median of each window: take its minimum"),
        (right.amin(dim=1, keepdim=True).expand_as(x), "you took the minimum over the channels, too: each channel has "
                                                       "its own"),
        (x.amin(dim=1, keepdim=True).expand_as(x), "you took the minimum over the channels: it goes over the pixels "
                                                   "around"),
        (along(r, 0), "the window has one column only: it is a square"),
        (along(0, r), "the window has one row only: it is a square"),
        (_windows(x, 3, 1.0).amin(4), "your window is always 3 pixels wide: take `size`"),
        (_windows(x, 2 * size + 1, 1.0).amin(4), "your window reaches `size` pixels to each side: it is `size` wide in "
                                                 "all, so half of that to each side"),
        (_windows(right, size, 1.0).amin(4), "you eroded twice"),
        (x, "nothing changed"),
    )  # fmt: skip


@exercise("dark strokes grow by half a window, and the paper around stays white.")
def erosion(answer):
    """The minimum over size x size windows of each channel, paper (1) around, the same size, differentiable."""
    for size, shape in ((5, (2, 3, 14, 13)), (3, (1, 3, 8, 9)), (7, (1, 3, 16, 17))):
        x = 0.5 + 0.45 * _random(*shape, seed=size) - 1.3 * (_random(*shape, seed=size + 10) > 0.95)
        x = x.requires_grad_(True)  # light paper with dark spots
        before = x.detach().clone()
        result = answer(x, size)
        if not torch.equal(x.detach(), before):
            raise Wrong("your function changed its input: make a new tensor.")
        if torch.is_tensor(result) and result.ndim == 4:
            smaller = (shape[2] - size + 1, shape[3] - size + 1)
            if tuple(result.shape[2:]) == smaller:
                raise Wrong(f"your result is {size - 1} pixels smaller: put paper around the picture first.")
            if tuple(result.shape[2:]) in ((shape[2] // size, shape[3] // size), (-(-shape[2] // size),) * 2):
                raise Wrong("your windows do not overlap: move them by one pixel, `stride=1`.")
        expect_tensor(result, shape)
        right = _windows(before, size, 1.0).amin(4)
        if not torch.allclose(result.double(), right, atol=1e-6):
            for wrong, saying in _erosion_mistakes(before, size):
                if torch.allclose(result.double(), wrong, atol=1e-6):
                    raise Wrong(f"{saying}.")
            inside = (..., slice(size, -size), slice(size, -size))
            if right[inside].numel() and torch.allclose(result.double()[inside], right[inside], atol=1e-6):
                raise Wrong("right inside, but not at the border: what lies around the picture is white, 1.")
            raise Wrong("that is not the minimum of each window: try it on a white picture with one black pixel, which "
                        "has to become a black square.")  # fmt: skip
        if not result.requires_grad:
            raise Wrong("right, but nothing can be learnt through it: return the tensor itself, not a detached one.")
        probe = _random(*shape, seed=9)
        (given,) = torch.autograd.grad((result.double() * probe).sum(), x)
        leaf = before.clone().requires_grad_(True)
        (wanted,) = torch.autograd.grad((_windows(leaf, size, 1.0).amin(4) * probe).sum(), leaf)
        if not torch.allclose(given, wanted, atol=1e-6):
            raise Wrong("right, but the gradient is another: it goes to the darkest pixel of each window alone.")


# chipgan-brush --------------------------------------------------------------------------------------------------------


def _balanced(p, y, beta=None, first=1.0, second=1.0, of=torch.mean):
    beta = (1 - y).mean() if beta is None else beta
    return -of(first * beta * y * p.log() + second * (1 - beta) * (1 - y) * (1 - p).log())


def _brush_mistakes(p, y):
    """Numbers that answers with one mistake would find, each with its diagnosis."""
    beta, alone = (1 - y).mean(), torch.ones((), dtype=p.dtype)
    right, plain = _balanced(p, y), functional.binary_cross_entropy(p, y)
    maps = y.flatten(1).mean(dim=1).view(-1, 1, 1, 1)
    hard = (y > 0.5).to(y)
    twice = p.sigmoid()
    return (
        (-right, "the sign is the other way round: logarithms of numbers below 1 are negative"),
        (plain, "the balance is missing: β before the edges, 1 - β before the rest"),
        (plain / 2, "the balance is missing: β before the edges, 1 - β before the rest"),
        (_balanced(p, y, 1 - beta), "β stands before the wrong class, or is the share of the edges: it is the share of "
                                    "no edge, and stands before the edges"),
        (_balanced(p, y, 1 - maps), "β is taken of each picture: it is one number for the whole batch"),
        (_balanced(p, y, (1 - y).sum(dim=0, keepdim=True) / len(y)), "β is taken of each pixel: it is one number for "
                                                                     "the whole batch"),
        (_balanced(p, y, (1 - p).mean()), "β is taken of the painting: it is the photograph's"),
        (_balanced(p, y, (1 - hard).mean()), "β counts the pixels below 0.5: edges are soft, take the mean of 1 - y"),
        (_balanced(p, hard), "you rounded the edges of the photograph: they are soft"),
        (_balanced(y, p), "p and y are exchanged: the logarithms are those of the painting's edges"),
        (_balanced(p, y, of=torch.sum), "you summed over the pixels: take the mean"),
        (_balanced(p, y, second=0.0), "only the edges count: where the photograph has none the painting should have "
                                      "none, too"),
        (_balanced(p, y, first=0.0), "only the places without an edge count: add the term of the edges"),
        (_balanced(twice, y), "a sigmoid has been taken of p: it is between 0 and 1 already, and so could never be 0"),
        (_balanced(twice, y.sigmoid()), "a sigmoid has been taken of p and y: both are between 0 and 1 already"),
        (functional.binary_cross_entropy(twice, y), "a sigmoid has been taken of p, which is between 0 and 1 already; "
                                                    "and the balance is missing"),
        (-(beta * y * p.log() + (1 - beta) * (1 - p).log()).mean(), "(1 - y) is missing in the second term"),
        (-(beta * p.log() + (1 - beta) * (1 - y) * (1 - p).log()).mean(), "y is missing in the first term"),
        (-(beta * y * p.log() + (1 - beta) * (1 - y) * p.log()).mean(), "the second logarithm is that of 1 - p"),
        (-(beta * y * p.log() - (1 - beta) * (1 - y) * (1 - p).log()).mean(), "both terms have the same sign"),
        (right / (1 - beta), "the weight of the edges is β / (1 - β), and the whole has to be multiplied by 1 - β"),
        (right * 10, "the weight 10 is already in it: leave it out"),
        (right / math.log(2), "that is the logarithm to base 2: take the natural one"),
        (((p - y).square() * torch.where(hard > 0, beta, 1 - beta)).mean(), "that is a squared difference: it is a "
                                                                            "cross-entropy"),
        ((p - y).square().mean() * alone, "that is a squared difference: it is a cross-entropy"),
        ((p - y).abs().mean(), "that is a difference: it is a cross-entropy"),
    )  # fmt: skip


@exercise("edges and the rest have the same say, the photograph stands still, and no logarithm is infinite.")
def brush(answer):
    """-E[beta y log p + (1 - beta) (1 - y) log(1 - p)], beta = E[1 - y] of the batch; finite; no gradient for y."""
    p = (0.05 + 0.9 * _random(2, 1, 6, 5, seed=1)).requires_grad_(True)
    y = (_random(2, 1, 6, 5, seed=2) ** 2 * torch.tensor([0.9, 0.4]).view(2, 1, 1, 1)).requires_grad_(True)
    before = p.detach().clone(), y.detach().clone()
    result = answer(p, y)
    if not (torch.equal(p.detach(), before[0]) and torch.equal(y.detach(), before[1])):
        raise Wrong("your function changed its input: make a new tensor.")
    if torch.is_tensor(result) and result.numel() > 1:
        raise Wrong(f"your function returns a tensor of shape {tuple(result.shape)}; take the mean at the end.")
    if not torch.is_tensor(result) and (not isinstance(result, numbers.Real) or isinstance(result, bool)):
        raise Wrong(f"your function returns {kind(result)}; one number is expected.")
    found = result.item() if torch.is_tensor(result) else float(result)
    right = _balanced(*before).item()

    def same(wrong):
        return abs(found - float(wrong)) <= 1e-5 * max(abs(float(wrong)), 1e-2)

    if not same(right):
        for wrong, saying in _brush_mistakes(*before):
            if same(wrong):
                raise Wrong(f"{saying}.")
        if abs(found - right) < 0.05 * right:
            raise Wrong(f"you found {found:.5f} where {right:.5f} is right: what you added against log 0 is too much, "
                        "1e-6 is enough.")  # fmt: skip
        raise Wrong(f"you found {found:.4f} where {right:.4f} is right: β y log p, plus (1 - β)(1 - y) log(1 - p), the "
                    "mean, and minus.")  # fmt: skip
    if not torch.is_tensor(result) or not result.requires_grad:
        raise Wrong("right, but nothing can be learnt from it: return the tensor itself, not a number or a detached "
                    "one.")  # fmt: skip
    of_p, of_y = torch.autograd.grad(result, (p, y), allow_unused=True)
    if of_p is None or not of_p.any():
        raise Wrong("right, but the painting gets no gradient: it is the photograph's edges that are to be detached.")
    if of_y is not None and of_y.any():
        raise Wrong("right, but y gets a gradient as well: use `y.detach()`, also in β.")
    leaf = before[0].clone().requires_grad_(True)
    (wanted,) = torch.autograd.grad(_balanced(leaf, before[1]), leaf)
    if not torch.allclose(of_p, wanted, atol=1e-5):
        raise Wrong("right, but the painting gets another gradient than its own: detach y and nothing else.")
    extreme = torch.tensor([0.0, 1.0, 0.0, 1.0]).view(1, 1, 2, 2).requires_grad_(True)
    target = torch.tensor([1.0, 0.0, 0.0, 0.5]).view(1, 1, 2, 2)
    result = answer(extreme, target)
    if not math.isfinite(result.item()):
        raise Wrong(f"right, but your loss is {result.item()} where p is exactly 0 or 1: clamp p to 1e-6 and 1 - 1e-6 "
                    "before the logarithms.")  # fmt: skip
    (gradient,) = torch.autograd.grad(result, extreme)
    if not gradient.isfinite().all():
        raise Wrong("right, but where p is exactly 0 or 1 the gradient is not finite: clamp p, not the logarithm or "
                    "the loss.")  # fmt: skip
    if result.item() < 1.0:
        raise Wrong("right, but a p of exactly 0 where there is an edge costs hardly anything: clamp nearer to 0 and "
                    "1.")  # fmt: skip


# chipgan-broken -------------------------------------------------------------------------------------------------------

MISTAKES = {
    "left_out": "the ink term is computed and logged, but left out of the sum",
    "targets": "the targets of D_ink are exchanged: painted washes are to get 1, real ones 0",
    "heavy": "the brush term weighs a hundred times too much",
    "stranger": "the edges to be painted are those of the photograph turned upside down",
    "still": "D_ink has been left out of its optimiser",
    "maximum": "the erosion takes the maximum instead of the minimum",
}
STEPS = tuple(range(50, 601, 50))
# Real trainings at 32 pixels, by `tests/chipgan_mistakes.py`; losses without their weights, means over 50 steps
CURVES = {
    "healthy": {
        "G_AB": (0.480, 0.309, 0.334, 0.388, 0.433, 0.514, 0.555, 0.565, 0.606, 0.702, 0.313, 0.348),
        "D_B": (0.196, 0.164, 0.137, 0.130, 0.098, 0.088, 0.081, 0.069, 0.064, 0.227, 0.228, 0.200),
        "ink": (0.444, 0.236, 0.221, 0.265, 0.257, 0.262, 0.246, 0.276, 0.287, 0.278, 0.288, 0.278),
        "D_ink": (0.166, 0.227, 0.202, 0.242, 0.237, 0.252, 0.233, 0.228, 0.235, 0.232, 0.228, 0.239),
        "brush": (0.330, 0.239, 0.235, 0.226, 0.222, 0.214, 0.215, 0.213, 0.214, 0.208, 0.215, 0.222),
    },
    "run A": {
        "G_AB": (0.630, 0.799, 0.883, 0.876, 0.846, 0.836, 0.918, 0.841, 0.837, 0.894, 0.827, 0.758),
        "D_B": (0.132, 0.029, 0.019, 0.016, 0.017, 0.024, 0.013, 0.017, 0.026, 0.017, 0.022, 0.039),
        "ink": (0.619, 0.883, 0.938, 0.788, 0.592, 0.643, 0.577, 0.540, 0.533, 0.501, 0.476, 0.384),
        "D_ink": (0.124, 0.029, 0.024, 0.044, 0.101, 0.104, 0.107, 0.110, 0.149, 0.121, 0.145, 0.190),
        "brush": (0.291, 0.228, 0.227, 0.222, 0.218, 0.210, 0.211, 0.207, 0.211, 0.201, 0.200, 0.196),
    },
    "run B": {
        "G_AB": (0.475, 0.347, 0.362, 0.395, 0.436, 0.465, 0.482, 0.420, 0.435, 0.488, 0.432, 0.423),
        "D_B": (0.196, 0.151, 0.141, 0.131, 0.106, 0.104, 0.101, 0.104, 0.114, 0.115, 0.119, 0.140),
        "ink": (0.924, 0.860, 0.627, 0.609, 0.501, 0.472, 0.412, 0.372, 0.394, 0.481, 0.598, 0.534),
        "D_ink": (0.044, 0.035, 0.042, 0.090, 0.086, 0.142, 0.156, 0.181, 0.203, 0.161, 0.140, 0.166),
        "brush": (0.330, 0.233, 0.233, 0.222, 0.222, 0.216, 0.215, 0.212, 0.218, 0.213, 0.219, 0.226),
    },
    "run C": {
        "G_AB": (0.481, 0.336, 0.365, 0.454, 0.550, 0.577, 0.547, 0.476, 0.522, 0.555, 0.503, 0.515),
        "D_B": (0.196, 0.147, 0.127, 0.111, 0.081, 0.069, 0.080, 0.074, 0.098, 0.092, 0.099, 0.103),
        "ink": (0.080, 0.021, 0.022, 0.020, 0.033, 0.029, 0.017, 0.011, 0.057, 0.026, 0.017, 0.006),
        "D_ink": (0.052, 0.015, 0.013, 0.013, 0.021, 0.020, 0.014, 0.014, 0.063, 0.021, 0.018, 0.005),
        "brush": (0.331, 0.235, 0.232, 0.224, 0.220, 0.208, 0.208, 0.204, 0.212, 0.203, 0.208, 0.215),
    },
    "run D": {
        "G_AB": (0.482, 0.354, 0.339, 0.388, 0.399, 0.462, 0.511, 0.464, 0.466, 0.496, 0.445, 0.464),
        "D_B": (0.195, 0.148, 0.148, 0.133, 0.114, 0.102, 0.094, 0.078, 0.099, 0.105, 0.105, 0.126),
        "ink": (0.872, 0.648, 0.613, 0.613, 0.623, 0.613, 0.610, 0.611, 0.608, 0.614, 0.615, 0.614),
        "D_ink": (0.373, 0.391, 0.396, 0.409, 0.410, 0.409, 0.408, 0.418, 0.413, 0.414, 0.414, 0.413),
        "brush": (0.329, 0.235, 0.233, 0.224, 0.220, 0.215, 0.217, 0.214, 0.217, 0.212, 0.218, 0.225),
    },
}
_CAUSES = {"run A": "heavy", "run B": "left_out", "run C": "targets", "run D": "still"}
_LOOK = {
    "run A": "D_B wins outright from the second point on, and G_AB stays near 0.85: the painter hardly tries to fool "
    "it. Whose wish is heard instead? Look which run ends with the lowest `brush`",
    "run B": "D_ink learns and wins at once, with `ink` near 0.9, while the other game is in balance. Does anybody "
    "work on `ink`?",
    "run C": "`ink` and D_ink go to 0 together: two opponents cannot both win, unless both want the same",
    "run D": "`ink` and D_ink are both level almost from the start: one of the two is not playing, and the other "
    "cannot please it",
}
_AGAINST = {
    "stranger": "with a wish that cannot be granted `brush` would stay above the healthy run's",
    "maximum": "whichever of the two E takes, D_ink and the generator can play their game, as in the healthy run",
}


@exercise("four mistakes told by their curves, without a line of their code.")
def broken(answer):
    """{run: key of MISTAKES} for the four runs of CURVES that are not healthy."""
    diagnosed(answer, _CAUSES, MISTAKES, _LOOK, _AGAINST)


__all__ = ["CURVES", "MISTAKES", "STEPS", "broken", "brush", "erosion"]
