"""Against numbers computed with the official code of unpaired portrait drawing (sources in the README beside them).

The numbers lie in `tests/parity/portrait` or, where the course is written, in `../shared/parity/portrait`. What they
are compared with are the functions of the chapter `portrait`.
"""

from pathlib import Path

import pytest
import torch
from official import BOTH, DOUBLE, SINGLE, Official, near
from portrait_mistakes import chapter_with
from test_parity_cyclegan import with_weights

from stlib import training
from stlib.losses.adversarial import d_least_squares, g_least_squares
from stlib.nets import patchgan

ROOT = Path(__file__).resolve().parents[1]
PLACES = [ROOT / "tests/parity/portrait", ROOT.parent / "shared/parity/portrait"]
FOLDER = next((folder for folder in PLACES if (folder / "README.md").is_file()), None)
official = Official(FOLDER or PLACES[0])
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(FOLDER is None, reason="the official numbers of portrait drawing are not here"),
]


@pytest.fixture(scope="module")
def chapter():
    return chapter_with()


def test_truncation_to_the_bit(chapter):
    case = official.numbers("truncate", SINGLE)
    for levels, name in ((64, "y"), (256, "y_8bit")):
        assert torch.equal(chapter.truncated(case["x"], levels=levels), case[name])
    assert torch.equal(((case["y"] + 1) * 31.875).round().int(), case["level"].int())
    x = case["x"].clone().requires_grad_()
    assert chapter.truncated(x).requires_grad == bool(case["has_gradient"])
    through = chapter.truncated(x, straight_through=True)  # the same values, and a gradient
    assert torch.equal(through.detach(), case["y"])
    assert torch.equal(torch.autograd.grad(through.sum(), x)[0], torch.ones_like(x))


def parts_of_the_loss(chapter, case):
    """The local discriminator's numbers: masked pictures, logits, both losses, the drawing's gradient."""
    D = with_weights(patchgan.Discriminator(2, 3, inputs=2), case, "D")
    fake = case["fake"].clone().requires_grad_()
    of_fake, of_real = (D(chapter.masked(x, case[f"mask_{m}"])) for x, m in ((fake, "A"), (case["real"], "B")))
    of_g = 0.5 * g_least_squares(of_fake)
    shown = {
        f"masked_type{kind}": chapter.masked(case["fake"][:1], case["mask_A"][:1], 1.0 * (kind > 0)) for kind in (0, 1)
    }
    found = {name: x[:, :1] for name, x in shown.items()} | {"masked_type3": shown["masked_type1"]}
    found |= {
        "D_fake": of_fake,
        "D_real": of_real,
        "loss_G_local": of_g,
        "loss_D_local": d_least_squares(of_real, of_fake),
    }
    return found | {"grad_fake": torch.autograd.grad(of_g, fake)[0]}


@BOTH
def test_the_discriminator_of_a_part(chapter, dtype):
    case, exact, tolerance = official.case("local_discriminator", dtype, 1e-10, 1e-5)
    for name, found in parts_of_the_loss(chapter, case).items():
        tight = 1e-12 if dtype == DOUBLE and name.startswith("masked") else tolerance
        near(found.detach(), exact[name], tight)
    assert not parts_of_the_loss(chapter, case)["grad_fake"][case["mask_A"] == 0].any()


