"""The pages that are made from the oracle's record and from scored methods, and what the page on measuring says."""

import importlib.util
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
spec = importlib.util.spec_from_file_location("course", ROOT / "book" / "_ext" / "course.py")
course = importlib.util.module_from_spec(spec)
spec.loader.exec_module(course)


@pytest.fixture
def small(tmp_path):
    """A course of two chapters without results: the laboratory and one method."""
    (tmp_path / "book" / "results").mkdir(parents=True)
    for name, title in (("laboratory/world", "The laboratory"), ("1_part/one", "The first"), ("solutions/one", "No")):
        cells = [dict(cell_type="markdown", metadata={}, source=[f"# {title}\n"])]
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)))
    return tmp_path


def scores(task="portraits photo->sketch", suffix="", arm="ours", seed=0, chapter="one", count=256, **values):
    """Rows as `stlib.metrics.record` writes them."""
    values = dict(content=0.5, style=0.5, style_raw=0.5, kernel_ratio=1.5, seconds=0.1) | values
    values |= dict(pictures=float(count), task=task)
    shared = dict(chapter=chapter, claim="", arm=arm, seed=seed, unit="", scale="lesson", device="a laptop")
    return [shared | dict(name=name + suffix, value=value) for name, value in values.items()]


def put(root, *rows, chapter="one"):
    (root / "book" / "results" / f"{chapter}.json").write_text(json.dumps([row for part in rows for row in part]))


def board(root, kind="translate"):
    """The rows of a kind's tables, each a list of cells."""
    lines = course.leaderboard([kind], root)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in cells if row[1] not in ("---", "Method")]


# The leaderboard ------------------------------------------------------------------------------------------------------


def test_a_leaderboard_without_rows_says_so(small):
    text = "\n".join(course.leaderboard([], small))
    assert text.count("*Nothing has been scored as") == 3 and "|" not in text
    put(small, [dict(chapter="one", claim="C01", name="edges", arm="a", seed=0, value=1.0)])
    put(small, [dict(chapter="one", claim="", name="task force", arm="a", seed=0, value=3.0)], chapter="two")
    assert course.scored(small) == []  # what a chapter records for itself is no score


def test_methods_are_ordered_by_the_harmonic_mean(small):
    put(
        small,
        scores(arm="even", content=0.5, style=0.5),
        scores(arm="one-sided", content=1.0, style=0.3),  # a larger arithmetic and geometric mean
        scores(arm="far", content=0.9, style=0.0, style_raw=0.9, kernel_ratio=40.0),
        scores(arm="nearly", content=0.9, style=0.0, style_raw=0.9, kernel_ratio=3.1),
    )
    rows = board(small)
    assert [re.search(r"\[(.+?)\]", row[1])[1] for row in rows] == ["even", "one-sided", "nearly", "far"]
    assert [row[0] for row in rows] == ["1", "2", "3", "4"] and [row[2] for row in rows] == [
        "0.50",
        "0.46",
        "0.00",
        "0.00",
    ]
    assert "[even](/notebooks/1_part/one.ipynb)" in rows[0][1]  # not that of the solutions
    assert rows[2][6] == "3.1 ✘" and rows[0][6] == "1.5" and rows[0][7] == "–"  # no SSIM was recorded
    assert len(rows[0]) == 10 and "256 pictures each." in course.leaderboard(["translate"], small)
    put(small, scores(), scores(arm="b", count=64))
    assert {row[-1] for row in board(small)} == {"256", "64"}  # a column only where it says something


def test_the_means_that_the_page_names_are_right():
    assert course.harmonic([1.0, 0.1]) == pytest.approx(0.18, abs=0.005)
    assert course.harmonic([0.5, 0.5]) == 0.5 and course.harmonic([0.0, 1.0]) == 0.0
    assert (1.0 * 0.1) ** 0.5 == pytest.approx(0.32, abs=0.005)


def test_seeds_are_one_row_with_their_spread(small):
    put(small, *(scores(seed=seed, content=0.4 + 0.1 * seed, style=0.6) for seed in range(3)))
    (row,) = board(small)
    assert row[3] == "0.50 [0.40, 0.60]" and row[4] == "0.60"
    put(small, scores(seconds=131.4, kernel_ratio=140.2))
    assert board(small)[0][6:] == ["140 ✘", "–", "–", "131"]


