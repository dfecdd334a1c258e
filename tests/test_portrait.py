"""The chapter `portrait`: its functions, what its trainings withstand, its traps, and that its claim can fail."""

from types import SimpleNamespace

import pytest
import torch
from portrait_mistakes import ALSO, MISTAKES, PLAN, RULE, chapter_with
from test_chapters import facts_from, swapped
from torch.nn import functional
from translators import killed_after, two_sets, weights

from stlib import backbones, images, metrics, oracle, results, training, world, zoo
from stlib.losses.structure import edges
from stlib.training import CheckpointError
from stlib.world import datasets

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = PLAN | dict(width=4, blocks=1, critic=4, local=4, pool=2, steps=8, half_life=4)
PLAIN = dict(forward="colours", cycle=10.0, truncation="none", levels=64, back=10.0, parts=0.0, identity=5.0)
ALONE = dict(forward="edges", cycle=0.0, truncation="none", levels=64, back=0.0, parts=0.0, identity=0.0)
LARGE = "G_AB", "G_BA", "D_A", "D_B"
JUDGES = "D_eyes", "D_nose", "D_mouth"


class Look:
    """A small frozen network in place of SqueezeNet: as quick, and the same with and without its weights."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.filters = {n: torch.randn(4, 3, 3, 3, generator=generator) for n in ("relu1", "fire2", "fire3", "fire5")}

    def __call__(self, pictures, names):
        return {name: functional.conv2d(pictures, self.filters[name].to(pictures)).relu() for name in names}


@pytest.fixture(scope="module")
def chapter():
    return chapter_with()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))
    monkeypatch.setattr(backbones, "load", lambda *_, **__: Look())


@pytest.fixture(scope="module")
def sets():
    return two_sets("line")


def trained(chapter, sets, plan=TINY, rule=RULE, **options):
    *_, (run, n) = chapter.train("toy", *sets, plan, rule, **options)
    return run, n


def random_pictures(seed=0, batch=2, size=16):
    """a (B, 3, H, W), b (B, 1, H, W) in [-1, 1], and masks (B, 3, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    a, b = (2 * torch.rand(batch, channels, size, size, generator=generator) - 1 for channels in (3, 1))
    return a, b, (torch.rand(batch, 3, size, size, generator=generator) < 0.5).float()


# Edges, levels, masks -------------------------------------------------------------------------------------------------


def test_edges_forgive_colours_but_no_other_person(chapter):
    contents = world.sample("portraits", range(2_000_000, 2_000_006))
    hues = {name: (contents[name] + 0.5) % 1 for name in ("background", "clothes_hue")}
    here, recoloured = (2 * world.render(c, "photo", 64) - 1 for c in (contents, contents.replace(**hues)))
    same, colours, person = chapter.edge_distances(Look(), here, [here, recoloured, here.roll(1, 0)])
    assert same == 0 and colours < person / 3
    assert (recoloured - here).abs().mean() > (here.roll(1, 0) - here).abs().mean() / 2  # in colours it costs as much


def test_edges_are_looked_for_in_pictures_from_0_to_1(chapter, monkeypatch):
    seen = []
    monkeypatch.setattr(chapter, "edges", lambda x: seen.append((x.min().item(), x.max().item())) or edges(x))
    a, *_ = random_pictures()
    chapter.edge_distances(Look(), a, [a.roll(1, 0)])
    assert 0 <= seen[0][0] < 0.1 and 0.9 < seen[0][1] <= 1


@pytest.mark.parametrize("levels", [2, 8, 64, 256])
def test_levels_are_so_many_and_never_above(chapter, levels):
    x = torch.linspace(-1, 1, 5001)
    y = chapter.truncated(x, levels=levels)
    assert (
        len(((y + 1) * 255 * levels / 512).round().unique()) == levels
        and (y <= x + 1e-6).all()
        and (x - y).max() <= 512 / 255 / levels + 1e-6
    )
    assert y.min() == -1 and torch.equal(chapter.truncated(y + 1e-4, levels=levels), y)


def who_learns(chapter, straight_through):
    """The networks that get a gradient from the truncated cycle alone."""
    n, (a, *_) = chapter.networks(TINY), random_pictures()
    (n.G_BA(chapter.truncated(n.G_AB(a), straight_through)) - a).abs().mean().backward()
    return {name for name in ("G_AB", "G_BA") if all(p.grad is not None for p in getattr(n, name).parameters())}


def test_only_the_reader_learns_from_the_truncated_cycle_as_released(chapter):
    assert who_learns(chapter, False) == {"G_BA"} and who_learns(chapter, True) == {"G_AB", "G_BA"}


@pytest.mark.parametrize(
    "part, changes",
    [
        ("eyes", dict(eye_open=(0.0, 1.0))),
        ("eyes", dict(gaze=(-1.0, 1.0))),
        ("nose", dict(nose=(0.0, 1.0))),
        ("mouth", dict(smile=(-1.0, 1.0))),
        ("mouth", dict(mouth_open=(0.0, 1.0))),
    ],
)
def test_what_a_factor_of_a_part_changes_lies_in_its_mask(chapter, part, changes):
    contents = world.sample("portraits", range(2_000_000, 2_000_060)).replace(glasses="no", tears=0.0, beard=0.0)
    ((factor, values),) = changes.items()
    drawn = [world.render(contents.replace(**{factor: value}), "line", 64) for value in values]
    change = (drawn[0] - drawn[1]).abs().mean(dim=1)
    inside = {
        name: (change * chapter.part_masks(contents, 64)[:, i]).sum() / change.sum()
        for i, name in enumerate(chapter.PARTS)
    }
    assert inside[part] > 0.85, inside
    assert 0.005 < chapter.part_masks(contents, 64)[:, chapter.PARTS.index(part)].float().mean() < 0.08


def test_outside_of_the_mask_is_white_and_inside_the_drawing(chapter):
    _, x, masks = random_pictures()
    m = masks[:, :1]
    shown, mask = chapter.masked(x, m).split(1, dim=1)
    assert torch.equal(mask, m) and (shown[m == 0] == 1).all()
    torch.testing.assert_close(shown[m == 1], x[m == 1])


@pytest.mark.parametrize("p", [0.0, 0.3, 2 / 3, 1.0])
def test_the_relaxed_cycle_falls_as_the_truncated_one_rises(chapter, p):
    weights = chapter.weights_at(p, RULE)
    assert sum(weights.values()) == pytest.approx(5) and weights["relaxed"] == pytest.approx(5 - 4.5 * p)
    assert chapter.weights_at(p, RULE | dict(truncation="none")) == {"relaxed": 5.0}
    assert chapter.weights_at(p, ALONE) == {}


# The losses against their formulas ------------------------------------------------------------------------------------


def by_hand(n, a, b, masks, p, look):
    """The generators' losses of the uneven cycle, each formula written out again."""

    def apart(x, y):
        total = 0
        ours, theirs = (look(edges((z + 1) / 2).expand(-1, 3, -1, -1), look.filters) for z in (x, y))
        for u, v in zip(ours.values(), theirs.values(), strict=True):
            u, v = (z / (z.square().sum(1, keepdim=True) + 1e-10).sqrt() for z in (u, v))
            total = total + (u - v).square().sum(1).mean() / len(ours)
        return total

    drawn = n.G_AB(a)
    coarse = (((drawn.detach() + 1) * 31.875).floor() / 31.875) - 1
    losses = {"G_AB": (n.D_B(drawn) - 1).square().mean(), "G_BA": (n.D_A(n.G_BA(b)) - 1).square().mean()}
    losses["relaxed"] = 5 * (1 - 0.9 * p) * apart(n.G_BA(drawn), a)
    losses["truncated"] = 5 * 0.9 * p * apart(n.G_BA(coarse), a)
    losses["strict"] = 5 * (n.G_AB(n.G_BA(b)) - b).abs().mean()
    for i, part in enumerate(("eyes", "nose", "mouth")):
        m = masks[:, i : i + 1]
        seen = torch.cat([torch.where(m == 1, drawn, torch.ones_like(drawn)), m], dim=1)
        losses[part] = (getattr(n, f"D_{part}")(seen) - 1).square().mean() / 2
    return losses


def differences(chapter, rule=RULE):
    """The largest relative difference of losses and of G_AB's gradients to those by hand."""
    torch.manual_seed(0)
    n, (a, b, masks) = chapter.networks(TINY), random_pictures()
    for name, net in vars(n).items():
        for q in net.parameters():
            q.data.mul_(10.0 if q.ndim > 1 and name[0] == "G" else 1.0)  # drawings with more than one grey
    found, _, _ = chapter.generator_losses(n, a, b, masks, 0.5, rule, Look())
    exact = by_hand(n, a, b, masks, 0.5, Look())
    apart = {name: abs(float(found[name].detach() / loss.detach()) - 1) for name, loss in exact.items()}
    ours, right = (
        torch.cat([g.flatten() for g in torch.autograd.grad(sum(losses.values()), [*n.G_AB.parameters()])])
        for losses in (found, exact)
    )
    return apart | {"gradient": float((ours - right).norm() / right.norm())}


def test_losses_and_gradients_are_those_of_the_formulas(chapter):
    assert max(differences(chapter).values()) < 1e-3, differences(chapter)


TRAPS = {
    "edges of pictures in [-1, 1]": ("float() + 1) / 2)  # edges", "float()))  # edges"),
    "the weights of the cycles exchanged": ('* (1 - late), "truncated": rule["cycle"] * late}',
                                            '* late, "truncated": rule["cycle"] * (1 - late)}'),
    "nothing is truncated": ('"truncated": truncated(fake_b, ', '"truncated": (lambda x, *_: x)(fake_b, '),
    "a sum for a straight-through gradient": ("return y + (x - x.detach()) if straight_through else y", "return x + y"),
    "strict on photographs": ("distance(n.G_AB(fake_a), b)", "distance(n.G_BA(fake_b), a)"),
    "black outside": ("outside=1.0", "outside=0.0"),
    "one mask for all parts": ("masked(fake_b, masks[:, i : i + 1])", "masked(fake_b, masks[:, :1])"),
    "local terms in full": ('rule["parts"] * g_least_squares', "g_least_squares"),
    "strict, but detached": MISTAKES["forgetful"],
    "truncated too early": MISTAKES["too_early"],
}  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS)
def test_traps_are_noticed(trap):
    assert max(differences(chapter_with(TRAPS[trap])).values()) > 0.02


