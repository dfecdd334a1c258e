"""Colab, rehearsed: one notebook alone in an empty folder, where torch is installed and the course is not."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from stlib import chapters

ROOT = Path(__file__).resolve().parents[1]
OURS = ("style_transfer_course", "stlib", "__editable__")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The course as a wheel, built from a copy: building leaves folders behind."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("stlib", "book", "requirements"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-text"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*command, "-w", folder, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """The Python of an environment that has everything this one has, but for the course."""
    folder = tmp_path_factory.mktemp("colab")
    venv.create(folder, symlinks=True, with_pip=False)
    paths = {"base": str(folder), "platbase": str(folder)}
    packages = Path(sysconfig.get_path("purelib", "venv", vars=paths))
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith(OURS):
            (packages / entry.name).symlink_to(entry)
    return Path(sysconfig.get_path("scripts", "venv", vars=paths)) / "python", packages


def test_a_chapter_alone_installs_the_course_and_runs(wheel, colab, tmp_path):
    python, packages = colab
    before = {entry.name for entry in packages.iterdir()}
    alone, elsewhere = tmp_path / "alone", tmp_path / "home"
    alone.mkdir()
    elsewhere.mkdir()
    notebook = chapters.read(chapters.find("gatys"))
    where = "import stlib, torch\nprint('stlib comes from', stlib.__file__)"
    cell = {"cell_type": "code", "execution_count": None, "id": "where", "metadata": {}, "outputs": [], "source": where}
    notebook["cells"].append(cell)
    chapters.write(alone / "gatys.ipynb", notebook)

    keep = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("PYTHON", "JUPYTER", "PIP_", "VIRTUAL_ENV"))
    }
    environment = {
        **keep,
        "HOME": str(elsewhere),  # no kernels, settings or caches of the user
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "STLIB_CACHE": str(elsewhere / "cache"),
        "STLIB_OFFLINE": "1",
        "STLIB_SCALE": "smoke",
        "STLIB_SOURCE": str(wheel),
    }
    command = [python, "-m", "nbconvert", "--to", "notebook", "--execute", "--output", "done.ipynb", "gatys.ipynb"]
    done = subprocess.run(command, cwd=alone, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]

    cells = json.loads((alone / "done.ipynb").read_text(encoding="utf8"))["cells"]
    said = "".join("".join(output.get("text", "")) for output in cells[-1]["outputs"])
    assert said.split()[-1] == str(packages / "stlib" / "__init__.py"), "the notebook used another copy of the course"
    added = {entry.name for entry in packages.iterdir()} - before
    assert {name.split("-")[0] for name in added} == {"stlib", "style_transfer_course"}, (
        "more than the course was installed"
    )
    assert (packages / "stlib" / "_results" / "gatys.json").exists()
