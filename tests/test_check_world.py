"""The checks of `laboratory/world`: right answers, others that are right, wrong ones with their diagnosis, the stub."""

import pytest
import torch

from stlib import chapters, check, oracle, world
from stlib.check import world as checks

pytestmark = pytest.mark.usefixtures("one_thread")

IDS = {
    f"world-{name}": name for name in ("ring", "beats_hatching", "fools_the_oracle", "memorisation")
}  # of the chapter


def covered(edge, pixel):
    return (0.5 - edge / pixel).clamp(0, 1)


RING = {
    "right": [
        lambda d, width, pixel: covered(d.abs() - width / 2, pixel),
        lambda d, width, pixel: covered(d - width / 2, pixel) - covered(d + width / 2, pixel),
        lambda d, width, pixel: covered(torch.maximum(d, -d) - width / 2, pixel).float(),
    ],
    "that is the disc": lambda d, width, pixel: covered(d, pixel),
    "a larger disc": lambda d, width, pixel: covered(d - width / 2, pixel),
    "no width": lambda d, width, pixel: covered(d.abs(), pixel),
    "twice too wide": lambda d, width, pixel: covered(d.abs() - width, pixel),
    "the sign of the width": lambda d, width, pixel: covered(d.abs() + width / 2, pixel),
    "exchanged": lambda d, width, pixel: 1 - covered(d.abs() - width / 2, pixel),
    "staircase": lambda d, width, pixel: (d.abs() < width / 2).double(),
    "leave [0, 1]": lambda d, width, pixel: 0.5 - (d.abs() - width / 2) / pixel,
    "forgot the size of a pixel": lambda d, width, pixel: covered(d.abs() - width / 2, 1),
    "half a pixel wide": lambda d, width, pixel: covered(d.abs() - width / 2, pixel / 2),
    "two pixels wide": lambda d, width, pixel: covered(d.abs() - width / 2, 2 * pixel),
    "changed its input": lambda d, width, pixel: covered(d.abs_() - width / 2, pixel),
    "has the shape": lambda d, width, pixel: covered(d.abs() - width / 2, pixel)[0],
    "not the ring's coverage": lambda d, width, pixel: covered(d.abs() - width / 3, pixel),
}

PAPER, GRAPHITE = (torch.tensor(c).view(1, 3, 1, 1) for c in ((0.965, 0.955, 0.93), (0.16, 0.16, 0.19)))


def pencil(noise=0.01, **options):
    """A drawing in graphite on paper of what XDoG with hatching leaves."""

    def answer(pictures):
        dark = 1.0 * (1 - checks.hatched(pictures, **{"sigma": 0.5, "tau": 0.9, "dark": 0.6} | options)[:, :1] / 0.95)
        grain = noise * torch.randn(dark.shape, generator=torch.Generator().manual_seed(0))
        return (PAPER + (GRAPHITE - PAPER) * dark + grain).clamp(0, 1)

    return answer


FILTER = {
    "right": [pencil()],
    "you returned the photographs": lambda x: x.clone(),
    "the style is not reached": lambda x: checks._luminance(x).expand(-1, 3, -1, -1),
    "but the content suffers": lambda x: pencil()(x).roll(1, 0),
    "all your sketches are alike": lambda x: torch.full_like(x, 0.9),
    "neither content nor style": lambda x: torch.rand(x.shape, generator=torch.Generator().manual_seed(1)),
    "your sketches are negatives": lambda x: 1 - pencil()(x),
    "one channel": lambda x: pencil()(x)[:, :1],
    "is expected": lambda x: pencil()(x)[:1],
    "not in [0, 255]": lambda x: 255 * pencil()(x),
    "end with .clamp(0, 1)": lambda x: 2 * pencil()(x) - 1,
    "NaN": lambda x: pencil()(x) * float("nan"),
    "changed its input": lambda x: pencil()(x.mul_(0.9)),
}


