"""Figures: alt text, opaque background, errors. Widgets: a twin that needs no kernel, no script file, no network."""

import base64
import io
import sys
from html.parser import HTMLParser

import matplotlib
import numpy
import pytest
import torch
from PIL import Image

from stlib import figures, widgets

matplotlib.use("agg")
ALT = "A grid of three grey squares, from dark to bright."


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, instead of displaying it."""
    calls = []
    monkeypatch.setattr(figures, "display", calls.append)
    monkeypatch.setattr(widgets, "display", calls.append)
    return calls


def squares(number, height=6, width=8):
    return [torch.full((1, 3, height, width), i / number) for i in range(number)]


def opened(output):
    return Image.open(io.BytesIO(output.data))


# Figures --------------------------------------------------------------------------------------------------------------


def test_an_array_is_rounded_clamped_and_of_either_shape():
    picture = torch.tensor([-1.0, 0.5, 0.999, 7.0]).view(1, 1, 1, 4).expand(1, 3, 1, 4)
    for shape in (picture, picture[0]):
        array = figures.to_array(shape.clone().requires_grad_(True))
        assert array.dtype == numpy.uint8 and array.shape == (1, 4, 3)
        assert array[0, :, 1].tolist() == [0, 128, 255, 255]


@pytest.mark.parametrize("alt", ["", "   ", None])
def test_without_alt_text_nothing_is_shown_and_nothing_stays_open(alt, shown):
    calls = (lambda: figures.grid(squares(2), alt), lambda: figures.curves({"a": [1, 2]}, alt, "x", "y"))
    for call in calls:
        with pytest.raises(ValueError, match="needs alt text"):
            call()
    assert shown == [] and figures.plt.get_fignums() == []


def test_a_grid_is_an_opaque_jpeg_with_its_alt_text(shown):
    figures.grid(squares(3), "A grid\n   of squares.", titles=["a", "b", "c"])
    (output,) = shown
    assert output.format == "jpeg" and output.alt == "A grid of squares."
    picture = numpy.asarray(opened(output).convert("RGB"))
    assert (picture[:2] > 250).all() and picture.shape[1] > 400
    assert figures.plt.get_fignums() == []


def test_curves_are_an_opaque_png(shown):
    figures.curves({"a": [3, 2, 1], "b": ([1, 10], [5, 6])}, ALT, "step", "loss", log_x=True, log_y=True, title="t")
    picture = opened(shown[0])
    assert picture.format == "PNG" and shown[0].alt == ALT
    alpha = numpy.asarray(picture.convert("RGBA"))[..., 3]
    assert (alpha == 255).all(), "a transparent figure cannot be read in dark mode"
    assert numpy.asarray(picture.convert("RGB"))[0, 0].tolist() == [255, 255, 255]


def drawn(monkeypatch, *arguments, **options):
    """The figure that a call makes, before it is closed."""
    made = []
    monkeypatch.setattr(figures, "show", lambda figure, alt, **_: made.append(figure))
    figures.grid(*arguments, **options)
    figures.plt.close(made[0])
    return made[0]


def test_labels_stand_at_their_pictures_also_beside_a_gap(monkeypatch):
    rows = [[None, *squares(2)], squares(3)]
    figure = drawn(monkeypatch, rows, ALT, rows=["r0", "r1"], columns=["c0", "c1", "c2"], title="all")
    axes = numpy.array(figure.axes).reshape(2, 3)
    assert [axis.get_title() for axis in axes[0]] == ["c0", "c1", "c2"]
    assert [axis.get_title() for axis in axes[1]] == [""] * 3
    assert [axis.get_ylabel() for axis in axes[:, 0]] == ["r0", "r1"]
    assert [len(axis.images) for axis in axes.flat] == [0, 1, 1, 1, 1, 1]


def test_a_short_row_and_titles_of_their_own(monkeypatch):
    figure = drawn(monkeypatch, [squares(2), squares(1)], ALT, titles=[["a", "b"], ["c"]])
    assert [axis.get_title() for axis in figure.axes] == ["a", "b", "c", ""]


def test_the_colours_of_curves_differ_and_repeat_with_another_line():
    assert len(set(figures.COLOURS)) == len(figures.COLOURS) >= 6 and len(set(figures.LINES)) >= 3


# Widgets --------------------------------------------------------------------------------------------------------------


class Twin(HTMLParser):
    """The elements of a twin: [(tag, attributes)], and its text."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def test_the_twin_is_plain_html_without_any_address():
    html = widgets.twin(squares(3), ["1", "2", "3"], "A square at weight {label}.", "weight", start=1)
    twin = Twin(html)
    assert {tag for tag, _ in twin.elements} == {"div", "img", "label", "input", "output"}
    assert "http" not in html and "<script" not in html and "url(" not in html
    images, (slider,) = twin.all("img"), twin.all("input")
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in images)
    assert [image["alt"] for image in images] == [f"A square at weight {i}." for i in (1, 2, 3)]
    assert ["hidden" in image for image in images] == [True, False, True]
    assert (slider["type"], slider["min"], slider["max"], slider["value"]) == ("range", "0", "2", "1")
    assert slider["aria-label"] == "weight" and slider["autocomplete"] == "off" and "this.value" in slider["oninput"]
    assert twin.text == "weight:  2"
    pixels = [opened_frame(image) for image in images]
    assert pixels[0] < pixels[1] < pixels[2]


