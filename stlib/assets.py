"""Named files from elsewhere: where they come from, whose they are, and where they are found. Needs no torch.

Looked for in this order: the read-only folder named by STLIB_ASSETS, the user's cache (STLIB_CACHE moves it), the
network (STLIB_OFFLINE=1 forbids it). Every file is checked against its SHA-256. `python -m stlib.assets` lists them.
"""

import hashlib
import importlib.util
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

TIMEOUT = 10  # seconds to connect, and between two packets


class AssetUnavailable(LookupError):
    """A named file is in none of the places; the message says where it was looked for and what to do."""


@dataclass(frozen=True)
class Asset:
    """One file: what it is, whose it is, and where it comes from (`url`), or which `package` ships it."""

    name: str
    kind: str  # photo, painting or weights
    author: str
    title: str
    licence: str
    credit: str
    file: str = ""
    url: str = ""
    sha256: str = ""
    package: str = ""
    show: bool = True


ENTRIES = [
    # Photographs that ship with Python packages: always there
    Asset(
        name="astronaut",
        kind="photo",
        package="skimage",
        file="data/astronaut.png",
        author="NASA",
        title="Eileen Collins",
        licence="public domain",
        credit="NASA, public domain",
    ),
    Asset(
        name="chelsea",
        kind="photo",
        package="skimage",
        file="data/chelsea.png",
        author="Stéfan van der Walt",
        title="Chelsea the cat",
        licence="CC0",
        credit="Stéfan van der Walt, CC0",
    ),
    Asset(
        name="coffee",
        kind="photo",
        package="skimage",
        file="data/coffee.png",
        author="Rachel Michetti",
        title="A cup of coffee",
        licence="CC0",
        credit="Rachel Michetti, courtesy of Pikolo Espresso Bar, CC0",
    ),
    Asset(
        name="rocket",
        kind="photo",
        package="skimage",
        file="data/rocket.jpg",
        author="SpaceX",
        title="Launch of DSCOVR on Falcon 9",
        licence="public domain",
        credit="SpaceX, public domain",
    ),
    Asset(
        name="china",
        kind="photo",
        package="sklearn",
        file="datasets/images/china.jpg",
        author="danielbuechele",
        title="A temple in China",
        licence="CC BY 2.0",
        credit="danielbuechele, CC BY 2.0",
    ),
    # Fetched from their addresses
    Asset(
        name="tuebingen",
        kind="photo",
        file="tuebingen.jpg",
        author="Andreas Praefcke",
        title="Tübingen, Neckarfront",
        licence="CC BY (version not stated by the source)",
        credit="Photograph: Andreas Praefcke, CC BY",
        url="https://raw.githubusercontent.com/leongatys/PytorchNeuralStyleTransfer/be6c8e2b35568669a5a0ac10b66c912207ad355d/Images/Tuebingen_Neckarfront.jpg",
        sha256="e67d1869f01fd805385c681a80d9ebcf0f70ea4a5fe6127f0606bb1c7f4bf506",
    ),
    Asset(
        name="starry_night",
        kind="painting",
        file="starry_night.jpg",
        author="Vincent van Gogh",
        title="The Starry Night, 1889",
        licence="public domain",
        credit="Vincent van Gogh, public domain",
        url="https://raw.githubusercontent.com/leongatys/PytorchNeuralStyleTransfer/be6c8e2b35568669a5a0ac10b66c912207ad355d/Images/vangogh_starry_night.jpg",
        sha256="228bebf0dd424ea4f740d8d88a67f2960424c166e638086c1ec529260d2e3832",
    ),
    Asset(
        name="the_scream",
        kind="painting",
        file="the_scream.jpg",
        author="Edvard Munch",
        title="The Scream, 1893",
        licence="public domain",
        credit="Edvard Munch, public domain",
        url="https://raw.githubusercontent.com/jcjohnson/neural-style/07c4b8299f8fbdafec0c514fc820ff1d7ff62e46/examples/inputs/the_scream.jpg",
        sha256="f3075cddeb974a9ee1d6418f7f33fd05185a7ac7dcb4288bd2805d499a9dcaee",
    ),
    Asset(
        name="shipwreck",
        kind="painting",
        file="shipwreck.jpg",
        author="J. M. W. Turner",
        title="The Shipwreck of the Minotaur, c. 1805-1810",
        licence="public domain",
        credit="J. M. W. Turner, public domain",
        url="https://raw.githubusercontent.com/jcjohnson/neural-style/07c4b8299f8fbdafec0c514fc820ff1d7ff62e46/examples/inputs/shipwreck.jpg",
        sha256="4f7cf34e3cd4a5daaf3f421f059ca9a01aaa2a3afd7243d6670c9c8bc001a213",
    ),
    Asset(
        name="wave",
        kind="painting",
        file="wave.jpg",
        author="Katsushika Hokusai",
        title="The Great Wave off Kanagawa, c. 1831",
        licence="public domain",
        credit="Katsushika Hokusai, public domain",
        url="https://raw.githubusercontent.com/jcjohnson/fast-neural-style/813c83441953ead2adb3f65f4cc2d5599d735fa7/images/styles/wave.jpg",
        sha256="14bcf58a39b7095168f27756d76d0c615bb8954acc5eae9e62c66a9684c2ee2b",
    ),
    Asset(
        name="composition_vii",
        kind="painting",
        file="composition_vii.jpg",
        author="Wassily Kandinsky",
        title="Composition VII, 1913",
        licence="public domain",
        credit="Wassily Kandinsky, public domain",
        url="https://raw.githubusercontent.com/jcjohnson/fast-neural-style/813c83441953ead2adb3f65f4cc2d5599d735fa7/images/styles/composition_vii.jpg",
        sha256="8f992ed4aecd6dd56972d7bc8166761de7c94e670ee6effa8fd05f3daeb33409",
    ),
    Asset(
        name="monet_etretat",
        kind="painting",
        file="monet_etretat.jpg",
        author="Claude Monet",
        title="Cliffs at Étretat",
        licence="public domain",
        credit="Claude Monet, public domain",
        url="https://raw.githubusercontent.com/taesungp/contrastive-unpaired-translation/b3ac297708dfb6f7589d04662277e53c0d579c27/datasets/single_image_monet_etretat/trainA/monet.jpg",
        sha256="014186261bcfb600610a1dc44d03837da95e12a4684b0e0c087d6f01a4a65469",
    ),
    Asset(
        name="etretat_photo",
        kind="photo",
        file="etretat_photo.jpg",
        author="unknown",
        title="Cliffs at Étretat",
        licence="unknown: for tests only, not shown",
        credit="unknown photographer (distributed with the code of CUT)",
        url="https://raw.githubusercontent.com/taesungp/contrastive-unpaired-translation/b3ac297708dfb6f7589d04662277e53c0d579c27/datasets/single_image_monet_etretat/trainB/etretat-normandy-france.jpg",
        sha256="bc20b976332c29a98b9cd37464563798e97191a37ffc826f8e042344f8b88870",
        show=False,
    ),
    Asset(
        name="squeezenet_deep_compression",
        kind="weights",
        file="compressed_SqueezeNet.net",
        author="Han, Iandola et al.",
        title="SqueezeNet 1.0, ImageNet, deep-compressed",
        licence="BSD",
        credit="Song Han, Forrest Iandola and others, BSD licence",
        url="https://raw.githubusercontent.com/songhan/SqueezeNet-Deep-Compression/fb13faa2cf121ced9999f8a9d538ec6c56084733/compressed_SqueezeNet.net",
        sha256="e4ab6960ae8cd81505e1c2136921201507e930966c53deaf15862a395b3a3261",
    ),
]
REGISTRY = {asset.name: asset for asset in ENTRIES}
_used, _told = {}, set()


