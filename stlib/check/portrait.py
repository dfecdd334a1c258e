"""Checks of the exercises in `2_gan/portrait`."""

import math
import numbers

import torch

from stlib.check import Wrong, diagnosed, exercise, expect_tensor


def _random(*shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# portrait-truncate ----------------------------------------------------------------------------------------------------


def _levels(x, levels):
    scale = 255 * levels / 512
    return ((x + 1) * scale).floor() / scale - 1


def _truncate_mistakes(x, levels):
    """Results of answers with one mistake, each with its diagnosis."""
    scale = 255 * levels / 512
    return (
        (((x + 1) * scale).round() / scale - 1, "you rounded to the nearest level: round down, `floor` or `int`"),
        (((x + 1) * scale).ceil() / scale - 1, "you rounded up: round down, `floor` or `int`"),
        (((x + 1) * scale).floor() / scale, "you did not shift back: the result lies in [0, 2], take 1 off again"),
        (((x + 1) * scale).floor() - 1, "you did not scale back: divide by what you multiplied with"),
        (((x + 1) * scale).floor(), "that is the number of the level: scale and shift back"),
        ((x * scale).floor() / scale, "you did not shift by 1 first: then 0 is a level instead of -1"),
        ((x * scale).trunc() / scale, "`int` drops the fraction towards zero: shift by 1 first, so that nothing is "
                                      "negative"),
        (_levels(x, 64), "you always take 64 levels: how many is an argument"),
        (_levels(x, 256), "you always take 256 levels: how many is an argument"),
        (((x + 1) / 2 * (levels - 1)).floor() / (levels - 1) * 2 - 1,
         "your highest level is +1: here they are a part of 256 levels, i at 512 i / (255 levels) - 1"),
        (((x + 1) / 2 * levels).floor() / levels * 2 - 1,
         "your levels are 2 / levels apart: they are 512 / (255 levels) apart"),
        (((x + 1) / 2 * (levels - 1)).round() / (levels - 1) * 2 - 1,
         "you rounded to the nearest of evenly spread levels: round down, level i is at 512 i / (255 levels) - 1"),
        ((x * (levels - 1)).round() / (levels - 1), "your picture is in [-1, 1], not in [0, 1]: shift it first"),
        (x + _levels(x, levels), "you added x and its rounded form: what is added must be worth 0, `x - x.detach()`"),
        (x, "your result is x itself: the rounded value has to stay, only the gradient is that of x"),
        (_levels(x, levels) - x, "that is the error of the rounding: add x again"),
    )  # fmt: skip


@exercise("it has the values of the steps and the gradient of a straight line.")
def truncate(answer):
    """T(x) on so many levels, with the gradient of the identity."""
    for levels in (16, 64):
        x = (2 * _random(2, 1, 5, 6, seed=levels) - 1).float().requires_grad_()
        before = x.detach().clone()
        result = answer(x, levels)
        if not torch.equal(x, before):
            raise Wrong("your function changed its input: make a new tensor.")
        expect_tensor(result, x.shape)
        right = _levels(before, levels)

        def same(wrong, result=result):
            return torch.allclose(result.detach().float(), wrong, atol=1e-4)

        if not same(right):
            for wrong, saying in _truncate_mistakes(before, levels):
                if same(wrong):
                    raise Wrong(f"{saying}.")
            if not result.detach().isfinite().all():
                raise Wrong("your result is not finite.")
            count = len(result.detach().flatten().unique())
            raise Wrong(f"these are not the levels ({count} different values for {levels} levels): (x + 1) times "
                        "255 levels / 512, rounded down, and back the same way.")  # fmt: skip
        if not result.requires_grad:
            raise Wrong("right, but the gradient is cut off: as in the released code nobody before the rounding learns "
                        "from it. Add something that is worth 0 and has a gradient.")  # fmt: skip
        probe = _random(*x.shape, seed=9).float()
        (gradient,) = torch.autograd.grad((result * probe).sum(), x)
        if not torch.allclose(gradient, probe, atol=1e-5):
            if not gradient.any():
                raise Wrong("right, but the gradient is 0 everywhere: `floor` and `round` have none. Take theirs away "
                            "by `detach`, and let x pass.")  # fmt: skip
            scale = (gradient / probe).mean().item()
            raise Wrong(f"right, but the gradient is not that of the identity (about {scale:.3g} instead of 1): shift "
                        "and scale must not count.")  # fmt: skip


# portrait-masked ------------------------------------------------------------------------------------------------------


class _Pool:
    """Pictures of the past: the first query returns what it is given; each later one, for one picture, an old one."""

    def __init__(self):
        self.kept, self.queries, self.attached = [], 0, False

    def __call__(self, pictures):
        if not torch.is_tensor(pictures) or pictures.ndim != 4:
            raise Wrong("your pool was given something that is no batch of pictures (B, C, H, W).")
        self.attached |= pictures.requires_grad
        self.kept.append(pictures)
        self.queries += 1
        if len(self.kept) == 1:
            return pictures
        shown = list(pictures.unbind(0))
        old = self.kept[0]
        place = len(self.kept) % 2
        if old.shape == pictures.shape:
            shown[place] = old[place]
        return torch.stack(shown)


def _white(x, m):
    return x * m + 1 - m


def _pictures(seed):
    """Drawings in [-1, 1] with rectangular masks: real, real_mask, made, made_mask."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(2):
        x, m = 2 * torch.rand(2, 1, 6, 8, generator=generator) - 1, torch.zeros(2, 1, 6, 8)
        for picture in m:
            top, left = (int(torch.randint(3, (), generator=generator)) for _ in range(2))
            picture[:, top : top + 3, left : left + 4] = 1
        made += [x, m]
    return made


def _judged_mistakes(given, first):
    """(real, made) pairs that answers with one mistake would find, each with its diagnosis; `first` was made before."""
    real, real_mask, made, made_mask = given
    old_made, old_mask = first[2], first[3]
    # the second query of a pool shows picture 0 as it was in the first
    shown, shown_mask = (torch.stack([old[0], new[1]]) for old, new in ((old_made, made), (old_mask, made_mask)))
    both = torch.cat([_white(real, real_mask), real_mask], 1)

    def pair(x, m, seen=None):
        return torch.cat([_white(x, m) if seen is None else seen, m], dim=1)

    def black(x, m):
        return x * m - (1 - m)

    right = pair(shown, shown_mask)
    return (both, right), (
        ((both, pair(shown, made_mask)), "the drawing comes from the pool, the mask from this step: they belong to two "
                                         "heads. Put both into the pool together"),
        ((both, torch.cat([_white(shown, made_mask), shown_mask], 1)),
         "the old drawing is masked by the new mask: take the mask that came out of the pool with it"),
        ((both, pair(made, made_mask)), "the made drawing did not come from the pool"),
        ((both, pair(made, shown_mask)), "the mask comes from the pool, the drawing does not: both have to"),
        ((both, pair(shown, shown_mask, black(shown, shown_mask))),
         "the made drawing is black outside, -1: it has to be white, 1, as the paper is"),
        ((pair(real, real_mask, black(real, real_mask)), pair(shown, shown_mask, black(shown, shown_mask))),
         "outside is black, -1: it has to be white, 1, as the paper is"),
        ((pair(real, real_mask, real * real_mask), pair(shown, shown_mask, shown * shown_mask)),
         "outside is grey, 0: in [-1, 1] white is 1, so add 1 - m"),
        ((pair(real, real_mask, real), pair(shown, shown_mask, shown)),
         "nothing is masked: the judge of one part would see the whole drawing"),
        ((pair(real, real_mask, _white(real, 1 - real_mask)), pair(shown, shown_mask, _white(shown, 1 - shown_mask))),
         "the mask is the wrong way round: 1 is inside"),
        ((both.flip(1), right.flip(1)), "the mask stands in front: the drawing is the first channel"),
        ((right, both), "the two are exchanged: the real drawing first"),
        ((pair(real, made_mask), right), "the real drawing is masked with the photograph's mask: it has its own"),
        ((both, pair(shown, real_mask)), "the made drawing has the real one's mask: it has that of its photograph"),
    )  # fmt: skip


@exercise("old drawings keep their own masks, and outside there is paper.")
def masked(answer):
    """What the judge of a part is shown: the real drawing and one from the pool, white outside, with their masks."""
    first, given = _pictures(1), _pictures(3)  # whose masks lie elsewhere
    pool, results = _Pool(), []
    for pictures in (first, given):
        leaf = pictures[2].clone().requires_grad_()
        arguments = [pictures[0].clone(), pictures[1].clone(), leaf * 1.0, pictures[3].clone()]
        before, queries = [x.detach().clone() for x in arguments], pool.queries
        result = answer(pool, *arguments)
        if any(not torch.equal(x.detach(), b) for x, b in zip(arguments, before, strict=True)):
            raise Wrong("your function changed its input: make new tensors.")
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise Wrong("two tensors are expected: `return real, made`, each with its mask behind.")
        for x in result:
            if torch.is_tensor(x) and x.shape == (2, 1, 6, 8):
                raise Wrong("the mask is missing: it is the second channel, `torch.cat([drawing, mask], dim=1)`.")
            expect_tensor(x, (2, 2, 6, 8))
        results.append(result)
        asked = pool.queries - queries
        if asked > 1:
            raise Wrong(f"you asked the pool {asked} times: it draws anew each time, so drawing and mask come from two "
                        "heads. Put them in together, side by side.")  # fmt: skip
    result = [x.detach().float() for x in results[1]]

    def same(pair):
        return all(torch.allclose(x, y, atol=1e-5) for x, y in zip(result, pair, strict=True))

    right, mistakes = _judged_mistakes(given, first)
    if not same(right):
        for wrong, saying in mistakes:
            if same(wrong):
                raise Wrong(f"{saying}.")
        which = "made" if torch.allclose(result[0], right[0], atol=1e-5) else "real"
        raise Wrong(f"the {which} one is not right: inside the mask the drawing as it is, outside 1, and the mask as "
                    "the second channel.")  # fmt: skip
    if results[1][1].requires_grad:
        raise Wrong("right, but the made drawing still leads a gradient into the generator: detach it.")
    if pool.attached:
        raise Wrong("right, but the pool keeps drawings with their whole graph: detach before they go in.")


# portrait-relaxed -----------------------------------------------------------------------------------------------------


@exercise("two ways back, one of them through coarse greys, and only edges count.")
def relaxed(answer):
    """5 (1 - 0.9 p) d(E(G_BA(G_AB(a))), E(a)) + 5 * 0.9 p d(E(G_BA(T(G_AB(a)))), E(a))."""
    a, gain = 2 * _random(2, 3, 6, 6, seed=3) - 1, torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    other = _random(6, 6, seed=4)

    def draw(x):
        return torch.tanh(gain * (x * other).sum(dim=1, keepdim=True))

    def read(x):
        if x.shape[1] != 1:
            raise Wrong("`read` makes photographs of *drawings*, with one channel: what did you give it?")
        return torch.cat([x * other, x.roll(1, 3), x.square()], dim=1)

    def truncate(x):
        return (x.detach() * 2.5).floor() / 2.5

    def edges(x):
        return (x - x.roll(1, 3)).square().sum(dim=1, keepdim=True)

    def number(x):
        return x.item() if torch.is_tensor(x) else float(x)

    def distance(x, y):
        if x.shape != y.shape:
            raise Wrong(f"you compare {tuple(x.shape)} with {tuple(y.shape)}: edges with edges, of two photographs.")
        return (x - y).square().mean() + 0.1 * (x - y).mean()

    before = a.clone()
    results = [answer(draw, read, truncate, edges, distance, a, p) for p in (0.5, 0.2)]
    if not torch.equal(a, before):
        raise Wrong("your function changed its input: make a new tensor.")
    for result in results:
        if not (torch.is_tensor(result) and result.numel() == 1 or isinstance(result, numbers.Real)):
            raise Wrong("one number is expected, the sum of both terms.")
    drawn = draw(a)
    coarse = truncate(drawn)

    def terms(of):
        return [of(read(drawn)), of(read(coarse))]

    right = terms(lambda x: distance(edges(x), edges(a)))
    plain = terms(lambda x: distance(x, a))
    turned = terms(lambda x: distance(edges(a), edges(x)))
    late = [distance(edges(read(drawn)), edges(a)), distance(edges(truncate(read(drawn))), edges(a))]
    to_each_other = distance(edges(read(coarse)), edges(read(drawn)))

    def weighted(pair, p, low=0.9, whole=5.0):
        return whole * (1 - low * p) * pair[0] + whole * low * p * pair[1]

    mistakes = (
        (lambda p: weighted(right[::-1], p), "the two weights are exchanged: at p = 0 only the relaxed cycle counts, "
                                             "and the truncated one rises"),
        (lambda p: weighted(right, p, low=1.0), "0.9 is missing: the relaxed cycle never falls to 0"),
        (lambda p: weighted(right, p, whole=1.0), "the 5 is missing in front of both"),
        (lambda p: weighted([right[0]] * 2, p), "nothing is truncated on the second way"),
        (lambda p: weighted([right[1]] * 2, p), "both ways are truncated: the relaxed one takes the drawing as it is"),
        (lambda p: weighted(plain, p), "you compare the photographs: here only their edges count"),
        (lambda p: weighted(turned, p), "the arguments of `distance` are exchanged: the way back first, then the "
                                        "photograph"),
        (lambda p: weighted(late, p), "you truncated the photograph on its way back: it is the drawing that is coarse"),
        (lambda p: weighted([right[0], to_each_other], p), "the truncated way is compared with the other way back: "
                                                           "both are compared with the photograph"),
        (lambda p: 5 * (1 - 0.9 * p) * right[0], "the truncated cycle is missing"),
        (lambda p: 5 * 0.9 * p * right[1], "the relaxed cycle is missing"),
        (lambda p: 5 * right[0] + 5 * right[1], "p is missing: the weights are 5 (1 - 0.9 p) and 5 * 0.9 p"),
        (lambda p: 5 * (1 - 0.9) * right[0] + 5 * 0.9 * right[1], "p is missing: the weights are 5 (1 - 0.9 p) and "
                                                                  "5 * 0.9 p"),
        (lambda p: 5 * 0.9 * (1 - p) * right[0] + 5 * 0.9 * p * right[1], "the 0.9 belongs to p alone: 5 (1 - 0.9 p)"),
        (lambda p: 5 * (1 - 0.9 * p) * right[0] + 0.9 * p * right[1], "the 5 is missing in front of the truncated "
                                                                      "cycle"),
        (lambda p: 5 * (1 - 0.9 * p) * right[0] + 5 * p * right[1], "the truncated cycle has the weight 5 * 0.9 p: the "
                                                                    "two add up to 5"),
        (lambda p: weighted(right, p) / 2, "that is half of it: a sum, not a mean"),
    )  # fmt: skip
    found = [number(result) for result in results]

    def same(function):
        return all(math.isclose(x, number(function(p)), rel_tol=1e-6) for x, p in zip(found, (0.5, 0.2), strict=True))

    if not same(lambda p: weighted(right, p)):
        for wrong, saying in mistakes:
            if same(wrong):
                raise Wrong(f"{saying}.")
        raise Wrong(f"you found {found[0]:.5f} at p = 0.5 where {number(weighted(right, 0.5)):.5f} is right: draw, "
                    "read the drawing and the truncated one, compare the edges of both with those of a.")  # fmt: skip
    result = results[0]
    if not torch.is_tensor(result) or not result.requires_grad:
        raise Wrong("right, but nothing can be learnt from it: return the tensor itself, detach nothing.")
    wanted = torch.autograd.grad(weighted(right, 0.5), gain)[0]
    of_gain = torch.autograd.grad(result, gain, allow_unused=True)[0]
    if of_gain is None or not torch.isclose(of_gain, wanted):
        raise Wrong("right, but the one that draws gets another gradient: detach nothing, `truncate` does that itself.")


# portrait-broken ------------------------------------------------------------------------------------------------------

MISTAKES = {
    "targets": "the targets of the drawings' discriminator are exchanged: made drawings are to get 1, real ones 0",
    "black": "made drawings are black outside of the part, real ones white",
    "forgetful": "the strict cycle is detached: it is logged, but nobody learns from it",
    "too_early": "the drawing is truncated before anybody sees it, discriminators and relaxed cycle included",
    "still": "the discriminators of the parts are not in the optimiser",
    "strangers": "drawings from the pool are shown with the masks of this step's photograph",
}
STEPS = tuple(range(50, 601, 50))
# Real trainings at 32 pixels, by `tests/portrait_mistakes.py`; losses without their weights, means over 50 steps
CURVES = {
    "healthy": {
        "G_AB": (0.574, 0.491, 0.468, 0.533, 0.479, 0.486, 0.431, 0.396, 0.392, 0.422, 0.366, 0.372),
        "D_B": (0.159, 0.077, 0.062, 0.069, 0.069, 0.088, 0.106, 0.106, 0.125, 0.134, 0.139, 0.152),
        "parts": (0.381, 0.22, 0.231, 0.25, 0.252, 0.264, 0.271, 0.261, 0.265, 0.277, 0.264, 0.282),
        "D_parts": (0.248, 0.219, 0.233, 0.238, 0.236, 0.235, 0.237, 0.229, 0.23, 0.229, 0.23, 0.226),
        "relaxed": (0.523, 0.417, 0.396, 0.38, 0.341, 0.355, 0.333, 0.335, 0.316, 0.304, 0.3, 0.294),
        "strict": (0.473, 0.343, 0.316, 0.305, 0.295, 0.28, 0.27, 0.263, 0.259, 0.253, 0.235, 0.236),
    },
    "run A": {
        "G_AB": (0.573, 0.636, 0.46, 0.566, 0.514, 0.509, 0.491, 0.436, 0.46, 0.463, 0.411, 0.443),
        "D_B": (0.158, 0.051, 0.061, 0.053, 0.06, 0.072, 0.085, 0.093, 0.103, 0.116, 0.118, 0.127),
        "parts": (0.848, 0.985, 0.999, 0.997, 0.997, 1.001, 1.0, 1.0, 0.998, 0.999, 1.0, 1.003),
        "D_parts": (0.098, 0.004, 0.002, 0.002, 0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.001, 0.001),
        "relaxed": (0.543, 0.438, 0.391, 0.381, 0.351, 0.36, 0.353, 0.343, 0.333, 0.321, 0.308, 0.305),
        "strict": (0.472, 0.341, 0.317, 0.302, 0.293, 0.281, 0.268, 0.264, 0.258, 0.253, 0.239, 0.237),
    },
    "run B": {
        "G_AB": (0.229, 0.016, 0.127, 0.036, 0.036, 0.016, 0.017, 0.014, 0.012, 0.011, 0.013, 0.008),
        "D_B": (0.168, 0.039, 0.049, 0.028, 0.024, 0.017, 0.02, 0.015, 0.013, 0.014, 0.013, 0.011),
        "parts": (0.393, 0.528, 0.366, 0.295, 0.256, 0.316, 0.28, 0.26, 0.275, 0.28, 0.265, 0.279),
        "D_parts": (0.239, 0.116, 0.108, 0.181, 0.202, 0.193, 0.214, 0.206, 0.218, 0.225, 0.223, 0.224),
        "relaxed": (0.545, 0.427, 0.396, 0.382, 0.352, 0.346, 0.342, 0.335, 0.315, 0.311, 0.304, 0.302),
        "strict": (0.481, 0.363, 0.33, 0.314, 0.306, 0.296, 0.293, 0.28, 0.28, 0.272, 0.262, 0.262),
    },
    "run C": {
        "G_AB": (0.553, 0.679, 0.519, 0.557, 0.515, 0.494, 0.475, 0.411, 0.44, 0.475, 0.442, 0.471),
        "D_B": (0.162, 0.033, 0.054, 0.057, 0.062, 0.086, 0.11, 0.103, 0.108, 0.116, 0.113, 0.111),
        "parts": (0.366, 0.253, 0.243, 0.249, 0.268, 0.266, 0.271, 0.266, 0.271, 0.279, 0.281, 0.277),
        "D_parts": (0.26, 0.227, 0.234, 0.238, 0.233, 0.226, 0.228, 0.227, 0.225, 0.229, 0.221, 0.223),
        "relaxed": (0.526, 0.425, 0.383, 0.378, 0.359, 0.372, 0.351, 0.338, 0.329, 0.316, 0.301, 0.302),
        "strict": (0.707, 0.777, 0.59, 0.463, 0.496, 0.485, 0.47, 0.494, 0.458, 0.428, 0.447, 0.445),
    },
    "run D": {
        "G_AB": (0.573, 0.806, 0.836, 0.831, 0.847, 0.905, 0.904, 0.9, 0.906, 0.926, 0.912, 0.94),
        "D_B": (0.163, 0.033, 0.015, 0.017, 0.017, 0.012, 0.012, 0.012, 0.01, 0.012, 0.01, 0.011),
        "parts": (0.362, 0.311, 0.386, 0.492, 0.496, 0.56, 0.537, 0.543, 0.506, 0.613, 0.631, 0.687),
        "D_parts": (0.263, 0.2, 0.146, 0.136, 0.12, 0.103, 0.139, 0.127, 0.125, 0.105, 0.094, 0.079),
        "relaxed": (0.537, 0.453, 0.465, 0.447, 0.405, 0.381, 0.391, 0.354, 0.311, 0.316, 0.321, 0.292),
        "strict": (0.387, 0.291, 0.274, 0.268, 0.25, 0.237, 0.224, 0.22, 0.212, 0.207, 0.199, 0.196),
    },
}
_CAUSES = {"run A": "black", "run B": "targets", "run C": "forgetful", "run D": "too_early"}
_LOOK = {
    "run A": "`D_parts` is near 0 from the second point on and `parts` at 1, while `G_AB` and `D_B` are in balance: "
    "the small judges know every made drawing, whatever it shows; something else gives it away",
    "run B": "`G_AB` and `D_B` both go to 0: two opponents cannot both win, unless both want the same",
    "run C": "the adversaries are as in the healthy run, but `strict` ends at twice the healthy run's: nobody works on "
    "it",
    "run D": "`G_AB` rises towards 1 and `D_B` falls to 0, `parts` and `D_parts` follow, and `strict` falls even "
    "below the healthy run's: it is the only loss that the generator which draws still obeys",
}
_AGAINST = {
    "still": "judges that never learn keep their losses: both curves would lie level from the first point on",
}


@exercise("four mistakes told by their curves, without a line of their code.")
def broken(answer):
    """{run: key of MISTAKES} for the four runs of CURVES that are not healthy."""
    diagnosed(answer, _CAUSES, MISTAKES, _LOOK, _AGAINST)


__all__ = ["CURVES", "MISTAKES", "STEPS", "broken", "masked", "relaxed", "truncate"]
