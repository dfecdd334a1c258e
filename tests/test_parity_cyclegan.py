"""Against numbers computed with the official PyTorch code (tests/parity/cyclegan; sources in its README).

A whole training step stands here as a small function until it stands in its chapter. It takes the traps of other
implementations as options, and each of them must miss the official numbers.
"""

import random
from types import SimpleNamespace

import pytest
import torch
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


def networks(case):
    """Both generators and both discriminators, their optimizers and pools."""
    n = SimpleNamespace(
        G_A=with_weights(resnet.Generator(4, 2), case, "G_A"),
        G_B=with_weights(resnet.Generator(4, 2), case, "G_B"),
        D_A=with_weights(patchgan.Discriminator(4, 2), case, "D_A"),
        D_B=with_weights(patchgan.Discriminator(4, 2), case, "D_B"),
        pool_A=ImagePool(),
        pool_B=ImagePool(),
    )
    n.for_g = torch.optim.Adam([*n.G_A.parameters(), *n.G_B.parameters()], 2e-4, (0.5, 0.999))
    n.for_d = torch.optim.Adam([*n.D_A.parameters(), *n.D_B.parameters()], 2e-4, (0.5, 0.999))
    return n


def descend(optimizer, loss):
    """One step along the gradients for its parameters only; return these."""
    parameters = optimizer.param_groups[0]["params"]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()


def step(n, a, b, trap=None):
    """One step of CycleGAN; return the losses (9) in the order of the fixture. `trap` names a mistake to make."""
    fake_b, fake_a = n.G_A(a), n.G_B(b)
    to_real = (lambda d: d.square().mean()) if trap == "targets" else adversarial.g_least_squares
    weight, identity = 10, 10 if trap == "identity weight" else 5
    if trap == "identity of the own domain":
        same_b, same_a = n.G_A(a), n.G_B(b)
    else:
        same_b, same_a = n.G_A(b), n.G_B(a)
    back = (fake_b.detach(), fake_a.detach()) if trap == "cycle detached" else (fake_b, fake_a)
    losses = [
        to_real(n.D_A(fake_b)),
        to_real(n.D_B(fake_a)),
        weight * (n.G_B(back[0]) - a).abs().mean(),
        weight * (n.G_A(back[1]) - b).abs().mean(),
        identity * (same_b - b).abs().mean(),
        identity * (same_a - a).abs().mean(),
    ]
    losses.append(0 * losses[0] + sum(losses[:4] if trap == "no identity" else losses))
    descend(n.for_g, losses[-1])
    if trap == "fakes made anew":  # from the generators as they are after their step
        fake_b, fake_a = n.G_A(a), n.G_B(b)
    double = 2 if trap == "no half" else 1
    for D, real, fake in ((n.D_A, b, n.pool_B.query(fake_b)), (n.D_B, a, n.pool_A.query(fake_a))):
        real, fake = (D(real), D(fake)) if trap != "sigmoid" else (D(real).sigmoid(), D(fake).sigmoid())
        real, fake = (fake, real) if trap == "targets" else (real, fake)
        losses.append(double * adversarial.d_least_squares(real, fake))
    descend(n.for_d, losses[-2] + losses[-1])
    return torch.stack(losses).detach()


def mistakes(case, exact, dtype, trap=None):
    """How far a step is off the official one, as multiples of the tolerance, by what is compared."""
    n = networks(case)
    of_losses, of_gradients, of_weights = (1e-9, 1e-7, 1e-9) if dtype == DOUBLE else (1e-4, 1e-3, 0.05 * 2e-4)
    found = {"losses": ((step(n, case["real_A"], case["real_B"], trap) / exact["losses1"] - 1).abs() / of_losses).max()}
    found |= {"gradients": 0.0, "weights": 0.0}
    for name in [name for name in exact if name.startswith("grad.")]:
        network, place = name[5:].split(".")
        parameter = [*getattr(n, network).parameters()][int(place)]
        weights = off(parameter.detach(), exact[f"step1.{name[5:]}"], relative=False)
        found["gradients"] = max(found["gradients"], off(parameter.grad, exact[name]) / of_gradients)
        found["weights"] = max(found["weights"], weights / of_weights)
    second = step(n, case["real_A"], case["real_B"], trap)
    found["losses2"] = ((second / exact["losses2"] - 1).abs() / of_losses).max()
    return {name: float(multiple) for name, multiple in found.items()}


@BOTH
def test_two_training_steps(dtype):
    case, exact = official.numbers("train_step", dtype), official.numbers("train_step")
    near(networks(case).G_A(case["real_A"])[..., ::2, ::2], exact["fake_B"], 1e-9 if dtype == DOUBLE else 1e-4)
    found = mistakes(case, exact, dtype)
    assert max(found.values()) <= 1, found


TRAPS = "targets", "identity weight", "identity of the own domain", "no identity", "cycle detached", "fakes made anew"


@pytest.mark.parametrize("trap", [*TRAPS, "no half", "sigmoid"])
def test_traps_of_the_step_are_noticed(trap):
    found = mistakes(official.numbers("train_step", SINGLE), official.numbers("train_step"), SINGLE, trap)
    assert max(found.values()) > 10, found