def test_what_the_laboratory_records_is_marked(small):
    put(small, scores(content=0.2))
    put(
        small,
        scores(arm="XDoG", chapter="world", content=0.4),
        scores(arm="true picture", chapter="world", content=1.0, style=1.0),
        chapter="world",
    )
    rows = board(small)
    assert [row[0] for row in rows] == ["1", "2", ""]  # a reference has no rank, however good
    assert rows[0][1] == "[XDoG](/notebooks/laboratory/world.ipynb) *(by hand)*"
    assert "*(" not in rows[1][1] and rows[2][1].endswith("*(reference)*")
    put(small, scores(arm="smoothed", content=0.2), scores(arm="painted again", content=1.0, style=1.0))
    marks = {"[smoothed]": "*(by hand)*", "[painted again]": "*(reference)*"}  # also in other chapters
    for name, mark in marks.items():
        assert [row[1] for row in board(small) if name in row[1]][0].endswith(mark)


def test_what_is_scored_again_in_another_chapter_stands_once(small):
    put(small, scores(arm="ours", content=0.2), scores(arm="drawn again", content=1.0, style=1.0))
    again = [scores(arm="ours", chapter="two", content=c) for c in (0.2, 0.3)]
    put(small, scores(arm="XDoG", chapter="world", content=0.4), chapter="world")
    other = scores(arm="XDoG", chapter="two", content=0.4) + scores(
        arm="drawn again", chapter="two", content=1.0, style=1.0
    )
    put(small, again[0], other, chapter="two")
    rows = board(small)
    assert [re.search(r"\[(.+?)\]", row[1])[1] for row in rows] == ["XDoG", "ours", "drawn again"]
    assert rows[0][1].endswith("*(by hand)*") and rows[2][0] == "" and rows[2][1].endswith("*(reference)*")
    put(small, again[1], other, chapter="two")  # another result is another row
    assert len(board(small)) == 4


def test_tasks_sizes_and_kinds_have_tables_of_their_own(small):
    large = scores(suffix=" at 128", arm="ours")
    sized = [row | dict(name="size sized", value=128.0) for row in scores()[:1]] + scores(suffix=" sized")
    edit = scores("portraits beard=1", suffix=" portraits beard=1", edit=1.0, content=1.0, style=0.5)
    generated = scores("portraits in ink", suffix=" in ink", recall=0.25, precision=0.5)
    put(small, scores(), large, sized, scores("portraits photo->ink", suffix=" ink"), edit, generated)
    text = course.leaderboard(["translate"], small)
    heads = [line for line in text if line.startswith("**")]
    assert heads == [
        "**portraits photo → ink**",
        "**portraits photo → sketch**",
        "**portraits photo → sketch**, 128 pixels",
    ]
    names = [row[1].split(")")[1] for row in board(small)]
    assert sorted(names) == ["", "", ", at 128", ", sized"]  # a suffix is shown where the task does not say it
    (row,) = board(small, "edit")
    assert row[2] == f"{3 / (1 + 1 + 2):.2f}" and row[3] == "1.00"
    (row,) = board(small, "generate")
    assert row[2] == f"{2 / (2 + 4):.2f}" and "–" in row[8]


def test_seconds_of_different_machines_are_not_compared(small):
    put(small, scores())
    assert "Seconds a picture, on: a laptop." in course.leaderboard(["translate"], small)
    put(small, [row | dict(device="a GPU") for row in scores(arm="b", chapter="two")], chapter="two")
    assert "on different machines" in "\n".join(course.leaderboard(["translate"], small))


def test_a_task_or_kind_that_does_not_exist_stops_the_build(small):
    put(small, scores("make it nice"))
    with pytest.raises(ValueError, match="one: ours was scored on 'make it nice', which is no task's name"):
        course.leaderboard(["translate"], small)
    put(small)
    with pytest.raises(ValueError, match="no kind 'best'; there are: translate, generate, edit"):
        course.leaderboard(["best"], small)


def test_the_book_agrees_with_the_package():
    """What course.py repeats, because it must not import torch."""
    pytest.importorskip("torch")
    from stlib import metrics, oracle

    assert {name: course.kind_of(name) for name in metrics.TASKS} == {t.name: t.kind for t in metrics.TASKS.values()}
    assert course.READABLE == oracle.READABLE
    assert course.KERNEL_LIMIT == metrics.scores.KERNEL_LIMIT


def test_what_metrics_records_is_what_the_leaderboard_reads(small, monkeypatch):
    pytest.importorskip("torch")
    from collections import defaultdict

    from stlib import metrics, results

    monkeypatch.setattr(results, "_measured", defaultdict(list))
    values = dict(content=0.8, style=0.4, style_raw=0.4, kernel_ratio=1.0, ssim=0.5, perceptual=0.1, seconds=0.01)
    metrics.record("one", metrics.Score("portraits photo->oil", "ours", 256, 64, values), suffix=" portraits oil")
    put(small, results._measured["one"])
    (row,) = board(small)
    assert row[1].endswith(".ipynb)") and row[2:] == ["0.53", "0.80", "0.40", "0.40", "1.0", "0.50", "0.1", "0.01"]


# The oracle's table ---------------------------------------------------------------------------------------------------


