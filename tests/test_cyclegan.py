"""The chapter `cyclegan`: its functions, what its trainings withstand, and that its claim can fail."""

from types import SimpleNamespace

import pytest
import torch
from cyclegan_mistakes import MISTAKES, PLAN, WEIGHTS, chapter_with, curves
from test_chapters import swapped
from translators import killed_after, two_sets, weights

from stlib import images, metrics, oracle, results, training, world, zoo
from stlib.training import CheckpointError
from stlib.world import datasets

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = PLAN | dict(width=4, blocks=1, critic=4, pool=2, steps=8, half_life=4)
ALONE = WEIGHTS | dict(cycle=0.0)


@pytest.fixture(scope="module")
def chapter():
    return chapter_with()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def sets():
    return two_sets("sketch")


def trained(chapter, sets, plan=TINY, of=WEIGHTS, **options):
    *_, (run, n) = chapter.train("toy", *sets, plan, of, **options)
    return run, n


# A step ---------------------------------------------------------------------------------------------------------------


def parts(chapter, of=WEIGHTS):
    torch.manual_seed(0)
    n = chapter.networks(TINY, of["cycle"] > 0)
    a, b = (torch.rand(2, 2, 3, 32, 32) * 2 - 1).unbind(0)
    return n, a, b


def test_one_pass_for_two_uses_is_two_passes(chapter):
    n, a, b = parts(chapter)
    losses, fakes = chapter.generator_losses(n, a, b, WEIGHTS)
    fake_b, fake_a = n.G_AB(a), n.G_BA(b)
    torch.testing.assert_close(fakes, {"A": fake_a, "B": fake_b})
    wanted = {
        "G_AB": (n.D_B(fake_b) - 1).square().mean(),
        "G_BA": (n.D_A(fake_a) - 1).square().mean(),
        "cycle_A": 10 * (n.G_BA(fake_b) - a).abs().mean(),
        "cycle_B": 10 * (n.G_AB(fake_a) - b).abs().mean(),
        "identity_B": 5 * (n.G_AB(b) - b).abs().mean(),
        "identity_A": 5 * (n.G_BA(a) - a).abs().mean(),
    }
    torch.testing.assert_close(losses, wanted)


def test_without_the_cycle_the_way_there_has_the_same_losses(chapter):
    n, a, b = parts(chapter)
    whole, fakes = chapter.generator_losses(n, a, b, WEIGHTS)
    alone, fake = chapter.one_way_losses(n, a, b, ALONE)
    torch.testing.assert_close(alone, {name: whole[name] for name in ("G_AB", "identity_B")})
    torch.testing.assert_close(fake, {"B": fakes["B"]})
    torch.manual_seed(0)
    other = chapter.networks(TINY, cycle=False)
    assert sorted(vars(other)) == ["D_B", "G_AB"]
    assert torch.equal(weights(other), weights(SimpleNamespace(G_AB=n.G_AB, D_B=n.D_B)))  # both arms begin alike


@pytest.mark.parametrize("of", [WEIGHTS, ALONE], ids=["cycle", "alone"])
def test_each_optimiser_moves_its_own_side_and_leaves_no_gradient_behind(chapter, sets, of, monkeypatch):
    moved = []

    class Watched(training.Run):
        def descend(self, name, loss, **options):
            before = {key: [p.detach().clone() for p in net.parameters()] for key, net in self.modules.items()}
            loss = super().descend(name, loss, **options)
            changed = {
                key[0]
                for key, net in self.modules.items()
                if any(not torch.equal(p, q) for p, q in zip(net.parameters(), before[key], strict=True))
            }
            moved.append((name, changed))
            assert all(p.grad is None for net in self.modules.values() for p in net.parameters())
            return loss

    monkeypatch.setattr(training, "Run", Watched)
    trained(chapter, sets, TINY | dict(steps=2), of)
    assert moved == [("G", {"G"}), ("D", {"D"})] * 2


