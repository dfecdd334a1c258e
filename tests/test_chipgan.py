"""The chapter `chipgan`: its functions, what its trainings withstand, and that its claims can fail."""

import contextlib
from types import SimpleNamespace

import pytest
import torch
from chipgan_mistakes import PLAN, RULE, chapter_with
from test_chapters import facts_from, swapped
from translators import killed_after, two_sets, weights

from stlib import images, metrics, results, training, world, zoo
from stlib.losses.structure import edges
from stlib.nets import patchgan
from stlib.training import CheckpointError
from stlib.world import datasets

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = PLAN | dict(width=4, blocks=1, critic=4, pool=1, projected=8, patches=16, steps=8, decay=4, half_life=4)
NONE = RULE | dict(brush=0.0, ink=0.0)
ON_CUT = RULE | dict(base="CUT")
BASES = pytest.mark.parametrize("rule", [RULE, ON_CUT], ids=["CycleGAN", "CUT"])


@pytest.fixture(scope="module")
def chapter():
    return chapter_with()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def sets():
    return two_sets("ink")


def trained(chapter, sets, plan=TINY, rule=RULE, **options):
    *_, (run, n) = chapter.train("toy", *sets, plan, rule, **options)
    return run, n


# The losses -----------------------------------------------------------------------------------------------------------


def test_one_black_pixel_becomes_a_square_and_the_border_stays_white(chapter):
    x = torch.ones(1, 3, 9, 9)
    x[..., 4, 4] = -1
    black = chapter.eroded(x) == -1
    assert black.sum() == 3 * 25 and black[..., 2:7, 2:7].all()
    assert chapter.eroded(torch.full((1, 3, 9, 9), 0.7)).unique().tolist() == pytest.approx([0.7])
    assert torch.equal(chapter.eroded(x, 1), x)


def test_a_wash_is_a_plain_blur_of_the_erosion(chapter):
    x = torch.rand(2, 3, 30, 26, dtype=torch.float64) * 2 - 1
    k = chapter.blur_kernel()
    K = (k[:, None] * k).expand(3, 1, 21, 21)  # noqa: N806
    plain = torch.nn.functional.conv2d(chapter.eroded(x), K, padding=1, groups=3)
    torch.testing.assert_close(chapter.washed(x), plain)
    assert plain.shape == (2, 3, 12, 8)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_brush_loss_is_finite_where_a_logarithm_is_not(chapter, p):
    flat = torch.full((1, 1, 4, 4), p, requires_grad=True)
    loss = chapter.brush_loss(flat, torch.rand(1, 1, 4, 4))
    loss.backward()
    assert loss.isfinite() and loss > 1 and flat.grad.isfinite().all()
    without = chapter_with((".clamp(1e-6, 1 - 1e-6)", ""))
    assert not without.brush_loss(flat, torch.rand(1, 1, 4, 4)).isfinite()


def test_the_cheapest_edge_is_the_one_that_the_text_names(chapter):
    y = torch.cat([torch.full((1, 1, 4, 16), value) for value in (0.0, 0.1, 0.3, 1.0)], dim=2)
    p = torch.full_like(y, 0.5, requires_grad=True)
    optimizer = torch.optim.Adam([p], 0.01)
    for _ in range(600):
        optimizer.zero_grad()
        chapter.brush_loss(p, y).backward()
        optimizer.step()
        p.data.clamp_(0.001, 0.999)
    beta = (1 - y).mean()
    wanted = beta * y / (beta * y + (1 - beta) * (1 - y))
    torch.testing.assert_close(p.detach(), wanted.clamp(0.001, 0.999), atol=0.02, rtol=0)
    assert wanted[0, 0, 5, 0] > y[0, 0, 5, 0]


