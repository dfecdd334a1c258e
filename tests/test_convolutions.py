"""Convolutions and FIR resampling: values, gradients to the second order, in every layout and precision."""

import pytest
import torch
from torch.nn import functional

from stlib.nets.convolutions import convolve, convolve_transposed, fir_kernel, resample

pytestmark = pytest.mark.usefixtures("one_thread")
FILTERS = [dict(), dict(pad=(2, 1), up=2), dict(down=2, pad=(1, 1)), dict(down=2, pad=(2, 0)), dict(up=3, down=2)]
FILTERS += [dict(up=(2, 3), down=(3, 2), pad=((-1, 3), (2, -1)))]


def random(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(True)


def close(found, expected, tolerance=1e-12):
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("stride, padding", [(1, 0), (1, 1), (2, 0), (2, 1), (3, 2)])
@pytest.mark.parametrize("size", [(5, 5), (6, 9)])
def test_a_convolution_and_its_gradients_are_torch_s(size, stride, padding):
    inputs = random(2, 3, *size), random(4, 3, 3, 3, seed=1), random(4, seed=2)
    ours, torch_s = (f(*inputs, stride, padding) for f in (convolve, functional.conv2d))
    close(ours, torch_s)
    arriving = torch.randn_like(ours, requires_grad=True)
    first = [torch.autograd.grad(y, inputs, arriving, create_graph=True) for y in (ours, torch_s)]
    second = [torch.autograd.grad(sum(g.pow(3).sum() for g in of), (*inputs[:2], arriving)) for of in first]
    for found, expected in (*zip(*first, strict=True), *zip(*second, strict=True)):
        close(found, expected, 1e-10)


def test_second_derivatives_by_finite_differences():
    x, weight, bias = random(1, 2, 4, 5), random(2, 2, 3, 3, seed=1), random(2, seed=2)
    for stride, padding in ((1, 1), (2, 1)):
        assert torch.autograd.gradgradcheck(lambda *t, s=stride, p=padding: convolve(*t, s, p), (x, weight, bias))
    assert torch.autograd.gradcheck(convolve_transposed, (x, weight))
    assert torch.autograd.gradgradcheck(convolve_transposed, (x, weight))
    close(convolve_transposed(x, weight), functional.conv_transpose2d(x, weight, stride=2))


@pytest.mark.parametrize("options", FILTERS, ids=str)
def test_gradients_of_resampling(options):
    x, kernel = random(1, 2, 5, 4), random(3, 2, seed=1).detach()  # the kernel is a buffer and never learns
    assert torch.autograd.gradcheck(lambda x: resample(x, kernel, **options), x)
    assert torch.autograd.gradgradcheck(lambda x: resample(x, kernel, **options), x)


def test_resampling_by_its_definition():
    """Zeros after every sample, zeros around, convolution with the kernel turned: once more, with loops."""
    x, kernel = random(1, 1, 3, 4).detach(), random(3, 2, seed=1).detach()
    wide = torch.zeros(3 * 2 + 3, 4 * 3 + 1, dtype=x.dtype)
    wide[2 : 2 + 6 : 2, 0:12:3] = x[0, 0]  # up (2, 3); pad rows (2, 1), columns (0, 1)
    rows, columns = wide.shape[0] - 2, wide.shape[1] - 1
    full = torch.zeros(rows, columns, dtype=x.dtype)
    for i in range(rows):
        for j in range(columns):
            full[i, j] = sum(wide[i + a, j + b] * kernel[2 - a, 1 - b] for a in range(3) for b in range(2))
    found = resample(x, kernel, up=(2, 3), down=(2, 1), pad=((2, 1), (0, 1)))
    close(found[0, 0], full[::2])


def test_the_filter_keeps_a_flat_picture_and_shifts_nothing():
    x = torch.full((1, 2, 6, 6), 3.0)
    up = resample(x, fir_kernel((1, 3, 3, 1), 4), up=2, pad=(2, 1))
    down = resample(x, fir_kernel((1, 3, 3, 1)), down=2, pad=(1, 1))
    close(up[..., 2:-2, 2:-2], torch.full((1, 2, 8, 8), 3.0))
    close(down[..., 1:-1, 1:-1], torch.full((1, 2, 1, 1), 3.0))
    mirrored = random(1, 1, 6, 6)
    for options in (dict(up=2, pad=(2, 1)), dict(down=2, pad=(1, 1))):
        kernel = fir_kernel((1, 3, 3, 1)).double()
        close(resample(mirrored.flip(3), kernel, **options), resample(mirrored, kernel, **options).flip(3))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_layout_and_precision_change_nothing_else(layout, dtype, tolerance):
    x, weight, kernel = random(2, 4, 8, 8), random(4, 4, 3, 3, seed=1), fir_kernel((1, 3, 3, 1))

    def penalty(x, weight, kernel):
        y = convolve(resample(convolve(x, weight / 6, padding=1).tanh(), kernel, pad=(2, 2)), weight / 6, stride=2)
        y = resample(convolve_transposed(y, weight / 6), 4 * kernel, pad=(1, 1))
        (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), weight)[0]

    expected = penalty(x, weight, kernel.double())
    low = x.detach().to(dtype).contiguous(memory_format=layout).requires_grad_(True)
    found = penalty(low, weight.detach().to(dtype).requires_grad_(True), kernel)
    assert found.dtype == dtype
    assert (found.double() - expected).abs().max() < tolerance * expected.abs().max()


def test_under_autocast():
    x, weight, kernel = (
        random(2, 3, 6, 6, dtype=torch.float32),
        random(3, 3, 3, 3, dtype=torch.float32),
        fir_kernel((1, 2)),
    )
    with torch.autocast("cpu", torch.bfloat16):
        y = convolve(x, weight, padding=1)
        assert y.dtype == convolve_transposed(x, weight).dtype == torch.bfloat16
        assert resample(y, kernel).dtype == torch.bfloat16 and resample(x, kernel).dtype == torch.float32
        assert convolve(x.double(), weight.double()).dtype == torch.float64
    (gradient,) = torch.autograd.grad(y.sum(), weight)
    assert gradient.dtype == torch.float32
    outside = convolve(x, weight, padding=1)
    expected = torch.autograd.grad(outside.square().sum(), (x, weight), retain_graph=True)
    with torch.autocast("cpu", torch.bfloat16):  # a graph of float32 stays so, wherever it is differentiated
        found = torch.autograd.grad(outside.square().sum(), (x, weight))
    for ours, right in zip(found, expected, strict=True):
        close(ours, right, 1e-6)