def put_oracle(root, **changes):
    portraits = {"photo": {"yaw": 0.991, "hair": 0.8}, "sketch": {"yaw": 0.7996, "hair": -0.031}}
    table = {"portraits": portraits, "style, portraits": {"photo": 0.998, "sketch": 1.0}, "other, portraits": 0.973}
    record = dict(parameters=1_234_567, bytes=2_500_000, settings=dict(pictures=dict(portraits=24_000)))
    large = {key: value for key, value in table.items() if key != "other, portraits"} | {"other, unseen kinds": 0.95}
    record |= dict(training=dict(accuracy={"64": table, "128": large})) | changes
    path = root / "stlib" / "zoo" / "weights" / "oracle.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record))


def test_an_oracle_that_is_not_trained_yet(small):
    assert course.oracle_table(small) == ["*The oracle is not trained yet: its accuracy will stand here.*"]


def test_the_oracle_table_marks_what_is_not_scored(small):
    put_oracle(small)
    lines = course.oracle_table(small)
    assert lines[0] == "The oracle has 1,234,567 parameters (2.5 MB) and was trained on 24,000 portraits."
    assert "| `yaw` | 0.99 | (0.79) |" in lines  # 0.7996 is not scored, and must not look as if it were
    assert "| `hair` | 0.80 | (-0.04) |" in lines
    assert "| *factors that are scored* | 2 of 2 | 0 of 2 |" in lines
    assert "| *style named right* | 99.8% | 100.0% |" in lines
    told = "Pictures that are not of this world are called *other* in 97.3% of cases."
    assert f"**Portraits at 64 pixels.** {told}" in lines
    assert "**Portraits at 128 pixels.** Pictures from elsewhere are called *other* in 95.0%." in lines
    text = "\n".join(lines)
    assert text.count("| Factor |") == 2 and text.count(":::{dropdown} The same at 128 pixels") == 1
    assert text.index("64 pixels") < text.index("dropdown") and text.rstrip().endswith(":::")


def test_an_oracle_without_its_accuracy_stops_the_build(small):
    put_oracle(small, training={})
    with pytest.raises(KeyError, match="accuracy"):
        course.oracle_table(small)


# What the page says ---------------------------------------------------------------------------------------------------


def test_what_the_page_says_about_pixel_scores():
    """The photograph beats a second painting by SSIM in oil, an empty sheet beats it by PSNR in sketches."""
    torch = pytest.importorskip("torch")
    from stlib import metrics, world

    for family in world.FAMILIES:
        contents = world.sample(family, range(10_000_000, 10_000_012))
        photo, oil, sketch = (world.render(contents, style) for style in ("photo", "oil", "sketch"))
        again = world.render(contents, "oil", variation=1)
        assert metrics.ssim(photo, oil).mean() > metrics.ssim(again, oil).mean()
        empty = torch.full_like(sketch, 0.9)
        assert metrics.psnr(empty, sketch).mean() > metrics.psnr(photo, sketch).mean()


def test_what_the_page_says_about_small_sets():
    """Of Gaussians in 64 dimensions: Frechet distances of two sets of one, and the shift that the gate lets pass."""
    torch = pytest.importorskip("torch")
    from stlib import metrics

    page = (ROOT / "book" / "measuring.md").read_text(encoding="utf8")
    generator = torch.Generator().manual_seed(0)

    def draw(number):
        return torch.randn(number, 64, generator=generator)

    told = re.search(r"have (\d+) with 64 pictures, (\d+) with 256, (\d+) with 512", page)
    for number, distance in zip((64, 256, 512), map(int, told.groups()), strict=True):
        assert metrics.frechet_distance(draw(number), draw(number)) == pytest.approx(distance, abs=1.5)
    told = re.search(r"by (0\.\d+) of their deviation, with 64 pictures by (0\.\d+)", page)
    for number, shift in zip((256, 64), map(float, told.groups()), strict=True):
        ratios = [metrics.kernel_ratio(draw(number) + shift, draw(number), draw(number)) for _ in range(6)]
        assert sum(ratios) / 6 == pytest.approx(3, abs=0.4)


def test_the_page_names_the_reserved_contents_and_the_limits():
    pytest.importorskip("torch")
    from stlib import metrics
    from stlib.metrics import evaluation, scores

    page = (ROOT / "book" / "measuring.md").read_text(encoding="utf8")
    for block in range(3):
        assert f"| {evaluation.FIRST + block * evaluation.STEP:,} |" in page
    assert f"\\rho \\le {scores.KERNEL_LIMIT:g}" in page and f"closer than {scores.LEAST_CONTRAST:g}" in page
    assert f"at most {scores.LARGEST_PSNR:g} |" in page
    assert re.search(r"given for 256 pictures", page) and metrics.evaluate.__defaults__[1] == 256
