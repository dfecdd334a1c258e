"""The oracle and how it was trained: units, scores, no gradients; with its weights, that it reads as published."""

import math

import pytest
import torch
from torch import nn

from stlib import oracle, training, world, zoo
from stlib.oracle import Oracle, Reading, score
from stlib.world import factors
from stlib.zoo import judges, strangers
from stlib.zoo.__main__ import main

OTHER = len(world.STYLES)  # the class number of what is not of this world
KINDS = 12  # of such pictures
SIZES = {f.name: f.outputs for f in world.FAMILIES["portraits"].FACTORS}
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def blind():
    """An oracle that has learnt nothing."""
    torch.manual_seed(0)
    return Oracle().eval()


@pytest.fixture(scope="module")
def pictures():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def outputs(family, pieces):
    """What a network puts out for one picture, (1, columns), where `pieces` are its numbers for the named factors."""
    known = world.FAMILIES[family].FACTORS
    return torch.cat([torch.tensor([pieces.get(f.name, [0.0] * f.outputs)]) for f in known], dim=1)


# Readings -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", world.FAMILIES)
def test_a_reading_has_every_factor_in_its_unit(blind, pictures, family):
    reading = blind.read(pictures, family)
    known = world.FAMILIES[family].FACTORS
    assert set(reading.values) == {f.name for f in known if not f.options}
    assert set(reading.choices) == {f.name for f in known if f.options}
    for factor in known:
        if factor.options:
            shares = reading.choices[factor.name]
            assert shares.shape == (3, len(factor.options))
            torch.testing.assert_close(shares.sum(dim=1), torch.ones(3))
        else:
            value = reading.values[factor.name]
            assert value.shape == (3,) and value.min() >= factor.low and value.max() <= factor.high
    assert reading.style.shape == (3, len(oracle.CLASSES)) and oracle.CLASSES == (*world.STYLES, "other")
    torch.testing.assert_close(reading.style.sum(dim=1), torch.ones(3))


def read_as(blind, pictures, monkeypatch, family, **pieces):
    raw = {family: outputs(family, pieces), "style": torch.zeros(1, len(oracle.CLASSES))}
    monkeypatch.setattr(blind, "forward", lambda x: {k: v.expand(len(x), -1) for k, v in raw.items()})
    return blind.read(pictures, family)


@pytest.mark.parametrize("turns", [0.0, 0.1, 0.5, 0.75, 0.99])
def test_an_angle_is_read_in_turns_whatever_its_length(blind, pictures, monkeypatch, turns):
    pair = [3 * math.cos(2 * math.pi * turns), 3 * math.sin(2 * math.pi * turns)]
    read = read_as(blind, pictures, monkeypatch, "portraits", background=pair).values["background"]
    assert (read >= 0).all() and (read < 1).all()
    assert ((read - turns + 0.5) % 1 - 0.5).abs().max() < 1e-5


def test_values_are_scaled_to_the_range_and_clipped(blind, pictures, monkeypatch):
    reading = read_as(
        blind, pictures, monkeypatch, "portraits", yaw=[0.5], roll=[-7.0], eye_size=[0.0], hair=[0, 0, 9, 0, 0]
    )
    assert reading.values["yaw"].tolist() == [16] * 3 and reading.values["roll"].tolist() == [-10] * 3
    assert reading.values["eye_size"].tolist() == pytest.approx([1.05] * 3)
    assert reading.choices["hair"].argmax(dim=1).tolist() == [2] * 3


