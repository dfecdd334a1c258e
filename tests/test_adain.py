"""The chapter `adain`: its own functions against the package's, and the decoder that is shipped."""

import pytest
import torch

from stlib import backbones, images, runtime, stylize, zoo
from stlib.chapters import load_chapter
from stlib.losses import perceptual
from stlib.nets import adain, normalization

pytestmark = pytest.mark.filterwarnings("ignore:.*random weights")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Pictures this small are quickest on one thread, above all where others are at work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def chapter():
    module = load_chapter("adain")
    module.runtime = runtime  # imported in the chapter's settings cell
    return module


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
