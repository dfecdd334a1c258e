"""The chapter `cyclegan` with one line changed: what its tests are to notice, and what its last exercise shows.

    python tests/cyclegan_mistakes.py      trains five small networks, a minute or two, and prints CURVES

The numbers in `stlib/check/cyclegan.py` were made by this.
"""

from functools import partial

import translators

MISTAKES = {  # of the exercise: what is replaced in the chapter, and by what
    "targets": ("d_least_squares(of_real, of_fake)", "d_least_squares(of_fake, of_real)"),
    "own_domain": (
        'distance(same_b, b),\n        "identity_A": weights["identity"] * distance(same_a, a)',
        'distance(fake_b, a),\n        "identity_A": weights["identity"] * distance(fake_a, b)',
    ),
    "still": ('run.descend("D", sum(of_d.values()))', "pass"),
    "no_cycle": ("* distance(back_a, a)", "* distance(back_a, a).detach()"),
}
ALSO = {"no_cycle": ("* distance(back_b, b)", "* distance(back_b, b).detach()")}  # in both ways
PLAN = dict(size=32, width=8, blocks=2, critic=16, layers=1, batch=1, rate=5e-4, pool=50, steps=600, half_life=200)
WEIGHTS = dict(cycle=10.0, identity=5.0)


chapter_with = partial(translators.chapter_with, "cyclegan")


def curves(chapter, name, a, b, plan=PLAN):
    """Losses of a training without their weights, means over 50 steps: {"generators": [...], ...}."""
    *_, (run, _) = chapter.train(name, a, b, plan, WEIGHTS)
    kinds = {"generators": ("G_AB", "G_BA", 1), "discriminators": ("D_A", "D_B", 1)}
    kinds |= {kind: (f"{kind}_A", f"{kind}_B", WEIGHTS[kind]) for kind in WEIGHTS}
    return {kind: [round((r[x] + r[y]) / 2 / w, 3) for r in run.history] for kind, (x, y, w) in kinds.items()}


def main():
    from stlib.world import datasets

    sets = datasets.unpaired("portraits", count=400, size=PLAN["size"])
    for name in ("healthy", *MISTAKES):
        changes = [each[name] for each in (MISTAKES, ALSO) if name in each]
        print(f'"{name}":', curves(chapter_with(*changes), f"cyclegan_mistake_{name}", *sets), flush=True)


if __name__ == "__main__":
    main()
