"""The page `side_by_side`: what it counts as kept, and that it shows what the chapters recorded."""

import pytest
import torch

from stlib import chapters, metrics, oracle, results, world, zoo

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def chapter():
    return chapters.load_chapter("side_by_side")


@pytest.mark.parametrize("style", ["sketch", "cartoon"])
def test_the_truth_keeps_all_and_another_person_next_to_nothing(chapter, style):
    judge, contents = oracle.load("cpu"), metrics.TASKS[f"portraits photo->{style}"].contents(64)
    truth = world.render(contents, style, 64)
    right = chapter.kept(judge, truth, truth, contents, style)
    assert {*right} <= {*oracle.carried("portraits", style)} and len(right) > 5
    assert all(value == 1 for value in right.values())
    wrong = chapter.kept(judge, truth.roll(1, 0), truth, contents, style)
    assert sum(wrong.values()) / len(wrong) < 0.15
    blank = chapter.kept(judge, torch.ones_like(truth), truth, contents, style)
    assert sum(blank.values()) / len(blank) < 0.15


def test_a_row_is_what_its_chapter_recorded(chapter):
    for system, (name, arm, *added) in chapter.ARMS.items():
        facts, row = results.facts(name, results.rows(name)), chapter.recorded(system)
        distances, content = (facts[measure + "".join(added)] for measure in ("perceptual", "content"))
        assert row["perceptual"] == distances[arm][0] and row["content"] == content[arm][0]
        if name == "stargan":  # its road's ends were measured elsewhere
            home = chapter.ENDS[row["style"]]
            distances = results.facts(home, results.rows(home))["perceptual"]
        hand = min(distances[hand][0] for hand in chapter.BY_HAND if hand in distances)
        again = next(values[0] for arm, values in distances.items() if arm in ("drawn again", "painted again"))
        assert row["way"] == pytest.approx(1 - (row["perceptual"] - again) / (hand - again))


def test_every_system_draws_with_the_weights_of_its_chapter(chapter):
    photos = world.render(world.sample("portraits", range(2)), "photo", 64)
    for system, (name, network, *_) in chapter.TRANSLATORS.items():
        assert zoo.record(network)["chapter"] == name
        with torch.no_grad():
            drawn = chapter.translator(system)(photos)
        assert drawn.shape == photos.shape and 0 <= drawn.min() and drawn.max() <= 1


def test_a_system_that_is_not_here_is_refused_with_a_sentence(chapter):
    with pytest.raises(ValueError, match="no translator 'Gatys' here; there are CycleGAN, CUT"):
        chapter.translator("Gatys")
