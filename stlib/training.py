"""The progress loop and checkpoints. Text goes to stderr, so that the saved outputs of a notebook stay clean."""

import os
import pickle
import sys

from tqdm import tqdm

from stlib import assets


class CheckpointError(ValueError):
    """A checkpoint cannot be read; the message says which file to delete."""


def progress(steps, title="", show=True, **options):
    """Go through `steps` (an iterable or a number) with a text progress bar on stderr.

    The bar is a plain `tqdm`: `bar.set_postfix(loss=...)` shows values beside it.
    """
    steps = range(steps) if isinstance(steps, int) else steps
    options = {"mininterval": 0.5, "ascii": True, "ncols": 90, **options}
    return tqdm(steps, desc=title, file=sys.stderr, disable=not show, **options)


def checkpoint(name):
    """The file in the user's cache that keeps the state of the training called `name`."""
    return assets.cache_folder() / "training" / f"{name}.pt"


def save_checkpoint(name, **state):
    """Keep the state of a training: state dicts, numbers, lists. A kill leaves the old file or the new one."""
    import torch

    path = checkpoint(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    torch.save(state, part)
    os.replace(part, path)


def load_checkpoint(name):
    """The state that `save_checkpoint` kept, as a dict, or None when there is none. Raises CheckpointError."""
    import torch

    path = checkpoint(name)
    try:
        return torch.load(path, weights_only=True) if path.exists() else None
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"The checkpoint {path} is damaged ({error}): delete it to start again.") from None