def test_the_chapters_own_step_has_the_local_losses(chapter):
    """As they stand in the chapter's losses, with its three discriminators alike."""
    case, exact = official.numbers("local_discriminator"), official.numbers("local_discriminator")
    n = chapter.networks(dict(width=2, blocks=1, critic=2, local=2, layers=3))
    for part in chapter.PARTS:
        setattr(n, f"D_{part}", with_weights(patchgan.Discriminator(2, 3, inputs=2), case, "D"))
    n.G_AB, n.D_B = (lambda a: case["fake"]), (lambda x: x)
    n.G_BA, n.D_A = (lambda x: x.expand(-1, 3, -1, -1)), (lambda x: x)
    rule = dict(forward="edges", cycle=0.0, truncation="none", levels=64, back=0.0, parts=0.5, identity=0.0)
    masks = case["mask_A"].expand(-1, 3, -1, -1)
    losses, _, _ = chapter.generator_losses(n, torch.zeros(2, 3, 24, 28), case["real"], masks, 0.0, rule, None)
    shown = torch.cat([case["fake"], masks], dim=1)
    real = torch.zeros(2, 3, 24, 28, dtype=DOUBLE), case["real"]
    of_d = chapter.discriminator_losses(n, real, case["mask_B"].expand(-1, 3, -1, -1), real[0], shown, rule)
    for part in chapter.PARTS:
        near(losses[part].detach(), exact["loss_G_local"], 1e-10)
        near(of_d[f"D_{part}"].detach(), exact["loss_D_local"], 1e-10)


@BOTH
def test_the_soft_cross_entropy_of_styles(chapter, dtype):
    case, exact, tolerance = official.case("style_loss", dtype, 1e-13, 1e-6)
    logits = case["logits"].requires_grad_()
    loss = chapter.style_loss(logits, case["style"])
    near(loss.detach(), exact["loss"], tolerance)
    near(torch.autograd.grad(loss, logits)[0], exact["grad"], tolerance)


def test_the_schedule(chapter):
    exact = official.numbers("schedule")
    rule = dict(cycle=5.0, truncation="released")
    for i, epoch in enumerate(exact["epoch"].tolist()):
        p = chapter.progress_of(epoch)
        weights = chapter.weights_at(p, rule)
        found = (
            p,
            weights["relaxed"],
            weights.get("truncated", 0.0),
            1.5e-5 * training.linear_decay(epoch - 1, 100, 200),
        )
        for name, value in zip(("p", "relaxed", "truncated", "lr"), found, strict=True):
            assert value == pytest.approx(exact[name][i].item(), rel=1e-12, abs=0), (epoch, name)


@BOTH
def test_the_generator_with_styles(chapter, dtype):
    case, exact = official.numbers("generator_style", dtype), official.numbers("generator_style")
    G = with_weights(chapter.StyledGenerator(4, 2), case, "G")
    near(G(case["x"], case["style"]).detach(), exact["y"], 1e-10 if dtype == DOUBLE else 1e-5, relative=False)


@BOTH
def test_the_discriminator_with_styles(chapter, dtype):
    case, exact = official.numbers("discriminator_style", dtype), official.numbers("discriminator_style")
    D = with_weights(chapter.StyledDiscriminator(2, 512), case, "D")
    x = case["x_small"].repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)
    with torch.no_grad():
        patches, classes = D(x)
    assert patches.shape == (1, 1, 62, 62)
    tolerance = 1e-10 if dtype == DOUBLE else 1e-4
    near(patches[..., ::4, ::4], exact["patch"], tolerance, relative=False)
    near(patches.mean(), exact["patch_mean"], tolerance, relative=False)
    near(classes, exact["classes"], tolerance, relative=False)


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("scale = 255 * levels / 512", "scale = (levels - 1) / 2", "truncate"),
        ("(((x + 1) * scale).int() / scale - 1)", "((x * scale).int() / scale)", "truncate"),
        ("+ outside * (1 - m)", "- outside * (1 - m)", "masked_type1"),
        ("((x / 2 + 0.5) * m", "(x * m", "masked_type1"),
        ("return torch.cat([((x / 2", "return torch.cat([m * ((x / 2", "masked_type1"),
    ],
)
def test_traps_are_noticed(old, new, told):
    chapter = chapter_with((old, new))
    if told == "truncate":
        case = official.numbers("truncate", SINGLE)
        assert not torch.equal(chapter.truncated(case["x"]), case["y"])
    else:
        case = official.numbers("local_discriminator")
        assert (parts_of_the_loss(chapter, case)[told] - case[told]).abs().max() > 1e-3
