"""Normalisation of feature maps (B, C, H, W) over the positions of each picture.

`torch.nn.functional.instance_norm` alone will not do: its input gradient is wrong on CPUs for a batch of 1 when the
incoming gradient lies channels-last in memory (seen in torch 2.13 to 2.15). The functions here are written with means
and variances; the layer `InstanceNorm` uses torch's, which is faster, and lays the incoming gradient out first. Where
the maps themselves lie channels-last on a CPU it has its own, which leaves them so: two to four times as fast again.
"""

import torch
from torch import nn
from torch.autograd.function import once_differentiable
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


class _WhereItLies(torch.autograd.Function):
    """Instance norm of channels-last maps: as rows, one for each position, they need not be moved."""

    @staticmethod
    def forward(ctx, x, eps):
        rows = x.permute(0, 2, 3, 1).flatten(1, 2).to(torch.promote_types(x.dtype, torch.float32))
        rows = rows - rows.mean(dim=1, keepdim=True)
        scale = (rows.square().mean(dim=1, keepdim=True) + eps).rsqrt()
        y = rows.mul_(scale).to(x.dtype)
        ctx.save_for_backward(y, scale)
        return y.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        y, scale = ctx.saved_tensors
        g, y = (t.to(scale.dtype) for t in (gradient.permute(0, 2, 3, 1).flatten(1, 2), y))
        # dx = (g - mean(g) - y mean(g y)) / std
        dx = torch.addcmul(g - g.mean(dim=1, keepdim=True), y, (g * y).mean(dim=1, keepdim=True), value=-1)
        return dx.mul_(scale).to(gradient.dtype).unflatten(1, gradient.shape[2:]).permute(0, 3, 1, 2), None


class InstanceNorm(nn.Module):
    """`instance_norm` as a layer without parameters or running statistics, right in every memory layout.

    Maps have more than one position. Half precision is normalised in float32 and returned as it came. Maps that lie
    channels-last on a CPU stay so, and there the gradient of a gradient is refused.
    """

    def __init__(self, eps=1e-5):
        super().__init__()
        self.eps = eps

    def forward(self, features):
        lies = features.is_contiguous(memory_format=torch.channels_last) and not features.is_contiguous()
        if lies and features.device.type == "cpu":
            return _WhereItLies.apply(features, self.eps)
        x = features.to(torch.promote_types(features.dtype, torch.float32)).contiguous()
        return _LaidOut.apply(functional.instance_norm(x, eps=self.eps)).to(features.dtype)
