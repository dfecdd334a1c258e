"""The chapter `cut`: its functions, what its trainings withstand, and that its claim can fail."""

from types import SimpleNamespace

import pytest
import torch
from cut_mistakes import PLAN, RULE, chapter_with
from test_chapters import facts_from, swapped
from translators import killed_after, two_sets, weights

from stlib import images, metrics, results, training, world, zoo
from stlib.losses.contrastive import patch_nce
from stlib.nets import resnet
from stlib.nets.patch_sampler import unit_length
from stlib.training import CheckpointError

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = PLAN | dict(width=4, blocks=1, critic=4, projected=8, patches=16, picked=(0, 1, 2, 3), steps=8, half_life=4)
FAST = RULE | dict(contrast=10.0, identity=False, mirror=True)
PAIR = dict(size=64, width=4, blocks=1, channels={64: 4, 32: 4, 16: 4, 8: 4, 4: 4}, picked=(0, 1, 2, 3), projected=8)
PAIR |= dict(patches=16, temperature=0.07, negatives="batch", batch=2, rate=0.002, contrast=4.0, identity=1.0, r1=1.0)
PAIR |= dict(r1_every=2, half_life=4, steps=3)


@pytest.fixture(scope="module")
def chapter():
    return chapter_with()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def sets():
    return two_sets("sketch")


def trained(chapter, sets, plan=TINY, rule=RULE, **options):
    *_, (run, n) = chapter.train("toy", *sets, plan, rule, **options)
    return run, n


# The contrast ---------------------------------------------------------------------------------------------------------


def vectors(seed, batch=2, rows=6):
    return unit_length(torch.randn(batch, rows, 5, generator=torch.Generator().manual_seed(seed)))


def test_negatives_from_elsewhere_are_those_of_the_other_pictures(chapter):
    q, k = vectors(0), vectors(1)
    wanted = []
    for picture in range(2):
        for row in range(6):
            own, others = q[picture, row] @ k[picture, row], k[1 - picture] @ q[picture, row]
            wanted.append(torch.cat([own[None], others]).div(0.07).log_softmax(0)[0].neg())
    torch.testing.assert_close(chapter.from_elsewhere(q, k, 0.07), torch.stack(wanted).mean())


@pytest.mark.parametrize("negatives", ["picture", "batch"])
def test_the_other_choices_are_those_of_the_package(chapter, negatives):
    q, k = vectors(2), vectors(3)
    torch.testing.assert_close(chapter.LOSSES[negatives](q, k, 0.07), patch_nce(q, k, 0.07, negatives))


def test_a_pass_gives_the_picture_and_the_maps_on_its_way(chapter):
    G, x = resnet.Generator(4, 2), torch.rand(1, 3, 16, 16) * 2 - 1
    maps, picture = chapter.encode_and_draw(G, x, G.taps)
    torch.testing.assert_close(picture, G(x))
    torch.testing.assert_close(maps, G.features(x, G.taps))


# A step ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [RULE, FAST], ids=["CUT", "FastCUT"])
def test_d_moves_first_then_g_and_f_and_no_gradient_is_left(chapter, sets, rule, monkeypatch):
    moved = []

    class Watched(training.Run):
        def descend(self, name, loss, **options):
            before = {key: [p.detach().clone() for p in net.parameters()] for key, net in self.modules.items()}
            loss = super().descend(name, loss, **options)
            changed = {
                key
                for key, net in self.modules.items()
                if any(not torch.equal(p, q) for p, q in zip(net.parameters(), before[key], strict=True))
            }
            moved.append((name, changed))
            assert all(p.grad is None for net in self.modules.values() for p in net.parameters())
            return loss

    monkeypatch.setattr(training, "Run", Watched)
    trained(chapter, sets, TINY | dict(steps=2), rule)
    assert moved == [("D", {"D"}), ("G", {"G", "F"})] * 2


def test_the_generator_plays_against_the_discriminator_as_it_now_is(chapter, sets):
    torch.manual_seed(0)
    n, seen = chapter.networks(TINY), {}
    a, b = (torch.rand(2, 1, 3, 32, 32) * 2 - 1).unbind(0)

    def descend(side, loss):
        if side == "D":
            for parameter in n.D.parameters():
                parameter.data.add_(0.1)
        else:
            seen["D"] = (n.D(n.G(a)) - 1).square().mean().detach()

    run = SimpleNamespace(autocast=lambda: torch.autocast("cpu", enabled=False), descend=descend)
    losses = chapter.step(run, n, a, b, TINY, RULE)
    torch.testing.assert_close(losses["GAN"].detach(), seen["D"])
    assert sorted(losses) == ["D", "GAN", "NCE", "NCE_identity"]


def test_without_contrast_only_the_adversary_is_left(chapter, sets):
    run, _ = trained(chapter, sets, TINY | dict(steps=1), RULE | dict(contrast=0.0))
    assert sorted(run.losses) == ["D", "GAN"]