def opened_frame(image):
    data = base64.b64decode(image["src"].partition(",")[2])
    return numpy.asarray(Image.open(io.BytesIO(data))).mean()


def test_labels_titles_and_alt_texts_are_escaped():
    evil = '"><script>alert(1)</script>'
    twin = Twin(widgets.twin(squares(2), [evil, "b"], [evil, "fine"], evil))
    assert "script" not in {tag for tag, _ in twin.elements}
    first = twin.all("img")[0]
    assert first["alt"] == first["title"] == evil and twin.all("input")[0]["aria-label"] == evil
    assert twin.text == f"{evil}:  {evil}"


@pytest.mark.parametrize("frames, labels", [(1, ["a"]), (2, ["a"]), (0, []), (2, ["a", "b", "c"])])
def test_too_few_or_unequal_frames_and_labels_are_a_sentence(frames, labels):
    with pytest.raises(ValueError, match="needs two or more frames and a label for each; got"):
        widgets.twin(squares(frames), labels, "{label}", "title")


def test_one_alt_text_for_each_frame_is_asked_for():
    with pytest.raises(ValueError):
        widgets.twin(squares(3), ["a", "b", "c"], ["only", "two"], "title")


def test_a_slider_holds_both_lives():
    pytest.importorskip("ipywidgets")
    slider = widgets.Slider([1, 10, 100], squares(3), "At {label}.", "weight", start=1)
    bundle = slider._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/html"] == slider.html and bundle["text/plain"] == "weight: 1, 10, 100"


def test_without_ipywidgets_the_twin_is_enough(monkeypatch):
    slider = widgets.Slider([1, 10], squares(2), "At {label}.", "weight")
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert set(slider._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_the_live_slider_computes_only_when_it_is_moved():
    pytest.importorskip("ipywidgets")
    asked = []

    def compute(label):
        asked.append(label)
        return torch.full((1, 3, 6, 8), 0.9)

    handle, picture = (
        widgets.Slider([1, 10, 100], squares(3), "At {label}.", "weight", compute, start=1).live().children
    )
    first = numpy.asarray(Image.open(io.BytesIO(picture.value)))
    assert asked == [] and (first == round(255 / 3)).all()
    handle.value = 100
    assert asked == [100]
    assert (numpy.asarray(Image.open(io.BytesIO(picture.value))) == round(0.9 * 255)).all()


def test_the_live_slider_without_a_function_moves_through_the_frames():
    pytest.importorskip("ipywidgets")
    handle, picture = widgets.Slider(["a", "b"], squares(2), "At {label}.", "weight").live().children
    before = picture.value
    handle.value = "b"
    assert picture.value != before


def test_slider_displays(shown):
    widgets.slider(["a", "b"], squares(2), "At {label}.", "weight")
    assert isinstance(shown[0], widgets.Slider)