def test_a_gradient_that_passes_the_truncation_is_noticed(chapter):
    found = differences(chapter, RULE | dict(truncation="straight-through"))
    assert found.pop("gradient") > 0.01 and max(found.values()) < 1e-3


def test_cyclegan_is_that_of_its_chapter(chapter):
    torch.manual_seed(0)
    n, (a, b, masks) = chapter.networks(TINY), random_pictures()
    losses, fake_a, fake_b = chapter.generator_losses(n, a, b, masks, 0.5, PLAIN, None)
    assert sorted(losses) == ["G_AB", "G_BA", "identity", "relaxed", "strict"]
    torch.testing.assert_close(losses["relaxed"], 10 * (n.G_BA(n.G_AB(a)) - a).abs().mean())
    grey = images.luminance(a)
    same = (n.G_AB(b.expand(-1, 3, -1, -1)) - b).abs().mean() + (n.G_BA(grey) - a).abs().mean()
    torch.testing.assert_close(losses["identity"], 5 * same)
    assert fake_a.shape == a.shape and fake_b.shape == b.shape


# A step ---------------------------------------------------------------------------------------------------------------


def strangers(chapter):
    """How many of the masks that the judges of parts are shown belong to another head than the drawing, in 60 steps."""
    size, counts, made_seen = 16, [], []
    rows = torch.arange(size).view(1, 1, size, 1).expand(1, 1, size, size)

    def mask_of(number):  # each head has its own; inside, its drawing has the value number / 100
        return torch.cat([(rows % 7 == (number + i) % 7).float() for i in range(3)], dim=1)

    def generator_losses(n, a, b, masks, *_):
        number = int(a[0, 0, 0, 0])
        return {"G_AB": torch.zeros(())}, a, torch.full((1, 1, size, size), number / 100)

    def told_apart(D, real, made):
        if made.shape[1] == 2:
            made_seen.append(made[0])
        return torch.zeros(())

    chapter.generator_losses, chapter.told_apart = generator_losses, told_apart
    n = SimpleNamespace(**{name: None for name in (*LARGE, *JUDGES)})
    run = SimpleNamespace(autocast=lambda: torch.autocast("cpu", enabled=False), descend=lambda *_: None)
    pools = {domain: training.ImagePool(5) for domain in "AB"}
    torch.manual_seed(0)
    for number in range(60):
        a, b = torch.full((1, 3, size, size), float(number)), torch.zeros(1, 1, size, size)
        made_seen.clear()
        chapter.step(run, n, pools, (a, b), [mask_of(number), mask_of(0)], 0.5, RULE, None)
        for i, (drawing, mask) in enumerate(made_seen):
            old = round(100 * drawing[mask == 1].mean().item())
            counts.append(not torch.equal(mask, mask_of(old)[0, i]))
    assert len(counts) == 180
    return sum(counts)


