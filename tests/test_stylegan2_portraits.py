"""The recipe of the zoo's generator of portraits: its step, its published record, and the shipped network."""

import lzma

import pytest
import torch

from stlib import images, metrics, oracle, training, world, zoo
from stlib.nets import stylegan2
from stlib.zoo import stylegan2_portraits as recipe

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))
    return tmp_path


def small_run(steps=3, seed=0):
    torch.manual_seed(seed)
    widths = dict.fromkeys((4, 8, 16, 32), 8)
    G, D = stylegan2.Generator(32, 8, 2, widths), stylegan2.Discriminator(32, widths)
    mean = torch.nn.Module()
    mean.register_buffer("path", torch.zeros(()))
    optimizers = {"G": torch.optim.Adam(G.parameters(), 1e-3), "D": torch.optim.Adam(D.parameters(), 1e-3)}
    run = training.Run(
        "small", {"G": G, "D": D, "mean": mean}, optimizers, batch=8, seed=seed, steps=steps, device="cpu"
    )
    return run, G, D, mean


def test_a_step_moves_both_networks_and_regularises_when_it_is_due(cache):
    run, G, D, mean = small_run(steps=2)
    before = [p.detach().clone() for p in (*G.parameters(), *D.parameters())]
    seen = []
    for _ in run:
        losses = recipe.step(run, G, D, torch.rand(8, 3, 32, 32) * 2 - 1, mean)
        assert all(torch.isfinite(loss) for loss in losses.values())
        seen.append(set(losses))
        run.after(**losses)
    assert seen == [{"D", "G", "R1", "path"}, {"D", "G"}]  # both regularisers are due at step 0, neither at step 1
    assert mean.path > 0
    moved = [not torch.equal(a, b) for a, b in zip(before, (*G.parameters(), *D.parameters()), strict=True)]
    assert all(moved)


def test_the_regularisers_have_the_plan_s_weights(cache, monkeypatch):
    asked = []

    def lazy(penalty, weight, interval, output):
        asked.append((weight, interval))
        return penalty + 0 * output.sum()

    monkeypatch.setattr(recipe.adversarial, "lazy", lazy)
    run, G, D, mean = small_run(steps=1)
    for _ in run:
        run.after(**recipe.step(run, G, D, torch.rand(8, 3, 32, 32) * 2 - 1, mean))
    plan = recipe.PLAN
    assert asked == [(plan["gamma"] / 2, plan["r1_every"]), (plan["path_weight"], plan["path_every"])]


def test_codes_are_mixed_in_nine_batches_of_ten(cache):
    run, G, *_ = small_run(steps=60)
    mixed = 0
    for _ in run:
        w = recipe.codes(run, G, stream=0)
        assert w.shape == (8, G.n_latent, 8)
        mixed += not torch.equal(w[:, 0], w[:, -1])
        run.after()
    assert 46 <= mixed <= 59


def test_publishing_measures_what_it_saves(cache, monkeypatch):
    saved = {}
    monkeypatch.setattr(zoo, "save", lambda name, module, **about: saved.update(about, name=name, module=module))
    monkeypatch.setitem(recipe.PLAN, "pictures", 64)
    monkeypatch.setitem(recipe.PLAN, "batch", 8)
    monkeypatch.setattr(recipe, "measured", lambda G: {"first": next(G.parameters()).flatten()[0].item()})
    recipe.publish("portraits_for_a_test", steps=1, device="cpu")
    assert saved["name"] == "portraits_for_a_test" and saved["chapter"] == "stylegan2_portraits"
    assert saved["training"]["steps"] == 1 and saved["training"]["pictures"] == 8
    state = saved["module"].state_dict()
    assert all(torch.equal(t, t.half().float()) for t in state.values() if t.is_floating_point())
    assert saved["training"]["first"] == next(saved["module"]["g_ema"].parameters()).flatten()[0].item()


def test_loading_gives_both_networks_and_a_mean_latent(monkeypatch):
    torch.manual_seed(0)
    fresh = recipe.pair(*recipe.networks())
    fresh.name, fresh.weights = "stylegan2_portraits", "a test"
    monkeypatch.setattr(zoo, "load", lambda name, module: fresh)
    G, D = recipe.load("cpu")
    assert G is fresh["g_ema"] and D is fresh["d"] and (G.name, G.weights) == ("stylegan2_portraits", "a test")
    again = recipe.load("cpu")[0].latent_avg
    assert G.latent_avg.shape == (1, G.style_dim) and torch.equal(G.latent_avg, again)
    made = recipe.sampled(G, 3)
    assert made.shape == (3, 3, 64, 64) and 0 <= made.min() and made.max() <= 1


