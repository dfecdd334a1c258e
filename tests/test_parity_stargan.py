"""Against numbers computed with the official code of StarGAN v2 (tests/parity/starganv2; sources in its README).

The losses, the iteration, the averages and the falling weight are those of the chapter `stargan`. With a trap of other
implementations written into the chapter's text, each must miss the official numbers.
"""

import contextlib
import math
from types import SimpleNamespace

import pytest
import torch
from official import BOTH, DOUBLE, SINGLE, Official, near, off
from stargan_mistakes import MISTAKES, chapter_with
from test_parity_cyclegan import with_weights

from stlib.nets import stargan

official = Official("starganv2")
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(not official.folder.exists(), reason="the official numbers of StarGAN v2 are not here"),
]


# Blocks ---------------------------------------------------------------------------------------------------------------

BLOCKS = {  # layer, and what it is given
    "adain": (lambda: stargan.AdaIN(5, 8), "x s"),
    "res_down": (lambda: stargan.ResBlock(5, 7, normalize=True, halves=True), "x_even"),
    "res_plain": (lambda: stargan.ResBlock(5, 5), "x"),
    "ada_up": (lambda: stargan.StyledBlock(5, 7, 8, doubles=True), "x s"),
    "ada_hpf": (lambda: stargan.StyledBlock(5, 5, 8, shortcut=False), "x s"),
}


@BOTH
@pytest.mark.parametrize("name", BLOCKS)
def test_blocks(name, dtype):
    case, exact, tolerance = official.case("blocks", dtype, 1e-11, 1e-5)
    build, given = BLOCKS[name]
    layer = with_weights(build(), case, name)
    near(layer(*(case[key] for key in given.split())), exact[f"{name}_out"], tolerance, relative=False)


@BOTH
def test_high_pass(dtype):
    case, exact, tolerance = official.case("blocks", dtype, 1e-11, 1e-5)
    near(stargan.high_pass(case["x"], 1.0), exact["highpass_out"], tolerance)


def test_traps_of_the_blocks_are_noticed():
    case = official.numbers("blocks")
    layer, expected = with_weights(stargan.AdaIN(5, 8), case, "adain"), case["adain_out"]
    gamma, beta = layer.fc(case["s"])[:, :, None, None].chunk(2, dim=1)
    normed = layer.norm(case["x"])
    assert off((1 + gamma) * normed + beta, expected) < 1e-12
    for wrong in (gamma * normed + beta, (1 + beta) * normed + gamma):
        assert off(wrong, expected) > 1e-2
    kept = with_weights(stargan.StyledBlock(5, 5, 8), case, "ada_hpf")(case["x"], case["s"])
    assert off(kept, case["ada_hpf_out"]) > 1e-2  # with a shortcut where the official code has none


# Networks -------------------------------------------------------------------------------------------------------------


def networks(case):
    """The four networks with the official first weights."""
    build = {
        "G": stargan.Generator(32, 8, 4, 8),
        "F": stargan.Mapping(3, 4, 8, 12),
        "E": stargan.StyleEncoder(3, 32, 8, 4, 8),
        "D": stargan.Discriminator(3, 32, 4, 8),
    }
    return SimpleNamespace(**{key: with_weights(net, case, key) for key, net in build.items()})


KEYS = {  # official names of the first and the last parameters
    "G": ("from_rgb.weight", "encode.0.conv1.weight", "decode.0.norm1.fc.weight", "to_rgb.2.bias"),
    "F": ("shared.0.weight", "shared.6.bias", "unshared.0.0.weight", "unshared.2.6.bias"),
    "E": ("shared.0.weight", "shared.1.conv1x1.weight", "shared.5.weight", "unshared.2.bias"),
    "D": ("main.0.weight", "main.1.conv1x1.weight", "main.5.weight", "main.7.bias"),
}


@BOTH
def test_networks(dtype):
    case, exact, tolerance = official.case("losses", dtype, 1e-9, 1e-4)
    n = networks(case)
    for name, keys in KEYS.items():
        assert set(keys) <= set(getattr(n, name).state_dict()), name
    s = n.F(case["z"], case["y_trg"])
    near(s, exact["style_latent"], tolerance)
    near(n.E(case["x_ref"], case["y_trg"]), exact["style_reference"], tolerance)
    near(n.G(case["x_real"], s)[..., ::2, ::2], exact["G_out"], tolerance)
    near(n.D(case["x_real"], case["y_org"]), exact["D_out"], tolerance)
    near(n.D.logits(case["x_real"]), exact["D_all"], tolerance)