def test_the_discriminators_see_what_was_made_before_the_step_and_never_its_graph(chapter, sets, monkeypatch):
    seen, made = [], []
    original = chapter.discriminator_losses

    def watched(n, real, fakes, pools):
        made.append({key: fake.detach().clone() for key, fake in fakes.items()})
        losses = original(n, real, fakes, pools)
        seen.append({key: torch.stack(pool.pictures) for key, pool in pools.items()})
        assert not any(p.requires_grad for pool in pools.values() for p in pool.pictures)
        return losses

    monkeypatch.setattr(chapter, "discriminator_losses", watched)
    trained(chapter, sets, TINY | dict(steps=2, pool=5))
    for domain in "AB":
        torch.testing.assert_close(seen[1][domain], torch.cat([made[0][domain], made[1][domain]]))


def test_the_identity_pulls_towards_the_target_domain(chapter):
    """With equal weights a generator that copies is best for the mistaken identity, and not for the right one."""
    n, a, b = parts(chapter)
    n.G_AB = n.G_BA = torch.nn.Identity()
    right, _ = chapter.generator_losses(n, a, b, WEIGHTS)
    n.G_AB, n.G_BA = (lambda x: b.repeat(len(x) // 2, 1, 1, 1)), (lambda x: a.repeat(len(x) // 2, 1, 1, 1))
    translated, _ = chapter.generator_losses(n, a, b, WEIGHTS)
    mistaken, _ = chapter_with(MISTAKES["own_domain"]).generator_losses(n, a, b, WEIGHTS)
    assert right["identity_B"] == right["identity_A"] == 0  # a copy keeps b, too
    assert translated["identity_B"] == translated["identity_A"] == 0 < mistaken["identity_B"]


# A training -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [2, 5])
@pytest.mark.parametrize("of", [WEIGHTS, ALONE], ids=["cycle", "alone"])
def test_a_killed_run_comes_to_the_same_bits(chapter, sets, stop, of, tmp_path, monkeypatch):
    run, n = trained(chapter, sets, of=of)
    whole, average = weights(n), weights(SimpleNamespace(G=run.averages["G_AB"].module))
    pool, rate = torch.stack(run.states["B"].pictures), run.optimizers["G"].param_groups[0]["lr"]

    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "killed"))
    with killed_after(stop, monkeypatch, chapter):
        trained(chapter, sets, of=of)
    run, n = trained(chapter, sets, of=of, resume=True)
    assert run.step == TINY["steps"] and run._start[0] == stop
    assert torch.equal(weights(n), whole)
    assert torch.equal(weights(SimpleNamespace(G=run.averages["G_AB"].module)), average)
    assert torch.equal(torch.stack(run.states["B"].pictures), pool)
    assert run.optimizers["G"].param_groups[0]["lr"] == rate


def test_a_run_at_its_end_is_given_back_at_once(chapter, sets):
    _, n = trained(chapter, sets, TINY | dict(steps=2))
    ended = list(chapter.train("toy", *sets, TINY | dict(steps=2), WEIGHTS, resume=True))
    assert len(ended) == 1 and torch.equal(weights(ended[0][1]), weights(n))
    begun = list(chapter.train("toy", *sets, TINY | dict(steps=2), WEIGHTS))  # anew, over the old checkpoint
    assert len(begun) == 3
    with pytest.raises(CheckpointError, match="another cycle"):
        trained(chapter, sets, TINY | dict(steps=2), WEIGHTS | dict(cycle=5.0), resume=True)


def test_nan_stops_with_a_sentence_and_reaches_no_weight(chapter, sets, monkeypatch):
    original, kept = chapter.generator_losses, {}

    def poisoned(n, a, b, of):
        losses, fakes = original(n, a, b, of)
        if kept.setdefault("calls", 0) == 3:
            losses["cycle_A"] = losses["cycle_A"] * float("nan")
        kept.update(calls=kept["calls"] + 1, n=n)
        return losses, fakes

    monkeypatch.setattr(chapter, "generator_losses", poisoned)
    with pytest.raises(
        FloatingPointError, match=r"'toy' stopped at step 3: a gradient of 'G' is not finite; .*: start"
    ):
        trained(chapter, sets)
    assert weights(kept["n"]).isfinite().all()


