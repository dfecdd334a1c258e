"""Weights trained by this project: what is saved is loaded, what was changed is refused, what is shipped is whole."""

import importlib.util
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from stlib import chapters, images, training, zoo
from stlib.zoo import cards
from stlib.zoo.__main__ import main

ROOT = Path(__file__).resolve().parents[1]
ABOUT = {
    "chapter": "toy",
    "description": "A toy.",
    "settings": {"steps": 3, "rate": 0.1},
    "training": {"steps": 3, "seconds": 0.5, "loss": torch.tensor(0.25), "pictures": Path("three.png")},
}


def toy(seed=0):
    """A network whose numbers are kept as they are, with the whole number that batch normalisation keeps."""
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    module(torch.rand(2, 3, 8, 8))
    module = module.half().float()
    kernel = module[0].weight.data
    kernel.copy_(torch.randint(-127, 128, kernel.shape) / 512)  # whole numbers times a scale
    kernel[:, 0, 0, 0] = 127 / 512
    return module


def same(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def write_chapter(path, zoo_cell):
    cells = [("import torch", []), (zoo_cell, ["zoo"])]
    cells = [{"cell_type": "code", "metadata": {"tags": tags}, "source": source} for source, tags in cells]
    path.write_text(json.dumps({"cells": cells}))


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """The notebook of the chapter `toy`, which trains networks."""
    path = tmp_path / "toy.ipynb"
    write_chapter(path, "train()")
    monkeypatch.setattr(chapters, "find", lambda name: path)
    return path


@pytest.fixture
def folder(chapter, tmp_path):
    """A zoo with one network, `toy_net`."""
    folder = tmp_path / "deep" / "weights"
    zoo.save("toy_net", toy(), **ABOUT, folder=folder)
    return folder


def weights(folder):
    (path,) = folder.glob("toy_net.*.xz")
    return path


def edit_record(folder, **fields):
    path = folder / "toy_net.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf8")), **fields}))


def command(*arguments):
    return subprocess.run([sys.executable, "-m", "stlib.zoo", *arguments], cwd=ROOT, capture_output=True, text=True)


# Saving and loading ---------------------------------------------------------------------------------------------------


def test_what_is_saved_is_loaded_exactly_where_no_rounding_is_needed(folder):
    module = toy(seed=1).train()
    assert zoo.load("toy_net", module, folder) is module and not module.training
    assert same(module, toy()) and module[0].weight.dtype == torch.float32
    assert module[1].num_batches_tracked.dtype == torch.int64
    assert zoo.names(folder) == ["toy_net"] and len(list(folder.iterdir())) == 2


def test_kernels_of_a_chapter_are_rounded_to_whole_numbers_times_a_scale_for_each_output(chapter, tmp_path):
    module, loaded = nn.Linear(50, 50), nn.Linear(50, 50)
    module.weight.data[0], module.weight.data[1] = 0.0, 1e-3 * module.weight.data[1]
    zoo.save("toy_net", module, **ABOUT, folder=tmp_path)
    zoo.load("toy_net", loaded, tmp_path)
    apart, scale = (loaded.weight - module.weight).abs().amax(dim=1), module.weight.abs().amax(dim=1) / 127
    assert not apart[0] and (apart[1:] > 0.4 * scale[1:]).all() and (apart <= 0.54 * scale).all()  # float16 first
    torch.testing.assert_close(loaded.bias, module.bias, rtol=2**-11, atol=2**-25)
    assert weights(tmp_path).stat().st_size < 2500 + 4 * 50 + 2 * 50 + 350


def test_weights_of_a_recipe_are_rounded_to_11_significant_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "RECIPES", {"toy_net": zoo.Recipe("stlib.zoo.strangers", ("world",))})
    module, loaded = nn.Linear(50, 50), nn.Linear(50, 50)
    zoo.save("toy_net", module, **{**ABOUT, "chapter": "strangers"}, folder=tmp_path)
    zoo.load("toy_net", loaded, tmp_path)
    assert not same(module, loaded)
    torch.testing.assert_close(loaded.weight, module.weight, rtol=2**-11, atol=2**-25)


