"""The command line of the course: `python -m stlib stylize` paints a photograph, `doctor` says what is installed.

Torch is imported only when it is needed, so that help is quick and `doctor` works without it.
"""

import argparse
import contextlib
import inspect
import math
import os
import sys
import time
import warnings
from importlib import metadata
from pathlib import Path

from stlib import COURSE, __version__, doctor

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads crawl on a machine with other work

METHODS = {"gatys": "gatys"}  # what --method accepts: the function of stlib.stylize that does it
BACKBONES = {"squeezenet": 4, "vgg16": 8, "vgg19": 8}  # kB of memory a pixel of the result takes, measured on a CPU
SIZES, STEPS = (32, 4096), (1, 100_000)  # 32: smaller pictures do not reach the deepest layers
PASSED = ("backbone", "steps", "style_weight", "keep_colors", "seed")  # options that go to the method's function
KEYWORDS = {"keep_colors": "keep_colors_of_content"}  # where the keyword has another name than the option
EXAMPLES = {
    "stylize": [
        "python -m stlib stylize holiday.jpg painting.jpg -o result.jpg",
        "python -m stlib stylize tuebingen starry_night -o night.png --size 384",
        "python -m stlib stylize me.jpg mosaic -o me.png --keep-colors --style-weight 100 --steps 200",
    ],
    "doctor": ["python -m stlib doctor"],
}


class Trouble(Exception):
    """What the user has to be told, in one sentence; it ends the program with exit code 2."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence."""

    def error(self, message):
        raise Trouble(f"{message[:1].upper()}{message[1:].rstrip('.')}; see `{self.prog} --help`.")


def number(kind, lowest, highest=math.inf):
    """An argparse type: a number of type `kind` (int or float) from `lowest` to `highest`."""

    def convert(text):
        with contextlib.suppress(ValueError, OverflowError):
            value = kind(text)
            if math.isfinite(value) and lowest <= value <= highest:
                return value
        what = "whole number" if kind is int else "number"
        limits = f"from {lowest}" + (f" to {highest}" if math.isfinite(highest) else " on")
        raise argparse.ArgumentTypeError(f"{text!r} is not a {what} {limits}")

    return convert


def parser():
    """The parser of the whole command line."""

    def examples(*commands):
        return "examples:\n" + "\n".join(f"  {line}" for name in commands for line in EXAMPLES[name])

    shared = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    top = Parser("python -m stlib", description="Image style transfer.", epilog=examples(*EXAMPLES), **shared)
    top.add_argument("--version", action="version", version=f"stlib {__version__} ({COURSE})")
    commands = top.add_subparsers(dest="command", required=True, metavar="stylize | doctor")
    about = "Paint a photograph in the style of a picture."
    paint = commands.add_parser("stylize", help=about, description=about, epilog=examples("stylize"), **shared)
    paint.add_argument("content", help="the photograph: a file, or a picture of the course such as tuebingen")
    paint.add_argument("style", help="the style: a file, or a name such as starry_night or mosaic; a file wins")
    paint.add_argument("-o", "--output", required=True, metavar="OUT", help="the file to write: .png, .jpg, .webp, ...")
    paint.add_argument("--method", choices=METHODS, default="gatys", help="default: %(default)s")
    paint.add_argument("--backbone", choices=BACKBONES, help="default: squeezenet, the quickest")
    size = "shorter side of the result in pixels, never larger than the photograph's; default: %(default)s"
    paint.add_argument("--size", type=number(int, *SIZES), default=512, metavar="N", help=size)
    steps = "steps of the optimisation at each scale; default: the method's own"
    paint.add_argument("--steps", type=number(int, *STEPS), metavar="N", help=steps)
    weight = "how much the style counts; default: the method's own"
    paint.add_argument("--style-weight", type=number(float, 0), metavar="W", help=weight)
    paint.add_argument("--keep-colors", action="store_true", help="keep the colours of the photograph")
    paint.add_argument("--device", metavar="D", help="cpu, cuda, cuda:1, mps; default: a GPU if there is one")
    paint.add_argument("--seed", type=number(int, 0, 2**32 - 1), metavar="N", help="default: 0")
    about = "Say what is installed and reachable, and what to do about the rest."
    commands.add_parser("doctor", help=about, description=about, **shared)
    return top


# stylize -------------------------------------------------------------------------------------------------------------


def tell(sentence):
    """Say something beside the result: one sentence on stderr."""
    print(" ".join(sentence.split()), file=sys.stderr)


def pixels(picture):
    """The size of a picture (1, 3, H, W) as it is said: "width x height"."""
    return f"{picture.shape[-1]} x {picture.shape[-2]}"


def named_picture(name, size):
    """A picture of the course by name, and its credit. Never a stand-in: who names a picture wants that one."""
    from stlib import assets, images, painted

    if name in painted.KINDS:
        return images.picture(name, size), f"{name} ({images.credit(name)})"
    entry = assets.REGISTRY[name]
    try:
        return images.read(assets.path(name), size), f"{entry.title} ({entry.credit})"
    except assets.AssetUnavailable as error:
        raise Trouble(f"{error} Or take {' or '.join(painted.KINDS)}, which are painted by code.") from None


