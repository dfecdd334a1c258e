"""Checks of the exercises in `2_gan/cut`."""

import math
import numbers

import torch

from stlib.check import Wrong, diagnosed, exercise, expect_tensor, kind


def _random(*shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _unit(x, dim=-1):
    return x / torch.linalg.vector_norm(x, dim=dim, keepdim=True)


def _pair(result, what):
    """The two parts of a result; raises Wrong for what is no pair. `what` says what is expected."""
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        got = f"{len(result)} things" if isinstance(result, (tuple, list)) else kind(result)
        raise Wrong(f"your function returns {got}; two lists are expected, `return {what}`.")
    for part in result:
        if not isinstance(part, (tuple, list)):
            raise Wrong(f"your function returns {kind(part)} where a list is expected: one tensor for each "
                        f"map, `return {what}`.")  # fmt: skip
    return result


# cut-nce --------------------------------------------------------------------------------------------------------------


def _nce_rows(q, k, temperature):
    """-log(exp(q_i k_i / T) / sum_j exp(q_i k_j / T)) of each row, and the logits."""
    logits = q @ k.T / temperature
    return torch.logsumexp(logits, dim=1) - logits.diagonal(), logits


def _nce_mistakes(q, k, temperature):
    """Numbers that answers with one mistake would find, each with its diagnosis."""
    rows, logits = _nce_rows(q, k, temperature)
    patches, right, similar = len(q), rows.mean(), q @ k.T

    def of(scores):
        return (torch.logsumexp(scores, dim=1) - scores.diagonal()).mean()

    chance, others = (-rows).exp(), logits.clone().fill_diagonal_(-math.inf)
    return (
        (-right, "the sign is the other way round: likely partners give a small loss, not a large one"),
        (of(similar), "the temperature is missing: divide the products by it before `exp`"),
        (of(similar * temperature), "you multiplied by the temperature: divide the products by it"),
        (_nce_rows(q, k, 0.07)[0].mean(), "your temperature is always 0.07: take the one that is given"),
        (of(logits.T), "you compared each key with all queries: each *query* has to find its key, so the sum runs over "
                       "the keys"),
        (of(q @ q.T / temperature), "you compared the queries with each other: where are the keys?"),
        (of(k @ k.T / temperature), "you compared the keys with each other: where are the queries?"),
        (rows.sum(), "you summed over the positions: take the mean, or the loss grows with their number"),
        (chance.mean(), "that is the mean probability of the own key: take -log of each first"),
        (-chance.mean(), "that is the mean probability of the own key: take -log of it, not only the minus"),
        (1 - chance.mean(), "that is 1 minus the mean probability: take -log of each probability"),
        (-chance.mean().log(), "you took the logarithm of the mean: take the mean of the logarithms"),
        ((torch.logsumexp(others, dim=1) - logits.diagonal()).mean(),
         "you left the own key out of the sum: it is one of the keys that the query chooses from"),
        ((torch.cat([logits, logits.diagonal()[:, None]], 1).logsumexp(1) - logits.diagonal()).mean(),
         "the own key is twice in the sum: it is already one of the keys"),
        (right - math.log(patches), "you took the mean over the keys below: it is a sum"),
        (-(similar.diagonal() / similar.sum(dim=1)).log().mean(),
         "the products were not exponentiated: `exp` makes shares of them, above and below"),
        ((torch.logsumexp(logits, dim=1) - similar.diagonal()).mean(), "the temperature is missing above: it divides "
                                                                       "the own product as well"),
        ((torch.logsumexp(similar, dim=1) - logits.diagonal()).mean(), "the temperature is missing below: it divides "
                                                                       "all products"),
        (-logits.diagonal().mean(), "only the own key counts in your loss: it has to beat the others, divide by the "
                                    "sum over all keys"),
        (logits.logsumexp(dim=1).mean(), "the own key is missing: divide its exponential by the sum"),
        (-logits.log_softmax(dim=1).mean(), "you took the mean over all pairs: only the own key, on the diagonal, is "
                                            "the right one"),
        (of(logits.softmax(dim=1)), "the softmax is in it twice: `cross_entropy` takes the products over T themselves"),
        (of(logits.exp()), "`exp` is in it twice: `cross_entropy` and `logsumexp` do it themselves"),
        (of(2 * logits), "your products are twice too large: squared distances are 2 - 2 q k"),
        (right / math.log(2), "that is the logarithm to base 2: take the natural one"),
        (right / math.log(10), "that is the logarithm to base 10: take the natural one"),
    )  # fmt: skip


@exercise("each query finds its own key among all of them, and only the queries learn.")
def nce(answer):
    """Mean of -log softmax of the own key, for queries and keys (P, C); finite at a small T, the keys learn nothing."""
    temperature = 0.4
    k = _unit(_random(7, 5, seed=1))
    q = _unit(k + 0.8 * _random(7, 5, seed=2))
    q, k = q.requires_grad_(), k.requires_grad_()
    before = q.detach().clone(), k.detach().clone()
    result = answer(q, k, temperature)
    if not (torch.equal(q, before[0]) and torch.equal(k, before[1])):
        raise Wrong("your function changed its input: make a new tensor.")
    if torch.is_tensor(result) and result.ndim and result.numel() > 1:
        if result.shape == (7,):
            raise Wrong("you returned one number a position: take the mean at the end.")
        raise Wrong(f"your function returns a tensor of shape {tuple(result.shape)}; one number is expected.")
    if not torch.is_tensor(result) and (not isinstance(result, numbers.Real) or isinstance(result, bool)):
        raise Wrong(f"your function returns {kind(result)}; one number is expected.")
    found = result.item() if torch.is_tensor(result) else float(result)
    right = _nce_rows(*before, temperature)[0].mean()

    def same(wrong):
        return abs(found - float(wrong)) <= 1e-5 * max(abs(float(wrong)), 1e-2)

    if not same(right):
        if not math.isfinite(found):
            raise Wrong(f"your loss is {found}, even at a temperature of 0.4: is there a logarithm of a product, which "
                        "may be negative? Exponentiate first.")  # fmt: skip
        for wrong, saying in _nce_mistakes(*before, temperature):
            if same(wrong):
                raise Wrong(f"{saying}.")
        raise Wrong(f"you found {found:.4f} where {right.item():.4f} is right: all products of queries and keys by "
                    "T, a softmax over the keys of each query, -log of its diagonal, the mean.")  # fmt: skip
    if not torch.is_tensor(result) or not result.requires_grad:
        raise Wrong("right, but nothing can be learnt from it: return the tensor itself, not a number or a detached "
                    "one.")  # fmt: skip
    wanted = torch.autograd.grad(_nce_rows(q, before[1], temperature)[0].mean(), q)[0]
    of_q, of_k = torch.autograd.grad(result, (q, k), allow_unused=True)
    if of_q is None or not of_q.any():
        raise Wrong("right, but the queries get no gradient: it is the keys that are to be detached.")
    if of_k is not None and of_k.any():
        raise Wrong("right, but the keys get a gradient as well: use `k.detach()`, or the content's vectors move "
                    "towards the result instead of the other way.")  # fmt: skip
    if not torch.allclose(of_q, wanted, atol=1e-6):
        raise Wrong("right, but the queries get another gradient than theirs: detach the keys and nothing else.")
    # Two rows: one whose own key is the likeliest, one whose own key is the unlikeliest
    q, k = torch.tensor([[1.0, 0], [1.0, 0], [0, 1.0]]), torch.tensor([[1.0, 0], [-1.0, 0], [0, 1.0]])
    found = float(answer(q.clone(), k.clone(), 0.01))
    if not math.isfinite(found):
        raise Wrong(f"right, but your loss is {found} at a temperature of 0.01: exp(100) is more than 32 bits hold. "
                    "Let `cross_entropy`, `log_softmax` or `logsumexp` do both at once.")  # fmt: skip
    right = _nce_rows(q, k, 0.01)[0].mean().item()
    if abs(found - right) > 1e-3 * right:
        raise Wrong(f"right, but at a temperature of 0.01 you find {found:.2f} instead of {right:.2f}: something small "
                    "was added or cut off. Let `cross_entropy`, `log_softmax` or `logsumexp` do it.")  # fmt: skip


# cut-positions --------------------------------------------------------------------------------------------------------


def _rows(m):
    """The vectors (B, H W, C) of a map (B, C, H, W), row by row."""
    return m.permute(0, 2, 3, 1).flatten(1, 2)


def _mixed(m):
    return m.reshape(m.shape[0], -1, m.shape[1])


def _found(vectors, table):
    """The places (B, P) in a table (B, N, C) where each picture's vectors stand, or None if one stands nowhere."""
    distance, place = (vectors.double()[:, :, None] - table[:, None]).abs().amax(dim=3).min(dim=2)
    return place if distance.max() < 1e-5 else None


def _places(vectors, m, other, who, whose):
    """Where the vectors stand in map `m` (B, P). Raises Wrong, with the likely mistake, if they do not stand there."""
    place = _found(vectors, _unit(_rows(m)))
    if place is not None:
        return place
    if _found(vectors, _rows(m)) is not None:
        raise Wrong(f"the vectors of the {who} have not the length 1: divide each of them by its length.")
    if _found(vectors, _unit(_mixed(m))) is not None or _found(vectors, _mixed(m)) is not None:
        raise Wrong("you reshaped without moving the channels: a row then mixes neighbouring pixels of one channel. "
                    "`permute(0, 2, 3, 1)` first.")  # fmt: skip
    if _found(vectors, _unit(_rows(other))) is not None:
        raise Wrong(f"the vectors of the {who} come from the maps of the {whose}.")
    length = {dim: torch.linalg.vector_norm(vectors.double(), dim=dim) for dim in (0, 1, 2)}

    def ones(lengths):
        return (lengths - 1).abs().max() < 1e-5

    if ones(length[2]):
        raise Wrong(f"the vectors of the {who} have the length 1, but they stand nowhere in its maps: take all "
                    "channels of one position, and normalise nothing before.")  # fmt: skip
    if ones(length[1]):
        raise Wrong("you normalised over the positions: a vector's length is over its channels, the last axis "
                    "(`dim=-1`).")  # fmt: skip
    if ones(length[0]):
        raise Wrong("you normalised over the pictures: a vector's length is over its channels, the last axis "
                    "(`dim=-1`).")  # fmt: skip
    if ones(vectors.double().abs().sum(dim=2)):
        raise Wrong("the absolute values of each vector sum to 1: take the length instead, the root of the sum of "
                    "squares.")  # fmt: skip
    if ones(torch.linalg.vector_norm(vectors.double())):
        raise Wrong("you divided by one length for all: each vector has its own.")
    if _found(_unit(vectors.double()), _unit(_rows(m))) is not None:
        raise Wrong(f"the vectors of the {who} point the right way, but have not the length 1: divide each by its own "
                    "length.")  # fmt: skip
    raise Wrong(f"the vectors of the {who} have not the length 1, and stand nowhere in its maps: take all channels of "
                "one position, then divide by the length.")  # fmt: skip


@exercise("one draw for each map, shared by result and origin, and every vector has the length 1.")
def positions(answer):
    """([vectors of the result], [vectors of the origin]) at shared random positions of each map, of unit length."""
    sizes, count = ((4, 4, 3), (6, 5, 7)), 8
    results, origins = ([_random(2, *s, seed=10 * n + i) - 0.5 for i, s in enumerate(sizes)] for n in (1, 2))
    before = [m.clone() for m in (*results, *origins)]

    def ask(seed):
        return _pair(
            answer(list(results), list(origins), count, torch.Generator().manual_seed(seed)), "of_result, of_origin"
        )

    given = ask(3)
    if any(not torch.equal(m, b) for m, b in zip((*results, *origins), before, strict=True)):
        raise Wrong("your function changed its input: make a new tensor.")
    for vectors in given:
        if len(vectors) != 2:
            raise Wrong(f"for two maps a list of two tensors is expected; yours holds {len(vectors)}.")
        for v, (channels, height, width) in zip(vectors, sizes, strict=True):
            shape = tuple(v.shape) if torch.is_tensor(v) else None
            if shape == (2, channels, count):
                raise Wrong(f"your vectors have the shape {shape}: channels come last, (B, count, C).")
            if shape == (2, height * width, channels):
                raise Wrong(f"you returned all {height * width} positions of a map: {count} of them are asked for.")
            if shape == (2 * count, channels):
                raise Wrong("you put the pictures of the batch together: keep them apart, (B, count, C).")
            expect_tensor(v, (2, count, channels))
    places = []
    for v, w, m, o in zip(*given, results, origins, strict=True):
        if _found(v, _unit(_rows(o))) is not None and _found(w, _unit(_rows(m))) is not None:
            raise Wrong("the two lists are exchanged: return those of the result first.")
        places.append((_places(v, m, o, "result", "origin"), _places(w, o, m, "origin", "result")))
    for one, two in places:
        if not torch.equal(one, two):
            if torch.equal(one.sort().values, two.sort().values):
                raise Wrong("result and origin have the same positions in another order: row i of both has to be one "
                            "position.")  # fmt: skip
            raise Wrong("result and origin were looked at in different positions: draw once for each map, and use it "
                        "for both.")  # fmt: skip
    places = [one for one, _ in places]
    if any(len(row.unique()) < count for place in places for row in place):
        raise Wrong("a position comes twice: `torch.randperm` gives each only once, `randint` does not.")
    if any(not torch.equal(place[0], place[1]) for place in places):
        raise Wrong("each picture of the batch has its own positions: one draw for each map serves them all.")
    if torch.equal(*places):
        raise Wrong("both maps were looked at in the same positions: the second is larger, and most of it is never "
                    "drawn. Draw anew for each map, from its own H W.")  # fmt: skip
    again, other = ask(3), ask(4)
    if all(torch.equal(x, y) for x, y in zip(given[0], other[0], strict=True)):
        raise Wrong("your positions are always the same: draw them with the generator that is given.")
    if any(not torch.equal(x, y) for x, y in zip(given[0], again[0], strict=True)):
        raise Wrong("with the same generator you draw other positions: hand it on, `generator=generator`.")
    generator = torch.Generator().manual_seed(3)
    drawn = [torch.randperm(height * width, generator=generator)[:count] for _, height, width in sizes]
    turned = [p % h * w + p // h for p, (_, h, w) in zip(drawn, sizes, strict=True)]
    if any(torch.equal(place[0], p) for place, p in zip(places, turned, strict=True)):
        raise Wrong("rows and columns are exchanged: position p is row p // W, column p % W, so flatten H before W.")


# cut-mirror -----------------------------------------------------------------------------------------------------------


@exercise("the generator saw the mirrored picture, and every vector is compared with its own place.")
def mirror(answer):
    """(maps of G(mirrored a), mirrored back; maps of a), for a network and maps that a mirror does not commute with."""
    a = _random(2, 3, 4, 8, seed=7)
    gain = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    ramp = _random(4, 8, seed=8)

    def G(x):  # noqa: N802
        return torch.tanh(gain * x * ramp + 0.2 * x.roll(1, 1))

    def features(x):
        wide = torch.cat([x, x.roll(1, 3) * (0.5 + ramp)], dim=1)
        return [wide, wide[..., ::2, ::2] - wide[..., 1::2, ::2] + 0.3 * ramp[::2, ::2]]

    before = a.clone()
    queries, keys = _pair(answer(features, G, a), "queries, keys")
    if not torch.equal(a, before):
        raise Wrong("your function changed its input: make a new tensor.")
    for maps, name in ((queries, "queries"), (keys, "keys")):
        if len(maps) != 2:
            raise Wrong(f"`features` gives two maps here; your {name} are {len(maps)}.")
        for m, wanted in zip(maps, features(a), strict=True):
            expect_tensor(m, wanted.shape)

    def same(maps, wanted):
        return all(torch.allclose(m.double(), w, atol=1e-6) for m, w in zip(maps, wanted, strict=True))

    def flipped(maps, *dims):
        return [m.flip(dims) for m in maps]

    def seen(x, *dims):
        """Maps of a picture, mirrored."""
        return flipped(features(x), *dims)

    with torch.no_grad():
        turned = a.flip(3)
        right = seen(G(turned), 3), features(a)
        if same(queries, right[1]) and same(keys, right[0]):
            raise Wrong("queries and keys are exchanged: queries come from the result, keys from its origin.")
        for wrong, saying in (
            (features(G(turned)), "the queries are not mirrored back: row i of both must be one place of the picture"),
            (seen(G(a), 3), "the generator was given the picture as it is: mirror it first, then its maps back"),
            (features(G(a)), "nothing is mirrored in your queries: mirror the picture, and the maps back"),
            (seen(G(a.flip(2)), 2), "you turned the picture upside down: mirror left and right, the last axis"),
            (seen(G(a.flip(2, 3)), 2, 3), "you turned the picture by half a turn: mirror the last axis alone"),
            (seen(G(turned), 2), "the maps were turned upside down on their way back: mirror their last axis"),
            (seen(G(a.flip(2)), 3), "the picture was turned upside down, and its maps left and right: mirror the last "
                                    "axis of both"),
            (seen(G(turned), 1), "you reversed the channels of the maps: mirror their last axis"),
            (seen(G(turned), 0), "you reversed the pictures of the batch: mirror the maps' last axis"),
            (features(G(turned).flip(3)), "you mirrored the result, then looked at it: look at the result as it is, "
                                          "and mirror its *maps*"),
            (seen(G(turned).flip(3), 3), "you mirrored twice on the way back, the result and its maps: once is enough"),
            (seen(turned, 3), "your queries never went through `G`"),
            (features(turned), "your queries never went through `G`"),
            (features(a), "your queries are the keys: they come from `G` of the mirrored picture"),
        ):  # fmt: skip
            if same(queries, wrong):
                raise Wrong(f"{saying}.")
        if not same(queries, right[0]):
            raise Wrong("your queries are not those maps: `G` of the mirrored picture, its maps, mirrored back.")
        for wrong, saying in (
            (features(turned), "your keys are those of the mirrored picture: take the picture as it is, the queries "
                               "are mirrored back already"),
            (seen(turned, 3), "your keys were mirrored twice, before `features` and after: take `features(a)`"),
            (seen(a, 3), "you mirrored the keys: they stay, the queries are mirrored back to them"),
            (right[0], "your keys are the queries: they are the maps of `a`, before `G`"),
            (features(G(a)), "your keys come from a result: they are the maps of `a`, before `G`"),
        ):  # fmt: skip
            if same(keys, wrong):
                raise Wrong(f"{saying}.")
        if not same(keys, right[1]):
            raise Wrong("your keys are not the maps of `a`.")
    if any(not m.requires_grad for m in queries) or not torch.autograd.grad(sum(m.sum() for m in queries), gain)[0]:
        raise Wrong("right, but the generator learns nothing from it: only the keys may be detached.")


# cut-broken -----------------------------------------------------------------------------------------------------------

MISTAKES = {
    "positions": "queries and keys are drawn at different positions",
    "weight": "the contrast weighs a hundred times too much",
    "still": "the discriminator's optimiser is never called",
    "temperature": "the temperature is 1 instead of 0.07",
    "targets": "the discriminator's targets are exchanged: made pictures are to get 1, real ones 0",
    "detached": "the contrast is detached: it is logged, but nobody learns from it",
}
STEPS = tuple(range(50, 601, 50))
# Real trainings at 32 pixels, by `tests/cut_mistakes.py`; losses without their weights, means over 50 steps
CURVES = {
    "healthy": {
        "D": (0.229, 0.198, 0.162, 0.176, 0.174, 0.158, 0.155, 0.155, 0.141, 0.146, 0.133, 0.130),
        "GAN": (0.384, 0.389, 0.467, 0.476, 0.486, 0.515, 0.545, 0.525, 0.540, 0.514, 0.497, 0.466),
        "NCE": (3.361, 2.134, 1.639, 1.547, 1.526, 1.417, 1.393, 1.321, 1.305, 1.280, 1.301, 1.303),
        "NCE_identity": (3.253, 1.772, 1.280, 1.170, 1.099, 1.077, 1.053, 0.995, 0.956, 0.955, 0.941, 0.935),
    },
    "run A": {
        "D": (0.104, 0.021, 0.015, 0.014, 0.019, 0.010, 0.012, 0.009, 0.006, 0.005, 0.005, 0.003),
        "GAN": (0.696, 0.946, 0.971, 0.967, 0.949, 0.967, 0.970, 0.989, 0.992, 0.993, 0.986, 1.002),
        "NCE": (3.325, 1.791, 1.362, 1.206, 1.140, 1.067, 1.052, 1.005, 0.981, 0.955, 0.962, 0.946),
        "NCE_identity": (3.234, 1.686, 1.294, 1.175, 1.096, 1.055, 1.011, 0.981, 0.954, 0.946, 0.931, 0.921),
    },
    "run B": {
        "D": (0.489, 0.498, 0.506, 0.514, 0.521, 0.525, 0.531, 0.532, 0.537, 0.542, 0.538, 0.542),
        "GAN": (0.669, 0.524, 0.470, 0.428, 0.402, 0.381, 0.365, 0.352, 0.339, 0.332, 0.330, 0.324),
        "NCE": (3.297, 2.053, 1.589, 1.385, 1.308, 1.222, 1.195, 1.164, 1.082, 1.087, 1.096, 1.069),
        "NCE_identity": (3.274, 1.886, 1.466, 1.266, 1.154, 1.076, 1.033, 1.026, 0.967, 0.976, 0.967, 0.967),
    },
    "run C": {
        "D": (0.237, 0.212, 0.201, 0.219, 0.211, 0.198, 0.184, 0.166, 0.171, 0.174, 0.175, 0.170),
        "GAN": (0.373, 0.366, 0.383, 0.372, 0.386, 0.424, 0.451, 0.468, 0.463, 0.442, 0.403, 0.385),
        "NCE": (4.224, 4.162, 4.161, 4.161, 4.161, 4.161, 4.161, 4.160, 4.160, 4.160, 4.160, 4.159),
        "NCE_identity": (4.221, 4.162, 4.161, 4.161, 4.161, 4.160, 4.160, 4.160, 4.159, 4.159, 4.160, 4.159),
    },
    "run D": {
        "D": (0.099, 0.012, 0.009, 0.008, 0.007, 0.006, 0.006, 0.006, 0.005, 0.005, 0.003, 0.003),
        "GAN": (0.113, 0.010, 0.007, 0.006, 0.005, 0.005, 0.005, 0.005, 0.004, 0.004, 0.004, 0.004),
        "NCE": (3.220, 1.807, 1.405, 1.261, 1.185, 1.104, 1.104, 1.068, 1.049, 1.037, 0.985, 0.969),
        "NCE_identity": (3.134, 1.721, 1.400, 1.258, 1.148, 1.095, 1.073, 1.077, 1.074, 1.062, 0.996, 0.981),
    },
}
_CAUSES = {"run A": "weight", "run B": "still", "run C": "positions", "run D": "targets"}
_LOOK = {
    "run A": "D goes to 0 and GAN to 1, so the discriminator wins, while `NCE` falls even below the healthy run's. Who "
    "keeps the generator from drawing?",
    "run B": "the discriminator's loss never falls below its first value: nobody works on it",
    "run C": "D and GAN are in balance, but both contrasts lie at log 64 = 4.16 from the second point on. That is "
    "chance: every key is as good as any other",
    "run D": "both adversarial losses go to 0 together: two opponents cannot both win, unless both want the same",
}
_AGAINST = {
    "temperature": "at a temperature of 1 the contrast falls, slowly, and never below 3",
    "detached": "a contrast that nobody learns from has no reason to fall, nor to come to rest at chance",
}


@exercise("four mistakes told by their curves, without a line of their code.")
def broken(answer):
    """{run: key of MISTAKES} for the four runs of CURVES that are not healthy."""
    diagnosed(answer, _CAUSES, MISTAKES, _LOOK, _AGAINST)


__all__ = ["CURVES", "MISTAKES", "STEPS", "broken", "mirror", "nce", "positions"]