def test_the_numbers_take_the_dtype_of_the_module(folder):
    assert zoo.load("toy_net", toy(1).double(), folder)[0].weight.dtype == torch.float64


def test_tensors_that_share_memory_are_saved(chapter, tmp_path):
    module = nn.ModuleList([nn.Linear(2, 2).half()] * 2)
    zoo.save("toy_net", module, **ABOUT, folder=tmp_path)
    one, other = zoo.load("toy_net", nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]), tmp_path)
    assert same(one, other) and torch.equal(one.bias, module[0].bias.float())


def test_the_record_says_how_it_was_made(folder, chapter):
    about = zoo.record("toy_net", folder)
    assert tuple(about) == zoo.FIELDS
    assert about["parameters"] == 4 * 3 * 9 + 4 + 4 + 4 and about["bytes"] == len(
        lzma.decompress(weights(folder).read_bytes())
    )
    assert about["code_hash"] == chapters.code_hash(chapters.read(chapter), "zoo")
    assert about["settings"] == ABOUT["settings"] and about["licence"] == "MIT"
    assert about["training"] == {"steps": 3, "seconds": 0.5, "loss": 0.25, "pictures": "three.png"}


def test_save_returns_the_record_and_takes_the_settings_of_a_chapter(chapter, tmp_path):
    from stlib import runtime

    settings = runtime.settings(smoke={"steps": 3})
    returned = zoo.save("toy_net", toy(), **{**ABOUT, "settings": settings}, folder=tmp_path)
    assert returned == zoo.record("toy_net", tmp_path) and returned["settings"]["steps"] == 3


def test_a_loaded_network_can_stand_in_the_colophon(folder, capsys):
    from stlib import runtime

    runtime.colophon(zoo.load("toy_net", toy(1), folder))
    sha256 = zoo.record("toy_net", folder)["sha256"][:12]
    assert f"weights   toy_net: trained in the chapter 'toy', sha256 {sha256}" in capsys.readouterr().out


def test_saving_again_replaces_the_pair(folder):
    zoo.save("toy_net_2", toy(2), **ABOUT, folder=folder)
    for _ in range(2):
        zoo.save("toy_net", toy(1), **ABOUT, folder=folder)
    assert same(zoo.load("toy_net", toy(), folder), toy(1)) and same(zoo.load("toy_net_2", toy(), folder), toy(2))
    assert len(list(folder.iterdir())) == 4


# What is not saved ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, told", [(65520.0, "beyond 65504"), (float("inf"), "that are not finite"), (float("nan"), "that are")]
)
def test_a_number_that_half_precision_does_not_hold_is_refused(folder, value, told):
    module = toy(1)
    module[1].running_var[2] = value
    with pytest.raises(zoo.ZooError, match=f"'1.running_var' has numbers {told}.*nothing was saved"):
        zoo.save("toy_net", module, **ABOUT, folder=folder)
    assert same(zoo.load("toy_net", toy(1), folder), toy()) and len(list(folder.iterdir())) == 2


def test_the_largest_number_of_half_precision_is_saved(chapter, tmp_path):
    module = toy()
    module[1].running_var[2] = zoo.LARGEST
    zoo.save("toy_net", module, **ABOUT, folder=tmp_path)
    assert zoo.load("toy_net", toy(1), tmp_path)[1].running_var[2] == zoo.LARGEST


