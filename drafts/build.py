"""build.py SRC.txt OUT.ipynb : a notebook from blocks. CHECKOUT=the checkout (default: from OUT).
#%% md [tags...]          markdown until the next block
#%% code [tags...] [exercise=id]
The badge (md badge) and the setup cell (code setup hide-input) are written by this tool where their block is empty.
"""
import hashlib, json, os, re, sys
from pathlib import Path
src, out = Path(sys.argv[1]), Path(sys.argv[2]).resolve()
checkout = os.environ.get("CHECKOUT") or str(out).split("/notebooks/")[0]
sys.path.insert(0, checkout)
from stlib import chapters
chapters.root = lambda: Path(checkout)
here = chapters.address()
cells = []
for number, block in enumerate(re.split(r"^#%% ", src.read_text(), flags=re.M)[1:]):
    head, _, body = block.partition("\n")
    kind, *words = head.split()
    tags = [w for w in words if "=" not in w]
    options = dict(w.split("=", 1) for w in words if "=" in w)
    body = body.strip("\n")
    if "badge" in tags:
        body = chapters.BADGE.format(colab=chapters.COLAB.format(**here, path=out.relative_to(checkout).as_posix()))
    if "setup" in tags:
        body = chapters.SETUP.format(**here).strip()
    meta = ({"tags": tags} if tags else {}) | options
    cell = {"cell_type": "markdown" if kind == "md" else "code", "id": hashlib.sha256(f"{number}{body}".encode()).hexdigest()[:8], "metadata": meta, "source": body}
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    cells.append(cell)
out.parent.mkdir(parents=True, exist_ok=True)
chapters.write(out, {"cells": cells, "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}, "language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5})
print(out, len(cells), "cells")
