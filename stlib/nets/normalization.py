"""Normalisation of feature maps (B, C, H, W) over the positions of each picture.

`torch.nn.functional.instance_norm` alone will not do: its input gradient is wrong on CPUs for a batch of 1 when the
incoming gradient lies channels-last in memory (seen in torch 2.13 to 2.15). The functions here are written with means
and variances; the layer `InstanceNorm` uses torch's, which is faster, and lays the incoming gradient out first.
"""

import torch
from torch import nn
from torch.nn import functional


def channel_moments(features, eps=1e-5, correction=0):
    """Mean and standard deviation over the positions of (B, C, H, W): two tensors (B, C, 1, 1).

    `eps` is added under the root; `correction` 0 divides the squares by H W, 1 by H W - 1.
    """
    variance, mean = torch.var_mean(features, dim=(2, 3), correction=correction, keepdim=True)
    return mean, (variance + eps).sqrt()


def instance_norm(features, eps=1e-5):
    """Feature maps (B, C, H, W) with mean 0 and deviation 1 in each channel of each picture (Ulyanov et al. 2017)."""
    mean, std = channel_moments(features, eps)
    return (features - mean) / std


def adaptive_instance_norm(content, style, eps=1e-5, style_eps=None, correction=0):
    """Content features (B, C, H, W) with the means and deviations of style features (B, C, h, w), channel by channel.

    Huang and Belongie 2017, eq. 8. The defaults differ from released codes only where a map is tiny: the authors' Lua
    is `style_eps=0`, a widely used PyTorch port `correction=1`. `style_eps` defaults to `eps`.
    """
    content_mean, content_std = channel_moments(content, eps, correction)
    style_mean, style_std = channel_moments(style, eps if style_eps is None else style_eps, correction)
    return style_std * (content - content_mean) / content_std + style_mean


# As a layer -----------------------------------------------------------------------------------------------------------


class _LaidOut(torch.autograd.Function):
    """The identity, whose gradient arrives contiguous at what comes before."""

    @staticmethod
    def forward(ctx, x):
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.contiguous()


class InstanceNorm(nn.Module):
    """`instance_norm` as a layer without parameters or running statistics, right in every memory layout.

    Maps have more than one position. Half precision is normalised in float32 and returned as it came.
    """

    def __init__(self, eps=1e-5):
        super().__init__()
        self.eps = eps

    def forward(self, features):
        x = features.to(torch.promote_types(features.dtype, torch.float32)).contiguous()
        return _LaidOut.apply(functional.instance_norm(x, eps=self.eps)).to(features.dtype)