def test_columns_are_those_of_the_targets(blind, pictures, monkeypatch):
    """What `factors.targets` asks for is read back as the content it came from."""
    for family in world.FAMILIES:
        contents = world.sample(family, [5])
        if family == "landscapes":
            contents = contents.replace(house="yes", water=0.5, boat=0.5, trees=0.5)  # so that all factors show
        wanted, pieces, at = factors.targets(contents)[0].tolist(), {}, 0
        for factor in contents.factors:
            width = 1 if factor.options else factor.outputs
            piece = wanted[at : at + width]
            pieces[factor.name] = [20.0 * (i == piece[0]) for i in range(factor.outputs)] if factor.options else piece
            at += width
        reading = read_as(blind, pictures, monkeypatch, family, **pieces)
        for factor in contents.factors:
            truth = contents[factor.name].item()
            if factor.options:
                assert reading.choices[factor.name].argmax(dim=1).tolist() == [truth] * 3, factor.name
            else:
                span = factor.high - factor.low
                assert reading.values[factor.name].tolist() == pytest.approx([truth] * 3, abs=1e-4 * span), factor.name


def test_no_gradient_flows_through_a_reading(blind, pictures):
    x = pictures.clone().requires_grad_(True)
    reading = blind.read(x, "portraits")
    read = [*reading.values.values(), *reading.choices.values(), reading.style]
    assert not any(part.requires_grad for part in read)


def test_pictures_are_read_one_by_one_whatever_is_beside_them(blind):
    x = torch.rand(260, 3, 32, 32, generator=torch.Generator().manual_seed(2))  # more than are read at once
    whole = blind.read(x, "landscapes")
    torch.testing.assert_close(blind.read(x[[257, 3]], "landscapes").style, whole.style[[257, 3]], rtol=1e-4, atol=1e-5)
    assert whole.values["water"].shape == (260,)


def test_other_sizes_are_brought_to_64_pixels(pictures):
    assert oracle.resized(pictures) is pictures
    for size in (32, 96, 200):
        x = oracle.resized(torch.rand(2, 3, size, size))
        assert x.shape == (2, 3, 64, 64) and x.min() >= 0 and x.max() <= 1
    flat = torch.full((1, 3, 128, 128), 0.3)
    torch.testing.assert_close(oracle.resized(flat), flat[..., :64, :64])
    halves = oracle.resized(torch.rand(1, 3, 128, 128).round())
    assert halves.std() < 0.35  # averaged, not picked


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 3, 31, 64)])
def test_what_is_no_picture_is_a_sentence(blind, shape):
    with pytest.raises(ValueError, match=r"reads \(B, 3, H, W\) of 32 pixels and more; got \(.*\)\.$"):
        blind.read(torch.zeros(shape), "portraits")


def test_an_unknown_family_or_style_is_a_sentence(blind, pictures):
    with pytest.raises(ValueError, match=r"reads portraits and landscapes; got 'cats'\."):
        blind.read(pictures, "cats")
    with pytest.raises(ValueError, match=r"reads portraits and landscapes; got 'cats'\."):
        oracle.carried("cats", "ink")
    with pytest.raises(ValueError, match=r"reads pictures in \[0, 1\]; these reach from 0 to 255\."):
        blind.read(pictures * 0 + torch.linspace(0, 255, 64), "portraits")
    with pytest.raises(ValueError, match=r"has no style 'fresco'; it has: photo, .*, line\."):
        oracle.carried("portraits", "fresco")


# Scores ---------------------------------------------------------------------------------------------------------------

SCORED = {
    f.name: f
    for f in world.FAMILIES["portraits"].FACTORS
    if f.name in ("yaw", "tears", "background", "hair", "glasses")
}


def reading_of(factor, value):
    """A reading in which a factor has the values (B,)."""
    if not factor.options:
        return Reading({factor.name: value}, {}, None)
    return Reading({}, {factor.name: nn.functional.one_hot(value.long(), len(factor.options)).float()}, None)


@pytest.mark.parametrize("name", SCORED)
def test_a_score_is_1_on_the_truth_and_no_better_than_0_when_shuffled(name):
    factor, truth = SCORED[name], world.sample("portraits", range(2000))[name]
    assert score(factor, reading_of(factor, truth), truth) == pytest.approx(1, abs=1e-5)
    shuffled = truth[torch.randperm(2000, generator=torch.Generator().manual_seed(0))]
    assert score(factor, reading_of(factor, shuffled), truth) < 0.1