# A training -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [2, 5])
@pytest.mark.parametrize("rule", [RULE, FAST], ids=["CUT", "FastCUT"])
def test_a_killed_run_comes_to_the_same_bits(chapter, sets, stop, rule, tmp_path, monkeypatch):
    run, n = trained(chapter, sets, rule=rule)
    whole, average = weights(n), weights(SimpleNamespace(G=run.averages["G"].module))
    rate = run.optimizers["G"].param_groups[0]["lr"]
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "killed"))
    with killed_after(stop, monkeypatch, chapter):
        trained(chapter, sets, rule=rule)
    run, n = trained(chapter, sets, rule=rule, resume=True)
    assert run.step == TINY["steps"] and run._start[0] == stop
    assert torch.equal(weights(n), whole)
    assert torch.equal(weights(SimpleNamespace(G=run.averages["G"].module)), average)
    assert run.optimizers["G"].param_groups[0]["lr"] == rate


def test_a_run_at_its_end_is_given_back_and_another_rule_is_not_mixed_in(chapter, sets):
    _, n = trained(chapter, sets, TINY | dict(steps=2))
    ended = list(chapter.train("toy", *sets, TINY | dict(steps=2), RULE, resume=True))
    assert len(ended) == 1 and torch.equal(weights(ended[0][1]), weights(n))
    with pytest.raises(CheckpointError, match="another contrast"):
        trained(chapter, sets, TINY | dict(steps=2), RULE | dict(contrast=5.0), resume=True)


def test_nan_stops_with_a_sentence_and_reaches_no_weight(chapter, sets, monkeypatch):
    original, kept = chapter.contrast, {"calls": 0}

    def poisoned(n, *given):
        kept.update(calls=kept["calls"] + 1, n=n)
        return original(n, *given) * (float("nan") if kept["calls"] == 7 else 1.0)

    monkeypatch.setattr(chapter, "contrast", poisoned)
    with pytest.raises(
        FloatingPointError, match=r"'toy' stopped at step 3: a gradient of 'G' is not finite; .*: start"
    ):
        trained(chapter, sets)
    assert weights(kept["n"]).isfinite().all()


def test_forks_start_from_the_given_weights(chapter, sets):
    _, n = trained(chapter, sets, TINY | dict(steps=1))
    start = {name: getattr(n, name).state_dict() for name in "GD"}
    _, fork = trained(chapter, sets, TINY | dict(steps=1, rate=0.0, picked=(3,)), seed=1, start=start)
    for name in "GD":
        torch.testing.assert_close(getattr(fork, name).state_dict(), start[name])
    assert fork.F.channels == n.F.channels[3:]


def test_g_and_d_begin_like_those_of_cyclegan(chapter):
    from cyclegan_mistakes import chapter_with as cyclegan_with

    torch.manual_seed(3)
    ours = chapter.networks(TINY)
    torch.manual_seed(3)
    theirs = cyclegan_with().networks(TINY)
    torch.testing.assert_close(ours.G.state_dict(), theirs.G_AB.state_dict())
    torch.testing.assert_close(ours.D.state_dict(), theirs.D_B.state_dict())


def test_the_side_runs_go_on_where_they_were(chapter):
    forks = dict(seeds=1, warm=2, steps=1, half_life=1, published=3)
    plan = TINY | dict(size=64, blocks=2, steps=2, picked=(0, 1, 2, 3, 4))
    first = list(chapter.side_runs(plan, {"CUT": RULE, "FastCUT": FAST}, forks, 4))
    before = ["FastCUT", "with L1 identity", "FastCUT, weight 10", "start"]
    assert [key for key, *_ in first] == [(arm, 0) for arm in (*before, *chapter.ABLATIONS)]
    assert [run.step for _, run, _ in first] == [2, 2, 3, 2] + [1] * len(chapter.ABLATIONS)
    assert "NCE" not in first[-1][1].losses and "NCE" in first[-2][1].losses  # without contrast, from elsewhere
    again = list(chapter.side_runs(plan, {"CUT": RULE, "FastCUT": FAST}, forks, 4))
    for (_, run, n), (_, other, m) in zip(first, again, strict=True):
        assert other._start[0] == run.step and torch.equal(weights(n), weights(m))


def test_the_identity_in_l1_is_that_of_the_picture_given_back(chapter, sets):
    run, n = trained(chapter, sets, TINY | dict(steps=1), RULE | dict(l1=5.0))
    torch.manual_seed(0)
    fresh = chapter.networks(TINY)
    j = next(sets[1].indices(1, 1))
    b = chapter.loaded(sets[1], j, "cpu")
    assert run.losses["L1"] == pytest.approx(5 * (fresh.G(b) - b).abs().mean().item(), rel=1e-3)
    assert "L1" not in trained(chapter, sets, TINY | dict(steps=1))[0].losses