@pytest.mark.parametrize("name", ["", "Toy", "../toy", "toy.net", "toy net"])
def test_a_name_is_made_of_small_letters(chapter, tmp_path, name):
    with pytest.raises(zoo.ZooError, match="cannot be the name"):
        zoo.save(name, toy(), **ABOUT, folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("field, empty", [("description", ""), ("settings", {}), ("training", {})])
def test_an_incomplete_record_is_not_written(chapter, tmp_path, field, empty):
    with pytest.raises(zoo.ZooError, match=f"The record of 'toy_net' lacks: {field}"):
        zoo.save("toy_net", toy(), **{**ABOUT, field: empty}, folder=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_chapter_that_does_not_say_how_it_trains_is_refused(chapter, tmp_path, monkeypatch):
    write_chapter(chapter, "train()")
    chapter.write_text(chapter.read_text().replace('"zoo"', '"method"'))
    with pytest.raises(zoo.ZooError, match="no code cell tagged `zoo`"):
        zoo.save("toy_net", toy(), **ABOUT, folder=tmp_path)
    monkeypatch.setattr(chapters, "find", lambda name: None)
    with pytest.raises(zoo.ZooError, match="in a checkout of the course only"):
        zoo.save("toy_net", toy(), **ABOUT, folder=tmp_path)


def test_a_kill_at_any_step_leaves_the_old_pair_or_the_new_one(folder, monkeypatch):
    """Every call that changes the folder is let through, or killed, in turn; and after each the zoo is whole."""
    steps = [(Path, "write_bytes"), (os, "replace"), (chapters, "write_text"), (Path, "unlink")]

    def kill_at(number):
        done = []

        def counted(real):
            def call(*arguments, **options):
                done.append(real)
                if len(done) == number:
                    raise KeyboardInterrupt
                return real(*arguments, **options)

            return call

        with monkeypatch.context() as patch:
            for place, name in steps:
                patch.setattr(place, name, counted(getattr(place, name)))
            zoo.save("toy_net", toy(1), **ABOUT, folder=folder)

    seen = []
    for number in range(1, 6):  # write_bytes, replace, write_text, the replace in it, unlink
        zoo.save("toy_net", toy(0), **ABOUT, folder=folder)
        with pytest.raises(KeyboardInterrupt):
            kill_at(number)
        assert zoo.problems("toy_net", folder) == []
        seen.append(same(zoo.load("toy_net", toy(2), folder), toy(1)))
    assert seen == [False, False, False, False, True]
    kill_at(6)
    assert weights(folder).exists(), "there is more than one file of weights"


def test_the_picture_of_a_network_comes_and_goes_with_its_weights(folder):
    assert zoo.sheet("toy_net", folder) is None
    zoo.save("toy_net", toy(1), **ABOUT, sheet=torch.full((3, 8, 16), 0.5), folder=folder)
    shown = zoo.sheet("toy_net", folder)
    assert shown.stem == weights(folder).stem and images.read(shown).shape == (1, 3, 8, 16)
    assert f"(/stlib/zoo/weights/{shown.name})" in "\n".join(cards.card("toy_net", folder))
    zoo.save("toy_net", toy(2), **ABOUT, folder=folder)
    assert zoo.sheet("toy_net", folder) is None and len(list(folder.iterdir())) == 2
    assert "![" not in "\n".join(cards.card("toy_net", folder))


# What is refused ------------------------------------------------------------------------------------------------------


def damaged(folder, how):
    path = weights(folder)
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        changed = {"one byte": data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], "short": data[:-1], "empty": b""}
        path.write_bytes(changed[how])


@pytest.mark.parametrize("how", ["one byte", "short", "empty", "missing"])
def test_a_damaged_file_is_refused_by_load_and_by_verify(folder, how):
    damaged(folder, how)
    told = "are missing" if how == "missing" else "was changed or cut short"
    module = toy(1)
    with pytest.raises(zoo.ZooError, match=told + ": reinstall the course, or .*git checkout") as error:
        zoo.load("toy_net", module, folder)
    assert "\n" not in str(error.value) and same(module, toy(1))
    assert zoo.problems("toy_net", folder) == [str(error.value)]
    done = command("verify", "--folder", folder)
    assert done.returncode == 1 and told in done.stdout and not done.stderr
    assert done.stdout.endswith("1 checked, 1 with problems.\n")


@pytest.mark.parametrize("text", ["", "{", "[1]", "3", "\xff"])
def test_a_damaged_record_is_a_sentence(folder, text):
    (folder / "toy_net.json").write_text(text, encoding="latin-1")
    with pytest.raises(zoo.ZooError, match="toy_net.json was changed or cut short: reinstall"):
        zoo.load("toy_net", toy(), folder)
    done = command("list", "--folder", folder)
    assert done.returncode == 1 and done.stderr.startswith("The record toy_net.json was changed")
    assert main(["verify", "--folder", str(folder)]) == 1


def test_a_record_that_lacks_something_or_tells_other_things(folder):
    edit_record(folder, bytes=1)
    assert zoo.problems("toy_net", folder) == ["Its record gives another name or size."]
    edit_record(folder, training={}, licence="")
    assert zoo.problems("toy_net", folder) == ["The record of 'toy_net' lacks: licence, training."]


def test_an_unknown_name_lists_the_known(folder, tmp_path):
    with pytest.raises(zoo.ZooError, match="There is no network 'other' in the zoo; there are: toy_net."):
        zoo.load("other", toy(), folder)
    with pytest.raises(zoo.ZooError, match="there are: none yet"):
        zoo.record("../deep/weights/toy_net", tmp_path / "nowhere")


@pytest.mark.parametrize(
    "module, at",
    [
        (nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)), r"'0.bias' it has \(4,\), the module \(5,\)"),
        (nn.Sequential(nn.Conv2d(3, 4, 3)), r"'1.bias' it has \(4,\), the module nothing"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(2, 2)), "'2.bias' it has nothing"),
    ],
)
def test_a_module_of_another_architecture_is_refused_and_left_alone(folder, module, at):
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    with pytest.raises(zoo.ZooError, match=f"'toy_net' does not fit this module: at {at}.* as the chapter 'toy' does"):
        zoo.load("toy_net", module, folder)
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())


