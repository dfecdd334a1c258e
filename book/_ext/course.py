"""Sphinx extension of this book: pages that are generated from what was measured, so that they cannot drift.

    {claim} C01 C02        claims of the survey with their verdicts    {verdict-table}   all of them
    {loose-list}           where the survey is imprecise               {system-map}      systems: planned or done
    {method-cards} I       one part's systems, one card each           {status-table}    how each notebook was run
    {credits-table} photo  the assets of a kind (`stlib.assets.REGISTRY`)

Sources: book/systems.yml, book/claims.yml, book/results/*.json, the stamps in the notebooks. The tables are written as
Markdown and parsed with the page. Needs no torch.
"""

import importlib
import json
import sys
from pathlib import Path

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
VERDICTS = {"holds": "✔ holds", "fails": "✘ fails", "depends": "◐ depends"}
NOT_YET = "not yet measured"
STATES = {"done": "● done", "written": "◐ written, not yet run", "planned": "○ planned"}


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
    found, mine = [], {(r["chapter"], r["arm"], r["name"]): r["value"] for r in rows if r["claim"] == claim}
    for (chapter, arm, name), mark in mine.items():
        if name != "verdict":
            continue
        if mark not in VERDICTS:
            raise ValueError(f"{chapter}: the verdict on {claim} is {mark!r}, not one of {', '.join(VERDICTS)}.")
        if not mine.get((chapter, arm, "verdict_sentence")):
            raise ValueError(f"{chapter}: the verdict on {claim} has no verdict_sentence.")
        found.append((mark, mine[chapter, arm, "verdict_sentence"], chapter))
    return found


def table(head, rows):
    """A Markdown table, as lines."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return lines + ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]


def link(chapter, root=ROOT, text=None):
    """A link to a chapter's page, or its short name while it is not written."""
    path = path_of(chapter, root)
    return f"[{text or title(path)}](/notebooks/{chapter}.ipynb)" if path else f"*{Path(chapter).name}* (planned)"


def verdict(claim, rows, root=ROOT):
    """What is known about a claim, as one Markdown text: each verdict with its reason and chapter, or the plan."""
    texts = []
    for mark, sentence, short in verdicts(claim["id"], rows):
        home = [chapter for chapter in claim["chapters"] if Path(chapter).name == short]
        if not home:
            raise ValueError(f"Chapter {short!r} has a verdict on {claim['id']}, which claims.yml does not say.")
        texts.append(f"**{VERDICTS[mark]}.** {sentence} {link(home[0], root)}")
    places = ", ".join(link(chapter, root) for chapter in claim["chapters"])
    return "<br>".join(texts) or f"{NOT_YET}: {claim['measured_as']}. {places}"


def verdict_table(root=ROOT):
    rows, lines, counted = results(root), [], dict.fromkeys([*VERDICTS, NOT_YET], 0)
    for claim in entries("claims", root):
        for mark, *_ in verdicts(claim["id"], rows) or [(NOT_YET,)]:
            counted[mark] += 1
        lines.append((f'<span id="{claim["id"]}"></span>{claim["id"]}', claim["text"], verdict(claim, rows, root)))
    counts = ", ".join(f"{number} {word}" for word, number in counted.items() if number)
    return [f"So far: {counts}.", "", *table(("", "The survey says", "Verdict"), lines)]


def claim_boxes(ids, root=ROOT):
    rows, lines = results(root), []
    claims = {claim["id"]: claim for claim in entries("claims", root)}
    for claim in (claims[name] for name in ids):
        lines += [f":::{{admonition}} Claim {claim['id']}", ":class: claim", "", f"*{claim['text']}*", ""]
        lines += ["Verdict: " + verdict(claim, rows, root), ""]
        lines += ["Where the survey is loose: " + claim["loose"], ""] if "loose" in claim else []
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


def method_cards(parts, root=ROOT):
    lines = ["::::{grid} 1 1 2 2", ":gutter: 3", ""]
    for s in (s for s in entries("systems", root) if s["part"] in parts):
        path, kind = path_of(s["chapter"], root), "not scored" if s["kind"] == "-" else s["kind"]
        cites = "{cite:p}`" + ",".join(s["cite"]) + "`"
        lines += [f":::{{grid-item-card}} {s['name']} ({s['year']})", f"{s['id']}, {kind}, {s['provenance']} {cites}"]
        facts = {"Optimised": s["optimised"], "Needs": s["needs"], "Limits": s["limits"], "Pictures": s.get("pictures")}
        if path and stamp(path):
            facts["Chapter ran in"] = cost(stamp(path))
        for name, fact in facts.items():
            lines += ["", name, f": {fact}"] if fact else []
        lines += ["", link(s["chapter"], root, "Open the chapter") if path else STATES[state(s, root)], ":::", ""]
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
    chapters, rows = importlib.import_module("stlib.chapters"), []
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
    for asset in importlib.import_module("stlib.assets").REGISTRY.values():
        if asset.kind in kinds and asset.show:
            source = f"[source]({asset.url})" if asset.url else f"ships with {asset.package}"
            rows.append((f"`{asset.name}`", asset.title, asset.author, asset.licence, source))
    return table(("Name", "Title", "Author", "Licence", "From"), rows)


class Generated(SphinxDirective):
    """Parse generated Markdown in place of the directive; rebuild the page when its sources change."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self):
        try:
            lines = self.lines(self.arguments[0].split() if self.arguments else [])
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
    "method-cards": method_cards,
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
    config.myst_substitutions["repository"] = f"[repository]({config.html_theme_options['repository_url']})"


def without_thebe(app, pagename, templatename, context, doctree):
    """Jupyter Book loads the scripts for live code twice, which is an error. This book has no live code: drop them."""
    context["script_files"] = [s for s in context.get("script_files", []) if "thebe" not in f"{s}{vars(s)}".lower()]


def setup(app):
    sys.path.insert(0, str(ROOT))
    for name, writer in WRITERS.items():
        app.add_directive(name, type(name, (Generated,), {"lines": staticmethod(writer)}))
    app.connect("config-inited", address)
    app.connect("html-page-context", without_thebe, priority=900)
    app.connect("autodoc-process-docstring", docstring_as_rst)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