def load(argument, size):
    """A picture (1, 3, H, W) by file or name, its shorter side at most `size` pixels, and the text that credits it."""
    from stlib import assets, images, painted

    shown = [name for name, entry in assets.REGISTRY.items() if entry.kind != "weights" and entry.show]
    if os.path.isfile(argument):
        picture, credit = images.read(argument, size), Path(argument).name
    elif argument in (*assets.REGISTRY, *painted.KINDS):
        picture, credit = named_picture(argument, size)
    elif os.path.lexists(argument) or os.path.basename(argument) != argument or "." in argument:
        picture, credit = images.read(argument, size), ""  # tells what is wrong with it
    else:
        names = ", ".join([*shown, *painted.KINDS])
        raise Trouble(f"There is no file {argument!r} and no picture of the course of that name; those are: {names}.")
    if min(picture.shape[-2:]) < SIZES[0]:
        raise Trouble(f"{argument} has only {pixels(picture)} pixels; both sides need {SIZES[0]} or more.")
    return picture, credit


def check_output(options):
    """Raise unless the result can be written without harm to the pictures that are read."""
    from stlib import images

    images.check_writable(options.output)
    for argument in (options.content, options.style):
        if os.path.isfile(argument) and os.path.exists(options.output) and os.path.samefile(argument, options.output):
            raise Trouble(f"{options.output} is one of the pictures to be read; choose another name for the result.")


def foresee_memory(picture, backbone):
    """Say so when the work will probably take more memory than is free (Linux)."""
    with contextlib.suppress(OSError, StopIteration), open("/proc/meminfo") as handle:
        free = next(int(line.split()[1]) for line in handle if line.startswith("MemAvailable")) / 2**20
        need = picture[0, 0].numel() * BACKBONES[backbone] / 2**20
        if need > free:
            tell(f"This takes about {need:.0f} GiB of memory and {free:.0f} GiB are free: a smaller --size is safer.")


def keywords(function, options):
    """The keyword arguments for a method's function, its own defaults included. Raises Trouble for one it lacks."""
    own, chosen = inspect.signature(function).parameters, {}
    for name in PASSED:
        key, value = KEYWORDS.get(name, name), getattr(options, name)
        if key in own:
            chosen[key] = own[key].default if value is None else value
        elif value not in (None, False):
            raise Trouble(f"The method {options.method} has no --{name.replace('_', '-')}; leave it out.")
    return chosen


def paint(function, content, style, title, **chosen):
    """Call a method with a progress bar; what it prints goes to stderr, like the bar."""
    from stlib.training import progress

    bar, losses = None, []
    with contextlib.ExitStack() as stack, contextlib.redirect_stdout(sys.stderr):

        def report(done, total, loss):
            nonlocal bar
            bar = bar or stack.enter_context(progress(total, title))
            bar.set_postfix(loss=f"{loss:.3g}", refresh=False)
            bar.update(done - bar.n)
            losses.append(loss)

        made = function(content, style, callback=report, **chosen)
    if losses and losses[-1] > 0.98 * losses[0] > 0:
        tell("The loss did not fall, so this is hardly a painting: try more --steps or a smaller --style-weight.")
    return made


def stylize(options):
    """`python -m stlib stylize`: check all that is cheap, paint, write, say how it was made."""
    from stlib import images, runtime
    from stlib import stylize as methods

    check_output(options)
    function = getattr(methods, METHODS[options.method])
    chosen = keywords(function, options)
    chosen["device"] = runtime.device(options.device)
    content, from_content = load(options.content, options.size)
    style, from_style = load(options.style, min(content.shape[-2:]))
    if min(content.shape[-2:]) < options.size:
        tell(f"{options.content} has {pixels(content)} pixels: the result keeps that size.")
    if chosen["device"].type == "cpu" and "backbone" in chosen:
        foresee_memory(content, chosen["backbone"])
    start = time.perf_counter()
    made = paint(function, content, style, options.method, **chosen)
    size, cost = pixels(made.picture), f"{time.perf_counter() - start:.0f} s on {chosen['device']}"
    about = f"Method {options.method}; content: {from_content}; style: {from_style}; {size} pixels; "
    about += "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in chosen.items())
    about += f"; weights: {made.weights}; stlib {__version__}; torch {metadata.version('torch')}."
    images.write(made.picture, options.output, about=about)
    print(f"{options.output}: {size} pixels, {cost}, weights: {made.weights}")
    if made.weights.startswith("random"):
        tell("These weights are random, so the style comes out less well: see `python -m stlib doctor`.")
    return 0


def explained(error):
    """One sentence for an error that has a known cause, or None."""
    text = str(error)
    if isinstance(error, Trouble) or type(error).__module__.startswith("stlib."):
        return text
    if isinstance(error, ModuleNotFoundError):
        return f"The package {error.name} is not installed; `python -m stlib doctor` says what is missing."
    signs = ("out of memory", "enough memory", "allocate", "alloc_failed")
    if isinstance(error, MemoryError) or isinstance(error, RuntimeError) and any(s in text.lower() for s in signs):
        return "There is not enough memory for a picture of this size: choose a smaller --size."
    return None


def main(arguments=None):
    """Run the command line; returns the exit code: 0 done, 1 see doctor, 2 bad input, 130 stopped by Ctrl-C."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *_: tell(str(message))
        try:
            options = parser().parse_args(arguments)
            return stylize(options) if options.command == "stylize" else doctor.main()
        except KeyboardInterrupt:
            tell("Stopped: nothing was written.")
            return 130
        except Exception as error:
            sentence = explained(error)
            if sentence is None:
                raise
            tell(sentence)
            return 2


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # a file name may hold what the terminal cannot show
    sys.exit(main())
