"""Weights trained by this project and shipped with it: saving, loading, verifying. Only `save` and `load` need torch.

A network is a pair of files in `stlib/zoo/weights`: NAME.json, the record of its training, and NAME.HASH.xz, its state
dict as safetensors, rounded (see `save`) and packed without loss (`xz -d` unpacks it). HASH is the beginning of the
SHA-256 of what is packed. The record names the weights that belong to it and is replaced in one step after they are
written: a kill while saving leaves the old pair or the new one. What a generator draws may lie beside its weights as a
picture, NAME.HASH.jpg, for its card.
`python -m stlib.zoo list` shows what is there, `verify` checks it, `card NAME` tells of it, `train NAME` makes it anew.

A network is made by a chapter, in its cells tagged `zoo`, or by a script of this folder, a recipe (`RECIPES`).
"""

import datetime
import hashlib
import importlib.util
import json
import lzma
import os
import re
from dataclasses import dataclass
from pathlib import Path

from stlib import chapters

FOLDER = Path(__file__).parent / "weights"
FIELDS = (
    *("name", "chapter", "description", "licence", "parameters", "bytes", "sha256", "settings", "training"),
    *("date", "device", "versions", "code_hash", "stlib_hash"),
)
LARGEST = 65504  # the largest number of float16
SCALE = ":scale"  # what stands behind the name of a kernel in the name of its scales
PACKING = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lp": 1, "pb": 1}]  # for numbers of two bytes: a sixth smaller
RESTORE = "reinstall the course, or in a checkout run `git checkout -- stlib/zoo/weights`"


class ZooError(LookupError):
    """A network cannot be saved, found, trusted or loaded; one sentence says why and what to do."""


@dataclass(frozen=True)
class Recipe:
    """A script that trains networks: its function `publish(name, **options)` trains, measures and saves one.

    Which options the command `train` takes for it (size, minutes, steps, seed, resume, device) are the arguments of
    `publish`. `draws_on`: what else decides the weights, "world" or files of the package; the records keep its hash.
    """

    module: str
    draws_on: tuple = ("world",)

    @property
    def script(self):
        """The name that records have in place of a chapter's."""
        return self.module.rpartition(".")[2]


RECIPES = {
    "oracle": Recipe("stlib.zoo.judges", ("world", "zoo/strangers.py")),
    "worldnet": Recipe("stlib.zoo.judges", ("world", "zoo/strangers.py")),
    "stylegan2_portraits": Recipe(
        "stlib.zoo.stylegan2_portraits",
        ("world", "nets/stylegan2.py", "nets/convolutions.py", "losses/adversarial.py"),
    ),
}


def recipe_of(chapter):
    """The recipe whose script is called `chapter` in records, or None."""
    return next((recipe for recipe in RECIPES.values() if recipe.script == chapter), None)


def names(folder=FOLDER):
    """The names of all networks in `folder`, sorted; by default those shipped with the course."""
    return sorted(path.stem for path in Path(folder).glob("*.json"))


def record(name, folder=FOLDER):
    """The record of a network's training: a dict with all of `FIELDS`; `training` holds what that run measured.

    `parameters` counts numbers, `bytes` is the size of the weights unpacked, `code_hash` that of the cells of the
    chapter's notebook tagged `zoo`, or of the script. Raises ZooError for an unknown name and for a damaged record.
    """
    known = names(folder)
    if name not in known and name in RECIPES:
        raise ZooError(f"{name!r} has not been trained here: run `python -m stlib.zoo train {name}`.")
    if name not in known:
        raise ZooError(f"There is no network {name!r} in the zoo; there are: {', '.join(known) or 'none yet'}.")
    try:
        about = dict(json.loads((Path(folder) / f"{name}.json").read_text(encoding="utf8")))
    except (ValueError, TypeError):
        raise ZooError(f"The record {name}.json was changed or cut short: {RESTORE}.") from None
    return _complete(about)


