"""The chapter `cut` with one line changed: what its tests are to notice, and what its last exercise shows.

    python tests/cut_mistakes.py [NAME ...]     trains small networks, some minutes, and prints CURVES

The numbers in `stlib/check/cut.py` were made by this.
"""

import sys
from functools import partial

import translators

MISTAKES = {  # of the exercise: what is replaced in the chapter, and by what
    "positions": ("n.F(queries, positions)", 'n.F(queries, draw_positions(queries, plan["patches"]))'),
    "weight": ('= rule["contrast"]', '= 100 * rule["contrast"]'),
    "still": ('run.descend("D", losses["D"])', "pass"),
    "temperature": ('plan["temperature"]', "1.0"),
    "targets": ("torch.cat([b, fake.detach()])", "torch.cat([fake.detach(), b])"),
    "detached": ("return sum(loss(x, y,", "return sum(loss(x.detach(), y,"),
}
PLAN = dict(size=32, width=12, blocks=2, critic=16, layers=1, batch=1, rate=5e-4, projected=64, picked=(0, 1, 2, 3, 4))
PLAN |= dict(patches=64, temperature=0.07, negatives="picture", steps=600, half_life=200)
RULE = dict(contrast=1.0, identity=True, mirror=False)
WEIGHT = {"weight": 100.0}  # in the loss that is written down


chapter_with = partial(translators.chapter_with, "cut")


def curves(chapter, name, a, b, plan=PLAN, weight=1.0):
    """Losses of a training without their weights, means over 50 steps: {"D": [...], ...}."""
    *_, (run, _) = chapter.train(name, a, b, plan, RULE)
    weights = {"D": 1.0, "GAN": 1.0, "NCE": weight / 2, "NCE_identity": weight / 2}
    return {kind: [round(r[kind] / w, 3) for r in run.history] for kind, w in weights.items()}


def main(names):
    from stlib.world import datasets

    sets = datasets.unpaired("portraits", count=400, size=PLAN["size"])
    for name in names or ("healthy", *MISTAKES):
        chapter = chapter_with(*[MISTAKES[name]] if name in MISTAKES else [])
        made = curves(chapter, f"cut_mistake_{name}", *sets, weight=WEIGHT.get(name, 1.0))
        print(f'"{name}":', made, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
