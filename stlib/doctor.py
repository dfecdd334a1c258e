"""What is installed and reachable, and what to do about the rest: `python -m stlib doctor`. Fetches nothing.

Works without torch, which is imported only inside.
"""

import contextlib
import importlib.util
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

from stlib import __version__

NEEDED = (
    "torch torchvision numpy scipy pillow scikit-image scikit-learn matplotlib ipython ipywidgets "
    "tqdm pooch safetensors torchmetrics kornia accelerate"
).split()
OPTIONAL = {"nbclient": "make run", "jupyterlab": "make lab", "jupyter-book": "make book"}
MODULES = {"pillow": "PIL", "scikit-image": "skimage", "scikit-learn": "sklearn", "ipython": "IPython"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def section(title, rows):
    """Print rows (name, what was found, what to do) aligned under a title."""
    print(title)
    width = max([20, *(len(name) for name, _, _ in rows)])
    for name, found, todo in rows:
        print(f"  {name:{width}}  {found:20}  {todo}".rstrip())


def version(package):
    """The version of an installed package, or None."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return "here" if importlib.util.find_spec(MODULES.get(package, package)) else None


def machine():
    """Rows on the device. Raises whatever a broken torch raises when it is imported."""
    from stlib import runtime

    torch, device = importlib.import_module("torch"), runtime.device()
    idle = shutil.which("nvidia-smi") and device.type != "cuda"
    todo = "an NVIDIA driver is here: install a torch with CUDA, see pytorch.org" if idle else ""
    yield "device", str(device), todo
    yield "hardware", runtime.hardware(), ""
    yield "threads", f"{torch.get_num_threads()} of {os.cpu_count()} cores", ""
    yield "fast dtype", str(runtime.fast_dtype(device)).removeprefix("torch."), ""
    yield "scale", runtime.scale(), ""


def files():
    """Rows on weights, pictures and the cache; nothing is fetched."""
    from stlib import assets

    folder, shared = assets.cache_folder(), os.environ.get("STLIB_ASSETS")
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    usable = nearest.is_dir() and os.access(nearest, os.W_OK)
    yield "cache", "writable" if usable else "NOT WRITABLE", f"{folder}" + ("" if usable else ": set STLIB_CACHE")
    if shared:
        yield "STLIB_ASSETS", "read first" if os.path.isdir(shared) else "NO SUCH FOLDER", shared
    for entry in sorted(assets.REGISTRY.values(), key=lambda entry: entry.kind != "weights"):
        place = assets.source(entry.name)
        fetch = f"save {entry.url} as {folder / entry.file}" if assets.offline() else "fetched when first used"
        todo = f"install {entry.package}" if entry.package else fetch
        yield entry.name, place or "not here", "" if place else todo


def has_weights():
    """Whether the default backbone has, or can fetch, its weights."""
    from stlib import assets

    return assets.available("squeezenet_deep_compression") or not assets.offline()


def vgg_files():
    """Rows on the weights that torchvision's loader keeps."""
    from stlib import assets, backbones

    for name in ("vgg16", "vgg19"):
        path = backbones.hub_file(name)
        todo = f"only for --backbone {name}: " + (f"save it as {path}" if assets.offline() else "fetched then, 0.5 GB")
        yield name, "here" if path.exists() else "not here", "" if path.exists() else todo


def main():
    """`python -m stlib doctor`: print what is here; 0 if a chapter can run, else 1 with what to do."""
    missing, problems = [name for name in NEEDED if not version(name)], []
    section(f"stlib {__version__} in {Path(__file__).parent}", [("Python", platform.python_version(), "")])
    section("Needed", [(name, version(name) or "MISSING", "") for name in NEEDED])
    section("Optional", [(name, version(name) or "not here", f"for {use}") for name, use in OPTIONAL.items()])
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    section("Browser", [("chromium", browser or "not here", "for the tests of the built book")])
    for title, rows in {"Machine": machine, "Weights and pictures": files, "VGG weights": vgg_files}.items():
        try:
            section(title, list(rows()))
        except Exception as error:  # whatever is broken, the rest should still be told
            section(title, [("not known", f"{type(error).__name__}: {error}", "")])
            problems += [str(error)] if not missing else []
    if missing:
        problems.append(f"run `pip install {' '.join(missing)}` (pytorch.org says which torch fits a GPU)")
    how = "" if problems or has_weights() else ", with random weights: see squeezenet_deep_compression above"
    print("A chapter cannot run here yet: " + "; ".join(problems) if problems else f"A chapter can run here{how}.")
    return 1 if problems else 0
