"""Answers to the exercises of `cut`, right and wrong; `test_check.py` asks for their verdicts."""

import torch
from torch.nn import functional

from stlib import check
from stlib.losses.contrastive import patch_nce
from stlib.nets.patch_sampler import PatchSampler


def nce(scores=lambda q, k, t: q @ k.T / t, loss=lambda s: functional.cross_entropy(s, torch.arange(len(s)))):
    return lambda q, k, temperature: loss(scores(q, k.detach(), temperature))


def by_rows(q, k, temperature):
    losses = []
    for i in range(len(q)):
        products = (q[i] * k.detach()).sum(dim=1) / temperature
        losses.append(products.logsumexp(0) - products[i])
    return sum(losses) / len(losses)


def as_published(q, k, temperature):
    """The official code: the own product first, then all, the own one among them -10."""
    k = k.detach()
    own, others = (q * k).sum(1, keepdim=True), (q @ k.T).masked_fill(torch.eye(len(q), dtype=bool), -10)
    scores = torch.cat([own, others], dim=1) / temperature
    return functional.cross_entropy(scores, torch.zeros(len(q), dtype=torch.long))


def own(p):
    return p.diagonal()


def shares(p, dim=1):
    return own(p) / p.sum(dim)


NCE = {
    "right": [
        nce(),
        nce(loss=lambda s: -own(s.log_softmax(dim=1)).mean()),
        by_rows,
        as_published,
        lambda q, k, t: patch_nce(q[None], k[None], t),
    ],
    "the sign": nce(loss=lambda s: own(s.log_softmax(1)).mean()),
    "the temperature is missing: divide": nce(lambda q, k, t: q @ k.T),
    "you multiplied by the temperature": nce(lambda q, k, t: q @ k.T * t),
    "always 0.07": nce(lambda q, k, t: q @ k.T / 0.07),
    "each key with all queries": nce(lambda q, k, t: k @ q.T / t),
    "queries with each other": nce(lambda q, k, t: q @ q.T / t),
    "keys with each other": nce(lambda q, k, t: k @ k.T / t),
    "you summed over the positions": nce(loss=lambda s: -own(s.log_softmax(1)).sum()),
    "the mean probability of the own key: take -log of each": nce(loss=lambda s: own(s.softmax(1)).mean()),
    "not only the minus": nce(loss=lambda s: -own(s.softmax(1)).mean()),
    "1 minus the mean probability": nce(loss=lambda s: 1 - own(s.softmax(1)).mean()),
    "logarithm of the mean": nce(loss=lambda s: -own(s.softmax(1)).mean().log()),
    "left the own key out": nce(loss=lambda s: ((s.exp().sum(1) - own(s).exp()).log() - own(s)).mean()),
    "own key is twice in the sum": nce(loss=lambda s: ((s.exp().sum(1) + own(s).exp()).log() - own(s)).mean()),
    "the mean over the keys below": nce(loss=lambda s: (s.exp().mean(1).log() - own(s)).mean()),
    "were not exponentiated": nce(loss=lambda s: -shares(s).log().mean()),
    "the temperature is missing above": lambda q, k, t: (
        (q @ k.detach().T / t).logsumexp(1) - own(q @ k.detach().T)
    ).mean(),
    "the temperature is missing below": lambda q, k, t: (
        (q @ k.detach().T).logsumexp(1) - own(q @ k.detach().T) / t
    ).mean(),
    "only the own key counts": nce(loss=lambda s: -own(s).mean()),
    "the own key is missing": nce(loss=lambda s: s.logsumexp(1).mean()),
    "the mean over all pairs": nce(loss=lambda s: -s.log_softmax(1).mean()),
    "the softmax is in it twice": nce(loss=lambda s: functional.cross_entropy(s.softmax(1), torch.arange(len(s)))),
    "`exp` is in it twice": nce(loss=lambda s: functional.cross_entropy(s.exp(), torch.arange(len(s)))),
    "twice too large": nce(lambda q, k, t: -torch.cdist(q, k).square() / t),
    "base 2": nce(loss=lambda s: -own(s.softmax(1)).log2().mean()),
    "base 10": nce(loss=lambda s: -own(s.softmax(1)).log10().mean()),
    "one number a position": nce(loss=lambda s: -own(s.log_softmax(1))),
    "of shape (7, 7)": nce(loss=lambda s: -s.log_softmax(1)),
    "returns a str": lambda *_: "a loss",
    "changed its input": lambda q, k, t: nce()(q.data.mul_(2), k, t),
    "there a logarithm of a product": nce(loss=lambda s: -(own(s) - 5).log().mean()),
    "all products of queries and keys": lambda *given: nce()(*given) + 1,
    "nothing can be learnt": lambda *given: nce()(*given).item(),
    "the queries get no gradient": lambda q, k, t: functional.cross_entropy(q.detach() @ k.T / t, torch.arange(len(q))),
    "the keys get a gradient": lambda q, k, t: functional.cross_entropy(q @ k.T / t, torch.arange(len(q))),
    "another gradient than theirs": nce(loss=lambda s: (s.logsumexp(1).detach() - own(s)).mean()),
    "nan at a temperature": nce(loss=lambda s: -shares(s.exp()).log().mean()),
    "inf at a temperature": nce(loss=lambda s: -own(s.softmax(1)).log().mean()),
    "something small was added": nce(loss=lambda s: -(own(s.softmax(1)) + 1e-8).log().mean()),
}


