"""Chapters as files: finding, hashing, loading the method's cells, executing and stamping, the repository's address.

    python -m stlib.chapters run notebooks/1_optimization/gatys.ipynb [--scale lesson]
    python -m stlib.chapters address      write the address of _config.yml into everything that repeats it
    python -m stlib.chapters check        say what is stale

Needs no torch.
"""

import argparse
import ast
import datetime
import hashlib
import json
import os
import re
import sys
import tempfile
import time
import types
from pathlib import Path

SETUP = """import importlib.util, os, subprocess, sys  # the setup cell is the same in every chapter
if importlib.util.find_spec("stlib") is None:  # Colab: install the course and what it lacks; torch and numpy stay untouched
    source = os.environ.get("STLIB_SOURCE", "{url}/archive/refs/heads/{branch}.zip")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", source, *"kornia kornia_rs lightning-utilities torchmetrics".split()], check=True)
import stlib
assert getattr(stlib, "COURSE", "") == "style-transfer-course", "Another package named stlib is installed: run `pip uninstall -y stlib`, restart, run this cell again."
"""  # noqa: E501
BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})"
COLAB = "https://colab.research.google.com/github/{repository}/blob/{branch}/{path}"
REPEATS_ADDRESS = ("README.md", "CITATION.cff", "CONTRIBUTING.md", "pyproject.toml")
NUMBER = re.compile(r"(?P<text>-?[\d,]*\.?\d+)(?P<key><!--= (?P<name>[\w./+,:%>' -]+?) -->)")


# Finding and reading -------------------------------------------------------------------------------------------------


def root():
    """The checkout this package lies in, or None when the package is installed without one."""
    place = Path(__file__).resolve().parents[1]
    return place if (place / "_config.yml").exists() and (place / "notebooks").exists() else None


def notebooks():
    """All notebooks of the checkout, chapters first, then solutions."""
    found = sorted((root() / "notebooks").rglob("*.ipynb"), key=lambda p: ("solutions" in p.parts, p))
    return [path for path in found if ".ipynb_checkpoints" not in path.parts]


def find(chapter):
    """The path of a chapter's notebook by its name ("gatys"), or None outside a checkout."""
    if root() is None:
        return None
    for path in notebooks():
        if path.stem == chapter and "solutions" not in path.parts:
            return path
    raise LookupError(f"There is no chapter {chapter!r} in notebooks/.")


def relative(path):
    """A path as it is written from the root of the checkout."""
    return Path(path).resolve().relative_to(root()).as_posix()