def test_edges_are_taken_in_single_precision_also_under_autocast(chapter):
    a, painting = (torch.rand(2, 1, 3, 32, 32) * 2 - 1).unbind(0)
    n = SimpleNamespace(D_ink=patchgan.Discriminator(4, 1))
    wash = chapter.washed(painting)
    with torch.autocast("cpu", torch.bfloat16):
        found = chapter.art_terms(n, a, painting, wash, RULE)["brush"]
        assert chapter.washed(painting).dtype == torch.float32
        torch.testing.assert_close(chapter.washed(painting), wash)
    torch.testing.assert_close(found, chapter.brush_loss(edges((painting + 1) / 2), edges((a + 1) / 2)))


# A step ---------------------------------------------------------------------------------------------------------------


@BASES
def test_who_moves_when_and_no_gradient_is_left(chapter, sets, rule, monkeypatch):
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
    cycle = [("G", {"G_AB", "G_BA"}), ("D", {"D_A", "D_B", "D_ink"})]
    cut = [("D", {"D_B", "D_ink"}), ("G", {"G_AB", "F"})]
    assert moved == 2 * (cut if rule["base"] == "CUT" else cycle)


def test_without_the_art_it_trains_as_cyclegan_does(chapter):
    from cyclegan_mistakes import chapter_with as cyclegan_with

    cyclegan, ends = cyclegan_with(), []
    pictures = torch.rand(4, 2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(8)) * 2 - 1

    def trained_by(step, n):
        sides = {side: [p for key, net in vars(n).items() if key[0] == side for p in net.parameters()] for side in "GD"}
        optimizers = {side: torch.optim.Adam(weights, 1e-3, (0.5, 0.999)) for side, weights in sides.items()}

        def descend(side, loss):
            loss.backward(inputs=sides[side])
            optimizers[side].step()
            optimizers[side].zero_grad()

        run = SimpleNamespace(autocast=contextlib.nullcontext, descend=descend)
        pools = {key: training.ImagePool(1) for key in ("A", "B", "ink")}
        for number, (a, b) in enumerate(pictures):
            torch.manual_seed(number)
            losses = step(run, n, pools, a, b)
        return n, losses

    torch.manual_seed(5)
    ends.append(
        trained_by(lambda *given: chapter.chip_step(*given, TINY, NONE, 1.0), chapter.networks(TINY, "CycleGAN"))
    )
    torch.manual_seed(5)
    both = {"cycle": 10.0, "identity": 5.0}
    ends.append(trained_by(lambda *given: cyclegan.step(*given, both), cyclegan.networks(TINY)))
    (n, ours), (m, theirs) = ends
    for name in vars(m):
        torch.testing.assert_close(getattr(n, name).state_dict(), getattr(m, name).state_dict(), atol=1e-4, rtol=1e-3)
    for name in ("D_A", "D_B", "G_AB"):
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-4, rtol=1e-3)


def test_one_step_without_the_art_has_cyclegan_s_losses(chapter):
    from cyclegan_mistakes import chapter_with as cyclegan_with

    torch.manual_seed(5)
    n = chapter.networks(TINY, "CycleGAN")
    a, b = (torch.rand(2, 2, 3, 32, 32) * 2 - 1).unbind(0)
    ours, fakes = chapter.cycle_terms(n, a, b, TINY)
    theirs, others = cyclegan_with().generator_losses(n, a, b, {"cycle": 10.0, "identity": 5.0})
    torch.testing.assert_close(sum(ours.values()), sum(theirs.values()))
    torch.testing.assert_close(ours["cycle"], theirs["cycle_A"] + theirs["cycle_B"])
    torch.testing.assert_close(fakes, others)
    torch.manual_seed(5)
    m = cyclegan_with().networks(TINY)
    for name, net in vars(m).items():  # and begin alike, whatever comes behind
        torch.testing.assert_close(net.state_dict(), getattr(n, name).state_dict())