def test_a_whole_picture_keeps_its_size_and_shows_no_border(chapter):
    flat = torch.full((1, 3, 30, 37), 0.25)
    G = chapter.painter(PAIR)
    made = chapter.whole(G, flat)
    assert made.shape == flat.shape
    plain = chapter.translate(G, torch.full((1, 3, 32, 40), 0.25))
    assert (made - made.mean(dim=(2, 3), keepdim=True)).std() < (plain - plain.mean(dim=(2, 3), keepdim=True)).std()


def test_the_wide_sketches_are_all_wide(chapter):
    wide = chapter.wide_sketches(3)
    assert len(wide) == 3 and (wide.contents["face_width"] - 1.14).abs().max() < 1e-6


# Measurements ---------------------------------------------------------------------------------------------------------


def test_a_patch_is_found_where_its_own_key_fits_best(chapter):
    products = torch.eye(4).expand(2, 4, 4)
    assert chapter.found(products) == 1 and chapter.found(products.flip(2)) == 0


def test_codes_that_hold_a_factor_alike_in_both_styles_are_told_from_those_that_do_not(chapter):
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(400, 6, generator=generator)
    noise = [0.1 * torch.randn(400, 16, generator=generator) for _ in range(2)]
    lift = torch.randn(6, 16, generator=generator)
    photo = targets @ lift + noise[0]
    alike = chapter.told_apart(photo, targets @ lift + noise[1], targets, ridge=1.0)
    apart = chapter.told_apart(photo, targets.flip(1) @ lift + noise[1], targets, ridge=1.0)
    assert min(alike["photographs"], alike["sketches"], alike["same person"]) > 0.7
    assert apart["photographs"] > 0.9 and apart["sketches"] < 0.3 and apart["same person"] < 0.3
    moved = chapter.told_apart(photo, targets @ lift + noise[1] + 5, targets, ridge=1.0)  # a style is no content
    assert moved["sketches"] > 0.9


# Two pictures, own pictures -------------------------------------------------------------------------------------------


def test_crops_are_parts_of_the_picture_at_one_zoom(chapter):
    picture = torch.rand(1, 3, 80, 100)
    first, again = (chapter.crops(picture, 4, 64, torch.Generator().manual_seed(5)) for _ in range(2))
    assert first.shape == (4, 3, 64, 64) and torch.equal(first, again)
    assert not torch.equal(first, chapter.crops(picture, 4, 64, torch.Generator().manual_seed(6)))
    small = chapter.crops(torch.rand(1, 3, 64, 70), 2, 64, torch.Generator().manual_seed(0))
    assert small.shape == (2, 3, 64, 64)  # never enlarged beyond what the crop needs


def test_a_generator_without_norms_sees_crops_as_it_sees_the_picture(chapter):
    torch.manual_seed(1)
    G = chapter.without_norms(resnet.Generator(4, 1, antialias=True)).double()
    x = torch.rand(1, 3, 96, 96, dtype=torch.float64) * 2 - 1
    whole, part = G(x), G(x[..., 16:80, 16:80])
    difference = (part[..., 28:36, 28:36] - whole[..., 44:52, 44:52]).abs().max()  # where borders hardly reach
    assert difference < 1e-3 * whole.std()
    assert 0.01 < whole.std() < 0.9


def test_own_folders_and_an_own_pair(chapter, tmp_path):
    generator = torch.Generator().manual_seed(0)
    for folder, count in (("a", 3), ("b", 2)):
        for i in range(count):
            (tmp_path / folder).mkdir(exist_ok=True)
            images.write(torch.rand(3, 80, 90, generator=generator), tmp_path / folder / f"{i}.png")
    run = chapter.own_folders(tmp_path / "a", tmp_path / "b", tmp_path / "out", TINY | dict(steps=2), RULE)
    made = sorted((tmp_path / "out").glob("*.png"))
    assert run.step == 2 and [path.name for path in made] == ["00000.png", "00001.png", "00002.png"]
    pair = tmp_path / "a/0.png", tmp_path / "b/0.png", tmp_path / "pair.png"
    run = chapter.own_pair(*pair, PAIR, high=72)
    assert run.step == 3 and images.read(pair[2]).shape[-2:] == (72, 81)
    assert chapter.own_pair(*pair, PAIR, high=72).step == 3  # goes on where it was: at its end
    with pytest.raises(CheckpointError, match="another"):  # and not with other pictures
        chapter.own_pair(pair[1], pair[0], pair[2], PAIR, high=72)
    with pytest.raises(images.ImageError):
        chapter.own_pair(tmp_path / "none.png", *pair[1:], PAIR)


# The shipped generators -----------------------------------------------------------------------------------------------


