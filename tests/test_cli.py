"""The command line: every bad input is one sentence and exit code 2; nothing is left half done; help is quick."""

import inspect
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from stlib import __main__ as cli
from stlib import assets, backbones, doctor, images, painted, stylize, zoo
from stlib.nets.adain import Decoder
from stlib.training import progress

ROOT = Path(__file__).resolve().parents[1]
NAMES = ["a.png", "b.JPG", "c.webp"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with a photograph, a style, and things that are none; no network, an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STLIB_OFFLINE", "1")
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "cache"))
    images.write(images.picture("woodcut", 40), "photo.png")
    images.write(images.picture("mosaic", 40), "style.jpg")
    images.write(images.picture("mosaic", 16), "small.png")
    images.write(images.resize(images.picture("mosaic", 16), (1, 90)), "line.png")
    Path("text.jpg").write_text("this is no picture")
    Path("empty.png").write_bytes(b"")
    Path("cut.jpg").write_bytes(Path("style.jpg").read_bytes()[:700])
    Path("folder").mkdir()
    Path("folder.png").mkdir()
    return tmp_path


@pytest.fixture
def quick(monkeypatch):
    """Methods that only look as if they painted, and remember what they were asked; `errors` are raised in turn."""
    asked = SimpleNamespace(calls=[], weights="real ones", error=None, errors=[])

    def act(**asked_for):
        asked.calls.append(asked_for)
        error = asked.errors.pop(0) if asked.errors else asked.error
        if error:
            raise error

    def gatys(
        content,
        style,
        *,
        backbone="squeezenet",
        steps=7,
        style_weight=20.0,
        keep_colors_of_content=False,
        seed=0,
        device=None,
        callback=None,
    ):
        act(**locals())
        callback(1, 2, 0.5)
        callback(2, 2, 0.25)
        print("a method may print")
        return SimpleNamespace(picture=content, content_loss=0, style_loss=0, weights=asked.weights)

    def adain(content, styles, **chosen):
        act(content=content, styles=styles, **chosen)
        chosen["callback"](1, 2)
        chosen["callback"](2, 2)
        return SimpleNamespace(picture=content, weights=asked.weights)

    adain.__signature__ = inspect.signature(stylize.adain)
    for function in (gatys, adain):
        real = inspect.signature(getattr(stylize, function.__name__)).parameters
        assert list(inspect.signature(function).parameters) == [name for name in real if name != "tv_weight"]
        monkeypatch.setattr(stylize, function.__name__, function)
    return asked


@pytest.fixture
def photos(place):
    """A folder of three photographs, and what is none."""
    Path("photos").mkdir()
    for name in NAMES:
        images.write(images.picture("woodcut", 40), Path("photos", name))
    Path("photos/.hidden.png").write_bytes(Path("photo.png").read_bytes())
    Path("photos/notes.txt").write_text("these are no pictures")
    Path("photos/deeper.png").mkdir()
    return Path("photos")