@pytest.mark.parametrize("name", SCORED)
def test_a_constant_guess_scores_0(name):
    factor, truth = SCORED[name], world.sample("portraits", range(2000))[name]
    best = truth.mode().values if factor.options else truth.mean()
    loose = 0.05 if factor.periodic else 1e-4  # 2000 angles are not quite uniform
    assert score(factor, reading_of(factor, best.expand(2000)), truth) == pytest.approx(0, abs=loose)


def test_too_little_to_score_is_told():
    factor, truth = SCORED["background"], torch.tensor([0.3, torch.nan, torch.nan])
    with pytest.raises(ValueError, match="shows in 1 of 3"):
        score(factor, reading_of(factor, torch.zeros(3)), truth)
    for name, factor in SCORED.items():
        if not factor.periodic:
            same = torch.full((5,), world.sample("portraits", [0])[name].item())
            with pytest.raises(ValueError, match="all alike"):
                score(factor, reading_of(factor, same), same)


def test_large_pictures_are_averaged_as_in_training(pictures):
    large = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(oracle.resized(large), nn.functional.avg_pool2d(large, 2))
    assert oracle.resized(large[..., :100, :100]).shape == (2, 3, 64, 64)


def test_an_angle_is_scored_around_the_circle():
    factor, truth = SCORED["background"], torch.linspace(0, 1, 101)[:100]
    assert score(factor, reading_of(factor, (truth + 0.999) % 1), truth) > 0.999
    assert score(factor, reading_of(factor, (truth + 0.5) % 1), truth) == pytest.approx(-1, abs=1e-4)


# How it was trained ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", world.FAMILIES)
def test_the_loss_is_least_on_the_truth_for_every_kind_of_factor(family):
    contents = world.sample(family, range(64))
    target, style = factors.targets(contents), torch.arange(64) % OTHER
    best, blank, row = [], [], 0
    for factor in contents.factors:
        if factor.options:
            best.append(30 * nn.functional.one_hot(target[:, row].nan_to_num().long(), len(factor.options)).float())
        else:
            best.append(target[:, row : row + factor.outputs].nan_to_num())
        row += 1 if factor.options else factor.outputs
        blank.append(torch.zeros(64, factor.outputs))
    logits = 5 * nn.functional.one_hot(style, OTHER + 1).float()

    def loss(guess):
        return judges.loss_of({family: torch.cat(guess, dim=1), "style": logits}, family, target, style).item()

    least = loss(best)
    for i, factor in enumerate(contents.factors):
        worse = [*best[:i], blank[i], *best[i + 1 :]]
        assert loss(worse) > least + 0.005, factor.name
    assert least < nn.functional.cross_entropy(logits, style, label_smoothing=0.02).item() + 1e-4


def test_what_does_not_show_is_neither_asked_for_nor_scored():
    contents = world.sample("landscapes", range(8)).replace(house=torch.tensor([0.0, 1] * 4))
    target, losses = factors.targets(contents), []
    for guess in (0.0, 3.0):
        raw = {
            "landscapes": outputs("landscapes", {"house_x": [guess]}).expand(8, -1),
            "style": torch.zeros(8, OTHER + 1),
        }
        losses.append(
            [
                judges.loss_of({k: v[i::2] for k, v in raw.items()}, "landscapes", target[i::2], torch.zeros(4).long())
                for i in (0, 1)
            ]
        )
    assert torch.equal(losses[0][0], losses[1][0]) and losses[0][1] < losses[1][1]
    factor = next(f for f in contents.factors if f.name == "house_x")
    guess = contents["house_x"].where(contents["house"] > 0, 0.9)  # wrong where there is no house
    assert score(factor, reading_of(factor, guess), contents.shown("house_x")) == pytest.approx(1)
    assert score(factor, reading_of(factor, guess), contents["house_x"]) < 1