def landscapes(sketches):
    """The surest of many, as the solution has it."""
    drawn = world.render(world.sample("landscapes", range(64)), "sketch")
    sure = oracle.load("cpu").read(drawn, "portraits").style[:, oracle.CLASSES.index("sketch")]
    return drawn[sure.topk(len(sketches)).indices]


def fresh(sketches):
    return world.render(world.sample("portraits", range(8), seed=5), "sketch")


FORGERY = {
    "right": [landscapes],
    "you returned sketches that you were given": lambda s: s.clone(),
    "in another order": lambda s: s.roll(1, 0),
    "is a portrait of this world": fresh,
    "degrees, is a portrait": lambda s: fresh(s).flip(2),
    "are sketches to the oracle": lambda s: torch.rand(s.shape, generator=torch.Generator().manual_seed(1)),
    "still reads the given faces": lambda s: 0.97 * s + 0.005,
    "is expected": lambda s: landscapes(s)[:4],
    "end with .clamp(0, 1)": lambda s: landscapes(s) * 1.5,
    "changed its input": lambda s: landscapes(s.mul_(0)),
}


def nearest(a, b, dim=1):
    return torch.cdist(a, b).min(dim=dim).values


MEMORISATION = {
    "right": [
        lambda s, t, f: nearest(s, t).median() / nearest(f, t).median(),
        lambda s, t, f: float(nearest(t, s, 0).quantile(0.5) / nearest(t, f, 0).quantile(0.5)),
    ],
    "you took means": lambda s, t, f: nearest(s, t).mean() / nearest(f, t).mean(),
    "upside down": lambda s, t, f: nearest(f, t).median() / nearest(s, t).median(),
    "nearest to itself": lambda s, t, f: nearest(s, s).median() / nearest(f, t).median(),
    "minimum over the samples": lambda s, t, f: nearest(s, t, 0).median() / nearest(f, t, 0).median(),
    "you used squared distances: take": lambda s, t, f: (
        nearest(s, t).square().median() / nearest(f, t).square().median()
    ),
    "and means for medians": lambda s, t, f: nearest(s, t).square().mean() / nearest(f, t).square().mean(),
    "you took all distances": lambda s, t, f: torch.cdist(s, t).median() / torch.cdist(f, t).median(),
    "you averaged all distances": lambda s, t, f: torch.cdist(s, t).mean() / torch.cdist(f, t).mean(),
    "you took the farthest": lambda s, t, f: (
        torch.cdist(s, t).amax(dim=1).median() / torch.cdist(f, t).amax(dim=1).median()
    ),
    "the quotient is missing": lambda s, t, f: nearest(s, t).median(),
    "distance of samples to fresh pictures": lambda s, t, f: nearest(s, t).median() / nearest(s, f).median(),
    "you measured samples to fresh": lambda s, t, f: nearest(s, f).median() / nearest(f, t).median(),
    "take the medians": lambda s, t, f: nearest(s, t) / nearest(f, t).median(),
    "changed its input": lambda s, t, f: nearest(s.mul_(2), t).median() / nearest(f, t).median(),
    "print the two medians": lambda s, t, f: 1.0,
}
CHECKS = {"ring": RING, "beats_hatching": FILTER, "fools_the_oracle": FORGERY, "memorisation": MEMORISATION}
WRONG = [(name, diagnosis) for name, answers in CHECKS.items() for diagnosis in answers if diagnosis != "right"]


def ask(name):
    return getattr(check.world, name)


@pytest.mark.parametrize("name", CHECKS)
def test_right_answers_pass(name):
    for answer in CHECKS[name]["right"]:
        verdict = ask(name)(answer)
        assert verdict and verdict.status == "right", verdict


@pytest.mark.parametrize("name, diagnosis", WRONG)
def test_wrong_answers_get_their_own_diagnosis(name, diagnosis):
    verdict = ask(name)(CHECKS[name][diagnosis])
    assert verdict.status == "wrong" and diagnosis in verdict.message, verdict


