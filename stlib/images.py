"""Pictures as tensors: reading, writing, resizing, cropping; photographs and paintings by name.

A picture is a float32 tensor (1, 3, H, W) in [0, 1], RGB.
"""

import os
import tempfile
import warnings
from pathlib import Path

import numpy
import torch
from PIL import ExifTags, Image, ImageOps, PngImagePlugin, UnidentifiedImageError
from torch.nn import functional

from stlib import assets, painted

LARGEST = 200_000_000  # pixels: more than that is refused before it fills the memory
DRAFT = 16_000_000  # pixels: a picture beyond that, wanted small, is averaged down before it becomes floats
FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
STAND_INS = {  # what replaces a picture that cannot be had: a packaged photograph, or a style painted by code
    "tuebingen": "china",
    "etretat_photo": "rocket",
    "starry_night": "strokes",
    "the_scream": "strokes",
    "shipwreck": "strokes",
    "wave": "woodcut",
    "composition_vii": "mosaic",
    "monet_etretat": "mosaic",
}
_told = set()


class ImageError(ValueError):
    """A picture cannot be read or written; the message says what was wrong and what to do."""


def read(path, size=None):
    """Read a picture file of any mode as a tensor (1, 3, H, W) in [0, 1].

    EXIF rotation is applied, transparency put on white, 16 bits kept in scale, of an animation the first frame taken.
    With `size` the shorter side is scaled down to that many pixels (never up). Raises ImageError.
    """
    path = Path(path)
    if os.path.isdir(path):
        raise ImageError(f"{path} is a folder; name one picture file in it.")
    if os.path.exists(path) and not os.path.isfile(path):  # opening a pipe would wait for ever
        raise ImageError(f"{path} is no ordinary file; save the picture to one first.")
    try:
        with warnings.catch_warnings(), path.open("rb") as handle:
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata: the pixels are what counts
            Image.MAX_IMAGE_PIXELS, limit = None, Image.MAX_IMAGE_PIXELS
            try:
                picture = _decode(Image.open(handle), size, path)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except (FileNotFoundError, NotADirectoryError):
        raise ImageError(f"There is no file {path}.") from None
    except PermissionError:
        raise ImageError(f"{path} may not be read; check its permissions.") from None
    except UnidentifiedImageError:
        raise ImageError(f"{path} is no picture that can be read; use PNG, JPEG, WebP, TIFF or BMP.") from None
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(f"{path} does not fit into memory; make it smaller first.") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on broken data
        if getattr(error, "strerror", None):  # the operating system's, not a decoder's
            raise ImageError(f"{path} cannot be read ({error.strerror}).") from None
        raise ImageError(f"{path} is damaged and cannot be read to its end ({error}).") from None
    return picture if size is None or min(picture.shape[-2:]) <= size else resize(picture, size)


