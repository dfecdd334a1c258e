"""Structure of pictures: what `stlib.losses.structure` says of pictures whose edges are known."""

import pytest
import torch

from stlib.losses.structure import GREY, edges


def ramp(slope, size=24):
    """A picture (1, 1, size, size) that gets brighter by `slope` a pixel, from left to right."""
    return (slope * torch.arange(size, dtype=torch.float64)).expand(1, 1, size, size)


@pytest.mark.parametrize("slope, wanted", [(0.0, 0.0), (0.05, 0.5), (0.025, 0.2), (-0.05, 0.5)])
def test_an_edge_is_one_half_where_brightness_changes_by_half(slope, wanted):
    inside = edges(ramp(slope))[..., 6:-6, 6:-6]  # away from the border, which is mirrored
    torch.testing.assert_close(inside, torch.full_like(inside, wanted))


def test_colours_count_as_luma_and_edges_stay_below_1():
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(404), dtype=torch.float64)
    grey = (x * x.new_tensor(GREY).view(3, 1, 1)).sum(dim=1, keepdim=True)
    torch.testing.assert_close(edges(x), edges(grey))
    assert 0 <= edges(x).min() and edges(x).max() < 1
    assert not torch.allclose(edges(x), edges(x.mean(dim=1, keepdim=True)))


def test_a_flat_picture_has_a_finite_gradient():
    x = torch.full((1, 3, 8, 8), 0.5, requires_grad=True)
    edges(x).sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("shape", [(1, 4, 8, 8), (3, 8, 8), (8, 8)])
def test_another_shape_is_a_sentence(shape):
    with pytest.raises(ValueError, match="pictures .B, 1 or 3, H, W.; got a shape of"):
        edges(torch.rand(shape))