def test_parameter_counts():
    for size, domains, skips, *expected in official.numbers("parameter_counts")["counts"].tolist():
        width, halvings = 2**14 // size, int(math.log2(size)) - 4 + bool(skips)
        with torch.device("meta"):
            nets = (
                stargan.Generator(size, width=width, halvings=halvings),
                stargan.Mapping(domains),
                stargan.StyleEncoder(domains, size, width=width),
                stargan.Discriminator(domains, size, width),
            )
        assert [sum(p.numel() for p in net.parameters()) for net in nets] == expected


# Losses and their gradients -------------------------------------------------------------------------------------------

PLAN = dict(rate=1e-4, decay=1e-4, style=1.0, diversity=1.0, cycle=1.0, fade=100_000, r1=1.0, r1_every=1)
KINDS = {"noise": "latent", "reference": "reference"}
PLAIN = SimpleNamespace(autocast=contextlib.nullcontext, step=0)


def gradient_of(loss, n, name):
    """The gradient for the parameter that the fixtures call `name`, such as G.31 or D.head."""
    network, place = name.split(".")
    parameters = [*getattr(n, network).parameters()]
    parameter = parameters[-2] if place == "head" else parameters[int(place)]
    (gradient,) = torch.autograd.grad(loss, parameter, retain_graph=True, allow_unused=True)
    return torch.zeros_like(parameter) if gradient is None else gradient


def mistakes(dtype, changes=()):
    """How far losses and gradients at the initial weights are off the official ones, in multiples of the tolerance."""
    case, exact, chapter = official.numbers("losses", dtype), official.numbers("losses"), chapter_with(*changes)
    n, (of_values, of_gradients) = networks(case), (1e-9, 1e-7) if dtype == DOUBLE else (1e-4, 1e-3)
    x, y, target = case["x_real"], case["y_org"], case["y_trg"]
    codes = {
        "noise": [n.F(case[z], target) for z in ("z", "z2")],
        "reference": [n.E(case[r], target) for r in ("x_ref", "x_ref2")],
    }
    told = {"values": 0.0, "gradients": 0.0}
    for kind, named in KINDS.items():
        d = chapter.d_loss(PLAIN, n.D, x, y, n.G(x, codes[kind][0]).detach(), target, PLAN["r1"])
        terms = chapter.g_terms(n, x, y, target, *codes[kind])
        weights = dict(adversary=1.0, style=1.0, diversity=-chapter.diversity_weight(0, PLAN), cycle=1.0)
        g = sum(weights[name] * term for name, term in terms.items())
        found = torch.stack([d, g, *terms.values()]).detach().double()
        expected = torch.cat([exact[f"{named}.d"][:1], exact[f"{named}.g"]])
        told["values"] = max(told["values"], ((found / expected - 1).abs().max() / of_values).item())
        for name in [name for name in exact if name.startswith(f"{named}.") and "_grad_" in name]:
            loss, parameter = name.removeprefix(f"{named}.").split("_grad_")
            gradient = gradient_of({"d": d, "g": g}[loss], n, parameter)
            told["gradients"] = max(told["gradients"], off(gradient, exact[name]) / of_gradients)
    return told


@BOTH
def test_losses_and_gradients(dtype):
    found = mistakes(dtype)
    assert max(found.values()) <= 1, found


