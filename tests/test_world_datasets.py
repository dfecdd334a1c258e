"""Sets of pictures: one order everywhere, contents that never meet, caches that are whole, a reader's own folder."""

import ast
import itertools
import os
import re
import warnings
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from stlib import chapters, world, zoo
from stlib.metrics import evaluation
from stlib.world import datasets
from stlib.world.datasets import RANGES, SEEDS, DatasetError, PictureSet


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, whose files are listed by calling it."""
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "cache"))
    return lambda: sorted((tmp_path / "cache" / "world").glob("*"))


@pytest.fixture
def drawn(monkeypatch):
    """A renderer that paints each content in one colour of its own; the list of what it was asked for."""
    calls = []

    def render(contents, style, size=64, variation=0):
        calls.append((contents.family, style, size, contents.numbers.tolist()))
        colour = contents.values[:, :3].clamp(0, 1) * (0.5 if style == "sketch" else 1)
        return colour[..., None, None].expand(-1, 3, size, size).contiguous()

    monkeypatch.setattr(world, "render", render)
    return calls


def toy(count):
    """A set whose picture i is i all over."""
    return PictureSet(torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2).contiguous())


def taken(set_, batch, steps, **options):
    """The numbers of the pictures in the first batches of a toy set."""
    batches = itertools.islice(set_.batches(batch, **options), steps)
    return [(pictures[:, 0, 0, 0] * 255).round().int().tolist() for pictures in batches]


# One interface --------------------------------------------------------------------------------------------------------


def test_a_set_has_a_length_pictures_and_parts():
    contents = world.sample("portraits", range(5))
    pictures = PictureSet(torch.full((5, 3, 2, 4), 51, dtype=torch.uint8), contents, "five")
    assert len(pictures) == 5 and pictures.name == "five"
    assert pictures[4].shape == (3, 2, 4) and pictures[4].dtype == torch.float32
    assert pictures[-1].unique().tolist() == pytest.approx([0.2])
    part = pictures[1:3]
    assert len(part) == 2 and part.contents.numbers.tolist() == [1, 2] and part.name == "five"
    assert len(list(pictures)) == 5, "it can be gone through"


@pytest.mark.parametrize(
    "pictures",
    [
        torch.zeros(2, 3, 4, 4),
        torch.zeros(3, 4, 4).byte(),
        torch.zeros(2, 1, 4, 4).byte(),
        torch.zeros(0, 3, 4, 4).byte(),
    ],
)
def test_what_is_no_set_is_a_sentence(pictures):
    with pytest.raises(DatasetError, match=r"needs pictures uint8 \(N, 3, H, W\), at least one; got torch"):
        PictureSet(pictures)
    with pytest.raises(DatasetError, match="2 pictures need as many contents; got 3"):
        PictureSet(torch.zeros(2, 3, 4, 4).byte(), world.sample("portraits", range(3)))


@pytest.mark.parametrize("count, batch", [(7, 3), (3, 7), (1, 4), (6, 2), (5, 5)])
def test_each_pass_has_every_picture_once_in_a_new_order(count, batch):
    flat = sum(taken(toy(count), batch, 6 * count), [])
    passes = [flat[i : i + count] for i in range(0, 6 * count * batch - count, count)]
    assert all(sorted(each) == list(range(count)) for each in passes)
    assert count < 3 or len(set(map(tuple, passes))) > 1
    assert all(len(each) == batch for each in taken(toy(count), batch, 5))


def test_the_order_is_the_same_everywhere_and_the_seed_s():
    assert taken(toy(8), 5, 2) == [[3, 7, 6, 0, 2], [5, 4, 1, 7, 2]], "written down here once"
    assert taken(toy(8), 5, 4) == taken(toy(8), 5, 4)
    torch.manual_seed(1)
    assert taken(toy(8), 5, 4, seed=3) == taken(toy(8), 5, 4, seed=3) != taken(toy(8), 5, 4)


@pytest.mark.parametrize("skip", [0, 1, 2, 5, 11])
def test_a_training_goes_on_where_it_stopped(skip):
    assert taken(toy(7), 3, 4, skip=skip) == taken(toy(7), 3, 4 + skip)[skip:]


def test_indices_say_what_a_batch_shows():
    pictures = toy(9)
    batches = pictures.batches(4, 2)
    for index in itertools.islice(pictures.indices(4, 2), 5):
        batch = next(batches)
        assert index.shape == (4,) and batch.equal(pictures[index])


@pytest.mark.parametrize("options", [{"batch": 0}, {"batch": 2, "skip": -1}])
def test_impossible_batches_are_a_sentence_at_once(options):
    with pytest.raises(DatasetError, match="at least 1 picture and `skip` is not negative"):
        toy(3).batches(**options)


# Of the world ---------------------------------------------------------------------------------------------------------


def test_the_ranges_do_not_meet_and_agree_with_the_judges():
    spans = sorted(RANGES.values())
    assert all(low < high for low, high in spans)
    assert all(one[1] <= two[0] for one, two in itertools.pairwise(spans))
    low, high = RANGES["evaluation"]
    assert low <= evaluation.FIRST and evaluation.FIRST + 4 * evaluation.STEP <= high
    assert RANGES["few_shot"][1] - RANGES["few_shot"][0] == max(datasets.SHOTS)
    source = Path(zoo.__file__).with_name("judges.py").read_text("utf8")  # importing it takes seconds
    assert set(SEEDS) == set(ast.literal_eval(re.search(r"^DATA = ({.*})", source, re.M)[1]).values())


def test_a_stream_renders_ever_new_contents(drawn):
    batches = list(itertools.islice(datasets.stream("portraits", "ink", 32, 3, seed=4, first=6), 3))
    numbers = [contents.numbers.tolist() for _, contents in batches]
    assert numbers == [[6, 7, 8], [9, 10, 11], [12, 13, 14]]
    assert all(pictures.shape == (3, 3, 32, 32) for pictures, _ in batches)
    wanted = world.sample("portraits", range(9, 12), seed=4)
    assert batches[1][1].values.equal(wanted.values) and batches[1][0].equal(world.render(wanted, "ink", 32))


def test_a_stream_stays_in_its_range(drawn):
    last = RANGES["train_b"][1] - 2
    contents = next(itertools.islice(datasets.stream("portraits", "ink", 32, 2, first=last), 1, 2))[1]
    assert contents.numbers.tolist() == [RANGES["train_b"][0], RANGES["train_b"][0] + 1]


def test_what_is_evaluated_is_never_trained_on(drawn, cache):
    first = RANGES["evaluation"][0]
    with pytest.raises(DatasetError, match="kept for the evaluation and are not streamed"):
        datasets.stream("portraits", "ink", first=first + 5)
    held = datasets.fixed("portraits", "ink", 4, 32, first=first)
    assert held[0].shape == (3, 32, 32), "it can be looked at"
    for asked in (held, held[2:]):
        with pytest.raises(DatasetError, match="portraits in ink are kept for the evaluation: no batches to train on"):
            asked.batches(2)
    with pytest.raises(
        DatasetError, match="4 contents from 2999998 on do not lie in one of the ranges: train_a 0 to 999999, "
    ):
        datasets.fixed("portraits", "ink", 4, first=RANGES["few_shot"][0] - 2)
    for seed in SEEDS:
        with pytest.raises(DatasetError, match=f"The seed {seed} is kept for .*; take another"):
            datasets.unpaired("portraits", count=2, seed=seed)


@pytest.mark.parametrize("options", [{"count": 0}, {"count": 2, "first": -1}, {"count": 2, "first": 25_000_000}])
def test_impossible_numbers_are_a_sentence(options, cache):
    with pytest.raises(DatasetError, match="do not lie in one of the ranges"):
        datasets.fixed("portraits", "ink", **options)
    with pytest.raises(DatasetError, match="do not lie in one of the ranges"):
        datasets.stream("portraits", "ink", batch=0)
    assert cache() == []


@pytest.mark.parametrize(
    "family, style, size", [("horses", "ink", 32), ("portraits", "../x", 32), ("portraits", "ink", -4)]
)
def test_what_the_world_does_not_have_is_its_own_sentence(family, style, size, cache):
    with pytest.raises(world.WorldError):
        datasets.fixed(family, style, 2, size)
    assert cache() == []


def test_unpaired_sets_have_no_content_in_common(drawn, cache):
    photos, sketches = datasets.unpaired("portraits", count=70, size=32)
    assert len(photos) == len(sketches) == 70
    assert [call[1] for call in drawn] == ["photo", "photo", "sketch", "sketch"]
    assert not set(photos.contents.numbers.tolist()) & set(sketches.contents.numbers.tolist())
    rows = {tuple(row) for row in photos.contents.values.tolist()}
    assert not rows & {tuple(row) for row in sketches.contents.values.tolist()}
    assert (photos.name, sketches.name) == ("portraits in photo", "portraits in sketch")


def test_few_shots_are_nested_and_in_no_other_set(drawn, cache):
    one, five, ten, fifty = (datasets.few_shot("landscapes", "oil", shots, 32) for shots in (1, 5, 10, 50))
    assert [len(each) for each in (one, five, ten, fifty)] == [1, 5, 10, 50]
    for small, large in ((one, five), (five, ten), (ten, fifty)):
        assert large.pictures[: len(small)].equal(small.pictures)
        assert large.contents.values[: len(small)].equal(small.contents.values)
    numbers = set(fifty.contents.numbers.tolist())
    for each in datasets.unpaired("landscapes", count=60, size=32):
        assert not numbers & set(each.contents.numbers.tolist())
    for shots in (0, 2, 51):
        with pytest.raises(DatasetError, match=r"one of \(1, 5, 10, 50\); got"):
            datasets.few_shot("landscapes", "oil", shots)


# Its cache ------------------------------------------------------------------------------------------------------------


def test_a_fixed_set_is_what_the_world_renders(cache):
    pictures = datasets.fixed("portraits", "line", 2, 32, seed=1, first=5)
    truth = world.render(world.sample("portraits", [5, 6], seed=1), "line", 32)
    assert (pictures[0] - truth[0]).abs().max() <= 0.5 / 255 + 1e-6 and len(cache()) == 1


def test_a_fixed_set_is_rendered_once(drawn, cache):
    first = datasets.fixed("portraits", "photo", 70, 32)
    assert [len(call[3]) for call in drawn] == [64, 6]
    again = datasets.fixed("portraits", "photo", 70, 32)
    assert (
        len(drawn) == 2 and again.pictures.equal(first.pictures) and again.contents.values.equal(first.contents.values)
    )
    assert [path.suffix for path in cache()] == [".safetensors"], "no .part file is left"


def test_every_argument_and_the_renderer_s_source_have_a_file_of_their_own(drawn, cache, monkeypatch):
    base = {"family": "portraits", "style": "photo", "count": 2, "size": 32, "seed": 0, "first": 0}
    others = {"family": "landscapes", "style": "ink", "count": 3, "size": 33, "seed": 1, "first": 1}
    for change in ({}, *({name: value} for name, value in others.items())):
        datasets.fixed(**(base | change))
    assert len(drawn) == len(cache()) == 7
    monkeypatch.setattr(chapters, "drawing_hash", lambda: "another")
    datasets.fixed(**base)
    assert len(drawn) == len(cache()) == 8


def test_the_hash_follows_the_renderer_and_not_the_captions(tmp_path, monkeypatch):
    (tmp_path / "world").mkdir()
    for name in ("__init__.py", "styles.py", "captions.py", "datasets.py"):
        (tmp_path / "world" / name).write_text("a = 1\n")
    monkeypatch.setattr(chapters, "__file__", str(tmp_path / "chapters.py"))
    before = chapters.drawing_hash()
    for name in ("captions.py", "datasets.py"):
        (tmp_path / "world" / name).write_text("a = 2\n")
    (tmp_path / "world" / "styles.py").write_text("a = 1  # a remark\n")
    assert chapters.drawing_hash() == before
    (tmp_path / "world" / "styles.py").write_text("a = 2\n")
    assert chapters.drawing_hash() != before


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def other_shape(path):
    fewer = load_file(path)["pictures"][:1].clone()
    save_file({"pictures": fewer}, path, {"sha256": datasets._digest(fewer)})


def other_name(path):
    save_file({"images": load_file(path)["pictures"]}, path)


@pytest.mark.parametrize("damage", [cut, empty, flip, other_shape, other_name])
def test_a_damaged_file_is_rendered_again_and_says_so(damage, drawn, cache):
    whole = datasets.fixed("portraits", "photo", 3, 32).pictures
    (path,) = cache()
    before = path.read_bytes()
    damage(path)
    with pytest.warns(UserWarning, match="was damaged: it is deleted and its pictures are rendered again.$") as told:
        assert datasets.fixed("portraits", "photo", 3, 32).pictures.equal(whole)
    assert len(told) == 1 and len(drawn) == 2 and path.read_bytes() == before
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        datasets.fixed("portraits", "photo", 3, 32)
    assert len(drawn) == 2


def test_a_kill_while_writing_leaves_nothing(drawn, cache, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            datasets.fixed("portraits", "photo", 3, 32)
    assert cache() == []


def test_a_cache_that_cannot_be_written_costs_a_warning_only(drawn, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="could not be kept"):
        assert len(datasets.fixed("portraits", "photo", 3, 32)) == 3


# A reader's own -------------------------------------------------------------------------------------------------------


def test_a_folder_is_a_set_of_squares(tmp_path):
    Image.new("RGB", (90, 40), "red").save(tmp_path / "b.png")
    wide = Image.new("L", (120, 60), 0)
    wide.paste(255, (30, 0, 90, 60))  # white where the middle square is
    wide.save(tmp_path / "a.jpg", quality=95)
    Image.new("RGBA", (32, 32), (0, 0, 255, 255)).save(tmp_path / "c.webp", lossless=True)
    (tmp_path / ".hidden.png").write_bytes(b"no picture")
    (tmp_path / "sub").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pictures = datasets.folder(str(tmp_path), 48)
    assert pictures.pictures.shape == (3, 3, 48, 48) and pictures.contents is None and pictures.name == tmp_path.name
    assert pictures[0].mean() > 0.97, "the middle is kept"
    assert pictures[1].mean(dim=(1, 2)).tolist() == pytest.approx([1, 0, 0], abs=0.02)
    assert pictures[2].mean(dim=(1, 2)).tolist() == pytest.approx([0, 0, 1], abs=0.02)
    assert next(pictures.batches(4)).shape == (4, 3, 48, 48)


def test_bad_files_are_skipped_and_named_in_one_warning(tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "good.png")
    Image.new("RGB", (31, 200)).save(tmp_path / "narrow.png")
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "broken.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    (tmp_path / "gone.png").symlink_to("nowhere")
    with pytest.warns(UserWarning) as told:
        assert len(datasets.folder(tmp_path, 16)) == 1
    (text,) = [str(each.message) for each in told]
    assert text.startswith(f"4 of 5 files in {tmp_path} were skipped: broken.png (is damaged and cannot be read")
    assert "gone.png (There is no file)" in text and "narrow.png (fewer than 32 pixels a side)" in text
    assert "notes.txt (is no picture that can be read; use PNG" in text and text.endswith(").") and "\n" not in text


def test_of_many_bad_files_five_are_named(tmp_path):
    for i in range(8):
        (tmp_path / f"{i}.png").write_bytes(b"")
    with pytest.raises(
        DatasetError, match=r"None of the 8 files in .* can be used: 0.png .* 4.png \([^()]*\), and 3 more\.$"
    ):
        datasets.folder(tmp_path)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda p: None, "^There is no folder .*own.$"),
        (lambda p: p.write_bytes(b""), "own is a file; name a folder"),
        (lambda p: p.mkdir(), "own has no pictures in it"),
        (lambda p: (p / "sub").mkdir(parents=True), "subfolders are not searched"),
    ],
)
def test_what_is_no_folder_of_pictures_is_a_sentence(tmp_path, make, sentence):
    make(tmp_path / "own")
    with pytest.raises(DatasetError, match=sentence):
        datasets.folder(tmp_path / "own")