def test_on_cut_s_base_without_the_art_it_is_cut(chapter):
    from cut_mistakes import chapter_with as cut_with

    cut = cut_with()
    everywhere = lambda maps, count: [torch.arange(m.shape[2] * m.shape[3]) for m in maps]  # noqa: E731
    mine = chapter_with()
    mine.draw_positions = cut.draw_positions = everywhere
    a, b = (torch.rand(2, 1, 3, 32, 32) * 2 - 1).unbind(0)
    run = SimpleNamespace(autocast=lambda: torch.autocast("cpu", enabled=False), descend=lambda side, loss: loss)
    torch.manual_seed(2)
    n = mine.networks(TINY, "CUT")
    pools = {key: training.ImagePool(0) for key in ("B", "ink")}
    ours = mine.cut_step(run, n, pools, a, b, TINY, NONE | dict(base="CUT"), 1.0)
    torch.manual_seed(2)
    plan = TINY | dict(picked=(0, 1, 2, 3, 4)[: len(n.G_AB.taps)], negatives="picture")
    m = cut.networks(plan)
    theirs = cut.step(run, m, a, b, plan, dict(contrast=1.0, identity=True, mirror=False))
    torch.testing.assert_close(ours["G_AB"], theirs["GAN"])
    torch.testing.assert_close(ours["D_B"], theirs["D"])
    torch.testing.assert_close(ours["NCE"], theirs["NCE"] + theirs["NCE_identity"])


@BASES
def test_what_is_left_out_of_the_sum_is_logged_and_moves_nothing(chapter, sets, rule):
    """The released code: an ink term with the weight 0. Its D_ink learns; the generators are those without any."""
    released, n = trained(chapter, sets, rule=rule | dict(ink=0.0))
    without, m = trained(
        chapter, sets, rule=rule | dict(ink=0.0, port=True)
    )  # another term altogether, left out as well
    assert released.losses["ink"] != without.losses["ink"] and released.losses["D_ink"] > 0
    assert torch.equal(weights(SimpleNamespace(G=n.G_AB)), weights(SimpleNamespace(G=m.G_AB)))
    _, described = trained(chapter, sets, rule=rule)
    assert not torch.equal(weights(SimpleNamespace(G=n.G_AB)), weights(SimpleNamespace(G=described.G_AB)))


def test_both_terms_reach_the_generator_and_only_the_one_that_paints(chapter, sets):
    n = chapter.networks(TINY, "CycleGAN")
    a = torch.rand(1, 3, 32, 32) * 2 - 1
    painting = n.G_AB(a)
    art = chapter.art_terms(n, a, painting, chapter.washed(painting), RULE)
    for term in art.values():
        there = torch.autograd.grad(term, [*n.G_AB.parameters()], retain_graph=True, allow_unused=True)
        assert any(g is not None and g.any() for g in there)
        back = torch.autograd.grad(term, [*n.G_BA.parameters()], retain_graph=True, allow_unused=True)
        assert all(g is None for g in back)


def test_the_ink_pool_keeps_washes(chapter, sets):
    run, _ = trained(chapter, sets, TINY | dict(pool=3))
    sizes = {key: {tuple(p.shape) for p in run.states[key].pictures} for key in ("A", "B", "ink")}
    assert sizes == {"A": {(3, 32, 32)}, "B": {(3, 32, 32)}, "ink": {(3, 14, 14)}}


@pytest.mark.parametrize(
    "change",
    [
        ('"ink": washed(b, plan["erosion"])}', '"ink": b}'),  # real paintings not washed
        ('fakes["ink"] = washed(fakes["B"], plan["erosion"])', 'fakes["ink"] = fakes["B"]'),  # made ones neither
        ("pools[name].query(fake)", 'pools["B"].query(fake)'),  # one pool for all
    ],
)
def test_traps_of_the_ink_critic_stop(change, sets):
    with pytest.raises((RuntimeError, ValueError)):
        trained(chapter_with(change), sets)


def test_the_edges_are_those_of_the_photograph(chapter, sets):
    a = torch.rand(1, 3, 32, 32) * 2 - 1
    n = SimpleNamespace(D_ink=patchgan.Discriminator(4, 1))
    own, other = (chapter.art_terms(n, a, x, chapter.washed(x), RULE)["brush"] for x in (a, torch.rand_like(a) * 2 - 1))
    assert own < other


