"""Reading: any mode, size, rotation and damage gives a picture or a sentence. Writing: the old file or the new one."""

import io
import os
import struct
import zlib

import numpy
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from stlib import images, painted

RELAXED = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I;16", "I;16B", "I", "F", "LAB", "YCbCr"]
ROTATE = {  # EXIF orientation: how the stored array has to be turned to stand upright
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: numpy.rot90(a, -1),
    7: lambda a: numpy.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: numpy.rot90(a, 1),
}


def noise(height, width, channels=3, seed=0, top=256, dtype="uint8"):
    shape = (height, width, channels) if channels else (height, width)
    return numpy.random.default_rng(seed).integers(0, top, shape).astype(dtype)


def image_of(mode, height, width, seed=0):
    """A Pillow image of any mode, with random pixels."""
    if mode.startswith("I;16"):
        return Image.frombytes(mode, (width, height), noise(height, width, 0, seed, 65536, "uint16").tobytes())
    if mode in ("I", "F"):
        array = noise(height, width, 0, seed, 65536, "int32")
        return Image.fromarray(array if mode == "I" else (array / 65535).astype("float32"))
    if mode == "LAB":
        return Image.frombytes("LAB", (width, height), noise(height, width, 3, seed).tobytes())
    if mode in ("P", "PA", "1"):
        image = Image.fromarray(noise(height, width, 3, seed)).convert("1" if mode == "1" else "P")
        return image.convert("PA") if mode == "PA" else image
    bands = Image.fromarray(noise(height, width, 4, seed), "RGBA")
    return bands.convert(mode) if mode != "CMYK" else Image.frombytes("CMYK", (width, height), bands.tobytes())


def is_picture(tensor):
    return (
        tensor.dtype == torch.float32
        and tensor.ndim == 4
        and tensor.shape[:2] == (1, 3)
        and tensor.min() >= 0
        and tensor.max() <= 1
    )


# Reading --------------------------------------------------------------------------------------------------------------


@RELAXED
@given(
    mode=st.sampled_from(MODES),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    kind=st.sampled_from(["png", "tiff", "jpeg", "webp", "gif", "bmp"]),
    seed=st.integers(0, 99),
    size=st.sampled_from([None, 1, 8, 64]),
)
def test_any_mode_and_size_is_read(tmp_path, mode, height, width, kind, seed, size):
    path = tmp_path / f"x.{kind}"
    try:
        image_of(mode, height, width, seed).save(path)
    except (OSError, KeyError, ValueError, SystemError):
        return  # Pillow cannot write this mode in this format
    picture = images.read(path, size)
    assert is_picture(picture) and picture.is_contiguous()
    shorter = min(height, width)
    assert min(picture.shape[-2:]) == (shorter if size is None else min(size, shorter))
    if size is None:
        assert picture.shape[-2:] == (height, width)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_pixels_arrive_as_they_are(tmp_path, mode):
    image = image_of(mode, 5, 7)
    image.save(tmp_path / "x.png")
    expected = numpy.asarray(image.convert("RGB")).transpose(2, 0, 1) / 255
    numpy.testing.assert_allclose(images.read(tmp_path / "x.png")[0], expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("values", [[0, 1, 200, 255], [0, 1000, 32768, 65535]])
def test_sixteen_bits_keep_their_scale_also_when_dark(tmp_path, kind, values):
    array = numpy.array([values], "uint16")
    Image.fromarray(array).save(tmp_path / f"x.{kind}")
    picture = images.read(tmp_path / f"x.{kind}")
    numpy.testing.assert_allclose(picture[0, 1], array / 65535, atol=1e-6)


@pytest.mark.parametrize(
    "values, top",
    [([0, 0.5, 1], 1), ([-0.1, 0.5, 1.04], 1), ([0, 128, 255], 255), ([0, 5e3, 65535], 65535), ([0, 1, 1e6], 1e6)],
)
def test_floats_of_any_range_are_read(tmp_path, values, top):
    Image.fromarray(numpy.array([values], "float32")).save(tmp_path / "x.tiff")
    expected = (numpy.array(values) / top).clip(0, 1)
    numpy.testing.assert_allclose(images.read(tmp_path / "x.tiff")[0, 0, 0], expected, atol=1e-6)


def test_nan_and_infinity_in_a_file_become_black(tmp_path):
    Image.fromarray(numpy.array([[numpy.nan, numpy.inf, -numpy.inf, 0.5]], "float32")).save(tmp_path / "x.tiff")
    assert images.read(tmp_path / "x.tiff")[0, 0, 0].tolist() == [0, 0, 0, 0.5]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_is_white(tmp_path, mode):
    Image.new(mode, (3, 2), (0,) * len(mode)).save(tmp_path / "x.png")
    assert (images.read(tmp_path / "x.png") == 1).all()
    palette = Image.new("P", (3, 2), 0)
    palette.putpalette([10, 20, 30, 0, 0, 0])
    palette.save(tmp_path / "p.png", transparency=0)
    assert (images.read(tmp_path / "p.png") == 1).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "I;16", "L"])