def save(name, module, *, chapter, description, settings, training, sheet=None, folder=FOLDER):
    """Write the weights of `module` and the record of their training, in place of an earlier pair; return the record.

    Weights are rounded: measure on what `load` returns. A chapter's kernels (all tensors of two and more axes) become
    whole numbers from -127 to 127 times a scale for each entry of their first axis, as a rule the output channels; all
    else, and everything of a recipe (the judges, on whose digits all scores hang), float16: 11 significant bits.
    `settings` (a dict, or what `runtime.settings` returns) is what the network was trained with, `training` (a dict)
    what the run measured: scalar tensors are written as numbers, what JSON does not know as text. `chapter` is the
    chapter's name, or that of the script of a recipe; `sheet` a picture (3, H, W) in [0, 1] for the network's card.
    Raises ZooError, and writes nothing, for a name that is not made of a-z, 0-9 and _, for an empty entry of the
    record, a value that is not finite or exceeds 65504, and a chapter without a cell tagged `zoo`.
    """
    from safetensors.torch import save as pack

    from stlib import images, runtime

    if not re.fullmatch(r"[a-z0-9_]+", name):
        raise ZooError(f"{name!r} cannot be the name of a network: use a-z, 0-9 and _ only.")
    state = {key: _half(key, tensor) for key, tensor in module.state_dict().items()}
    data = pack(state if recipe_of(chapter) else _whole(state))
    about = {
        "name": name,
        "chapter": chapter,
        "description": description,
        "licence": "MIT",
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "settings": settings if isinstance(settings, dict) else vars(settings),
        "training": training,
        "date": datetime.date.today().isoformat(),
        "device": runtime.hardware(),
        "versions": runtime.versions(),
        "code_hash": _code_hash(chapter),
        "stlib_hash": chapters.stlib_hash(),
    }
    text = json.dumps(_complete(about), indent=1, ensure_ascii=False, default=_plain) + "\n"

    path, part = _path(about, folder), Path(folder) / f"{name}.part"
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(lzma.compress(data, filters=PACKING))
    os.replace(part, path)  # beside the old weights, which the old record still names
    if sheet is not None:
        images.write(sheet, path.with_suffix(".jpg"))
    chapters.write_text(path.parent / f"{name}.json", text)  # from here on the new pair counts
    for other in path.parent.glob(f"{name}.*.*"):
        if other.stem != path.stem:
            other.unlink()
    return json.loads(text)


def load(name, module, folder=FOLDER):
    """Load the weights called `name` into `module`, check them first, and return the module in evaluation mode.

    The numbers take the dtype and the device of the module's own (float32 as a rule). `module.name` and
    `module.weights` are set for `runtime.colophon`. Raises ZooError, and leaves the module as it was, for an unknown
    name, a file that is missing, cut short or changed (SHA-256), and a module of another architecture.
    """
    from safetensors.torch import load as unpack

    about = record(name, folder)
    state = _unscaled(unpack(_read(about, folder)))
    there = {key: tuple(tensor.shape) for key, tensor in state.items()}
    wanted = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    wrong = sorted(key for key in there.keys() | wanted.keys() if there.get(key) != wanted.get(key))
    if wrong:
        sizes = f"it has {there.get(wrong[0], 'nothing')}, the module {wanted.get(wrong[0], 'nothing')}"
        advice = f"build the module as the {_home(about)} {about['chapter']!r} does"
        raise ZooError(f"{name!r} does not fit this module: at {wrong[0]!r} {sizes}; {advice}.")
    module.load_state_dict(state)
    module.name = name
    module.weights = f"trained in the {_home(about)} {about['chapter']!r}, sha256 {about['sha256'][:12]}"
    return module.eval()


def problems(name, folder=FOLDER):
    """What is wrong with a network: a list of sentences, empty when all is well. Needs no torch.

    Looked at are: the record, which must be complete; the SHA-256 and size of the weights; that all their numbers are
    finite; and in a checkout, that the chapter's cells tagged `zoo`, or the script, are still those the network was
    trained with.
    """
    import numpy
    from safetensors.numpy import load as unpack

    try:
        about = record(name, folder)
        data = _read(about, folder)
    except ZooError as error:
        return [str(error)]
    bad = [key for key, tensor in unpack(data).items() if not numpy.isfinite(tensor).all()]
    found = [f"It has numbers that are not finite, in: {', '.join(bad)}."] if bad else []
    if (about["name"], about["bytes"]) != (name, len(data)):
        found.append("Its record gives another name or size.")
    try:
        if chapters.root() and _code_hash(about["chapter"]) != about["code_hash"]:
            again = f"execute the chapter {about['chapter']!r} at scale zoo"
            again = f"python -m stlib.zoo train {name}" if recipe_of(about["chapter"]) else again
            found.append(f"It was trained with other code than its {_home(about)} has now: {again}.")
    except LookupError as error:
        found.append(str(error))
    return found