def test_a_drawing_from_the_pool_keeps_its_own_masks():
    assert strangers(chapter_with()) == 0


def test_masks_of_another_head_are_noticed():
    assert strangers(chapter_with(MISTAKES["strangers"], *ALSO["strangers"])) > 30


@pytest.mark.parametrize("rule", [RULE, PLAIN, ALONE], ids=["uneven", "CycleGAN", "alone"])
def test_each_side_moves_its_networks_only_and_no_gradient_is_left(chapter, sets, rule, monkeypatch):
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
    judges = {"D_A", "D_B", *(JUDGES if rule["parts"] else ())}
    assert moved == [("G", {"G_AB", "G_BA"}), ("D", judges)] * 2


def test_the_truncated_cycle_moves_only_the_reader_in_a_step(chapter, sets):
    """With nothing but the truncated cycle (p = 1 / 0.9), G_AB stands still as released, and moves straight-through."""
    plan = TINY | dict(steps=1, ends=(1 / 0.9, 1 / 0.9))
    only = RULE | dict(back=0.0, parts=0.0)

    def moved(truncation, monkeypatch):
        with monkeypatch.context() as patch:
            patch.setattr(chapter, "g_least_squares", lambda x: 0 * x.mean())
            torch.manual_seed(0)
            before = chapter.networks(plan)
            _, n = trained(chapter, sets, plan, only | dict(truncation=truncation))
        return {name for name in ("G_AB", "G_BA") if not torch.equal(weights(n, name), weights(before, name))}

    with pytest.MonkeyPatch.context() as monkeypatch:
        assert moved("released", monkeypatch) == {"G_BA"}
        assert moved("straight-through", monkeypatch) == {"G_AB", "G_BA"}