def test_hues_are_not_asked_for_where_a_style_has_none():
    target = factors.targets(world.sample("portraits", range(8)))
    for style in range(OTHER):
        losses = []
        for guess in (0.0, 3.0):
            hue = {name: [guess] * SIZES[name] for name in judges.HUES}
            raw = {"portraits": outputs("portraits", hue).expand(8, -1), "style": torch.zeros(8, OTHER + 1)}
            losses.append(judges.loss_of(raw, "portraits", target, torch.full((8,), style)).item())
        assert (losses[0] == losses[1]) == (world.STYLES[style] in judges.COLOURLESS)


def test_degraded_pictures_keep_shape_and_range_and_remain_what_they_are():
    x = world.render(world.sample("portraits", range(8)), "photo", 64).repeat(8, 1, 1, 1)
    torch.manual_seed(0)
    y = judges.degraded(x)
    assert y.shape == x.shape and y.isfinite().all() and y.min() >= 0 and y.max() <= 1
    change = (y - x).abs().mean(dim=(1, 2, 3))
    assert change.mean() > 0.005 and change.max() < 0.2
    torch.manual_seed(0)
    assert torch.equal(judges.degraded(x), y)


def test_all_twelve_kinds_of_other_pictures_are_made(monkeypatch):
    x = world.render(world.sample("landscapes", range(2 * KINDS)), "sketch", 64)
    real, asked = torch.randint, []

    def in_turn(low, high=None, size=None, **options):
        if (low, high, size) == (0, KINDS, (len(x),)):
            asked.append(True)
            return torch.arange(len(x)) % KINDS
        return real(low, high, **options) if size is None else real(low, high, size, **options)

    monkeypatch.setattr(torch, "randint", in_turn)
    torch.manual_seed(0)
    made = strangers.not_of_this_world(x, torch.ones(len(x), dtype=torch.int64))
    assert asked and made.shape == x.shape and made.isfinite().all() and made.min() >= 0 and made.max() <= 1
    assert ((made - x).abs().mean(dim=(1, 2, 3)) > 0.02).all()
    assert (torch.cdist(made.flatten(1), made.flatten(1)) + torch.eye(len(x)) > 0.5).all()  # no two are alike


def test_the_kinds_of_other_pictures_are_seeded():
    x, style = torch.rand(40, 3, 64, 64), torch.zeros(40, dtype=torch.int64)
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        made.append(strangers.not_of_this_world(x, style))
    assert torch.equal(*made)


