"""The files around the package: they agree with one another, and say nothing about one machine."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import stlib
from stlib import assets, chapters

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))
IMPORTED_AS = {
    "ipython": "IPython",
    "pillow": "PIL",
    "pyyaml": "yaml",
    "scikit-image": "skimage",
    "scikit-learn": "sklearn",
}
BY_MAKE_RUN_ONLY = {"nbclient", "nbformat"}  # in the extra "lab"
BY_CHAPTERS = {"kornia"}  # which is imported in notebooks only


def lines(name):
    """The lines of a requirements file, without comments."""
    text = (ROOT / name).read_text(encoding="utf8")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def extra(name):
    (file,) = PROJECT["tool"]["setuptools"]["dynamic"]["optional-dependencies"][name]["file"]
    return lines(file)


def installed_by_make():
    return PROJECT["project"]["dependencies"] + extra("book") + extra("lab") + extra("test")


def tracked():
    """The text files of the repository that git knows, as {path: text}."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in names.split("\0") if name]
    binary = {".safetensors", ".xz", ".png", ".jpg", ".npz"}
    return {p.relative_to(ROOT).as_posix(): p.read_text("utf8") for p in files if p.suffix not in binary and p.exists()}


# What is needed -------------------------------------------------------------------------------------------------------


def test_conda_installs_what_pyproject_and_its_extras_say():
    python, pip, packages = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf8"))["dependencies"]
    assert packages["pip"] == [*installed_by_make(), "-e ."]
    assert (python, pip) == ("python" + PROJECT["project"]["requires-python"], "pip")


def test_constraints_pin_every_direct_dependency_within_its_range():
    pins = [Requirement(line) for line in lines("constraints.txt")]
    assert all(re.fullmatch(r"==[^*,]+", str(pin.specifier)) and not pin.url for pin in pins)
    pinned = {pin.name.lower(): next(iter(pin.specifier)).version for pin in pins}
    assert len(pinned) == len(pins)
    for needed in map(Requirement, installed_by_make()):
        assert pinned[needed.name.lower()] in needed.specifier, needed.name


def test_only_jupyter_book_has_an_upper_limit():
    needed = map(Requirement, installed_by_make() + extra("heavy"))
    assert [r.name for r in needed if any(part.operator != ">=" for part in r.specifier)] == ["jupyter-book"]


def test_the_dependencies_are_what_the_package_imports():
    imported = set()
    for path in (ROOT / "stlib").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.split(".")[0])
    imported -= sys.stdlib_module_names | {"stlib"} | BY_MAKE_RUN_ONLY
    imported |= BY_CHAPTERS
    imported |= {asset.package for asset in assets.ENTRIES if asset.package}  # photographs that ship with a package
    names = [Requirement(line).name for line in PROJECT["project"]["dependencies"]]
    assert {IMPORTED_AS.get(name, name) for name in names} == imported