# A training -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [2, 5])
def test_a_killed_run_comes_to_the_same_bits(chapter, sets, stop, tmp_path, monkeypatch):
    run, n = trained(chapter, sets)
    whole, average = weights(n), weights(SimpleNamespace(G=run.averages["G_AB"].module))
    rate, pool = run.optimizers["G"].param_groups[0]["lr"], run.states["B"].pictures
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "killed"))
    with killed_after(stop, monkeypatch, chapter):
        trained(chapter, sets)
    run, n = trained(chapter, sets, resume=True)
    assert run.step == TINY["steps"] and run._start[0] == stop
    assert torch.equal(weights(n), whole)
    assert torch.equal(weights(SimpleNamespace(G=run.averages["G_AB"].module)), average)
    assert run.optimizers["G"].param_groups[0]["lr"] == rate
    assert all(torch.equal(x, y) for x, y in zip(run.states["B"].pictures, pool, strict=True))


def test_a_run_at_its_end_is_given_back_and_another_rule_is_not_mixed_in(chapter, sets):
    _, n = trained(chapter, sets, TINY | dict(steps=2))
    ended = list(chapter.train("toy", *sets, TINY | dict(steps=2), RULE, resume=True))
    assert len(ended) == 1 and torch.equal(weights(ended[0][1]), weights(n))
    with pytest.raises(CheckpointError, match="another truncation"):
        trained(chapter, sets, TINY | dict(steps=2), RULE | dict(truncation="none"), resume=True)


