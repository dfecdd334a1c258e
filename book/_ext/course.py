"""Sphinx extension of this book: pages that are generated from what was measured, so that they cannot drift.

    {claim} C01 C02        claims of the survey with their verdicts    {verdict-table}   all of them
    {loose-list}           where the survey is imprecise               {system-map}      systems: planned or done
    {method-cards} I       one part's systems, one card each           {status-table}    how each notebook was run
    {credits-table} photo  the assets of a kind (`stlib.assets.REGISTRY`)
    {oracle-table}         how well the oracle reads         {leaderboard} edit      methods scored as one kind, by task
    {zoo-cards}            the networks that the course trained, a table and the card of each

Sources: book/systems.yml, book/claims.yml, book/results/*.json, the stamps in the notebooks, the records in
stlib/zoo/weights. The tables are written as Markdown and parsed with the page. Needs no torch.
"""

import importlib
import json
import math
import re
import sys
from collections import defaultdict
from pathlib import Path

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
VERDICTS = {"holds": "✔ holds", "fails": "✘ fails", "depends": "◐ depends"}
NOT_YET = "not yet measured"
READABLE = 0.8  # `stlib.oracle.READABLE`, which cannot be imported without torch
KERNEL_LIMIT = 3.0  # `stlib.metrics.scores.KERNEL_LIMIT`
# How the tasks of `stlib.metrics` are called: "portraits photo->sketch", "portraits in ink", "portraits beard=1"
TASKS = {"translate": r"(\w+) (.+)->(.+)", "generate": r"(\w+) in (.+)", "edit": r"(\w+) (\w+)=(.+)"}
# What a kind is ranked by (the harmonic mean of these), and what else its tables show
RANKED_BY = {"translate": ("content", "style"), "generate": ("style", "recall"), "edit": ("edit", "content", "style")}
SHOWN = {
    "translate": ("content", "style", "style_raw", "kernel_ratio", "ssim", "perceptual"),
    "generate": ("style", "recall", "style_raw", "kernel_ratio", "precision", "diversity", "memorisation"),
    "edit": ("edit", "content", "style", "style_raw", "kernel_ratio", "ssim", "perceptual"),
}
HEADS = {"style_raw": "Raw style", "kernel_ratio": "Kernel ratio", "ssim": "SSIM"}
# Arms that are no methods
REFERENCES = ("source picture", "true picture", "edges of the truth", "drawn again", "painted again", "other content")
NOTHING = ("noise", "plain")  # and those of the laboratory alone
BY_HAND = ("smoothed",)  # filters that nobody trained, besides the laboratory's
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
    rows, lines, counted, measured = results(root), [], dict.fromkeys(VERDICTS, 0), 0
    for claim in entries("claims", root):
        found = verdicts(claim["id"], rows)
        measured += bool(found)
        for mark, *_ in found:
            counted[mark] += 1
        lines.append((f'<span id="{claim["id"]}"></span>{claim["id"]}', claim["text"], verdict(claim, rows, root)))
    counts = ", ".join(f"{number} {word}" for word, number in counted.items() if number)
    told = f"{measured} of {len(lines)} measured" + (
        f"; verdicts, some claims have several: {counts}" if counts else ""
    )
    return [f"So far: {told}.", "", *table(("", "The survey says", "Verdict"), lines)]


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


def floored(value):
    """Two decimals, rounded down: what is shown as 0.80 has reached 0.8."""
    return f"{math.floor(value * 100 + 1e-9) / 100:.2f}"


