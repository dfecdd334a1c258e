"""The committed notebooks: stamped, fresh, in form; their claims can fail; their numbers are the measured ones."""

import copy
import json
import re
import shutil

import pytest

from stlib import chapters, results

NOTEBOOKS = chapters.notebooks()
CHAPTERS = [path for path in NOTEBOOKS if "solutions" not in path.parts]
PAGES = sorted((chapters.root() / "book").rglob("*.md"))


def names(paths):
    return [path.stem + ("-solutions" if "solutions" in path.parts else "") for path in paths]


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def words(notebook):
    prose = "\n".join(cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    return len(re.findall(r"\w+", re.sub(r"<!--.*?-->|\$\$.*?\$\$", "", prose, flags=re.DOTALL)))


# Stamps ---------------------------------------------------------------------------------------------------------------


def test_no_committed_notebook_was_executed_with_other_code(capsys):
    code, package = chapters.stale()
    with capsys.disabled():
        print("".join(f"\n  note: {line}" for line in package))
    assert code == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names(NOTEBOOKS))
def test_the_stamp_is_whole_and_of_a_real_run(path):
    stamp = chapters.read(path)["metadata"]["stlib"]
    assert stamp["scale"] in ("lesson", "zoo"), "the committed outputs come from a smoke run"
    assert {"device", "versions", "seconds", "code_hash", "stlib_hash"} <= set(stamp)


def test_a_changed_notebook_is_caught_as_stale(tmp_path, monkeypatch):
    for name in ("_config.yml", "notebooks", "stlib"):
        source = chapters.root() / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    monkeypatch.setattr(chapters, "root", lambda: tmp_path)
    assert chapters.stale()[0] == []
    path = chapters.find("gatys")
    notebook = chapters.read(path)
    method = next(cell for cell in notebook["cells"] if "method" in chapters.tags(cell))
    method["source"] += "\nextra = 1"
    chapters.write(path, notebook)
    assert [line.split(" ")[0] for line in chapters.stale()[0]] == ["notebooks/1_optimization/gatys.ipynb"]


def test_the_setup_cell_does_not_count_as_code():
    notebook = chapters.read(chapters.find("gatys"))
    moved = copy.deepcopy(notebook)
    next(cell for cell in moved["cells"] if "setup" in chapters.tags(cell))["source"] += "# moved"
    assert chapters.code_hash(moved) == chapters.code_hash(notebook)


