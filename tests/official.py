"""What parity tests share: numbers that official implementations computed, and how far ours may be from them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

DOUBLE, SINGLE = torch.float64, torch.float32
BOTH = pytest.mark.parametrize("dtype", [DOUBLE, SINGLE], ids=["float64", "float32"])


class Official:
    """The cases in a folder of `tests/parity`; the README there names their sources."""

    def __init__(self, folder):
        self.folder = Path(__file__).parent / "parity" / folder

    def numbers(self, case, dtype=DOUBLE):
        """The tensors of a case: integers as they are, all others in `dtype`."""
        tensors = load_file(self.folder / f"{case}.safetensors")
        return {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}

    def case(self, case, dtype, double, single):
        """The tensors of a case in `dtype`, to compute with; as they were computed; the tolerance in that dtype."""
        return self.numbers(case, dtype), self.numbers(case), double if dtype == DOUBLE else single


def off(found, expected, relative=True):
    """The largest difference, as a part of the largest entry of `expected` if `relative`."""
    assert found.shape == expected.shape
    scale = expected.abs().max().item() if relative else 1
    return (found.double() - expected.double()).abs().max().item() / scale


def near(found, expected, tolerance, relative=True):
    assert off(found, expected, relative) <= tolerance