def brush_of_a_step(chapter):
    """The brush term of a step, and what it should be, for the photograph of that step."""
    torch.manual_seed(4)
    n = chapter.networks(TINY, "CycleGAN")
    a, b = (torch.rand(2, 1, 3, 32, 32) * 2 - 1).unbind(0)
    run = SimpleNamespace(autocast=contextlib.nullcontext, descend=lambda side, loss: loss)
    pools = {key: training.ImagePool(1) for key in ("A", "B", "ink")}
    found = chapter.chip_step(run, n, pools, a, b, TINY, RULE, 1.0)["brush"]
    return found, chapter.brush_loss(edges((n.G_AB(a) + 1) / 2), edges((a + 1) / 2))


def test_a_step_asks_for_the_edges_of_its_own_photograph(chapter):
    torch.testing.assert_close(*brush_of_a_step(chapter))
    found, wanted = brush_of_a_step(chapter_with(("art_terms(n, a, fakes", "art_terms(n, b, fakes")))
    assert abs(found - wanted) > 1e-3  # the edges of a real painting, of another person


def test_pulls_are_those_of_the_weighted_terms(chapter):
    n, a = chapter.networks(TINY, "CycleGAN"), torch.rand(2, 3, 32, 32) * 2 - 1
    once, twice, released = (chapter.pulls(n, a, TINY, RULE | dict(ink=w)) for w in (1.0, 2.0, 0.0))
    assert twice["ink"] == pytest.approx(2 * once["ink"], rel=1e-4) and once["ink"] > 0 and released["ink"] == 0
    assert {key: once[key] for key in ("adversary", "cycle", "brush")} == pytest.approx(
        {key: twice[key] for key in ("adversary", "cycle", "brush")}, rel=1e-4
    )
    assert chapter.pulls(n, a, TINY, RULE | dict(port=True))["ink"] != once["ink"]


# A training -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [2, 5])
@BASES
def test_a_killed_run_comes_to_the_same_bits(chapter, sets, stop, rule, tmp_path, monkeypatch):
    run, n = trained(chapter, sets, rule=rule)
    whole, average = weights(n), weights(SimpleNamespace(G=run.averages["G_AB"].module))
    rate = run.optimizers["G"].param_groups[0]["lr"]
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "killed"))
    with killed_after(stop, monkeypatch, chapter.STEPS, rule["base"]):
        trained(chapter, sets, rule=rule)
    run, n = trained(chapter, sets, rule=rule, resume=True)
    assert run.step == TINY["steps"] and run._start[0] == stop
    assert torch.equal(weights(n), whole)
    assert torch.equal(weights(SimpleNamespace(G=run.averages["G_AB"].module)), average)
    assert run.optimizers["G"].param_groups[0]["lr"] == rate < TINY["rate"]


def test_the_brush_fades_and_the_rate_falls(chapter, sets, monkeypatch):
    shares = []
    original = chapter.STEPS["CycleGAN"]
    monkeypatch.setitem(chapter.STEPS, "CycleGAN", lambda *given: shares.append(given[-1]) or original(*given))
    run, _ = trained(chapter, sets)
    assert shares == [1, 1, 1, 1, 1, 1, 1, 0.5]
    assert run.optimizers["D"].param_groups[0]["lr"] == pytest.approx(0)  # after the last of `decay` steps


def test_a_run_at_its_end_is_given_back_and_another_rule_is_not_mixed_in(chapter, sets):
    _, n = trained(chapter, sets, TINY | dict(steps=2))
    ended = list(chapter.train("toy", *sets, TINY | dict(steps=2), RULE, resume=True))
    assert len(ended) == 1 and torch.equal(weights(ended[0][1]), weights(n))
    with pytest.raises(CheckpointError, match="another ink"):
        trained(chapter, sets, TINY | dict(steps=2), RULE | dict(ink=0.0), resume=True)


