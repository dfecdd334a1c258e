"""AdaIN as a function: pictures in tiles, mixed styles, alpha, colours, sizes. Its decoder here is a random one."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from stlib import backbones, images, runtime, stylize
from stlib.nets.adain import LAYER, Decoder, encode

pytestmark = [pytest.mark.filterwarnings("ignore:.*random weights"), pytest.mark.usefixtures("one_thread")]
CPU = {"device": "cpu"}
GREY_STEP = 1 / 255


@pytest.fixture(scope="module")
def content():
    return images.picture("chelsea", 96)


@pytest.fixture(scope="module")
def style():
    return images.picture("mosaic", 64)


@pytest.fixture(scope="module")
def other():
    return images.picture("strokes", 72)


@pytest.fixture(scope="module")
def network():
    return backbones.load(device="cpu")


@pytest.fixture(scope="module")
@torch.no_grad()
def decoder(network, content, style):
    """A random decoder whose pictures of these features have a mean of 0.5 and a deviation of 0.15."""
    torch.manual_seed(0)
    made = Decoder().requires_grad_(False)
    maps = [encode(network, stylize.to_multiple_of_8(x))[LAYER] for x in (content, style)]
    std, mean = torch.std_mean(torch.cat([f.flatten(2) for f in maps], dim=2)[..., None], dim=(0, 2, 3), keepdim=True)
    made.mean.copy_(mean), made.std.copy_(std.clamp_min(1e-3))
    std, mean = torch.std_mean(made(maps[0]), dim=(0, 2, 3))
    made.layers[-1].weight.mul_((0.15 / std).view(3, 1, 1, 1))
    made.layers[-1].bias.copy_(0.5 - mean * 0.15 / std)
    made.weights = "random"
    return made


@pytest.fixture
def painter(monkeypatch, decoder):
    """`stylize.adain` with the random decoder."""
    monkeypatch.setattr(stylize, "adain_decoder", lambda device=None: decoder)
    return stylize.adain


@pytest.fixture
def exact(monkeypatch):
    """Networks in float32 also where bfloat16 is quicker: its rounding differs from one size of tile to the next."""
    monkeypatch.setattr(runtime, "fast_dtype", lambda where: torch.float32)


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def difference(one, two):
    assert one.shape == two.shape
    return (one - two).abs().max().item()


# Tiles ----------------------------------------------------------------------------------------------------------------

SIZES = [(16, 16), (24, 40), (40, 24), (17, 31), (8, 72)]


@pytest.mark.parametrize("tile, context", [(8, 0), (16, 3), (8, 100), (100, 8)])
@pytest.mark.parametrize("size", SIZES)
def test_tiles_of_nothing_done_are_the_map(size, tile, context):
    x = random(2, 3, *size)
    assert torch.equal(stylize.in_tiles(lambda part: part, x, tile, context, 1), x)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("tile", [8, 12, 16, 100])
def test_tiles_with_enough_context_give_the_untiled_convolution(size, tile):
    x, kernel = random(1, 3, *size), random(4, 3, 7, 7, seed=1)

    def convolution(part):  # it reaches 3 positions
        return functional.conv2d(part, kernel, padding=3)

    whole = convolution(x)
    for context in (3, 4, 9):
        torch.testing.assert_close(stylize.in_tiles(convolution, x, tile, context, 1), whole, rtol=0, atol=1e-12)
    if tile < max(size):
        assert difference(stylize.in_tiles(convolution, x, tile, 2, 1), whole) > 1e-3, "too little context must show"


@pytest.mark.parametrize("size", [(64, 64), (72, 40), (136, 24), (8, 200)])
@pytest.mark.parametrize("tile", [16, 64, 1024])
def test_tiles_shrink_and_grow_with_the_function(size, tile):
    """Scales 1/8 and 8, with last tiles as thin as 8 pixels, or one position."""
    picture, kernel = random(1, 3, *size), random(3, 3, 3, 3, seed=1)

    def down(part):
        return functional.avg_pool2d(functional.conv2d(part, kernel, padding=1), 8)

    small = stylize.in_tiles(down, picture, tile, 8, 1 / 8)
    torch.testing.assert_close(small, down(picture), rtol=0, atol=1e-12)
    assert small.shape[-2:] == (size[0] // 8, size[1] // 8)

    def up(part):
        return functional.conv2d(functional.interpolate(part, scale_factor=8), kernel, padding=1)

    large = stylize.in_tiles(up, small, tile // 8, 1, 8)
    torch.testing.assert_close(large, up(small), rtol=0, atol=1e-12)
    if tile < max(size):
        assert difference(stylize.in_tiles(up, small, tile // 8, 0, 8), large) > 1e-3


def test_no_tile_is_larger_than_promised_and_each_is_reported():
    seen, told = [], []

    def spy(part):
        seen.append(part.shape[-2:])
        return part

    stylize.in_tiles(spy, random(1, 1, 70, 50), 32, 5, 1, lambda: told.append(1))
    assert len(seen) == len(told) == 6 and max(max(size) for size in seen) == 32 + 2 * 5


@torch.no_grad()
def test_the_context_of_encoder_and_decoder_is_enough(network, decoder, content):
    """In float64, where nothing else differs. Half the encoder's context, or 4 positions for the decoder, is not."""
    layers = {name: copy.deepcopy(layer) for name, layer in network.layers.items()}
    precise = backbones.Backbone(network.name, layers, network.weights, fast=False).double()
    canvas = stylize.to_multiple_of_8(content[..., :80], stylize.MARGIN).double()
    whole = encode(precise, canvas)[LAYER]

    def encoded(context):
        return stylize.in_tiles(lambda x: encode(precise, x)[LAYER], canvas, 64, context, 1 / 8)

    scale = whole.abs().max().item()
    assert difference(encoded(stylize.ENCODER_CONTEXT), whole) <= 1e-12 * scale
    assert difference(encoded(stylize.ENCODER_CONTEXT // 2), whole) > 1e-6 * scale
    paint = copy.deepcopy(decoder).double()
    painted = paint(whole)
    assert difference(stylize.in_tiles(paint, whole, 5, stylize.DECODER_CONTEXT, 8), painted) <= 1e-12
    assert difference(stylize.in_tiles(paint, whole, 5, 4, 8), painted) > GREY_STEP


@pytest.mark.parametrize("tile", [32, 64, 120])
def test_a_picture_painted_in_tiles_is_the_untiled_one(painter, exact, content, style, tile):
    whole = painter(content, style, **CPU).picture
    assert 0.05 < whole.std() and ((whole > 0) & (whole < 1)).float().mean() > 0.5, "most of it must be able to differ"
    assert difference(painter(content, style, tile=tile, **CPU).picture, whole) <= 0.1 * GREY_STEP


def test_bfloat16_in_tiles_is_no_farther_from_float32_than_untiled(painter, monkeypatch, content, style):
    """Its kernels round differently for different sizes: single values may differ by several grey steps."""
    whole, tiled = (painter(content, style, tile=tile, **CPU).picture for tile in (1024, 32))
    monkeypatch.setattr(runtime, "fast_dtype", lambda where: torch.float32)
    precise = painter(content, style, **CPU).picture
    of_whole, of_tiled, between = (
        (a - b).abs().mean() for a, b in ((whole, precise), (tiled, precise), (whole, tiled))
    )
    assert of_tiled <= 1.25 * of_whole + 1e-6 and between <= 1.25 * of_whole + 1e-6 and between <= GREY_STEP


# Sizes ----------------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.integers(15, 60), st.integers(15, 60), st.integers(0, 7))  # mirroring needs more pixels than it adds
def test_a_canvas_is_a_multiple_of_8_around_the_picture(height, width, margin):
    picture = random(1, 3, height, width)
    canvas = stylize.to_multiple_of_8(picture, margin)
    for length, before in zip(canvas.shape[-2:], (height, width), strict=True):
        assert length % 8 == 0 and 0 <= length - before - 2 * margin < 8
    assert torch.equal(canvas[..., margin : margin + height, margin : margin + width], picture)
    if canvas.shape[-1] > margin + width:
        assert torch.equal(canvas[..., margin, margin + width], picture[..., 0, -2]), "mirrored without its edge"
    if margin:
        assert torch.equal(canvas[..., margin - 1, margin], picture[..., 1, 0]), "mirrored without its edge"


def test_a_canvas_that_fits_is_the_picture():
    picture = random(1, 3, 24, 16)
    assert torch.equal(stylize.to_multiple_of_8(picture), picture)


@pytest.mark.parametrize("size", [(33, 47), (100, 65), (24, 64)])
def test_the_result_has_the_content_s_size_and_is_a_picture(painter, content, style, size):
    made = painter(images.resize(content, size), style, **CPU)
    assert made.picture.shape == (1, 3, *size) and made.picture.is_contiguous() and made.picture.dtype == torch.float32
    assert made.picture.min() >= 0 and made.picture.max() <= 1 and made.picture.std() > 0.02
    assert made.weights.startswith("squeezenet ") and made.weights.endswith("; decoder random")


@pytest.mark.parametrize("size", [(16, 60), (60, 16), (1, 1)])
def test_a_content_picture_that_is_too_small_is_a_sentence(painter, style, size):
    with pytest.raises(backbones.PictureTooSmall, match="pixels is too small; use a larger one"):
        painter(torch.rand(1, 3, *size), style, **CPU)


@pytest.mark.parametrize(
    "content_size, style_size, error",
    [
        ((24, 64), (64, 64), None),
        ((64, 25), (24, 31), None),
        ((17, 64), (64, 64), backbones.PictureTooSmall),
        ((64, 23), (64, 64), backbones.PictureTooSmall),
        ((64, 64), (4, 64), backbones.PictureTooSmall),
    ],
)
def test_a_picture_at_the_limit_is_painted_or_refused_in_a_sentence(painter, content_size, style_size, error):
    pair = torch.rand(1, 3, *content_size), torch.rand(1, 3, *style_size)
    if error:
        with pytest.raises(error):
            painter(*pair, **CPU)
    else:
        assert painter(*pair, **CPU).picture.shape[-2:] == content_size


def test_no_style_at_all_is_a_sentence(painter, content):
    with pytest.raises(ValueError, match="style"):
        painter(content, [], **CPU)


def test_a_tile_that_8_does_not_divide_is_refused_or_harmless(painter, exact, content, style):
    whole = painter(content, style, **CPU).picture
    try:
        tiled = painter(content, style, tile=100, **CPU).picture
    except ValueError:
        return
    assert difference(tiled, whole) <= 0.1 * GREY_STEP


def test_an_unknown_device_is_a_sentence(painter, content, style):
    with pytest.raises(runtime.DeviceError, match="There is no device 'toaster'"):
        painter(content, style, device="toaster")


@pytest.mark.parametrize("tile", [32, 64, 1024])
def test_the_callback_counts_every_tile_up_to_the_total(painter, content, style, other, tile):
    told = []
    painter(content, [style, other], tile=tile, callback=lambda *now: told.append(now), **CPU)
    total = told[0][1]
    assert told == [(done, total) for done in range(1, total + 1)]
    height, width = stylize.to_multiple_of_8(content, stylize.MARGIN).shape[-2:]
    assert total == 2 * -(-height // tile) * -(-width // tile)


# Mixing, alpha, colours -----------------------------------------------------------------------------------------------


def test_alpha_0_is_the_photograph_as_the_decoder_rebuilds_it(painter, exact, network, decoder, content, style):
    rebuilt = decoder(encode(network, stylize.to_multiple_of_8(content, stylize.MARGIN))[LAYER]).clamp(0, 1)
    height, width = content.shape[-2:]
    inner = rebuilt[..., stylize.MARGIN :, stylize.MARGIN :][..., :height, :width]
    assert difference(painter(content, style, alpha=0, **CPU).picture, inner) <= 0.1 * GREY_STEP
    assert difference(painter(content, style, **CPU).picture, inner) > 10 * GREY_STEP


def test_its_own_style_changes_a_picture_less_than_another_style(painter, exact, content, style, other):
    """Not by nothing: the moments of the content are those of its canvas, with the margin."""
    rebuilt = painter(content, content, alpha=0, **CPU).picture
    own, first, second = ((painter(content, s, **CPU).picture - rebuilt).abs().mean() for s in (content, style, other))
    assert own < 0.5 * min(first, second)


def test_alpha_goes_all_the_way(painter, exact, content, style):
    steps = [painter(content, style, alpha=alpha, **CPU).picture for alpha in (0, 0.5, 1)]
    far = difference(steps[0], steps[2])
    assert 0 < (steps[1] - steps[0]).abs().mean() < (steps[2] - steps[0]).abs().mean() and far > 10 * GREY_STEP


def test_a_mix_with_one_weight_is_that_style_alone(painter, exact, content, style, other):
    for mix, alone in (([1, 0], style), ([0, 2.5], other)):
        mixed = painter(content, [style, other], mix=mix, **CPU).picture
        assert difference(mixed, painter(content, alone, **CPU).picture) <= 0.1 * GREY_STEP
    assert difference(painter(content, style, **CPU).picture, painter(content, other, **CPU).picture) > 10 * GREY_STEP


def test_styles_may_change_places_with_their_weights(painter, exact, content, style, other):
    one = painter(content, [style, other], mix=[1, 3], alpha=0.7, **CPU).picture
    two = painter(content, (other, style), mix=(0.75, 0.25), alpha=0.7, **CPU).picture
    assert difference(one, two) <= 0.1 * GREY_STEP
    swapped = painter(content, [other, style], mix=[1, 3], alpha=0.7, **CPU).picture
    assert difference(one, swapped) > 10 * GREY_STEP


def test_without_a_mix_all_styles_count_alike(painter, exact, content, style, other):
    equal = painter(content, [style, other], **CPU).picture
    assert difference(equal, painter(content, [style, other], mix=[0.2, 0.2], **CPU).picture) <= 0.1 * GREY_STEP
    assert torch.equal(painter(content, [style], **CPU).picture, painter(content, style, **CPU).picture)


NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    "bad",
    [
        *({"mix": mix} for mix in ([1], [1, 1, 1], [], [-1, 2], [0, 0], [NAN, 1], [INFINITE, 1])),
        *({"alpha": alpha} for alpha in (-0.01, 1.01, NAN, INFINITE)),
    ],
    ids=str,
)
def test_a_bad_mix_or_alpha_is_a_sentence(painter, content, style, other, bad):
    with pytest.raises(ValueError, match=r"One weight per style is needed.*alpha lies in \[0, 1\]"):
        painter(content, [style, other], **bad, **CPU)


def test_keeping_the_colours_of_the_content_recolours_every_style(painter, exact, content, style, other):
    kept = painter(content, [style, other], keep_colors_of_content=True, **CPU).picture
    recoloured = [images.coral(x, content).clamp(0, 1) for x in (style, other)]
    painted = painter(content, recoloured, **CPU).picture
    assert difference(kept, stylize.keep_colors(painted, content)) <= 0.1 * GREY_STEP
    assert difference(kept, painter(content, [style, other], **CPU).picture) > 10 * GREY_STEP


def test_two_runs_agree_and_the_inputs_stay(painter, content, style):
    before = content.clone(), style.clone()
    one, two = (painter(content, style, keep_colors_of_content=True, **CPU).picture for _ in range(2))
    assert torch.equal(one, two) and torch.equal(content, before[0]) and torch.equal(style, before[1])


def test_grey_and_constant_pictures_give_numbers(painter, content, style):
    grey, plain = images.luminance(content).expand(-1, 3, -1, -1), torch.full((1, 3, 40, 50), 0.3)
    for pair in ((grey, style), (plain, style), (content, plain), (content, grey)):
        for keep in (False, True):
            assert painter(*pair, keep_colors_of_content=keep, **CPU).picture.isfinite().all()
