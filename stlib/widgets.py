"""Widgets that live twice: with a kernel they compute, without one a slider moves through frames made beforehand.

The kernel-free twin is plain HTML: base64 pictures, one `<input type="range">` and a one-line handler. It needs no
script file, no network and no kernel, so it works in the built book, offline, and in Colab.
"""

import base64
import html
import io

from IPython.display import display
from PIL import Image

from stlib.figures import to_array

HANDLER = (
    "let b=this.closest('.stlib-twin');"
    "b.querySelectorAll('img').forEach((e,i)=>e.hidden=(i!=this.value));"
    "b.querySelector('output').textContent=b.querySelectorAll('img')[this.value].title"
)


def twin(frames, labels, alt, title, start=0, quality=70):
    """HTML of a slider through `frames` (tensors (1, 3, H, W) in [0, 1]) with one label and one alt text each.

    `alt` is a list of texts, or one text with `{label}` in it.
    """
    if not len(frames) == len(labels) > 1:
        got = f"{len(frames)} and {len(labels)}"
        raise ValueError(f"A slider needs two or more frames and a label for each; got {got}.")
    labels = [str(label) for label in labels]
    alts = [alt.format(label=label) for label in labels] if isinstance(alt, str) else alt
    images = []
    for i, (frame, label, text) in enumerate(zip(frames, labels, alts, strict=True)):
        buffer = io.BytesIO()
        Image.fromarray(to_array(frame)).save(buffer, "JPEG", quality=quality, optimize=True)
        data = base64.b64encode(buffer.getvalue()).decode()
        hidden = "" if i == start else " hidden"
        images.append(
            f'<img src="data:image/jpeg;base64,{data}" alt="{html.escape(text)}" title="{html.escape(label)}"'
            f' style="max-width:100%"{hidden}>'
        )
    name = html.escape(title)
    return (
        f'<div class="stlib-twin"><div>{"".join(images)}</div><label>{name}: '
        f'<input type="range" min="0" max="{len(frames) - 1}" value="{start}" step="1" aria-label="{name}"'
        f' autocomplete="off" oninput="{HANDLER}"> <output>{html.escape(labels[start])}</output></label></div>'
    )


class Slider:
    """A slider over `labels`: with a kernel, `compute(label)` draws the picture; the saved page holds the twin."""

    def __init__(self, labels, frames, alt, title, compute=None, start=0):
        self.labels, self.frames, self.compute, self.start = list(labels), list(frames), compute, start
        self.html = twin(self.frames, self.labels, alt, title, start)
        self.title = title

    def live(self):
        """The ipywidgets version: a slider whose picture is computed in the kernel when the handle is let go."""
        import ipywidgets

        picture = ipywidgets.Image(format="png")
        slider = ipywidgets.SelectionSlider(
            options=[(str(label), label) for label in self.labels],
            value=self.labels[self.start],
            description=self.title,
            continuous_update=False,
            style={"description_width": "initial"},
            layout={"width": "32em"},
        )

        def draw(change=None):
            label = slider.value
            frame = self.compute(label) if change and self.compute else self.frames[self.labels.index(label)]
            buffer = io.BytesIO()
            Image.fromarray(to_array(frame)).save(buffer, "PNG")
            picture.value = buffer.getvalue()

        slider.observe(draw, names="value")
        draw()
        return ipywidgets.VBox([slider, picture])

    def _repr_mimebundle_(self, include=None, exclude=None):
        try:
            bundle = self.live()._repr_mimebundle_()
        except ImportError:  # no ipywidgets: the twin does
            bundle = {}
        return {**bundle, "text/plain": f"{self.title}: {', '.join(map(str, self.labels))}", "text/html": self.html}


def slider(labels, frames, alt, title, compute=None, start=0):
    """Display a `Slider`: `frames[i]` is the picture for `labels[i]`; `compute(label)` makes it anew with a kernel."""
    display(Slider(labels, frames, alt, title, compute, start))