@pytest.mark.parametrize("name", CHECKS)
def test_an_untouched_stub_is_not_attempted(name):
    def unfinished(*_):
        raise NotImplementedError

    stubs = [..., None, lambda *_: ..., unfinished]
    assert [ask(name)(stub).status for stub in stubs] == ["not attempted"] * len(stubs)


@pytest.mark.parametrize("name", CHECKS)
def test_an_answer_that_crashes_is_told_so(name):
    def broken(*_):
        raise KeyError("oops")

    verdict = ask(name)(broken)
    assert verdict.status == "error" and "KeyError" in verdict.message


def test_the_filter_to_be_beaten_is_that_of_the_chapter():
    photos = world.render(world.sample("portraits", range(4)), "photo")
    chapter = chapters.load_chapter("world")
    assert torch.allclose(
        checks.hatched(photos, **checks.HATCHING), chapter.xdog_hatched(photos, **checks.HATCHING), atol=1e-4
    )


def test_a_fresh_portrait_is_what_the_oracle_reads_in_it_and_a_landscape_is_not():
    known = checks._subjects(checks.MODELS)
    for pictures, is_portrait in ((fresh(known.sketches), True), (landscapes(known.sketches), False)):
        alike = checks._redrawn(pictures, known.read(pictures)[0], known.contents)
        assert bool((alike.max() >= checks.ALIKE).item()) is is_portrait, alike


def test_every_exercise_of_the_chapter_is_checked_here():
    cells = chapters.read(chapters.find("world"))["cells"]
    assert {c["metadata"]["exercise"] for c in cells if "exercise" in c["metadata"]} == set(IDS)
    assert set(IDS.values()) == set(CHECKS)


# The chapter shows what the package computes --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chapter():
    return chapters.load_chapter("world")


def test_its_coverage_is_that_of_a_scene(chapter):
    from stlib.world.scene import Scene, ellipse

    scene = Scene(1, 48)
    distance = ellipse(scene.x, scene.y, 0.6, 0.4)
    torch.testing.assert_close(chapter.coverage(distance, scene.pixel), scene.cover(distance))


def test_its_scores_are_those_of_metrics(chapter):
    from types import SimpleNamespace

    from stlib import metrics

    contents = world.sample("portraits", range(500))
    guess = contents["yaw"] + torch.linspace(-20, 20, 500)
    reading = SimpleNamespace(values={"yaw": guess}, choices={})
    shown = chapter.agreement(guess, contents["yaw"], blind_error=16.0)  # of -32 to 32 degrees, uniform
    torch.testing.assert_close(shown, metrics.agreement(reading, contents, ["yaw"]), atol=1e-3, rtol=0)
    for ends in ((0.5, 0.9, 0.2), (0.1, 0.9, 0.2), (1.0, 0.9, 0.2)):
        assert chapter.content_score(*ends) == pytest.approx(metrics.content_score(*ends))
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(n, 64, generator=generator, dtype=torch.float64) for n in (40, 50))
    assert chapter.kernel_distance(a, b + 0.3) == pytest.approx(metrics.kernel_distance(a, b + 0.3, unbiased=False))


def test_the_known_answers_hold_as_recorded_and_fail_with_swapped_arms(chapter):
    from stlib import results

    rows = results.rows("world")
    assert chapter.known_answers_hold(results.facts("world", rows))
    for a, b in (
        *(("true picture", "source picture"), ("true picture", "other content"), ("source picture", "noise")),
        *(("truth, blurred 2", "truth, blurred 4"), ("plain", "true picture")),
    ):
        other = {a: b, b: a}
        swapped = [{**row, "arm": other.get(row["arm"], row["arm"])} for row in rows]
        assert not chapter.known_answers_hold(results.facts("world", swapped)), (a, b)


def test_the_filter_to_beat_is_the_one_that_the_chapter_tuned():
    import ast

    from stlib import results

    settings = results.facts("world", results.rows("world"))["setting, sketch"]
    assert ast.literal_eval(settings["XDoG with hatching"][0]) == checks.HATCHING
