"""Named files: where they are looked for, what is refused, what a bad network leaves behind. Servers are local."""

import hashlib
import http.server
import json
import multiprocessing
import os
import re
import threading
import time
import warnings
from pathlib import Path

import pytest

from stlib import assets

DATA = os.urandom(300_000)  # larger than one packet
SHARED = Path(__file__).resolve().parents[2] / "shared" / "assets" / "manifest.json"


class Server(http.server.BaseHTTPRequestHandler):
    """Answers by path: /right, /wrong, /short (ends early), /missing, /hang (never answers), /slow (takes a while)."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/hang":
            self.server.stop.wait(30)
            return
        if self.path == "/missing":
            self.send_error(404)
            return
        if self.path == "/slow":
            self.server.stop.wait(0.3)
        body = b"<html>please log in</html>" if self.path == "/wrong" else DATA
        self.send_response(200)
        self.send_header("Content-Length", len(body))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/short" else body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    class Quiet(http.server.ThreadingHTTPServer):
        asked, stop = [], threading.Event()

        def handle_error(self, *_):
            pass

    with Quiet(("127.0.0.1", 0), Server) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield running
        running.stop.set()
        running.shutdown()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty asset folder and an empty cache, the network allowed, nothing told yet."""
    (tmp_path / "assets").mkdir()
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("STLIB_ASSETS", str(tmp_path / "assets"))
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path / "deep" / "cache"))
    monkeypatch.delenv("STLIB_OFFLINE", raising=False)
    monkeypatch.setattr(assets, "_told", set())
    monkeypatch.setattr(assets, "_used", {})
    return tmp_path


@pytest.fixture
def register(monkeypatch, server):
    def add(path, data=DATA):
        url = f"http://127.0.0.1:{server.server_address[1]}{path}"
        about = {"author": "A", "title": "T", "licence": "CC0", "credit": "A, CC0"}
        sha256 = hashlib.sha256(data).hexdigest()
        entry = assets.Asset(name="thing", kind="photo", file="thing.jpg", url=url, sha256=sha256, **about)
        monkeypatch.setitem(assets.REGISTRY, "thing", entry)
        server.asked.clear()
        return entry

    return add


def cached(place):
    folder = place / "deep" / "cache"
    return sorted(folder.iterdir()) if folder.exists() else []


# Where a file is looked for -------------------------------------------------------------------------------------------


def test_the_folder_first_then_the_cache_then_the_network(place, register, server):
    register("/right")
    shared, cache = place / "assets" / "thing.jpg", assets.cache_folder() / "thing.jpg"
    assert assets.source("thing") is None and not assets.available("thing") and server.asked == []
    assert assets.path("thing") == cache and cache.read_bytes() == DATA
    assert assets.used() == {"thing": "network"} and server.asked == ["/right"]
    assert assets.path("thing") == cache and assets.used() == {"thing": "cache"} and server.asked == ["/right"]
    shared.write_bytes(DATA)
    assert assets.path("thing") == shared and assets.used() == {"thing": "STLIB_ASSETS"}
    assert assets.source("thing") == "STLIB_ASSETS" and cached(place) == [cache]


def test_a_tampered_file_in_the_folder_is_not_used(place, register):
    register("/right")
    shared = place / "assets" / "thing.jpg"
    shared.write_bytes(DATA[:-1] + b"x")
    with pytest.warns(UserWarning, match="damaged or another file"):
        assert assets.path("thing").read_bytes() == DATA
    assert shared.read_bytes() != DATA, "the folder is read-only for us"


def test_a_tampered_file_in_the_cache_is_fetched_again(place, register):
    register("/right")
    assets.path("thing").write_bytes(b"tampered")
    with pytest.warns(UserWarning, match="is damaged .* not used"):
        assert assets.path("thing").read_bytes() == DATA
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert assets.source("thing") == "cache"


@pytest.mark.parametrize("value", ["1", "true"])
def test_offline_is_one_sentence_that_says_where_to_put_the_file(place, register, server, monkeypatch, value):
    register("/right")
    monkeypatch.setenv("STLIB_OFFLINE", value)
    with pytest.raises(assets.AssetUnavailable) as told:
        assets.path("thing")
    sentence = str(told.value)
    assert "STLIB_OFFLINE forbids the network" in sentence and "\n" not in sentence
    assert str(assets.cache_folder() / "thing.jpg") in sentence and "STLIB_ASSETS" in sentence
    assert server.asked == [] and cached(place) == []


def test_offline_a_damaged_file_is_named(place, register, monkeypatch):
    register("/right")
    monkeypatch.setenv("STLIB_OFFLINE", "1")
    assets.cache_folder().mkdir(parents=True)
    (assets.cache_folder() / "thing.jpg").write_bytes(b"half")
    with pytest.warns(UserWarning, match="thing.jpg is damaged"), pytest.raises(assets.AssetUnavailable):
        assets.path("thing")


@pytest.mark.parametrize("value", ["", "0"])
def test_offline_can_be_switched_off(place, register, monkeypatch, value):
    register("/right")
    monkeypatch.setenv("STLIB_OFFLINE", value)
    assert assets.path("thing").exists()


def test_unknown_names_are_a_sentence():
    for ask in (assets.path, assets.source, assets.available):
        with pytest.raises(assets.AssetUnavailable, match="There is no asset 'nothing'; there are: astronaut"):
            ask("nothing")