def oracle_table(root=ROOT):
    """How well the oracle reads each factor in each style: one table a family, sizes but the first folded away."""
    path = root / "stlib" / "zoo" / "weights" / "oracle.json"
    if not path.exists():
        return ["*The oracle is not trained yet: its accuracy will stand here.*"]
    record = json.loads(path.read_text(encoding="utf8"))
    accuracy = record["training"]["accuracy"]
    pictures = " and ".join(f"{n:,} {family}" for family, n in record["settings"].get("pictures", {}).items())
    lines = [f"The oracle has {record['parameters']:,} parameters ({record['bytes'] / 1e6:.1f} MB)"]
    lines[0] += f" and was trained on {pictures}." if pictures else "."
    for number, (size, table_) in enumerate(accuracy.items()):
        families = {name: styles for name, styles in table_.items() if not name.startswith(("style, ", "other, "))}
        opened = [":::{dropdown} " + f"The same at {size} pixels", ""] if number else []
        lines += ["", *opened]
        for family, styles in families.items():
            lines += [*family_table(family, size, styles, table_), ""]
        lines += [":::"] if number else []
    return lines


def family_table(family, size, styles, accuracies):
    """One family at one size: a row per factor, those of the style, and how often what is not of this world is seen."""
    factors, rows = list(next(iter(styles.values()))), []
    for factor in factors:
        values = [scores[factor] for scores in styles.values()]
        rows.append((f"`{factor}`", *(floored(v) if v >= READABLE else f"({floored(v)})" for v in values)))
    counts = [sum(v >= READABLE for v in scores.values()) for scores in styles.values()]
    rows.append(("*factors that are scored*", *(f"{count} of {len(factors)}" for count in counts)))
    hits, other = accuracies[f"style, {family}"], accuracies.get(f"other, {family}")
    rows.append(("*style named right*", *(f"{hits[style]:.1%}" for style in styles)))
    unseen = accuracies.get("other, unseen kinds")
    told = [] if other is None else [f"Pictures that are not of this world are called *other* in {other:.1%} of cases"]
    told += [f"pictures from elsewhere are called *other* in {unseen:.1%}"] if unseen is not None else []
    told = f"{', '.join(told)}.".capitalize() if told else ""
    return [f"**{family.capitalize()} at {size} pixels.** {told}", "", *table(("Factor", *styles), rows)]


def kind_of(task):
    """Whether a task, by its name, is to translate, generate or edit; None for another name."""
    return next((kind for kind, form in TASKS.items() if re.fullmatch(form, task)), None)


def harmonic(values):
    """The harmonic mean: 0 if one is 0, and never more than `len(values)` times the smallest."""
    return len(values) / sum(1 / v for v in values) if all(v > 0 for v in values) else 0.0


def scored(root=ROOT):
    """What `stlib.metrics.record` wrote, one entry for each method and task: its values as lists over the seeds."""
    groups, found = defaultdict(dict), {}
    for row in results(root):
        groups[row["chapter"], row["arm"], row["seed"]][row["name"]] = row
    for (chapter, arm, _), named in groups.items():
        for name, row in named.items():
            suffix = name.removeprefix("task")
            if not name.startswith("task") or not {f"style{suffix}", f"pictures{suffix}"} <= named.keys():
                continue
            task, size = row["value"], named.get(f"size{suffix}", {}).get("value")
            if kind_of(str(task)) is None:
                raise ValueError(f"{chapter}: {arm or 'a method'} was scored on {task!r}, which is no task's name.")
            place = {"chapter": chapter, "arm": arm, "suffix": suffix, "task": task, "size": size}
            entry = found.setdefault(tuple(place.values()), place | {"values": defaultdict(list), "devices": set()})
            entry["devices"].add(row.get("device", ""))
            for metric in (*SHOWN[kind_of(task)], "seconds", "pictures"):
                if (value := named.get(metric + suffix)) is not None:
                    entry["values"][metric].append(value["value"])
    return once(marked(list(found.values()), root), root)


def once(entries_, root=ROOT):
    """Without what a later chapter has scored again: the same arm on the same task, with the same result."""
    contents = root / "_toc.yml"
    order, first = contents.read_text(encoding="utf8") if contents.exists() else "", {}

    def place(entry):
        chapter = home(entry["chapter"], root)
        return not chapter.startswith("laboratory/"), order.find(f"notebooks/{chapter}\n")

    def told(entry):
        seen = tuple(shown(entry, metric) for metric in (*SHOWN[kind_of(entry["task"])], "pictures"))
        return entry["arm"], entry["task"], entry["size"] or 0, *seen

    for entry in sorted(entries_, key=place):
        first.setdefault(told(entry), entry["chapter"])
    return [entry for entry in entries_ if entry["chapter"] == first[told(entry)]]


