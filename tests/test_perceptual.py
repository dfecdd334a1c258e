"""Losses on feature maps: invariances, and the chapter's own functions against the package's."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stlib.chapters import load_chapter
from stlib.losses import perceptual

shapes = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 7), st.integers(1, 7))


def random(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None, max_examples=40)
@given(shapes, st.integers(0, 10**6))
def test_gram_does_not_see_positions(shape, seed):
    features = random(shape, seed)
    order = torch.randperm(shape[2] * shape[3], generator=torch.Generator().manual_seed(seed))
    shuffled = features.flatten(2)[..., order].reshape(shape)
    torch.testing.assert_close(perceptual.gram_matrix(shuffled), perceptual.gram_matrix(features))


@settings(deadline=None, max_examples=40)
@given(shapes, st.integers(0, 10**6))
def test_gram_is_symmetric_positive_and_per_picture(shape, seed):
    features = random(shape, seed)
    gram = perceptual.gram_matrix(features)
    torch.testing.assert_close(gram, gram.transpose(1, 2))
    assert torch.linalg.eigvalsh(gram).min() > -1e-9
    torch.testing.assert_close(gram[:1], perceptual.gram_matrix(features[:1]))


def test_gram_sees_pixel_positions():
    """Shuffling the positions of a *picture* does change the Gram matrix of a layer that looks at neighbourhoods."""
    picture, kernel = random((1, 3, 8, 8)), random((4, 3, 3, 3), 1)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(2))
    shuffled = picture.flatten(2)[..., order].reshape(picture.shape)
    before, after = (perceptual.gram_matrix(torch.nn.functional.conv2d(x, kernel)) for x in (picture, shuffled))
    assert not torch.allclose(before, after, rtol=0.05)


def test_gram_is_the_same_for_any_memory_layout():
    features = random((2, 8, 5, 6))
    last = features.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(perceptual.gram_matrix(last), perceptual.gram_matrix(features))


@pytest.mark.parametrize("divide_by", ["hw", "chw", "none"])
def test_the_gradient_of_the_gram_matrix_is_right_once_and_twice(divide_by):
    features = random((2, 3, 2, 4)).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda f: perceptual.gram_matrix(f, divide_by), features)
    assert torch.autograd.gradgradcheck(lambda f: perceptual.gram_matrix(f, divide_by), features)


def test_relative_style_loss_is_one_for_a_blank_result():
    gram = perceptual.gram_matrix(random((1, 4, 5, 5)))
    assert perceptual.relative_style_loss(torch.zeros_like(gram), gram).item() == pytest.approx(1)


def test_unknown_total_variation_is_a_sentence():
    with pytest.raises(ValueError, match="'l1' and 'l2'"):
        perceptual.total_variation(random((1, 3, 4, 4)), kind="l3")


def test_the_chapter_and_the_package_compute_the_same():
    chapter = load_chapter("gatys")
    features, other, picture = random((2, 4, 5, 6)), random((2, 4, 5, 6), 1), random((1, 3, 7, 5))
    gram, target = chapter.gram_matrix(features), chapter.gram_matrix(other)
    torch.testing.assert_close(gram, perceptual.gram_matrix(features))
    torch.testing.assert_close(chapter.style_loss(gram, target), perceptual.relative_style_loss(gram, target))
    torch.testing.assert_close(chapter.content_loss(features, other), perceptual.content_loss(features, other))
    torch.testing.assert_close(chapter.total_variation(picture), perceptual.total_variation(picture))


def test_the_chapter_and_the_package_optimise_the_same():
    from stlib import stylize

    chapter, start, target = load_chapter("gatys"), random((1, 3, 6, 6)), random((1, 3, 6, 6), 1)
    trace = []
    ours = stylize.minimise(lambda x: (x - target).pow(4).sum(), start, 12, callback=lambda _, loss: trace.append(loss))
    theirs, losses = chapter.minimise(lambda x: (x - target).pow(4).sum(), start, 12)
    assert trace == losses and len(losses) == 12
    torch.testing.assert_close(ours, theirs)