def test_rendered_pictures_are_balanced_over_styles_and_their_own_contents(monkeypatch):
    drawn, real = [], world.render

    def counted(contents, style, size):
        drawn.append((style, size, len(contents)))
        return real(contents, style, size)

    monkeypatch.setattr(world, "render", counted)
    pictures, contents, style = judges.rendered("portraits", 48, seed=9)
    assert pictures.dtype == torch.uint8 and pictures.shape == (48, 3, 64, 64)
    assert torch.bincount(style).tolist() == [8] * len(world.STYLES)
    assert sum(n for _, size, n in drawn if size == 128) == 6 and sum(n for *_, n in drawn) == 48
    assert torch.equal(contents.values, world.sample("portraits", range(48), 9).values)
    for i in (1, 44):  # 44 is drawn large
        size = 128 if i == 44 else 64
        alone = nn.functional.avg_pool2d(real(contents[i], world.STYLES[style[i]], size), size // 64)
        assert (pictures[i] / 255 - alone[0]).abs().mean() < 0.004


def test_the_two_networks_and_the_measurement_share_no_content():
    assert len(set(judges.DATA.values())) == 4
    assert judges.PLAN["oracle"]["seed"] != judges.PLAN["worldnet"]["seed"]


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A plan of two epochs on a few pictures, and those pictures."""
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))
    # not narrower: on CPUs with AVX2 alone, torch 2.14's convolutions of 4 channels, channels-last, corrupt the memory
    plan = {"module": lambda: Oracle((8, 8, 8), 8), "share": 1.0, "epochs": 2, "batch": 8, "rate": 2e-3, "seed": 5}
    monkeypatch.setitem(judges.PLAN, "oracle", plan)
    random = torch.Generator().manual_seed(0)
    data = {}
    for family in world.FAMILIES:
        target = factors.targets(world.sample(family, range(16)))
        pictures = torch.randint(0, 256, (16, 3, 64, 64), generator=random, dtype=torch.uint8)
        data[family] = pictures, target, torch.arange(16) % OTHER
    return data


def trained(data):
    return judges.train("oracle", data)[0].state_dict()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("when", ["between epochs", "within an epoch"])
def test_a_killed_training_goes_on_to_the_same_weights(tiny, monkeypatch, when):
    straight = trained(tiny)
    training.checkpoint("oracle").unlink()
    real, calls = judges.step, []

    def stopped(*arguments):
        calls.append(arguments)
        if len(calls) == (5 if when == "between epochs" else 7):  # four steps are an epoch
            raise Killed
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(judges, "step", stopped)
        with pytest.raises(Killed):
            trained(tiny)
    assert training.load_checkpoint("oracle")["done"] == 1
    resumed = trained(tiny)
    assert all(torch.equal(resumed[key], tensor) for key, tensor in straight.items())
    assert any(
        not torch.equal(straight[key], tensor) for key, tensor in judges.PLAN["oracle"]["module"]().state_dict().items()
    )


@pytest.mark.parametrize("at", [5, 8])
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_weights(tiny, monkeypatch, at, where):
    real, calls = judges.step, []

    def broken(module, *arguments):
        loss = real(module, *arguments)
        calls.append(loss)
        if len(calls) != at:
            return loss
        if where == "loss":
            return loss * math.nan
        weight = module.style.weight.flatten()[0]
        return loss + (weight - weight.detach()).abs().sqrt()  # is 0, its slope is not a number

    monkeypatch.setattr(judges, "step", broken)
    with pytest.raises(
        FloatingPointError, match=r"loss of oracle or its gradient is not finite: delete .*oracle\.pt and"
    ):
        trained(tiny)
    assert len(calls) == at
    state = training.load_checkpoint("oracle")
    assert state["done"] == 1 and all(tensor.isfinite().all() for tensor in state["module"].values())


def test_publishing_saves_what_was_measured(tiny, monkeypatch):
    saved, measured = {}, []
    monkeypatch.setattr(judges, "held_out", lambda judge: measured.append(judge) or {"64": {}})
    monkeypatch.setattr(
        zoo, "save", lambda name, module, **about: saved.update(about, name=name, module=module) or saved
    )
    assert judges.publish("oracle", tiny) is saved
    assert saved["name"] == "oracle" and saved["chapter"] == "judges" and measured == [saved["module"]]
    assert saved["training"] | {"seconds": 0} == {"steps": 8, "seconds": 0, "accuracy": {"64": {}}}
    assert "module" not in saved["settings"] and saved["settings"]["epochs"] == 2
    weights = [tensor for tensor in saved["module"].state_dict().values() if tensor.is_floating_point()]
    assert all(torch.equal(tensor, tensor.half().float()) for tensor in weights), (
        "what is measured is not what is saved"
    )


def test_the_command_trains(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(judges, "publish", asked.append)
    assert main(["train", "worldnet"]) == 0 and asked == ["worldnet"]
    for wrong in (["train"], ["train", "oracle", "--folder", "x"]):
        with pytest.raises(SystemExit):
            main(wrong)
    capsys.readouterr()

    def broken(name):
        raise FloatingPointError("The loss is not finite.")

    monkeypatch.setattr(judges, "publish", broken)
    assert main(["train", "oracle"]) == "The loss is not finite."


def test_a_table_is_measured_at_both_sizes(blind):
    table = judges.held_out(blind, count=12, seed=1)
    assert set(table) == {"64", "128"}
    for part in table.values():
        for family, module in world.FAMILIES.items():
            assert set(part[family]) == set(part[f"style, {family}"]) == set(world.STYLES)
            assert set(part[family]["ink"]) == {f.name for f in module.FACTORS}
        assert 0 <= part["other, unseen kinds"] <= 1
    assert all(0 <= table["64"][f"other, {family}"] <= 1 for family in world.FAMILIES)


# With its weights -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def judge():
    return oracle.load("cpu")


@pytest.fixture(scope="module")
def measured(judge):
    """Readings of fresh contents: {family: (contents, {style: reading})}."""
    fresh = {family: world.sample(family, range(96), seed=404) for family in world.FAMILIES}
    assert 404 not in judges.DATA.values()
    return {
        family: (contents, {style: judge.read(world.render(contents, style, 64), family) for style in world.STYLES})
        for family, contents in fresh.items()
    }


def test_the_oracle_is_frozen_and_loaded_once(judge):
    assert oracle.load("cpu") is judge and not judge.training
    assert not any(parameter.requires_grad for parameter in judge.parameters())


@pytest.mark.parametrize("family", world.FAMILIES)
@pytest.mark.parametrize("style", world.STYLES)
def test_it_reads_as_well_as_published(measured, family, style):
    contents, readings = measured[family]
    scored = oracle.carried(family, style)
    assert len(scored) >= {"portraits": 10, "landscapes": 3}[family], f"in {style} hardly a factor is read"
    table = oracle.accuracy()["64"][family][style]
    assert set(table) == {f.name for f in contents.factors}
    found = {f.name: score(f, readings[style], contents.shown(f.name)) for f in contents.factors if f.name in scored}
    mean = sum(found.values()) / len(found)
    assert mean == pytest.approx(sum(table[name] for name in scored) / len(scored), abs=0.08)
    assert {name: value for name, value in found.items() if value <= 0.6} == {}


@pytest.mark.parametrize("family", world.FAMILIES)
@pytest.mark.parametrize("number, style", list(enumerate(world.STYLES)))
def test_it_tells_the_styles_apart(measured, family, number, style):
    seen = measured[family][1][style].style.argmax(dim=1)
    assert (seen == number).float().mean() >= 0.97


@pytest.mark.parametrize("family", world.FAMILIES)
def test_it_knows_what_is_not_of_this_world(judge, measured, family):
    contents = measured[family][0]
    torch.manual_seed(6)
    style = torch.arange(len(contents)) % OTHER
    x = torch.cat([world.render(contents[i], world.STYLES[style[i]], 64) for i in range(len(contents))])
    seen = judge.read(strangers.not_of_this_world(x, style), family).style.argmax(dim=1)
    assert (seen == OTHER).float().mean() >= 0.9


@pytest.mark.parametrize("size", [64, 128])
def test_the_published_table_is_whole(judge, size):
    table = oracle.accuracy()[str(size)]
    for family in world.FAMILIES:
        assert set(table[family]) == set(world.STYLES)
        assert oracle.carried(family, "photo", size) == tuple(
            name for name, value in table[family]["photo"].items() if value >= oracle.READABLE
        )
        assert min(table[f"style, {family}"].values()) >= (0.99 if size == 64 else 0.98)
    assert min(value for name, value in table.items() if name.startswith("other")) >= 0.95
    assert {"other, portraits", "other, landscapes"} <= set(table) or size == 128


def test_what_is_read_can_be_drawn(blind, pictures, monkeypatch):
    """Values at the ends of a factor's range, in float32, are values that the world takes."""
    contents = world.sample("portraits", range(3))
    numbers = [f for f in contents.factors if not f.options and not f.periodic]
    for end in (-5.0, 5.0):
        reading = read_as(blind, pictures, monkeypatch, "portraits", **{f.name: [end] for f in numbers})
        drawn = contents.replace(**{f.name: reading.values[f.name] for f in numbers})
        assert all((drawn[f.name] == (f.low if end < 0 else f.high)).all() for f in numbers)