def marked(entries_, root=ROOT):
    """The same entries, each with its mark: "reference", "by hand" for filters, "" for a method."""
    homes = [home(entry["chapter"], root) for entry in entries_]
    filters = {entry["arm"] for entry, place in zip(entries_, homes, strict=True) if place == "laboratory/world"}
    filters |= {*BY_HAND}
    for entry, place in zip(entries_, homes, strict=True):
        reference = entry["arm"] in REFERENCES or entry["arm"] in NOTHING and place.startswith("laboratory/")
        entry["mark"] = "reference" if reference else "by hand" if entry["arm"] in filters - {*NOTHING} else ""
    return entries_


def mean(entry, metric):
    values = entry["values"].get(metric)
    return sum(values) / len(values) if values else None


def shown(entry, metric):
    """A table's cell: the mean over the seeds, with the smallest and the largest where they differ."""
    value = mean(entry, metric)
    if value is None:
        return "–"
    values = entry["values"][metric]

    def digits(x):
        if metric in ("seconds", "perceptual"):
            return f"{x:.2g}" if x < 10 else f"{x:.0f}"
        return f"{x:.2f}" if metric != "kernel_ratio" else f"{x:.1f}" if x < 10 else f"{x:.0f}"

    low, high, text = digits(min(values)), digits(max(values)), digits(value)
    text += f" [{low}, {high}]" if low != high and metric != "seconds" else ""
    return text + " ✘" if metric == "kernel_ratio" and max(values) > KERNEL_LIMIT else text


def home(chapter, root=ROOT):
    """The path of a chapter known by its short name, as the yml files have it: "1_optimization/gatys"."""
    paths = (path.relative_to(root / "notebooks") for path in sorted((root / "notebooks").rglob(f"{chapter}.ipynb")))
    hidden = ("solutions", ".ipynb_checkpoints")
    return next((p.with_suffix("").as_posix() for p in paths if not set(hidden) & set(p.parts)), chapter)


def label(entry, root=ROOT):
    """A method's name in a table: its arm with a link, its system, what the task's name does not say, and its mark."""
    chapter = home(entry["chapter"], root)
    name = link(chapter, root, entry["arm"]) if path_of(chapter, root) else entry["arm"] or chapter
    known = (root / "book" / "systems.yml").exists()
    systems = {system["chapter"]: system["name"] for system in (entries("systems", root) if known else ())}
    if not entry["mark"] and chapter in systems and not any(name_ in entry["arm"] for name_ in systems.values()):
        name += f", {systems[chapter]}"
    if not set(re.findall(r"\w+", entry["suffix"])) <= set(re.findall(r"\w+", entry["task"])):
        name += f", {entry['suffix'].strip()}"
    return name + (f" *({entry['mark']})*" if entry["mark"] else "")


def ranking(kind, entries_, root=ROOT):
    """One task's table, best first; references come last and have no rank."""
    ranked = []
    for entry in entries_:
        score = harmonic([mean(entry, metric) or 0.0 for metric in RANKED_BY[kind]])
        ratio = mean(entry, "kernel_ratio")
        order = (entry["mark"] == "reference", -score, math.inf if ratio is None else ratio, label(entry, root))
        ranked.append((order, entry))
    rows, counts = [], {mean(entry, "pictures") for entry in entries_}
    counted = ("Pictures",) if len(counts) > 1 else ()
    for place, (order, entry) in enumerate(sorted(ranked, key=lambda pair: pair[0]), 1):
        cells = [shown(entry, metric) for metric in (*SHOWN[kind], "seconds")]
        rank = "" if order[0] else place
        cells += [f"{mean(entry, 'pictures'):.0f}"] if counted else []
        rows.append((rank, label(entry, root), f"{-order[1]:.2f}", *cells))
    heads = (HEADS.get(metric, metric.capitalize()) for metric in SHOWN[kind])
    lines = table(("", "Method", "Mean", *heads, "Seconds", *counted), rows)
    return lines if counted else [*lines, "", f"{counts.pop():.0f} pictures each."]


