"""The chapter `portrait` with one line changed: what its tests are to notice, and what its last exercise shows.

    python tests/portrait_mistakes.py [NAME ...]     trains small networks, some minutes, and prints CURVES

The numbers in `stlib/check/portrait.py` were made by this.
"""

import sys
from functools import partial

import translators

JUDGED = "masked(drawings, masks[:, i : i + 1])\n"
MISTAKES = {  # of the exercise: what is replaced in the chapter, and by what
    "targets": ("told_apart(n.D_B, real[1], drawings)", "told_apart(n.D_B, drawings, real[1])"),
    "black": (JUDGED, JUDGED.replace("])\n", "], outside=0.0)\n")),
    "forgetful": ("distance(n.G_AB(fake_a), b)", "distance(n.G_AB(fake_a), b).detach()"),
    "too_early": ("fake_b, weights = n.G_AB(a), ", "fake_b, weights = truncated(n.G_AB(a)), "),
    "still": ('idle = () if rule["parts"] else [', "idle = ["),
    "strangers": ("shown_b[:, :1], shown_b[:, 1:]", "shown_b[:, :1], masks_a"),
}
ALSO = {  # what else has to be changed for it
    "black": [("masked(fake_b, masks[:, i : i + 1])", "masked(fake_b, masks[:, i : i + 1], outside=0.0)")],
    "strangers": [
        ("shown_a, shown_b, rule):", "shown_a, shown_b, rule, masks_a):"),
        ("shown_a, shown_b, rule)\n", "shown_a, shown_b, rule, masks[0])\n"),
    ],
}
PLAN = dict(size=32, width=10, blocks=2, critic=16, local=12, layers=1, batch=1, rate=5e-4, pool=50, steps=600)
PLAN |= dict(half_life=200, ends=(0.5, 0.5))
RULE = dict(forward="edges", cycle=5.0, truncation="released", levels=64, back=5.0, parts=0.5, identity=0.0)


chapter_with = partial(translators.chapter_with, "portrait")


def curves(chapter, name, a, b, plan=PLAN):
    """Losses of a training without their weights, means over 50 steps: {"G_AB": [...], ...}."""
    *_, (run, _) = chapter.train(name, a, b, plan, RULE)
    weights, made = chapter.weights_at(plan["ends"][0], RULE), {}
    kinds = {"G_AB": (["G_AB"], 1), "D_B": (["D_B"], 1), "relaxed": (["relaxed"], weights["relaxed"])}
    kinds |= {"strict": (["strict"], RULE["back"]), "parts": (chapter.PARTS, RULE["parts"])}
    kinds |= {"D_parts": ([f"D_{part}" for part in chapter.PARTS], 1)}
    for kind, (names, weight) in kinds.items():
        made[kind] = [round(sum(row[name] for name in names) / len(names) / weight, 3) for row in run.history]
    return made


def main(names):
    import torch

    from stlib.world import datasets

    torch.set_num_threads(1)
    sets = datasets.unpaired("portraits", "photo", "line", count=400, size=PLAN["size"])
    for name in names or ("healthy", *MISTAKES):
        changes = [MISTAKES[name], *ALSO.get(name, [])] if name in MISTAKES else []
        made = curves(chapter_with(*changes), f"portrait_mistake_{name}", *sets)
        print(f'"{name}":', made, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