def _decode(image, size, path):
    width, height = image.size
    if width * height > LARGEST:
        raise ImageError(
            f"{path} has {width * height / 1e6:.0f} megapixels; at most {LARGEST / 1e6:.0f} are read. Make it smaller."
        )
    if size:
        image.draft("RGB", (2 * size, 2 * size))  # lets the JPEG decoder skip what would be thrown away
    image.load()
    if size and width * height > DRAFT and (factor := min(image.size) // (2 * size)) > 1:
        image = image.convert(_plain_mode(image)).reduce(factor)  # before it grows to twelve bytes a pixel
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return (
            _scaled(numpy.array(image, dtype=numpy.float32), image.mode)[None, None].expand(1, 3, -1, -1).contiguous()
        )
    image = image.convert(_plain_mode(image))
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return torch.from_numpy(numpy.array(image)).permute(2, 0, 1)[None].contiguous().float().div_(255)


def _plain_mode(image):
    """RGB or RGBA for whatever has 8 bits; pictures with one deep channel keep their mode."""
    if image.mode.startswith("I") or image.mode == "F":
        return image.mode
    return "RGBA" if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info else "RGB"


def _scaled(values, mode):
    """One deep channel (H, W), integers of 16 or 32 bits or floats of unknown range, as a tensor in [0, 1]."""
    values = numpy.nan_to_num(values, nan=0, posinf=0, neginf=0)
    largest = values.max()
    if mode.startswith("I;16"):
        top = 65535
    elif mode == "F" and largest <= 2:  # in [0, 1], with what a resampling filter shoots over
        top = 1
    else:
        top = next(bound for bound in (255, 65535, largest) if largest <= bound)
    return torch.from_numpy(values).div_(float(top)).clamp_(0, 1)


def check_writable(path):
    """Raise ImageError unless a picture can be written to `path`: known extension, existing folder, a free name."""
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ImageError(f"{path.name!r} has no picture extension; use one of: {', '.join(FORMATS)}.")
    if os.path.isdir(path):
        raise ImageError(f"{path} is a folder; name a file in it.")
    if not os.path.isdir(path.parent):
        raise ImageError(f"There is no folder {path.parent}; make it first.")
    if not os.access(path.parent, os.W_OK):
        raise ImageError(f"The folder {path.parent} may not be written to.")
    try:
        os.lstat(path)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be a file's name ({getattr(error, 'strerror', error)}).") from None
    if not os.access(path, os.W_OK):
        raise ImageError(f"{path} is write-protected; choose another name.")


def write(picture, path, about=""):
    """Write a picture (1, 3, H, W) or (3, H, W) in [0, 1]; a kill leaves the old file or the new one, never half.

    `about` says how it was made; every format but BMP carries it along. Raises ImageError.
    """
    path = Path(path)
    check_writable(path)
    picture = picture.detach().float().cpu()
    if picture.ndim not in (3, 4) or picture.shape[:-3].numel() != 1 or picture.shape[-3] != 3:
        raise ImageError(f"One picture (1, 3, H, W) can be written to {path}, not a tensor {tuple(picture.shape)}.")
    if not picture.isfinite().all():
        raise ImageError(f"{path} was not written: the picture holds NaN or infinite values.")
    array = (picture.reshape(picture.shape[-3:]).clamp(0, 1).permute(1, 2, 0).numpy() * 255).round().astype("uint8")
    kind = FORMATS[path.suffix.lower()]
    handle = tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part", delete=False)
    try:
        with handle:
            Image.fromarray(array).save(handle, kind, **_save_options(kind, about))
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(handle.name, 0o666 & ~mask)
        os.replace(handle.name, path)
    except BaseException as error:
        Path(handle.name).unlink(missing_ok=True)
        if isinstance(error, (OSError, ValueError)):
            raise ImageError(f"{path} could not be written ({getattr(error, 'strerror', None) or error}).") from None
        raise


def _save_options(kind, about):
    """Pillow's options for one file format, with the text `about` where the format has a place for it."""
    about = about.encode(errors="replace").decode()  # names of files may hold what no encoding can
    options = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    if not about:
        return options
    if kind == "JPEG":
        options["comment"] = about.encode()[:65_000]  # a segment holds 64 kB
    elif kind == "PNG":
        options["pnginfo"] = PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("Description", about)
    elif kind in ("WEBP", "TIFF"):
        options["exif"] = Image.Exif()
        options["exif"][ExifTags.Base.ImageDescription] = about.encode()
    return options


def resize(picture, size):
    """Scale pictures (B, 3, H, W): `size` is the shorter side, or (height, width). Antialiased, stays in [0, 1].

    Raises ImageError for a size below one pixel.
    """
    height, width = picture.shape[-2:]
    if min(size if isinstance(size, (tuple, list)) else [size]) < 1:
        raise ImageError(f"A picture cannot be scaled to the size {size}; at least 1 pixel is needed.")
    if isinstance(size, int):
        factor = size / min(height, width)
        size = (max(1, round(height * factor)), max(1, round(width * factor)))
    if tuple(size) == (height, width):
        return picture
    return functional.interpolate(picture, size=tuple(size), mode="bicubic", antialias=True).clamp(0, 1)


def crop(picture, height, width):
    """The middle of a picture (B, 3, H, W). Raises ImageError when the picture is smaller."""
    if height > picture.shape[-2] or width > picture.shape[-1]:
        have = f"{picture.shape[-1]} x {picture.shape[-2]}"
        raise ImageError(f"A picture of {have} pixels cannot be cropped to {width} x {height}.")
    top, left = (picture.shape[-2] - height) // 2, (picture.shape[-1] - width) // 2
    return picture[..., top : top + height, left : left + width]


def luminance(picture):
    """Brightness (B, 1, H, W) of pictures: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601)."""
    return torch.einsum("bchw,c->bhw", picture, picture.new_tensor([0.299, 0.587, 0.114]))[:, None]


def xdog(pictures, sigma=0.5, tau=0.98, epsilon=0.0, phi=30.0):
    """Line drawings (B, 3, H, W) of pictures by the extended difference of Gaussians (Winnemoller et al. 2012).

    The defaults come nearest to the world's pencil sketches at 64 pixels: the best of the chapter `world`'s filters.
    """
    import kornia

    def blurred(sigma):
        return kornia.filters.gaussian_blur2d(y, 2 * int(3 * sigma + 1) + 1, (sigma, sigma))

    y = luminance(pictures)
    difference = blurred(sigma) - tau * blurred(1.6 * sigma)
    drawing = torch.where(difference >= epsilon, 1.0, 1 + torch.tanh(phi * (difference - epsilon)))
    return drawing.clamp(0, 1).expand(-1, 3, -1, -1)


def match_luminance(picture, target):
    """Grey version (B, 3, H, W) of `picture` whose luminance has mean and deviation of `target`'s."""
    grey, wanted = luminance(picture), luminance(target)
    grey = (grey - grey.mean()) / grey.std().clamp_min(1e-6) * wanted.std() + wanted.mean()
    return grey.clamp(0, 1).expand(-1, 3, -1, -1)


def coral(picture, target):
    """`picture` (1, 3, H, W) with the colours of `target` (1, 3, h, w): its means, deviations and correlations.

    CORrelation ALignment as in AdaIN's released code: both are standardised per channel, the 3 x 3 scatter matrices
    get the identity added (so that a grey picture stays finite), and the result is not clamped. Sun et al. 2016.
    """
    (z, *_), (z_t, mean_t, std_t) = _standardised(picture), _standardised(target)
    eye = torch.eye(3, dtype=z.dtype, device=z.device)
    scatter, scatter_t = z @ z.T + eye, z_t @ z_t.T + eye
    recoloured = _matrix_power(scatter_t, 0.5) @ _matrix_power(scatter, -0.5) @ z
    return (recoloured * std_t + mean_t).view_as(picture)


def _standardised(picture):
    """Pixels (3, H W) with mean 0 and deviation 1, and the (3, 1) means and deviations they had."""
    pixels = picture.flatten(2)[0]
    mean, std = pixels.mean(1, keepdim=True), pixels.std(1, keepdim=True)
    return (pixels - mean) / std.clamp_min(torch.finfo(pixels.dtype).eps), mean, std


def _matrix_power(matrix, exponent):
    """Power of a symmetric positive matrix (n, n)."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.pow(exponent)) @ vectors.T


def picture(name, size=None):
    """A photograph or painting by name, as a tensor; with `size` its shorter side is scaled to that many pixels.

    A picture that cannot be had is replaced by a packaged photograph or by one painted by code; one sentence says so.
    """
    if name in painted.KINDS:
        return painted.paint(name, size or 512, (size or 512) * 4 // 3)
    try:
        found = read(assets.path(name))
    except assets.AssetUnavailable as error:
        if name not in STAND_INS:
            raise
        if name not in _told:
            _told.add(name)
            print(f"{error} Going on with {STAND_INS[name]!r} instead.")
        return picture(STAND_INS[name], size)
    return found if size is None else resize(found, size)


def credit(name):
    """The credit line of a named picture."""
    return "painted by code" if name in painted.KINDS else assets.REGISTRY[name].credit
