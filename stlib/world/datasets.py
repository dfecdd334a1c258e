"""Sets of pictures with one interface: rendered as needed or once, unpaired, few, or a reader's own.

>>> photos, sketches = datasets.unpaired("portraits", count=1000)     # of different contents
>>> for pictures in photos.batches(8, seed=0): ...                    # (8, 3, 64, 64) in [0, 1], without end
"""

import hashlib
import itertools
import os
import warnings
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from stlib import assets, chapters, images, training, world
from stlib.world import noise

RANGES = {  # numbers of contents [first, end): what is made for one purpose is in no set for another
    "train_a": (0, 1_000_000),  # streams, fixed sets, the first style of unpaired sets
    "train_b": (1_000_000, 2_000_000),  # the second style of unpaired sets
    "validation": (2_000_000, 3_000_000),  # to choose settings and to stop
    "few_shot": (3_000_000, 3_000_050),  # the 50 examples
    "evaluation": (10_000_000, 20_000_000),  # `stlib.metrics.evaluation`: never streamed
}
SEEDS = {
    101: "the oracle",
    202: "WorldNet",
    303: "watched in training",
    505: "held out",
}  # `stlib.zoo.judges`: theirs alone
SHOTS = (1, 5, 10, 50)
LEAST, NAMED = 32, 5  # pixels a side that a reader's picture needs; skipped files that a warning names
CHUNK = 64  # pictures between two steps of the progress bar


class DatasetError(ValueError):
    """A set cannot be made as asked; the message says what was wrong and what to do."""