TRAPS = {
    "R1 without its half": ("weight / 2 * adversarial.r1", "weight * adversarial.r1"),
    "both pictures learn": ("    with torch.no_grad():\n        other", "    if True:\n        other"),
    "the first picture is detached": ("distance(made, other)", "distance(made.detach(), n.G.paint(maps, s2))"),
    "the sign of the diversity": ('return plan["diversity"] * max', 'return -plan["diversity"] * max'),
    "D of the wrong domain": MISTAKES["domain"],
    "the way back with the wanted code": MISTAKES["back"],
    "squares instead of absolute values": ("(x - y).abs().mean()", "(x - y).square().mean()"),
    "the code is detached": ("distance(n.E(made, target), s)", "distance(n.E(made, target), s.detach())"),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_are_noticed(trap):
    found = mistakes(SINGLE, [TRAPS[trap]])
    assert max(found.values()) > 10, found


# A whole iteration ----------------------------------------------------------------------------------------------------


class Watched:
    """As much of `training.Run` as a step needs, without autocast; `changed` tells which networks each step moved."""

    def __init__(self, n, optimizers):
        self.modules, self.optimizers, self.step, self.changed = vars(n), optimizers, 0, []
        self.autocast, self.accelerator = contextlib.nullcontext, SimpleNamespace(backward=self.backward)

    def backward(self, loss, inputs):
        self.changed.append(set())
        for net in self.modules.values():
            net.zero_grad(set_to_none=True)
        loss.backward(inputs=inputs)

    def update(self, name):
        before = [p.detach().clone() for p in self.modules[name].parameters()]
        self.optimizers[name].step()
        if any(not torch.equal(p, q) for p, q in zip(self.modules[name].parameters(), before, strict=True)):
            self.changed[-1].add(name)

    def descend(self, name, loss):
        self.backward(loss, [*self.modules[name].parameters()])
        self.update(name)
        return loss.detach()


def iteration(dtype, changes=(), kept=None):
    """How far an iteration is off the official one, in multiples of the tolerance: (losses, weights), and the run."""
    case, exact = official.numbers("losses", dtype), official.numbers("train_iteration")
    chapter, n = chapter_with(*changes), networks(case)
    averages = torch.nn.ModuleDict({key: networks(case).__dict__[key] for key in "GFE"})
    for p in averages.parameters():
        p.data.mul_(0.5)
    released, run = chapter.Released(averages), Watched(n, chapter.adams(n, PLAN))
    batch = case["x_real"], case["y_org"], (case["x_ref"], case["x_ref2"]), case["y_trg"]
    losses = chapter.step(run, n, batch, (case["z"], case["z2"]), PLAN)
    released.update(n)
    terms = ("adversary", "style", "diversity", "cycle")
    rows = [losses[f"D, {kind}"][None] for kind in KINDS]
    rows += [torch.stack([losses[f"{term}, {kind}"] for term in terms]) for kind in KINDS]
    expected = [*exact["losses"][:2, :1], *exact["losses"][2:, 1:]]
    of_losses = max(
        off(row.double() / wanted, torch.ones_like(wanted)) for row, wanted in zip(rows, expected, strict=True)
    )
    of_weights = []
    for name in [name for name in exact if name.split(".")[0] in ("after", "ema")]:
        which, network, place = name.split(".")
        parameters = [*(n if which == "after" else SimpleNamespace(**averages)).__dict__[network].parameters()]
        parameter = parameters[-2] if place == "head" else parameters[int(place)]
        rate = 1e-6 if network == "F" else 1e-4
        tolerance = 1e-9 if dtype == DOUBLE else 0.1 * rate
        of_weights.append(off(parameter.detach(), exact[name], relative=False) / tolerance)
    return of_losses / (1e-9 if dtype == DOUBLE else 1e-5), max(of_weights), run


@BOTH
def test_an_iteration(dtype):
    of_losses, of_weights, run = iteration(dtype)
    assert max(of_losses, of_weights) <= 1
    moved = official.numbers("train_iteration")["changed"].bool().tolist()
    assert run.changed == [{name for name, yes in zip("GFED", row, strict=True) if yes} for row in moved]


OF_THE_ITERATION = {
    "AdamW": ("torch.optim.Adam(", "torch.optim.AdamW("),
    "no pull of the weights": ('weight_decay=plan["decay"]', "weight_decay=0.0"),
    "F at the full rate": ('plan["rate"] / (100 if key == "F" else 1)', 'plan["rate"]'),
    "the references move E": ('"reference": "G"}', '"reference": "GE"}'),
    "Adam's usual momentum": ("(0.0, 0.99)", "(0.9, 0.99)"),
}


@pytest.mark.parametrize("trap", OF_THE_ITERATION)
def test_traps_of_an_iteration_are_noticed(trap):
    of_losses, of_weights, _ = iteration(DOUBLE, [OF_THE_ITERATION[trap]])
    assert max(of_losses, of_weights) > 10


def test_the_falling_weight_as_released_and_as_described():
    chapter, expected = chapter_with(), official.numbers("train_iteration")["lambda_ds"].tolist()
    assert chapter.released_weights(1.0, 7, 12) == expected  # to the last bit, with its step below 0
    ours = [chapter.diversity_weight(step, dict(diversity=1.0, fade=7)) for step in range(12)]
    assert ours == pytest.approx([max(0.0, weight) for weight in expected], abs=1e-12)


def test_what_is_left_of_the_first_average():
    expected = official.numbers("train_iteration")["ema_zero_start_share"]
    assert [0.999**n for n in (1, 10, 100, 1000)] == pytest.approx(expected.tolist(), abs=1e-15)
    chapter, zero, ones = chapter_with(), torch.nn.Linear(2, 2).double(), torch.nn.Linear(2, 2).double()
    for net, value in ((zero, 0.0), (ones, 1.0)):
        for p in net.parameters():
            p.data.fill_(value)
    average = chapter.Released(torch.nn.ModuleDict({"G": ones}))
    for n in range(1, 101):
        average.update(SimpleNamespace(G=zero))
        if n in (1, 10, 100):
            share = expected[(1, 10, 100).index(n)].item()
            assert all((p - share).abs().max() < 1e-12 for p in average.nets["G"].parameters())