def test_nan_stops_with_a_sentence_and_reaches_no_weight(chapter, sets, monkeypatch):
    original, kept = chapter.art_terms, {"calls": 0}

    def poisoned(n, *given):
        kept.update(calls=kept["calls"] + 1, n=n)
        art = original(n, *given)
        return art | {"brush": art["brush"] * (float("nan") if kept["calls"] == 4 else 1.0)}

    monkeypatch.setattr(chapter, "art_terms", poisoned)
    with pytest.raises(
        FloatingPointError, match=r"'toy' stopped at step 3: a gradient of 'G' is not finite; .*: start"
    ):
        trained(chapter, sets)
    assert weights(kept["n"]).isfinite().all()


@pytest.fixture
def small_pencil(chapter, monkeypatch):
    """The pencil's generators as small as the test's networks, with random weights."""
    small = SimpleNamespace(record=lambda name: {"settings": TINY}, load=lambda name, nets: nets)
    monkeypatch.setattr(chapter, "zoo", small)


def test_the_runs_of_the_experiment_go_on_where_they_were(chapter, small_pencil):
    plan = TINY | dict(size=64, layers=2, steps=2, decay=0)
    arms = {"CycleGAN": NONE, "both": RULE, "CUT": NONE | dict(base="CUT"), "CUT and both": ON_CUT}
    forks, land = dict(steps=1, decay=1, half_life=1, seeds=2), dict(steps=2, fork=1, decay=1)
    run, n = chapter.shared("portraits", plan, arms["CycleGAN"], 3)
    assert run.step == 2
    first = [*chapter.forked("portraits", plan, arms, forks, 3, slice(0, None, 2))]
    second = [*chapter.forked("portraits", plan, arms, forks, 3, slice(1, None, 2))]
    assert {key for key, *_ in first} | {key for key, *_ in second} == {(arm, seed) for arm in arms for seed in (0, 1)}
    again = {key: (run, n) for key, run, n in chapter.forked("portraits", plan, arms, forks, 3)}
    for key, run, n in first + second:
        assert again[key][0]._start[0] == run.step == 1 and torch.equal(weights(again[key][1]), weights(n))
    views = [*chapter.landscapes(plan, arms, land, forks, 3)]
    assert [key for key, *_ in views] == [("CycleGAN", 0), ("both", 0)]
    assert training.load_checkpoint("chipgan_start_landscapes")["step"] == 2


def test_forks_start_from_the_checkpoint(chapter, small_pencil):
    plan = TINY | dict(size=64, layers=2, steps=1, decay=0)
    _, begun = chapter.shared("portraits", plan, NONE, 3)
    still = plan | dict(rate=0.0)
    forks = dict(steps=1, decay=0, half_life=1, seeds=1)
    arms = {"both": RULE, "CUT": NONE | dict(base="CUT")}
    made = {arm: n for (arm, _), _, n in chapter.forked("portraits", still, arms, forks, 3)}
    for name in vars(begun):
        torch.testing.assert_close(getattr(made["both"], name).state_dict(), getattr(begun, name).state_dict())
    for name in ("G_AB", "D_B", "D_ink"):
        torch.testing.assert_close(getattr(made["CUT"], name).state_dict(), getattr(begun, name).state_dict())


# Measurements ---------------------------------------------------------------------------------------------------------


def paintings(count=4):
    return world.render(metrics.TASKS["portraits photo->ink"].contents(count), "ink", 64)


def test_the_measures_know_the_truth_from_what_is_spoilt(chapter):
    truth = paintings()
    again = world.render(metrics.TASKS["portraits photo->ink"].contents(4), "ink", 64, variation=1)
    assert chapter.art_scores(truth, truth) == pytest.approx({"strokes": 1, "voids": 1, "wash": 0}, abs=1e-5)
    right, moved = chapter.art_scores(again, truth), chapter.art_scores(truth.roll(6, 3), truth)
    assert right["strokes"] > 0.7 > 0.5 > moved["strokes"] and right["voids"] > moved["voids"] + 0.1
    assert moved["wash"] < 0.3  # a wash in another place is as rough as it was
    dark, bare = torch.zeros_like(truth), torch.full_like(truth, 0.93)
    assert chapter.void_iou(dark, truth).max() == chapter.stroke_f1(bare, truth).max() == 0
    assert chapter.void_iou(bare, truth).mean() == pytest.approx((images.luminance(truth) > 0.8).float().mean().item())


