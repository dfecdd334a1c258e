"""The chapter `stargan` with one line changed: what its tests are to notice."""

from functools import partial

import translators

MISTAKES = {  # what is replaced in the chapter, and by what
    "domain": ("adversarial.g_logistic(n.D(made, target))", "adversarial.g_logistic(n.D(made, y))"),
    "back": ("n.G(made, n.E(x, y))", "n.G(made, s)"),
}
PLAN = dict(size=32, code=16, latent=8, hidden=32, width=8, cap=32, halvings=1, critic=(8, 64), batch=8, rate=1e-3)
PLAN |= dict(
    decay=1e-4, warm=0, style=1.0, diversity=1.0, cycle=1.0, fade=400, r1=1.0, r1_every=4, half_life=400, steps=400
)

chapter_with = partial(translators.chapter_with, "stargan")
