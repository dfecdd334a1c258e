"""Where and how large a chapter runs: device, seeding, the scale, measuring, the colophon."""

import contextlib
import os
import platform
import random
import sys
import time
from importlib import metadata
from types import SimpleNamespace

import numpy
import torch

SCALES = ("smoke", "lesson", "zoo")
_started, _highest = time.perf_counter(), 0


class DeviceError(ValueError):
    """The device asked for is not there."""


def device(name=None):
    """The `torch.device` called `name`; without a name the GPU when there is one, else the CPU.

    Raises DeviceError, in one sentence, when the named device does not exist here.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        chosen = torch.device(name)
        torch.empty(1, device=chosen).item()  # the device "meta" can hold a tensor, but not compute
    except (RuntimeError, AssertionError, NotImplementedError, TypeError):
        found = ["cpu"] + [f"cuda:{i}" for i in range(torch.cuda.device_count())]
        found += ["mps"] if torch.backends.mps.is_available() else []
        raise DeviceError(f"There is no device {name!r} here; choose one of: {', '.join(found)}.") from None
    return chosen


def seed(number):
    """Seed Python, NumPy and torch, so that a cell run twice gives the same picture."""
    random.seed(number)
    numpy.random.seed(number % 2**32)
    torch.manual_seed(number)


def scale():
    """The scale of this run, from the environment variable STLIB_SCALE: smoke, lesson (default) or zoo."""
    name = os.environ.get("STLIB_SCALE", "") or "lesson"
    if name not in SCALES:
        raise ValueError(f"STLIB_SCALE is {name!r}; it must be one of: {', '.join(SCALES)}.")
    return name


def settings(**by_scale):
    """The settings of the current scale: `settings(smoke=dict(size=64), lesson=dict(size=256)).size`.

    A scale that is not given takes the settings of the next smaller one that is.
    """
    names = SCALES[: SCALES.index(scale()) + 1]
    given = [by_scale[name] for name in names if name in by_scale]
    if not given:
        raise ValueError(f"settings() has nothing for the scale {scale()!r} or a smaller one.")
    return SimpleNamespace(scale=scale(), **given[-1])


def fast_dtype(where):
    """The dtype in which convolutions are fastest on device `where` without leaving float32's exponent range.

    bfloat16 on GPUs from Ampere on and on CPUs that compute in it; float32 elsewhere. Statistics (Gram matrices,
    means) stay in float32 in either case: only the frozen network runs under autocast.
    """
    where = torch.device(where)
    if where.type == "cuda":
        fast = torch.cuda.get_device_capability(where) >= (8, 0)
    elif where.type == "cpu":
        asks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        fast = any(getattr(torch.cpu, ask, lambda: False)() for ask in asks)
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32


def _reset_peak():
    global _highest
    _highest = max(_highest, _peak_bytes())
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as handle:
        handle.write("5")  # Linux: start the high-water mark of resident memory again


def _peak_bytes():
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    with contextlib.suppress(OSError), open("/proc/self/status") as handle:
        return next(int(line.split()[1]) * 1024 for line in handle if line.startswith("VmHWM"))
    try:
        import resource  # not on Windows
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextlib.contextmanager
def measure():
    """Time a block and take its peak memory: `with measure() as cost: ...; cost.seconds, cost.peak_bytes`.

    Memory is what the GPU allocated, or without a GPU the largest resident size of the whole process meanwhile.
    """
    cost = SimpleNamespace(seconds=float("nan"), peak_bytes=0)
    if torch.cuda.is_available():
        torch.cuda.synchronize()  # what was started before is not counted
    _reset_peak()
    start = time.perf_counter()
    try:
        yield cost
    finally:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        cost.seconds = time.perf_counter() - start
        cost.peak_bytes = _peak_bytes()


def hardware():
    """One line on the machine: the GPU's name, or the processor's with the number of threads torch uses."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as handle:
        name = next((line.split(":")[1].strip() for line in handle if line.startswith("model name")), name)
    return f"{name}, {torch.get_num_threads()} threads"


def versions():
    """Versions of what decides the numbers: Python, torch, torchvision, numpy, and the course."""
    from stlib import __version__

    names = ("torch", "torchvision", "numpy")
    return {"python": platform.python_version(), **{n: metadata.version(n) for n in names}, "stlib": __version__}


def so_far():
    """Seconds since this module was imported, and the highest memory peak since then, in bytes."""
    return time.perf_counter() - _started, max(_highest, _peak_bytes())


def colophon(*networks):
    """Show how this run was made: scale, machine, versions, the networks' weights, pictures, seconds, peak memory.

    The same facts travel as metadata of the output (memory in bytes), from where `make run` takes them for the
    notebook's stamp.
    """
    from IPython.display import display

    from stlib import assets

    seconds, peak = so_far()
    made = {
        "device": hardware(),
        "versions": versions(),
        "weights": {network.name: network.weights for network in networks},
        "assets": assets.used(),
        "peak_memory": peak,
    }
    lines = [
        f"scale     {scale()}",
        f"machine   {made['device']}",
        "versions  " + ", ".join(f"{name} {version}" for name, version in made["versions"].items()),
        *(f"weights   {name}: {weights}" for name, weights in made["weights"].items()),
        "pictures  " + ", ".join(f"{name} ({source})" for name, source in made["assets"].items()),
        f"cost      {seconds:.0f} s, peak memory {peak / 2**30:.2f} GiB",
    ]
    display({"text/plain": "\n".join(lines)}, metadata={"stlib": made}, raw=True)
