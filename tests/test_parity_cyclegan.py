"""Against numbers computed with the official PyTorch code (tests/parity/cyclegan; sources in its README).

The training step is that of the chapter `cyclegan`. With a trap of other implementations written into the chapter's
text, each must miss the official numbers.
"""

import contextlib
import random
from types import SimpleNamespace

import pytest
import torch
from cyclegan_mistakes import MISTAKES, WEIGHTS, chapter_with
from official import BOTH, DOUBLE, SINGLE, Official, near, off
from torch import nn

from stlib.losses import adversarial
from stlib.nets import patchgan, resnet
from stlib.training import ImagePool, linear_decay

official = Official("cyclegan")
pytestmark = pytest.mark.usefixtures("one_thread")


def with_weights(network, case, prefix):
    """`network` with the weights PREFIX.00, PREFIX.01, ... of a case, which are in the order of its parameters."""
    weights = [case[name] for name in sorted(case) if name.startswith(prefix + ".")]
    network = network.to(weights[0].dtype)
    for parameter, weight in zip(network.parameters(), weights, strict=True):
        assert parameter.shape == weight.shape
        parameter.data.copy_(weight)
    return network


# Networks -------------------------------------------------------------------------------------------------------------


@BOTH
def test_generator(dtype):
    case, exact = official.numbers("generator", dtype), official.numbers("generator")
    network, x = with_weights(resnet.Generator(4, 2), case, "G"), case["x"].requires_grad_(True)
    y = network(x)
    near(y, exact["y"], 1e-10 if dtype == DOUBLE else 1e-5, relative=False)
    of_x, of_first = torch.autograd.grad((y * case["probe"]).sum(), (x, network.model[1].weight))
    for found, name in ((of_x[..., ::2, ::2], "grad_x"), (of_first, "grad_first")):
        near(found, exact[name], 1e-8 if dtype == DOUBLE else 1e-3)


def test_names_of_the_generator():
    official = ["1", "4", "7", "10.conv_block.1", "10.conv_block.5", "11.conv_block.1", "11.conv_block.5"]
    official += ["12", "15", "19"]
    names = [f"model.{place}.{kind}" for place in official for kind in ("weight", "bias")]
    assert list(resnet.Generator(4, 2).state_dict()) == names


@BOTH
@pytest.mark.parametrize("n_layers, places", [(2, (0, 2, 5, 8)), (3, (0, 2, 5, 8, 11))])
def test_discriminator(n_layers, places, dtype):
    case, exact, tolerance = official.case("patchgan", dtype, 1e-10, 1e-5)
    network = with_weights(patchgan.Discriminator(4, n_layers), case, f"D{n_layers}")
    assert list(network.state_dict()) == [f"model.{place}.{kind}" for place in places for kind in ("weight", "bias")]
    x = case["x"].requires_grad_(True)
    logits = network(x)
    near(logits, exact[f"y{n_layers}"], tolerance, relative=False)
    if n_layers == 2:
        near(torch.autograd.grad(logits.mean(), x)[0], exact["grad_x2"], tolerance, relative=False)


# Losses, the pool, the schedule ---------------------------------------------------------------------------------------


LOSSES = {"lsgan": "least_squares", "vanilla": "logistic", "nonsaturating": "logistic", "hinge": "hinge"}


@BOTH
@pytest.mark.parametrize("named", LOSSES)
def test_adversarial_losses(named, dtype):
    """`d_logistic` is the sum of two terms of which the CycleGAN family takes half; both hinges are plain sums."""
    case, exact, tolerance = official.case("gan_losses", dtype, 1e-13, 1e-6)
    real, fake = case["real"].requires_grad_(True), case["fake"].requires_grad_(True)
    d, g = (getattr(adversarial, f"{side}_{LOSSES[named]}") for side in "dg")
    d_loss, g_loss = d(real, fake) * (0.5 if LOSSES[named] == "logistic" else 1), g(fake)
    near(d_loss, exact[f"{named}.d_loss"], tolerance)
    near(g_loss, exact[f"{named}.gen"].mean(), tolerance)
    found = dict(zip(("d_grad_real", "d_grad_fake"), torch.autograd.grad(d_loss, (real, fake)), strict=True))
    found["g_grad_fake"] = torch.autograd.grad(g_loss, fake)[0]
    for name, gradient in found.items():
        if f"{named}.{name}" in exact:
            near(gradient, exact[f"{named}.{name}"], tolerance)


