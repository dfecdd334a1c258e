"""The chapter `sapgan` with one line changed: what its tests are to notice, and what its last exercise shows.

    python tests/sapgan_mistakes.py [NAME ...]     trains small PaintGANs, some minutes, and prints CURVES

The numbers in `stlib/check/sapgan.py` were made by this.
"""

import sys
from functools import partial

import translators

MISTAKES = {  # of the exercise: what is replaced in the chapter, and by what; "memory" takes fewer paintings instead
    "polarity": ("x = (2 * e - 1)", "x = (1 - 2 * e)"),
    "strangers": ('paint_step(run, n, x["edges"],', 'paint_step(run, n, x["edges"].roll(1, 0),'),
    "still": ('run.descend("D", adversarial.d_logistic(of_real, of_made) / 2)',
              "adversarial.d_logistic(of_real, of_made).detach() / 2"),
    "targets": ("adversarial.d_logistic(of_real, of_made)", "adversarial.d_logistic(of_made, of_real)"),
    "detached": ("(made - y).abs().mean()", "(made - y).abs().mean().detach()"),
    "memory": ("", ""),
}  # fmt: skip
PLAN = dict(
    size=32, width=8, critic=16, layers=2, batch=8, rate=1e-3, critic_rate=1e-3, l1=100.0, gan=1.0, pair=True, steps=600
)


chapter_with = partial(translators.chapter_with, "sapgan")


def curves(chapter, name, paintings, new, plan=PLAN):
    """D, GAN and L1 without its weight, means over 50 steps, and L1 on the edges of `new` paintings after each 50."""
    truth, found = new.pictures.float() / 255, []
    for run, n in chapter.train_paint(name, paintings, plan):
        if run.step and run.step % 50 == 0 and len(found) < run.step // 50:
            # 2 |a - b| in [0, 1] is |a - b| in [-1, 1]
            found.append(2 * (chapter.paint(n.G, chapter.sketched(truth)) - truth).abs().mean().item())
    weights = {"D": 1.0, "GAN": 1.0, "L1": plan["l1"]}
    made = {kind: [row[kind] / weight for row in run.history] for kind, weight in weights.items()}
    return {kind: tuple(round(v, 3) for v in values) for kind, values in (made | {"L1, new": found}).items()}


def main(names):
    from stlib.world import datasets

    paintings = datasets.fixed("landscapes", "ink", 400, PLAN["size"], first=datasets.RANGES["train_b"][0])
    new = datasets.fixed("landscapes", "ink", 64, PLAN["size"], first=datasets.RANGES["validation"][0])
    for name in names or ("healthy", *MISTAKES):
        chapter = chapter_with(*[MISTAKES[name]] if name in MISTAKES else [])
        few = paintings[:8] if name == "memory" else paintings
        print(f'"{name}":', curves(chapter, f"sapgan_mistake_{name}", few, new), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
