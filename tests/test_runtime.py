"""Device, seeds, scale, measuring, the colophon and what the book makes of it."""

import importlib.util
import json
import random
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
import torch

from stlib import assets, chapters, runtime

ROOT = Path(__file__).resolve().parents[1]


# Device ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "", "meta", "vulkan", 3.5])
def test_a_device_that_is_not_there_is_a_sentence(name):
    with pytest.raises(runtime.DeviceError, match="There is no device .* here; choose one of: cpu") as told:
        runtime.device(name)
    assert "\n" not in str(told.value)


def test_a_device_is_found_by_name_or_chosen(monkeypatch):
    assert runtime.device("cpu") == torch.device("cpu") == runtime.device(torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert runtime.device().type == "cpu"


def test_the_fast_dtype_is_asked_of_the_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda where: (8, 0))
    assert runtime.fast_dtype("cuda") == torch.bfloat16
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda where: (7, 5))  # a T4
    assert runtime.fast_dtype("cuda") == torch.float32
    for ask in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, ask, lambda: False, raising=False)
    assert runtime.fast_dtype("cpu") == torch.float32
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert runtime.fast_dtype("cpu") == torch.bfloat16


# Seeds and scale ------------------------------------------------------------------------------------------------------


def draw():
    return random.random(), numpy.random.rand(), torch.rand(1).item()


@pytest.mark.parametrize("number", [0, 1, 2**32 + 5])
def test_a_seed_fixes_all_three_generators(number):
    runtime.seed(number)
    first = draw()
    second = draw()
    runtime.seed(number)
    assert draw() == first and all(a != b for a, b in zip(first, second, strict=True))
    runtime.seed(number + 1)
    assert all(a != b for a, b in zip(first, draw(), strict=True))


def test_the_scale_comes_from_the_environment(monkeypatch):
    monkeypatch.delenv("STLIB_SCALE", raising=False)
    assert runtime.scale() == "lesson"
    for name in ("smoke", "lesson", "zoo"):
        monkeypatch.setenv("STLIB_SCALE", name)
        assert runtime.scale() == name
    monkeypatch.setenv("STLIB_SCALE", "big")
    with pytest.raises(ValueError, match="STLIB_SCALE is 'big'; it must be one of: smoke, lesson, zoo"):
        runtime.scale()


def test_settings_take_the_scale_or_the_next_smaller(monkeypatch):
    given = {"smoke": {"size": 64}, "lesson": {"size": 256, "steps": 5}}
    for name, size in (("smoke", 64), ("lesson", 256), ("zoo", 256)):
        monkeypatch.setenv("STLIB_SCALE", name)
        found = runtime.settings(**given)
        assert (found.size, found.scale) == (size, name)
    monkeypatch.setenv("STLIB_SCALE", "smoke")
    with pytest.raises(ValueError, match="nothing for the scale 'smoke'"):
        runtime.settings(lesson={"size": 256})


# Measuring ------------------------------------------------------------------------------------------------------------


def test_seconds_are_measured_also_when_the_block_fails():
    with runtime.measure() as cost:
        assert numpy.isnan(cost.seconds)
        time.sleep(0.05)
    assert 0.05 <= cost.seconds < 2
    with pytest.raises(KeyError), runtime.measure() as cost:
        raise KeyError
    assert cost.seconds < 1 and cost.peak_bytes > 0


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists() or torch.cuda.is_available(), reason="Linux, without a GPU"
)
def test_the_peak_belongs_to_the_block():
    big = 200 * 2**20
    with runtime.measure() as before:
        pass
    with runtime.measure() as during:
        torch.ones(big // 4).sum()
    with runtime.measure() as after:
        pass
    assert during.peak_bytes - before.peak_bytes > 0.8 * big, "the peak of the block was not seen"
    assert during.peak_bytes - after.peak_bytes > 0.8 * big, "the peak was not started again"
    seconds, highest = runtime.so_far()
    assert highest >= during.peak_bytes and seconds > 0, "the whole run's peak must keep the highest"


def test_it_works_where_the_module_resource_is_missing():
    code = "import sys; sys.modules['resource'] = None; from stlib import runtime; print(runtime.so_far()[1] >= 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "True", done.stderr


# The colophon and the stamp -------------------------------------------------------------------------------------------


@pytest.fixture
def shown(monkeypatch):
    import IPython.display

    calls = []
    monkeypatch.setattr(IPython.display, "display", lambda data, **options: calls.append((data, options)))
    return calls


def test_the_colophon_shows_and_carries_how_it_was_made(shown, monkeypatch):
    monkeypatch.setattr(assets, "_used", {"chelsea": "package skimage"})
    monkeypatch.setenv("STLIB_SCALE", "smoke")
    runtime.colophon(SimpleNamespace(name="squeezenet", weights="random"))
    ((data, options),) = shown
    text, made = data["text/plain"], options["metadata"]["stlib"]
    for part in (
        "scale     smoke",
        "squeezenet: random",
        "chelsea (package skimage)",
        f"torch {torch.__version__.split('+')[0]}",
        " GiB",
    ):
        assert part in text, part
    assert isinstance(made["peak_memory"], int) and 2**20 < made["peak_memory"] < 2**42, "bytes"
    assert isinstance(made["device"], str) and made["weights"] == {"squeezenet": "random"}
    assert set(made["versions"]) == {"python", "torch", "torchvision", "numpy", "stlib"}
    assert json.loads(json.dumps(made)) == made, "the stamp is JSON"


@pytest.mark.skipif(importlib.util.find_spec("sphinx") is None, reason="the book's packages are not here")
def test_the_book_reads_the_colophon(shown):
    spec = importlib.util.spec_from_file_location("course", ROOT / "book" / "_ext" / "course.py")
    course = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(course)
    runtime.colophon()
    made = shown[0][1]["metadata"]["stlib"]
    words = course.cost({**made, "seconds": 65})
    assert words.startswith("1 min 5 s, ") and words.endswith(f" GiB on {made['device']}")


def test_executing_a_notebook_stamps_the_day_the_memory_and_the_scale(tmp_path, monkeypatch):
    """The notebook's execution itself is left out: what comes back from it is given."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    cell = nbformat.v4.new_code_cell("1 + 1")
    made = {"peak_memory": 5, "device": "a laptop"}
    cell["outputs"] = [nbformat.v4.new_output("display_data", {"text/plain": "x"}, metadata={"stlib": made})]
    path = tmp_path / "chapter.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)
    monkeypatch.setattr(nbclient.NotebookClient, "execute", lambda self: None)
    for name in ("STLIB_SCALE", "STLIB_RECORD"):
        monkeypatch.setenv(name, "")  # run() sets them; this puts them back
    before = time.strftime("%Y-%m-%d")
    chapters.run(path, "smoke")
    stamp = chapters.read(path)["metadata"]["stlib"]
    assert before <= stamp["date"] <= time.strftime("%Y-%m-%d")
    assert (stamp["peak_memory"], stamp["device"], stamp["scale"]) == (5, "a laptop", "smoke")