def test_the_saved_pair_is_a_public_checkpoint(tmp_path):
    """In the layout that other code reads, and that `load_public` reads back."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    G, D = recipe.networks()
    save_file(
        {key: tensor.contiguous() for key, tensor in recipe.pair(G, D).state_dict().items()},
        tmp_path / "pair.safetensors",
    )
    both = stylegan2.load_public(tmp_path / "pair.safetensors")
    z = torch.randn(4, G.style_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made = G(z, noise="fixed")
        torch.testing.assert_close(both.generator(z, noise="fixed"), made)
        torch.testing.assert_close(both.discriminator(made), D(made))


def test_an_impossible_size_is_told_before_anything_is_rendered(cache, monkeypatch):
    monkeypatch.setattr(recipe.datasets, "fixed", lambda *_: pytest.fail("it rendered first"))
    with pytest.raises(zoo.ZooError, match="power of two from 8 on, not 50"):
        recipe.publish("portraits_for_a_test", size=50, steps=1, device="cpu")


def test_a_network_that_nobody_has_trained_yet_says_how_to(tmp_path):
    with pytest.raises(zoo.ZooError, match="run `python -m stlib.zoo train stylegan2_portraits`"):
        zoo.record("stylegan2_portraits", tmp_path)


def test_latents_of_another_length_are_told(cache):
    with pytest.raises(ValueError, match=r"z of the shape \(B, 128\), not \(2, 5\)"):
        recipe.networks()[0](torch.randn(2, 5))


# The shipped network --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    return recipe.load("cpu")


def test_the_shipped_file_is_a_public_checkpoint(shipped, tmp_path):
    G, D = shipped
    about, unpacked = zoo.record("stylegan2_portraits"), tmp_path / "stylegan2_portraits.safetensors"
    packed = zoo.FOLDER / f"stylegan2_portraits.{about['sha256'][:12]}.xz"
    unpacked.write_bytes(lzma.decompress(packed.read_bytes()))
    both = stylegan2.load_public(unpacked)
    z = torch.randn(4, G.style_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        made = G(z, noise="fixed")
        torch.testing.assert_close(both.generator.eval()(z, noise="fixed"), made)
        torch.testing.assert_close(both.discriminator.eval()(made), D(made))


def test_the_shipped_generator_is_as_good_as_its_record_says(shipped):
    """On other latents, and fewer: the share that the oracle calls photographs, and the spread of the factors."""
    told = zoo.record("stylegan2_portraits")["training"]
    assert told["dtype"] in ("float32", "bfloat16") and 0 <= told["precision"] <= 1  # neither hides the other
    made = recipe.sampled(shipped[0], 128, seed=404)
    judge = oracle.load("cpu")
    reading = judge.read(made, "portraits")
    share = (reading.style.argmax(dim=1) == world.STYLES.index("photo")).float().mean().item()
    assert abs(share - told["called photo"]) < 0.06
    contents = world.sample("portraits", range(2_900_000, 2_900_128))
    true = judge.read(world.render(contents, "photo", 64), "portraits")
    counted = [f for f in contents.factors if f.name in told["spread"]]
    found = metrics.spread(reading, true, counted)
    assert all(abs(found[name] - value) < 0.3 for name, value in told["spread"].items())
    mean = sum(found.values()) / len(found)
    assert mean == pytest.approx(sum(told["spread"].values()) / len(found), abs=0.08)


def test_its_card_shows_what_it_draws(shipped):
    """The sheet is of the shipped weights and of latents that nobody chose."""
    shown = images.read(zoo.sheet("stylegan2_portraits"))[0]
    drawn = recipe.sheet(shipped[0])
    assert shown.shape == drawn.shape == (3, 512, 512)
    others = drawn.view(3, 8, 64, 512).flip(1).reshape(drawn.shape)  # the same portraits in other places
    assert (shown - drawn).abs().mean() < 0.02 < 0.1 < (shown - others).abs().mean()  # JPEG changes little


def test_its_latents_matter_and_truncation_narrows_them(shipped):
    G, _ = shipped
    z = torch.randn(16, G.style_dim, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        wide, narrow = (G(z, truncation=psi, noise="fixed").std(dim=0).mean() for psi in (1.0, 0.4))
    assert wide > 0.05 and narrow < 0.8 * wide