def test_forks_start_from_the_given_weights_and_differ_by_seed(chapter, sets):
    _, n = trained(chapter, sets, TINY | dict(steps=1))
    start = {name: net.state_dict() for name, net in vars(n).items()}
    still = TINY | dict(steps=1, rate=0.0)
    for of in (WEIGHTS, ALONE):
        _, fork = trained(chapter, sets, still, of, seed=1, start=start)
        assert all(torch.equal(weights(SimpleNamespace(x=net)), weights(SimpleNamespace(x=getattr(n, name))))
                   for name, net in vars(fork).items())  # fmt: skip
    one, other = (weights(trained(chapter, sets, TINY | dict(steps=2), seed=s, start=start)[1]) for s in (0, 1))
    assert not torch.equal(one, other)


def test_the_other_runs_go_on_where_they_were(chapter):
    few = dict(shots=(1, 5), seeds=2, warm=2, steps=1, half_life=1)
    plan = TINY | dict(size=64, steps=2)
    first = list(chapter.other_runs(plan, few, WEIGHTS, 4))
    names = ["without cycle", "start"]
    names += [f"{k}, {arm}" for k in (1, 5) for arm in ("CycleGAN", "without cycle") for _ in range(2)]
    assert [name for name, _ in first] == names
    assert [run.step for _, run in first] == [2, 2] + [1] * 8
    assert all(("G_BA" in run.modules) is ("without" not in name) for name, run in first)
    again = list(chapter.other_runs(plan, few, WEIGHTS, 4))
    for (_, one), (_, other) in zip(first, again, strict=True):
        assert other._start[0] == one.step
        assert torch.equal(weights(SimpleNamespace(**one.modules)), weights(SimpleNamespace(**other.modules)))


def test_the_rate_is_constant_for_half_of_the_steps_and_never_0(chapter, sets):
    rates = [run.optimizers["D"].param_groups[0]["lr"] for run, _ in chapter.train("toy", *sets, TINY, WEIGHTS)]
    used = [TINY["rate"], *rates[:-2]]  # that of a step is set by the step before
    assert used[:4] == [TINY["rate"]] * 4 and used[-1] == pytest.approx(TINY["rate"] / 5)
    assert all(x > y for x, y in zip(used[4:], used[5:], strict=False))


@pytest.mark.parametrize(
    "mistake, loss", [("still", "discriminators"), ("no_cycle", "cycle"), ("targets", "generators")]
)
def test_the_curves_of_the_last_exercise_come_from_this_step(mistake, loss, sets, monkeypatch):
    """In a few steps already the broken run leaves the healthy one in the curve that gives it away."""
    monkeypatch.setattr(training, "ROW", 10)
    plan = TINY | dict(steps=40, width=8, critic=8)
    healthy, broken = (
        curves(chapter_with(*changes), "toy", *sets, plan)[loss] for changes in ((), (MISTAKES[mistake],))
    )
    assert (broken[-1] > healthy[-1]) is (mistake != "targets"), (healthy, broken)


# Pictures -------------------------------------------------------------------------------------------------------------


def test_translating_stays_in_range_and_trains_nothing(chapter):
    G = chapter.networks(TINY).G_AB
    pictures = torch.rand(2, 3, 32, 32)
    made = chapter.translate(G, pictures)
    assert made.shape == pictures.shape and 0 <= made.min() and made.max() <= 1 and not made.requires_grad
    torch.testing.assert_close(chapter.translate(Copy(), pictures), pictures)