class PictureSet:
    """Pictures in memory: `pictures` uint8 (N, 3, H, W), their `contents` (or None), a `name`.

    `len(set)`; `set[i]` is a picture (3, H, W), float32 in [0, 1]; `set[a:b]` a part of the set.
    """

    def __init__(self, pictures, contents=None, name=""):
        if pictures.dtype != torch.uint8 or pictures.ndim != 4 or pictures.shape[1] != 3 or not len(pictures):
            have = f"{pictures.dtype} {tuple(pictures.shape)}"
            raise DatasetError(f"A set needs pictures uint8 (N, 3, H, W), at least one; got {have}.")
        if contents is not None and len(contents) != len(pictures):
            raise DatasetError(f"{len(pictures)} pictures need as many contents; got {len(contents)}.")
        self.pictures, self.contents, self.name = pictures, contents, name

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i):
        if isinstance(i, slice):
            return PictureSet(self.pictures[i], None if self.contents is None else self.contents[i], self.name)
        return self.pictures[i].float() / 255

    def batches(self, batch, seed=0, skip=0):
        """Batches without end: float32 (batch, 3, H, W) in [0, 1], in the order of `indices`."""
        return (self.pictures[index].float() / 255 for index in self.indices(batch, seed, skip))

    def indices(self, batch, seed=0, skip=0):
        """The order of `batches`, (batch,) int64 each: `set.contents[index]` is what batch `index` shows.

        One shuffled pass after another, new in each pass, the same on every machine; a batch may hold the end of one
        and the start of the next. `skip` batches are left out: how a training goes on where it stopped.
        """
        if batch < 1 or skip < 0:
            raise DatasetError(f"A batch has at least 1 picture and `skip` is not negative; got {batch} and {skip}.")
        if self.contents is not None and int(self.contents.numbers.max()) >= RANGES["evaluation"][0]:
            raise DatasetError(f"The contents of {self.name} are kept for the evaluation: no batches to train on.")

        def at(step):
            place, count = step * batch, len(self)
            passes = range(place // count, (place + batch - 1) // count + 1)
            orders = [noise.keys(seed, torch.arange(count), f"pass {number}").argsort() for number in passes]
            return torch.cat(orders)[place % count :][:batch]

        return (at(step) for step in itertools.count(skip))


def stream(family, style, size=64, batch=16, seed=0, first=0, device="cpu"):
    """Freshly rendered batches without end: (pictures (batch, 3, size, size) float32 in [0, 1], contents).

    Contents are numbered from `first`; at the end of their range (`RANGES`) they start again at its beginning. Raises
    DatasetError for numbers that are kept for the evaluation, and WorldError for what the world does not have.
    """
    low, high = _range(first, batch, seed)
    if low == RANGES["evaluation"][0]:
        raise DatasetError(f"Contents from {low} on are kept for the evaluation and are not streamed; got {first}.")
    places = (torch.arange(batch) + first - low + batch * step for step in itertools.count())
    rows = (world.sample(family, low + place % (high - low), seed, device) for place in places)
    return ((world.render(contents, style, size), contents) for contents in rows)


def fixed(family, style, count, size=64, seed=0, first=0):
    """`count` rendered pictures with contents numbered from `first`: a PictureSet, kept in the user's cache.

    The file's name holds all arguments and a hash of the renderer's source. A damaged file is rendered again, which a
    warning says. Raises DatasetError where the numbers leave their range in `RANGES`, WorldError as the world does.
    """
    _range(first, count, seed)
    contents = world.sample(family, range(first, first + count), seed)

    def render():
        parts = training.progress(range(0, count, CHUNK), f"{family}, {style}", show=count > 2 * CHUNK)
        return torch.cat([world.render(contents[i : i + CHUNK], style, size).mul(255).round().byte() for i in parts])

    name = f"{family}-{style}-{count}-{size}-{seed}-{first}-{chapters.drawing_hash()}.safetensors"
    pictures = _kept(assets.cache_folder() / "world" / name, (count, 3, size, size), render)
    return PictureSet(pictures, contents, f"{family} in {style}")


def unpaired(family, a="photo", b="sketch", count=1000, size=64, seed=0):
    """Two PictureSets of `count` pictures, in the styles `a` and `b`, that have no content in common."""
    return tuple(fixed(family, x, count, size, seed, RANGES[y][0]) for x, y in ((a, "train_a"), (b, "train_b")))


def few_shot(family, style, shots, size=64):
    """A PictureSet of 1, 5, 10 or 50 examples; the larger sets begin with the smaller, no other set has any of them."""
    if shots not in SHOTS:
        raise DatasetError(f"Few shots are one of {SHOTS}; got {shots}.")
    return fixed(family, style, SHOTS[-1], size, first=RANGES["few_shot"][0])[:shots]


def folder(path, size=64):
    """The pictures in a folder, cut to squares of `size` pixels: a PictureSet in the order of the files' names.

    Hidden files and subfolders are passed over. Files that cannot be read or have fewer than 32 pixels a side are
    skipped; one warning says how many and why. Raises DatasetError where there is no folder, file or good picture.
    """
    path = Path(os.path.expanduser(path))
    if not os.path.isdir(path):
        wrong = f"{path} is a file; name a folder" if os.path.isfile(path) else f"There is no folder {path}"
        raise DatasetError(f"{wrong}.")
    files = [path / name for name in sorted(os.listdir(path)) if name[0] != "." and not os.path.isdir(path / name)]
    if not files:
        raise DatasetError(f"{path} has no pictures in it; put them there (subfolders are not searched).")
    pictures, skipped = [], []
    for file in training.progress(files, path.name, show=len(files) > 2 * CHUNK):
        try:
            picture = images.read(file, max(size, LEAST))  # the shorter side at most that long, never scaled up
            if min(picture.shape[-2:]) < LEAST:
                raise images.ImageError(f"fewer than {LEAST} pixels a side")
            pictures.append(images.crop(images.resize(picture, size), size, size).mul(255).round().byte())
        except images.ImageError as error:
            skipped.append(f"{file.name} ({str(error).replace(str(file), '').strip(' .')})")
    told = ", ".join(skipped[:NAMED]) + f", and {len(skipped) - NAMED} more" * (len(skipped) > NAMED)
    if not pictures:
        raise DatasetError(f"None of the {len(files)} files in {path} is a picture that can be used: {told}.")
    if skipped:
        warnings.warn(f"{len(skipped)} of {len(files)} files in {path} were skipped: {told}.", stacklevel=2)
    return PictureSet(torch.cat(pictures), name=path.name)


def _range(first, count, seed):
    """The range (low, high) of `RANGES` that holds these numbers; DatasetError if there is none."""
    if seed in SEEDS:
        raise DatasetError(f"The seed {seed} is kept for {SEEDS[seed]}; take another.")
    for low, high in RANGES.values():
        if count >= 1 and low <= first and first + count <= high:
            return low, high
    known = ", ".join(f"{name} {low} to {high - 1}" for name, (low, high) in RANGES.items())
    raise DatasetError(f"{count} contents from {first} on do not lie in one of the ranges: {known}.")


def _kept(path, shape, render):
    """The pictures in the file `path`; where there is none, or a damaged one, they are rendered and kept there."""
    if os.path.isfile(path):
        with suppress(SafetensorError, OSError), safe_open(path, "pt") as file:
            pictures, known = file.get_tensor("pictures").clone(), file.metadata() or {}
            if pictures.dtype == torch.uint8 and pictures.shape == shape and known.get("sha256") == _digest(pictures):
                return pictures
        with suppress(OSError):
            path.unlink()
        warnings.warn(f"{path} was damaged: it is deleted and its pictures are rendered again.", stacklevel=3)
    pictures, part = render(), path.with_suffix(f".{os.getpid()}.part")  # a kill leaves no file or a whole one
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(save({"pictures": pictures}, {"sha256": _digest(pictures)}))
        os.replace(part, path)
    except OSError as error:
        warnings.warn(f"{path} could not be kept ({error.strerror or error}).", stacklevel=3)
    finally:
        with suppress(OSError):
            part.unlink()
    return pictures


def _digest(pictures):
    return hashlib.sha256(pictures.numpy().ravel()).hexdigest()
