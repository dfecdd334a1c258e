"""Answers to the exercises of `gan`, right and wrong; `test_check.py` asks for their verdicts."""

import copy

import torch
from torch.nn import functional
from torch.nn.functional import softplus

from stlib import check


def both(d=lambda r, f: softplus(-r).mean() + softplus(f).mean(), g=lambda r, f: softplus(-f).mean()):
    return lambda real, fake: (d(real, fake), g(real, fake))


def with_logits(logits, label):
    return functional.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def of_sigmoid(logits, label):
    return functional.binary_cross_entropy(logits.sigmoid(), torch.full_like(logits, label))


LOSSES = {
    "right": [
        both(),
        both(lambda r, f: with_logits(r, 1.0) + with_logits(f, 0.0), lambda r, f: with_logits(f, 1.0)),
        both(lambda r, f: -(functional.logsigmoid(r) + functional.logsigmoid(-f)).mean()),
    ],
    "the loss of G is a str": both(g=lambda r, f: "small"),
    "exchanged: return D's first": lambda r, f: both()(r, f)[::-1],
    "D's loss is halved": both(d=lambda r, f: (softplus(-r).mean() + softplus(f).mean()) / 2),
    "D's loss is a sum over": both(d=lambda r, f: softplus(-r).sum() + softplus(f).sum()),
    "D's loss has the wrong sign": both(d=lambda r, f: -softplus(-r).mean() - softplus(f).mean()),
    "D's labels are exchanged": both(d=lambda r, f: softplus(r).mean() + softplus(-f).mean()),
    "lacks the fakes": both(d=lambda r, f: softplus(-r).mean()),
    "lacks the real pictures": both(d=lambda r, f: softplus(f).mean()),
    "there is a sigmoid too many: softplus": both(
        d=lambda r, f: softplus(-r.sigmoid()).mean() + softplus(f.sigmoid()).mean()
    ),
    "least squares": both(d=lambda r, f: (r - 1).square().mean() + f.square().mean()),
    "D's loss is ": both(d=lambda r, f: softplus(-r).mean() + 2 * softplus(f).mean()),
    "G's loss saturates": both(g=lambda r, f: -softplus(f).mean()),
    "works against itself": both(g=lambda r, f: softplus(f).mean()),
    "G's loss is a sum over": both(g=lambda r, f: softplus(-f).sum()),
    "G's loss is halved": both(g=lambda r, f: softplus(-f).mean() / 2),
    "G's loss has the wrong sign": both(g=lambda r, f: -softplus(-f).mean()),
    "hinge": both(g=lambda r, f: -f.mean()),
    "too many in G's loss": both(g=lambda r, f: softplus(-f.sigmoid()).mean()),
    "from the real pictures": both(g=lambda r, f: softplus(-r).mean()),
    "compute one picture by hand": both(g=lambda r, f: softplus(-f).mean() + 1),
    "not finite for": both(
        lambda r, f: -(r.sigmoid().log() + (1 - f.sigmoid()).log()).mean(), lambda r, f: -f.sigmoid().log().mean()
    ),
    "cuts the loss at 100": both(lambda r, f: of_sigmoid(r, 1.0) + of_sigmoid(f, 0.0), lambda r, f: of_sigmoid(f, 1.0)),
    "but not for": both(lambda r, f: (softplus(-r.clamp(-30, 30)) + softplus(f.clamp(-30, 30))).mean()),
    "has the shape": both(g=lambda r, f: softplus(-f)),
    "returns one thing": lambda r, f: softplus(-r).mean(),
    "changed its input": lambda r, f: both()(r.mul_(2), f),
}


def freezing(learns=lambda D, kept: [*D.blocks[len(D.blocks) - kept :], D.head], clear=True, finish=lambda D: D):
    def answer(D, kept):
        D.requires_grad_(False)
        for module in learns(D, kept):
            module.requires_grad_(True)
        for parameter in D.parameters():
            if clear and not parameter.requires_grad:
                parameter.grad = None
        return finish(D)

    return answer


def by_names(D, kept):
    last = tuple(f"blocks.{i}." for i in range(len(D.blocks) - kept, len(D.blocks))) + ("head.",)
    for name, parameter in D.named_parameters():
        if not name.startswith(last):
            parameter.requires_grad, parameter.grad = False, None
    return D


def without_gradient(D):
    forward = D.forward
    D.forward = torch.no_grad()(forward)
    return D


def zeroed(D):
    for parameter in D.parameters():
        if parameter.grad is not None:
            parameter.grad.zero_()
    return D


FREEZE = {
    "right": [freezing(), by_names, freezing(finish=lambda D: D.zero_grad() or D)],
    "nothing is frozen": lambda D, kept: D,
    "everything is frozen": freezing(lambda D, kept: []),
    "the head is frozen": freezing(lambda D, kept: D.blocks[len(D.blocks) - kept :]),
    "kept the *first* blocks": freezing(lambda D, kept: [*D.blocks[:kept], D.head]),
    "all blocks are frozen": freezing(lambda D, kept: [D.head]),
    "parts are exchanged": freezing(lambda D, kept: [D.colours, *D.blocks[: len(D.blocks) - kept]]),
    "the layer for the colours still learns": freezing(
        lambda D, kept: [D.colours, *D.blocks[len(D.blocks) - kept :], D.head]
    ),
    "`kept` may be": freezing(lambda D, kept: [*D.blocks[-2:], D.head]),
    "what learns is": freezing(lambda D, kept: [D.blocks[1], D.blocks[3], D.head]),
    "no gradient passes": freezing(finish=without_gradient),
    "is frozen and still moves": freezing(clear=False, finish=zeroed),
    "returned a copy": freezing(finish=copy.deepcopy),
    "the network is expected": freezing(finish=lambda D: [n for n, p in D.named_parameters() if p.requires_grad]),
}

RIGHT = {number: check.gan.cause(run) for number, run in check.gan.RUNS.items()}
NUMBER = {cause: number for number, cause in RIGHT.items()}


def exchanged(a, b):
    """The right answer with two causes in each other's place."""
    return lambda: RIGHT | {NUMBER[a]: b, NUMBER[b]: a}


DIAGNOSIS = {
    "right": [lambda: dict(RIGHT), lambda: {str(number): cause for number, cause in RIGHT.items()}],
    "is not 'collapse'": exchanged("G does not learn", "collapse"),
    "is not 'saturating loss'": exchanged("G does not learn", "saturating loss"),
    "is not 'healthy'": exchanged("healthy", "collapse"),
    "is not 'D does not learn'": exchanged("saturating loss", "D does not learn"),
    "is not 'G does not learn'": exchanged("D does not learn", "G does not learn"),
    "is not among the causes": lambda: RIGHT | {2: "bad luck"},
    "twice": lambda: RIGHT | {1: RIGHT[2]},
    "name a cause for each": lambda: {1: "healthy"},
    "a dict": lambda: list(RIGHT.values()),
}
CHECKS = {"losses": LOSSES, "freeze": FREEZE, "diagnosis": DIAGNOSIS}


def test_a_diagnosis_half_done_is_not_attempted():
    assert check.gan.diagnosis(lambda: RIGHT | {3: ...}).status == "not attempted"
    assert check.gan.losses(lambda real, fake: (softplus(-real).mean(), ...)).status == "not attempted"


def test_every_wrong_pair_of_causes_is_contradicted_by_its_own_sentence():
    assert set(check.gan.AGAINST) == set(check.gan.CAUSES)
    assert len({*check.gan.AGAINST.values()}) == len(check.gan.CAUSES)
