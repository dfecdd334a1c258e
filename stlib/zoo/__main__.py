"""What the zoo holds, whether it is whole, and how it was made: `python -m stlib.zoo list | verify | card | train`.

`train NAME` makes a network anew: of a recipe (`oracle`), or of a chapter (`adain`), whose notebook is then executed at
scale `zoo` and left as it was. By `accelerate launch` or `torchrun` a recipe runs in several processes.
"""

import argparse
import importlib
import inspect
import sys
from pathlib import Path

from stlib import chapters, training, zoo
from stlib.zoo.cards import card

OPTIONS = ("size", "minutes", "steps", "seed", "resume", "device")


def show(folder):
    """Print a table of the networks in `folder`."""
    print(f"{'name':24} {'chapter':16} {'size':>9} {'parameters':>12}  what")
    for name in zoo.names(folder):
        a = zoo.record(name, folder)
        print(f"{name:24} {a['chapter']:16} {a['bytes'] / 1e6:6.2f} MB {a['parameters']:12,}  {a['description']}")


def verify(folder):
    """Print one line for each network in `folder`; return whether all are well."""
    found = {name: zoo.problems(name, folder) for name in zoo.names(folder)}
    for name, sentences in found.items():
        print(f"{name:24} {' '.join(sentences) or 'well'}")
    print(f"{len(found)} checked, {sum(map(bool, found.values()))} with problems.")
    return not any(found.values())


def chapters_that_train():
    """{chapter: path} of the notebooks with cells tagged `zoo`; none outside a checkout."""
    paths = chapters.notebooks() if chapters.root() else []
    return {
        path.stem: path for path in paths if any("zoo" in chapters.tags(cell) for cell in chapters.read(path)["cells"])
    }


def train(name, options):
    """Train a network of a recipe, or those of a chapter, with the options given: {"steps": 100}.

    Raises ZooError in one sentence for an unknown name and for an option that does not apply.
    """
    if name in zoo.RECIPES:
        from stlib import runtime  # needs torch; the other commands do not

        publish = importlib.import_module(zoo.RECIPES[name].module).publish
        home, taken = f"the script `{zoo.RECIPES[name].module}`", inspect.signature(publish).parameters
        if device := options.get("device"):
            try:
                runtime.device(device)
            except runtime.DeviceError as error:
                raise zoo.ZooError(str(error)) from None
    else:
        chapter = name if name not in zoo.names() else zoo.record(name)["chapter"]
        known = chapters_that_train()
        if chapter not in known:
            only = "" if chapters.root() else " (chapters are trained in a checkout of the course only)"
            there = ", ".join([*zoo.RECIPES, *known])
            raise zoo.ZooError(f"There is nothing called {name!r} to be trained; there are: {there}{only}.")
        home, taken = f"the chapter {chapter!r}", ()
    # Who takes no `resume` resumes by itself
    if wrong := [option for option in options if option not in taken and option != "resume"]:
        raise zoo.ZooError(f"{name!r} takes no --{wrong[0]}: {home} says how it is trained.")
    if name in zoo.RECIPES:
        return publish(name, **{option: value for option, value in options.items() if option in taken})
    print(f"Executing {chapters.relative(known[chapter])} at scale zoo ...", flush=True)
    chapters.execute(known[chapter], "zoo", record=False)
    print(f"Saved. The chapter shows the weights before: make run NB={chapters.relative(known[chapter])}")


def positive(kind):
    """A reader of a command line's number that must be above zero."""

    def number(text):
        if not 0 < kind(text) < float("inf"):
            raise ValueError
        return kind(text)

    number.__name__ = "positive number" if kind is float else "positive whole number"
    return number


def main(arguments=None):
    """Run one command; the exit code is 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m stlib.zoo", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    texts = {"list": "show what is there", "verify": "check that it is whole", "card": "print a network's model card"}
    for name, text in texts.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--folder", type=Path, default=zoo.FOLDER, help="another folder than that of the course")
    commands.choices["card"].add_argument("name")
    command = commands.add_parser("train", help="train a network anew, or on from its checkpoint, and save it")
    command.add_argument("name", help=f"a recipe ({', '.join(zoo.RECIPES)}) or a chapter that trains")
    command.add_argument("--size", type=positive(int), help="side of the pictures, in pixels")
    command.add_argument("--minutes", type=positive(float), help="stop after so long, earlier starts included")
    command.add_argument("--steps", type=positive(int), help="stop after so many steps")
    command.add_argument("--seed", type=int, help="another seed than the recipe's")
    command.add_argument(
        "--resume", action="store_true", default=None, help="go on from the checkpoint, if there is one"
    )
    command.add_argument("--device", help="cpu, cuda, cuda:1, mps; without it the GPU when there is one")
    options = parser.parse_args(arguments)
    try:
        if options.command == "verify":
            return 0 if verify(options.folder) else 1
        if options.command == "train":
            given = {name: getattr(options, name) for name in OPTIONS}
            train(options.name, {name: value for name, value in given.items() if value is not None})
        elif options.command == "card":
            print("\n".join(card(options.name, options.folder)))
        else:
            show(options.folder)
    except (zoo.ZooError, training.CheckpointError, FloatingPointError) as error:
        return str(error)  # which sys.exit prints, with the exit code 1
    except KeyboardInterrupt:
        return "Stopped; the same command with --resume goes on from the last checkpoint."
    return 0


if __name__ == "__main__":
    sys.exit(main())
