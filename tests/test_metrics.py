"""Metrics: known truths, known degradations, known failures. Once on a toy world, once on the real judge and features.

The toy's pictures hold each factor as the grey of a cell, styles as a tint or stripes; its judge reads them back.
"""

import ast
import io
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import stlib
from stlib import backbones, metrics, oracle, results, world
from stlib.metrics import evaluation, populations, scores
from stlib.world import factors, noise
from stlib.world.factors import Factor

COUNT = 64
STYLES = ("photo", "sketch", "ink wash")
FACTORS = (
    Factor("a", "continuous"),
    Factor("b", "from -1 to 1", -1, 1),
    Factor("hue", "an angle", periodic=True),
    Factor("kind", "a choice", options=("x", "y", "z")),
    Factor("tears", "mostly absent", absent=0.6),
    Factor("wet", "yes or no", options=("no", "yes")),
)
NAMES = tuple(factor.name for factor in FACTORS)
pytestmark = pytest.mark.usefixtures("one_thread")


def draw(contents, style, size=64):
    """A toy picture (B, 3, size, size): nine cells whose grey levels, 0.25 to 0.75, hold the factors."""
    angle = contents["hue"] * 2 * torch.pi
    cells = [contents["a"], (contents["b"] + 1) / 2, angle.cos() / 2 + 0.5, angle.sin() / 2 + 0.5]
    cells += [contents["kind"] / 2, contents["tears"], contents["wet"], contents["a"] * 0, contents["a"] * 0 + 1]
    grey = 0.25 + 0.5 * torch.stack(cells, dim=1).view(-1, 1, 3, 3)
    picture = F.interpolate(grey, size=(size, size)).expand(-1, 3, -1, -1).clone()
    picture += 0.01 * (noise.uniform(contents.key(style), size * size).view(-1, 1, size, size) - 0.5)
    stripes = (torch.arange(size) // 2 % 2 - 0.5) * 2
    picture += 0.15 * stripes if style == "sketch" else 0
    picture[:, 0] -= 0.2 if style == "ink wash" else 0
    return picture.clamp(0, 1)


class ToyJudge:
    """Reads the cells' greys; the style by tint and by the contrast of neighbours; flat or noisy pictures are other."""

    def read(self, pictures, family):
        pictures = pictures.detach()
        cells = ((F.adaptive_avg_pool2d(pictures[:, 1], 3).flatten(1) - 0.25) / 0.5).unbind(1)
        angle = torch.atan2(cells[3] - 0.5, cells[2] - 0.5) / (2 * torch.pi) % 1
        values = {"a": cells[0], "b": cells[1] * 2 - 1, "hue": angle, "tears": cells[5]}
        kinds = torch.stack([-((cells[4] * 2 - i) ** 2) * 8 for i in range(3)], dim=1).softmax(dim=1)
        wet = torch.stack([-((cells[6] - i) ** 2) * 16 for i in range(2)], dim=1).softmax(dim=1)
        contrast = (pictures[:, 1, :, 2:] - pictures[:, 1, :, :-2]).abs().mean(dim=(1, 2))
        seen = torch.stack([contrast / 0.3, (pictures[:, 1] - pictures[:, 0]).mean(dim=(1, 2)) / 0.2], dim=1)
        known = torch.tensor([[0.05, 0.0], [1.0, 0.0], [0.05, 1.0]])
        span = F.adaptive_avg_pool2d(pictures[:, 1], 3).flatten(1).std(dim=1)
        other = torch.where(span > 0.08, -3.5, 20.0)
        logits = torch.cat([-torch.cdist(seen, known).square() * 24, other[:, None]], dim=1)
        return SimpleNamespace(values=values, choices={"kind": kinds, "wet": wet}, style=logits.softmax(dim=1))


class ToyFeatures(backbones.Backbone):
    """A small random network with named layers, and the moments of the last one as its vector."""

    def __init__(self):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            layers = {"conv1": nn.Conv2d(3, 16, 3), "relu1": nn.ReLU(), "pool1": nn.AvgPool2d(2)}
            layers |= {"conv2": nn.Conv2d(16, 32, 3), "relu2": nn.ReLU()}
            super().__init__("toy", layers, "random", fast=False)

    def embed(self, pictures):
        last = self(pictures, ["relu2"])["relu2"]
        return torch.cat([last.mean(dim=(2, 3)), last.std(dim=(2, 3))], dim=1) * 4


@pytest.fixture(params=["toy", "real"])
def bench(request, monkeypatch):
    """A judge, features and the tasks: bench.score(transfer) evaluates; bench.truth, bench.source are the pictures."""
    if request.param == "real":
        judge, features, names, family = oracle.load("cpu"), backbones.load("worldnet", "cpu"), None, "portraits"
    else:
        judge, features, names, family = ToyJudge(), ToyFeatures(), NAMES, "toys"
        toy = SimpleNamespace(STYLES=STYLES, FAMILIES=("toys",))
        toy.sample = lambda family, numbers, seed=0, device="cpu": factors.draw(family, FACTORS, numbers, seed, device)
        toy.render = draw
        monkeypatch.setattr(evaluation, "world", toy)
        monkeypatch.setitem(evaluation.EDITS, "toys", {"tears": 1.0, "wet": "yes"})
        monkeypatch.setattr(evaluation, "TASKS", evaluation.tasks())
    task = evaluation.TASKS[f"{family} photo->sketch"]
    contents = task.contents(COUNT)

    def score(transfer, task=task, **more):
        settings = {"count": COUNT, "factors": names, "device": "cpu"} | more
        return metrics.evaluate(transfer, task, judge, features, **settings)

    pictures = {style: evaluation.world.render(contents, style, 64) for style in ("photo", "sketch")}
    return SimpleNamespace(
        **{"judge": judge, "features": features, "task": task, "contents": contents, "family": family},
        **{"score": score, "source": pictures["photo"], "truth": pictures["sketch"], "real": request.param == "real"},
        edit=f"{family} " + ("mouth_open=1" if request.param == "real" else "tears=1"),
    )


def in_order(pictures):
    """A transfer that returns given pictures, batch after batch."""
    at = [0]

    def transfer(source, *_):
        n = source if isinstance(source, int) else len(source)
        at[0] += n
        return pictures[at[0] - n : at[0]]

    return transfer


def blur(pictures, sigma):
    from torchvision.transforms.functional import gaussian_blur

    return gaussian_blur(pictures, 2 * int(3 * sigma) + 1, sigma)


def grain(pictures, sigma):
    return (pictures + sigma * torch.randn(pictures.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)


def jpeg(pictures, quality):
    out = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray((picture * 255).round().byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        flat = torch.frombuffer(bytearray(Image.open(file).tobytes()), dtype=torch.uint8)
        out.append(flat.view(*picture.shape[1:], 3).permute(2, 0, 1) / 255)
    return torch.stack(out)


# the anchors of the scale


def test_the_source_has_its_content_and_not_the_style(bench):
    score = bench.score(lambda x: x)
    assert score["content"] > 0.9
    assert score["style"] == 0 and score["style_raw"] < 0.1 and score["kernel_ratio"] > 3


def test_the_true_picture_has_both_and_no_distance(bench):
    score = bench.score(in_order(bench.truth))
    assert score["content"] == pytest.approx(1)
    assert score["style"] == score["style_raw"] > 0.9
    assert score["kernel_ratio"] < 2.5
    assert score["ssim"] == pytest.approx(1) and score["psnr"] == 99 and score["perceptual"] < 1e-6
    assert score["seconds"] > 0 and score["memory"] > 0 and not score.notes


def test_the_true_picture_of_another_content_has_the_style_only(bench):
    score = bench.score(in_order(bench.truth.roll(7, 0)))
    assert score["content"] < 0.15
    assert score["style"] > 0.9


@pytest.mark.parametrize("kind", ["noise", "grey", "white", "mean"])
def test_noise_and_constants_are_nothing(bench, kind):
    generator = torch.Generator().manual_seed(3)
    pictures = {
        "noise": torch.rand(bench.truth.shape, generator=generator),
        "grey": torch.full_like(bench.truth, 0.5),
        "white": torch.ones_like(bench.truth),
        "mean": bench.truth.mean(dim=0, keepdim=True).expand_as(bench.truth),
    }[kind]
    score = bench.score(in_order(pictures))
    assert score["style"] == 0
    assert score["content"] < 0.15
    if kind != "mean":
        reading = bench.judge.read(pictures, bench.family)
        assert metrics.style_score(reading, "other", evaluation.world.STYLES) > 0.9


@pytest.mark.parametrize("degrade, levels", [(blur, (1, 3, 12)), (grain, (0.05, 0.2, 0.6)), (jpeg, (60, 20, 3))])
def test_degradations_lower_every_score(bench, degrade, levels):
    made = [bench.score(in_order(bench.truth))]
    made += [bench.score(in_order(degrade(bench.truth, level))) for level in levels]
    column = {name: [score[name] for score in made] for name in made[0].values}
    for name in ("ssim", "psnr"):
        assert column[name] == sorted(column[name], reverse=True), name
    for name in ("content", "style"):  # at first a degradation may change nothing
        assert all(b <= a + 0.03 for a, b in zip(column[name], column[name][1:], strict=False)), (name, column[name])
    assert column["style"][-1] < column["style"][0] - 0.2
    for name in ("perceptual", "kernel_ratio"):
        assert all(b > a for a, b in zip(column[name], column[name][1:], strict=False)), (name, column[name])


def test_a_blend_from_source_to_truth_rises(bench):
    blends = [torch.lerp(bench.source, bench.truth, amount) for amount in (0, 0.25, 0.5, 0.75, 1)]
    made = [bench.score(in_order(blend)) for blend in blends]
    for name, sign in (("ssim", 1), ("psnr", 1), ("perceptual", -1), ("kernel_ratio", -1), ("style", 1)):
        column = [sign * score[name] for score in made]
        assert all(b >= a - 1e-6 for a, b in zip(column, column[1:], strict=False)), (name, column)
    assert all(score["content"] > 0.8 for score in made) or bench.real
    assert made[0]["style"] == 0 and made[-1]["style"] > 0.9


def test_an_edit_is_scored_apart_from_what_must_stay(bench):
    task = evaluation.TASKS[bench.edit]
    contents = task.contents(COUNT)
    truth = evaluation.world.render(contents.replace(**{task.factor: task.value}), "photo", 64)
    seen = []

    def faithful(pictures, factor, value):
        seen.append((factor, value))
        return in_order(truth[32 * len(seen) - 32 :])(pictures)

    right = bench.score(faithful, task=task)
    assert set(seen) == {(task.factor, task.value)}
    assert right["edit"] == pytest.approx(1) and right["content"] == pytest.approx(1)
    assert right["style"] > 0.9
    nothing = bench.score(lambda pictures, factor, value: pictures, task=task)
    assert nothing["edit"] == 0 and nothing["content"] > 0.95
    wrecked = bench.score(lambda pictures, *_: in_order(truth.roll(5, 0))(pictures), task=task)
    assert wrecked["edit"] > 0.8 and wrecked["content"] < 0.2


def test_a_generator_is_scored_without_a_true_picture(bench):
    task = evaluation.TASKS[f"{bench.family} in sketch"]
    fresh = evaluation.world.render(task.contents(COUNT, block=3), "sketch", 64)
    few = task.references(8)
    good = bench.score(in_order(fresh), task=task, training=few)
    assert good["style"] > 0.9 and good["kernel_ratio"] < 2.5 and "content" not in good.values
    assert good["recall"] > 0.4 and good["diversity"] > 0.8 and good["memorisation"] > 0.7 and good["copies"] < 0.1

    collapsed = bench.score(in_order(fresh[:2].repeat(COUNT // 2, 1, 1, 1)), task=task, training=few)
    assert collapsed["recall"] < good["recall"] / 2 and collapsed["coverage"] < good["coverage"] / 2
    assert collapsed["diversity"] < good["diversity"] * 0.8 and collapsed["occupancy"] < good["occupancy"]

    copies = bench.score(in_order(grain(few.repeat(COUNT // 8, 1, 1, 1), 0.004)), task=task, training=few)
    assert copies["memorisation"] < 0.5 < 0.9 < copies["copies"]
    assert copies["intra_cluster"] < good["intra_cluster"] / 2 and copies["occupancy"] == 1


# nothing is trained through the judge or the metrics


def test_nothing_is_differentiated_through_a_reading_or_a_score(bench):
    pictures = bench.truth[:9].clone().requires_grad_(True)
    reading = bench.judge.read(pictures, bench.family)
    tensors = [reading.style, *reading.values.values(), *reading.choices.values()]
    assert not any(tensor.requires_grad for tensor in tensors)
    maps = bench.features(pictures, list(bench.features.layers))
    vectors = bench.features.embed(pictures)
    assert vectors.requires_grad  # WorldNet may be trained through, but the scores on it may not
    others = bench.features.embed(bench.source[:9])
    made = [scores.perceptual_distance(maps, maps), scores.ssim(pictures, bench.source[:9])]
    made += [scores.psnr(pictures, bench.source[:9])]
    assert not any(tensor.requires_grad for tensor in made)
    assert isinstance(metrics.kernel_distance(vectors, others), float)
    assert isinstance(metrics.frechet_distance(vectors, others), float)


def imports(path):
    """The modules that a source imports, with their full names."""
    package = path.relative_to(Path(stlib.__file__).parents[1]).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(
                [*package[: len(package) - node.level + 1], node.module or ""] if node.level else [node.module]
            )
            yield base
            yield from (f"{base.rstrip('.')}.{alias.name}" for alias in node.names)


def test_only_judges_import_the_judge():
    folder = Path(stlib.__file__).parent
    found = set()
    for path in folder.rglob("*.py"):
        if any(name == "stlib.oracle" or name.startswith("stlib.oracle.") for name in imports(path)):
            found.add(path.relative_to(folder).with_suffix("").parts[0])
    assert "metrics" in found  # the search finds what there is
    assert found <= {"oracle", "metrics", "check", "zoo"}


# single scores


def one(name, value, count=400):
    """`count` toy contents and a reading in which the factor `name` has the values `value`."""
    contents = factors.draw("toys", FACTORS, range(count))
    return SimpleNamespace(values={name: value(contents[name])}, choices={}), contents


def test_agreement_is_one_minus_the_error_in_units_of_the_best_constant():
    reading, contents = one("b", lambda b: b + 0.25)
    torch.testing.assert_close(metrics.agreement(reading, contents, ["b"]), torch.full((400,), 0.5), atol=1e-3, rtol=0)
    reading, contents = one("hue", lambda hue: (hue + 0.9) % 1)  # a tenth of a turn the other way round
    assert metrics.agreement(reading, contents, ["hue"]).mean().item() == pytest.approx(0.6, abs=1e-3)
    reading, contents = one("hue", lambda hue: hue - 2.9)  # whole turns more or less are the same
    assert metrics.agreement(reading, contents, ["hue"]).mean().item() == pytest.approx(0.6, abs=1e-3)
    reading, contents = one("a", lambda a: a - 0.125)
    torch.testing.assert_close(metrics.agreement(reading, contents, ["a"]), torch.full((400,), 0.5), atol=1e-3, rtol=0)
    reading, contents = one("a", lambda a: a + 3)
    assert (metrics.agreement(reading, contents, ["a"]) == 0).all()
    chances = torch.tensor([[0.2, 0.3, 0.5]]).repeat(400, 1)
    reading = SimpleNamespace(values={}, choices={"kind": chances})
    expected = chances[0][contents["kind"].long()]
    torch.testing.assert_close(metrics.agreement(reading, contents, ["kind"]), expected)


def test_a_factor_that_does_not_show_does_not_count():
    contents = world.sample("landscapes", range(40))
    there = contents["house"] > 0
    reading = SimpleNamespace(values={name: contents[name].clone() for name in ("house_x", "height")}, choices={})
    reading.values["house_x"][~there] += 5.0
    names = ["house_x", "height"]
    torch.testing.assert_close(metrics.agreement(reading, contents, names), torch.ones(40))
    reading.values["house_x"][there] += 5.0
    expected = torch.where(there, 0.5, 1.0)  # of two factors one is wrong; without a house there is one factor
    torch.testing.assert_close(metrics.agreement(reading, contents, names), expected)
    blind = metrics.blind_agreement(contents, names)
    torch.testing.assert_close(blind[~there], metrics.blind_agreement(contents, ["height"])[~there])
    assert (blind[there] != metrics.blind_agreement(contents, ["height"])[there]).any()


@pytest.mark.parametrize("name", ["a", "b", "hue", "tears"])
def test_no_constant_and_no_chance_beats_the_blind_answer(name):
    contents = factors.draw("toys", FACTORS, range(4000))
    blind = metrics.blind_agreement(contents, [name]).mean().item()
    factor = scores._factor(contents, name)
    for answer in [*torch.linspace(factor.low, factor.high, 7), contents[name].roll(1)]:
        reading = SimpleNamespace(values={name: answer.expand(4000)}, choices={})
        assert metrics.agreement(reading, contents, [name]).mean().item() <= blind + 0.02


def test_content_score_is_clipped_and_refuses_a_blind_judge():
    assert metrics.content_score(0.6, 0.9, 0.3) == pytest.approx(0.5)
    assert metrics.content_score(0.1, 0.9, 0.3) == 0 and metrics.content_score(1.0, 0.9, 0.3) == 1
    with pytest.raises(metrics.MetricError, match="does not tell contents apart"):
        metrics.content_score(0.3, 0.31, 0.3)


def test_style_counts_only_within_the_distribution():
    assert metrics.counted_style(0.97, 2.9) == (0.97, "")
    value, reason = metrics.counted_style(0.97, 3.1)
    assert value == 0 and "0.97" in reason and "3.1 x" in reason


def test_perceptual_distance_by_hand():
    """Directions count, lengths do not: 0 for a multiple, 2 for right angles, 4 for the opposite; mean of layers."""
    x = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 3, 3)
    for other, expected in ((x * 5, 0), (x.flip(1), 2), (-x, 4)):
        assert metrics.perceptual_distance({"a": x}, {"a": other}).item() == pytest.approx(expected, abs=1e-5)
    both = metrics.perceptual_distance({"a": x, "b": x}, {"a": x.flip(1), "b": x})
    assert both.shape == (1,) and both.item() == pytest.approx(1)


def test_unknown_factors_and_styles_are_a_sentence():
    reading, contents = one("a", lambda a: a)
    with pytest.raises(metrics.MetricError, match="no factor 'nose'"):
        metrics.agreement(reading, contents, ["nose"])
    with pytest.raises(metrics.MetricError, match="No factor is left"):
        metrics.agreement(reading, contents, [])
    with pytest.raises(metrics.MetricError, match="no style 'fresco'"):
        metrics.style_score(SimpleNamespace(style=torch.ones(1, 4)), "fresco", STYLES)


# sets


def normal(count, size=64, seed=0, shift=0.0):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed)) + shift


def test_kernel_distance_is_that_of_torchmetrics():
    from torchmetrics.image.kid import KernelInceptionDistance

    a, b = normal(80).double(), normal(80, seed=1, shift=0.3).double()
    metric = KernelInceptionDistance(feature=populations._Vectors(64), subsets=1, subset_size=80)
    metric.update(a, real=True)
    metric.update(b, real=False)
    assert metrics.kernel_distance(a, b) == pytest.approx(metric.compute()[0].item(), rel=1e-6)


def test_frechet_distance_of_known_gaussians():
    a = normal(4000, size=8)
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert metrics.frechet_distance(a, a + 0.5) == pytest.approx(8 * 0.25, rel=1e-4)
    spread = torch.cov(a.T.double()).trace().item()
    assert metrics.frechet_distance(a, (a - a.mean(0)) * 2 + a.mean(0)) == pytest.approx(spread, rel=1e-4)


@pytest.mark.parametrize("rank", [3, 64])
def test_the_kernel_ratio_of_real_sets_is_about_one_and_grows_with_the_shift(rank):
    """Also where the features are few in truth, and lie far from 0: there a single pair of real sets misleads."""
    mixing = torch.randn(rank, 64, generator=torch.Generator().manual_seed(9))

    def draw_set(seed, shift=0.0):
        return normal(128, rank, seed) @ mixing + 5 + shift * mixing.abs().sum(dim=0)

    ratios = [metrics.kernel_ratio(*(draw_set(seed + i) for i in (0, 100, 200))) for seed in range(12)]
    assert 0.6 < sum(ratios) / len(ratios) < 1.6 and max(ratios) < 3
    shifted = [metrics.kernel_ratio(draw_set(3, shift), draw_set(1), draw_set(2)) for shift in (0, 0.3, 1)]
    assert shifted == sorted(shifted) and shifted[-1] > 3


def test_the_kernel_ratio_needs_sets_of_one_size_and_of_some_variety():
    with pytest.raises(metrics.MetricError, match="equally large"):
        metrics.kernel_ratio(normal(20), normal(20), normal(21))
    with pytest.raises(metrics.MetricError, match="all alike"):
        metrics.kernel_ratio(normal(20), torch.ones(20, 64), torch.ones(20, 64))


def test_precision_and_recall_know_what_is_missing():
    real, near = normal(300, 4), normal(300, 4, seed=1)
    both = metrics.precision_recall(near, real)
    half = metrics.precision_recall(near[near[:, 0] > 0], real)
    wide = metrics.precision_recall(near * 3, real)
    assert both.precision > 0.85 and both.recall > 0.85
    assert half.precision > 0.85 and half.recall < 0.75
    assert wide.precision < 0.5 and wide.recall > 0.85
    assert metrics.density_coverage(near, real).coverage > 0.85
    assert metrics.density_coverage(near[near[:, 0] > 0], real).coverage < 0.7


def test_precision_by_hand():
    """Balls of the first neighbour round 0, 1, 3 reach to 1, 1, 2: 4.5 is in that of 3, 6 is in none."""
    real, samples = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[4.5], [6.0]])
    made = metrics.precision_recall(samples, real, k=1)
    assert made.precision == 0.5 and made.recall == pytest.approx(1 / 3)
    # real balls hold 1 and 0 samples of k = 1: density 1/2; only the ball of 3 holds any: coverage 1/3
    assert metrics.density_coverage(samples, real, k=1) == pytest.approx((0.5, 1 / 3))


def test_intra_cluster_diversity_by_hand():
    training = torch.tensor([[0.0], [10.0], [20.0]])
    samples = torch.tensor([[0.0], [1.0], [2.0], [11.0]])  # three at 0, a single at 10, none at 20
    made = metrics.intra_cluster_diversity(samples, training)
    assert made.diversity == pytest.approx(4 / 3) and made.occupancy == pytest.approx(1 / 3)
    assert metrics.intra_cluster_diversity(samples[:1], training) == (0, 0)


def test_memorisation_finds_copies():
    training, fresh = normal(10, 16), normal(200, 16, seed=1)
    assert metrics.memorisation(training.repeat(5, 1) + 1e-3, training, fresh) == pytest.approx((0, 1), abs=1e-2)
    honest = metrics.memorisation(normal(200, 16, seed=2), training, fresh)
    assert honest.ratio == pytest.approx(1, abs=0.1) and honest.copies < 0.05


def test_sets_that_cannot_be_scored_are_a_sentence():
    with pytest.raises(metrics.MetricError, match="too small"):
        metrics.precision_recall(normal(3), normal(9))
    with pytest.raises(metrics.MetricError, match="one D"):
        metrics.diversity(normal(9, 4), normal(9, 5))
    with pytest.raises(metrics.MetricError, match="not finite"):
        metrics.kernel_distance(normal(9) / 0, normal(9))


# evaluate


BAD = {
    "64, 64": lambda x: x[..., ::2],
    "not finite": lambda x: x * float("nan"),
    "from -1 to 1": lambda x: x.clone().fill_(1).sub_(2 * (torch.arange(len(x)).view(-1, 1, 1, 1) == 0)),
    "tensor": lambda x: x.numpy(),
}


@pytest.mark.parametrize("bench", ["toy"], indirect=True)
class TestEvaluate:
    @pytest.mark.parametrize("message", BAD)
    def test_a_wrong_result_is_a_sentence(self, bench, message):
        with pytest.raises(metrics.MetricError, match=message):
            bench.score(BAD[message])

    def test_unknown_task_and_too_few_pictures(self, bench):
        with pytest.raises(metrics.MetricError, match="no task 'cats'; there are: toys"):
            bench.score(lambda x: x, task="cats")
        with pytest.raises(metrics.MetricError, match="at least 8"):
            bench.score(lambda x: x, count=7)

    def test_a_transfer_cannot_change_what_it_is_scored_against(self, bench):
        assert bench.score(lambda x: x.mul_(0))["content"] == 0
        assert bench.score(lambda x: x)["content"] > 0.9

    def test_a_transfer_may_use_gradients(self, bench):
        def transfer(pictures):
            pictures.requires_grad_(True)
            (gradient,) = torch.autograd.grad(pictures.square().sum(), pictures)
            return (pictures + 0 * gradient).clamp(0, 1)

        assert bench.score(transfer)["content"] > 0.9

    def test_twice_is_the_same_in_any_batch(self, bench):
        first, second = (bench.score(lambda x: blur(x, 1), batch=batch) for batch in (32, 5))
        for name in set(first.values) - {"seconds", "memory"}:
            assert first[name] == pytest.approx(second[name], rel=1e-4, abs=1e-6), name

    def test_the_random_stream_is_left_alone(self, bench):
        torch.manual_seed(5)
        expected = torch.rand(1)
        torch.manual_seed(5)
        bench.score(lambda x: x)
        assert torch.equal(torch.rand(1), expected)

    def test_record_keeps_every_value_with_its_arm(self, bench, monkeypatch):
        monkeypatch.setattr(results, "_measured", type(results._measured)(list))
        score = bench.score(lambda x: x, arm="identity")
        metrics.record("a chapter", score, claim="C01", seed=2, suffix=" at 64")
        rows = {row["name"]: row for row in results._measured["a chapter"]}
        assert set(rows) == {f"{name} at 64" for name in [*score.values, "pictures", "size", "task"]}
        row = rows["content at 64"]
        assert (row["value"], row["arm"], row["claim"], row["seed"]) == (score["content"], "identity", "C01", 2)
        assert rows["psnr at 64"]["unit"] == "dB" and "identity, toys photo->sketch" in str(score)

    def test_references_and_evaluated_contents_are_apart(self, bench):
        blocks = [set(bench.task.contents(50, block).numbers.tolist()) for block in range(4)]
        assert len(set.union(*blocks)) == 200 and min(set.union(*blocks)) >= evaluation.FIRST


def test_spread_is_the_share_of_the_real_deviation():
    contents = world.sample("portraits", range(400))
    known = [f for f in contents.factors if f.name in ("yaw", "clothes_hue", "hair")]

    def reading(count, turns=1.0):
        hair = F.one_hot(contents["hair"].long() * (count > 1), 5).float()
        values = {"yaw": contents["yaw"] * 0.5 + 3, "clothes_hue": contents["clothes_hue"] * turns}
        return SimpleNamespace(values=values, choices={"hair": hair})

    real = SimpleNamespace(
        values={name: contents[name] for name in ("yaw", "clothes_hue")},
        choices={"hair": F.one_hot(contents["hair"].long(), 5).float()},
    )
    assert metrics.spread(real, real, known) == pytest.approx({"yaw": 1, "clothes_hue": 1, "hair": 1})
    assert metrics.spread(reading(5), real, known) == pytest.approx({"yaw": 0.5, "clothes_hue": 1, "hair": 1})
    collapsed = metrics.spread(reading(1, turns=0), real, known)
    assert collapsed["hair"] == 0 and collapsed["clothes_hue"] == pytest.approx(0, abs=1e-3)


def test_what_an_edit_lets_appear_is_not_scored():
    """A house put where there was none may stand anywhere: nobody can know where the edited truth has it."""
    task = metrics.TASKS["landscapes house=yes"]
    contents = task.contents(48)
    elsewhere = contents.replace(
        house="yes", house_x=contents["house_x"].where(contents["house"] > 0, -contents["house_x"])
    )
    judge, features = oracle.load("cpu"), backbones.load("worldnet", "cpu")
    drawn = iter(world.render(elsewhere, "photo", 64).split(24))
    score = metrics.evaluate(lambda *_: next(drawn), task, judge, features, count=48, batch=24)
    assert score["content"] > 0.97 and score["edit"] > 0.9
    unchanged = metrics.evaluate(lambda pictures, *_: pictures, task, judge, features, count=48)
    assert unchanged["edit"] < 0.1


def test_spread_refuses_what_it_cannot_tell():
    contents = world.sample("landscapes", range(40))
    reading = SimpleNamespace(values={"house_x": contents["house_x"], "height": contents["height"]}, choices={})
    flat = SimpleNamespace(values={"height": torch.full((40,), 0.5)}, choices={})
    house_x, height = (next(f for f in contents.factors if f.name == name) for name in ("house_x", "height"))
    for known, other, told in ((house_x, reading, "some pictures only"), (height, flat, "do not vary")):
        with pytest.raises(metrics.MetricError, match=told):
            metrics.spread(reading, other, [known])
    alone = SimpleNamespace(values={"height": torch.tensor([0.5])}, choices={})
    with pytest.raises(metrics.MetricError, match="two pictures"):
        metrics.spread(alone, alone, [height])
    assert metrics.spread(flat, reading, [height]) == {"height": 0.0}


def test_a_task_that_is_not_there_is_told_with_those_like_it():
    with pytest.raises(metrics.MetricError, match=r"no task 'portraits photo->sketsch'; there are 32, .*photo->sketch"):
        metrics.TASKS["portraits photo->sketsch"]
    assert "nothing" not in metrics.TASKS and metrics.TASKS.get("nothing") is None