def _entry(name):
    if name not in REGISTRY:
        raise AssetUnavailable(f"There is no asset {name!r}; there are: {', '.join(sorted(REGISTRY))}.")
    return REGISTRY[name]


def cache_folder():
    """The user's cache: STLIB_CACHE, or the usual place of the operating system."""
    import platformdirs

    return Path(os.environ.get("STLIB_CACHE") or platformdirs.user_cache_dir("stlib"))


def offline():
    """Whether STLIB_OFFLINE forbids the network."""
    return os.environ.get("STLIB_OFFLINE", "") not in ("", "0")


def _is_whole(path, asset):
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == asset.sha256
    except OSError:
        return False


def _tell_once(sentence):
    if sentence not in _told:
        _told.add(sentence)
        warnings.warn(sentence, stacklevel=4)


def _find(asset):
    """The path of a file that is here and whole, with the place it was found in; (None, None) otherwise."""
    if asset.package:
        spec = importlib.util.find_spec(asset.package)
        path = Path(spec.origin).parent / asset.file if spec and spec.origin else None
        return (path, f"package {asset.package}") if path and path.exists() else (None, None)
    folder = os.environ.get("STLIB_ASSETS")
    if folder and (path := Path(folder) / asset.file).is_file():
        if _is_whole(path, asset):
            return path, "STLIB_ASSETS"
        _tell_once(f"{path} is damaged or another file (its SHA-256 differs): looking elsewhere for {asset.name!r}.")
    path = cache_folder() / asset.file
    if path.is_file():
        if _is_whole(path, asset):
            return path, "cache"
        _tell_once(f"{path} is damaged (its SHA-256 differs) and is not used.")
    return None, None