def test_nan_stops_with_a_sentence_and_reaches_no_weight(chapter, sets, monkeypatch):
    original, kept = chapter.distance, {"calls": 0}

    def poisoned(x, y):
        kept["calls"] += 1
        return original(x, y) * (float("nan") if kept["calls"] == 4 else 1.0)

    def watched(plan, networks=chapter.networks):
        kept["n"] = networks(plan)
        return kept["n"]

    monkeypatch.setattr(chapter, "distance", poisoned)
    monkeypatch.setattr(chapter, "networks", watched)
    with pytest.raises(FloatingPointError, match="'toy' stopped at step 3: a gradient of 'G' is not finite"):
        trained(chapter, sets)
    assert weights(kept["n"]).isfinite().all()


def test_p_goes_from_one_end_to_the_other(chapter, sets, monkeypatch):
    seen, original = [], chapter.weights_at
    monkeypatch.setattr(chapter, "weights_at", lambda p, rule: seen.append(p) or original(p, rule))
    trained(chapter, sets, TINY | dict(steps=4, ends=(0, 2 / 3)))
    assert seen == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6])


def test_both_finished_arms_begin_alike(chapter, sets):
    still = TINY | dict(steps=1, rate=0.0)
    (_, ours), (_, other) = (trained(chapter, sets, still, rule) for rule in (RULE, PLAIN))
    assert torch.equal(weights(ours), weights(other))


def test_forks_start_from_cyclegan_with_new_judges_and_go_on_where_they_were(chapter, sets, monkeypatch):
    monkeypatch.setattr(datasets, "unpaired", lambda *_: sets)
    how, rules = dict(steps=1, half_life=1, ends=(2 / 3, 2 / 3)), {"uneven cycle": RULE, "CycleGAN": PLAIN}
    plan = TINY | dict(steps=2)
    begun = []

    class Noted(training.Run):
        def __init__(self, name, modules, *given, **options):
            super().__init__(name, modules, *given, **options)
            begun.append(
                (
                    name,
                    {key: torch.cat([p.detach().flatten() for p in net.parameters()]) for key, net in modules.items()},
                )
            )

    monkeypatch.setattr(training, "Run", Noted)
    first = list(chapter.forks(plan, rules, how, 4, range(1, 2)))
    assert [key for key, _ in first] == [(arm, 1) for arm in chapter.ARMS]
    *_, (_, n) = chapter.train("portrait_plain", *sets, plan, PLAIN, resume=True)
    for name, start in begun[1:-1]:
        assert name.endswith("_1") and all(torch.equal(start[key], weights(n, key)) for key in LARGE)
        assert not any(torch.equal(start[key], weights(n, key)) for key in JUDGES)
    assert sorted(first[-1][1].losses) == ["D_A", "D_B", "G_AB", "G_BA"]  # the adversary alone
    assert {"relaxed", "truncated", "strict", "eyes", "D_eyes"} < {*first[0][1].losses}
    again = list(chapter.forks(plan, rules, how, 4, range(1, 2)))
    assert all(other._start[0] == run.step == 1 for (_, run), (_, other) in zip(first, again, strict=True))


