"""The built book, looked at as a reader would: links, alt text, launch buttons, sliders, both modes, phone and desktop.

STLIB_BOOK_HTML names a built book. Without it `_build/html` is used if it is newer than its sources, else built first.
"""

import functools
import http.server
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urljoin, urlsplit

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf8"))
NOT_PAGES = {"index.html", "search.html", "genindex.html", "py-modindex.html"}  # made by Sphinx; index.html redirects
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

spec = importlib.util.spec_from_file_location("course", ROOT / "book" / "_ext" / "course.py")
course = importlib.util.module_from_spec(spec)
spec.loader.exec_module(course)


# The book ------------------------------------------------------------------------------------------------------------


def newest_source():
    sources = [ROOT / "_config.yml", ROOT / "_toc.yml", *(ROOT / "stlib").rglob("*.py")]
    sources += [path for folder in ("book", "notebooks") for path in (ROOT / folder).rglob("*") if path.is_file()]
    return max(path.stat().st_mtime for path in sources if "__pycache__" not in path.parts)


@pytest.fixture(scope="session")
def html():
    """The folder of the built book."""
    named = os.environ.get("STLIB_BOOK_HTML")
    folder = (ROOT / named) if named else ROOT / "_build" / "html"
    built = folder / "index.html"
    if named:
        assert built.exists(), f"STLIB_BOOK_HTML is {named}, but there is no built book: run `make book`."
    elif not built.exists() or built.stat().st_mtime < newest_source():
        command = [Path(sys.executable).parent / "jupyter-book", "build", ".", "--all", "-W", "-n", "--keep-going"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


class Page(HTMLParser):
    """What the tests want to know of one page: links, ids, pictures."""

    def __init__(self, path):
        super().__init__()
        self.links, self.ids, self.pictures, self.twins = [], set(), [], 0
        self.feed(path.read_text(encoding="utf8"))

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.update(attributes[name] for name in ("id", "name") if attributes.get(name))
        self.links += [attributes[name] for name in ("href", "src") if attributes.get(name)]
        if tag == "img":
            self.pictures.append(attributes)
        self.twins += "stlib-twin" in (attributes.get("class") or "").split()


@pytest.fixture(scope="session")
def pages(html):
    """Every page of the book: its path below the book's folder -> Page."""
    found = (path for part in ("book", "notebooks") for path in (html / part).rglob("*.html"))
    return {path.relative_to(html).as_posix(): Page(path) for path in sorted(found)}


def toc_files():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf8"))
    return [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]


def test_every_page_and_notebook_is_in_the_book(pages):
    notebooks = [p for p in (ROOT / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts]
    written = {p.relative_to(ROOT).with_suffix("").as_posix() for p in [*notebooks, *(ROOT / "book").glob("*.md")]}
    assert written == set(toc_files())
    assert {f"{name}.html" for name in written} == set(pages)


def test_every_picture_has_alt_text(pages):
    """No picture without alt text, and no file name in its place. The theme's logo stands beside its own title."""
    bad = []
    for name, page in pages.items():
        for picture in page.pictures:
            alt = (picture.get("alt") or "").strip()
            if "logo__image" in (picture.get("class") or "") or "stlib-decoration" in (picture.get("class") or ""):
                continue
            if not alt or "/" in alt or re.search(r"\.(png|jpe?g|svg|webp|gif)$", alt, re.IGNORECASE):
                bad.append(f"{name}: {picture.get('src', '')[:60]} has the alt text {alt!r}")
    assert not bad, "\n".join(bad)


def test_links_and_anchors_inside_the_book_resolve(html, pages):
    ids = {name: page.ids for name, page in pages.items()}
    bad = []
    for name, page in pages.items():
        for link in page.links:
            target = urlsplit(urljoin(f"http://book/{name}", link))
            if target.netloc != "book" or target.scheme != "http":
                continue
            path = unquote(target.path).lstrip("/")
            if not (html / path).is_file():
                bad.append(f"{name}: {link} leads to no file")
                continue
            if path.endswith(".html") and path not in ids:
                ids[path] = Page(html / path).ids
            if target.fragment and path in ids and unquote(target.fragment) not in ids[path]:
                bad.append(f"{name}: {link} leads to no anchor")
    assert not bad, "\n".join(bad)


def test_launch_buttons_follow_the_repository(pages):
    """Every notebook's page has the Colab URL that _config.yml implies, and no other one of ours."""
    repository = urlsplit(CONFIG["repository"]["url"]).path.strip("/")
    start = f"{CONFIG['launch_buttons']['colab_url']}/github/{repository}/blob/{CONFIG['repository']['branch']}/"
    chapters = [name for name in pages if name.startswith("notebooks/")]
    assert chapters, "The book has no chapters."
    for name in chapters:
        path = Path(name).with_suffix(".ipynb").as_posix()
        launches = {link for link in pages[name].links if "/github/" in link and link.endswith(".ipynb")}
        assert launches == {start + path}
        assert (ROOT / path).exists()
    for name, page in pages.items():
        assert any(link.rstrip("/") == CONFIG["repository"]["url"] for link in page.links), (
            f"{name}: no repository button"
        )
        assert any(f"{CONFIG['repository']['url']}/issues/new" in link for link in page.links), (
            f"{name}: no issue button"
        )


def test_every_widget_has_its_twin(pages):
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf8"))["cells"]
        outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
        widgets = sum("application/vnd.jupyter.widget-view+json" in data for data in outputs)
        page = path.relative_to(ROOT).with_suffix(".html").as_posix()
        assert pages[page].twins >= widgets, f"{page} shows {pages[page].twins} of {widgets} widgets without a kernel"


# In the browser ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def browser():
    from playwright.sync_api import sync_playwright

    named = os.environ.get("CHROMIUM")
    path = shutil.which(named) if named else next(filter(None, map(shutil.which, BROWSERS)), None)
    if not path:
        wanted = f"CHROMIUM is {named!r}, which is no program" if named else "There is no Chromium to look at the book"
        pytest.fail(f"{wanted}: install the Debian package chromium, or name a browser in CHROMIUM.", pytrace=False)
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        with playwright.chromium.launch(executable_path=path, args=flags) as chromium:
            yield chromium


@pytest.fixture(scope="session")
def site(html):
    """The book's address on a local server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=html))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


def open_context(browser, mode="light", width=1280):
    """A page of its own, in one mode and width, that cannot reach the outside; `problems` collects what goes wrong."""
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=mode)
    context.add_init_script(f"localStorage.setItem('mode', '{mode}'); localStorage.setItem('theme', '{mode}')")
    context.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.abort())
    page, problems = context.new_page(), []

    def heard(message):
        outside = "127.0.0.1" not in (message.location or {}).get("url", "")
        if message.type == "error" and not (outside and "Failed to load resource" in message.text):
            problems.append(f"console: {message.text}")

    page.on("console", heard)
    page.on("pageerror", lambda error: problems.append(f"script: {error}"))
    return SimpleNamespace(context=context, page=page, problems=problems)


TOO_WIDE = """() => {
  const clipped = e => { for (e = e.parentElement; e && e !== document.body; e = e.parentElement)
    if (['auto', 'scroll', 'hidden'].includes(getComputedStyle(e).overflowX)) return true; return false; };
  const wide = [...document.querySelectorAll('article *')].filter(e => {
    const box = e.getBoundingClientRect();
    return box.width > 1 && box.right > innerWidth + 1 && !clipped(e); });
  const names = wide.slice(0, 3).map(e => `<${e.tagName.toLowerCase()} class="${e.className}">`);
  return document.documentElement.scrollWidth > innerWidth + 1 && !names.length ? ['the page'] : names;
}"""
SEE_THROUGH = """() => [...document.querySelectorAll('.cell_output img')].filter(e => {
  if (!e.complete || !e.naturalWidth) return true;
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 1;
  const brush = canvas.getContext('2d');
  brush.drawImage(e, 0, 0, 1, 1, 0, 0, 1, 1);
  return brush.getImageData(0, 0, 1, 1).data[3] < 255; }).map(e => e.alt || e.src.slice(0, 60))"""


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_pages_in_the_browser(browser, site, pages, mode, width):
    """No script error, nothing wider than the screen, the mode is on, figures have an opaque ground."""
    view, bad = open_context(browser, mode, width), []
    for name in pages:
        view.problems.clear()
        view.page.goto(site + name, wait_until="load")
        found = list(view.problems)
        found += [f"{element} is wider than {width} pixels" for element in view.page.evaluate(TOO_WIDE)]
        found += [f"see-through or missing: {alt}" for alt in view.page.evaluate(SEE_THROUGH)]
        if view.page.evaluate("document.documentElement.dataset.theme") != mode:
            found.append(f"is not in {mode} mode")
        bad += [f"{name}: {problem}" for problem in found]
    view.context.close()
    assert not bad, "\n".join(bad)


SHOWN = "e => [...e.querySelectorAll('img')].filter(i => i.offsetParent !== null).map(i => i.src)"


def test_sliders_move_without_a_kernel(browser, site, pages):
    """A reader moves each slider with the keyboard: another picture appears, alone, with its label."""
    names = [name for name, page in pages.items() if page.twins]
    assert names, "No page has a slider."
    view = open_context(browser)
    for name in names:
        view.page.goto(site + name, wait_until="load")
        for twin in view.page.locator(".stlib-twin").all():
            slider, label = twin.locator("input[type=range]"), twin.locator("output")
            slider.focus()
            slider.press("Home")
            first, first_label = twin.evaluate(SHOWN), label.inner_text()
            slider.press("ArrowRight")
            second, second_label = twin.evaluate(SHOWN), label.inner_text()
            slider.press("End")
            last = twin.evaluate(SHOWN)
            assert len(first) == len(second) == len(last) == 1, f"{name}: a slider shows not one picture"
            assert first != second and first != last, f"{name}: moving the slider does not change the picture"
            assert first_label != second_label, f"{name}: moving the slider does not change the label"
    assert not view.problems, view.problems
    view.context.close()


# What the generated pages are made from ------------------------------------------------------------------------------


def test_systems_and_claims_are_complete():
    systems, claims = course.entries("systems"), course.entries("claims")
    assert [s["id"] for s in systems] == [f"S{i:02}" for i in range(1, 30)]
    assert [c["id"] for c in claims] == [f"C{i:02}" for i in range(1, 32)]
    chapters = [s["chapter"] for s in systems]
    assert len(set(chapters)) == 29
    bibliography = (ROOT / "book" / "references.bib").read_text(encoding="utf8")
    keys = re.findall(r"^@\w+\{(\w+),", bibliography, re.MULTILINE)
    assert len(keys) == len(set(keys))
    for s in systems:
        assert {"name", "year", "part", "kind", "provenance", "optimised", "needs", "limits"} <= set(s), s["id"]
        assert s["kind"] in ("translate", "generate", "edit", "-") and s["provenance"] in ("official", "reconstructed")
        assert set(s["cite"]) <= set(keys), s["id"]
    for claim in claims:
        assert (
            claim["text"]
            and claim["measured_as"]
            and set(claim["chapters"]) <= {*chapters, "laboratory/part1_measured"}
        ), claim["id"]


@pytest.fixture
def small(tmp_path):
    """A course of one system, one claim and one notebook."""
    (tmp_path / "book" / "results").mkdir(parents=True)
    (tmp_path / "notebooks" / "1_part").mkdir(parents=True)
    system = dict(id="S01", name="One", year=2015, part="I", chapter="1_part/one", kind="translate", cite=["a2015"])
    system |= dict(provenance="official", optimised="o", needs="n", limits="l")
    claim = dict(id="C01", text="It is | so.", measured_as="looking", chapters=["1_part/one"])
    (tmp_path / "book" / "systems.yml").write_text(yaml.dump([system]))
    (tmp_path / "book" / "claims.yml").write_text(yaml.dump([claim]))
    return tmp_path


def put_notebook(root, **stamp):
    cells = [dict(cell_type="markdown", metadata={}, source=["[badge](x)"])]
    cells += [dict(cell_type="markdown", metadata={}, source=["# The first\n", "Text."])]
    notebook = dict(cells=cells, metadata=dict(stlib=stamp) if stamp else {}, nbformat=4, nbformat_minor=5)
    (root / "notebooks" / "1_part" / "one.ipynb").write_text(json.dumps(notebook))


def put_rows(root, *rows):
    full = [dict(chapter="one", claim="C01", arm="", seed=0) | row for row in rows]
    (root / "book" / "results" / "one.json").write_text(json.dumps(full))


def test_a_system_is_planned_then_written_then_done(small):
    assert "○ planned" in "\n".join(course.system_map(small))
    put_notebook(small)
    assert "◐ written" in "\n".join(course.system_map(small))
    put_notebook(small, seconds=185, peak_memory=3 * 2**29, device="a laptop")
    assert "● done" in "\n".join(course.system_map(small))
    card = "\n".join(course.method_cards(["I"], small))
    assert "3 min 5 s, 1.5 GiB on a laptop" in card and "{cite:p}`a2015`" in card
    assert "S01" not in "\n".join(course.method_cards(["II"], small))


def test_a_claim_without_results_is_not_yet_measured(small):
    text = "\n".join(course.verdict_table(small))
    assert "So far: 0 of 1 measured." in text and "looking" in text and "*one* (planned)" in text
    assert "It is \\| so." in text  # a bar would end the cell


def test_a_verdict_comes_with_its_sentence_and_chapter(small):
    put_notebook(small)
    put_rows(small, dict(name="verdict", value="fails"), dict(name="verdict_sentence", value="It was 3, not 4."))
    text = "\n".join(course.verdict_table(small))
    assert (
        "So far: 1 of 1 measured; verdicts, some claims have several: 1 fails." in text
        and "not yet measured" not in text
    )
    assert "**✘ fails.** It was 3, not 4. [The first](/notebooks/1_part/one.ipynb)" in text
    assert "It was 3, not 4." in "\n".join(course.claim_boxes(["C01"], small))


@pytest.mark.parametrize(
    "rows, complaint",
    [
        ([dict(name="verdict", value="perhaps")], "not one of holds, fails, depends"),
        ([dict(name="verdict", value="holds")], "no verdict_sentence"),
        (
            [
                dict(name="verdict", value="holds", chapter="two"),
                dict(name="verdict_sentence", value="x", chapter="two"),
            ],
            "two",
        ),
    ],
)
def test_a_bad_verdict_stops_the_build(small, rows, complaint):
    put_rows(small, *rows)
    with pytest.raises(ValueError, match=complaint):
        course.verdict_table(small)


def test_docstrings_survive_as_text():
    lines = ["Sums |dx| + |dy| over `picture` and *args.", "A lone ` stays."]
    course.docstring_as_rst(None, "function", "f", None, None, lines)
    assert lines == ["Sums \\|dx\\| + \\|dy\\| over ``picture`` and \\*args.", "A lone \\` stays."]


def test_the_page_on_weights_counts_right():
    """Every number on the page is read out of the file again."""
    numpy, assets = pytest.importorskip("numpy"), pytest.importorskip("stlib.assets")
    name = "squeezenet_deep_compression"
    if not assets.available(name):
        pytest.skip("The SqueezeNet file is not here; set STLIB_ASSETS to a folder that has it.")
    data, outputs = assets.path(name).read_bytes(), [96]
    for squeeze, expand in zip((16, 16, 32, 32, 48, 48, 64, 64), (64, 64, 128, 128, 192, 192, 256, 256), strict=True):
        outputs += [squeeze, expand, expand]
    outputs += [1000]
    counts, at, codes = numpy.frombuffer(data, "<u4", 26).astype(int), 104, []
    for number, biases in zip(counts, outputs, strict=True):
        at += 4 * 256 + 4 * biases
        codes.append(numpy.frombuffer(data, "u1", number, at))
        at += number + (number - 1) // 2 + 1
    assert at == len(data)
    kept, fillers = sum((c != 0).sum() for c in codes), sum((c == 0).sum() for c in codes)
    gaps = ((counts - 1) // 2 + 1).sum()
    page = (ROOT / "book" / "weights.md").read_text(encoding="utf8")
    for number in (len(data), kept, fillers, counts.sum(), gaps, sum(outputs), 4 * sum(outputs), 4 * 26 * 256):
        assert f"{number:,}" in page
