"""Sphinx extension of this book: pages that are generated from what was measured, so that they cannot drift.

    {claim} C01 C02        the survey's claims with their verdicts, as boxes
    {verdict-table}        all claims
    {loose-list}           where the survey is imprecise
    {system-map}           all systems: planned or done
    {status-table}         how each notebook was run: its stamp
    {method-cards} I       the systems of one part, one card each
    {credits-table} KIND   the pictures or weights of `stlib.assets.REGISTRY`

Sources: book/systems.yml, book/claims.yml, book/results/*.json, the stamps in the notebooks. The tables are written as
Markdown and parsed with the page. Needs no torch.
"""

import importlib
import json
import sys
from pathlib import Path

import yaml
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
VERDICTS = {"holds": "✔ holds", "fails": "✘ fails", "depends": "◐ depends"}
NOT_YET = "not yet measured"
STATES = {"done": "● done", "written": "◐ written, not yet run", "planned": "○ planned"}


# Reading -------------------------------------------------------------------------------------------------------------


def entries(name, root=ROOT):
    """The entries of book/systems.yml or book/claims.yml."""
    return yaml.safe_load((root / "book" / f"{name}.yml").read_text(encoding="utf8"))


def results(root=ROOT):
    """All recorded rows of all chapters."""
    files = sorted((root / "book" / "results").glob("*.json"))
    return [row for file in files for row in json.loads(file.read_text(encoding="utf8"))]


def stamp(notebook):
    """The stamp that executing a notebook left in its metadata; empty when it never ran."""
    return json.loads(notebook.read_text(encoding="utf8"))["metadata"].get("stlib", {})


def title(notebook):
    """The first heading of a notebook."""
    for cell in json.loads(notebook.read_text(encoding="utf8"))["cells"]:
        for line in "".join(cell["source"]).splitlines():
            if cell["cell_type"] == "markdown" and line.startswith("# "):
                return line[2:].strip()
    return notebook.stem


def path_of(chapter, root=ROOT):
    """The notebook of a chapter named as in the yml files ("1_optimization/gatys"), or None while it is not there."""
    path = root / "notebooks" / f"{chapter}.ipynb"
    return path if path.exists() else None


def state(system, root=ROOT):
    """Whether a system's chapter is planned, written or done (executed and stamped)."""
    path = path_of(system["chapter"], root)
    return "planned" if path is None else "done" if stamp(path) else "written"


def verdicts(claim, rows):
    """The verdicts on a claim: a list of (holds, fails or depends; the sentence; chapter)."""
    mine = [row for row in rows if row["claim"] == claim]
    found = []
    for row in mine:
        if row["name"] != "verdict":
            continue
        if row["value"] not in VERDICTS:
            raise ValueError(f"The verdict on {claim} in {row['chapter']} is {row['value']!r}; use holds, fails, depends.")
        same = (row["chapter"], row["arm"])
        sentences = [r for r in mine if r["name"] == "verdict_sentence" and (r["chapter"], r["arm"]) == same]
        if not sentences:
            raise ValueError(f"The verdict on {claim} in {row['chapter']} has no verdict_sentence.")
        found.append((row["value"], str(sentences[0]["value"]), row["chapter"]))
    return found


# Writing Markdown ----------------------------------------------------------------------------------------------------


def table(head, rows):
    """A Markdown table, as lines."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return lines + ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]


def link(chapter, root=ROOT, text=None):
    """A link to a chapter's page, or its name while it is not written."""
    path = path_of(chapter, root)
    return f"[{text or title(path)}](/notebooks/{chapter}.ipynb)" if path else f"`{chapter}` (planned)"


def _home(chapter, claim, root):
    """The full name of the chapter whose short name stands in a results row."""
    paths = [p for p in (root / "notebooks").rglob(f"{chapter}.ipynb") if "solutions" not in p.parts]
    return paths[0].relative_to(root / "notebooks").with_suffix("").as_posix() if paths else claim["chapters"][0]