def test_the_outlines_of_a_bar_are_thin_and_in_their_place(chapter):
    bar = torch.ones(1, 3, 32, 32)
    bar[..., 10:20, 8:24] = 0
    found = chapter.outlines(bar)[0, 0]
    assert 40 <= found.sum() <= 60 and found[8:22, 6:26].sum() == found.sum() and not found[12:18, 10:22].any()
    assert chapter.stroke_f1(bar, bar).item() == 1
    assert chapter.stroke_f1(bar.roll(5, 2), bar).item() < 0.3


def test_a_wash_that_is_too_even_is_below_0_and_a_rougher_one_above(chapter):
    truth = paintings()
    even = truth.mean(dim=(2, 3), keepdim=True) + 0.5 * (truth - truth.mean(dim=(2, 3), keepdim=True))
    ratios = chapter.wash_ratios(even, truth)
    assert ratios.tolist() == pytest.approx([2 * torch.tensor(0.5).log().item()] * 4, abs=0.1)
    assert (chapter.wash_ratios(truth, even) > 1).all()


# Own pictures, the shipped generators ---------------------------------------------------------------------------------


def test_own_pictures(chapter, tmp_path):
    generator = torch.Generator().manual_seed(0)
    for folder, count in (("a", 3), ("b", 2)):
        for i in range(count):
            (tmp_path / folder).mkdir(exist_ok=True)
            images.write(torch.rand(3, 80, 90, generator=generator), tmp_path / folder / f"{i}.png")
    given = tmp_path / "a", tmp_path / "b", tmp_path / "out", TINY | dict(steps=2), RULE
    run = chapter.own_pictures(*given)
    made = sorted((tmp_path / "out").glob("*.png"))
    assert run.step == 2 and [path.name for path in made] == ["00000.png", "00001.png", "00002.png"]
    assert images.read(made[0]).shape[-2:] == (32, 32)
    assert chapter.own_pictures(*given).step == 2  # goes on where it was: at its end
    with pytest.raises(CheckpointError, match="another"):  # and not with other pictures
        chapter.own_pictures(given[1], given[0], *given[2:])
    with pytest.raises(datasets.DatasetError):
        chapter.own_pictures(tmp_path / "none", *given[1:])


def test_the_shipped_generators_paint(chapter):
    about = zoo.record("chipgan_portraits")
    nets = zoo.load("chipgan_portraits", chapter.finished(about["settings"]))
    contents = metrics.TASKS["portraits photo->ink"].contents(8)
    photos, truth = (world.render(contents, style, 64) for style in ("photo", "ink"))
    for name in ("CycleGAN", "ChipGAN"):
        painted = chapter.translate(nets[name], photos)
        assert (painted - truth).abs().mean() < (photos - truth).abs().mean() / 2, name
        assert chapter.art_scores(painted, truth)["strokes"] > chapter.art_scores(photos, truth)["strokes"], name
    assert about["bytes"] <= 5_000_000


# What the chapter claims can fail -------------------------------------------------------------------------------------

SQUARE = {"CycleGAN": (0.5, 0.8, 0.6, 0.30), "brush": (0.6, 0.8, 0.6, 0.27)}
SQUARE |= {"ink": (0.5, 0.8, 0.4, 0.29), "both": (0.6, 0.8, 0.4, 0.25)}
SQUARE |= {"CUT": (0.4, 0.7, 0.9, 0.4), "CUT and both": (0.5, 0.7, 0.5, 0.3)}
SQUARE |= {"both, ink x 20": (0.6, 0.8, 0.2, 0.26), "both, as ported": (0.5, 0.9, 0.9, 0.30)}
HELD = {
    (f"{name} of the fork", arm): [value, value + 0.01, value - 0.01]
    for arm, values in SQUARE.items()
    for name, value in zip(("strokes", "voids", "wash", "perceptual"), values, strict=True)
}


