"""The image pool and the schedule of the CycleGAN family, and a training with both that is killed and goes on."""

import pytest
import torch

from stlib.losses.adversarial import d_least_squares, g_least_squares
from stlib.nets import patchgan, resnet
from stlib.training import CheckpointError, ImagePool, Run, linear_decay

pytestmark = pytest.mark.usefixtures("one_thread")


def tagged(numbers):
    """Pictures (B, 1, 1, 1) that carry a number."""
    return torch.tensor([*numbers], dtype=torch.float32)[:, None, None, None]


def tags(pictures):
    return [int(picture) for picture in pictures]


def test_a_pool_that_is_not_full_returns_what_it_is_given():
    pool = ImagePool(5)
    assert tags(pool.query(tagged([1, 2]))) == [1, 2] and tags(pool.query(tagged([3]))) == [3]
    assert tags(pool.pictures) == [1, 2, 3]


def test_a_full_pool_returns_new_and_old_and_no_old_one_twice():
    torch.manual_seed(0)
    pool, size, count = ImagePool(50), 50, 2000
    returned = [tags(pool.query(tagged([i])))[0] for i in range(count)]
    assert returned[:size] == list(range(size))
    later = returned[size:]
    new = sum(tag == size + i for i, tag in enumerate(later))
    assert 0.45 < new / len(later) < 0.55
    old = [tag for i, tag in enumerate(later) if tag != size + i]
    assert len(set(old)) == len(old)  # the picture that is returned gives its place to the new one
    assert max(size + i - tag for i, tag in enumerate(later)) > 3 * size  # some wait long
    assert sorted(set(range(count)) - set(later) - set(tags(pool.pictures))) == []  # and none is lost


def test_a_pool_of_no_size_changes_nothing_but_the_graph():
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    shown = ImagePool(0).query(x)
    assert torch.equal(shown, x) and not shown.requires_grad


def test_pictures_are_detached_and_the_pool_s_own():
    torch.manual_seed(0)
    pool, weight = ImagePool(2), torch.ones(1, requires_grad=True)
    for i in range(8):
        made = tagged([2 * i, 2 * i + 1]) * weight
        shown = pool.query(made)
        assert made.requires_grad and not shown.requires_grad and shown.shape == made.shape
        shown.fill_(-1)
        made.data.fill_(-1)
        kept = pool.pictures
        assert min(tags(kept)) >= 0  # what the caller does to its pictures does not reach it
        assert all(p.untyped_storage().nbytes() == p.nbytes for p in kept)  # nor does it keep whole batches


def test_a_pool_goes_on_where_another_was(tmp_path):
    torch.manual_seed(0)
    pool = ImagePool(4)
    for i in range(10):
        pool.query(tagged([i]))
    torch.save(pool.state_dict(), tmp_path / "pool.pt")
    other = ImagePool(4)
    other.load_state_dict(torch.load(tmp_path / "pool.pt", weights_only=True))
    for one in (pool, other):
        torch.manual_seed(1)
        one.shown = [tags(one.query(tagged([10 + i]))) for i in range(20)]
    assert pool.shown == other.shown and tags(pool.pictures) == tags(other.pictures)
    with pytest.raises(ValueError, match="4 pictures does not go into one of 3"):
        ImagePool(3).load_state_dict(pool.state_dict())


def test_linear_decay():
    factors = [linear_decay(epoch, 3, 4) for epoch in range(7)]
    assert factors == pytest.approx([1, 1, 1, 0.8, 0.6, 0.4, 0.2])  # the last is 1 / 5 and not 0
    assert linear_decay(99) == 1 and linear_decay(100) == pytest.approx(100 / 101)


# In a training --------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))


def trained(stop=None, not_a_number=None, resume=False, keep=("pool", "schedule"), size=3, steps=9):
    """A GAN with a pool and a schedule; `stop` kills it in the middle of that step."""
    torch.manual_seed(0)
    G, D, pool = resnet.Generator(2, 1, gain=0.5), patchgan.Discriminator(2, 1, gain=0.5), ImagePool(size)
    optimizers = {"G": torch.optim.Adam(G.parameters(), 2e-2), "D": torch.optim.Adam(D.parameters(), 2e-2)}
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizers["G"], lambda t: linear_decay(t, 3, 6))
    states = {name: state for name, state in (("pool", pool), ("schedule", schedule)) if name in keep}
    run = Run(
        "unpaired", {"G": G, "D": D}, optimizers, batch=2, states=states, steps=steps, device="cpu", every=0.0,
        resume=resume,
    )  # fmt: skip
    for step in run:
        real, made = run.noise(3, 8, 8), G(run.noise(3, 8, 8, stream=1))
        made = made * float("nan") if step == not_a_number else made
        losses = {"G": run.descend("G", g_least_squares(D(made)))}
        losses["D"] = run.descend("D", d_least_squares(D(real), D(pool.query(made))))
        schedule.step()
        if step == stop:
            raise KeyboardInterrupt
        run.after(**losses)
    weights = torch.cat([p.detach().flatten() for p in (*G.parameters(), *D.parameters())])
    return weights, torch.stack(pool.pictures), optimizers["G"].param_groups[0]["lr"]


@pytest.mark.parametrize("stop", [1, 6], ids=["filling", "full"])
def test_a_killed_training_comes_to_the_same_bits_and_the_same_pool(stop, tmp_path, monkeypatch):
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "whole"))
    weights, pictures, rate = trained()
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "killed"))
    with pytest.raises(KeyboardInterrupt):
        trained(stop)
    again = trained(resume=True)
    assert torch.equal(again[0], weights) and torch.equal(again[1], pictures) and again[2] == rate


@pytest.mark.parametrize("keep", [("pool",), ("schedule",)])
def test_without_the_pool_or_the_schedule_in_its_states_it_would_not(keep, tmp_path, monkeypatch):
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "whole"))
    weights, _, _ = trained(keep=keep)
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "killed"))
    with pytest.raises(KeyboardInterrupt):
        trained(6, keep=keep)
    assert not torch.equal(trained(resume=True, keep=keep)[0], weights)


def test_another_size_of_the_pool_is_told():
    with pytest.raises(KeyboardInterrupt):
        trained(6)
    with pytest.raises(CheckpointError, match="3 pictures does not go into one of 2"):
        trained(resume=True, size=2)


def test_a_picture_that_is_not_a_number_stops_the_training_before_it_is_kept(tmp_path):
    with pytest.raises(FloatingPointError, match="stopped at step 4: a gradient of 'G' is not finite; the last good"):
        trained(not_a_number=4)
    _, pictures, _ = trained(resume=True)
    assert pictures.isfinite().all()
