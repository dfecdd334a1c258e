"""The chapter `stargan` with one line changed: what its tests are to notice, and what its last exercise shows.

    python tests/stargan_mistakes.py [NAME ...]     trains small networks, some minutes, and prints CURVES

The numbers in `stlib/check/stargan.py` were made by this.
"""

import sys
import types

from stlib import chapters

MISTAKES = {  # of the exercise: what is replaced in the chapter, and by what
    "sign": ('"diversity": -diversity_weight', '"diversity": diversity_weight'),
    "still": ('run.descend("D", d_loss(', '(lambda name, loss: loss.detach())("D", d_loss('),
    "domain": ("adversarial.g_logistic(n.D(made, target))", "adversarial.g_logistic(n.D(made, y))"),
    "style": ('"style": distance(n.E(made, target), s)', '"style": distance(n.E(made, target), s).detach()'),
    "back": ("n.G(made, n.E(x, y))", "n.G(made, s)"),
    "fade": ('max(0.0, 1 - step / plan["fade"])', "10.0"),
}
PLAN = dict(size=32, code=16, latent=8, hidden=32, width=8, cap=32, critic=(8, 64), batch=8, rate=1e-3, decay=1e-4)
PLAN |= dict(style=1.0, diversity=1.0, cycle=1.0, fade=400, r1=1.0, r1_every=4, half_life=400, steps=400)
STYLES = ("photo", "sketch", "cartoon")
TERMS = ("D", "adversary", "style", "diversity", "cycle")


def chapter_with(*changes):
    """The method cells of the chapter `stargan` as a module, each pair (old, new) of texts replaced in them."""
    path = chapters.find("stargan")
    cells = [cell["source"] for cell in chapters.read(path)["cells"] if "method" in chapters.tags(cell)]
    text = "\n\n".join(cells)
    for old, new in changes:
        assert old in text, f"the chapter does not say {old!r} any more"
        text = text.replace(old, new)
    module = types.ModuleType("chapter_stargan")
    exec(compile(text, path.name, "exec"), module.__dict__)
    return module


def curves(chapter, name, domains, plan=PLAN):
    """The terms of a training without their weights, means of both passes and of 50 steps: {"D": [...], ...}."""
    *_, (run, _) = chapter.train(name, domains, plan)
    return {
        term: [round((row[f"{term}, noise"] + row[f"{term}, reference"]) / 2, 3) for row in run.history]
        for term in TERMS
    }


def main(names):
    import torch

    torch.set_num_threads(1)
    for name in names or ("healthy", *MISTAKES):
        chapter = chapter_with(*[MISTAKES[name]] if name in MISTAKES else [])
        domains = chapter.style_sets(STYLES, 400, PLAN["size"])
        print(f'"{name}":', curves(chapter, f"stargan_mistake_{name}", domains), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
