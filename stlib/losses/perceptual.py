"""Perceptual losses on feature maps: content, Gram, moments, total variation.

A feature map F is (B, C, H, W); with N = C channels and M = H W positions the papers write it as an N x M matrix.
Every function is first built in a chapter (`gatys`, `adain`); tests hold the two equal.
"""

import torch

from stlib.nets.normalization import channel_moments


class _Products(torch.autograd.Function):
    """F^T F of matrices F (B, M, N). The gradient is one product, F (g + g^T), where autograd would make two."""

    @staticmethod
    def forward(ctx, flat):
        ctx.save_for_backward(flat)
        return flat.transpose(1, 2) @ flat

    @staticmethod
    def backward(ctx, gradient):
        (flat,) = ctx.saved_tensors
        return flat @ (gradient + gradient.transpose(1, 2))


def gram_matrix(features, divide_by="hw"):
    """Gram matrices G = F F^T / M of feature maps (B, C, H, W), as (B, C, C).

    `divide_by`: "hw" divides by M = H W (Gatys' own code), "chw" by N M (most later codes), "none" by nothing
    (the paper, which puts the factor into the loss). Each picture is divided by its own M, so pictures of
    different sizes can be compared. Source: Gatys et al. 2016, eq. 3.
    """
    _, channels, height, width = features.shape
    divisor = {"hw": height * width, "chw": channels * height * width, "none": 1}[divide_by]
    return _Products.apply(features.permute(0, 2, 3, 1).flatten(1, 2)) / divisor  # no copy if channels-last


def content_loss(features, target):
    """Mean squared difference of two feature maps of one shape. The paper (eq. 1) takes half the *sum*."""
    return (features - target).square().mean()


def style_loss(gram, target):
    """Mean over the N x N entries of (G - A)^2. With Grams divided by M this is 4 E of the paper's eq. 4."""
    return (gram - target).square().mean()


def relative_style_loss(gram, target):
    """Sum of (G - A)^2 divided by the sum of A^2: 1 for a blank result, and layers count alike without hand weights."""
    return (gram - target).square().sum() / target.square().sum()


def moment_loss(features, target, reduction="mean", eps=1e-5, target_eps=None, correction=0):
    """Squared differences of the channels' means and deviations of two feature maps (B, C, H, W), (B, C, h, w).

    `reduction` "mean" takes the mean over B and C, "sum" the sum over C and the mean over B. Source: Huang and Belongie
    2017, eq. 13; their Lua sums (`eps=0`), a widely used PyTorch port takes the mean (`correction=1`), so a weight of
    the one means C times as much in the other.
    """
    mean, std = channel_moments(features, eps, correction)
    mean_t, std_t = channel_moments(target, eps if target_eps is None else target_eps, correction)
    error = (mean - mean_t).square() + (std - std_t).square()
    return error.mean() if reduction == "mean" else error.sum() / len(error)


def total_variation(picture, kind="l1"):
    """Total variation of pictures (B, C, H, W), as a sum over all neighbours.

    `kind`: "l1" sums |dx| + |dy| (neural-style-pt); "l2" is half the sum of dx^2 + dy^2 over the interior, whose
    gradient the original Lua neural-style uses: the last row and the last column start no difference.
    """
    dx = picture[..., :, 1:] - picture[..., :, :-1]
    dy = picture[..., 1:, :] - picture[..., :-1, :]
    if kind == "l1":
        return dx.abs().sum() + dy.abs().sum()
    if kind == "l2":
        return (dx[..., :-1, :].square() + dy[..., :, :-1].square()).sum() / 2
    raise ValueError(f"total_variation() knows the kinds 'l1' and 'l2', not {kind!r}.")
