"""PatchNCE and the vectors it compares: values by the formula, who gets a gradient, positions, when layers are made."""

import math

import pytest
import torch
from torch.nn import functional

from stlib.losses.contrastive import patch_nce
from stlib.nets import resnet
from stlib.nets.patch_sampler import PatchSampler, draw_positions, unit_length

pytestmark = pytest.mark.usefixtures("one_thread")


def vectors(*shape, seed=0):
    return unit_length(torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def by_the_formula(q, k, temperature, keys):
    """Mean over all rows, `keys(b)` being the vectors that a row of picture b is compared with."""
    losses = []
    for b, (rows, own) in enumerate(zip(q, k, strict=True)):
        for row, partner in zip(rows, own, strict=True):
            total = sum(math.exp(float(row @ other) / temperature) for other in keys(b))
            losses.append(math.log(total) - float(row @ partner) / temperature)
    return sum(losses) / len(losses)


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_values_by_the_formula(temperature):
    q, k = vectors(3, 5, 4), vectors(3, 5, 4, seed=1)
    everything = [*k.flatten(0, 1)]
    expected = by_the_formula(q, k, temperature, lambda b: k[b])
    assert patch_nce(q, k, temperature).item() == pytest.approx(expected, rel=1e-12)
    of_batch = by_the_formula(q, k, temperature, lambda b: everything)
    assert patch_nce(q, k, temperature, negatives="batch").item() == pytest.approx(of_batch, rel=1e-12)
    assert of_batch > expected + 0.1  # more negatives, a harder question
    rows = patch_nce(q, k, temperature, reduction="none")
    assert rows.shape == (3, 5) and rows.mean().item() == pytest.approx(expected)


def test_other_pictures_are_negatives_only_if_asked_for():
    q, k = vectors(2, 5, 4), vectors(2, 5, 4, seed=1)
    alone = patch_nce(q[:1], k[:1])
    changed = torch.stack([k[0], vectors(5, 4, seed=2)])
    first = [patch_nce(q, other, reduction="none")[0].mean() for other in (k, changed)]
    torch.testing.assert_close(first, [alone, alone])
    first = [patch_nce(q, other, negatives="batch", reduction="none")[0].mean() for other in (k, changed)]
    assert abs(first[0] - first[1]) > 1e-3 and min(first) > alone


def test_the_own_pair_of_the_official_code():
    """Once more among the negatives, at -10 / T: nothing at the published temperature, something at 1."""
    q, k = vectors(1, 6, 4), vectors(1, 6, 4, seed=1)
    products = (q @ k.mT)[0]
    own = products.diagonal()[:, None]
    negatives = products.masked_fill(torch.eye(6, dtype=torch.bool), -10.0)
    for temperature, low, high in ((0.07, 0, 1e-14), (1.0, 1e-6, 5e-5)):
        official = -(torch.cat([own, negatives], 1) / temperature).log_softmax(1)[:, 0].mean()
        assert low <= (official - patch_nce(q, k, temperature)).item() <= high


def test_chance_and_certainty():
    same = vectors(1, 1, 4).expand(1, 64, 4)
    assert patch_nce(same, same).item() == pytest.approx(math.log(64))  # nothing tells the positions apart
    apart = torch.eye(8)[None]
    assert patch_nce(apart, apart).item() < 1e-5
    assert patch_nce(apart, apart.roll(1, dims=1)).item() > 10


def test_keys_get_no_gradient_and_queries_look_for_keys():
    q, k = (vectors(2, 5, 4, seed=seed).requires_grad_(True) for seed in (0, 1))
    patch_nce(q, k).backward()
    assert k.grad is None and q.grad.abs().max() > 0
    assert abs(patch_nce(q, k) - patch_nce(k, q)) > 1e-3  # not symmetric: the README's comments exchange the two


def test_half_precision_is_computed_in_float32():
    q, k = vectors(2, 64, 16).bfloat16(), vectors(2, 64, 16, seed=1).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = patch_nce(q, k)
    torch.testing.assert_close(found, patch_nce(q.float(), k.float()))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: patch_nce(torch.zeros(4, 3), torch.zeros(4, 3)), r"one shape \(B, P, C\), not \(4, 3\) and \(4, 3\)"),
        (lambda: patch_nce(torch.zeros(1, 4, 3), torch.zeros(1, 5, 3)), r"not \(1, 4, 3\) and \(1, 5, 3\)"),
        (lambda: patch_nce(*torch.zeros(2, 1, 4, 3), negatives="all"), "of the 'picture' or of the 'batch', not 'all'"),
        (lambda: PatchSampler([3], 4)([torch.zeros(1, 2, 4, 4)], [torch.arange(3)]), r"maps of \[3\] channels.*\[2\]"),
        (lambda: PatchSampler([3], 4)([torch.zeros(1, 3, 4, 4)], []), "0 lists of positions"),
    ],
)
def test_errors_say_what_was_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# Sampling -------------------------------------------------------------------------------------------------------------