class Copy(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return x + self.weight


def test_own_pictures_of_two_tiny_folders(chapter, tmp_path):
    generator = torch.Generator().manual_seed(0)
    for folder, count in (("a", 3), ("b", 2)):
        for i in range(count):
            (tmp_path / folder).mkdir(exist_ok=True)
            images.write(torch.rand(3, 40, 50, generator=generator), tmp_path / folder / f"{i}.png")
    plan = TINY | dict(steps=2)
    folders = tmp_path / "a", tmp_path / "b", tmp_path / "out"
    run = chapter.own_pictures(*folders, plan, WEIGHTS)
    made = sorted((tmp_path / "out").glob("*.png"))
    assert run.step == 2 and [path.name for path in made] == ["00000.png", "00001.png", "00002.png"]
    assert images.read(made[0]).shape[-2:] == (32, 32)
    assert chapter.own_pictures(*folders, plan, WEIGHTS).step == 2  # goes on where it was: at its end
    with pytest.raises(CheckpointError, match="another"):  # and not with other folders
        chapter.own_pictures(folders[1], folders[0], tmp_path / "out", plan, WEIGHTS)
    with pytest.raises(datasets.DatasetError, match="There is no folder"):
        chapter.own_pictures(tmp_path / "c", tmp_path / "b", tmp_path / "out", plan, WEIGHTS)


def test_sides_that_cannot_be_are_told(chapter):
    with pytest.raises(ValueError, match="sides are multiples of 4"):
        chapter.translate(chapter.networks(TINY).G_AB, torch.rand(1, 3, 34, 34))


def test_six_bits_are_64_levels_and_noise_has_its_deviation(chapter):
    x = torch.linspace(0, 1, 10_001).view(1, 1, 1, -1)
    assert len(chapter.quantised(x).unique()) == 64 and len(chapter.quantised(x, 8).unique()) == 256
    assert (chapter.quantised(x) - x).abs().max() <= 0.5 / 63 + 1e-6
    grey = torch.full((4, 3, 32, 32), 0.5)
    noise = chapter.noisy(grey, 0.02) - grey
    assert noise.std().item() == pytest.approx(0.02, rel=0.05)
    assert torch.equal(chapter.noisy(grey, 0.02), chapter.noisy(grey, 0.02))


def test_a_blur_takes_a_weave_and_uncolouring_takes_colour_only(chapter):
    weave = torch.full((1, 3, 16, 16), 0.5) + 0.1 * (torch.arange(16) % 2 - 0.5)
    assert chapter.blurred(weave).std() < 0.3 * weave.std() and torch.equal(chapter.blurred(weave, 0), weave)
    drawing = torch.lerp(chapter.PAPER, chapter.GRAPHITE, torch.rand(1, 1, 8, 8))
    torch.testing.assert_close(chapter.uncoloured(drawing), drawing)
    tinted = drawing + torch.tensor([0.02, -0.01, 0.03]).view(1, 3, 1, 1)
    made = chapter.uncoloured(tinted)
    torch.testing.assert_close(images.luminance(made), images.luminance(tinted))
    torch.testing.assert_close(chapter.uncoloured(made), made)


def test_hues_are_read_off_photographs_and_not_off_sketches(chapter):
    contents = world.sample("portraits", range(10_000_000, 10_000_032))
    judge = oracle.load("cpu")
    scores = {s: chapter.hue_score(judge, world.render(contents, s, 64), contents) for s in ("photo", "sketch")}
    assert scores["photo"] > 0.9 and abs(scores["sketch"]) < 0.4


# The shipped generators -----------------------------------------------------------------------------------------------


def test_the_shipped_generators_draw_and_come_back(chapter):
    settings = zoo.record("cyclegan_portraits")["settings"]
    nets = zoo.load("cyclegan_portraits", chapter.finished(settings))
    task = metrics.TASKS["portraits photo->sketch"]
    contents = task.contents(8)
    photos, truth = (world.render(contents, style, 64) for style in ("photo", "sketch"))
    drawn = chapter.translate(nets["G_AB"], photos)
    back = chapter.translate(nets["G_BA"], drawn)
    assert (drawn - truth).abs().mean() < (photos - truth).abs().mean() / 3
    assert (back - photos).abs().mean() < (drawn - photos).abs().mean() / 3
    assert nets.few.shape == (24, 3, 64, 64) and nets.few.dtype == torch.uint8
    assert zoo.record("cyclegan_portraits")["bytes"] <= 5_000_000


# What the chapter claims can fail -------------------------------------------------------------------------------------

HELD = {
    ("content", "CycleGAN"): [0.9],
    ("content", "without cycle"): [0.7],
    ("cycle_hue", "untouched"): [0.3],
    ("cycle_hue", "the true sketch"): [0.2],
    **{(f"content, {k} sketches", "CycleGAN"): [0.8, 0.82, 0.81] for k in (10, 50)},
    **{(f"content, {k} sketches", "without cycle"): [0.3, 0.4, 0.5] for k in (10, 50)},
    **{(f"style_raw, {k} sketches", "CycleGAN"): [0.8, 0.75, 0.8] for k in (10, 50)},
    **{(f"style_raw, {k} sketches", "without cycle"): [0.8, 0.8, 0.8] for k in (10, 50)},
    **{(f"memorisation, {k} sketches", "CycleGAN"): [0.9, 0.95, 0.92] for k in (10, 50)},
    **{(f"memorisation, {k} sketches", "without cycle"): [0.3, 0.2, 0.4] for k in (10, 50)},
}


def table(only=None, changed=()):
    """facts[name][arm] from HELD, with the two arms exchanged in measurements whose name contains `only`."""
    other = {"CycleGAN": "without cycle", "without cycle": "CycleGAN"}
    facts = {}
    for (name, arm), values in (HELD | dict(changed)).items():
        arm = other.get(arm, arm) if only is not None and only in name else arm
        facts.setdefault(name, {})[arm] = values
    return facts


def test_c06_holds_depends_and_fails(chapter):
    assert all(chapter.c06_parts(table()).values())
    assert chapter.c06_verdict(chapter.c06_parts(table())) == "holds"
    assert chapter.c06_verdict(chapter.c06_parts(table("memorisation"))) == "depends"
    assert chapter.c06_verdict(chapter.c06_parts(table("content"))) == "depends"
    assert chapter.c06_verdict(chapter.c06_parts(table("content, "))) == "depends"
    assert chapter.c06_verdict(chapter.c06_parts(table(""))) == "fails"
    nothing_to_stop = {(f"memorisation, {k} sketches", "without cycle"): [0.8, 0.8, 0.8] for k in (10, 50)}
    assert chapter.c06_verdict(chapter.c06_parts(table(changed=nothing_to_stop))) == "depends"
    hidden = {("cycle_hue", "untouched"): [0.9]}
    assert chapter.c06_verdict(chapter.c06_parts(table(changed=hidden))) == "depends"


@pytest.mark.parametrize(
    "changed, part",
    [
        ({("content", "without cycle"): [0.89]}, "with many sketches the cycle keeps more content"),
        ({("content, 10 sketches", "CycleGAN"): [0.8, 0.3, 0.8]}, "with few sketches it keeps more content"),
        ({("memorisation, 50 sketches", "CycleGAN"): [0.9, 0.9, 0.3]}, "with few sketches it copies less"),
        (
            {(f"memorisation, {k} sketches", "without cycle"): [0.8] * 3 for k in (10, 50)},
            "without it the few are learnt by heart",
        ),
        ({("memorisation, 10 sketches", "CycleGAN"): [0.48, 0.49, 0.45]}, "with it they are not"),
        ({("style_raw, 50 sketches", "CycleGAN"): [0.3, 0.9, 0.8]}, "and it draws sketches no less"),
        ({("cycle_hue", "untouched"): [0.8]}, "the tie is what an eye can see"),
    ],
)
def test_each_part_of_c06_turns(chapter, changed, part):
    told = chapter.c06_parts(table(changed=changed))
    assert not told.pop(part) and all(told.values())


def test_c06_is_as_recorded_and_turns_with_swapped_arms(chapter):
    rows = results.rows("cyclegan")
    told = chapter.c06_parts(results.facts("cyclegan", rows))
    mark = next(row["value"] for row in rows if (row["name"], row["claim"]) == ("verdict", "C06"))
    assert mark == chapter.c06_verdict(told)
    turned = chapter.c06_parts(results.facts("cyclegan", swapped(rows, "CycleGAN", "without cycle")))
    assert turned != told


def bar_facts(content=0.9, style=0.95, perceptual=0.2):
    ours = {"content": content, "style": style, "perceptual": perceptual}
    return {name: {"CycleGAN": [value], "XDoG": [0.5]} for name, value in ours.items()}


def test_each_bar_can_be_missed(chapter):
    assert all(chapter.bars(bar_facts()).values())
    for missed in (dict(content=0.84), dict(style=0.0), dict(perceptual=0.26)):
        assert sum(chapter.bars(bar_facts(**missed)).values()) == 2