def verdict_cells(claim, rows, root=ROOT):
    """Verdict, reason and chapter of one claim as three Markdown cells."""
    found = verdicts(claim["id"], rows)
    if not found:
        return NOT_YET, "", "<br>".join(link(chapter, root) for chapter in claim["chapters"])
    marks, sentences, chapters = zip(*found, strict=True)
    pages = dict.fromkeys(link(_home(chapter, claim, root), root) for chapter in chapters)
    return "<br>".join(f"**{VERDICTS[m]}**" for m in marks), "<br>".join(sentences), "<br>".join(pages)


def verdict_table(root=ROOT):
    rows, lines, counted = results(root), [], dict.fromkeys([*VERDICTS, NOT_YET], 0)
    for claim in entries("claims", root):
        verdict, reason, chapter = verdict_cells(claim, rows, root)
        for mark, *_ in verdicts(claim["id"], rows) or [(NOT_YET,)]:
            counted[mark] += 1
        reason = reason or f"To be measured: {claim['measured_as']}."
        lines.append((f'<span id="{claim["id"]}"></span>{claim["id"]}', claim["text"], verdict, reason, chapter))
    counts = ", ".join(f"{number} {word}" for word, number in counted.items() if number)
    return [f"So far: {counts}.", "", *table(("", "The survey says", "Verdict", "What was measured", "Where"), lines)]


def claim_boxes(ids, root=ROOT):
    rows, lines = results(root), []
    claims = {claim["id"]: claim for claim in entries("claims", root)}
    for name in ids:
        claim = claims[name]
        verdict, reason, chapter = verdict_cells(claim, rows, root)
        lines += [f":::{{admonition}} Claim {name}", ":class: claim", "", f"*{claim['text']}*", ""]
        lines += [f"Measured as: {claim['measured_as']}.", "", f"Verdict: {verdict}. {reason}".strip(), ""]
        lines += [f"Where: {chapter.replace('<br>', ', ')}", ""]
        lines += [f"Where the survey is loose: {claim['loose']}", ""] if "loose" in claim else []
        lines += [":::", ""]
    return lines


def loose_list(root=ROOT):
    return [f"- **{claim['id']}** {claim['loose']}" for claim in entries("claims", root) if "loose" in claim]


def system_map(root=ROOT):
    rows = []
    for s in entries("systems", root):
        name = link(s["chapter"], root, s["name"]) if path_of(s["chapter"], root) else s["name"]
        rows.append((s["id"], name, s["year"], s["part"], s["kind"], s["provenance"], STATES[state(s, root)]))
    return table(("", "System", "Year", "Part", "Kind", "Provenance", "State"), rows)


def method_cards(part, root=ROOT):
    lines = ["::::{grid} 1 1 2 2", ":gutter: 3", ""]
    for s in (s for s in entries("systems", root) if s["part"] == part):
        path, kind = path_of(s["chapter"], root), "not scored" if s["kind"] == "-" else s["kind"]
        cites = "{cite:p}`" + ",".join(s["cite"]) + "`"
        lines += [f":::{{grid-item-card}} {s['name']} ({s['year']})", f"{s['id']}, {kind}, {s['provenance']} {cites}", ""]
        facts = {"Optimised": s["optimised"], "Needs": s["needs"], "Limits": s["limits"], "Pictures": s.get("pictures")}
        if path and stamp(path):
            facts["Chapter ran in"] = cost(stamp(path))
        for name, fact in facts.items():
            lines += [name, f": {fact}", ""] if fact else []
        lines += [link(s["chapter"], root, "Open the chapter") if path else STATES[state(s, root)], ":::", ""]
    return [*lines, "::::"]


