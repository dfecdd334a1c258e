"""The chapter `whitebox`: its functions, what its trainings withstand, and that its claim can fail."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from test_chapters import facts_from, swapped
from translators import killed_after, two_sets, weights
from whitebox_mistakes import PLAN, RULE, chapter_with

from stlib import backbones, images, metrics, results, training, world, zoo
from stlib.training import CheckpointError

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = PLAN | dict(width=8, blocks=1, critic=4, segments=8, warm=2, steps=6, half_life=4)
ALONE = dict.fromkeys(RULE, 0.0) | dict(adversary=1.0, content=0.1)


@pytest.fixture(scope="module")
def chapter():
    return chapter_with()


@pytest.fixture(scope="module")
def eyes():
    return backbones.load("worldnet", torch.device("cpu"))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def sets():
    return two_sets("cartoon")


def trained(chapter, sets, plan=TINY, rule=RULE, **options):
    *_, (run, n) = chapter.train("toy", *sets, plan, rule, **options)
    return run, n


def pictures(seed=0, batch=2, side=32):
    return torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


# The three looks ------------------------------------------------------------------------------------------------------


def test_the_surface_keeps_edges_and_loses_grain(chapter):
    step = torch.where(torch.arange(32) < 16, -0.8, 0.8).expand(1, 3, 32, 32)
    noisy = step + 0.05 * torch.randn(step.shape, generator=torch.Generator().manual_seed(0))
    smooth = chapter.surface(noisy, {"smooth": 2})
    assert (smooth - step)[..., 4:12].std() < 0.4 * (noisy - step)[..., 4:12].std()
    assert (smooth[..., 16] - smooth[..., 15]).mean() > 0.5 * 1.6  # a mean over the window leaves a fifth of it


def test_a_radius_of_zero_leaves_the_picture_and_a_large_eps_leaves_means(chapter):
    g, x = pictures(1), pictures(2)
    torch.testing.assert_close(chapter.guided_filter(g, x, 0, 1e-2), x)
    soft = chapter.box_mean(chapter.box_mean(x, 1), 1)
    torch.testing.assert_close(chapter.guided_filter(g, x, 1, 1e9), soft, atol=1e-5, rtol=0)


def test_a_line_of_the_guide_is_left_as_it_is(chapter):
    g = pictures(3).double()
    torch.testing.assert_close(chapter.guided_filter(g, 0.5 * g - 0.2, 2, 1e-12), 0.5 * g - 0.2, atol=1e-6, rtol=0)


def test_one_triple_of_colour_weights_a_call_for_made_and_real(chapter, monkeypatch):
    drawn = []
    original = chapter.colour_weights
    monkeypatch.setattr(chapter, "colour_weights", lambda: drawn.append(original()) or drawn[-1])
    look = chapter.views(TINY, RULE)["texture"]
    x, y = pictures(4), pictures(5)
    both = look(torch.cat([x, y]))
    assert len(drawn) == 1
    torch.testing.assert_close(both, chapter.texture(torch.cat([x, y]), drawn[0]))
    torch.testing.assert_close(look(y), both[2:])


def test_generator_and_critics_draw_new_colour_weights_in_each_step(chapter, sets, monkeypatch):
    drawn = []
    original = chapter.colour_weights
    monkeypatch.setattr(chapter, "colour_weights", lambda: drawn.append(original()) or drawn[-1])
    trained(chapter, sets, TINY | dict(steps=2))
    assert len(drawn) == len({tuple(w.tolist()) for w in drawn}) == 4


def test_superpixels_are_told_apart_in_each_picture_and_carry_no_gradient(chapter):
    x = pictures(6).requires_grad_()
    labels = chapter.superpixels(x, 12)
    assert labels.shape == (2, 32, 32) and labels.amin() == 0
    made = chapter.structure(x, TINY)
    assert not made.requires_grad
    for i in range(2):
        for label in labels[i].unique():
            assert labels[i].eq(label).any()
    alone = chapter.painted(x[1:].detach(), labels[1:])
    torch.testing.assert_close(chapter.painted(x, labels)[1:], alone)  # the other picture does not matter


def test_colours_are_those_of_scikit_image(chapter):
    from skimage.color import label2rgb

    x, labels = pictures(7).double(), chapter.superpixels(pictures(7), 12)
    for i, picture in enumerate(x.permute(0, 2, 3, 1).numpy()):
        theirs = label2rgb(labels[i].numpy(), picture, kind="avg", bg_label=-1)
        torch.testing.assert_close(chapter.painted(x, labels)[i], torch.from_numpy(theirs).permute(2, 0, 1))


def test_the_adaptive_colours_do_nothing_as_released_and_something_in_a_scale_of_255(chapter):
    x = pictures(8)
    labels = chapter.superpixels(x, 12)
    means = chapter.painted(x, labels, scale=0.0)
    assert torch.equal(chapter.painted(x, labels, scale=1.0), means)
    assert not torch.allclose(chapter.painted(x, labels, scale=127.5), means)


def test_scikit_image_has_no_mixed_colours_any_more():
    from skimage.color import label2rgb

    with pytest.raises(ValueError):
        label2rgb(torch.zeros(4, 4, dtype=torch.long).numpy(), torch.rand(4, 4, 3).numpy(), kind="mix")


# Losses ---------------------------------------------------------------------------------------------------------------


def test_the_terms_are_those_of_the_formula(chapter, eyes):
    torch.manual_seed(1)
    rule = RULE | dict(pixels=2.0)
    n, a, y = chapter.networks(TINY, rule), pictures(9), pictures(10)
    critics = copy.deepcopy(n)  # their u moves on in each call
    torch.manual_seed(2)
    losses = chapter.generator_losses(n, eyes, a, y, TINY, rule)
    torch.manual_seed(2)
    w = chapter.colour_weights()

    def seen(x):
        return eyes((x + 1) / 2, ["conv6"])["conv6"]

    wanted = {
        "content": 0.1 * (seen(y) - seen(a)).abs().mean(),
        "structure": 0.1 * (seen(y) - seen(chapter.structure(y, TINY))).abs().mean(),
        "variation": 0.05 * chapter.variation(y),
        "pixels": 2 * (y - a).abs().mean(),
    }
    for name, loss in wanted.items():
        torch.testing.assert_close(losses[name], loss)
    assert sorted(losses) == sorted([*wanted, "surface", "texture"])
    looks = {"surface": 0.1, "texture": 1.0}
    shown = {"surface": chapter.surface(y, TINY), "texture": chapter.texture(y, w)}
    for name, weight in looks.items():
        logits = getattr(critics, f"D_{name}")(shown[name])
        torch.testing.assert_close(losses[name], weight * (logits - 1).square().mean())


def test_photograph_and_simplified_picture_are_targets_only(chapter, eyes):
    n = chapter.networks(TINY, RULE)
    a, y = pictures(11).requires_grad_(), pictures(12).requires_grad_()
    losses = chapter.generator_losses(n, eyes, a, y, TINY, RULE)
    of_a, of_y = torch.autograd.grad(losses["content"] + losses["structure"], (a, y), allow_unused=True)
    assert of_a is None and of_y.abs().sum() > 0


def test_a_weight_of_zero_takes_the_term_and_its_critic_away(chapter, eyes):
    for name in RULE:
        rule = RULE | {name: 0.0}
        n = chapter.networks(TINY, rule)
        assert name not in chapter.generator_losses(n, eyes, pictures(13), pictures(14), TINY, rule)
        assert not hasattr(n, f"D_{name}")


def test_weights_that_act_belong_to_a_size(chapter):
    assert chapter.acting(256) == pytest.approx((0.0509, 3.81e-4), rel=1e-2)
    assert chapter.acting(64) == pytest.approx((0.8138, 6.10e-3), rel=1e-2)


# Networks -------------------------------------------------------------------------------------------------------------


def test_generators_begin_alike_under_all_rules(chapter):
    made = []
    for rule in (RULE, ALONE):
        torch.manual_seed(3)
        made.append(chapter.networks(TINY, rule))
    torch.testing.assert_close(made[0].G.state_dict(), made[1].G.state_dict())
    assert [*vars(made[0])] == ["G", "D_surface", "D_texture"] and [*vars(made[1])] == ["G", "D_adversary"]


def test_the_published_generator_has_its_size(chapter):
    assert sum(p.numel() for p in chapter.Generator(32, 4).parameters()) / 1e6 == pytest.approx(1.48, abs=0.02)


def test_a_kernel_comes_to_the_largest_singular_value_one(chapter):
    torch.manual_seed(4)
    layer = chapter.SpectralConvolution(6, 5, 3)
    for _ in range(200):
        kernel = layer.normalised()
    assert torch.linalg.matrix_norm(kernel.detach().flatten(1), 2) == pytest.approx(1, abs=1e-4)


def test_critics_can_be_called_twice_before_a_gradient_is_taken(chapter):
    D, x = chapter.critic(4, 1, 3), pictures(15)
    (D(x).sum() + D(x).sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in D.parameters())


def test_cartoons_have_the_size_and_range_of_their_photographs(chapter):
    G = chapter.Generator(8, 1)
    for shape in ((1, 3, 32, 32), (2, 3, 33, 38)):
        for radius in (0, 1):
            made = chapter.cartoonize(G, torch.rand(shape), radius)
            assert made.shape == shape and made.min() >= 0 and made.max() <= 1


# A step ---------------------------------------------------------------------------------------------------------------


def watched_step(chapter, eyes, plan, rule):
    """What critics and the frozen network saw in one step, and the output of G before any filter."""
    torch.manual_seed(5)
    n, shown, taken = chapter.networks(plan, rule), {}, []

    def hook(name):
        return lambda module, given, _: shown.setdefault(name, []).append(given[0].detach())

    for name, net in vars(n).items():
        net.register_forward_hook(hook(name))
    a, b = pictures(16), pictures(17)
    run = SimpleNamespace(
        autocast=lambda: torch.autocast("cpu", enabled=False), descend=lambda side, loss: taken.append((side, loss))
    )
    losses = chapter.step(run, n, eyes, a, b, plan, rule)
    return n, a, b, shown, taken, losses


def test_critics_see_the_filtered_picture_and_not_the_raw_one(chapter, eyes):
    plan = TINY | dict(filter=1)
    n, a, b, shown, *_ = watched_step(chapter, eyes, plan, ALONE)
    raw = n.G(a).detach()
    made = chapter.guided_filter(a, raw, 1, 1e-2)
    torch.testing.assert_close(shown["D_adversary"][0], made)
    torch.testing.assert_close(shown["D_adversary"][1], torch.cat([b, made]))
    assert not torch.allclose(made, raw)


def test_traps_of_the_step_are_noticed(eyes):
    unfiltered = chapter_with(('if plan["filter"] else y  # before anyone looks', "if False else y"))
    n, a, _, shown, *_ = watched_step(unfiltered, eyes, TINY | dict(filter=1), ALONE)
    assert not torch.allclose(shown["D_adversary"][0], unfiltered.guided_filter(a, n.G(a).detach(), 1, 1e-2))
    twice = chapter_with(("lambda x: texture(x, weights)", "lambda x: texture(x, colour_weights())"))
    look, x = twice.views(TINY, RULE)["texture"], pictures(18)
    assert not torch.allclose(look(x), look(x))
    both = chapter_with(("with torch.no_grad():  # F(a)", "if True:  #"))
    n, y = both.networks(TINY, RULE), pictures(19).requires_grad_()
    a = pictures(20).requires_grad_()
    losses = both.generator_losses(n, eyes, a, y, TINY, RULE)
    (of_a,) = torch.autograd.grad(losses["content"], a, allow_unused=True)
    assert of_a is not None and of_a.abs().sum() > 0


def test_g_moves_first_then_the_critics_and_neither_moves_the_other(chapter, sets, monkeypatch):
    moved = []

    class Watched(training.Run):
        def descend(self, name, loss, **options):
            before = {key: [p.detach().clone() for p in net.parameters()] for key, net in self.modules.items()}
            loss = super().descend(name, loss, **options)
            moved.append((name, {
                key
                for key, net in self.modules.items()
                if any(not torch.equal(p, q) for p, q in zip(net.parameters(), before[key], strict=True))
            }))  # fmt: skip
            assert all(p.grad is None for net in self.modules.values() for p in net.parameters())
            return loss

    monkeypatch.setattr(training, "Run", Watched)
    trained(chapter, sets, TINY | dict(steps=2))
    assert moved == [("G", {"G"}), ("D", {"D_surface", "D_texture"})] * 2


# A training -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [RULE, ALONE], ids=["white-box", "adversary"])
def test_a_killed_run_comes_to_the_same_bits(chapter, sets, rule, tmp_path, monkeypatch):
    run, n = trained(chapter, sets, rule=rule)
    whole, average = weights(n), weights(SimpleNamespace(G=run.averages["G"].module))
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "killed"))
    with killed_after(3, monkeypatch, chapter):
        trained(chapter, sets, rule=rule)
    run, n = trained(chapter, sets, rule=rule, resume=True)
    assert run.step == TINY["steps"] and run._start[0] == 3
    assert torch.equal(weights(n), whole)
    assert torch.equal(weights(SimpleNamespace(G=run.averages["G"].module)), average)


def test_a_run_at_its_end_is_given_back_and_another_rule_is_not_mixed_in(chapter, sets):
    _, n = trained(chapter, sets, TINY | dict(steps=2))
    ended = list(chapter.train("toy", *sets, TINY | dict(steps=2), RULE, resume=True))
    assert len(ended) == 1 and torch.equal(weights(ended[0][1]), weights(n))
    with pytest.raises(CheckpointError, match="another content"):
        trained(chapter, sets, TINY | dict(steps=2), RULE | dict(content=5.0), resume=True)


def test_nan_stops_with_a_sentence_and_reaches_no_weight(chapter, sets, monkeypatch):
    original, kept = chapter.generator_losses, {"calls": 0}

    def poisoned(n, *given):
        kept.update(calls=kept["calls"] + 1, n=n)
        losses = original(n, *given)
        return {name: loss * (float("nan") if kept["calls"] == 3 else 1.0) for name, loss in losses.items()}

    monkeypatch.setattr(chapter, "generator_losses", poisoned)
    with pytest.raises(
        FloatingPointError, match=r"'toy' stopped at step 2: a gradient of 'G' is not finite; .*: start"
    ):
        trained(chapter, sets)
    assert weights(kept["n"]).isfinite().all()


def test_first_weights_let_a_picture_pass(chapter):
    torch.manual_seed(0)
    G, x = chapter.Generator(8, 2), pictures(21)
    before = (G(x) - x).abs().mean()
    assert (chapter.passing(G)(x) - x).abs().mean() < 0.15 * before
    for convolution in (G.first[0], G.up1[2], G.up2[0]):  # nothing else reaches the six channels
        torch.nn.init.zeros_(convolution.weight[6:])
        torch.nn.init.zeros_(convolution.bias[6:])
    torch.testing.assert_close(G(x), x, atol=1e-5, rtol=0)


def test_the_start_returns_the_photograph(chapter, sets):
    x, apart = torch.stack([sets[0][i] for i in range(5)]), []
    for warm in (1, 60):
        start = chapter.returned("toy", *sets, TINY | dict(width=8, warm=warm))
        G = chapter.Generator(8, 1)
        G.load_state_dict(start)
        apart.append((chapter.cartoonize(G, x) - x).abs().mean())
    assert apart[1] < apart[0] / 2
    run, n = trained(chapter, sets, TINY | dict(width=8, steps=1, rate=0.0), start=start)
    torch.testing.assert_close(n.G.state_dict(), start)


def test_the_forks_change_one_thing_each(chapter):
    whole = RULE | dict(surface=1.0)
    arms = chapter.forks_of(TINY, {"white-box": whole, "adversary": ALONE})
    assert arms["all"] == (TINY, whole)
    for arm, (plan, rule) in arms.items():
        changed = [key for key in whole if rule[key] != whole[key]] + [key for key in TINY if plan[key] != TINY[key]]
        if arm.startswith("no "):
            assert changed == [arm[3:]] and rule[arm[3:]] == 0
    assert arms["acting weights"][1] == RULE | dict(surface=0.1)
    printed = arms["printed weights"][1]
    for name in ("structure", "content", "variation"):
        assert printed[name] / RULE[name] == pytest.approx((256 / 32) ** 2)
    assert printed["surface"] == 0.1 and arms["adaptive colours"][0]["colours"] == 127.5
    assert arms["adversary"] == (TINY, ALONE) and len(arms) == 10


def test_the_forks_go_on_where_they_were(chapter):
    plan, rules = TINY | dict(size=64), {"white-box": RULE, "adversary": ALONE}
    sizes = dict(seeds=1, steps=1, half_life=2)
    first = list(chapter.forks(plan, rules, sizes, 4))
    assert [key for key, _ in first] == [(arm, 0) for arm in chapter.forks_of(plan, rules)]
    assert all(run.step == 1 for _, run in first)
    again = list(chapter.forks(plan, rules, sizes, 4))
    assert all(run._start[0] == 1 for _, run in again)


# Measurements ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def portraits(chapter):
    contents = world.sample("portraits", range(2_000_000, 2_000_006))
    return contents, world.render(contents, "cartoon", 64), chapter.anatomy(contents, 64)


def test_the_measures_tell_cartoons_from_photographs(chapter, portraits):
    contents, truth, parts = portraits
    cartoon, photo = (chapter.measured(x, parts) for x in (truth, world.render(contents, "photo", 64)))
    assert list(cartoon) == list(chapter.MEASURES)
    assert cartoon["regions"] < 0.6 * photo["regions"]
    assert cartoon["outlines"] > 3 * photo["outlines"]
    assert cartoon["grain"] < 0.7 * photo["grain"]


def test_each_measure_notices_what_it_is_for(chapter, portraits):
    _, truth, parts = portraits
    before = chapter.measured(truth, parts)
    noise = 0.02 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    shade = truth + 0.2 * torch.linspace(-1, 1, 64) * (truth < 0.8)
    paler = truth + 0.3 * parts["lines"]
    assert chapter.measured(truth + noise, parts)["grain"] > 3 * before["grain"]
    assert chapter.measured(shade, parts)["regions"] > 2 * before["regions"]
    assert chapter.measured(shade, parts)["grain"] < 2 * before["grain"]
    assert chapter.measured(paler, parts)["outlines"] < 0.5 * before["outlines"]
    assert chapter.measured(paler, parts)["regions"] < chapter.measured(shade, parts)["regions"] / 2


def test_the_filter_takes_outlines_away_and_the_more_the_smaller_the_picture(chapter):
    kept = []
    for side in (64, 128):
        contents = world.sample("portraits", range(2_000_000, 2_000_003))
        photo, truth = (2 * world.render(contents, style, side) - 1 for style in ("photo", "cartoon"))
        parts = chapter.anatomy(contents, side)
        filtered = chapter.guided_filter(photo, truth, 1, 1e-2)
        values = [chapter.measured((x + 1) / 2, parts)["outlines"] for x in (filtered, truth)]
        kept.append(values[0] / values[1])
    assert kept[0] < kept[1] - 0.05 < 0.9


def test_plain_and_lined(chapter):
    blank, lined = torch.full((1, 3, 32, 32), 0.8), torch.full((1, 3, 32, 32), 0.8)
    lined[..., 10:12, :] = 0.1
    assert chapter.plain_and_lined(blank) == {"plain": 1.0, "lines": 0.0}
    values = chapter.plain_and_lined(lined)
    assert values["plain"] == pytest.approx(1 - 6 / 32) and values["lines"] == pytest.approx(0.7 * 2 / 32, rel=1e-3)


def test_the_cartoon_by_hand_is_a_picture(chapter, portraits):
    contents, truth, _ = portraits
    made = chapter.by_hand(world.render(contents, "photo", 64))
    assert made.shape == truth.shape and made.min() >= 0 and made.max() <= 1


# Photographs, own pictures --------------------------------------------------------------------------------------------


def test_crops_come_from_all_pictures_and_are_the_same_again(chapter):
    given = [torch.full((1, 3, 40, 56), 0.2), torch.full((1, 3, 70, 50), 0.7)]
    made, again = (chapter.crops(given, 5, 32, 3) for _ in range(2))
    assert made.shape == (5, 3, 32, 32) and torch.equal(made, again)
    torch.testing.assert_close(made.mean(dim=(1, 2, 3)), torch.tensor([0.2, 0.7, 0.2, 0.7, 0.2]))


def test_sets_for_photographs(chapter):
    photos, cartoons = chapter.for_photographs(6, 32, worlds=2)
    assert photos.pictures.shape == cartoons.pictures.shape == (6, 3, 32, 32)
    assert len({tuple(p.flatten()[:50].tolist()) for p in photos.pictures}) == 6


def test_own_picture_and_own_folders(chapter, tmp_path):
    generator = torch.Generator().manual_seed(0)
    for folder, count in (("a", 3), ("b", 2)):
        for i in range(count):
            (tmp_path / folder).mkdir(exist_ok=True)
            images.write(torch.rand(3, 41, 50, generator=generator), tmp_path / folder / f"{i}.png")
    G = chapter.Generator(8, 1)
    chapter.own_picture(G, tmp_path / "a/0.png", tmp_path / "one.png")
    assert images.read(tmp_path / "one.png").shape[-2:] == (41, 50)
    with pytest.raises(images.ImageError):
        chapter.own_picture(G, tmp_path / "none.png", tmp_path / "two.png")
    folders, plan = (tmp_path / "a", tmp_path / "b", tmp_path / "out"), TINY | dict(steps=2)
    run = chapter.own_folders(*folders, plan, RULE)
    made = sorted((tmp_path / "out").glob("*.png"))
    assert run.step == 2 and [path.name for path in made] == ["00000.png", "00001.png", "00002.png"]
    assert chapter.own_folders(*folders, plan, RULE)._start[0] == 2  # at its end
    with pytest.raises(CheckpointError, match="another"):
        chapter.own_folders(tmp_path / "b", tmp_path / "a", tmp_path / "out", plan, RULE)


# The shipped generators -----------------------------------------------------------------------------------------------


def test_the_shipped_generators_draw_cartoons(chapter):
    settings = zoo.record("whitebox_portraits")["settings"]
    nets = zoo.load("whitebox_portraits", chapter.finished(settings, settings["real"]))
    contents = metrics.TASKS["portraits photo->cartoon"].contents(8)
    photos, truth = (world.render(contents, style, 64) for style in ("photo", "cartoon"))
    parts, features = chapter.anatomy(contents, 64), backbones.load("worldnet", torch.device("cpu"))

    def apart(pictures):
        maps = (features(x, list(features.layers)) for x in (pictures, truth))
        return metrics.perceptual_distance(*maps).mean()

    by_hand = min(apart(photos), apart(chapter.by_hand(photos)))
    for name in ("white-box", "adversary"):
        assert apart(chapter.cartoonize(nets[name], photos)) < by_hand / 2, name
    outlines = [chapter.measured(x, parts)["outlines"] for x in (photos, chapter.cartoonize(nets["white-box"], photos))]
    assert outlines[1] > 2 * outlines[0]
    assert zoo.record("whitebox_portraits")["bytes"] <= 5_000_000


def test_the_shipped_generators_had_the_weights_that_act_at_256_pixels(chapter):
    rules, (smooth, maps) = zoo.record("whitebox_portraits")["settings"]["rules"], chapter.acting(256)
    for rule in (rules["white-box"], rules["photographs"]):
        assert rule["variation"] == pytest.approx(smooth, rel=0.05)
    assert rules["photographs"]["content"] == rules["photographs"]["structure"] == pytest.approx(maps, rel=0.05)


# What the chapter claims can fail -------------------------------------------------------------------------------------

HELD = {
    ("perceptual", "white-box"): [0.2],
    ("perceptual", "adversary"): [0.3],
    ("regions", "white-box"): [0.010],
    ("regions", "adversary"): [0.015],
    ("outlines", "white-box"): [0.20],
    ("outlines", "adversary"): [0.10],
    ("outlines", "drawn again"): [0.24],
    ("content", "white-box"): [0.9],
    ("content", "adversary"): [0.9],
}
for _measure, _moved in {
    "regions": {"structure": 2.0, "texture": 1.1, "surface": 1.2},
    "outlines": {"structure": 1.0, "texture": 0.5, "surface": 0.9},
    "grain": {"structure": 1.1, "texture": 1.2, "surface": 1.8},
}.items():
    HELD[f"{_measure} of the fork", "all"] = [0.01, 0.011, 0.012]
    for _loss, _factor in _moved.items():
        HELD[f"{_measure} of the fork", f"no {_loss}"] = [_factor * value for value in (0.01, 0.011, 0.012)]


@pytest.mark.parametrize(
    "changed, part, mark",
    [
        ({}, None, "holds"),
        ({("perceptual", "white-box"): [0.29]}, "nearer to the true cartoons", "depends"),
        ({("regions", "adversary"): [0.0101]}, "plainer regions", "depends"),
        ({("outlines", "white-box"): [0.38]}, "outlines nearer to the true ones", "depends"),
        ({("content", "white-box"): [0.87]}, "keeps the content as well", "depends"),
        ({("grain of the fork", "no surface"): [0.02, 0.02, 0.011]}, "each loss moves its own measure", "depends"),
        ({("outlines of the fork", "no surface"): [0.004] * 3}, "each loss moves its own measure", "depends"),
    ],
)
def test_each_part_of_c07_turns(chapter, changed, part, mark):
    told = chapter.c07_parts(facts_from(HELD, changed=changed))
    assert [name for name, answer in told.items() if not answer] == ([part] if part else [])
    assert chapter.c07_verdict(told) == mark


def test_c07_fails_where_nothing_is_gained(chapter):
    same = {(name, "white-box"): HELD[name, "adversary"] for name in ("perceptual", "regions", "outlines")}
    assert chapter.c07_verdict(chapter.c07_parts(facts_from(HELD, changed=same))) == "fails"


def test_responses_are_powers_of_two(chapter):
    moved = chapter.responses(facts_from(HELD), "regions")
    assert moved["all"] == [0, 0, 0]
    assert moved["no structure"] == pytest.approx([1, 1, 1])
    assert moved["no texture"] == pytest.approx([math.log2(1.1)] * 3)
    assert chapter.controlled(facts_from(HELD)) == {"structure": True, "texture": True, "surface": True}


def test_c07_is_as_recorded_and_turns_with_swapped_arms(chapter):
    rows = results.rows("whitebox")
    told = chapter.c07_parts(results.facts("whitebox", rows))
    mark = next(row["value"] for row in rows if (row["name"], row["claim"]) == ("verdict", "C07"))
    assert mark == chapter.c07_verdict(told)
    assert chapter.c07_parts(results.facts("whitebox", swapped(rows, "white-box", "adversary"))) != told


@pytest.mark.parametrize("missed", [dict(content=0.84), dict(style=0.0), dict(perceptual=0.26)])
def test_each_bar_can_be_missed(chapter, missed):
    def facts(content=0.9, style=0.95, perceptual=0.2):
        ours = {"content": content, "style": style, "perceptual": perceptual}
        return {
            name: {"white-box": [value], "smoothed": [0.5], "bilateral, posterised": [0.7]}
            for name, value in ours.items()
        }

    assert all(chapter.bars(facts()).values())
    assert sum(chapter.bars(facts(**missed)).values()) == 2
