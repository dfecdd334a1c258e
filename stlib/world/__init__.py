"""The parametric world: a content is a vector of named factors, a style is a way to draw it.

>>> from stlib import world
>>> contents = world.sample("portraits", range(8))
>>> sketches = world.render(contents, "sketch", size=128)    # (8, 3, 128, 128) in [0, 1]

The same contents in every style give what photographs cannot: the true picture a style transfer should have made.
"""

from concurrent.futures import ThreadPoolExecutor

import torch

from stlib.world import factors, landscapes, portraits, styles
from stlib.world.factors import WorldError

FAMILIES = {"portraits": portraits, "landscapes": landscapes}
STYLES = tuple(styles.STYLES)
SIZES = (32, 512)  # smallest and largest side of a picture, in pixels
AT_ONCE = 64 * 64 * 64  # pixels rendered together on a processor: fewer leave its threads waiting for Python


def sample(family, numbers, seed=0, device="cpu"):
    """The contents `numbers` (ints) of the family "portraits" or "landscapes": `factors.Contents`, one row each.

    Content k of a seed is the same in any batch and in every style.
    """
    return factors.draw(family, _family(family).FACTORS, numbers, seed, device)


def scene(contents, size=64):
    """The scene (`stlib.world.scene.Scene`) of each content: all that a style draws from, `size` pixels square."""
    _check(contents, size)
    return _family(contents.family).build(contents, size)


@torch.no_grad()
def render(contents, style, size=64, variation=0):
    """Draw each content in one style: (B, 3, size, size) float32 in [0, 1], on the device of the contents.

    `style` is one of `STYLES`. Its own accidents (grain, strokes, paper) are drawn from a stream apart from the
    content's; another `variation` (an int) draws the same content with other accidents.
    """
    if style not in styles.STYLES:
        raise WorldError(f"The world has no style {style!r}; it has: {', '.join(STYLES)}.")
    _check(contents, size)
    draw, on_cpu = styles.STYLES[style], contents.values.device.type == "cpu"

    @torch.no_grad()
    def pictures(part):
        return draw(scene(part, size), part.key(f"{style}/{variation}"))

    step = max(1, (AT_ONCE if on_cpu else 16 * AT_ONCE) // size**2)
    parts = [contents[i : i + step] for i in range(0, len(contents), step)]
    if not on_cpu or len(parts) == 1:
        return torch.cat([pictures(part) for part in parts])
    # Many small operations: a thread for each part is faster than all threads in each operation
    with ThreadPoolExecutor(torch.get_num_threads(), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return torch.cat(list(pool.map(pictures, parts)))


def _family(name):
    if name not in FAMILIES:
        raise WorldError(f"The world has no family {name!r}; it has: {', '.join(FAMILIES)}.")
    return FAMILIES[name]


def _check(contents, size):
    if not isinstance(contents, factors.Contents):
        raise WorldError(f"Contents are drawn, as `world.sample` gives them; got {type(contents).__name__}.")
    if not len(contents):
        raise WorldError("There are no contents to draw: sample one or more.")
    if not isinstance(size, int) or not SIZES[0] <= size <= SIZES[1]:
        raise WorldError(f"Pictures of the world have {SIZES[0]} to {SIZES[1]} pixels a side; got {size!r}.")
