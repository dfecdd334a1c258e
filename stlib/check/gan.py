"""Checks of the exercises in `2_gan/gan`."""

import copy
import math
import numbers

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy, softplus

from stlib.check import Wrong, exercise, kind

# gan-losses -----------------------------------------------------------------------------------------------------------


def _near(a, b):
    return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6)


def _pair(result, called):
    """The two losses as numbers."""
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise Wrong(f"{called} returns one thing; return two, D's loss and G's: `return d, g`.")
    if any(part is ... for part in result):
        from stlib.check import NotAttempted

        raise NotAttempted
    for name, part in zip("DG", result, strict=True):
        if torch.is_tensor(part) and part.numel() > 1:
            raise Wrong(f"the loss of {name} has the shape {tuple(part.shape)}: it is a mean over the batch.")
        if not torch.is_tensor(part) and not isinstance(part, numbers.Real):
            raise Wrong(f"the loss of {name} is {kind(part)}; a number is expected.")
    return [float(part) for part in result]


@exercise("finite for any logit, and G has its slope where it needs one.")
def losses(answer):
    """(d, g): E softplus(-real) + E softplus(fake), and E softplus(-fake)."""
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, 12, generator=generator, dtype=torch.float64) * 2 + torch.tensor([[0.5], [-0.8]])
    before = real.clone(), fake.clone()
    d, g = _pair(answer(real, fake), "your function")
    if not (torch.equal(real, before[0]) and torch.equal(fake, before[1])):
        raise Wrong("your function changed its input: make new tensors.")

    def plus(t):
        return softplus(t).mean().item()

    right_d, right_g = plus(-real) + plus(fake), plus(-fake)
    if _near(d, right_g) and _near(g, right_d):
        raise Wrong("the two losses are exchanged: return D's first.")
    if not _near(d, right_d):
        squared = ((real - 1).square().mean() + fake.square().mean()).item()
        for wrong, saying in (
            (right_d / 2, "D's loss is halved: the sum of its two means is asked for"),
            (12 * right_d, "D's loss is a sum over the batch: take means"),
            (-right_d, "D's loss has the wrong sign: it is to be *minimised*"),
            (plus(real) + plus(-fake), "D's labels are exchanged: it is to raise real logits and to lower fake ones"),
            (plus(-real), "D's loss lacks the fakes: then the logit of everything grows"),
            (plus(fake), "D's loss lacks the real pictures: then D rejects everything"),
            (plus(-real.sigmoid()) + plus(fake.sigmoid()), "there is a sigmoid too many: softplus takes the logits"),
            (squared, "those are least squares; the logistic loss is asked for"),
        ):
            if _near(d, wrong):
                raise Wrong(f"{saying}.")
        raise Wrong(f"D's loss is {d:.4f} where {right_d:.4f} is expected; compute one picture by hand.")
    if not _near(g, right_g):
        for wrong, saying in (
            (-plus(fake), "G's loss saturates: where D is sure, it has no slope. Maximise log sigma(D(G(z))) instead"),
            (plus(fake), "G works against itself: this loss falls when D *rejects* its pictures"),
            (12 * right_g, "G's loss is a sum over the batch: take the mean"),
            (right_g / 2, "G's loss is halved"),
            (-right_g, "G's loss has the wrong sign: it is to be *minimised*"),
            (-fake.mean().item(), "that is G's hinge or Wasserstein loss; the logistic one is asked for"),
            (plus(-fake.sigmoid()), "there is a sigmoid too many in G's loss: softplus takes the logit"),
            (plus(-real), "G's loss is computed from the real pictures: it sees only its own"),
        ):
            if _near(g, wrong):
                raise Wrong(f"{saying}.")
        raise Wrong(f"G's loss is {g:.4f} where {right_g:.4f} is expected; compute one picture by hand.")
    for sign in (1, -1):
        extreme = torch.full((3,), 200.0 * sign)
        d, g = _pair(answer(-extreme, extreme), "your function")
        wanted = softplus(extreme).mean().item()
        clamped = binary_cross_entropy(extreme.sigmoid(), torch.zeros(3)).item()
        if not (math.isfinite(d) and math.isfinite(g)):
            raise Wrong(f"right for small logits, not finite for {200 * sign}: sigmoid has reached 0 or 1 there.")
        if not (_near(d, 2 * wanted) and _near(g, softplus(-extreme).mean().item())):
            if _near(d, 2 * clamped) or _near(g, 100.0):
                raise Wrong(f"right for small logits; at {200 * sign} BCELoss cuts the loss at 100, where no slope is.")
            raise Wrong(f"right for small logits, but not for {200 * sign}: use softplus, or BCE *with logits*.")