def test_each_arm_changes_the_rule_in_what_it_is_called_after(chapter):
    full = dict(forward="edges", cycle=5.0, truncation="released", levels=64, back=5.0, parts=0.5, identity=0.0)
    assert chapter.ARMS["all losses"] == {} and all({*change} <= {*full} for change in chapter.ARMS.values())
    assert {key for key in full if chapter.ARMS["no parts"].get(key, full[key]) != full[key]} == {"parts"}


# Measurements ---------------------------------------------------------------------------------------------------------


def test_a_fault_in_a_part_counts_for_that_part(chapter, monkeypatch):
    monkeypatch.undo()
    contents = world.sample("portraits", range(2_000_000, 2_000_008))
    truth, masks = world.render(contents, "line", 64), chapter.part_masks(contents, 64).float()
    features = backbones.load("worldnet")
    assert {*chapter.part_distances(features, truth, truth, masks).values()} == {(0.0, 0.0)}
    for i, part in enumerate(chapter.PARTS):
        spoilt = torch.where(masks[:, i : i + 1] == 1, 1 - truth, truth)
        apart = chapter.part_distances(features, spoilt, truth, masks)
        assert max(apart, key=lambda name: apart[name][0]) == max(apart, key=lambda name: apart[name][1]) == part
        assert apart[part][1] == pytest.approx(
            (1 - 2 * truth).abs().mul(masks[:, i : i + 1]).sum().div(3 * masks[:, i].sum()).item(), rel=1e-3
        )


def test_the_oracle_reads_the_parts_in_lines(chapter, monkeypatch):
    monkeypatch.undo()
    carried = oracle.carried("portraits", "line")
    assert all(name in carried for names in chapter.READ.values() for name in names)
    assert not any(name in carried for name in chapter.HUES)
    contents = metrics.TASKS["portraits photo->line"].contents(64)
    judge, truth = oracle.load(), world.render(contents, "line", 64)
    for names in chapter.READ.values():
        assert (
            chapter.read_scores(judge, truth, contents, names)
            > 0.7
            > chapter.read_scores(judge, truth.flip(0), contents, names)
        )


def test_the_way_back_goes_through_so_many_levels(chapter):
    class Judge:
        def read(self, pictures, family):
            return oracle.Reading({name: torch.zeros(len(pictures)) for name in chapter.HUES}, {}, None)

    n, contents = chapter.networks(TINY), world.sample("portraits", range(4))
    photos, drawings = torch.rand(4, 3, 16, 16), torch.rand(4, 1, 16, 16)
    given = Look(), Judge(), n.G_BA, drawings, photos, contents
    _, _, back = chapter.way_back(*given)
    torch.testing.assert_close(back, chapter.translate(n.G_BA, drawings))
    _, _, coarse = chapter.way_back(*given, levels=4)
    torch.testing.assert_close(
        coarse, chapter.translate(n.G_BA, (chapter.truncated(2 * drawings - 1, levels=4) + 1) / 2)
    )
    assert (coarse - back).abs().max() > 1e-4


def test_styles_are_an_input_of_the_one_and_an_answer_of_the_other(chapter):
    torch.manual_seed(0)
    G, D = chapter.StyledGenerator(4, 1), chapter.StyledDiscriminator(4, 64)
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    one, other = (G(x, functional.one_hot(torch.tensor([k, k]), 3).float()) for k in (0, 1))
    assert one.shape == (2, 1, 64, 64) and not torch.equal(one, other)
    patches, styles = D(one)
    assert styles.shape == (2, 3) and patches.shape[:2] == (2, 1)
    hard = torch.tensor([0, 2])
    torch.testing.assert_close(
        chapter.style_loss(styles, functional.one_hot(hard, 3).float()), functional.cross_entropy(styles, hard)
    )