def leaderboard(kinds, root=ROOT):
    """The tables of the named kinds (all without a name): one for each task and size of picture."""
    lines, all_ = [], scored(root)
    for kind in kinds or TASKS:
        if kind not in TASKS:
            raise ValueError(f"There is no kind {kind!r}; there are: {', '.join(TASKS)}.")
        mine = [entry for entry in all_ if kind_of(entry["task"]) == kind]
        if not mine:
            lines += [f"*Nothing has been scored as {kind} yet.*", ""]
        for task, size in sorted({(e["task"], e["size"] or 0) for e in mine}):
            entries_ = [entry for entry in mine if (entry["task"], entry["size"] or 0) == (task, size)]
            where = f", {size:.0f} pixels" if size else ""
            lines += [f"**{task.replace('->', ' → ')}**{where}", "", *ranking(kind, entries_, root), ""]
            devices = sorted(set().union(*(entry["devices"] for entry in entries_)) - {""})
            warning = "; on different machines, so not to be compared between chapters" if len(devices) > 1 else ""
            lines += [f"Seconds a picture, on: {'; '.join(devices)}{warning}.", ""] if devices else []
    return lines


def zoo_cards(root=ROOT):
    """The networks of the zoo: a table, then the card of each, folded."""
    zoo, folder = importlib.import_module("stlib.zoo"), root / "stlib" / "zoo" / "weights"
    cards, rows, lines = importlib.import_module("stlib.zoo.cards"), [], []
    for name in zoo.names(folder):
        about = zoo.record(name, folder)
        made_by = "a script" if zoo.recipe_of(about["chapter"]) else link(home(about["chapter"], root), root)
        size = f"{about['bytes'] / 1e6:.2f} MB"
        rows.append((f"`{name}`", about["description"], f"{about['parameters']:,}", size, made_by))
        opened = [":open:"] if zoo.sheet(name, folder) else []  # what there is to see is seen
        lines += [f"::::{{dropdown}} The card of {name}", *opened, "", *cards.card(name, folder), "", "::::", ""]
    if not rows:
        return ["*No network has been trained yet.*"]
    return [*table(("Network", "What it does", "Parameters", "Size", "Made by"), rows), "", *lines]


class Generated(SphinxDirective):
    """Parse generated Markdown in place of the directive; rebuild the page when its sources change."""

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self):
        try:
            lines = self.lines(self.arguments[0].split() if self.arguments else [])
        except (ValueError, LookupError) as problem:
            raise self.error(f"{self.name}: {problem}") from problem
        for pattern in ("book/*.yml", "book/results/*.json", "notebooks/**/*.ipynb", *OTHER_SOURCES):
            for path in ROOT.glob(pattern):
                self.env.note_dependency(str(path))
        box = nodes.container(classes=["course-" + self.name])
        self.state.nested_parse(StringList(lines, self.get_source_info()[0]), self.content_offset, box)
        return [box]


OTHER_SOURCES = ("stlib/assets.py", "stlib/zoo/*.py", "stlib/zoo/weights/*.json")
WRITERS = {
    "claim": claim_boxes,
    "verdict-table": lambda _: verdict_table(),
    "loose-list": lambda _: loose_list(),
    "system-map": lambda _: system_map(),
    "status-table": lambda _: status_table(),
    "method-cards": method_cards,
    "credits-table": credits_table,
    "oracle-table": lambda _: oracle_table(),
    "leaderboard": leaderboard,
    "zoo-cards": lambda _: zoo_cards(),
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
