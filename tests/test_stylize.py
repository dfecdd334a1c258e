"""Stylize as a function: scales, colours, divergence, determinism, styles of any kind. Small pictures, few steps."""

import warnings

import pytest
import torch

from stlib import backbones, images, stylize

QUICK = {"steps": 2, "device": "cpu"}
LONG = {"steps": 30, "device": "cpu"}  # past the first overshoots of L-BFGS
pytestmark = [pytest.mark.filterwarnings("ignore:.*random weights"), pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def content():
    return images.resize(images.picture("chelsea", 64), (48, 60))


@pytest.fixture(scope="module")
def style():
    return images.picture("mosaic", 48)


def chroma(picture):
    """The two colour differences R - Y and B - Y of pictures (B, 3, H, W)."""
    return picture[:, [0, 2]] - images.luminance(picture)


# Scales and budgets ---------------------------------------------------------------------------------------------------


def test_scales_double_from_coarse_to_the_size_asked_for():
    assert stylize.scales(512) == [128, 256, 512]
    assert stylize.scales(255) == [255] and stylize.scales(256) == [128, 256] and stylize.scales(40) == [40]
    assert stylize.scales(700, coarsest=100) == [175, 350, 700]
    for size in range(32, 1200, 37):
        found = stylize.scales(size)
        assert found[-1] == size and found == sorted(found)
        assert len(found) == 1 or stylize.COARSEST <= found[0] < 2 * stylize.COARSEST


def test_each_scale_gets_its_budget_and_is_reported(monkeypatch, content, style):
    monkeypatch.setattr(stylize.scales, "__defaults__", (24,))
    starts, steps = [], []
    whole = stylize.minimise

    def minimise(objective, start, budget, **options):
        starts.append((tuple(start.shape[-2:]), budget))
        return whole(objective, start, budget, **options)

    monkeypatch.setattr(stylize, "minimise", minimise)
    made = stylize.gatys(content, style, steps=4, device="cpu", callback=lambda *told: steps.append(told))
    border = 2 * stylize.MARGIN
    assert [size[0] - border for size, _ in starts] == [24, 48], "coarse to fine"
    assert [budget for _, budget in starts] == [4, 2], "the finest scale gets half"
    assert [done for done, _, _ in steps] == [1, 2, 3, 4, 5, 6] and {total for _, total, _ in steps} == {6}
    assert all(loss > 0 for _, _, loss in steps)
    assert made.picture.shape == content.shape


def test_the_finer_scale_goes_on_from_the_coarser(monkeypatch, content, style):
    monkeypatch.setattr(stylize.scales, "__defaults__", (24,))
    starts = []

    def paint_it_red(objective, start, budget, **options):
        starts.append(start)
        objective(start)
        return torch.zeros_like(start).index_fill(1, torch.tensor([0]), 1.0)

    monkeypatch.setattr(stylize, "minimise", paint_it_red)
    made = stylize.gatys(content, style, **QUICK)
    assert len(starts) == 2 and starts[1][:, 0].min() > 0.99 and starts[1][:, 1:].abs().max() < 0.01
    assert made.picture[:, 0].min() == 1 and made.picture[:, 1:].max() == 0


# The result -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("height, width", [(33, 50), (50, 33), (64, 64)])
def test_the_result_has_the_content_s_size_and_is_a_picture(style, height, width):
    made = stylize.gatys(torch.rand(1, 3, height, width), style, **QUICK)
    assert made.picture.shape == (1, 3, height, width) and made.picture.dtype == torch.float32
    assert made.picture.min() >= 0 and made.picture.max() <= 1 and not made.picture.requires_grad
    assert made.content_loss >= 0 and made.style_loss > 0 and made.weights


def test_more_steps_come_closer_to_the_style(content, style):
    few, many = (stylize.gatys(content, style, **options).style_loss for options in (QUICK, LONG))
    assert many < 0.5 * few


def test_a_larger_style_weight_keeps_less_content(content, style):
    little, much = (stylize.gatys(content, style, style_weight=weight, **LONG) for weight in (0.01, 20.0))
    assert much.content_loss > little.content_loss and much.style_loss < little.style_loss


def test_weight_zero_leaves_the_photograph(content, style):
    made = stylize.gatys(content, style, style_weight=0.0, **QUICK)
    assert (made.picture - content).abs().mean() < 0.01


def test_the_same_seed_gives_the_same_picture(content, style):
    first, again = (stylize.gatys(content, style, seed=3, **QUICK).picture for _ in range(2))
    assert first.equal(again)


def test_inputs_are_left_as_they_are(content, style):
    before = content.clone(), style.clone()
    stylize.gatys(content, style, keep_colors_of_content=True, **QUICK)
    assert content.equal(before[0]) and style.equal(before[1])


@pytest.mark.parametrize("make", [torch.zeros, torch.ones, lambda *s: torch.rand(1, 1, *s[2:]).expand(s)])
@pytest.mark.parametrize("keep", [False, True])
def test_grey_and_empty_styles_are_no_trouble(content, make, keep):
    made = stylize.gatys(content, make(1, 3, 48, 48), keep_colors_of_content=keep, **QUICK)
    assert made.picture.isfinite().all()


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_an_empty_photograph_is_no_trouble(style, value):
    made = stylize.gatys(torch.full((1, 3, 40, 40), value), style, keep_colors_of_content=True, **QUICK)
    assert made.picture.isfinite().all()


# Colours --------------------------------------------------------------------------------------------------------------


def test_keep_colors_takes_luminance_from_one_and_colour_from_the_other():
    generator = torch.Generator().manual_seed(0)
    content = 0.4 + 0.2 * torch.rand(1, 3, 16, 16, generator=generator)
    stylized = 0.4 + 0.2 * torch.rand(1, 3, 16, 16, generator=generator)  # both far from the clamp
    kept = stylize.keep_colors(stylized, content)
    torch.testing.assert_close(chroma(kept), chroma(content), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.luminance(kept), images.luminance(stylized), atol=1e-5, rtol=0)


def test_stylize_keeps_the_colours_of_the_photograph_when_asked(content, style):
    content = 0.3 + 0.4 * content
    plain, kept = (stylize.gatys(content, style, keep_colors_of_content=keep, **LONG).picture for keep in (False, True))
    drift = [(chroma(picture) - chroma(content)).abs().mean() for picture in (plain, kept)]
    assert drift[1] < 0.3 * drift[0], drift
    changed = (images.luminance(kept) - images.luminance(content)).abs().mean()
    assert changed > 0.005, "only the colours may stay"


# Errors ---------------------------------------------------------------------------------------------------------------


def test_minimise_finds_a_minimum_and_counts_its_steps():
    target, told = torch.rand(1, 3, 4, 4), []
    found = stylize.minimise(
        lambda x: (x - target).square().mean(), torch.zeros(1, 3, 4, 4), 20, callback=lambda *step: told.append(step)
    )
    assert (found - target).abs().max() < 1e-3
    assert [step for step, _ in told] == list(range(1, 21)) and told[-1][1] < told[0][1]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_with_a_sentence(bad):
    calls = []

    def objective(x):
        calls.append(1)
        return x.square().sum() * (bad if len(calls) == 3 else 1)

    with pytest.raises(stylize.Diverged, match="at step 3: lower the style weight"):
        stylize.minimise(objective, torch.ones(1, 3, 4, 4), 10)


def test_a_last_step_into_nan_is_not_returned():
    class Poison(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.sum()

        @staticmethod
        def backward(ctx, gradient):
            return torch.full((1, 3, 4, 4), float("nan"))

    with pytest.raises(stylize.Diverged, match="no longer made of numbers"):
        stylize.minimise(Poison.apply, torch.ones(1, 3, 4, 4), 1)


def test_an_exploding_weight_is_a_sentence(content, style):
    with pytest.raises(stylize.Diverged, match="lower the style weight"):
        stylize.gatys(content, style, style_weight=1e38, **QUICK)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (6, 6)])
def test_a_picture_that_is_too_small_is_a_sentence(content, style, size):
    small = torch.rand(1, 3, *size)
    for pair in ((small, style), (content, small)):
        with pytest.raises(backbones.PictureTooSmall, match="pixels is too small"):
            stylize.gatys(*pair, **QUICK)


def test_an_unknown_backbone_is_a_sentence(content, style):
    with pytest.raises(ValueError, match="There is no backbone 'resnet'"):
        stylize.gatys(content, style, backbone="resnet", **QUICK)


def test_every_backbone_has_layers_that_exist():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = backbones.load("squeezenet", device="cpu")
    assert set(stylize.STYLE_LAYERS) == set(stylize.CONTENT_LAYERS) == {"squeezenet", *backbones.VGG_CONVOLUTIONS}
    assert {*stylize.STYLE_LAYERS["squeezenet"], *stylize.CONTENT_LAYERS["squeezenet"]} <= set(network.layers)
    for name, blocks in backbones.VGG_CONVOLUTIONS.items():
        known = {f"relu{block}_{i}" for block, number in enumerate(blocks, 1) for i in range(1, number + 1)}
        assert {*stylize.STYLE_LAYERS[name], *stylize.CONTENT_LAYERS[name]} <= known