@pytest.fixture
def draws(monkeypatch):
    """torch's draws from given ones: a function of two functions without arguments."""

    def given(uniform, index):
        monkeypatch.setattr(torch, "rand", lambda *_: torch.tensor(float(uniform())))
        monkeypatch.setattr(torch, "randint", lambda *_: torch.tensor(int(index())))

    return given


def tagged(numbers):
    """Pictures (B, 1, 1, 1) that carry a number."""
    return torch.tensor([*numbers], dtype=torch.float32)[:, None, None, None]


def test_image_pool(draws):
    case, at = official.numbers("image_pool"), 0
    uniform, index = iter(case["u"].tolist()), iter(case["index"].tolist())
    draws(lambda: next(uniform), lambda: next(index))
    pool, returned = ImagePool(4), []
    for batch in case["batch_sizes"].tolist():
        returned += pool.query(tagged(range(at, at + batch))).flatten().long().tolist()
        at += batch
    assert returned == case["returned"].tolist()
    assert [int(p) for p in pool.pictures] == case["buffer_after"].tolist()
    assert [*uniform] == [*index] == []  # no draw too few, and none where the pool is not full


@pytest.mark.parametrize("batch", [1, 4, 7])
def test_image_pool_with_python_s_numbers(draws, batch):
    """Also in batches, whose pictures are drawn one after the other."""
    case = official.numbers("image_pool")
    of_python = random.Random(int(case["python_seed"]))
    draws(lambda: of_python.uniform(0, 1), lambda: of_python.randint(0, 3))
    pool, returned = ImagePool(4), []
    for at in range(0, 200, batch):
        returned += pool.query(tagged(range(at, min(at + batch, 200)))).flatten().long().tolist()
    assert returned == case["returned_python"].tolist()


def test_learning_rates():
    exact, weight = official.numbers("lr_schedule")["lr"], nn.Parameter(torch.zeros(1))
    optimizer, found = torch.optim.Adam([weight], 2e-4), []
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: linear_decay(epoch, 100, 100))
    for _ in range(200):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    near(torch.tensor(found, dtype=DOUBLE) / exact, torch.ones(200, dtype=DOUBLE), 1e-12)


# A training step ------------------------------------------------------------------------------------------------------


OURS = {"G_A": "G_AB", "G_B": "G_BA", "D_A": "D_B", "D_B": "D_A"}  # there a discriminator is its generator's
ORDER = "G_AB", "G_BA", "cycle_A", "cycle_B", "identity_B", "identity_A", "G", "D_B", "D_A"  # of the fixture's losses


def networks(case):
    """Both generators and both discriminators with the official first weights, under the chapter's names."""
    G, D = (lambda: resnet.Generator(4, 2)), (lambda: patchgan.Discriminator(4, 2))
    kinds = {"G": G, "D": D}
    return SimpleNamespace(**{ours: with_weights(kinds[name[0]](), case, name) for name, ours in OURS.items()})


def descend(optimizer, loss):
    """One step along the gradients for its parameters only; return these."""
    parameters = optimizer.param_groups[0]["params"]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()


