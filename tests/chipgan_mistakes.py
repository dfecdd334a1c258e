"""The chapter `chipgan` with one line changed: what its tests are to notice, and what its last exercise shows.

    python tests/chipgan_mistakes.py [NAME ...]     trains small networks, some minutes, and prints CURVES

The numbers in `stlib/check/chipgan.py` were made by this.
"""

import sys
from functools import partial

import translators

MISTAKES = {  # of the exercise: what is replaced in the chapter, and by what
    "left_out": ('"ink": rule["ink"]}', '"ink": 0.0}'),
    "targets": (
        "D(torch.cat([real[name], shown])).chunk(2)",
        'D(torch.cat([shown, real[name]] if name == "ink" else [real[name], shown])).chunk(2)',
    ),
    "heavy": ('{"brush": share * rule["brush"]', '{"brush": 100 * share * rule["brush"]'),
    "stranger": ("edges((a + 1) / 2)", "edges((a.flip(2) + 1) / 2)"),
    "still": (
        'if (name[0] == "D") == critics for p in',
        'if (name[0] == "D") == critics and name != "D_ink" for p in',
    ),
    "maximum": (
        "return -functional.max_pool2d(-functional.pad(x, (r, r, r, r), value=1.0), size, stride=1)",
        "return functional.max_pool2d(functional.pad(x, (r, r, r, r), value=-1.0), size, stride=1)",
    ),
}
PLAN = dict(size=32, width=8, blocks=2, critic=16, layers=1, batch=1, rate=5e-4, pool=50, cycle=10.0, identity=5.0)
PLAN |= dict(erosion=5, steps=600, decay=0, half_life=200, projected=64, patches=64, temperature=0.07)
RULE = dict(base="CycleGAN", brush=10.0, ink=1.0, port=False)
SHOWN = ("G_AB", "D_B", "ink", "D_ink", "brush")


chapter_with = partial(translators.chapter_with, "chipgan")


def curves(chapter, name, a, b, plan=PLAN, rule=RULE):
    """Losses of a training, the art's without their weights, means over 50 steps: {"G_AB": [...], ...}."""
    *_, (run, _) = chapter.train(name, a, b, plan, rule)
    return {kind: [round(row[kind], 3) for row in run.history] for kind in SHOWN}


def main(names):
    from stlib.world import datasets

    sets = datasets.unpaired("portraits", "photo", "ink", count=400, size=PLAN["size"])
    for name in names or ("healthy", *MISTAKES):
        chapter = chapter_with(*[MISTAKES[name]] if name in MISTAKES else [])
        print(f'"{name}":', curves(chapter, f"chipgan_mistake_{name}", *sets), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