def rows(m):
    return m.permute(0, 2, 3, 1).flatten(1, 2)


def unit(x, dim=-1):
    return functional.normalize(x, dim=dim)


def draw(m, count, generator):
    return torch.randperm(m.shape[2] * m.shape[3], generator=generator)[:count]


def vectors(rows=rows, finish=unit, draw=draw, of_origin=lambda p, m, count, generator: p):
    """As the right answer; `of_origin` makes the origin's positions of the result's."""

    def answer(results, origins, count, generator):
        made = [], []
        for m, o in zip(results, origins, strict=True):
            places = draw(m, count, generator)
            made[0].append(finish(rows(m)[:, places]))
            made[1].append(finish(rows(o)[:, of_origin(places, m, count, generator)]))
        return made

    return answer


def by_rows_and_columns(results, origins, count, generator):
    def look(m, p):
        v = m[:, :, p // m.shape[3], p % m.shape[3]].transpose(1, 2)
        return v / (v.square().sum(dim=2, keepdim=True).sqrt() + 1e-7)

    places = [torch.randperm(m[0, 0].numel(), generator=generator)[:count] for m in results]
    return tuple([look(m, p) for m, p in zip(maps, places, strict=True)] for maps in (results, origins))


def by_sampler(results, origins, count, generator):
    places = [draw(m, count, generator) for m in results]
    sampler = PatchSampler([m.shape[1] for m in results], width=None)
    return sampler(results, places), sampler(origins, places)


def all_first(results, origins, count, generator):
    """Each map normalised before; positions by another draw of the same generator."""
    made = [], []
    for m, o in zip(results, origins, strict=True):
        places = torch.rand(m[0, 0].numel(), generator=generator).argsort()[:count].tolist()
        for part, x in zip(made, (m, o), strict=True):
            part.append(unit(x, 1).flatten(2)[:, :, places].mT)
    return made


def twice(results, origins, count, generator):
    return [[unit(rows(m)[:, draw(m, count, generator)]) for m in maps] for maps in (results, origins)]


def one_for_both(results, origins, count, generator):
    places = draw(results[0], count, generator)
    return [[unit(rows(m)[:, places]) for m in maps] for maps in (results, origins)]


def own_for_each_picture(results, origins, count, generator):
    made = [], []
    for m, o in zip(results, origins, strict=True):
        places = torch.stack([draw(m, count, generator) for _ in m])
        for part, x in zip(made, (m, o), strict=True):
            part.append(unit(torch.stack([r[p] for r, p in zip(rows(x), places, strict=True)])))
    return made


def both(change):
    return lambda *given: [[change(v) for v in part] for part in vectors()(*given)]


POSITIONS = {
    "right": [vectors(), by_rows_and_columns, by_sampler, all_first],
    "of the result have not the length 1: divide each of them": vectors(finish=lambda v: v),
    "without moving the channels": vectors(rows=lambda m: m.reshape(len(m), -1, m.shape[1])),
    "come from the maps of the result": lambda r, o, count, generator: vectors()(r, r, count, generator),
    "come from the maps of the origin": lambda r, o, count, generator: vectors()(o, o, count, generator),
    "are exchanged: return": lambda r, o, count, generator: vectors()(o, r, count, generator),
    "over the positions": vectors(finish=lambda v: unit(v, 1)),
    "over the pictures": vectors(finish=lambda v: unit(v, 0)),
    "absolute values of each vector sum to 1": vectors(finish=lambda v: v / v.abs().sum(-1, keepdim=True)),
    "divided by one length for all": vectors(finish=lambda v: v / v.norm()),
    "point the right way": vectors(finish=lambda v: v / v.norm(dim=-1, keepdim=True).sqrt()),
    "but they stand nowhere": vectors(rows=lambda m: rows(unit(m.flatten(2)).view_as(m))),
    "and stand nowhere": vectors(finish=lambda v: v + 1),
    "in another order": vectors(of_origin=lambda p, *_: p.flip(0)),
    "in different positions": twice,
    "looked at in different positions": vectors(of_origin=lambda p, *given: draw(*given)),
    "a position comes twice": vectors(
        draw=lambda m, count, generator: torch.randint(m[0, 0].numel() // 2, (count,), generator=generator)
    ),
    "its own positions": own_for_each_picture,
    "in the same positions": one_for_both,
    "are always the same": vectors(
        draw=lambda m, count, generator: torch.randperm(m[0, 0].numel(), generator=torch.Generator().manual_seed(0))[
            :count
        ]
    ),
    "hand it on": vectors(draw=lambda m, count, generator: draw(m, count, None)),
    "rows and columns are exchanged": vectors(rows=lambda m: rows(m.mT)),
    "channels come last": both(lambda v: v.mT),
    "all 12 positions": vectors(draw=lambda m, count, generator: draw(m, None, generator)),
    "keep them apart": both(lambda v: v.flatten(0, 1)),
    "has the shape": both(lambda v: v[:, :5]),
    "for two maps": lambda *given: [part[:1] for part in vectors()(*given)],
    "returns 1 things": lambda *given: vectors()(*given)[:1],
    "where a list is expected": lambda *given: [part[0] for part in vectors()(*given)],
    "changed its input": lambda r, o, count, generator: vectors()([m.mul_(2) for m in r], o, count, generator),
}


def flipped(maps, *dims):
    return [m.flip(dims) for m in maps]


def mirrored(queries=lambda f, G, a: flipped(f(G(a.flip(3))), 3), keys=lambda f, G, a: f(a)):
    return lambda features, G, a: (queries(features, G, a), keys(features, G, a))


def in_one_pass(features, G, a):
    """Result and origin looked at together."""
    maps = features(torch.cat([G(torch.flip(a, dims=[-1])), a]))
    return [m[: len(a)].flip(-1) for m in maps], [m[len(a) :] for m in maps]


def without_gradient(features, G, a):
    with torch.no_grad():
        keys = features(a)
    return [m[..., torch.arange(m.shape[3]).flip(0)] for m in features(G(a.flip(3)))], keys


def turned(back, there=(3,), result=()):
    return mirrored(lambda f, G, a: flipped(f(G(a.flip(there)).flip(result) if result else G(a.flip(there))), *back))


MIRROR = {
    "right": [mirrored(), in_one_pass, without_gradient],
    "not mirrored back": mirrored(lambda f, G, a: f(G(a.flip(3)))),
    "was given the picture as it is": mirrored(lambda f, G, a: flipped(f(G(a)), 3)),
    "nothing is mirrored": mirrored(lambda f, G, a: f(G(a))),
    "the picture upside down": turned((2,), (2,)),
    "half a turn": turned((2, 3), (2, 3)),
    "the maps were turned upside down": turned((2,)),
    "the picture was turned upside down": turned((3,), (2,)),
    "reversed the channels": turned((1,)),
    "reversed the pictures": turned((0,)),
    "mirror its *maps*": mirrored(lambda f, G, a: f(G(a.flip(3)).flip(3))),
    "twice on the way back": turned((3,), result=(3,)),
    "never went through": mirrored(lambda f, G, a: flipped(f(a.flip(3)), 3)),
    "went through `G`": mirrored(lambda f, G, a: f(a.flip(3))),
    "your queries are the keys": mirrored(lambda f, G, a: f(a)),
    "queries and keys are exchanged": lambda *given: mirrored()(*given)[::-1],
    "your queries are not those maps": mirrored(lambda f, G, a: [m + 1 for m in f(a)]),
    "your keys are those of the mirrored": mirrored(keys=lambda f, G, a: f(a.flip(3))),
    "your keys were mirrored twice": mirrored(keys=lambda f, G, a: flipped(f(a.flip(3)), 3)),
    "you mirrored the keys": mirrored(keys=lambda f, G, a: flipped(f(a), 3)),
    "your keys are the queries": lambda *given: mirrored()(*given)[:1] * 2,
    "your keys come from a result": mirrored(keys=lambda f, G, a: f(G(a))),
    "your keys are not the maps": mirrored(keys=lambda f, G, a: [m + 1 for m in f(a)]),
    "the generator learns nothing": lambda *given: [[m.detach() for m in maps] for maps in mirrored()(*given)],
    "your queries are 1": mirrored(lambda f, G, a: flipped(f(G(a.flip(3)))[:1], 3)),
    "has the shape": mirrored(keys=lambda f, G, a: [m[:1] for m in f(a)]),
    "two lists are expected": lambda f, G, a: f(a)[0],
    "changed its input": lambda f, G, a: mirrored()(f, G, a.copy_(a.flip(3))),
}

CAUSES = {"run A": "weight", "run B": "still", "run C": "positions", "run D": "targets"}
BROKEN = {
    "right": [CAUSES, dict(reversed(CAUSES.items())) | {"healthy": "detached"}],
    "run A again": CAUSES | {"run A": "targets", "run D": "weight"},
    "run B again": CAUSES | {"run B": "positions"},
    "run C again": CAUSES | {"run C": "temperature"},
    "never below 3": CAUSES | {"run C": "temperature"},
    "run D again": CAUSES | {"run D": "detached"},
    "no reason to fall": CAUSES | {"run D": "detached"},
    "the same answer 4 times": dict.fromkeys(CAUSES, "temperature"),
    "each has another one": dict.fromkeys(CAUSES, "still"),
    "no answer for run D": {run: cause for run, cause in CAUSES.items() if run != "run D"},
    "is not on the list": CAUSES | {"run A": "bad luck"},
    "give a dict": list(CAUSES.values()),
}

CHECKS = {"nce": NCE, "positions": POSITIONS, "mirror": MIRROR, "broken": BROKEN}


def test_dots_in_a_diagnosis_are_not_attempted():
    assert check.cut.broken(CAUSES | {"run B": ...}).status == "not attempted"


def test_the_curves_have_all_steps():
    curves, steps = check.cut.CURVES, check.cut.STEPS
    assert all(len(values) == len(steps) for run in curves.values() for values in run.values())
    assert {*curves} == {"healthy", *CAUSES} and {*CAUSES.values()} < {*check.cut.MISTAKES}


def test_the_mistakes_are_those_of_the_script():
    from cut_mistakes import MISTAKES

    assert {*MISTAKES} == {*check.cut.MISTAKES}