# gan-freeze -----------------------------------------------------------------------------------------------------------


class _Network(nn.Module):
    """A discriminator in small: a layer for the colours, blocks, a head."""

    def __init__(self):
        super().__init__()
        self.colours = nn.Linear(3, 4)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(4)])
        self.head = nn.Linear(4, 1)

    def forward(self, x):
        x = self.colours(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def _trained():
    """A network that has taken a step, so that gradients lie about and Adam has momentum."""
    torch.manual_seed(0)
    network = _Network()
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    network(torch.randn(5, 3)).square().sum().backward()
    optimizer.step()
    return network, optimizer


def _learning(network):
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


@exercise("the lower layers stay as they are, old gradients included, and G still gets its own.")
def freeze(answer):
    """A network of which only the last `kept` blocks and the head learn."""
    for kept in (2, 1):
        network, optimizer = _trained()
        everything = _learning(network)
        blocks = [{name for name in everything if name.startswith(f"blocks.{i}.")} for i in range(4)]
        head = {name for name in everything if name.startswith("head.")}
        result = answer(network, kept)
        if not isinstance(result, nn.Module):
            raise Wrong(f"your function returns {kind(result)}; the network is expected.")
        if result is not network:
            raise Wrong("you returned a copy: the optimiser still holds the parameters of the network you were given.")
        learning, wanted = _learning(network), set().union(head, *blocks[-kept:])
        for wrong, saying in (
            (everything, "everything still learns: nothing is frozen"),
            (set(), "everything is frozen, the head too: nothing is left that could learn"),
            (wanted - head, "the head is frozen: without it D cannot change its mind"),
            (set().union(head, *blocks[:kept]), "you kept the *first* blocks: those at the picture are to be frozen"),
            (head, "all blocks are frozen: the last ones are to learn"),
            (everything - wanted, "frozen and learning parts are exchanged"),
            (wanted | {"colours.weight", "colours.bias"}, "the layer for the colours still learns: it lies lowest"),
            (set().union(head, *blocks[-2:]), f"right for 2 blocks, but `kept` may be {kept}"),
        ):
            if learning == wrong != wanted:
                raise Wrong(f"{saying}.")
        if learning != wanted:
            raise Wrong(f"what learns is {sorted(learning)}; {sorted(wanted)} is expected.")
        x = torch.randn(5, 3, requires_grad=True)
        logits = network(x)
        if (
            not logits.requires_grad
            or torch.autograd.grad(logits.sum(), x, retain_graph=True, allow_unused=True)[0] is None
        ):
            raise Wrong("no gradient passes through D any more: G would learn nothing. Freeze weights, not the pass.")
        before = copy.deepcopy(network.state_dict())
        logits.sum().backward()
        optimizer.step()
        still = [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])]
        if moved := sorted(set(still) - wanted):
            raise Wrong(
                f"{moved[0]} is frozen and still moves: its old gradient, or one of zeros with Adam's momentum, is "
                "stepped along. Set `.grad` to None."
            )


# gan-diagnosis --------------------------------------------------------------------------------------------------------