# Own pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("boxes", [None, {part: (0.25, 0.5, 0.0, 1.0) for part in ("eyes", "nose", "mouth")}])
def test_own_folders(chapter, tmp_path, boxes, monkeypatch):
    generator, seen = torch.Generator().manual_seed(0), []
    for folder, count in (("a", 3), ("b", 2)):
        for i in range(count):
            (tmp_path / folder).mkdir(exist_ok=True)
            images.write(torch.rand(3, 40, 50, generator=generator), tmp_path / folder / f"{i}.png")
    original = chapter.masked
    monkeypatch.setattr(chapter, "masked", lambda x, m, *given: seen.append(m) or original(x, m, *given))
    given = tmp_path / "a", tmp_path / "b", tmp_path / "out", TINY | dict(steps=2), RULE, boxes
    run = chapter.own_pictures(*given)
    made = sorted((tmp_path / "out").glob("*.png"))
    assert run.step == 2 and [path.name for path in made] == ["00000.png", "00001.png", "00002.png"]
    drawn = images.read(made[0])
    assert drawn.shape[-2:] == (32, 32) and (drawn[:, 0] - drawn[:, 2]).abs().max() < 0.02
    assert ("eyes" in run.losses) == bool(boxes) == bool(seen)
    if boxes:
        assert all((m[0, 0, 8:16] == 1).all() and m.sum() == 8 * 32 for m in seen)
    assert chapter.own_pictures(*given).step == 2  # goes on where it was: at its end
    with pytest.raises(CheckpointError, match="another"):  # and not with other pictures
        chapter.own_pictures(given[1], given[0], *given[2:])


# The shipped generators -----------------------------------------------------------------------------------------------


def test_the_shipped_generators_draw_and_one_of_them_reads(chapter, monkeypatch):
    monkeypatch.undo()
    nets = zoo.load("portrait_lines", chapter.finished(zoo.record("portrait_lines")["settings"]))
    contents = metrics.TASKS["portraits photo->line"].contents(8)
    photos, truth = (world.render(contents, style, 64) for style in ("photo", "line"))
    for name in ("G_AB", "CycleGAN"):
        drawn = chapter.translate(nets[name], photos)
        assert (drawn - truth).abs().mean() < (photos - truth).abs().mean() / 2, name
    back = chapter.translate(nets["G_BA"], chapter.translate(nets["G_AB"], photos))
    own, other = (edges(back) - edges(photos)).abs().mean(), (edges(back) - edges(photos.roll(1, 0))).abs().mean()
    assert own < 0.7 * other
    assert zoo.record("portrait_lines")["bytes"] <= 5_000_000


# What the chapter claims can fail -------------------------------------------------------------------------------------

HELD = {
    ("perceptual of the fork", "all losses"): [0.20, 0.21],
    ("perceptual of the fork", "adversary alone"): [0.40, 0.41],
    ("content of the fork", "all losses"): [0.80, 0.79],
    ("content of the fork", "adversary alone"): [0.50, 0.40],
    ("content of the fork", "no truncation"): [0.80, 0.79],
    ("content of the fork", "colours, not edges"): [0.70, 0.60],
}
for part in ("eyes", "nose", "mouth"):
    for how, *values in (("perceptual", 0.3, 0.4), ("read", 0.6, 0.5)):
        for arm, value in zip(("all losses", "no parts"), values, strict=True):
            HELD[f"{part} {how} of the fork", arm] = [value, value]


@pytest.mark.parametrize(
    "changed, part, mark",
    [
        ({}, None, "holds"),
        (
            {("perceptual of the fork", "adversary alone"): [0.4, 0.2]},
            "all losses draw nearer to the truth than the adversary alone",
            "depends",
        ),
        ({("content of the fork", "adversary alone"): [0.9, 0.4]}, "and keep more of the content", "depends"),
        (
            {("content of the fork", "colours, not edges"): [0.7, 0.8]},
            "edges keep more of the content than colours do",
            "depends",
        ),
        (
            {("eyes perceptual of the fork", "no parts"): [0.4, 0.2]},
            "nearer to the truth with the judges of parts: eyes",
            "depends",
        ),
        (
            {("nose perceptual of the fork", "no parts"): [0.2, 0.4]},
            "nearer to the truth with the judges of parts: nose",
            "depends",
        ),
        (
            {("mouth perceptual of the fork", "all losses"): [0.5, 0.1]},
            "nearer to the truth with the judges of parts: mouth",
            "depends",
        ),
        ({("nose read of the fork", "no parts"): [0.5, 0.7]}, "and what the parts show is read better", "depends"),
        ({("eyes read of the fork", "all losses"): [0.4, 0.6]}, "and what the parts show is read better", "depends"),
    ],
)
def test_each_part_of_c07_turns(chapter, changed, part, mark):
    told = chapter.c07_parts(facts_from(HELD, changed=changed))
    assert [name for name, answer in told.items() if not answer] == ([part] if part else [])
    assert chapter.c07_verdict(told) == mark


