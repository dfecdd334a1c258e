"""The chapter `world`: it shows what the package computes, and its claims can fail."""

from types import SimpleNamespace

import pytest
import torch

from stlib import chapters, images, metrics, results, world
from stlib.world.scene import Scene, ellipse

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def chapter():
    return chapters.load_chapter("world")


def test_its_coverage_is_that_of_a_scene(chapter):
    scene = Scene(1, 48)
    distance = ellipse(scene.x, scene.y, 0.6, 0.4)
    torch.testing.assert_close(chapter.coverage(distance, scene.pixel), scene.cover(distance))


def test_its_scores_are_those_of_metrics(chapter):

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


def test_its_best_filter_is_the_package_s(chapter):
    pictures = world.render(world.sample("portraits", range(4)), "photo", 64)
    torch.testing.assert_close(images.xdog(pictures), chapter.xdog(pictures, sigma=0.5, tau=0.98, epsilon=0.0))


def test_the_known_answers_hold_as_recorded_and_fail_with_swapped_arms(chapter):
    rows = results.rows("world")
    assert chapter.known_answers_hold(results.facts("world", rows))
    for a, b in (
        *(("true picture", "source picture"), ("true picture", "other content"), ("source picture", "noise")),
        *(("truth, blurred 2", "truth, blurred 4"), ("plain", "true picture")),
    ):
        other = {a: b, b: a}
        swapped = [{**row, "arm": other.get(row["arm"], row["arm"])} for row in rows]
        assert not chapter.known_answers_hold(results.facts("world", swapped)), (a, b)