def run(capsys, *arguments):
    """Exit code, stdout and stderr of the command line, in this process."""
    capsys.readouterr()
    code = cli.main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def command(*arguments, **options):
    """The command line as a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *options.pop("python", []), "-m", "stlib", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background job ignores it
        **options,
    )  # fmt: skip


# Bad input ------------------------------------------------------------------------------------------------------------

GOOD = ["photo.png", "style.jpg", "-o", "out.png"]
ADAIN, TWO = ["--method", "adain"], ["photo.png", "style.jpg", "mosaic", "-o", "out.png"]
BAD = {
    # arguments: what the sentence has to say
    ("missing.jpg", *GOOD[1:]): "There is no file missing.jpg",
    ("photo.png", "folder/missing.jpg", *GOOD[2:]): "There is no file folder/missing.jpg",
    ("mona_lisa", *GOOD[1:]): "no picture of the course of that name; those are: astronaut, .*tuebingen, .*mosaic",
    ("photo.png", "starry_nite", *GOOD[2:]): "no picture of the course",
    ("text.jpg", *GOOD[1:]): "text.jpg is no picture that can be read; use PNG",
    ("empty.png", *GOOD[1:]): "empty.png is no picture",
    ("cut.jpg", *GOOD[1:]): "cut.jpg is damaged and cannot be read to its end",
    ("photo.png", "cut.jpg", *GOOD[2:]): "cut.jpg is damaged",
    ("folder", *GOOD[1:]): "There is no picture in the folder folder; its files should be: .png, .jpg",
    ("folder", "style.jpg", "-o", "made"): "There is no picture in the folder folder",
    ("photo.png", "folder", *GOOD[2:]): "folder is a folder",
    ("small.png", *GOOD[1:]): "small.png has only 21 x 16 pixels; both sides need 32 or more",
    ("photo.png", "line.png", *GOOD[2:]): "line.png has only 90 x 1 pixels",
    ("squeezenet_deep_compression", *GOOD[1:]): "",
    ("x" * 400, *GOOD[1:]): "",
    ("photo.png", "style.jpg", "-o", "missing/out.png"): "There is no folder missing; make it first",
    ("photo.png", "style.jpg", "-o", "folder.png"): "folder.png is a folder; name a file in it",
    ("photo.png", "style.jpg", "-o", "out.gif"): "'out.gif' has no picture extension; use one of: .png, .jpg",
    ("photo.png", "style.jpg", "-o", "out"): "has no picture extension",
    ("photo.png", "style.jpg", "-o", ""): "has no picture extension",
    ("photo.png", "style.jpg", "-o", "x" * 300 + ".png"): "File name too long",
    ("photo.png", "style.jpg", "-o", "photo.png"): "photo.png is one of the pictures to be read; choose another name",
    ("photo.png", "style.jpg", "-o", "folder/../style.jpg"): "is one of the pictures to be read",
    ("photo.png", "style.jpg"): "required: -o/--output",
    ("photo.png", "-o", "out.png"): "required: style",
    (*GOOD, "more.png"): "nrecognized arguments: more.png",
    (*GOOD, "--sise", "64"): "nrecognized arguments: --sise",
    (*GOOD, "--styl", "64"): "nrecognized arguments: --styl",
    (*GOOD, "--method", "magic"): "invalid choice: 'magic' .choose from '?gatys",
    (*GOOD, "--backbone", "resnet"): "invalid choice: 'resnet' .choose from '?squeezenet'?, '?vgg16'?, '?vgg19",
    (*GOOD, "--size", "0"): "--size: '0' is not a whole number from 32 to 16384",
    (*GOOD, "--size", "5000"): "The method gatys goes up to --size 4096; choose a smaller one",
    (*GOOD, "--size", "16385", *ADAIN): "'16385' is not a whole number from 32 to 16384",
    (*GOOD, "--size", "-64"): "--size",
    (*GOOD, "--size", "64.5"): "'64.5' is not a whole number",
    (*GOOD, "--size", "9" * 5000): "is not a whole number",
    (*GOOD, "--size", "big"): "'big' is not a whole number",
    (*GOOD, "--size"): "--size: expected one argument",
    (*GOOD, "--steps", "0"): "--steps: '0' is not a whole number from 1 to",
    (*GOOD, "--steps", "many"): "'many' is not a whole number",
    (*GOOD, "--style-weight", "nan"): "--style-weight: 'nan' is not a number from 0 on",
    (*GOOD, "--style-weight", "inf"): "'inf' is not a number from 0 on",
    (*GOOD, "--style-weight", "1e999"): "'1e999' is not a number from 0 on",
    (*GOOD, "--style-weight", "-1"): "'-1' is not a number from 0 on",
    (*GOOD, "--style-weight", "heavy"): "'heavy' is not a number",
    (*GOOD, "--seed", "x"): "--seed: 'x' is not a whole number from 0 to",
    (*GOOD, "--seed", "-1"): "--seed",
    (*GOOD, "--seed", str(2**40)): "is not a whole number from 0 to",
    (*GOOD, *ADAIN, "--steps", "5"): "The method adain has no --steps; leave it out",
    (*GOOD, *ADAIN, "--backbone", "vgg19"): "The method adain has no --backbone; leave it out",
    (*GOOD, *ADAIN, "--style-weight", "5"): "The method adain has no --style-weight; leave it out",
    (*GOOD, *ADAIN, "--seed", "0"): "The method adain has no --seed; leave it out",
    (*GOOD, "--alpha", "0"): "The method gatys has no --alpha; leave it out",
    (*GOOD, "--mix", "1"): "The method gatys has no --mix; leave it out",
    (*TWO,): "The method gatys takes one style, not 2: name one, or add --method adain",
    (*TWO, "--mix", "1", "2"): "The method gatys takes one style, not 2",
    (*TWO, *ADAIN, "--mix", "1"): "--mix needs a weight for each of the styles: it has 1, they are 2",
    (*TWO, *ADAIN, "--mix", "1", "2", "3"): "it has 3, they are 2",
    (*TWO, *ADAIN, "--mix", "0", "0"): "The weights of --mix are all zero; give at least one style more",
    (*TWO, *ADAIN, "--mix", "1e-40", "0"): "The weights of --mix are all zero",
    (*TWO, *ADAIN, "--mix", "2", "-1"): "--mix: '-1' is not a number from 0 to 1000",
    (*TWO, *ADAIN, "--mix", "2", "nan"): "--mix: 'nan' is not a number from 0 to 1000",
    (*TWO, *ADAIN, "--mix"): "--mix: expected at least one argument",
    (*TWO, *ADAIN, "--alpha", "1.1"): "--alpha: '1.1' is not a number from 0 to 1",
    (*TWO, *ADAIN, "--alpha", "-0.1"): "--alpha",
    ("photo.png", "style.jpg", "cut.jpg", "-o", "out.png", *ADAIN): "cut.jpg is damaged",
    ("photo.png", "mosaic", "style.jpg", "-o", "style.jpg", *ADAIN): "style.jpg is one of the pictures to be read",
    (*GOOD, "--device", "cuda:99"): "There is no device 'cuda:99' here; choose one of: cpu",
    (*GOOD, "--device", "toaster"): "There is no device 'toaster' here",
    (*GOOD, "--device", "meta"): "There is no device 'meta' here",
}  # fmt: skip


@pytest.mark.parametrize("arguments", BAD, ids=lambda arguments: " ".join(arguments)[:60])
def test_bad_input_is_one_sentence_before_any_work(arguments, capsys, quick):
    before = sorted(Path().rglob("*"))
    code, out, err = run(capsys, "stylize", *arguments)
    assert code == 2 and out == ""
    assert err.count("\n") == 1 and err.endswith("\n") and "Traceback" not in err and "usage:" not in err, err
    assert re.search(BAD[arguments], err), err
    assert quick.calls == [] and sorted(Path().rglob("*")) == before


@pytest.mark.parametrize("arguments", [[], ["paint"], ["--sise"], ["doctor", "now"]])
def test_a_wrong_command_is_one_sentence(arguments, capsys):
    code, out, err = run(capsys, *arguments)
    assert code == 2 and out == "" and err.count("\n") == 1 and "--help`" in err and err[0].isupper()


def test_a_picture_of_the_course_that_is_not_here_is_not_replaced(capsys, quick, monkeypatch):
    monkeypatch.setenv("STLIB_ASSETS", "")
    code, out, err = run(capsys, "stylize", "photo.png", "starry_night", "-o", "out.png")
    assert code == 2 and err.count("\n") == 1 and quick.calls == []
    assert "STLIB_OFFLINE forbids the network" in err and "mosaic" in err


@pytest.mark.skipif(os.name != "posix", reason="POSIX has pipes with names")
def test_a_pipe_is_not_waited_for(capsys, quick):
    os.mkfifo("pipe.png")
    code, _, err = run(capsys, "stylize", "pipe.png", *GOOD[1:])
    assert code == 2 and "is no ordinary file" in err


@pytest.mark.parametrize(
    "error, sentence",
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nMore text"), "not enough memory"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:75] DefaultCPUAllocator: can't allocate memory"),
            "not enough memory",
        ),
        (MemoryError(), "not enough memory .* choose a smaller --size"),
        (stylize.Diverged("The loss became nan at step 3: lower the style weight."), "lower the style weight"),
        (backbones.PictureTooSmall("A picture of 5 x 5 pixels is too small."), "is too small"),
        (ModuleNotFoundError("No module named 'tqdm'", name="tqdm"), "tqdm is not installed; `python -m stlib doctor`"),
    ],
)
def test_trouble_during_the_work_is_one_sentence_and_leaves_the_old_file(capsys, quick, error, sentence):
    images.write(torch.zeros(1, 3, 4, 4), "out.png")
    old, before = Path("out.png").read_bytes(), sorted(Path().iterdir())
    quick.error = error
    code, out, err = run(capsys, "stylize", *GOOD, "--size", "40")
    assert code == 2 and out == "" and err.count("\n") == 1 and re.search(sentence, err), err
    assert Path("out.png").read_bytes() == old and sorted(Path().iterdir()) == before


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(cli, "keywords", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["stylize", *GOOD])


def test_a_disk_that_fills_up_is_one_sentence(capsys, monkeypatch, quick):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    code, out, err = run(capsys, "stylize", *GOOD)
    assert (
        code == 2 and "out.png could not be written (No space left on device)" in err and not Path("out.png").exists()
    )


# What is passed on, and what is told ----------------------------------------------------------------------------------


def test_options_reach_the_method(capsys, quick):
    options = [
        "--steps",
        "3",
        "--style-weight",
        "1e2",
        "--keep-colors",
        "--seed",
        "5",
        "--device",
        "cpu",
        "--size",
        "32",
    ]
    code, out, _ = run(capsys, "stylize", *GOOD, *options, "--backbone", "vgg16")
    (asked,) = quick.calls
    assert code == 0 and asked["content"].shape == (1, 3, 32, 42)
    expected = {"steps": 3, "style_weight": 100.0, "keep_colors_of_content": True, "seed": 5, "backbone": "vgg16"}
    assert {name: asked[name] for name in expected} == expected and asked["device"] == torch.device("cpu")


def test_what_is_not_given_stays_the_method_s_own(capsys, quick):
    run(capsys, "stylize", *GOOD)
    assert (quick.calls[0]["steps"], quick.calls[0]["style_weight"], quick.calls[0]["seed"]) == (7, 20.0, 0)


def test_adain_gets_its_styles_and_options(capsys, quick):
    options = ["--mix", "2", "0.5", "--alpha", "0.7", "--keep-colors", "--device", "cpu", "--size", "32"]
    code, out, err = run(capsys, "stylize", *TWO, *ADAIN, *options)
    (asked,) = quick.calls
    assert code == 0 and "adain: 100%" in err and asked["content"].shape == (1, 3, 32, 42), err
    assert [min(style.shape[-2:]) for style in asked["styles"]] == [32, 32]
    assert asked["styles"][0].equal(images.read("style.jpg", 32)), "in their order"
    assert (asked["mix"], asked["alpha"], asked["keep_colors_of_content"]) == ([2.0, 0.5], 0.7, True)
    text = "Method adain; content: photo.png; style: style.jpg + mosaic (painted by code); 42 x 32 pixels; "
    assert (
        f"{text}mix [2.0, 0.5]; alpha 0.7; keep colors of content True; device cpu".encode()
        in Path("out.png").read_bytes()
    )


def test_adain_with_one_style_and_what_is_not_given(capsys, quick):
    code, _, err = run(capsys, "stylize", *GOOD, *ADAIN, "--size", "16000")
    (asked,) = quick.calls
    assert code == 0 and asked["styles"].shape == (1, 3, 40, 53) and (asked["mix"], asked["alpha"]) == (None, 1.0)
    assert "keeps that size" in err and "of memory" not in err
    assert b"; alpha 1.0; " in Path("out.png").read_bytes() and b"None" not in Path("out.png").read_bytes()


@pytest.mark.parametrize("line", ["photo.png -o out.png style.jpg mosaic", "-o out.png photo.png style.jpg mosaic"])
def test_styles_may_follow_the_output(line, capsys, quick):
    assert run(capsys, "stylize", *line.split(), *ADAIN)[0] == 0 and len(quick.calls[0]["styles"]) == 2


def test_a_style_is_no_larger_than_the_photograph_nor_painted_for_minutes(capsys, quick, monkeypatch):
    monkeypatch.setattr(cli, "STYLE_SIZES", (36, 38))
    assert run(capsys, "stylize", *TWO, *ADAIN, "--size", "16384")[0] == 0
    assert [tuple(style.shape[-2:]) for style in quick.calls[0]["styles"]] == [(38, 50), (36, 48)]


def test_a_small_photograph_is_not_scaled_up_and_that_is_said(capsys, quick):
    code, out, err = run(capsys, "stylize", *GOOD, "--size", "512")
    assert code == 0 and "photo.png has 53 x 40 pixels: the result keeps that size." in err
    assert images.read("out.png").shape == (1, 3, 40, 53)
    _, _, err = run(capsys, "stylize", *GOOD, "--size", "40")
    assert "keeps that size" not in err


def test_results_on_stdout_all_else_on_stderr(capsys, quick):
    code, out, err = run(capsys, "stylize", *GOOD)
    assert re.fullmatch(r"out\.png: 53 x 40 pixels, \d+ s on \S+, weights: real ones\n", out)
    assert "gatys: 100%" in err and "loss=0.25" in err and "a method may print" in err


def test_random_weights_are_said(capsys, quick):
    quick.weights = "random (He initialisation, seed 0)"
    code, out, err = run(capsys, "stylize", *GOOD)
    assert code == 0 and err.splitlines()[-1].startswith("These weights are random") and "doctor" in err


@pytest.mark.parametrize("losses, told", [((5.0, 4.0), 0), ((5.0, 4.99), 1), ((5.0, 1e18), 1), ((0.0, 0.0), 0)])
def test_a_loss_that_does_not_fall_is_said(capsys, losses, told):
    def method(content, style, callback):
        for step, loss in enumerate(losses, 1):
            callback(step, len(losses), loss)

    cli.paint(method, None, [None], "gatys")
    assert capsys.readouterr().err.count("gatys: the loss did not fall") == told


def test_a_warning_is_a_plain_sentence(capsys, monkeypatch, quick):
    inner = stylize.gatys

    def warns(content, style, **options):
        warnings.warn("The weights are\n not here.", stacklevel=2)
        return inner(content, style, **options)

    warns.__signature__ = inspect.signature(inner)
    monkeypatch.setattr(stylize, "gatys", warns)
    _, _, err = run(capsys, "stylize", *GOOD)
    assert "The weights are not here." in err.splitlines() and "UserWarning" not in err and ".py:" not in err


def test_too_little_memory_is_foretold(capsys, monkeypatch):
    picture = torch.zeros(1, 3, 1, 1).expand(1, 3, 2**14, 2**14)  # 1 GiB of pixels, at some kB each
    cli.foresee_memory(picture, "squeezenet")
    if Path("/proc/meminfo").exists():
        assert re.match(
            r"This takes about 1024 GiB of memory and \d+ GiB are free: a smaller --size", capsys.readouterr().err
        )
    cli.foresee_memory(torch.zeros(1, 3, 8, 8), "vgg19")
    assert capsys.readouterr().err == ""


def test_a_file_wins_over_a_name_and_a_name_over_a_folder(capsys, quick):
    Path("chelsea").write_bytes(Path("photo.png").read_bytes())
    Path("mosaic").mkdir()
    assert run(capsys, "stylize", "chelsea", "mosaic", "-o", "out.png", "--size", "36")[0] == 0
    assert quick.calls[0]["content"].shape == (1, 3, 36, 48), "the file, not the cat"
    assert quick.calls[0]["style"].equal(painted.paint("mosaic", 36, 48))
    Path("chelsea").unlink()
    run(capsys, "stylize", "chelsea", "mosaic", "-o", "out.png", "--size", "36")
    assert quick.calls[1]["content"].equal(images.read(assets.path("chelsea"), 36))


@pytest.mark.parametrize("name", ["out.png", "out.jpg", "out.webp", "out.tif"])
def test_the_file_says_how_it_was_made(name, capsys, quick):
    assert run(capsys, "stylize", "chelsea", "style.jpg", "-o", name, "--size", "32", "--seed", "4")[0] == 0
    data = Path(name).read_bytes()
    credit = "Method gatys; content: Chelsea the cat (Stéfan van der Walt, CC0); style: style.jpg; 48 x 32 pixels; "
    about = credit + "backbone squeezenet; steps 7; style weight 20.0; keep colors of content False; seed 4; device "
    assert about.encode("latin-1" if name == "out.png" else "utf8") in data
    assert f"torch {torch.__version__.partition('+')[0]}".encode() in data
    assert str(Path.cwd()).encode() not in data, "the user's folders are nobody's business"


# A folder -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["gatys", "adain"])
def test_a_folder_is_painted_picture_by_picture(method, capsys, quick, photos, monkeypatch):
    read, real = [], images.read
    monkeypatch.setattr(images, "read", lambda path, size=None: read.append(str(path)) or real(path, size))
    code, out, err = run(capsys, "stylize", "photos", "style.jpg", "-o", "made", "--method", method, "--size", "32")
    assert code == 0 and sorted(path.name for path in Path("made").iterdir()) == NAMES, err
    assert re.fullmatch(r"made: 3 pictures, \d+ s on \S+, weights: real ones\n", out)
    assert read == ["style.jpg", *(str(photos / name) for name in NAMES)], "the style is read once"
    assert (
        f"{method}: 100%" in err
        and "3/3" in err
        and "a.png 50%" in err
        and err.count("\n") == 1 + 3 * (method == "gatys")
    ), err
    assert b"content: c.webp; style: style.jpg; 42 x 32 pixels" in Path("made/c.webp").read_bytes()
    assert quick.calls[1]["content"].equal(real("photos/b.JPG", 32))


BAD_FOLDERS = {
    # arguments after the folder: what the sentence has to say
    ("style.jpg", "-o", "photo.png"): "photos is a folder, so its results need a folder too, not a file such as photo",
    ("style.jpg", "-o", "new.jpg"): "not a file such as new.jpg",
    ("style.jpg", "-o", "photos"): "photos is the folder to be read; choose another one for the results",
    ("style.jpg", "-o", "folder/../photos/", "--overwrite"): "is the folder to be read",
    ("missing.jpg", "-o", "made"): "There is no file missing.jpg",
    ("cut.jpg", "-o", "made"): "cut.jpg is damaged",
    ("full/b.JPG", "-o", "full", "--overwrite"): "full/b.JPG is one of the pictures to be read",
    ("style.jpg", "-o", "made", "--alpha", "1"): "The method gatys has no --alpha",
    ("style.jpg", "-o", "made", "--device", "toaster"): "There is no device",
    ("style.jpg", "-o", "blocked"): "b.JPG is a folder; name a file in it",
    ("style.jpg", "-o", "photo.png/made"): "photo.png/made cannot be used .Not a directory",
}


@pytest.mark.parametrize("arguments", BAD_FOLDERS, ids=" ".join)
def test_a_folder_that_cannot_be_done_is_one_sentence_before_any_work(arguments, capsys, quick, photos):
    shutil.copytree(photos, "full")
    Path("blocked/b.JPG").mkdir(parents=True)
    before = sorted(Path().rglob("*"))
    code, out, err = run(capsys, "stylize", "photos", *arguments)
    assert code == 2 and out == "" and err.count("\n") == 1 and re.search(BAD_FOLDERS[arguments], err), err
    assert quick.calls == [] and sorted(Path().rglob("*")) == before


def test_two_names_that_are_one_file_elsewhere_are_refused(capsys, quick, photos):
    Path("photos/B.jpg").write_bytes(Path("style.jpg").read_bytes())
    if len(list(photos.glob("[bB].*"))) < 2:
        pytest.skip("this disk does not tell them apart")
    code, _, err = run(capsys, "stylize", "photos", "style.jpg", "-o", "made")
    assert code == 2 and err == "B.jpg and b.JPG in photos would be one file on many disks; rename one of them.\n"
    assert quick.calls == [] and not Path("made").exists()


def test_a_link_into_the_results_is_not_overwritten(capsys, quick, photos):
    Path("made").mkdir()
    Path("photos/a.png").rename("made/b.JPG")
    Path("photos/a.png").symlink_to("../made/b.JPG")
    code, _, err = run(capsys, "stylize", "photos", "style.jpg", "-o", "made", "--overwrite")
    assert code == 2 and "made/b.JPG is one of the pictures to be read" in err and quick.calls == []


def test_a_broken_picture_does_not_stop_a_folder(capsys, quick, photos):
    Path("photos/b.JPG").write_bytes(Path("cut.jpg").read_bytes())
    Path("photos/bb.png").write_bytes(Path("small.png").read_bytes())
    code, out, err = run(capsys, "stylize", "photos", "style.jpg", "-o", "made", *ADAIN)
    assert code == 1 and out.startswith("made: 2 pictures, ")
    assert sorted(path.name for path in Path("made").iterdir()) == ["a.png", "c.webp"]
    damaged, small = err.splitlines()[-2:]
    assert damaged.startswith("photos/b.JPG is damaged") and small.startswith("photos/bb.png has only 21 x 16 pixels")


def test_trouble_with_one_picture_names_it(capsys, quick, photos):
    quick.errors = [None, MemoryError(), stylize.Diverged("The loss became nan: lower the style weight.")]
    code, out, err = run(capsys, "stylize", "photos", "style.jpg", "-o", "made")
    assert code == 1 and out.startswith("made: 1 picture, ")
    assert err.splitlines()[-2].startswith("photos/b.JPG: There is not enough memory")
    assert err.splitlines()[-1] == "photos/c.webp: The loss became nan: lower the style weight."


def test_where_all_fail_nothing_is_said_to_be_done(capsys, quick, photos):
    quick.error = MemoryError()
    code, out, err = run(capsys, "stylize", "photos", "style.jpg", "-o", "made")
    assert code == 1 and out == "" and err.count("not enough memory") == 3


def test_weights_that_are_not_there_stop_a_folder_at_once(capsys, quick, photos):
    quick.error = zoo.ZooError("There is no network 'adain_decoder' in the zoo.")
    code, out, err = run(capsys, "stylize", "photos", "style.jpg", "-o", "made", *ADAIN)
    assert code == 2 and out == "" and len(quick.calls) == 1 and err.count("There is no network") == 1


def test_a_mistake_of_ours_in_a_folder_keeps_its_traceback(capsys, quick, photos):
    quick.errors = [None, ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        cli.main(["stylize", "photos", "style.jpg", "-o", "made"])
    assert [path.name for path in Path("made").iterdir()] == ["a.png"]


def test_a_stopped_folder_keeps_what_is_done_and_goes_on_from_there(capsys, quick, photos):
    Path("photos/a.png").write_bytes(b"")
    command = ["stylize", "photos", "style.jpg", "-o", "made"]
    quick.errors = [None, KeyboardInterrupt()]
    code, out, err = run(capsys, *command)
    assert code == 130 and out == "" and [path.name for path in Path("made").iterdir()] == ["b.JPG"]
    assert err.splitlines()[-1] == "Stopped: 1 of 3 pictures were painted; the same command goes on from there."
    assert err.splitlines()[-2].startswith("photos/a.png is no picture"), "failures are told all the same"
    Path("photos/a.png").write_bytes(Path("photo.png").read_bytes())
    done = Path("made/b.JPG").stat()
    code, out, err = run(capsys, *command)
    assert code == 0 and out.startswith("made: 2 pictures, ") and Path("made/b.JPG").stat() == done
    assert "1 of 3 pictures are in made already and stay; --overwrite paints them again." in err
    code, out, err = run(capsys, *command)
    assert code == 0 and out == "" and "3 of 3 pictures are in made already" in err and len(quick.calls) == 4
    code, out, err = run(capsys, *command, "--overwrite")
    assert code == 0 and out.startswith("made: 3 pictures, ") and "already" not in err
    assert Path("made/b.JPG").stat() != done and len(quick.calls) == 7
    quick.error = KeyboardInterrupt()
    assert run(capsys, *command, "--overwrite")[2].endswith("Stopped: 0 of 3 pictures were painted.\n")


def test_a_folder_told_of_one_loss_names_the_picture_beside_the_bar(capsys):
    bar = progress(2, "gatys")
    cli.paint(lambda *_, callback: callback(1, 1, 1.0), None, [None], "a.png", bar)
    bar.close()
    err = capsys.readouterr().err
    assert re.search("[\r\n]a.png: the loss did not fall.*\n", err), "a line of its own"


# Help -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["stylize", "--help"], ["doctor", "--help"], ["--version"]])
def test_help_goes_to_stdout(arguments, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    out, err = capsys.readouterr()
    assert left.value.code == 0 and err == "" and "stlib" in out


@pytest.mark.parametrize("line", [line for lines in cli.EXAMPLES.values() for line in lines])
def test_the_examples_of_the_help_parse(line, capsys):
    program, arguments = line.split(" -m stlib ")
    options = cli.parser().parse_args(shlex.split(arguments))
    assert program == "python" and options.command in ("stylize", "doctor")
    for name in (getattr(options, "content", "."), *getattr(options, "style", [])):
        assert "." in name or name.endswith("/") or name in (*assets.REGISTRY, *painted.KINDS), name
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert line in capsys.readouterr().out


def test_every_option_of_the_issue_is_there_and_its_choices_are_the_package_s():
    options = cli.parser().parse_args(["stylize", *GOOD])
    assert set(cli.BACKBONES) == set(stylize.STYLE_LAYERS)
    assert all(callable(getattr(stylize, function)) for function in cli.METHODS)
    assert {"method", "backbone", "size", "steps", "style_weight", "keep_colors", "device", "seed"} <= set(
        vars(options)
    )


def test_examples_in_the_book_parse():
    pages = [*(ROOT / "book").glob("*.md"), *ROOT.glob("README.md")]
    lines = [line.strip() for page in pages for line in page.read_text("utf8").splitlines()]
    lines = [line for line in lines if line.startswith("python -m stlib ") and "--help" not in line]
    assert lines
    for line in lines:
        cli.parser().parse_args(shlex.split(line, comments=True)[3:])


# Doctor ---------------------------------------------------------------------------------------------------------------


def test_the_doctor_says_what_is_here(capsys, monkeypatch):
    monkeypatch.setenv("STLIB_ASSETS", "/no/such/folder")
    monkeypatch.setattr(assets, "_fetch", lambda asset: pytest.fail("it used the network"))
    code, out, err = run(capsys, "doctor")
    assert code == 0 and out.splitlines()[-1].startswith("A chapter can run here"), out
    for part in (
        torch.__version__.partition("+")[0],
        "fast dtype",
        "threads",
        "vgg19",
        "writable",
        "NO SUCH FOLDER",
        "chromium",
    ):
        assert part in out, part
    rows = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ")}
    assert "package skimage" in rows["chelsea"]
    wanted = assets.REGISTRY["starry_night"]
    assert (
        "not here" in rows["starry_night"]
        and wanted.url in rows["starry_night"]
        and wanted.file in rows["starry_night"]
    )
    assert "with random weights" in out
    assert not Path("cache").exists(), "looking must not make folders"


def test_the_doctor_tells_what_would_be_fetched(capsys, monkeypatch):
    monkeypatch.setenv("STLIB_ASSETS", "")
    monkeypatch.delenv("STLIB_OFFLINE")
    _, out, _ = run(capsys, "doctor")
    assert out.count("fetched when first used") == sum(not entry.package for entry in assets.ENTRIES)
    assert "random weights" not in out


@pytest.mark.parametrize("problem", ["missing", "broken", "scale", "cache"])
def test_the_doctor_says_what_to_do(problem, capsys, monkeypatch, place):
    if problem == "missing":
        real = doctor.version
        monkeypatch.setattr(doctor, "version", lambda name: None if name == "scipy" else real(name))
        expected = "pip install scipy"
    elif problem == "broken":
        monkeypatch.setitem(sys.modules, "torch", None)
        monkeypatch.delitem(sys.modules, "stlib.runtime")
        expected = "torch"
    elif problem == "scale":
        monkeypatch.setenv("STLIB_SCALE", "huge")
        expected = "STLIB_SCALE is 'huge'"
    else:
        (place / "file").write_text("")
        monkeypatch.setenv("STLIB_CACHE", str(place / "file" / "cache"))
        code, out, _ = run(capsys, "doctor")
        assert code == 0 and "NOT WRITABLE" in out and "set STLIB_CACHE" in out
        return
    code, out, _ = run(capsys, "doctor")
    last = out.splitlines()[-1]
    assert code == 1 and last.startswith("A chapter cannot run here yet: ") and expected in last


def test_the_doctor_works_on_a_bare_python():
    process = command("doctor", python=["-S"])
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and err == "", err
    assert re.search(r"torch +MISSING", out) and "pip install torch torchvision numpy" in out.splitlines()[-1]
    process = command("stylize", "chelsea", "mosaic", "-o", "out.png", python=["-S"])
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2 and err.count("\n") == 1 and "is not installed; `python -m stlib doctor`" in err


# As a process ---------------------------------------------------------------------------------------------------------


def test_help_is_quick_and_imports_no_torch():
    code = (
        "import sys, stlib.__main__ as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'numpy', 'PIL'} & set(sys.modules), 'something heavy was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "examples:" in done.stdout, done.stderr


def test_a_real_run(place):
    arguments = ["stylize", "chelsea", "style.jpg", "-o", "out.png", "--size", "64", "--steps", "4", "--device", "cpu"]
    process = command(*arguments)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert re.match(r"out\.png: 96 x 64 pixels, \d+ s on cpu, weights: (ImageNet|random)", out) and out.count("\n") == 1
    assert "UserWarning" not in err and "Traceback" not in err and "gatys: 100%" in err.replace("\r", "\n")
    assert ("These weights are random" in err) == ("random" in out)
    made = images.read("out.png")
    assert made.shape == (1, 3, 64, 96) and made.std() > 0.01
    assert not [path for path in place.iterdir() if path.name.startswith(".")]


def test_a_real_run_of_adain_over_a_folder(capsys, photos, monkeypatch):
    decoder = Decoder()
    decoder.weights = "untrained"
    monkeypatch.setattr(stylize, "adain_decoder", lambda device=None: decoder.to(device))
    options = [*ADAIN, "--mix", "1", "3", "--alpha", "0.5", "--keep-colors", "--size", "32", "--device", "cpu"]
    code, out, err = run(capsys, "stylize", "photos", "style.jpg", "mosaic", "-o", "made", *options)
    assert code == 0 and re.match(r"made: 3 pictures, \d+ s on cpu, weights: .*untrained", out), err
    assert {images.read(path).shape for path in Path("made").iterdir()} == {(1, 3, 32, 42)}
    assert "3/3" in err and "c.webp 100%" in err


def test_a_bad_input_as_a_process():
    process = command("stylize", "missing.jpg", "style.jpg", "-o", "out.png")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (2, "", "There is no file missing.jpg.\n")


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
@pytest.mark.parametrize("kind, code", [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_stopped_run_leaves_the_old_file_and_nothing_else(place, kind, code):
    old, before = Path("style.jpg").read_bytes(), sorted(p.name for p in place.iterdir())
    Path("out.jpg").write_bytes(old)
    process = command(
        "stylize", "chelsea", "mosaic", "-o", "out.jpg", "--size", "64", "--steps", "100000", "--device", "cpu"
    )
    seen = ""
    while "loss=" not in seen and (more := process.stderr.read(1)):  # until it paints
        seen += more
    assert "loss=" in seen, seen
    process.send_signal(kind)
    out, rest = process.communicate(timeout=60)
    assert process.returncode == code and out == "" and "Traceback" not in rest
    if kind == signal.SIGINT:
        assert rest.splitlines()[-1] == "Stopped: nothing was written."
    assert Path("out.jpg").read_bytes() == old
    assert sorted(p.name for p in place.iterdir()) == sorted([*before, "out.jpg"])