def sheet(name, folder=FOLDER):
    """The path of the picture for a network's card, or None where it has none. Raises ZooError for an unknown name."""
    path = _path(record(name, folder), folder).with_suffix(".jpg")
    return path if path.is_file() else None


def _home(about):
    return "script" if recipe_of(about["chapter"]) else "chapter"


def _path(about, folder):
    return Path(folder) / f"{about['name']}.{about['sha256'][:12]}.xz"


def _read(about, folder):
    """The bytes of the weights that a record names; ZooError when they are not there or are others."""
    path = _path(about, folder)
    if not path.is_file():
        raise ZooError(f"The weights {path.name} are missing: {RESTORE}.")
    try:
        data = lzma.decompress(path.read_bytes())
    except lzma.LZMAError:
        data = b""
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        raise ZooError(f"The file of weights {path.name} was changed or cut short: {RESTORE}.")
    return data


def _complete(about):
    empty = [field for field in FIELDS if not about.get(field)]
    if empty:
        raise ZooError(f"The record of {about.get('name')!r} lacks: {', '.join(empty)}.")
    return about


def _half(key, tensor):
    """A tensor of a state dict as it is stored: float16 where it is floating-point, in its own memory, on the CPU."""
    tensor = tensor.detach().cpu().clone().contiguous()
    if not tensor.is_floating_point():
        return tensor
    if not tensor.isfinite().all():
        raise ZooError(f"{key!r} has numbers that are not finite, NaN or infinite: nothing was saved.")
    if not (half := tensor.half()).isfinite().all():
        raise ZooError(
            f"{key!r} has numbers beyond {LARGEST}, the largest that half precision holds: nothing was saved."
        )
    return half


def _whole(state):
    """A state dict with its kernels as whole numbers of one byte, and beside each the scales (outputs,) of its rows."""
    import torch

    stored = dict(state)
    for key, kernel in state.items():
        if kernel.is_floating_point() and kernel.ndim > 1:
            rows = kernel.float().flatten(1)
            scale = rows.abs().amax(dim=1).clamp(min=torch.finfo().tiny) / 127
            stored[key] = (rows / scale[:, None]).round().to(torch.int8).view(kernel.shape)
            stored[key + SCALE] = scale
    return stored


def _unscaled(stored):
    """The state dict that `_whole` was given, but for its rounding."""
    state = {key: tensor for key, tensor in stored.items() if not key.endswith(SCALE)}
    for key in state.keys() & {name.removesuffix(SCALE) for name in stored.keys() - state.keys()}:
        scale = stored[key + SCALE]
        state[key] = state[key] * scale.view(-1, *[1] * (state[key].ndim - 1))
    return state


def _plain(value):
    return value.item() if getattr(value, "ndim", None) == 0 else str(value)


def _code_hash(chapter):
    """The present hash of what made the weights: the chapter's cells tagged `zoo`, or a script and what it draws on."""
    if recipe := recipe_of(chapter):
        hashes = [chapters.source_hash([importlib.util.find_spec(recipe.module).origin])]
        hashes += [chapters.drawing_hash()] if "world" in recipe.draws_on else []
        files = [Path(__file__).parents[1] / file for file in recipe.draws_on if file != "world"]
        return " ".join(hashes + ([chapters.source_hash(files)] if files else []))
    path = chapters.find(chapter)
    if path is None:
        raise ZooError("Weights are saved in a checkout of the course only: their record holds the notebook's hash.")
    notebook = chapters.read(path)
    if not any(cell["cell_type"] == "code" and "zoo" in chapters.tags(cell) for cell in notebook["cells"]):
        raise ZooError(f"The chapter {chapter!r} has no code cell tagged `zoo`, which would say how it was trained.")
    return chapters.code_hash(notebook, "zoo")
