"""What the zoo holds, and whether it is whole: `python -m stlib.zoo list` and `python -m stlib.zoo verify`.

`python -m stlib.zoo train oracle` (or `worldnet`) trains that network again: about half an hour on 2 CPU cores.
"""

import argparse
import sys
from pathlib import Path

from stlib import training, zoo


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


def main(arguments=None):
    """Run one command; the exit code is 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m stlib.zoo", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in {"list": "show what is there", "verify": "check that it is whole"}.items():
        command = commands.add_parser(name, help=text)
        command.add_argument("--folder", type=Path, default=zoo.FOLDER, help="another folder than that of the course")
    command = commands.add_parser("train", help="train a network again, or on from its checkpoint, and save it")
    command.add_argument("name", choices=["oracle", "worldnet"])
    options = parser.parse_args(arguments)
    try:
        if options.command == "verify":
            return 0 if verify(options.folder) else 1
        if options.command == "train":
            from stlib.zoo import judges  # needs torch; the other commands do not

            judges.publish(options.name)
        else:
            show(options.folder)
    except (zoo.ZooError, training.CheckpointError, FloatingPointError) as error:
        return str(error)  # which sys.exit prints, with the exit code 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