def duration(seconds):
    """Seconds as a reader says them: "41 s", "3 min 5 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def cost(made):
    """Time, memory and machine of a stamp, in words."""
    words = [duration(made["seconds"])] if "seconds" in made else []
    words += [f"{made['peak_memory'] / 2**30:.1f} GiB"] if made.get("peak_memory") else []
    return ", ".join(words) + (f" on {made['device']}" if made.get("device") else "")


def status_table(root=ROOT):
    """One row per notebook: how it was run, and whether its code is still the one that was run."""
    chapters, rows = _stlib("chapters"), []
    found = sorted((root / "notebooks").rglob("*.ipynb"), key=lambda p: ("solutions" in p.parts, p))
    for path in (p for p in found if ".ipynb_checkpoints" not in p.parts):
        made, name = stamp(path), path.relative_to(root / "notebooks").with_suffix("").as_posix()
        if not made:
            rows.append((link(name, root), "never run", "", "", "", ""))
            continue
        current = made.get("code_hash") == chapters.code_hash(chapters.read(path))
        software = ", ".join(f"{key} {value}" for key, value in (made.get("versions") or {}).items())
        code = f"`{made.get('code_hash', '')}`" + ("" if current else " **changed since**")
        rows.append((link(name, root), made.get("scale", ""), cost(made), software, code, made.get("date", "")))
    return table(("Notebook", "Scale", "Time, memory, machine", "Software", "Code", "Date"), rows)


def credits_table(kinds, root=ROOT):
    rows = []
    for asset in _stlib("assets").REGISTRY.values():
        if asset.kind in kinds:
            source = f"[source]({asset.url})" if asset.url else "packaged"
            rows.append((f"`{asset.name}`", asset.title, asset.author, asset.licence, source))
    return table(("Name", "Title", "Author", "Licence", ""), rows)


def _stlib(name):
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    return importlib.import_module(f"stlib.{name}")


# The directives ------------------------------------------------------------------------------------------------------


class Generated(SphinxDirective):
    """Parse generated Markdown in place of the directive; rebuild the page when its sources change."""

    optional_arguments = 1
    final_argument_whitespace = True
    option_spec = {"class": directives.class_option}

    def run(self):
        arguments = self.arguments[0].split() if self.arguments else []
        try:
            lines = self.lines(arguments)
        except (ValueError, KeyError) as problem:
            raise self.error(f"{self.name}: {problem}") from problem
        for pattern in ("book/*.yml", "book/results/*.json", "notebooks/**/*.ipynb", "stlib/assets.py"):
            for path in ROOT.glob(pattern):
                self.env.note_dependency(str(path))
        box = nodes.container(classes=["course-" + self.name])
        self.state.nested_parse(StringList(lines, self.get_source_info()[0]), self.content_offset, box)
        return [box]


WRITERS = {
    "claim": claim_boxes,
    "verdict-table": lambda _: verdict_table(),
    "loose-list": lambda _: loose_list(),
    "system-map": lambda _: system_map(),
    "status-table": lambda _: status_table(),
    "method-cards": lambda arguments: method_cards(arguments[0]),
    "credits-table": credits_table,
}


def docstring_as_rst(app, what, name, obj, options, lines):
    """Docstrings are written as Markdown-like prose: show `x` as code and take |, * literally."""
    for i, line in enumerate(lines):
        parts = line.replace("``", "`").split("`")
        for j in range(0, len(parts), 2):
            parts[j] = parts[j].replace("\\", "\\\\").replace("|", "\\|").replace("*", "\\*")
        lines[i] = "``".join(parts) if len(parts) % 2 else line.replace("`", "\\`")


def address(app, config):
    """Let pages write {{ repository }}: the address is set in _config.yml only."""
    config.myst_substitutions["repository"] = config.html_theme_options["repository_url"]


def setup(app):
    sys.path.insert(0, str(ROOT))
    for name, writer in WRITERS.items():
        kind = type(name.title().replace("-", ""), (Generated,), {"lines": staticmethod(writer)})
        app.add_directive(name, kind)
    app.connect("config-inited", address)
    app.connect("autodoc-process-docstring", docstring_as_rst)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
