"""The progress loop. Text on stderr, so that the saved outputs of a notebook stay clean."""

import sys

from tqdm import tqdm


def progress(steps, title="", show=True, **options):
    """Go through `steps` (an iterable or a number) with a text progress bar on stderr.

    The bar is a plain `tqdm`: `bar.set_postfix(loss=...)` shows values beside it.
    """
    steps = range(steps) if isinstance(steps, int) else steps
    options = {"mininterval": 0.5, "ascii": True, "ncols": 90, **options}
    return tqdm(steps, desc=title, file=sys.stderr, disable=not show, **options)