def test_c07_fails_where_the_adversary_alone_does_as_well(chapter):
    worse = {("perceptual of the fork", "all losses"): [0.5, 0.5], ("content of the fork", "all losses"): [0.3, 0.3]}
    assert chapter.c07_verdict(chapter.c07_parts(facts_from(HELD, changed=worse))) == "fails"
    told = chapter.c07_parts(facts_from(HELD, swap=("all losses", "no parts"), only="eyes perceptual"))
    assert not told["nearer to the truth with the judges of parts: eyes"]
    assert told["nearer to the truth with the judges of parts: nose"]


def test_c07_is_as_recorded_and_turns_with_swapped_arms(chapter):
    rows = results.rows("portrait")
    told = chapter.c07_parts(results.facts("portrait", rows))
    mark = next(row["value"] for row in rows if (row["name"], row["claim"]) == ("verdict", "C07"))
    assert mark == chapter.c07_verdict(told)
    assert chapter.c07_parts(results.facts("portrait", swapped(rows, "all losses", "adversary alone"))) != told


def distances(levels, of_drawer=(0, 0, 0), of_reader=(0, 0, 0), cost=0.3):
    """Distances after truncation, less what drawer and reader have learnt; the arms in the order of `MIXED`."""
    arms, made = chapter_with().MIXED[levels], {}
    for reader, less in zip(arms, of_reader, strict=True):
        row = {drawer: [0.3 - less - own, 0.31 - less - own] for drawer, own in zip(arms, of_drawer, strict=True)}
        made[f"edges after {levels} levels, read by {reader}"] = row
        made[f"cost of {levels} levels, read by {reader}"] = {drawer: [cost, cost] for drawer in arms}
    return made


@pytest.mark.parametrize("levels", [64, 4])
@pytest.mark.parametrize(
    "learnt, answers",
    [
        (dict(), (True, False, False, False, False)),
        (dict(cost=0.001), (False, False, False, False, False)),
        (dict(of_reader=(0, 0.1, 0)), (True, True, False, False, False)),
        (dict(of_drawer=(0, 0.1, 0)), (True, False, True, False, False)),
        (dict(of_reader=(0, 0.1, 0.1), of_drawer=(0, 0, 0.1)), (True, True, False, True, True)),
        (dict(of_reader=(0, -0.1, 0), of_drawer=(0, 0.2, 0)), (True, False, True, False, False)),
    ],
)
def test_who_learns_from_the_truncation_is_told_from_exchanged_partners(chapter, levels, learnt, answers):
    assert tuple(chapter.truncation_parts(distances(levels, **learnt), levels).values()) == answers


@pytest.mark.parametrize("missed", [dict(content=0.84), dict(style=0.0), dict(perceptual=0.26), dict(perceptual=0.6)])
def test_each_bar_can_be_missed(chapter, missed):
    def facts(content=0.9, style=0.95, perceptual=0.2):
        ours = {"content": content, "style": style, "perceptual": perceptual}
        return {name: {"uneven cycle": [value], "XDoG": [0.5]} for name, value in ours.items()}

    assert all(chapter.bars(facts()).values())
    assert sum(chapter.bars(facts(**missed)).values()) == (2 if missed.get("perceptual") == 0.6 else 3)
