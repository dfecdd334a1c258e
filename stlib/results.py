"""The measured numbers: recording them in a chapter, reading them in the book and the tests. Needs no torch.

A row is one measurement: {chapter, claim, name, arm, seed, value, unit, scale, device, code_hash, stlib_hash}. Rows are
kept in memory while a chapter runs; only `make run` (which sets STLIB_RECORD) writes them to `book/results`, and never
at scale smoke.
"""

import json
import os
from collections import defaultdict
from pathlib import Path

from stlib import chapters

_measured = defaultdict(list)


def folder():
    """Where the recorded rows lie: `book/results` of the checkout, or their copy inside the installed package."""
    checkout = chapters.root()
    return checkout / "book" / "results" if checkout else Path(__file__).parent / "_results"


def record(chapter, name, value, arm="", claim="", seed=0, unit=""):
    """Record one measured `value` (a number, or the text of a verdict) of `chapter`, for this run.

    The same (claim, name, arm, seed) recorded again replaces the earlier row, so a cell can be run twice.
    """
    value = value if isinstance(value, str) else float(value)
    row = {"chapter": chapter, "claim": claim, "name": name, "arm": str(arm), "seed": seed}
    row |= {"value": value, "unit": unit}
    same = ("claim", "name", "arm", "seed")
    others = [other for other in _measured[chapter] if any(other[key] != row[key] for key in same)]
    _measured[chapter] = [*others, row]


def rows(chapter):
    """The rows recorded for `chapter` in the book: a list of dicts, empty when there are none yet."""
    path = folder() / f"{chapter}.json"
    return json.loads(path.read_text(encoding="utf8")) if path.exists() else []


def facts(chapter, rows_=None):
    """Measured values as `facts[name][arm] = [value per seed]`.

    Without `rows_`: those of this run, or at scale smoke, where a run is too small to say anything, the recorded
    ones; a chapter whose code changed since they were recorded is an error.
    """
    if rows_ is None and os.environ.get("STLIB_SCALE") == "smoke":
        rows_ = rows(chapter)
        path = chapters.find(chapter)
        if not rows_:
            raise LookupError(f"Nothing is recorded for the chapter {chapter!r} yet: make run NB={path}.")
        if path and rows_[0]["code_hash"] != chapters.code_hash(chapters.read(path)):
            raise LookupError(
                f"The recorded results of {chapter!r} belong to other code: make run NB={chapters.relative(path)}."
            )
    table = defaultdict(lambda: defaultdict(list))
    for row in _measured[chapter] if rows_ is None else rows_:
        table[row["name"]][row["arm"]].append(row["value"])
    return table


def finish(chapter, device=""):
    """Write this run's rows to `book/results/<chapter>.json` if `make run` asked for it; say what was done."""
    scale = os.environ.get("STLIB_SCALE", "") or "lesson"
    made = _measured[chapter]
    if not os.environ.get("STLIB_RECORD") or scale == "smoke":
        print(f"{len(made)} rows measured at scale {scale}; the book's numbers are left as they are.")
        return
    path = chapters.find(chapter)
    shared = {
        "scale": scale,
        "device": str(device),
        "code_hash": chapters.code_hash(chapters.read(path)),
        "stlib_hash": chapters.stlib_hash(),
    }
    text = ",\n".join(json.dumps({**row, **shared}, ensure_ascii=False) for row in made)
    chapters.write_text(folder() / f"{chapter}.json", f"[\n{text}\n]\n")
    print(f"{len(made)} rows written to book/results/{chapter}.json.")