def test_the_shipped_generators_draw_and_patches_find_themselves(chapter):
    settings = zoo.record("cut_portraits")["settings"]
    nets = zoo.load("cut_portraits", chapter.finished(settings))
    contents = metrics.TASKS["portraits photo->sketch"].contents(8)
    photos, truth = (world.render(contents, style, 64) for style in ("photo", "sketch"))
    for name in ("CUT", "FastCUT"):
        drawn = chapter.translate(nets[name], photos)
        assert (drawn - truth).abs().mean() < (photos - truth).abs().mean() / 3, name
    drawn, everywhere = chapter.translate(nets["CUT"], photos), [torch.arange(256)] * 5
    products = chapter.similarities(nets["CUT"], nets["F"], photos, drawn, everywhere)
    assert chapter.found(products[-1]) > 0.3 > 0.05 > chapter.found(products[-1].roll(1, 2))


def test_the_shipped_painter_changes_the_colours_towards_the_painting(chapter):
    painter = zoo.load("cut_etretat", chapter.painter(zoo.record("cut_etretat")["settings"]))
    photo = images.picture("astronaut", 96)
    painted = chapter.whole(painter, photo)
    assert painted.shape == photo.shape and painted.std() > 0.05 and (painted - photo).abs().mean() > 0.05
    assert sum(zoo.record(name)["bytes"] for name in ("cut_portraits", "cut_etretat")) <= 5_000_000


# What the chapter claims can fail -------------------------------------------------------------------------------------

HELD = {
    ("content", "CUT"): [0.8],
    ("content", "CycleGAN"): [0.7],
    ("content", "without cycle"): [0.4],
    ("seconds_per_step", "CUT"): [0.5],
    ("seconds_per_step", "CycleGAN"): [1.0],
    ("step_bytes", "CUT"): [5.0],
    ("step_bytes", "CycleGAN"): [9.0],
    ("read from sketches", "CUT"): [0.6],
    ("read from sketches", "CycleGAN"): [0.4],
    ("read from sketches", "untrained"): [0.2],
    ("content of the fork", "all taps"): [0.6, 0.5, 0.6],
    ("content of the fork", "no contrast"): [0.4, 0.4, 0.3],
}


@pytest.mark.parametrize(
    "changed, part, mark",
    [
        ({}, None, "holds"),
        ({("content", "without cycle"): [0.79]}, "keeps more than CycleGAN without its cycle", "depends"),
        (
            {("content of the fork", "no contrast"): [0.4, 0.55, 0.3]},
            "keeps more than without the contrast (forks)",
            "depends",
        ),
        ({("content", "CycleGAN"): [0.9]}, "keeps no less than CycleGAN", "depends"),
        ({("seconds_per_step", "CUT"): [1.1]}, "a step takes less time", "depends"),
        ({("step_bytes", "CUT"): [9.5]}, "and less memory", "depends"),
        ({("read from sketches", "CUT"): [0.41]}, "sketches are read better than by CycleGAN", "depends"),
        ({("read from sketches", "untrained"): [0.6]}, "sketches are read better than by CycleGAN", "depends"),
    ],
)
def test_each_part_of_c08_turns(chapter, changed, part, mark):
    told = chapter.c08_parts(facts_from(HELD, changed=changed))
    assert [name for name, answer in told.items() if not answer] == ([part] if part else [])
    assert chapter.c08_verdict(told) == mark


def test_c08_fails_where_nothing_is_kept(chapter):
    lost = {("content", "without cycle"): [0.79], ("content of the fork", "no contrast"): [0.6] * 3}
    assert chapter.c08_verdict(chapter.c08_parts(facts_from(HELD, changed=lost))) == "fails"


def test_c08_is_as_recorded_and_turns_with_swapped_arms(chapter):
    rows = results.rows("cut")
    told = chapter.c08_parts(results.facts("cut", rows))
    mark = next(row["value"] for row in rows if (row["name"], row["claim"]) == ("verdict", "C08"))
    assert mark == chapter.c08_verdict(told)
    assert chapter.c08_parts(results.facts("cut", swapped(rows, "CUT", "CycleGAN"))) != told
    turned = chapter.c08_parts(results.facts("cut", swapped(rows, "all taps", "no contrast")))
    assert not turned["keeps more than without the contrast (forks)"]


@pytest.mark.parametrize("missed", [dict(content=0.84), dict(style=0.0), dict(perceptual=0.26)])
def test_each_bar_can_be_missed(chapter, missed):
    def facts(content=0.9, style=0.95, perceptual=0.2):
        ours = {"content": content, "style": style, "perceptual": perceptual}
        return {name: {"CUT": [value], "XDoG": [0.5]} for name, value in ours.items()}

    assert all(chapter.bars(facts()).values())
    assert sum(chapter.bars(facts(**missed)).values()) == 2