def test_exif_orientation_is_applied(tmp_path, orientation, mode):
    image, exif = image_of(mode, 4, 6, seed=orientation), Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "x.png", exif=exif)
    array = numpy.asarray(image) / (65535 if mode == "I;16" else 255)
    array = ROTATE[orientation](array if array.ndim == 3 else array[..., None].repeat(3, 2))
    picture = images.read(tmp_path / "x.png")
    numpy.testing.assert_allclose(picture[0].permute(1, 2, 0), array, atol=1e-6)


def test_orientation_and_draft_size_together(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    array = numpy.zeros((400, 800, 3), "uint8")
    array[:, :400] = 255  # the left half: after turning by 90 degrees clockwise, the upper half
    Image.fromarray(array).save(tmp_path / "x.jpg", exif=exif)
    picture = images.read(tmp_path / "x.jpg", 50)
    assert picture.shape == (1, 3, 100, 50)
    assert picture[..., :45, :].mean() > 0.95 and picture[..., 55:, :].mean() < 0.05


def test_of_an_animation_the_first_frame(tmp_path):
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("white", "black")]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    assert images.read(tmp_path / "x.gif").mean() > 0.99


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0rubbish", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0II*\0\xff\xff\xff\xff"]
)
def test_damaged_exif_does_not_cost_the_picture(tmp_path, exif):
    Image.new("RGB", (4, 3), "white").save(tmp_path / "x.jpg", exif=exif)
    assert is_picture(images.read(tmp_path / "x.jpg"))


ENCODED = {}
for _kind, _mode in (
    ("png", "RGB"),
    ("png", "I;16"),
    ("jpeg", "RGB"),
    ("tiff", "RGBA"),
    ("webp", "RGB"),
    ("gif", "P"),
    ("bmp", "L"),
):
    _buffer = io.BytesIO()
    image_of(_mode, 16, 20).save(_buffer, _kind)
    ENCODED[_kind, _mode] = _buffer.getvalue()


def picture_or_sentence(path):
    try:
        return is_picture(images.read(path))
    except images.ImageError as error:
        assert str(path) in str(error) and str(error).endswith((".", ".)")) and "\n" not in str(error), error
        return True


@settings(RELAXED, max_examples=150)
@given(kind=st.sampled_from(sorted(ENCODED)), share=st.floats(0, 1))
def test_truncation_anywhere_is_a_sentence_or_a_picture(tmp_path, kind, share):
    data = ENCODED[kind]
    path = tmp_path / "cut"
    path.write_bytes(data[: int(share * len(data))])
    assert picture_or_sentence(path)


