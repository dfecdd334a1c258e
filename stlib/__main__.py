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

METHODS = {"gatys": 4096, "adain": 16384}  # functions of stlib.stylize, and the largest --size that each can do
BACKBONES = {"squeezenet": 4, "vgg16": 8, "vgg19": 8}  # kB of memory a pixel of the result takes, measured on a CPU
SIZES, STEPS = (32, max(METHODS.values())), (1, 100_000)  # 32: smaller pictures do not reach the deepest layers
STYLE_SIZES = (1024, 4096)  # the largest a style is painted by code, which takes seconds then, and read from a file
PASSED = ("backbone", "steps", "style_weight", "mix", "alpha", "keep_colors", "seed")  # go to the method's function
KEYWORDS = {"keep_colors": "keep_colors_of_content"}  # where the keyword has another name than the option
EXAMPLES = {
    "stylize": [
        "python -m stlib stylize holiday.jpg painting.jpg -o result.jpg",
        "python -m stlib stylize tuebingen starry_night -o night.png --size 384",
        "python -m stlib stylize me.jpg mosaic -o me.png --keep-colors --style-weight 100 --steps 200",
        "python -m stlib stylize me.jpg starry_night wave -o me.png --method adain --mix 2 1 --alpha 0.7",
        "python -m stlib stylize holidays/ starry_night -o painted/ --method adain",
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
    about = "Paint a photograph, or all those of a folder, in the style of a picture."
    paint = commands.add_parser("stylize", help=about, description=about, epilog=examples("stylize"), **shared)
    add, sizes = paint.add_argument, ", ".join(f"{largest} for {name}" for name, largest in METHODS.items())
    add("content", help="the photograph: a file, a picture of the course such as tuebingen, or a folder of photographs")
    add("style", nargs="+", help="a file, or a name such as starry_night or mosaic; a file wins; several: only adain")
    output = "the file to write: .png, .jpg, .webp, ...; for a folder the folder of the results, made if absent"
    add("-o", "--output", required=True, metavar="OUT", help=output)
    overwrite = "paint all of a folder; else results in OUT stay, whatever their style: a stopped run goes on"
    add("--overwrite", action="store_true", help=overwrite)
    method = "gatys optimises the pixels, in minutes; adain takes any style in one pass; default: %(default)s"
    add("--method", choices=METHODS, default="gatys", help=method)
    size = "shorter side of the result in pixels, never larger than the photograph's; default: %(default)s; at most "
    add("--size", type=number(int, *SIZES), default=512, metavar="N", help=size + sizes)
    add("--keep-colors", action="store_true", help="keep the colours of the photograph")
    mix = "adain: how much each style counts, in their order; default: all the same"
    add("--mix", type=number(float, 0, 1000), nargs="+", metavar="W", help=mix)
    add("--alpha", type=number(float, 0, 1), metavar="A", help="adain: how much style; 0: only rebuilt; default: 1")
    add("--backbone", choices=BACKBONES, help="gatys; default: squeezenet, the quickest")
    steps = "gatys: steps of the optimisation at each scale; default: the method's own"
    add("--steps", type=number(int, *STEPS), metavar="N", help=steps)
    weight = "gatys: how much the style counts; default: the method's own"
    add("--style-weight", type=number(float, 0), metavar="W", help=weight)
    add("--seed", type=number(int, 0, 2**32 - 1), metavar="N", help="gatys; default: 0")
    add("--device", metavar="D", help="cpu, cuda, cuda:1, mps; default: a GPU if there is one")
    about = "Say what is installed and reachable, and what to do about the rest."
    commands.add_parser("doctor", help=about, description=about, **shared)
    return top


# stylize -------------------------------------------------------------------------------------------------------------


def tell(sentence):
    """Say something beside the result: one sentence on stderr."""
    tqdm = sys.modules.get("tqdm")  # which does not tear a progress bar
    (tqdm.tqdm.write if tqdm else print)(" ".join(sentence.split()), file=sys.stderr)


def pixels(picture):
    """The size of a picture (1, 3, H, W) as it is said: "width x height"."""
    return f"{picture.shape[-1]} x {picture.shape[-2]}"


def named_picture(name, size):
    """A picture of the course by name, and its credit. Never a stand-in: who names a picture wants that one."""
    from stlib import assets, images, painted

    if name in painted.KINDS:
        return images.picture(name, min(size, STYLE_SIZES[0])), f"{name} ({images.credit(name)})"
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


def pictures(folder):
    """The names of the pictures in a folder, sorted, without hidden files. Raises Trouble where there are none."""
    from stlib.images import FORMATS

    names = [name for name in sorted(os.listdir(folder)) if Path(name).suffix.lower() in FORMATS and name[0] != "."]
    names = [name for name in names if os.path.isfile(os.path.join(folder, name))]
    if not names:
        raise Trouble(f"There is no picture in the folder {folder}; its files should be: {', '.join(FORMATS)}.")
    first = {}
    for name in names:
        if (other := first.setdefault(name.casefold(), name)) != name:
            raise Trouble(f"{other} and {name} in {folder} would be one file on many disks; rename one of them.")
    return names


def plan(options):
    """What is to be painted, [(photograph, result)], and how many results of a folder are there already.

    Raises unless all can be written without harm to the pictures that are read.
    """
    from stlib import images

    content, output = options.content, options.output
    jobs = todo = [(content, output)]
    if os.path.isdir(content):
        jobs = [(os.path.join(content, name), os.path.join(output, name)) for name in pictures(content)]
        todo = [job for job in jobs if options.overwrite or not os.path.isfile(job[1])]
        if not os.path.isdir(output):
            if os.path.lexists(output) or Path(output).suffix.lower() in images.FORMATS:
                raise Trouble(f"{content} is a folder, so its results need a folder too, not a file such as {output}.")
            return todo, 0
        if os.path.samefile(content, output):
            raise Trouble(f"{output} is the folder to be read; choose another one for the results.")

    def identity(path):
        return (stat := os.stat(path)).st_dev, stat.st_ino

    read = {identity(path) for path in [photo for photo, _ in jobs] + options.style if os.path.isfile(path)}
    for _, result in todo:
        images.check_writable(result)
        if os.path.exists(result) and identity(result) in read:
            raise Trouble(f"{result} is one of the pictures to be read; choose another name for the result.")
    return todo, len(jobs) - len(todo)


def foresee_memory(picture, backbone):
    """Say so when the work will probably take more memory than is free (Linux)."""
    with contextlib.suppress(OSError, StopIteration), open("/proc/meminfo") as handle:
        free = next(int(line.split()[1]) for line in handle if line.startswith("MemAvailable")) / 2**20
        need = picture[0, 0].numel() * BACKBONES[backbone] / 2**20
        if need > free:
            tell(f"This takes about {need:.0f} GiB of memory and {free:.0f} GiB are free: a smaller --size is safer.")


def keywords(function, options):
    """The keyword arguments for a method's function, its own defaults included; Trouble for what it cannot do."""
    own, chosen, styles = inspect.signature(function).parameters, {}, len(options.style)
    if styles > 1 and "mix" not in own:
        raise Trouble(f"The method {options.method} takes one style, not {styles}: name one, or add --method adain.")
    if options.size > METHODS[options.method]:
        raise Trouble(f"The method {options.method} goes up to --size {METHODS[options.method]}; choose a smaller one.")
    for name in PASSED:
        key, value = KEYWORDS.get(name, name), getattr(options, name)
        if key in own:
            chosen[key] = own[key].default if value is None else value
        elif value is not None and value is not False:
            raise Trouble(f"The method {options.method} has no --{name.replace('_', '-')}; leave it out.")
    if options.mix and len(options.mix) != styles:
        raise Trouble(f"--mix needs a weight for each of the styles: it has {len(options.mix)}, they are {styles}.")
    if options.mix and max(options.mix) < 1e-6:
        raise Trouble("The weights of --mix are all zero; give at least one style more.")
    return chosen


def paint(function, content, styles, title, whole=None, **chosen):
    """Call a method with a progress bar, or with its share beside `whole`, the bar of a folder; print to stderr."""
    from stlib.training import progress

    bar, losses = None, []
    with contextlib.ExitStack() as stack, contextlib.redirect_stdout(sys.stderr):

        def report(done, total, loss=None):
            nonlocal bar
            if loss is not None:
                losses.append(loss)
            if whole is not None:
                return whole.set_postfix_str(f"{title} {done / total:.0%}")
            bar = bar or stack.enter_context(progress(total, title))
            if losses:
                bar.set_postfix(loss=f"{loss:.3g}", refresh=False)
            bar.update(done - bar.n)

        made = function(content, styles if len(styles) > 1 else styles[0], callback=report, **chosen)
    if losses and losses[-1] > 0.98 * losses[0] > 0:
        tell(f"{title}: the loss did not fall, so this is hardly a painting: try more --steps or less --style-weight.")
    return made


def make(content, output, options, function, styles, chosen, whole=None):
    """Read a photograph, paint it, write the result; returns its size, and which weights the networks had."""
    from stlib import images

    photo, from_content = load(content, options.size)
    side = min(photo.shape[-2:])
    if side < options.size and whole is None:
        tell(f"{content} has {pixels(photo)} pixels: the result keeps that size.")
    if chosen["device"].type == "cpu" and "backbone" in chosen:
        foresee_memory(photo, chosen["backbone"])
    fitting = [images.resize(style, min(side, *style.shape[-2:])) for style, _ in styles]
    made = paint(function, photo, fitting, options.method if whole is None else Path(content).name, whole, **chosen)
    from_style, size = " + ".join(credit for _, credit in styles), pixels(made.picture)
    about = f"Method {options.method}; content: {from_content}; style: {from_style}; {size} pixels; "
    about += "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in chosen.items() if value is not None)
    about += f"; weights: {made.weights}; stlib {__version__}; torch {metadata.version('torch')}."
    images.write(made.picture, output, about=about)
    return f"{size} pixels", made.weights


def make_all(todo, options, *how):
    """Make the pictures of a folder and go on where one fails; returns how many, their weights, and the failures."""
    from stlib import zoo
    from stlib.training import progress

    os.makedirs(options.output, exist_ok=True)
    made, failures, bar = [], [], progress(todo, options.method)
    try:
        for content, output in bar:
            try:
                made.append(make(content, output, options, *how, bar))
            except Exception as error:
                sentence = explained(error)
                if not sentence or isinstance(error, (ModuleNotFoundError, zoo.ZooError)):  # no picture's own fault
                    raise
                failures.append(sentence if content in sentence else f"{content}: {sentence}")
    except KeyboardInterrupt:
        again = "" if options.overwrite else "; the same command goes on from there"
        raise KeyboardInterrupt(f"Stopped: {len(made)} of {len(todo)} pictures were painted{again}.") from None
    finally:
        bar.close()
        for sentence in failures:
            tell(sentence)
    return f"{len(made)} picture{'s' * (len(made) != 1)}", made[-1][1] if made else "", failures


def stylize(options):
    """`python -m stlib stylize`: check all that is cheap, paint, write, say how it was made."""
    from stlib import runtime
    from stlib import stylize as methods

    todo, there = plan(options)
    function = getattr(methods, options.method)
    chosen = keywords(function, options)
    chosen["device"] = runtime.device(options.device)
    styles = [load(style, min(options.size, STYLE_SIZES[1])) for style in options.style]
    if there:
        total = there + len(todo)
        tell(f"{there} of {total} pictures are in {options.output} already and stay; --overwrite paints them again.")
    start, how = time.perf_counter(), (options, function, styles, chosen)
    if os.path.isdir(options.content):
        what, weights, failures = make_all(todo, *how)
    else:
        (what, weights), failures = make(*todo[0], *how), []
    if weights:
        cost = f"{time.perf_counter() - start:.0f} s on {chosen['device']}"
        print(f"{options.output}: {what}, {cost}, weights: {weights}")
    if "random" in weights:
        tell("These weights are random, so the style comes out less well: see `python -m stlib doctor`.")
    return 1 if failures else 0


def explained(error):
    """One sentence for an error that has a known cause, or None."""
    text = str(error)
    if isinstance(error, Trouble) or type(error).__module__.startswith("stlib."):
        return text
    if isinstance(error, ModuleNotFoundError):
        return f"The package {error.name} is not installed; `python -m stlib doctor` says what is missing."
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename} cannot be used ({error.strerror})."
    signs = ("out of memory", "enough memory", "allocate", "alloc_failed")
    if isinstance(error, MemoryError) or isinstance(error, RuntimeError) and any(s in text.lower() for s in signs):
        return "There is not enough memory for a picture of this size: choose a smaller --size."
    return None


def main(arguments=None):
    """Run the command line; returns the exit code: 0 done, 1 something failed, 2 bad input, 130 stopped by Ctrl-C."""
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = lambda message, *_: tell(str(message))
        try:
            options = parser().parse_args(arguments)
            return stylize(options) if options.command == "stylize" else doctor.main()
        except KeyboardInterrupt as stop:
            tell(str(stop) or "Stopped: nothing was written.")
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