def test_every_subpackage_is_packed():
    found = {p.parent.relative_to(ROOT).as_posix().replace("/", ".") for p in (ROOT / "stlib").rglob("__init__.py")}
    assert found | {"stlib._results"} == set(PROJECT["tool"]["setuptools"]["packages"])


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, stlib; print(sorted({'torch', 'numpy', 'matplotlib', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# What is said about it ------------------------------------------------------------------------------------------------


def test_the_version_and_the_licences_are_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf8"))
    assert citation["version"] == stlib.__version__
    assert PROJECT["project"]["license"] == citation["license"][0] == "MIT"
    assert (ROOT / "LICENSE").read_text(encoding="utf8").startswith("MIT License")
    assert "Attribution 4.0 International" in (ROOT / "LICENSE-text").read_text(encoding="utf8")


def test_make_help_lists_every_command():
    makefile = (ROOT / "Makefile").read_text(encoding="utf8")
    (phony,) = re.findall(r"^\.PHONY: (.*)", makefile, re.MULTILINE)
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make (\w+) +\S", told, re.MULTILINE) == re.findall(r"^([a-z]+):", makefile, re.MULTILINE)
    assert sorted(re.findall(r"^  make (\w+)", told, re.MULTILINE)) == sorted(phony.split())


@pytest.mark.parametrize("target", ["book", "install"])
def test_make_says_in_one_sentence_what_python_is_missing(target, tmp_path):
    old = tmp_path / "old-python"  # answers as an interpreter that is too old: the version check exits with 1
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("pyproject.toml", "constraints.txt", "requirements"):
        (tmp_path / name).symlink_to(ROOT / name)
    for python in (old, tmp_path / "nothing"):
        command = ["make", target, f"PYTHON={python}"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode and f"'{python}' is not Python 3.11, 3.12 or 3.13" in done.stdout
        assert not (tmp_path / ".venv").exists()


def test_make_run_asks_for_a_notebook_and_every_target_of_the_text_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf8")
    assert "Say which notebook" in makefile
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for path in [*ROOT.glob("*.md"), *(ROOT / "book").glob("*.md"), *(ROOT / ".github").rglob("*.yml")]:
        told = re.findall(r"(?:`|^\s*(?:- run: )?)make ([a-z]+)", path.read_text(encoding="utf8"), re.MULTILINE)
        assert set(told) <= targets, path.name


def test_the_readme_has_the_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf8")
    block = re.search(r"```bash\n(.*?)```", readme, re.DOTALL)[1]
    assert [line.split("#")[0].strip() for line in block.splitlines()] == ["make book", "make test"]
    assert "python -m stlib stylize photo.jpg painting.jpg -o out.jpg" in readme
    for name in re.findall(r"\]\(([^)#:]+)\)", readme):
        assert (ROOT / name).exists(), name


# Nothing about one machine --------------------------------------------------------------------------------------------


def test_no_local_path_and_no_package_index_is_named():
    local = re.compile(r"(?<![\w./~$}-])/(?:work|root|tmp|home)/\w+")
    indexes = re.compile("|".join(["pypi" + r"\.org", "python" + "hosted", "extra-" + "index-url", "find-" + "links"]))
    bad = []
    for name, text in tracked().items():
        bad += [f"{name}: {found[0]}" for pattern in (local, indexes) for found in pattern.finditer(text)]
    assert not bad, "\n".join(bad)


# The address ----------------------------------------------------------------------------------------------------------


def test_every_address_follows_from_the_config():
    assert chapters.address_problems() == []


def test_the_address_stands_nowhere_else():
    here = chapters.address()["repository"]
    allowed = {chapters.relative(path) for path in chapters.address_files()} | {"_config.yml"}
    assert {name for name, text in tracked().items() if here in text} <= allowed


def test_a_new_address_is_written_everywhere(tmp_path, monkeypatch):
    old = chapters.address()
    for path in [*chapters.address_files(), ROOT / "_config.yml"]:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    monkeypatch.setattr(chapters, "root", lambda: tmp_path)
    config = tmp_path / "_config.yml"
    moved = config.read_text(encoding="utf8").replace(old["url"], "https://github.com/someone/elsewhere")
    config.write_text(re.sub("branch: .*", "branch: edition-2", moved), encoding="utf8")
    assert len(chapters.address_problems()) == len(chapters.address_files()), "the change was not noticed"
    assert chapters.main(["address"]) == 0
    assert chapters.address_problems() == []
    owner, name = old["repository"].split("/")
    for path in chapters.address_files():
        text = path.read_text(encoding="utf8")
        assert "someone/elsewhere" in text and old["repository"] not in text and f"{owner}.github.io" not in text
    for path in chapters.notebooks():
        cells = json.loads(path.read_text(encoding="utf8"))["cells"]
        badge = "".join("".join(c["source"]) for c in cells if "badge" in c["metadata"].get("tags", []))
        assert f"/github/someone/elsewhere/blob/edition-2/{path.relative_to(tmp_path).as_posix()}" in badge