def stepping(chapter, n):
    """The chapter's step as a function of (a, b): the losses (9) in the order of the fixture, without autocast."""
    optimizers = {
        side: torch.optim.Adam(
            [p for name, net in vars(n).items() if name[0] == side for p in net.parameters()], 2e-4, (0.5, 0.999)
        )
        for side in "GD"
    }
    pools = {domain: ImagePool() for domain in "AB"}

    def descending(name, loss):
        descend(optimizers[name], loss)
        return loss.detach()

    run = SimpleNamespace(autocast=contextlib.nullcontext, descend=descending)

    def step(a, b):
        losses = chapter.step(run, n, pools, a, b, WEIGHTS)
        losses["G"] = sum(losses[name] for name in ORDER[:6])
        return torch.stack([losses[name] for name in ORDER]).detach()

    return step


def mistakes(case, exact, dtype, *changes):
    """How far the chapter's step is off the official one, as multiples of the tolerance, by what is compared."""
    n = networks(case)
    step = stepping(chapter_with(*changes), n)
    of_losses, of_gradients, of_weights = (1e-9, 1e-7, 1e-9) if dtype == DOUBLE else (1e-4, 1e-3, 0.05 * 2e-4)
    found = {"losses": ((step(case["real_A"], case["real_B"]) / exact["losses1"] - 1).abs() / of_losses).max()}
    found |= {"gradients": 0.0, "weights": 0.0}
    for name in [name for name in exact if name.startswith("grad.")]:
        network, place = name[5:].split(".")
        parameter = [*getattr(n, OURS[network]).parameters()][int(place)]
        weights = off(parameter.detach(), exact[f"step1.{name[5:]}"], relative=False)
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        found["gradients"] = max(found["gradients"], off(gradient, exact[name]) / of_gradients)
        found["weights"] = max(found["weights"], weights / of_weights)
    second = step(case["real_A"], case["real_B"])
    found["losses2"] = ((second / exact["losses2"] - 1).abs() / of_losses).max()
    return {name: float(multiple) for name, multiple in found.items()}


@BOTH
def test_two_training_steps(dtype):
    case, exact = official.numbers("train_step", dtype), official.numbers("train_step")
    near(networks(case).G_AB(case["real_A"])[..., ::2, ::2], exact["fake_B"], 1e-9 if dtype == DOUBLE else 1e-4)
    found = mistakes(case, exact, dtype)
    assert max(found.values()) <= 1, found


TRAPS = MISTAKES | {  # what is replaced in the chapter's text, and by what
    "identity weight": ('weights["identity"] * distance(same_b', 'weights["cycle"] * distance(same_b'),
    "no identity": ('weights["identity"] * distance(same_b', "0 * distance(same_b"),
    "cycle detached": ("torch.cat([b, a, fake_b])", "torch.cat([b, a, fake_b.detach()])"),
    "cycle squared": ("return (x - y).abs().mean()", "return (x - y).square().mean()"),
    "the other discriminator": ("g_least_squares(n.D_B(fake_b))", "g_least_squares(n.D_A(fake_b))"),
    "fakes made anew": ('"B": b}, fakes, pools)', '"B": b}, {"A": n.G_BA(b), "B": n.G_AB(a)}, pools)'),
    "no half": ("= d_least_squares(", "= 2 * d_least_squares("),
    "sigmoid": ("D(torch.cat([real[domain], shown]))", "D(torch.cat([real[domain], shown])).sigmoid()"),
}


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_of_the_step_are_noticed(trap):
    found = mistakes(official.numbers("train_step", SINGLE), official.numbers("train_step"), SINGLE, TRAPS[trap])
    assert max(found.values()) > 10, found


def test_adam_nearly_hides_the_missing_half():
    case = official.numbers("train_step", DOUBLE)
    first, right, wrong = networks(case), networks(case), networks(case)
    for n, changes in ((right, ()), (wrong, (TRAPS["no half"],))):
        stepping(chapter_with(*changes), n)(case["real_A"], case["real_B"])
    weights = [n.D_B.model[0].weight.detach() for n in (first, right, wrong)]
    assert 0 < (weights[2] - weights[1]).norm() < 1e-3 * (weights[1] - weights[0]).norm()