# Listing and verifying ------------------------------------------------------------------------------------------------


def test_a_stale_code_hash_is_reported(folder, chapter, capsys):
    assert main(["verify", "--folder", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[0].split() == ["toy_net", "well"]
    write_chapter(chapter, "train_longer()")
    assert main(["verify", "--folder", str(folder)]) == 1
    assert "trained with other code than its chapter has now: execute the chapter 'toy'" in capsys.readouterr().out
    zoo.load("toy_net", toy(1), folder)  # is still possible: the weights are what they were


def test_a_chapter_that_is_gone_is_reported_in_a_checkout_only(folder, monkeypatch):
    monkeypatch.undo()
    assert zoo.problems("toy_net", folder) == ["There is no chapter 'toy' in notebooks/."]
    monkeypatch.setattr(chapters, "root", lambda: None)
    assert zoo.problems("toy_net", folder) == []


def test_numbers_that_are_not_finite_are_reported(folder, monkeypatch):
    module = toy()
    module[0].bias.data[1] = float("nan")
    monkeypatch.setattr(zoo, "_half", lambda key, tensor: tensor.clone().contiguous())
    zoo.save("toy_net", module, **ABOUT, folder=folder)
    assert zoo.problems("toy_net", folder) == ["It has numbers that are not finite, in: 0.bias."]


def test_the_list_is_a_table(folder):
    done = command("list", "--folder", folder)
    assert done.returncode == 0 and not done.stderr
    head, row = done.stdout.splitlines()
    assert head.split() == ["name", "chapter", "size", "parameters", "what"]
    assert row.split() == ["toy_net", "toy", "0.00", "MB", "120", "A", "toy."]


def test_listing_and_verifying_need_no_torch(folder):
    code = f"""
import sys
sys.modules["torch"] = None
from stlib import chapters
from stlib.zoo.__main__ import main
chapters.root = lambda: None
sys.exit(any(main([task, "--folder", {str(folder)!r}]) for task in ("list", "verify")) or
         main(["card", "toy_net", "--folder", {str(folder)!r}]))"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "toy_net                  well" in done.stdout, done.stderr


# Training -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """A recipe `toy`, a script `some_recipe`, that keeps what it is called with; the calls."""
    path = tmp_path / "some_recipe.py"
    path.write_text("CALLS = []\ndef publish(name, size=64, steps=9, device=None):\n    CALLS.append(locals())\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(zoo.RECIPES, "toy", zoo.Recipe("some_recipe", ("training.py",)))
    yield SimpleNamespace(path=path, calls=importlib.import_module("some_recipe").CALLS)
    del sys.modules["some_recipe"]


def test_a_recipe_gets_the_options_that_were_given(recipe):
    assert main(["train", "toy"]) == 0
    assert main(["train", "toy", "--size", "32", "--steps", "5", "--device", "cpu"]) == 0
    assert main(["train", "toy", "--resume"]) == 0, "who takes no --resume resumes by itself"
    plain = {"name": "toy", "size": 64, "steps": 9, "device": None}
    assert recipe.calls == [plain, plain | {"size": 32, "steps": 5, "device": "cpu"}, plain]


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["toy", "--minutes", "3"], "'toy' takes no --minutes: the script `some_recipe` says how it is trained."),
        (["toy", "--seed", "0"], "'toy' takes no --seed: the script `some_recipe` says how it is trained."),
        (
            ["oracle", "--steps", "3"],
            "'oracle' takes no --steps: the script `stlib.zoo.judges` says how it is trained.",
        ),
        (["adain", "--size", "3"], "'adain' takes no --size: the chapter 'adain' says how it is trained."),
        (
            ["adain_decoder", "--seed", "3"],
            "'adain_decoder' takes no --seed: the chapter 'adain' says how it is trained.",
        ),
        (
            ["gatys"],
            "There is nothing called 'gatys' to be trained; there are: "
            "oracle, worldnet, stylegan2_portraits, toy, adain, chipgan, cut, cyclegan, gan, portrait, sapgan, "
            "stargan, whitebox.",
        ),
    ],
)
def test_what_does_not_apply_is_refused_in_a_sentence(recipe, arguments, told):
    assert main(["train", *arguments]) == told and not recipe.calls


def test_another_device_is_refused_before_anything_is_trained(recipe):
    assert main(["train", "toy", "--device", "cuda:99"]).startswith("There is no device 'cuda:99' here; choose one of")
    assert not recipe.calls


@pytest.mark.parametrize(
    "option", ["--size=0", "--steps=-1", "--steps=1.5", "--minutes=0", "--minutes=nan", "--seed=x"]
)
def test_numbers_must_be_numbers(recipe, option, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "toy", option])
    assert stopped.value.code == 2 and "argument --" in capsys.readouterr().err and not recipe.calls


def test_a_problem_or_a_stop_is_one_sentence(recipe, monkeypatch):
    def fail(error):
        def publish(name):
            raise error

        monkeypatch.setattr(sys.modules["some_recipe"], "publish", publish)
        return main(["train", "toy"])

    assert fail(FloatingPointError("Not finite.")) == "Not finite."
    assert fail(training.CheckpointError("Resume it.")) == "Resume it."
    assert "--resume goes on from the last checkpoint" in fail(KeyboardInterrupt())


def test_a_chapter_is_executed_at_scale_zoo_and_left_as_it_was(tmp_path, monkeypatch, capsys):
    path = tmp_path / "toy.ipynb"
    source = "import os\nfrom pathlib import Path\n"
    source += "Path('told').write_text(os.environ['STLIB_SCALE'] + os.environ['STLIB_RECORD'] + ' saved')"
    cell = {
        "cell_type": "code",
        "metadata": {"tags": ["zoo"]},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    path.write_text(json.dumps({"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 4}))
    before = path.read_bytes()
    monkeypatch.setattr(chapters, "notebooks", lambda: [path])
    monkeypatch.setattr(chapters, "relative", lambda path: path.name)
    for name in ("STLIB_SCALE", "STLIB_RECORD"):
        monkeypatch.setenv(name, "before")
    assert main(["train", "toy"]) == 0
    assert (tmp_path / "told").read_text() == "zoo saved" and path.read_bytes() == before
    assert "make run NB=toy.ipynb" in capsys.readouterr().out
    monkeypatch.setattr(chapters, "root", lambda: None)
    assert main(["train", "toy"]).endswith("portraits (chapters are trained in a checkout of the course only).")


def test_the_hash_of_a_recipe_covers_its_script_and_what_it_draws_on(recipe, folder, monkeypatch):
    def saved():
        about = zoo.save("toy_net", toy(), **ABOUT | {"chapter": "some_recipe"}, folder=folder)
        return about["code_hash"]

    first = saved()
    assert len(first.split()) == 2 and zoo.problems("toy_net", folder) == []
    assert zoo.load("toy_net", toy(1), folder).weights.startswith("trained in the script 'some_recipe', sha256 ")
    recipe.path.write_text("# a comment\n" + recipe.path.read_text())
    assert saved() == first
    recipe.path.write_text(recipe.path.read_text().replace("steps=9", "steps=10"))
    told = "It was trained with other code than its script has now: python -m stlib.zoo train toy_net."
    assert zoo.problems("toy_net", folder) == [told]
    assert saved().split()[0] != first.split()[0] and saved().split()[1] == first.split()[1]
    for draws_on, number in ((("nets/adain.py",), 2), (("world",), 2), (("world", "training.py"), 3), ((), 1)):
        monkeypatch.setitem(zoo.RECIPES, "toy", zoo.Recipe("some_recipe", draws_on))
        hashes = saved().split()
        assert len(hashes) == number and hashes[1:2] != first.split()[1:2]
    with pytest.raises(zoo.ZooError, match="as the script 'some_recipe' does"):
        zoo.load("toy_net", nn.Linear(1, 1), folder)


# Cards ----------------------------------------------------------------------------------------------------------------


def test_a_card_says_what_the_record_says(folder, capsys):
    about = zoo.record("toy_net", folder)
    assert main(["card", "toy_net", "--folder", str(folder)]) == 0
    text = capsys.readouterr().out
    for line in (
        "**toy_net**: A toy.\n", "Made by\n: the chapter `toy`, at scale `zoo`", "Steps\n: 3\n", "Licence\n: MIT\n",
        "Settings\n: steps 3; rate 0.1\n", "Measured\n: loss 0.25\n", "Pictures\n: three.png\n",
        "Limits\n: not stated\n",
        f"Date\n: {about['date']}", f"SHA-256  {about['sha256']}", f"code     {about['code_hash']}",
        "python -m stlib.zoo train toy\n", 'zoo.load("toy_net", module)', f"torch {about['versions']['torch']}",
    ):  # fmt: skip
        assert line in text, line
    assert (
        main(["card", "other", "--folder", str(folder)])
        == "There is no network 'other' in the zoo; there are: toy_net."
    )


def test_a_card_tells_what_a_run_measured(recipe, folder):
    made = {"steps": 1200, "pictures": 38400, "seconds": 312.4, "device": "cuda, 2 processes", "dtype": "bfloat16"}
    made |= {"losses": {"D": 1.23456789, "G": 2}, "accuracy": {"64": {"deep": 1}, "mean": 0.5}, "seed": 3}
    zoo.save("toy_net", toy(), **ABOUT | {"chapter": "some_recipe", "training": made}, folder=folder)
    text = "\n".join(cards.card("toy_net", folder))
    assert "Pictures\n: 38,400\n" in text and "Time\n: 5 minutes\n" in text and "(cuda, 2 processes)\n" in text
    assert "Measured\n: dtype bfloat16; losses: D 1.235, G 2; accuracy: mean 0.5; seed 3\n" in text
    assert "the script `some_recipe`" in text and "python -m stlib.zoo train toy_net" in text


@pytest.mark.parametrize("name", zoo.names())
def test_the_card_of_a_shipped_network_is_complete_and_its_code_runs(name):
    text = "\n".join(cards.card(name))
    for term in ("Data", "Steps", "Pictures", "Time", "Machine", "Versions", "Settings", "Size", "Limits", "Licence"):
        assert re.search(rf"^{term}\n: .{{3,}}", text, re.MULTILINE), term
    assert "not stated" not in text
    assert not zoo.sheet(name) or len(cards.WORDS[name].shows) > 40, "say what the picture shows: it is its alt text"
    found = {}
    exec(cards.WORDS[name].load, found)
    networks = [thing for thing in found.values() if isinstance(thing, nn.Module)]
    assert [network.name for network in networks if hasattr(network, "weights")] == [name]


def test_every_word_belongs_to_a_network_that_can_be_had():
    assert set(cards.WORDS) <= {*zoo.names(), *zoo.RECIPES}


def test_the_book_shows_every_card(folder, recipe, tmp_path, monkeypatch):
    course = load_course()
    assert course.zoo_cards(tmp_path) == ["*No network has been trained yet.*"]
    there = tmp_path / "stlib" / "zoo" / "weights"
    shutil.copytree(folder, there)
    text = "\n".join(course.zoo_cards(tmp_path))
    assert "| `toy_net` | A toy. | 120 | 0.00 MB | *toy* (planned) |" in text
    assert "::::{dropdown} The card of toy_net" in text and zoo.record("toy_net", folder)["sha256"] in text
    zoo.save("net_2", toy(), **ABOUT | {"chapter": "some_recipe"}, folder=there)
    text = "\n".join(course.zoo_cards(tmp_path))
    assert "| a script |" in text and ":open:" not in text
    zoo.save("net_2", toy(), **ABOUT | {"chapter": "some_recipe"}, sheet=torch.zeros(3, 8, 8), folder=there)
    assert "The card of net_2\n:open:\n" in "\n".join(course.zoo_cards(tmp_path))
    assert ROOT / "stlib/zoo/weights/worldnet.json" in [p for s in course.OTHER_SOURCES for p in ROOT.glob(s)]


def load_course():
    spec = importlib.util.spec_from_file_location("course", ROOT / "book" / "_ext" / "course.py")
    course = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(course)
    return course


# What is shipped ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", zoo.names())
def test_a_shipped_network_is_whole(name):
    assert zoo.problems(name) == []
    about = zoo.record(name)
    assert about["licence"] == "MIT" and about["description"].strip()


def test_the_shipped_zoo_is_small_and_holds_nothing_else():
    files = [path for path in zoo.FOLDER.glob("*") if path.suffix != ".part"]
    kept = [zoo.FOLDER / f"{name}.json" for name in zoo.names()]
    kept += [zoo.FOLDER / f"{name}.{zoo.record(name)['sha256'][:12]}.xz" for name in zoo.names()]
    kept += [sheet for name in zoo.names() if (sheet := zoo.sheet(name))]
    assert sorted(files) == sorted(kept), "a file of weights is here that no record names: delete it"
    assert sum(path.stat().st_size for path in files) <= 30e6
    for task in ("list", "verify"):
        done = command(task)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_weights_travel_in_the_wheel(folder, tmp_path):
    source = tmp_path / "source"
    for name in ("stlib", "book", "requirements"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "LICENSE-text"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(folder, source / "stlib" / "zoo" / "weights", dirs_exist_ok=True)
    build = "from setuptools import setup; setup()"
    arguments = [sys.executable, "-c", build, "-q", "build", "--build-base", tmp_path / "build"]
    done = subprocess.run(arguments, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    there = tmp_path / "build" / "lib" / "stlib" / "zoo" / "weights"
    assert {weights(folder).name, "toy_net.json"} <= {path.name for path in there.iterdir()}