def seeds(name, arm, *values):
    return {(f"{name} of the fork", arm): list(values)}


@pytest.mark.parametrize(
    "changed, missing, mark",
    [
        ({}, [], "holds"),
        (seeds("strokes", "brush", 0.55, 0.56, 0.48), ["the brush term makes the strokes truer"], "depends"),
        (seeds("strokes", "both", 0.55, 0.5, 0.55), ["the brush term makes the strokes truer"], "depends"),
        (seeds("wash", "ink", 0.5, 0.5, 0.6), ["the ink term makes the wash truer"], "depends"),
        (seeds("wash", "both", 0.7, 0.5, 0.5), ["the ink term makes the wash truer"], "depends"),
        (seeds("voids", "both", 0.7, 0.8, 0.8), ["voids are kept"], "depends"),
        (seeds("perceptual", "both", 0.2, 0.2, 0.3), ["the painting is nearer the true one"], "depends"),
        (
            seeds("strokes", "both", 0.4, 0.4, 0.4) | seeds("wash", "both", 0.7, 0.7, 0.7),
            ["the brush term makes the strokes truer", "the ink term makes the wash truer"],
            "fails",
        ),
    ],
)
def test_each_part_of_c07_turns(chapter, changed, missing, mark):
    told = chapter.c07_parts(facts_from(HELD, changed=changed))
    assert [part for part, answer in told.items() if not answer] == missing
    assert chapter.c07_verdict(told) == mark


@pytest.mark.parametrize(
    "changed, missing, mark",
    [
        ({}, [], "holds"),
        (seeds("strokes", "CUT and both", 0.5, 0.4, 0.5), ["strokes are truer"], "depends"),
        (seeds("wash", "CUT and both", 0.5, 0.95, 0.5), ["the wash is truer"], "depends"),
        (seeds("perceptual", "CUT", 0.3, 0.4, 0.4), ["the painting is nearer the true one"], "depends"),
    ],
)
def test_each_part_of_c09_turns(chapter, changed, missing, mark):
    told = chapter.c09_parts(facts_from(HELD, changed=changed))
    assert [part for part, answer in told.items() if not answer] == missing
    assert chapter.c09_verdict(told) == mark
    swap = chapter.c09_parts(facts_from(HELD, swap=("CUT", "CUT and both")))
    assert chapter.c09_verdict(swap) == "fails"


def test_what_the_missing_term_changes_is_what_all_seeds_agree_on(chapter):
    told = chapter.x1_answers(facts_from(HELD))
    assert told["both", "wash"] == told["both, ink x 20", "wash"] == "less"
    assert told["both, as ported", "wash"] == told["both, as ported", "voids"] == "more"
    assert told["both", "strokes"] == told["both", "voids"] == "-"
    mixed = chapter.x1_answers(facts_from(HELD, changed=seeds("wash", "both", 0.4, 0.4, 0.6)))
    assert mixed["both", "wash"] == "-"


def test_both_claims_are_as_recorded_and_turn_with_swapped_arms(chapter):
    rows = results.rows("chipgan")
    facts = results.facts("chipgan", rows)
    for claim, parts, verdict, swap in (
        ("C07", chapter.c07_parts, chapter.c07_verdict, ("CycleGAN", "both")),
        ("C09", chapter.c09_parts, chapter.c09_verdict, ("CUT", "CUT and both")),
    ):
        mark = next(row["value"] for row in rows if (row["name"], row["claim"]) == ("verdict", claim))
        assert mark == verdict(parts(facts))
        assert parts(results.facts("chipgan", swapped(rows, *swap))) != parts(facts)