@settings(RELAXED, max_examples=150)
@given(
    kind=st.sampled_from(sorted(ENCODED)),
    flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_flipped_bytes_are_a_sentence_or_a_picture(tmp_path, kind, flips):
    data = bytearray(ENCODED[kind])
    for place, change in flips:
        data[int(place * len(data))] ^= change
    path = tmp_path / "flipped"
    path.write_bytes(data)
    assert picture_or_sentence(path)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header_only(width, height):
    """A PNG file that says it is huge, and holds nothing: a few bytes on the disk."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")


def test_too_many_pixels_are_refused_before_they_fill_the_memory(tmp_path):
    path = tmp_path / "huge.png"
    path.write_bytes(header_only(60_000, 60_000))
    with pytest.raises(images.ImageError, match="has 3600 megapixels; at most 200 are read"):
        images.read(path)
    path.write_bytes(header_only(20_000, 10_001))
    with pytest.raises(images.ImageError, match="has 200 megapixels"):
        images.read(path, 64)
    path.write_bytes(header_only(100, 100))
    with pytest.raises(images.ImageError, match="is damaged and cannot be read to its end"):
        images.read(path)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_a_hundred_megapixels_are_read_small(tmp_path, mode, monkeypatch):
    Image.new(mode, (10_000, 10_000), 255).save(tmp_path / "x.png", compress_level=1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    picture = images.read(tmp_path / "x.png", 64)
    assert picture.shape == (1, 3, 64, 64) and picture.mean() > 0.99
    assert Image.MAX_IMAGE_PIXELS == 1_000_000, "Pillow's own limit must come back"


def test_averaging_first_and_scaling_alone_agree(tmp_path, monkeypatch):
    smooth = painted._smooth(numpy.random.default_rng(0), 320, 400, 20)
    Image.fromarray((smooth * 255).astype("uint8")).save(tmp_path / "x.png")
    alone = images.read(tmp_path / "x.png", 40)
    monkeypatch.setattr(images, "DRAFT", 1000)
    first = images.read(tmp_path / "x.png", 40)
    assert first.shape == alone.shape and (first - alone).abs().max() < 0.02


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda p: None, "There is no file"),
        (lambda p: p.mkdir(), "is a folder; name one picture file in it"),
        (lambda p: p.write_bytes(b""), "is no picture that can be read"),
        (lambda p: p.write_text("hello, this is no picture"), "is no picture that can be read"),
        (lambda p: os.mkfifo(p), "is no ordinary file"),
        (lambda p: p.symlink_to("nowhere"), "There is no file"),
        (lambda p: p.symlink_to(p), "cannot be read|There is no file"),
    ],
)
def test_what_is_no_picture_is_a_sentence(tmp_path, make, sentence):
    make(tmp_path / "x.png")
    with pytest.raises(images.ImageError, match=sentence):
        images.read(tmp_path / "x.png")


@pytest.mark.parametrize("name", ["x" * 400, "a\0b", "file/below.png", "", "."])
def test_strange_names_are_sentences(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(images.ImageError):
        images.read(name)
    with pytest.raises(images.ImageError):
        images.write(torch.zeros(1, 3, 4, 4), name + ".png" if name not in ("", ".") else name)


def test_permissions_are_sentences(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    (tmp_path / "x.png").chmod(0)
    if os.access(tmp_path / "x.png", os.R_OK):
        pytest.skip("this user may read and write everything")
    with pytest.raises(images.ImageError, match="may not be read"):
        images.read(tmp_path / "x.png")
    with pytest.raises(images.ImageError, match="write-protected"):
        images.check_writable(tmp_path / "x.png")
    tmp_path.chmod(0o500)
    with pytest.raises(images.ImageError, match="may not be written to"):
        images.check_writable(tmp_path / "y.png")


# Writing --------------------------------------------------------------------------------------------------------------


@RELAXED
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    seed=st.integers(0, 99),
    kind=st.sampled_from([".png", ".tif", ".bmp", ".PNG"]),
)
def test_written_and_read_again_it_is_the_same(tmp_path, height, width, seed, kind):
    picture = torch.from_numpy(noise(height, width, 3, seed)).permute(2, 0, 1)[None] / 255
    path = tmp_path / f"x{kind}"
    images.write(picture, path)
    torch.testing.assert_close(images.read(path), picture, atol=1e-6, rtol=0)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("kind", [".jpg", ".jpeg", ".webp"])
def test_lossy_formats_come_close(tmp_path, kind):
    picture = images.resize(torch.rand(1, 3, 6, 8), 48)
    images.write(picture[0], tmp_path / f"x{kind}")  # (3, H, W) is taken as well
    assert (images.read(tmp_path / f"x{kind}") - picture).abs().mean() < 0.05


@pytest.mark.parametrize("kind", [".png", ".jpg", ".webp", ".tif"])
def test_the_file_says_how_it_was_made(tmp_path, kind):
    about = "Tübingen by 北斎, bad name \udcff"
    images.write(torch.rand(1, 3, 8, 8), tmp_path / f"x{kind}", about=about)
    assert "Tübingen by 北斎, bad name ?".encode() in (tmp_path / f"x{kind}").read_bytes()


def test_values_outside_the_range_are_clamped_and_rounded(tmp_path):
    picture = torch.tensor([-1.0, 2.0, 0.5, 0.999]).view(1, 1, 1, 4).expand(1, 3, 1, 4)
    images.write(picture, tmp_path / "x.png")
    assert (images.read(tmp_path / "x.png")[0, 0, 0] * 255).round().tolist() == [0, 255, 128, 255]


@pytest.mark.parametrize(
    "name, sentence",
    [
        ("x.gif", "has no picture extension; use one of: .png"),
        ("x", "has no picture extension"),
        ("missing/x.png", "There is no folder .*missing; make it first"),
        ("folder.png", "is a folder; name a file in it"),
    ],
)
def test_where_nothing_can_be_written_is_a_sentence(tmp_path, name, sentence):
    (tmp_path / "folder.png").mkdir()
    for attempt in (images.check_writable, lambda path: images.write(torch.zeros(1, 3, 4, 4), path)):
        with pytest.raises(images.ImageError, match=sentence):
            attempt(tmp_path / name)


@pytest.mark.parametrize(
    "picture",
    [torch.zeros(2, 3, 4, 4), torch.zeros(1, 1, 4, 4), torch.zeros(4, 4), torch.full((1, 3, 2, 2), torch.nan)],
)
def test_what_is_no_picture_is_not_written(tmp_path, picture):
    with pytest.raises(images.ImageError):
        images.write(picture, tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), OSError(28, "No space left on device"), ValueError("no"), MemoryError()]
)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error):
    path = tmp_path / "x.png"
    images.write(torch.zeros(1, 3, 4, 4), path)
    old = path.read_bytes()

    def half(self, handle, *_, **__):
        handle.write(b"half a picture")
        raise error

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(images.ImageError if isinstance(error, (OSError, ValueError)) else type(error)):
        images.write(torch.ones(1, 3, 4, 4), path)
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
def test_a_written_file_has_the_usual_mode(tmp_path):
    before = os.umask(0o027)
    try:
        images.write(torch.zeros(1, 3, 4, 4), tmp_path / "x.png")
    finally:
        os.umask(before)
    assert (tmp_path / "x.png").stat().st_mode & 0o777 == 0o640


def test_a_format_s_own_limit_is_a_sentence(tmp_path):
    with pytest.raises(images.ImageError, match="could not be written"):
        images.write(torch.zeros(1, 3, 1, 17_000), tmp_path / "x.webp")
    assert list(tmp_path.iterdir()) == []


# Size and names -------------------------------------------------------------------------------------------------------


@RELAXED
@given(height=st.integers(1, 60), width=st.integers(1, 60), size=st.integers(1, 80))
def test_resize_sets_the_shorter_side_and_keeps_the_shape(height, width, size):
    picture = images.resize(torch.rand(1, 3, height, width), size)
    assert min(picture.shape[-2:]) == size and is_picture(picture)
    longer = max(height, width) * size / min(height, width)
    assert abs(max(picture.shape[-2:]) - longer) <= 0.5


def test_resize_takes_a_height_and_a_width_and_averages():
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert images.resize(picture, (64, 64)) is picture
    assert images.resize(picture, (2, 4)).shape[-2:] == (2, 4)
    assert images.resize(picture, 8).std() < 0.1 < picture.std(), "not antialiased"
    for size in (0, -3, (4, 0)):
        with pytest.raises(images.ImageError, match="at least 1 pixel"):
            images.resize(picture, size)


def test_crop_takes_the_middle():
    picture = torch.arange(35.0).view(1, 1, 5, 7)
    assert images.crop(picture, 1, 1).item() == 17
    assert images.crop(picture, 5, 7).equal(picture)
    with pytest.raises(images.ImageError, match="7 x 5 pixels cannot be cropped to 3 x 6"):
        images.crop(picture, 6, 3)


def test_luminance_matching_moves_mean_and_spread():
    generator = torch.Generator().manual_seed(0)
    dark, target = torch.rand(1, 3, 40, 40, generator=generator) * 0.2, torch.rand(1, 3, 30, 30, generator=generator)
    matched = images.match_luminance(dark, target)
    assert matched.shape == dark.shape and (matched[:, 0] == matched[:, 2]).all()
    wanted = images.luminance(target)
    assert abs(matched.mean() - wanted.mean()) < 0.01 and abs(matched[:, 0].std() - wanted.std()) < 0.01


@pytest.mark.parametrize("kind", painted.KINDS)
def test_painted_pictures_are_always_there_and_the_same(kind):
    picture = images.picture(kind, 48)
    assert picture.shape == (1, 3, 48, 64) and is_picture(picture) and picture.std() > 0.05
    assert picture.equal(images.picture(kind, 48)) and images.credit(kind) == "painted by code"
    assert not picture.equal(painted.paint(kind, 48, 64, seed=1))


def test_a_picture_that_cannot_be_had_is_replaced_and_says_so_once(monkeypatch, tmp_path, capsys):
    for name, value in {"STLIB_ASSETS": "", "STLIB_CACHE": str(tmp_path), "STLIB_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(images, "_told", set())
    assert images.picture("starry_night", 32).equal(images.picture("strokes", 32))
    images.picture("starry_night", 32)
    told = capsys.readouterr().out
    assert told.count("Going on with 'strokes' instead.") == 1 and "STLIB_OFFLINE forbids the network" in told


def test_every_stand_in_is_always_there():
    from stlib import assets

    for name, other in images.STAND_INS.items():
        assert name in assets.REGISTRY and (other in painted.KINDS or assets.REGISTRY[other].package)
    needed = {entry.name for entry in assets.ENTRIES if not entry.package and entry.kind != "weights"}
    assert needed == set(images.STAND_INS)


def test_an_unknown_name_is_a_sentence_with_the_names():
    with pytest.raises(LookupError, match="There is no asset 'mona_lisa'; there are: .*starry_night"):
        images.picture("mona_lisa")
