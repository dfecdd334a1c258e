"""Adversarial losses by hand-made numbers, R1 and path length on networks whose gradients are known in closed form."""

import math

import pytest
import torch

from stlib.losses import adversarial
from stlib.losses.adversarial import lazy, lazy_adam, path_length, r1

REAL, FAKE = torch.tensor([[2.0], [-0.5], [0.25]]), torch.tensor([[0.5], [-3.0], [1.5]])


def mean(values):
    return sum(values) / len(values)


def softplus(t):
    return math.log(1 + math.exp(t))


r, f = REAL.flatten().tolist(), FAKE.flatten().tolist()
BY_HAND = {
    "logistic": (mean([softplus(-t) for t in r]) + mean([softplus(t) for t in f]), mean([softplus(-t) for t in f])),
    "least_squares": (
        (mean([(t - 1) ** 2 for t in r]) + mean([t**2 for t in f])) / 2,
        mean([(t - 1) ** 2 for t in f]),
    ),
    "hinge": (mean([max(0, 1 - t) for t in r]) + mean([max(0, 1 + t) for t in f]), -mean(f)),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_losses_by_hand(name):
    d, g = (getattr(adversarial, f"{side}_{name}") for side in "dg")
    assert d(REAL, FAKE).item() == pytest.approx(BY_HAND[name][0], rel=1e-6)
    assert g(FAKE).item() == pytest.approx(BY_HAND[name][1], rel=1e-6)


def test_relativistic_losses_by_hand():
    d = mean([softplus(-(t - mean(f))) for t in r]) + mean([softplus(t - mean(r)) for t in f])
    g = mean([softplus(-(t - mean(r))) for t in f]) + mean([softplus(t - mean(f)) for t in r])
    assert adversarial.d_relativistic(REAL, FAKE).item() == pytest.approx(d, rel=1e-6)
    assert adversarial.g_relativistic(REAL, FAKE).item() == pytest.approx(g, rel=1e-6)


@pytest.mark.parametrize("name", [*BY_HAND, "relativistic"])
def test_what_a_step_on_each_loss_does(name):
    """D's step raises the logits of real and lowers those of made pictures; G's raises what D says of its pictures."""
    real, fake = torch.full((3, 1), 0.1, requires_grad=True), torch.full((3, 1), 0.2, requires_grad=True)
    d, g = (getattr(adversarial, f"{side}_{name}") for side in "dg")
    of_real, of_fake = torch.autograd.grad(d(real, fake), (real, fake))
    assert (of_real < 0).all() and (of_fake > 0).all()
    loss = g(real, fake) if name == "relativistic" else g(fake)
    assert (torch.autograd.grad(loss, fake)[0] < 0).all()


def test_the_generator_s_gradient_stays_where_its_pictures_are_rejected():
    fake = torch.full((1, 1), -20.0, requires_grad=True)
    assert torch.autograd.grad(adversarial.g_logistic(fake), fake)[0].item() == pytest.approx(-1, rel=1e-6)
    assert adversarial.d_logistic(torch.tensor([-200.0]), torch.tensor([200.0])).item() == pytest.approx(400)


# R1 -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_r1_of_a_linear_discriminator(batch):
    """D(x) = <a, x>: the penalty is |a|^2, whatever the batch, and its gradient 2 a."""
    a = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)
    x = torch.randn(batch, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    penalty = r1((x * a).sum((1, 2, 3))[:, None], x)
    torch.testing.assert_close(penalty, a.square().sum())
    torch.testing.assert_close(torch.autograd.grad(penalty, a)[0], 2 * a)


def test_r1_of_a_quadratic_discriminator():
    """D(x) = k |x|^2 / 2: the penalty is k^2 E |x|^2, its gradient 2 k E |x|^2."""
    k = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    x = torch.randn(4, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    penalty, energy = r1(k / 2 * x.square().sum((1, 2, 3))[:, None], x), x.detach().square().sum((1, 2, 3)).mean()
    torch.testing.assert_close(penalty, k**2 * energy)
    torch.testing.assert_close(torch.autograd.grad(penalty, k)[0], 2 * k * energy)


# Path length ----------------------------------------------------------------------------------------------------------


def linear_generator(batch=3, places=4, dim=5, side=2):
    """x = sum over places of M_n w_n: (pictures for a scale, the code, the noise, the exact lengths at scale 1)."""
    torch.manual_seed(0)
    matrix = torch.randn(places, 3 * side * side, dim, dtype=torch.float64)
    w = torch.randn(batch, places, dim, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(batch, 3, side, side, dtype=torch.float64)
    jacobian = torch.einsum("npd,bp->bnd", matrix, noise.flatten(1)) / math.sqrt(side * side)
    lengths = jacobian.square().sum(2).mean(1).sqrt()
    return (lambda scale: scale * torch.einsum("npd,bnd->bp", matrix, w).view_as(noise)), w, noise, lengths


@pytest.mark.parametrize("before", [0.0, 1.7])
def test_path_length_of_a_linear_generator(before):
    """Lengths are s l_b; the running mean moves first, and takes the gradient with it."""
    make, w, noise, exact = linear_generator()
    scale = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    penalty, mean, lengths = path_length(make(scale), w, before, noise)
    s = scale.detach()
    moved = 0.99 * before + 0.01 * s * exact.mean()
    torch.testing.assert_close(lengths.detach(), s * exact)
    torch.testing.assert_close(mean, moved)
    torch.testing.assert_close(penalty.detach(), (s * exact - moved).square().mean())
    found = torch.autograd.grad(penalty, scale)[0]
    torch.testing.assert_close(found, (2 * (s * exact - moved) * (exact - 0.01 * exact.mean())).mean())
    detached = (2 * (s * exact - moved) * exact).mean()
    assert (found - detached).abs() > 1e-3 * detached.abs()  # what the mean without a gradient would give


def test_the_running_mean_starts_at_0_and_is_a_moving_average():
    make, w, noise, exact = linear_generator()
    mean = 0.0
    for number in range(1, 6):
        _, mean, _ = path_length(make(1.0), w, mean, noise)
        assert not mean.requires_grad
        torch.testing.assert_close(mean, exact.mean() * (1 - 0.99**number))
    torch.testing.assert_close(path_length(make(1.0), w, 0.0, noise, decay=1)[1], exact.mean())


def test_path_length_draws_its_noise_and_wants_the_expanded_code():
    make, w, _, _ = linear_generator()
    torch.manual_seed(3)
    first = path_length(make(1.0), w, 0.0)[2]
    torch.manual_seed(3)
    noise = torch.randn_like(make(1.0))
    torch.testing.assert_close(first, path_length(make(1.0), w, 0.0, noise)[2])
    with pytest.raises(ValueError, match=r"expanded W\+ code \(B, n, d\), not the shape \(3, 5\)\."):
        path_length(make(1.0), w[:, 0], 0.0)


# Lazy regularisation --------------------------------------------------------------------------------------------------


def test_factors_of_lazy_regularisation():
    penalty, output = torch.tensor(0.25), torch.tensor([[3.0], [-1.0]])
    assert lazy(penalty, 10 / 2, 16, output).item() == 20  # gamma / 2 * every * penalty
    assert lazy(penalty, 2, 4, output).item() == 2
    parameter = torch.ones(2, requires_grad=True)
    lazy(penalty, 1, 1, parameter * output).backward()
    assert parameter.grad.tolist() == [0, 0]  # a gradient, of zero


def test_adam_s_settings_under_lazy_regularisation():
    assert lazy_adam(0.002, 4) == {"lr": pytest.approx(0.0016), "betas": (0, pytest.approx(0.99**0.8))}
    assert lazy_adam(0.002, 16)["lr"] == pytest.approx(0.002 * 16 / 17)
    assert lazy_adam(1, 1, (0.5, 0.9))["betas"] == pytest.approx((0.5**0.5, 0.9**0.5))
