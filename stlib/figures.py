"""Figures: labelled grids of pictures, curves, and pictures with alt text. No computation happens here.

Every figure has alt text, written by someone who looked at it. It is stored with the output; executing a notebook
by `make run` copies it to where Jupyter Book reads it.
"""

import io

import matplotlib.pyplot as plt
import numpy
from IPython.display import Image, display

# Okabe and Ito's colours can be told apart by the colour-blind
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":")


def to_array(picture):
    """A picture tensor (3, H, W) or (1, 3, H, W) in [0, 1] as an (H, W, 3) uint8 array."""
    picture = picture.detach().float().cpu().clamp(0, 1)
    picture = picture[0] if picture.ndim == 4 else picture
    return (picture.permute(1, 2, 0).numpy() * 255).round().astype(numpy.uint8)


def show(figure, alt, kind="png", quality=72, dpi=90):
    """Display a matplotlib figure as a PNG (lines) or JPEG (pictures) with its alt text, and close it."""
    if not alt or not alt.strip():
        plt.close(figure)
        raise ValueError("show() needs alt text: one or two sentences on what the figure shows.")
    buffer = io.BytesIO()
    options = {"pil_kwargs": {"optimize": True} | ({"quality": quality} if kind == "jpeg" else {})}
    figure.savefig(buffer, format=kind, dpi=dpi, facecolor="white", bbox_inches="tight", **options)
    plt.close(figure)
    display(Image(buffer.getvalue(), format=kind, alt=" ".join(alt.split())))


def grid(pictures, alt, rows=None, columns=None, titles=None, title=None, width=9.0, quality=72):
    """Show pictures as a labelled grid.

    `pictures`: a list of rows, each a list of tensors (3, H, W) or (1, 3, H, W) in [0, 1] (None leaves a gap); a flat
    list is one row. `rows`, `columns` label the margins, `titles` (same nesting) each picture. Width in inches.
    """
    pictures = pictures if isinstance(pictures[0], (list, tuple)) else [pictures]
    titles = titles if titles is None or isinstance(titles[0], (list, tuple)) else [titles]
    across = max(len(row) for row in pictures)
    shapes = [[p.shape[-2:] for p in row if p is not None] for row in pictures]
    heights = [max(h / w for h, w in row) for row in shapes]
    caption = 0.22 if titles or columns else 0.05
    height = sum(heights) * width / across + caption * (len(pictures) if titles else 1) + (0.3 if title else 0)
    figure, axes = plt.subplots(
        len(pictures), across, figsize=(width, height), squeeze=False, height_ratios=heights, layout="constrained"
    )
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    for i, row in enumerate(pictures):
        for j in range(across):
            axis = axes[i][j]
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            if j < len(row) and row[j] is not None:
                axis.imshow(to_array(row[j]), interpolation="lanczos")
            if titles and j < len(titles[i]) and titles[i][j]:
                axis.set_title(titles[i][j], fontsize=9, pad=3)
            elif columns and i == 0:
                axis.set_title(columns[j], fontsize=9, pad=3)
            if rows and j == 0:
                axis.set_ylabel(rows[i], fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11)
    show(figure, alt, kind="jpeg", quality=quality)


def curves(series, alt, x_label, y_label, log_x=False, log_y=False, title=None, size=(6.5, 3.4), beside=False):
    """Show curves: `series` maps a label to values (x counts from 1) or to a pair (x values, y values).

    `beside` puts the legend to the right, for curves that leave no room for it.
    """
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    for i, (label, values) in enumerate(series.items()):
        x, y = values if isinstance(values, tuple) else (range(1, len(values) + 1), values)
        style = {"color": COLOURS[i % len(COLOURS)], "linestyle": LINES[i // len(COLOURS) % len(LINES)]}
        axis.plot(x, y, label=label, linewidth=1.8, marker="o" if len(list(x)) < 12 else None, markersize=4, **style)
    axis.set(xlabel=x_label, ylabel=y_label, title=title)
    axis.set_xscale("log" if log_x else "linear")
    axis.set_yscale("log" if log_y else "linear")
    axis.grid(alpha=0.3, which="both", linewidth=0.5)
    place = {"loc": "upper left", "bbox_to_anchor": (1, 1)} if beside else {}
    axis.legend(fontsize=8, frameon=False, **place)
    show(figure, alt, kind="png")