def test_what_ships_with_a_package_is_here_or_says_which(monkeypatch):
    for entry in assets.ENTRIES:
        if entry.package:
            assert assets.path(entry.name).is_file() and assets.source(entry.name) == f"package {entry.package}"
    gone = assets.Asset("gone", "photo", "A", "T", "CC0", "A", file="x.png", package="no_such_package")
    monkeypatch.setitem(assets.REGISTRY, "gone", gone)
    with pytest.raises(assets.AssetUnavailable, match="ships with the package no_such_package"):
        assets.path("gone")


# The network ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, reason",
    [("/wrong", "sent a damaged file"), ("/short", "could not be fetched"), ("/missing", "the server answered 404")],
)
def test_a_bad_download_is_a_sentence_and_leaves_nothing(place, register, path, reason):
    register(path)
    with pytest.raises(assets.AssetUnavailable, match=reason) as told:
        assets.path("thing")
    assert cached(place) == [] and "\n" not in str(told.value)


def test_a_bad_download_leaves_the_old_file(place, register):
    """A damaged cached file is still there (for its owner to look at), and is still not used."""
    register("/wrong")
    assets.cache_folder().mkdir(parents=True)
    (assets.cache_folder() / "thing.jpg").write_bytes(b"old")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(assets.AssetUnavailable):
        assets.path("thing")
    assert [p.read_bytes() for p in cached(place)] == [b"old"]


def test_a_server_that_hangs_is_given_up(place, register, monkeypatch):
    register("/hang")
    monkeypatch.setattr(assets, "TIMEOUT", 0.3)
    start = time.perf_counter()
    with pytest.raises(assets.AssetUnavailable, match="could not be fetched .*Timeout"):
        assets.path("thing")
    assert time.perf_counter() - start < 5 and cached(place) == []


def test_no_server_at_all_is_a_sentence(place, register, monkeypatch):
    entry = register("/right")
    nobody = re.sub(r":\d+/", ":9/", entry.url)  # the port "discard", where nobody listens
    monkeypatch.setitem(assets.REGISTRY, "thing", assets.Asset(**{**vars(entry), "url": nobody}))
    with pytest.raises(assets.AssetUnavailable, match="could not be fetched .ConnectionError"):
        assets.path("thing")


def test_a_cache_that_cannot_be_made_is_a_sentence(place, register, monkeypatch):
    register("/right")
    (place / "file").write_text("")
    monkeypatch.setenv("STLIB_CACHE", str(place / "file" / "cache"))
    with pytest.raises(assets.AssetUnavailable, match="cannot be written"):
        assets.path("thing")


def fetch(entry, start, answers):
    assets.REGISTRY[entry.name] = entry
    start.wait(20)
    try:
        answers.put(hashlib.sha256(assets.path(entry.name).read_bytes()).hexdigest())
    except Exception as error:
        answers.put(repr(error))


def test_processes_that_fetch_the_same_file_at_once_all_get_it(place, register):
    entry = register("/slow")
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(3), context.Queue()
    children = [context.Process(target=fetch, args=(entry, start, answers)) for _ in range(3)]
    for child in children:
        child.start()
    assert [answers.get(timeout=30) for _ in children] == [entry.sha256] * 3
    for child in children:
        child.join(10)
    assert [path.name for path in cached(place)] == ["thing.jpg"]


# The registry ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", assets.ENTRIES, ids=lambda entry: entry.name)
def test_an_entry_is_complete(entry):
    assert entry.kind in ("photo", "painting", "weights")
    assert all((entry.name, entry.file, entry.author, entry.title, entry.licence, entry.credit))
    if entry.package:
        assert not entry.url and not entry.sha256
    else:
        assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
        assert re.match(r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/", entry.url), "not pinned"
    assert entry.show or "not shown" in entry.licence


def test_names_and_files_are_unique():
    assert len(assets.REGISTRY) == len(assets.ENTRIES) == len({entry.file for entry in assets.ENTRIES})


@pytest.mark.skipif(not SHARED.exists(), reason="the folder of shared assets is not here")
def test_the_registry_agrees_with_the_manifest():
    manifest = {entry["name"]: entry for entry in json.loads(SHARED.read_text(encoding="utf8"))}
    ours = {entry.name: entry for entry in assets.ENTRIES if not entry.package}
    for name, entry in manifest.items():
        match = next((own for own in ours.values() if own.file == entry["file"]), None)
        assert match, name
        assert (match.url, match.sha256) == (entry["url"], entry["sha256"]), name
        found = hashlib.sha256((SHARED.parent / match.file).read_bytes()).hexdigest()
        assert found == match.sha256, f"{match.file} on the disk is another file"
    assert {entry.file for entry in ours.values()} == {entry["file"] for entry in manifest.values()}


def test_listing_the_assets_fetches_nothing(place, capsys, monkeypatch):
    monkeypatch.setattr(assets, "_fetch", lambda asset: pytest.fail("it used the network"))
    assets.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(assets.REGISTRY) + 1
    assert any("starry_night" in line and "(would be fetched)" in line for line in lines)


def test_it_needs_no_torch():
    import subprocess
    import sys

    code = "import sys; sys.modules['torch'] = None; from stlib import assets; print(assets.source('chelsea'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert done.stdout.strip() == "package skimage", done.stderr
