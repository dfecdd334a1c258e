"""Convolutions and FIR resampling, pure torch, that can be differentiated twice at the price of once.

R1 and path length need the gradient of a gradient. torch's own second derivative of a convolution takes several times
as long as the first (on a CPU about 4 times, for a depthwise one 50 times); here each gradient is again a convolution.
"""

import contextlib

import torch
from torch.nn import functional


def without_autocast(x):
    """A context in which autocast is off for the device of `x` (the device "meta" has none)."""
    kind = x.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else contextlib.nullcontext()


def _as_given(forward):
    """Run the forward of a Function in the dtype of its tensors, also where a backward pass happens under autocast."""

    def uncast(ctx, x, *others):
        with without_autocast(x):
            return forward(ctx, x, *others)

    return uncast


class _Convolution(torch.autograd.Function):
    """y = w * x + b. Linear in x and in w, so both gradients, and theirs, are of the three kinds in this module."""

    @staticmethod
    @_as_given
    def forward(ctx, x, weight, bias, stride, padding):
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    def backward(ctx, gradient):
        (x, weight), settings = ctx.saved_tensors, (ctx.stride, ctx.padding)
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        return (
            _Transposed.apply(gradient, weight, *settings, x.shape[2:]) if of_x else None,
            _WeightGradient.apply(x, gradient, *settings, weight.shape) if of_weight else None,
            gradient.sum((0, 2, 3)) if of_bias else None,
            *(None, None),
        )


class _Transposed(torch.autograd.Function):
    """The transpose of `_Convolution` in x: maps (B, out, h, w) back to (B, in, *size)."""

    @staticmethod
    @_as_given
    def forward(ctx, y, weight, stride, padding, size):
        ctx.save_for_backward(y, weight)
        ctx.stride, ctx.padding = stride, padding
        spans = [(n - 1) * stride + k - 2 * padding for n, k in zip(y.shape[2:], weight.shape[2:], strict=True)]
        rest = [side - span for side, span in zip(size, spans, strict=True)]
        return functional.conv_transpose2d(y, weight, None, stride, padding, rest)

    @staticmethod
    def backward(ctx, gradient):
        (y, weight), settings = ctx.saved_tensors, (ctx.stride, ctx.padding)
        of_y, of_weight = ctx.needs_input_grad[:2]
        return (
            _Convolution.apply(gradient, weight, None, *settings) if of_y else None,
            _WeightGradient.apply(gradient, y, *settings, weight.shape) if of_weight else None,
            *(None, None, None),
        )


class _WeightGradient(torch.autograd.Function):
    """The gradient of `_Convolution` in w, itself linear in x and in the arriving gradient y."""

    @staticmethod
    @_as_given
    def forward(ctx, x, y, stride, padding, shape):
        ctx.save_for_backward(x, y)
        ctx.stride, ctx.padding = stride, padding
        return torch.nn.grad.conv2d_weight(x, shape, y, stride, padding)

    @staticmethod
    def backward(ctx, gradient):
        (x, y), settings = ctx.saved_tensors, (ctx.stride, ctx.padding)
        of_x, of_y = ctx.needs_input_grad[:2]
        return (
            _Transposed.apply(y, gradient, *settings, x.shape[2:]) if of_x else None,
            _Convolution.apply(x, gradient, None, *settings) if of_y else None,
            *(None, None, None),
        )


def _in_one_dtype(x, *others):
    """All in the dtype of autocast where that is on, else in that of `x`; the functions above cast nothing."""
    kind = x.device.type
    casts = x.dtype != torch.float64 and torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind) if casts else x.dtype
    return x.to(dtype), *(None if other is None else other.to(dtype) for other in others)


def convolve(x, weight, bias=None, stride=1, padding=0):
    """`conv2d` of maps (B, C, H, W) with a weight (O, C, k, k) and a bias (O)."""
    return _Convolution.apply(*_in_one_dtype(x, weight, bias), stride, padding)


def convolve_transposed(x, weight, stride=2):
    """`conv_transpose2d` of maps (B, C, H, W) with a weight (C, O, k, k): side (H - 1) stride + k, no padding."""
    size = [(n - 1) * stride + k for n, k in zip(x.shape[2:], weight.shape[2:], strict=True)]
    return _Transposed.apply(*_in_one_dtype(x, weight), stride, 0, size)


class _Resample(torch.autograd.Function):
    """FIR resampling. Its gradient is the same operation with the kernel turned and `up` and `down` exchanged."""

    @staticmethod
    @_as_given
    def forward(ctx, x, kernel, up, down, pads):
        ctx.save_for_backward(kernel)
        ctx.settings = up, down, pads, x.shape[2:]
        taps = kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1)
        if up == (1, 1):
            (top, bottom), (left, right) = pads
            if top == bottom >= 0 and left == right >= 0:
                return functional.conv2d(x, taps.flip(2, 3), None, down, (top, left), groups=x.shape[1])
            padded = functional.pad(x, (left, right, top, bottom))
            return functional.conv2d(padded, taps.flip(2, 3), None, down, groups=x.shape[1])
        y = functional.conv_transpose2d(
            x, taps, None, up, groups=x.shape[1]
        )  # starts at the first tap: more than asked
        sizes = zip(kernel.shape, up, pads, strict=True)
        (top, bottom), (left, right) = [(before - k + 1, after + u - k) for k, u, (before, after) in sizes]
        return functional.pad(y, (left, right, top, bottom))[..., :: down[0], :: down[1]]

    @staticmethod
    def backward(ctx, gradient):
        (kernel,), (up, down, pads, size) = ctx.saved_tensors, ctx.settings
        sides = zip(kernel.shape, up, down, pads, size, gradient.shape[2:], strict=True)
        back = [(k - 1 - p[0], n * u - u + 1 + p[0] - m * d) for k, u, d, p, n, m in sides]
        return _Resample.apply(gradient, kernel.flip(0, 1), down, up, tuple(back)), None, None, None, None


def resample(x, kernel, up=1, down=1, pad=(0, 0)):
    """FIR resampling of maps (B, C, H, W), each channel by itself, with a `kernel` (h, w).

    Puts `up` - 1 zeros after every sample, `pad` zeros before and after (a negative number crops), convolves (the
    kernel is turned, as in mathematics) and keeps every `down`-th sample. `up` and `down` are numbers or pairs (rows,
    columns); `pad` is (before, after) or a pair of such pairs. The steps are those of StyleGAN2's `upfirdn2d`.
    """
    up, down = ((n, n) if isinstance(n, int) else tuple(n) for n in (up, down))
    pads = (tuple(pad), tuple(pad)) if isinstance(pad[0], int) else tuple(tuple(p) for p in pad)
    return _Resample.apply(x, kernel, up, down, pads)


def fir_kernel(taps, gain=1):
    """The kernel (n, n) of a one-dimensional filter such as (1, 3, 3, 1): its outer product, with the sum `gain`."""
    taps = torch.as_tensor(taps, dtype=torch.float32)
    kernel = torch.outer(taps, taps)
    return gain * kernel / kernel.sum()