def read(path):
    """A notebook file as a dict, each cell's source as one string."""
    notebook = json.loads(Path(path).read_text(encoding="utf8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    return notebook


def write_text(path, text):
    """Write a text file so that a kill leaves either the old file or the new one."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf8", dir=path.parent, suffix=".part", delete=False) as handle:
        handle.write(text)
    os.chmod(handle.name, 0o644)
    os.replace(handle.name, path)


def write(path, notebook):
    """Write a notebook file in one canonical form (sorted keys, source as lines)."""
    cells = [{**cell, "source": cell["source"].splitlines(keepends=True)} for cell in notebook["cells"]]
    text = json.dumps({**notebook, "cells": cells}, indent=1, sort_keys=True, ensure_ascii=False)
    write_text(path, text + "\n")


def tags(cell):
    """The tags of a cell, as a list."""
    return cell["metadata"].get("tags", [])


# Hashes and the method's cells ---------------------------------------------------------------------------------------


def code_hash(notebook, tag=None):
    """Hash of a notebook's code cells (those with `tag` if given). The setup cell holds only the address: left out."""
    cells = [c for c in notebook["cells"] if c["cell_type"] == "code" and "setup" not in tags(c)]
    text = "\0".join(c["source"].strip() for c in cells if tag is None or tag in tags(c))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def stlib_hash():
    """Hash of the package's Python files."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:12]


def source_hash(paths):
    """Hash of Python files as code: comments, docstrings and layout do not count."""
    trees = [ast.parse(Path(path).read_text(encoding="utf8")) for path in paths]
    for node in (node for tree in trees for node in ast.walk(tree)):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0] = ast.Pass()
    return hashlib.sha256("\0".join(map(ast.dump, trees)).encode()).hexdigest()[:12]


def drawing_hash():
    """Hash of the code that draws the parametric world: other code, other pictures."""
    files = sorted((Path(__file__).parent / "world").glob("*.py"))
    return source_hash(file for file in files if file.name not in ("captions.py", "datasets.py"))


def load_chapter(chapter):
    """Execute only the cells tagged `method` of a chapter and return them as a module."""
    path = find(chapter)
    module = types.ModuleType(f"chapter_{chapter}")
    for number, cell in enumerate(read(path)["cells"]):
        if "method" in tags(cell):
            exec(compile(cell["source"], f"{path.name}[cell {number}]", "exec"), module.__dict__)
    return module


# Executing and stamping ----------------------------------------------------------------------------------------------


def execute(path, scale, record):
    """Execute a notebook at `scale` and return it, an nbformat node; with `record` it also writes what it measures."""
    import nbformat
    from nbclient import NotebookClient

    os.environ.update(STLIB_SCALE=scale, STLIB_RECORD="1" if record else "")
    node = nbformat.read(path, as_version=4)
    NotebookClient(node, timeout=None, resources={"metadata": {"path": str(Path(path).parent)}}).execute()
    return node


def run(path, scale="lesson"):
    """Execute a notebook in place at `scale`, stamp it, and refresh the measured numbers in its prose."""
    import nbformat

    start = time.perf_counter()
    node = execute(path, scale, record=True)
    seconds = time.perf_counter() - start
    notebook = json.loads(nbformat.writes(node))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
        _tidy(cell)
    _refresh_numbers(notebook)
    told = next((o["metadata"]["stlib"] for o in _outputs(notebook) if "stlib" in o.get("metadata", {})), {})
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "stlib": {
            **told,
            "scale": scale,
            "seconds": round(seconds),
            "date": datetime.date.today().isoformat(),
            "code_hash": code_hash(notebook),
            "stlib_hash": stlib_hash(),
        },
    }
    write(path, notebook)


def _outputs(notebook):
    return [output for cell in notebook["cells"] for output in cell.get("outputs", [])]


def _tidy(cell):
    """Drop what changes from run to run (timings, progress bars); hand the alt text on to Jupyter Book."""
    cell["metadata"] = {key: cell["metadata"][key] for key in ("tags", "mystnb", "exercise") if key in cell["metadata"]}
    if cell["cell_type"] != "code":
        return
    cell["outputs"] = [o for o in cell["outputs"] if o.get("name") != "stderr"]
    for output in cell["outputs"]:
        for kind, options in output.get("metadata", {}).items():
            if kind.startswith("image/") and "alt" in options:
                cell["metadata"].setdefault("mystnb", {})["image"] = {"alt": options["alt"]}


def _prose(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"]


def measured(key):
    """The recorded value for a prose key `chapter/name/arm` (arm may be absent): the mean over seeds."""
    from stlib import results

    chapter, name, arm = (key.split("/") + ["", ""])[:3]
    values = results.facts(chapter, results.rows(chapter))[name][arm]
    if not values:
        raise LookupError(f"No recorded value for {key!r} in book/results/{chapter}.json.")
    return sum(values) / len(values)


def as_written(text, value):
    """`value` with as many decimals, and thousands separators, as the number `text` has."""
    decimals = len(text.partition(".")[2])
    return f"{value:,.{decimals}f}" if "," in text else f"{value:.{decimals}f}"


def _refresh_numbers(notebook):
    for cell in _prose(notebook):
        cell["source"] = NUMBER.sub(lambda m: as_written(m["text"], measured(m["name"])) + m["key"], cell["source"])


def number_problems(path):
    """Numbers in a notebook's or page's prose that differ from the recorded measurement: a list of sentences."""
    text = "\n".join(c["source"] for c in _prose(read(path))) if path.suffix == ".ipynb" else path.read_text("utf8")
    found_all = list(NUMBER.finditer(text))
    problems = [f"{relative(path)} has a measured number whose key cannot be read."] * (
        text.count("<!--=") - len(found_all)
    )
    for found in found_all:
        right = as_written(found["text"], measured(found["name"]))
        if found["text"] != right:
            problems.append(f"{relative(path)} says {found['text']} for {found['name']}; measured was {right}.")
    return problems


def stale():
    """Two lists of sentences: notebooks whose own code changed since they were executed, and whose stlib did."""
    code, package = [], []
    for path in notebooks():
        notebook = read(path)
        stamp = notebook["metadata"].get("stlib", {})
        if stamp.get("code_hash") != code_hash(notebook):
            code.append(f"{relative(path)} was executed with other code: make run NB={relative(path)}")
        elif stamp.get("stlib_hash") != stlib_hash():
            package.append(f"{relative(path)} was executed with another stlib")
    return code, package


# The repository's address --------------------------------------------------------------------------------------------


def address():
    """The address as `_config.yml` sets it: url, repository ("owner/name"), branch."""
    import yaml

    config = yaml.safe_load((root() / "_config.yml").read_text(encoding="utf8"))["repository"]
    url = config["url"].rstrip("/")
    return {"url": url, "repository": "/".join(url.split("/")[-2:]), "branch": config["branch"]}


def _with_address(path, here):
    """The text of a file with the current address in it."""
    if path.suffix != ".ipynb":
        text = path.read_text(encoding="utf8")
        pyproject = (root() / "pyproject.toml").read_text(encoding="utf8")
        before = re.search(r'^Repository = "https://github.com/([^"]+)"', pyproject, re.MULTILINE)[1]
        owner, name = here["repository"].split("/")
        text = text.replace("/".join(before.split("/")), here["repository"])
        return text.replace("{}.github.io/{}".format(*before.split("/")), f"{owner}.github.io/{name}")
    notebook = read(path)
    colab = COLAB.format(**here, path=relative(path))
    for cell in notebook["cells"]:
        if "badge" in tags(cell):
            cell["source"] = BADGE.format(colab=colab)
        if "setup" in tags(cell):
            cell["source"] = SETUP.format(**here).strip()
    cells = [{**cell, "source": cell["source"].splitlines(keepends=True)} for cell in notebook["cells"]]
    return json.dumps({**notebook, "cells": cells}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def address_files():
    """Every file that repeats the repository's address; pyproject.toml, which holds the last one, at the end."""
    return [*notebooks(), *(root() / name for name in REPEATS_ADDRESS)]


def address_problems():
    """Files that repeat another address than `_config.yml` sets, or lack it: a list of sentences."""
    here, problems = address(), []
    for path in address_files():
        text = path.read_text(encoding="utf8")
        if text != _with_address(path, here):
            problems.append(f"{relative(path)} has another address than _config.yml: python -m stlib.chapters address")
        elif here["repository"] not in text:
            problems.append(f"{relative(path)} does not hold the address {here['repository']}.")
    return problems


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m stlib.chapters", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="execute notebooks in place and stamp them")
    runner.add_argument("notebook", nargs="+", type=Path)
    runner.add_argument("--scale", default="lesson", choices=["smoke", "lesson", "zoo"])
    commands.add_parser("address", help="write the address of _config.yml into everything that repeats it")
    commands.add_parser("check", help="say what is stale")
    options = parser.parse_args(arguments)
    if options.command == "run":
        for path in options.notebook:
            if not path.is_file():
                parser.error(f"there is no notebook {path}")
            run(path, options.scale)
            print(f"{path} executed at scale {options.scale} and stamped.")
    elif options.command == "address":
        here = address()
        for path in address_files():
            write_text(path, _with_address(path, here))
    else:
        code, package = stale()
        print("\n".join(code + package) or "Everything was executed with the code that is here.")
        return 1 if code else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