def test_the_sampler_of_the_published_generator():
    with torch.device("meta"):
        sampler = PatchSampler(resnet.Generator(antialias=True).widths((0, 4, 8, 12, 16)))
    assert sampler.channels == [3, 128, 256, 256, 256]
    assert round(sum(p.numel() for p in sampler.parameters()) / 1e6, 3) == 0.560


def test_its_layers_are_there_before_the_optimizer():
    torch.manual_seed(0)
    sampler, maps = PatchSampler([3, 5], 4), [torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)]
    optimizer = torch.optim.SGD(sampler.parameters(), 1.0)
    positions = draw_positions(maps, 3)
    before = [p.clone() for p in sampler.parameters()]
    sum(v[..., 0].sum() for v in sampler(maps, positions)).backward()
    optimizer.step()
    assert len(before) == 8
    assert not any(torch.equal(a, b) for a, b in zip(before, sampler.parameters(), strict=True))
    assert list(PatchSampler([3], width=None).parameters()) == []


def test_positions():
    maps = [torch.zeros(1, 2, 5, 6), torch.zeros(1, 2, 2, 3)]
    torch.manual_seed(0)
    first, second = draw_positions(maps, 20)
    assert len(first) == len(set(first.tolist())) == 20 and 0 <= first.min() and first.max() < 30
    assert sorted(second.tolist()) == list(range(6))  # all, where there are no more
    again = draw_positions(maps, 20)
    assert again[0].tolist() != first.tolist()  # others at each call: queries and keys must share one
    torch.manual_seed(0)
    assert [p.tolist() for p in draw_positions(maps, 20)] == [first.tolist(), second.tolist()]


def test_the_vector_of_a_position():
    m, positions = torch.randn(2, 3, 4, 5), [torch.tensor([7, 0, 19])]
    (rows,) = PatchSampler([3], width=None)([m], positions)
    assert rows.shape == (2, 3, 3)
    for i, (row, column) in enumerate(((1, 2), (0, 0), (3, 4))):
        torch.testing.assert_close(rows[:, i], functional.normalize(m[:, :, row, column], dim=1))
    sampler = PatchSampler([3], 6, gain=1.0)
    (projected,) = sampler([m], positions)
    torch.testing.assert_close(projected.norm(dim=2), torch.ones(2, 3))
    (moved,) = sampler([m.flip(3)], [torch.tensor([5 + 2, 4, 15])])  # FastCUT's mirror, by hand
    torch.testing.assert_close(moved, projected)


def test_a_vector_of_zeros_has_a_gradient():
    x = torch.zeros(1, 2, 3, requires_grad=True)
    y = unit_length(x)
    y.sum().backward()
    assert (y == 0).all() and x.grad.isfinite().all()


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_sampler_takes_maps_in_every_layout(channels_last):
    torch.manual_seed(0)
    m, sampler = torch.randn(1, 3, 4, 4), PatchSampler([3], 4, gain=1.0)
    laid = m.contiguous(memory_format=torch.channels_last) if channels_last else m
    (expected,), (found,) = sampler([m], [torch.arange(9)]), sampler([laid], [torch.arange(9)])
    torch.testing.assert_close(found, expected)