def test_loading_a_chapter_runs_its_method_cells_only(tmp_path, monkeypatch):
    path = tmp_path / "toy.ipynb"
    cells = [
        {"cell_type": "code", "metadata": {"tags": ["method"]}, "source": "def two():\n    return 2"},
        {"cell_type": "code", "metadata": {}, "source": "raise SystemError"},
    ]
    chapters.write(path, {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    monkeypatch.setattr(chapters, "find", lambda name: path)
    assert chapters.load_chapter("toy").two() == 2


@pytest.mark.parametrize("path", CHAPTERS, ids=names(CHAPTERS))
def test_method_cells_hold_definitions_only(path):
    import ast

    allowed = (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.Expr)
    for cell in code_cells(chapters.read(path)):
        if "method" in chapters.tags(cell):
            for node in ast.parse(cell["source"]).body:
                assert isinstance(node, allowed), ast.unparse(node)
                if isinstance(node, ast.Expr):
                    assert isinstance(node.value, ast.Constant), f"a side effect: {ast.unparse(node)}"


# Form -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CHAPTERS, ids=names(CHAPTERS))
def test_the_form_of_a_chapter(path):
    notebook = chapters.read(path)
    code = code_cells(notebook)
    first, badge = notebook["cells"][1], notebook["cells"][0]
    assert "badge" in chapters.tags(badge) and first["source"].startswith("# ")
    assert "setup" in chapters.tags(code[0]) and "settings" in chapters.tags(code[1])
    assert code[0]["source"] == chapters.SETUP.format(**chapters.address()).strip()
    assert len(code[0]["source"].splitlines()) <= 6
    assert 1200 <= words(notebook) <= 2700, words(notebook)
    lengths = sorted(len([line for line in cell["source"].splitlines() if line.strip()]) for cell in code)
    assert lengths[-1] <= 30 and lengths[len(lengths) // 2] <= 12, lengths
    marks = "# NBVAL_CHECK_OUTPUT", "nbval-check-output"
    assert sum(marks[0] in cell["source"] or marks[1] in chapters.tags(cell) for cell in code) >= 3
    assert path.stat().st_size <= 700_000, "a chapter's pictures may weigh 500 kB: fewer, smaller, or JPEG"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=names(NOTEBOOKS))
def test_outputs_are_clean_and_every_picture_has_alt_text(path):
    notebook = chapters.read(path)
    assert "widgets" not in notebook["metadata"]
    for cell in code_cells(notebook):
        assert cell["execution_count"] or not cell["source"].strip()
        for output in cell["outputs"]:
            assert output["output_type"] != "error" and output.get("name") != "stderr", cell["source"][:80]
            if any(kind.startswith("image/") for kind in output.get("data", {})):
                alt = cell["metadata"]["mystnb"]["image"]["alt"]
                assert len(alt) > 40, alt
        pictures = [o for o in cell["outputs"] if any(k.startswith("image/") for k in o.get("data", {}))]
        assert len(pictures) <= 1, "one picture a cell: the alt text belongs to the cell"


@pytest.mark.parametrize("path", CHAPTERS, ids=names(CHAPTERS))
def test_every_exercise_has_a_solution_and_no_solution_leaks(path):
    solved = chapters.read(path.parents[1] / "solutions" / path.name)
    wanted = [c["metadata"]["exercise"] for c in chapters.read(path)["cells"] if "exercise" in c["metadata"]]
    given = [c["metadata"]["exercise"] for c in solved["cells"] if "exercise" in c["metadata"]]
    assert wanted == given
    for cell in code_cells(chapters.read(path)):
        if "exercise" in cell["metadata"]:
            text = "".join("".join(o.get("data", {}).get("text/plain", "")) for o in cell["outputs"])
            assert "not attempted" in text and "..." in cell["source"], "the chapter must hold the stub"
    for cell in code_cells(solved):
        if "exercise" in cell["metadata"]:
            assert "✔ right" in "".join("".join(o.get("data", {}).get("text/plain", "")) for o in cell["outputs"])


# Claims and numbers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CHAPTERS + PAGES, ids=names(CHAPTERS) + [p.name for p in PAGES])
def test_numbers_in_prose_are_the_measured_ones(path):
    assert chapters.number_problems(path) == []


def test_a_wrong_number_in_prose_is_caught(tmp_path, monkeypatch):
    monkeypatch.setattr(chapters, "relative", lambda path: path.name)
    key = next(row for row in results.rows("gatys") if row["name"] == "chapter_seconds")
    page = tmp_path / "page.md"
    page.write_text(f"It took {key['value'] + 100:.0f}<!--= gatys/chapter_seconds --> s.")
    assert "measured was" in chapters.number_problems(page)[0]
    page.write_text(f"It took {key['value']:.0f}<!--= gatys/chapter_seconds --> s.")
    assert chapters.number_problems(page) == []
    page.write_text("It took 3 seconds<!--= gatys/chapter_seconds -->.")  # a key must follow its number at once
    assert "cannot be read" in chapters.number_problems(page)[0]


@pytest.mark.parametrize("path", CHAPTERS, ids=names(CHAPTERS))
def test_recorded_results_belong_to_the_code(path):
    notebook, rows = chapters.read(path), results.rows(path.stem)
    assert rows, "the chapter records nothing"
    assert {row["code_hash"] for row in rows} == {chapters.code_hash(notebook)}
    assert "smoke" not in {row["scale"] for row in rows}


def swapped(rows, a, b, only=None):
    """Rows with the arms `a` and `b` exchanged (in the measurement `only`, if given)."""
    other = {a: b, b: a}
    return [
        {**row, "arm": other.get(row["arm"], row["arm"])} if only in (None, row["name"]) else dict(row) for row in rows
    ]


def facts_from(held, swap=(), only=None, changed=()):
    """facts[name][arm] from rows {(name, arm): values} in which a claim holds, some of them `changed`.

    With `swap` two arms are exchanged (in measurements whose name contains `only`, if given).
    """
    other, facts = dict([swap, swap[::-1]]) if swap else {}, {}
    for (name, arm), values in (held | dict(changed)).items():
        arm = other.get(arm, arm) if only is None or only in name else arm
        facts.setdefault(name, {})[arm] = values
    return facts


def gatys():
    return chapters.load_chapter("gatys"), results.rows("gatys")


def test_c01_holds_as_recorded_and_fails_with_swapped_arms():
    chapter, rows = gatys()
    assert chapter.c01_holds(results.facts("gatys", rows))
    for only in (None, "edges", "texture_distance"):
        assert not chapter.c01_holds(results.facts("gatys", swapped(rows, "features", "Gram", only)))


@pytest.mark.parametrize(
    "measurement, a, b, part",
    [
        ("content_kept from noise", "0.3", "30000", "loses the content at large weights"),
        ("optimiser_loss", "L-BFGS", "Adam, step 0.1", "L-BFGS needs no step size"),
        ("copied", "from the photograph", "from the painting", "copies the painting"),
    ],
)
def test_c02_is_as_recorded_and_turns_with_swapped_arms(measurement, a, b, part):
    chapter, rows = gatys()
    told = chapter.c02_parts(results.facts("gatys", rows))
    turned = chapter.c02_parts(results.facts("gatys", swapped(rows, a, b, measurement)))
    assert turned[part] is not told[part], part


def test_c02_sees_a_collapse_a_start_that_does_not_matter_and_one_step_size_for_all():
    chapter, rows = gatys()

    def with_values(name, value, arm=None):
        return results.facts(
            "gatys", [{**r, "value": value} if r["name"] == name and arm in (None, r["arm"]) else r for r in rows]
        )

    assert chapter.c02_parts(with_values("sameness", 0.9))["collapses to one picture"]
    assert not chapter.c02_parts(with_values("content_kept from the photograph", 0.0))["depends on the start"]
    assert not chapter.c02_parts(with_values("optimiser_loss", 1.0))["depends on Adam's step size"]


def test_smoke_uses_recorded_results_and_refuses_those_of_other_code(monkeypatch):
    monkeypatch.setenv("STLIB_SCALE", "smoke")
    assert results.facts("gatys")["edges"]["Gram"]
    rows = [{**row, "code_hash": "0" * 12} for row in results.rows("gatys")]
    monkeypatch.setattr(results, "rows", lambda chapter: rows)
    with pytest.raises(LookupError, match="belong to other code: make run NB="):
        results.facts("gatys")
    monkeypatch.setattr(results, "rows", lambda chapter: [])
    with pytest.raises(LookupError, match="Nothing is recorded"):
        results.facts("gatys")


def test_results_are_written_by_make_run_only(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(results, "folder", lambda: tmp_path)
    monkeypatch.setattr(results, "_measured", {"gatys": []})
    results.record("gatys", "speed", 2, arm="ours", claim="C02")
    results.record("gatys", "speed", 3, arm="ours", claim="C02")
    monkeypatch.delenv("STLIB_RECORD", raising=False)
    results.finish("gatys")
    monkeypatch.setenv("STLIB_RECORD", "1")
    monkeypatch.setenv("STLIB_SCALE", "smoke")
    results.finish("gatys")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("STLIB_SCALE", "lesson")
    results.finish("gatys", "cpu")
    (row,) = json.loads((tmp_path / "gatys.json").read_text())
    assert (row["value"], row["scale"], row["claim"], row["device"]) == (3.0, "lesson", "C02", "cpu")
