"""The chapter `adain`: its own functions against the package's, and the decoder that is shipped."""

import pytest
import torch
from test_chapters import swapped

from stlib import backbones, images, results, stylize, zoo
from stlib.chapters import load_chapter
from stlib.losses import perceptual
from stlib.nets import adain, normalization

pytestmark = [pytest.mark.filterwarnings("ignore:.*random weights"), pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def chapter():
    return load_chapter("adain")


@pytest.fixture(scope="module")
def network():
    return backbones.load(device="cpu")


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# The chapter and the package ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(2, 5, 6, 7), (1, 3, 1, 1), (3, 1, 4, 9)])
def test_moments_and_adain_are_the_package_s(chapter, shape):
    content, style = random(*shape), random(*shape[:2], 5, 3, seed=1)
    for found, wanted in zip(chapter.channel_moments(content), normalization.channel_moments(content), strict=True):
        assert torch.equal(found, wanted)
    assert torch.equal(
        chapter.adaptive_instance_norm(content, style), normalization.adaptive_instance_norm(content, style)
    )


@pytest.mark.parametrize("form", ["sum", "mean"])
def test_both_forms_of_the_style_loss_are_the_package_s(chapter, form):
    features, target = random(2, 5, 6, 7), random(2, 5, 4, 4, seed=1)
    torch.testing.assert_close(
        chapter.official_style_loss(features, target, form), perceptual.moment_loss(features, target, form)
    )


def test_the_encoder_is_the_package_s(chapter, network):
    picture = images.picture("chelsea", 64)[..., :64, :80]
    names = ["relu1", "fire5"]
    ours, theirs = adain.encode(network, picture, names), chapter.encode(network, picture, names)
    assert list(theirs) == names and all(torch.equal(ours[name], theirs[name]) for name in names)
    assert ours["fire5"].shape == (1, 256, 8, 10)
    assert torch.equal(adain.encode(network, picture)[adain.LAYER], theirs["fire5"])


def test_the_decoder_is_the_package_s(chapter):
    theirs, ours = chapter.Decoder(), adain.Decoder()
    with torch.no_grad():
        theirs.mean.normal_(), theirs.std.uniform_(0.5, 2)
        for parameter in theirs.parameters():
            parameter.add_(0.01)
    ours.load_state_dict(theirs.state_dict())
    features = random(1, 256, 3, 4).float()
    assert torch.equal(ours(features), theirs(features)) and ours(features).shape == (1, 3, 24, 32)
    ours, theirs = ours.double(), theirs.double()
    assert torch.equal(ours(features.double()), theirs(features.double()))


def test_decoders_start_alike(chapter):
    made = []
    for kind in (chapter.Decoder, adain.Decoder):
        torch.manual_seed(3)
        made.append(kind().state_dict())
    assert list(made[0]) == list(made[1]) and all(torch.equal(made[0][key], made[1][key]) for key in made[0])


@pytest.mark.parametrize("tile, context, scale", [(16, 8, 1 / 8), (64, 0, 1 / 8), (5, 2, 8), (3, 3, 1)])
def test_tiles_are_the_package_s(chapter, tile, context, scale):
    def function(x):
        return torch.nn.functional.interpolate(x.cumsum(2), scale_factor=scale)

    x, calls = random(1, 2, 40, 24), []
    found = chapter.in_tiles(function, x, tile, context, scale)
    assert torch.equal(found, stylize.in_tiles(function, x, tile, context, scale, lambda: calls.append(1)))
    assert found.shape[-2:] == (40 * scale, 24 * scale) and calls


# The shipped decoder --------------------------------------------------------------------------------------------------


def test_the_shipped_decoder_paints_what_the_chapter_paints(chapter, network):
    """Without a margin, and with two styles: alpha, weights and moments mean the same in both."""
    decoder = zoo.load("adain_decoder", adain.Decoder())
    content = images.picture("chelsea", 96)[..., :96, :128]
    styles = [images.picture(name, 64)[..., :64, :64] for name in ("mosaic", "strokes")]
    theirs = chapter.paint(network, decoder, stylize.to_multiple_of_8(content, stylize.MARGIN), styles, (0.3, 0.7), 0.8)
    theirs = theirs[..., stylize.MARGIN :, stylize.MARGIN :][..., :96, :128]
    ours = stylize.adain(content, styles, mix=[3, 7], alpha=0.8, device="cpu").picture
    assert (ours - theirs).abs().max() <= 2 / 255


# What the chapter asserts can fail ------------------------------------------------------------------------------------


def test_c02_holds_as_recorded_and_fails_with_swapped_arms(chapter):
    rows = results.rows("adain")
    assert chapter.c02_holds(results.facts("adain", rows))
    assert not chapter.c02_holds(results.facts("adain", swapped(rows, "Gatys", "AdaIN", "seconds_per_picture")))


def test_any_style_is_as_recorded_and_turns_with_swapped_arms(chapter):
    rows = results.rows("adain")
    assert chapter.any_style(results.facts("adain", rows))["far nearer than the photograph"]
    turned = [dict(row) for row in rows]
    for row in turned:  # what was painted for what was photographed
        name, _, arm = row["arm"].rpartition(", ")
        row["arm"] = f"{name}, {'photograph' if arm == 'painted' else 'painted'}" if name else row["arm"]
    assert not chapter.any_style(results.facts("adain", turned))["far nearer than the photograph"]


def test_a_held_out_painting_missed_as_little_as_a_seen_one_would_be_said(chapter):
    rows = [dict(row) for row in results.rows("adain")]
    for row in rows:
        row["name"] = {"style_error seen": "style_error held out", "style_error held out": "style_error seen"}.get(
            row["name"], row["name"]
        )
    assert chapter.any_style(results.facts("adain", rows))["at most 1.3 times the seen"]


def late(mixed, one_style):
    """Facts of the C03 experiment made up: late losses {kind: [value per seed]} of both sets."""
    rows = [
        {"name": f"late_loss {which}", "arm": kind, "value": value}
        for which, arms in {"mixed": mixed, "one style": one_style}.items()
        for kind, values in arms.items()
        for value in values
    ]
    return results.facts("adain", rows)


def test_c03_sees_an_advantage_that_shrinks_one_that_stays_and_one_that_is_not_there(chapter):
    strong = {"none": [4.0, 4.1], "batch": [3.0, 3.1], "instance": [2.0, 2.1]}
    weak = {"none": [4.0, 4.1], "batch": [2.05, 2.15], "instance": [2.0, 2.1]}
    torn = {"none": [4.0, 4.1], "batch": [3.0, 2.0], "instance": [2.0, 2.1]}
    assert all(chapter.c03_parts(late(strong, weak)).values())
    assert not chapter.c03_parts(late(strong, strong))["on one style less than half is left"]
    assert not chapter.c03_parts(late(torn, weak))["instance norm beats batch norm"], "the seeds do not agree"
    turned = {"none": [4.0, 4.1], "batch": [2.0, 2.1], "instance": [3.0, 3.1]}
    assert not chapter.c03_parts(late(turned, strong))["instance norm beats batch norm"]


def test_c03_is_as_recorded_and_turns_with_swapped_arms(chapter):
    rows, part = results.rows("adain"), "instance norm beats batch norm"
    told = chapter.c03_parts(results.facts("adain", rows))
    assert told[part]
    for only in (None, "late_loss mixed"):
        turned = swapped(rows, "batch", "instance", only)
        assert not chapter.c03_parts(results.facts("adain", turned))[part]
    mark = next(row["value"] for row in rows if (row["name"], row["claim"]) == ("verdict", "C03"))
    assert mark == ("holds" if all(told.values()) else "depends")
