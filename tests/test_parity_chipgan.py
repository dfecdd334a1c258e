"""Against numbers computed from the formulas of the official ChipGAN (tests/parity/chipgan; sources in its README).

The functions are those of the chapter `chipgan`. With a trap of other implementations written into the chapter's text,
each must miss the numbers.
"""

from types import SimpleNamespace

import pytest
import torch
from chipgan_mistakes import MISTAKES, chapter_with
from official import BOTH, DOUBLE, Official, near, off
from test_parity_cyclegan import with_weights

from stlib.nets import patchgan
from stlib.training import ImagePool, linear_decay

official = Official("chipgan")
pytestmark = pytest.mark.usefixtures("one_thread")
RULE = {"base": "CycleGAN", "brush": 10.0, "ink": 0.05, "port": False}


@pytest.fixture(scope="module")
def chapter():
    return chapter_with()


def far(check, *given):
    """Whether a check that passes for the chapter fails for what it is given."""
    with pytest.raises((AssertionError, RuntimeError)):
        check(*given)
    return True


# Erosion and blur -----------------------------------------------------------------------------------------------------


def ink_filter(chapter, dtype):
    case, exact = official.numbers("ink_filter", dtype), official.numbers("ink_filter")
    of_blur, of_gradient = (1e-13, 1e-12) if dtype == DOUBLE else (1e-6, 1e-5)
    k = chapter.blur_kernel()
    near(k[:, None] * k, exact["kernel"], 1e-12)
    x = case["x"].requires_grad_(True)
    assert torch.equal(chapter.eroded(x).detach(), case["eroded"])
    blurred = chapter.washed(x)
    near(blurred, exact["blurred"], of_blur, relative=False)
    near(torch.autograd.grad((case["probe"] * blurred).sum(), x)[0], exact["grad_x"], of_gradient)


@BOTH
def test_erosion_and_blur(chapter, dtype):
    ink_filter(chapter, dtype)


FILTERS = {
    "maximum": MISTAKES["maximum"],
    "grey around": ("value=1.0), size", "value=0.0), size"),
    "black around": ("value=1.0), size", "value=-1.0), size"),
    "no root": ("return shares.sqrt() / shares.sqrt().sum()", "return shares / shares.sum()"),
    "window of 3": ("def washed(x, size=5)", "def washed(x, size=3)"),
    "blur first": (
        "functional.conv2d(eroded(x, size).flatten(0, 1)[:, None], k, padding=(1, 0))",
        "eroded(functional.conv2d(x.flatten(0, 1)[:, None], k, padding=(1, 0)), size)",
    ),
    "no zeros around": ("k, padding=(1, 0))", "k)"),
}


@pytest.mark.parametrize("trap", FILTERS)
def test_traps_of_the_filter_are_noticed(trap):
    assert far(ink_filter, chapter_with(FILTERS[trap]), DOUBLE)


# Strokes --------------------------------------------------------------------------------------------------------------


def edge_loss(chapter, dtype):
    case, exact, tolerance = official.case("edge_loss", dtype, 1e-13, 1e-6)
    p, y = case["p"].requires_grad_(True), case["y"].requires_grad_(True)
    loss = chapter.brush_loss(p, y)
    near(loss, exact["loss"], tolerance)
    of_p, of_y = torch.autograd.grad(loss, (p, y), allow_unused=True)
    near(of_p, exact["grad_p"], tolerance)
    assert of_y is None or not of_y.any()
    near((1 - case["y"].detach()).mean(), exact["beta"], tolerance)


@BOTH
def test_brush_loss(chapter, dtype):
    edge_loss(chapter, dtype)


EDGES = {
    "balance the wrong way": ("beta = (1 - y).mean()", "beta = y.mean()"),
    "of each picture": ("beta = (1 - y).mean()", "beta = (1 - y).mean(dim=(1, 2, 3), keepdim=True)"),
    "two sigmoids": ("p, y = p.clamp(", "p, y = p.sigmoid().clamp("),
    "target with a gradient": ("y.detach()\n", "y\n"),
    "no balance": ("beta = (1 - y).mean()", "beta = 0.5"),
    "a large epsilon": ("p.clamp(1e-6, 1 - 1e-6)", "p.clamp(0.05, 0.95)"),
}


@pytest.mark.parametrize("trap", EDGES)
def test_traps_of_the_brush_loss_are_noticed(trap):
    assert far(edge_loss, chapter_with(EDGES[trap]), DOUBLE)


# The ink term, and the sum it belongs to ------------------------------------------------------------------------------


def ink_loss(chapter, dtype):
    case, exact = official.numbers("ink_loss", dtype), official.numbers("ink_loss")
    of_loss, of_gradient = (1e-10, 1e-8) if dtype == DOUBLE else (1e-4, 1e-4)
    n = SimpleNamespace(D_ink=with_weights(patchgan.Discriminator(3, 2), case, "D_ink"))
    fake, real = case["fake"].requires_grad_(True), case["real"]
    wash = chapter.washed(fake)
    art = chapter.art_terms(n, real, fake, wash, RULE)
    near(RULE["ink"] * art["ink"], exact["loss_G_ink"], of_loss)
    (gradient,) = torch.autograd.grad(RULE["ink"] * art["ink"], fake, retain_graph=True)
    near(gradient, exact["grad_fake"], of_gradient)
    found = chapter.critics(n, {"ink": chapter.washed(real)}, {"ink": wash}, {"ink": ImagePool(50)})
    near(found["D_ink"], exact["loss_D_ink"], of_loss)
    *base, brush = case["other_terms"]
    terms = dict(zip(("G_AB", "G_BA", "cycle_A", "cycle_B", "identity_A", "identity_B"), base, strict=True))
    art["brush"] = brush / RULE["brush"]
    near(chapter.summed(terms, art, RULE, 1.0), exact["total_described"], of_loss)
    released = chapter.summed(terms, art, RULE | {"ink": 0.0}, 1.0)
    near(released, exact["total_released"], of_loss)
    assert released.requires_grad is False  # nothing of the ink term is in it
    assert off(chapter.summed(terms, art, RULE, 1.0), exact["total_released"]) > 1e-3


@BOTH
def test_ink_term_and_both_sums(chapter, dtype):
    ink_loss(chapter, dtype)


INK = {
    "left out": MISTAKES["left_out"],
    "as ported": ('if rule["port"]', "if True"),
    "targets exchanged": MISTAKES["targets"],
    "no root": FILTERS["no root"],
    "maximum": MISTAKES["maximum"],
}


@pytest.mark.parametrize("trap", INK)
def test_traps_of_the_ink_term_are_noticed(trap):
    assert far(ink_loss, chapter_with(INK[trap]), DOUBLE)


# Schedules ------------------------------------------------------------------------------------------------------------


def schedule(chapter):
    exact = official.numbers("schedule")
    epochs = exact["epoch"].tolist()
    near(torch.tensor([10 * chapter.fade(e, 200) for e in epochs], dtype=DOUBLE), exact["lambda_edge"], 1e-12)
    # the rate falls one epoch earlier than in CycleGAN, whose epochs count from 0
    near(torch.tensor([2e-4 * linear_decay(e) for e in epochs], dtype=DOUBLE), exact["lr"], 1e-12)


def test_schedules(chapter):
    schedule(chapter)


def test_a_fade_that_begins_elsewhere_is_noticed():
    assert far(schedule, chapter_with(("kept=0.75", "kept=0.5")))
