"""Pictures painted by code: styles that are always there, also without a network. Deterministic for a seed."""

import numpy
import torch
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

PALETTES = {
    "strokes": ["#10234a", "#1f4c8f", "#3f7fc1", "#9fc4d8", "#f2d64b", "#e8a33d"],
    "woodcut": ["#f1e6cf", "#1d3f66", "#5f8fa8"],
    "mosaic": ["#b5382a", "#e2a13b", "#f0d9a0", "#2f6b5e", "#274a78", "#7b2d52"],
}
KINDS = tuple(PALETTES)


def paint(kind, height, width, seed=0):
    """A painted style picture (1, 3, height, width) in [0, 1]: "strokes", "woodcut" or "mosaic"."""
    if kind not in KINDS:
        raise ValueError(f"There is no painted picture {kind!r}; choose one of: {', '.join(KINDS)}.")
    random = numpy.random.default_rng(seed)
    array = {"strokes": _strokes, "woodcut": _woodcut, "mosaic": _mosaic}[kind](height, width, random)
    return torch.from_numpy(numpy.ascontiguousarray(array, dtype=numpy.float32)).permute(2, 0, 1)[None]


def _colours(kind):
    return numpy.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in PALETTES[kind]])


def _smooth(random, height, width, scale):
    """Smooth noise in [0, 1] whose shapes are about `scale` pixels wide."""
    noise = gaussian_filter(random.standard_normal((height, width)), scale, mode="wrap")
    return (noise - noise.min()) / (noise.max() - noise.min())


def _strokes(height, width, random):
    """Oil strokes that follow a field of whorls, from large to small."""
    unit = min(height, width)
    tone, field = _smooth(random, height, width, unit / 9), _smooth(random, height, width, unit / 7)
    dy, dx = numpy.gradient(field)
    angle = numpy.arctan2(dx, -dy)  # along the level lines: strokes circle the hills of the field
    palette = _colours("strokes")
    order = numpy.argsort(numpy.argsort(tone.ravel())).reshape(tone.shape) / tone.size  # equal shares of all colours
    image = Image.new("RGB", (width, height), tuple(palette[1]))
    draw = ImageDraw.Draw(image)
    for thickness, count in ((unit / 22, 1500), (unit / 40, 4000), (unit / 80, 5000)):
        ys, xs = random.uniform(0, height, count), random.uniform(0, width, count)
        for y, x in zip(ys, xs, strict=True):
            share = numpy.clip(order[int(y), int(x)] + random.normal(0, 0.06), 0, 0.999)
            colour = palette[int(share * len(palette))] + random.normal(0, 14, 3)
            line = [(x, y)]
            for _ in range(6):
                a = angle[int(numpy.clip(line[-1][1], 0, height - 1)), int(numpy.clip(line[-1][0], 0, width - 1))]
                line.append((line[-1][0] + thickness * numpy.cos(a), line[-1][1] + thickness * numpy.sin(a)))
            draw.line(line, tuple(int(v) for v in numpy.clip(colour, 0, 255)), max(1, round(thickness / 1.6)), "curve")
    return numpy.asarray(image) / 255


def _woodcut(height, width, random):
    """Carved lines on paper: bent parallel waves, thick in the dark parts, over a second colour."""
    unit = min(height, width)
    y, x = numpy.mgrid[:height, :width] / unit
    bend, tone = (_smooth(random, height, width, unit / s) for s in (5, 8))
    wave = numpy.sin(2 * numpy.pi * (22 * y + 3 * bend * numpy.sin(4 * x) + 6 * bend))
    paper, ink, wash = _colours("woodcut") / 255
    grain = 0.03 * _smooth(random, height, width, 1.0)[..., None]
    picture = numpy.where((tone < 0.45)[..., None], wash, paper)
    line = 1 / (1 + numpy.exp(-14 * (wave - 1.7 * tone + 0.35)))[..., None]
    return numpy.clip(picture * (1 - line) + ink * line - grain, 0, 1)


def _mosaic(height, width, random):
    """Glass tiles with dark joints; neighbouring tiles share a colour."""
    from scipy.spatial import cKDTree

    unit = min(height, width)
    count = int(420 * width * height / unit**2)
    centres = random.uniform((0, 0), (height, width), (count, 2))
    grid = numpy.stack(numpy.mgrid[:height, :width], axis=-1).reshape(-1, 2)
    distance, nearest = cKDTree(centres).query(grid, k=2)
    tone = _smooth(random, height, width, unit / 8)
    rank = numpy.argsort(numpy.argsort(tone[tuple(centres.astype(int).T)])) / count
    palette = _colours("mosaic")
    tiles = palette[(rank * len(palette)).astype(int)] + random.normal(0, 12, (count, 3))
    joint = numpy.clip((distance[:, 1] - distance[:, 0]) / (unit / 90), 0, 1)[:, None]
    shade = 1 - 0.25 * numpy.clip((grid - centres[nearest[:, 0]]).sum(1, keepdims=True) / (unit / 12), -1, 1)
    picture = numpy.clip(tiles[nearest[:, 0]] / 255 * shade, 0, 1) * joint + 0.08 * (1 - joint)
    return picture.reshape(height, width, 3)