def _fetch(asset):
    """Download into the cache. Pooch writes to a temporary file and moves it only when the hash is right."""
    import pooch
    import requests

    pooch.get_logger().setLevel("ERROR")
    downloader = pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=False)
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)  # Pooch's own way fails when two processes meet
        return Path(
            pooch.retrieve(asset.url, asset.sha256, fname=asset.file, path=cache_folder(), downloader=downloader)
        )
    except requests.RequestException as error:
        status = getattr(error.response, "status_code", None)
        cause = f"the server answered {status}" if status else type(error).__name__
        reason = f"{asset.url} could not be fetched ({cause})"
    except ValueError:
        reason = f"{asset.url} sent a damaged file (its SHA-256 differs)"
    except OSError as error:
        reason = f"{cache_folder()} cannot be written ({error.strerror or error})"
    raise AssetUnavailable(_missing(asset, reason))


def _missing(asset, reason):
    return (
        f"{asset.name!r} ({asset.title}) is not here: {reason}. Save it as {cache_folder() / asset.file}, or set "
        f"STLIB_ASSETS to a folder that holds {asset.file}."
    )


def available(name):
    """Whether a file is here already. Never uses the network."""
    return source(name) is not None


def source(name):
    """Where a file is found without the network: "package ...", "STLIB_ASSETS", "cache", or None."""
    return _find(_entry(name))[1]


def path(name):
    """The path of a named file, fetched if need be. Raises AssetUnavailable, one sentence that says what to do."""
    asset = _entry(name)
    found, place = _find(asset)
    if found is None:
        if asset.package:
            raise AssetUnavailable(f"{name!r} ships with the package {asset.package}, which is not here: install it.")
        if offline():
            raise AssetUnavailable(_missing(asset, "STLIB_OFFLINE forbids the network"))
        found, place = _fetch(asset), "network"
    _used[name] = place
    return found


def used():
    """The files this process has used so far, as {name: place}."""
    return dict(_used)


def main():
    """Print every asset with the place where it is found."""
    print(f"{'name':28} {'kind':9} {'found in':18} credit")
    for name, asset in REGISTRY.items():
        print(f"{name:28} {asset.kind:9} {source(name) or '(would be fetched)':18} {asset.credit}")


if __name__ == "__main__":
    sys.exit(main())
