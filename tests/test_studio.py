"""The chapter gatys_studio: its cells equal stlib's functions, and what it asserts can fail."""

import pytest
import torch
from test_chapters import swapped

from stlib import backbones, chapters, images, results, stylize


@pytest.fixture(scope="module")
def studio():
    return chapters.load_chapter("gatys_studio")


@pytest.fixture(scope="module")
def network():
    return backbones.load("squeezenet", device="cpu")


def picture(height=70, width=90, seed=0):
    """A smooth random picture."""
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return images.resize(coarse, (height, width))


def test_scales_and_budgets_are_those_of_the_package(studio):
    for shorter in (64, 128, 255, 256, 300, 1024):
        assert studio.scales(shorter) == stylize.scales(shorter)
    assert studio.budgets([128, 256, 512], 60) == [60, 60, 30]
    assert studio.budgets([64], 60) == [60]


@pytest.mark.parametrize("height, width", [(70, 90), (256, 260)])
def test_coarse_to_fine_paints_what_the_package_paints(studio, network, height, width):
    content, style = picture(height, width), picture(80, 64, seed=1)
    ours = studio.coarse_to_fine(content, studio.in_style(network, style), 3)
    theirs = stylize.gatys(content, style, steps=3, device="cpu").picture
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)


def test_going_from_scale_to_scale_leaves_everything_in_its_place(studio):
    content = picture(260, 300)
    kept = studio.coarse_to_fine(content, lambda canvas, size: lambda x: 0 * x.sum(), 2, coarsest=32)
    assert (kept - content).abs().mean() < 0.01


def test_keeping_the_luminance_is_the_package_s(studio):
    a, b = picture(), picture(seed=1)
    torch.testing.assert_close(studio.keep_luminance(a, b), stylize.keep_colors(a, b))


def test_coral_gives_the_target_s_mean_and_covariance(studio):
    moved = studio.coral(picture().double(), picture(50, 40, seed=1).double())[0].flatten(1)
    target = picture(50, 40, seed=1).double()[0].flatten(1)
    torch.testing.assert_close(moved.mean(1), target.mean(1))
    torch.testing.assert_close(torch.cov(moved), torch.cov(target), rtol=1e-3, atol=1e-5)


def test_coral_of_a_picture_to_itself_changes_nothing_and_grey_stays_finite(studio):
    torch.testing.assert_close(studio.coral(picture(), picture()), picture(), atol=1e-3, rtol=0)
    grey = images.luminance(picture()).expand(-1, 3, -1, -1)
    assert studio.coral(grey, picture(seed=1)).isfinite().all()
    assert studio.coral(picture(seed=1), grey).isfinite().all()


def test_a_blend_has_the_gram_matrix_of_both_pictures_side_by_side(studio):
    a, b = (torch.randn(1, 5, 6, 4, generator=torch.Generator().manual_seed(i)) for i in range(2))
    first, second = ({"layer": studio.gram_matrix(f)} for f in (a, b))
    torch.testing.assert_close(
        studio.blend(first, second, 0.5)["layer"], studio.gram_matrix(torch.cat([a, b], dim=3)), rtol=1e-5, atol=1e-6
    )
    assert studio.blend(first, second, 0)["layer"].equal(first["layer"])
    assert studio.blend(first, second, 1)["layer"].equal(second["layer"])


def test_one_region_everywhere_is_the_plain_method(studio, network):
    content, style = picture(), picture(80, 64, seed=1)
    whole = torch.ones(1, 1, *content.shape[-2:])
    x = images.resize(content, 70)
    canvas = torch.nn.functional.pad(x, [studio.MARGIN] * 4, mode="reflect") + 0.1
    plain = studio.in_style(network, style)(canvas, 70)(canvas)
    guided = studio.in_regions(network, [(whole, style)])(canvas, 70)(canvas)
    torch.testing.assert_close(guided, plain, rtol=1e-3, atol=1e-4)


def test_the_mask_finds_a_blue_sky_and_nothing_grey(studio):
    photo = torch.full((1, 3, 40, 40), 0.5)
    photo[..., :20, :] = torch.tensor([0.3, 0.5, 0.9]).view(1, 3, 1, 1)
    mask = studio.blue_sky(photo)
    assert mask.shape == (1, 1, 40, 40) and mask.min() >= 0 and mask.max() <= 1
    assert mask[..., :12, :].min() > 0.95 and mask[..., 28:, :].max() < 0.1
    assert 0.2 < mask[..., 18:22, :].mean() < 0.8


def test_larger_strokes_as_recorded_and_not_with_swapped_arms(studio):
    rows = results.rows("gatys_studio")
    assert studio.larger_strokes(results.facts("gatys_studio", rows))
    assert not studio.larger_strokes(results.facts("gatys_studio", swapped(rows, "coarse to fine", "one scale")))


@pytest.mark.parametrize("arm", ["luminance", "CORAL"])
def test_colours_are_kept_as_recorded_and_not_with_swapped_arms(studio, arm):
    rows = results.rows("gatys_studio")
    assert studio.colours_kept(results.facts("gatys_studio", rows))
    assert not studio.colours_kept(results.facts("gatys_studio", swapped(rows, "plain", arm, "colour_moved")))


def test_a_price_pays_as_recorded_and_not_with_swapped_arms(studio):
    rows = results.rows("gatys_studio")
    assert studio.a_price_pays(results.facts("gatys_studio", rows))
    turned = swapped(rows, "with a price", "clamped at the end", "clamp_saved")
    assert not studio.a_price_pays(results.facts("gatys_studio", turned))
