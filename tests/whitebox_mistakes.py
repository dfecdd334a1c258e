"""The chapter `whitebox` with one line changed: what its tests are to notice, and what its last exercise shows.

    python tests/whitebox_mistakes.py [NAME ...]     trains small networks, some minutes, and prints RUNS

The numbers in `stlib/check/whitebox.py` were made by this.
"""

import sys
from functools import partial

import translators

MISTAKES = {  # what is replaced in the chapter, and by what
    "weights": ("{name: (here - goal)", "{name: 100 * (here - goal)"),
    "variation": ('"variation": variation(y)', '"variation": y[0].numel() * variation(y)'),
    "still": ('run.descend("D", sum(of_d.values()))', "pass"),
    "targets": ("real, made = getattr", "made, real = getattr"),
    "detached": ('getattr(n, f"D_{name}")(view(y))', 'getattr(n, f"D_{name}")(view(y.detach()))'),
    "content": ('goals = {"content": a,', 'goals = {"content": a.roll(1, 0),'),
}
PLAN = dict(size=32, width=8, blocks=2, critic=32, halvings=2, filter=0, smooth=1, segments=40, colours=1.0)
PLAN |= dict(eyes="worldnet", layer="conv6", batch=2, rate=2e-4, critic_rate=1e-3, warm=200, steps=400, half_life=100)
RULE = dict(adversary=0.0, surface=0.1, texture=1.0, structure=0.1, content=0.1, variation=0.05, pixels=0.0)
SHOWN = {"D texture": 1.0, "texture": 1.0, "structure": 0.1, "content": 0.1}  # losses and their weights


chapter_with = partial(translators.chapter_with, "whitebox")


def curves(chapter, name, a, b, start, weight=1.0):
    """Losses of a training without their weights, means over 40 steps: {"D texture": [...], ...}; and its generator."""
    sums = {key: [] for key in SHOWN}
    step = chapter.step

    def watched(*given):
        losses = step(*given)
        for key, share in SHOWN.items():
            share = share * (weight if key in ("structure", "content") else 1.0)
            sums[key].append(float(losses[key].detach()) / share)
        return losses

    chapter.step = watched
    *_, (run, _) = chapter.train(name, a, b, PLAN, RULE, start=start)
    rows = {key: [round(sum(v[i : i + 40]) / 40, 3) for i in range(0, len(v), 40)] for key, v in sums.items()}
    return rows, run.averages["G"].module


def main(names):
    import torch

    from stlib import world
    from stlib.world import datasets

    torch.set_num_threads(1)
    sets = datasets.unpaired("portraits", "photo", "cartoon", count=400, size=PLAN["size"])
    healthy = chapter_with()
    start = healthy.returned("whitebox_mistake_start", *sets, PLAN, resume=True)
    contents = world.sample("portraits", range(*datasets.RANGES["validation"])[:64])
    parts = healthy.anatomy(contents, PLAN["size"])
    photos, truth = (world.render(contents, style, PLAN["size"]) for style in ("photo", "cartoon"))
    best = healthy.measured(truth, parts)

    def values(x):
        return {name: round(value / best[name], 2) for name, value in healthy.measured(x, parts).items()}

    print("PHOTOGRAPHS =", values(photos), flush=True)
    for name in names or ("healthy", *MISTAKES):
        chapter = chapter_with(*[MISTAKES[name]] if name in MISTAKES else [])
        rows, G = curves(chapter, f"whitebox_mistake_{name}", *sets, start, 100.0 if name == "weights" else 1.0)
        print(f'"{name}":', (rows, values(chapter.cartoonize(G, photos))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