CAUSES = ("healthy", "D does not learn", "G does not learn", "saturating loss", "collapse")
STEPS = range(100, 1501, 100)  # each value is a mean over the 100 steps before; made by `broken_run` in the tests
_CURVES = {
    (1, "D"): ".469 .019 .0049 .0022 .0013 .0008 .0006 .0004 .0003 .0003 .0002 .0002 .0002 .0001 .0001",
    (1, "G"): "1.95 4.7 6 6.78 7.33 7.78 8.15 8.46 8.73 8.97 9.19 9.39 9.57 9.75 9.91",
    (1, "gradient"): ".875 2.52 3.33 3.79 4.09 4.34 4.58 4.72 4.9 5.04 5.09 5.14 5.28 5.4 5.52",
    (1, "modes"): "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
    (2, "D"): "1.29 1.4 1.34 1.39 1.34 1.4 1.39 1.37 1.31 1.41 1.38 1.35 1.37 1.28 1.3",
    (2, "G"): ".827 .775 .724 .729 .721 .771 .703 .701 .76 .798 .715 .739 .786 .727 .805",
    (2, "gradient"): "1.98 2.18 1.04 1.35 .796 1.26 .581 .822 .539 1.63 .465 .76 .934 .735 .892",
    (2, "modes"): "1 0 0 1 1 1 1 1 0 0 0 0 1 0 0",
    (3, "D"): "2.1 .408 .173 .061 .0233 .0107 .0059 .0038 .0026 .0019 .0014 .0011 .0009 .0007 .0006",
    (3, "G"): "8.06 13.9 9.27 7.44 8.6 9.31 9.78 10.2 10.5 10.8 11.1 11.3 11.6 11.8 12",
    (3, "gradient"): ".805 .115 .0644 .0429 .0197 .0101 .0059 .0039 .0028 .002 .0015 .0013 .001 .0008 .0007",
    (3, "modes"): "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
    (4, "D"): "1.28 1.33 1.34 1.35 1.35 1.35 1.36 1.36 1.37 1.37 1.37 1.37 1.37 1.37 1.38",
    (4, "G"): ".764 .725 .722 .716 .713 .713 .709 .706 .705 .704 .702 .701 .7 .699 .699",
    (4, "gradient"): ".192 .114 .197 .199 .147 .161 .126 .126 .121 .123 .127 .125 .112 .118 .122",
    (4, "modes"): "0 1 5 6 8 8 7 8 8 8 8 8 8 8 8",
    (5, "D"): "2.16 4.78 6.37 7.38 8.1 8.68 9.15 9.57 9.92 10.3 10.6 10.8 11 11.3 11.5",
    (5, "G"): ".349 .0301 .0078 .0034 .0019 .0012 .0008 .0006 .0004 .0003 .0003 .0002 .0002 .0001 .0001",
    (5, "gradient"): ".21 .0641 .0213 .0103 .0063 .0041 .003 .0022 .0017 .0013 .0011 .0009 .0007 .0006 .0005",
    (5, "modes"): "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
}
RUNS = {
    number: {name: [float(x) for x in _CURVES[number, name].split()] for name in ("D", "G", "gradient", "modes")}
    for number in range(1, 6)
}
AGAINST = {  # what speaks against a cause in the curves of any other run
    "healthy": "a healthy generator ends with all eight points; look at the last panel",
    "D does not learn": "where D does not answer G, its loss grows and grows; here it falls or stays",
    "G does not learn": "a G that stands still keeps a long gradient beside a losing game; look at the third panel",
    "saturating loss": "there G's gradient vanishes *while* D wins, and D's loss is near 0; here it is not so",
    "collapse": "a collapsed G fools D at one point after the other: D's loss stays near 1.39 and few points are ever "
    "covered; here one of the two is not so",
}


def cause(run):
    """What is the matter with a training, by its curves."""
    if run["modes"][-1] == 8:
        return "healthy"
    if run["D"][-1] > 2:
        return "D does not learn"
    if run["D"][-1] > 0.5:
        return "collapse"
    return "saturating loss" if run["gradient"][-1] < 0.01 else "G does not learn"


@exercise("five trainings, five causes, read off four curves.")
def diagnosis(answer):
    """{1: cause, ..., 5: cause} of the trainings in RUNS."""
    told = answer()
    if not isinstance(told, dict):
        raise Wrong(f"your function returns {kind(told)}; a dict {{1: cause, ..., 5: cause}} is expected.")
    told = {int(key): value for key, value in told.items()}
    if set(told) != set(RUNS):
        raise Wrong(f"name a cause for each of the trainings 1 to 5; you named {sorted(told)}.")
    if any(value is ... for value in told.values()):
        from stlib.check import NotAttempted

        raise NotAttempted
    if unknown := [value for value in told.values() if value not in CAUSES]:
        raise Wrong(f"{unknown[0]!r} is not among the causes; they are: {', '.join(CAUSES)}.")
    if len(set(told.values())) < len(CAUSES):
        twice = next(value for value in told.values() if list(told.values()).count(value) > 1)
        raise Wrong(f"you name {twice!r} twice: each of the five causes occurs once.")
    wrong = [number for number, run in RUNS.items() if told[number] != cause(run)]
    if wrong:
        raise Wrong("; ".join(f"training {n} is not {told[n]!r}: {AGAINST[told[n]]}" for n in wrong) + ".")
