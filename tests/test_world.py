"""The parametric world: the same content in every batch, style and size; factors that move what is seen; its noise."""

import math
import threading

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from stlib import world
from stlib.world import factors, noise, styles
from stlib.world.factors import Factor, WorldError
from stlib.world.scene import Scene, box, capsule, ellipse

FACTORS = {(family, f.name): f for family, module in world.FAMILIES.items() for f in module.FACTORS}
MOVING = sorted(key for key, factor in FACTORS.items() if not factor.options)
NEEDS = {  # a factor is seen only where there is what it moves
    "house_x": {"house": "yes"},
    "boat": {"water": 0.7},
    "boat_x": {"water": 0.7, "boat": 0.8},
    "hair_length": {"hair": "parted"},
    "gaze": {"eye_open": 0.7},
}
# Mean difference between a picture at 64 pixels and the same at 128 averaged down; a line drawing depends on its pixels
SCALES = {"photo": 0.03, "sketch": 0.07, "ink": 0.04, "cartoon": 0.04, "oil": 0.06, "line": 0.12}
pytestmark = pytest.mark.usefixtures("one_thread")


def sample(family, numbers, seed=3, **values):
    return world.sample(family, numbers, seed).replace(**values)


def away(one, other):
    """Mean difference of each picture (B,)."""
    return (one - other).abs().mean(dim=(1, 2, 3))


# The same content -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", world.FAMILIES)
def test_content_k_of_a_seed_is_the_same_in_any_batch_and_order(family):
    whole = world.sample(family, range(20), seed=7)
    for numbers in ([5], [11, 5, 0], torch.tensor([19, 5])):
        some = world.sample(family, numbers, seed=7)
        assert torch.equal(some.values, whole[torch.as_tensor(numbers)].values)
        assert torch.equal(some.key("any"), whole.key("any")[torch.as_tensor(numbers)])
    assert not torch.equal(world.sample(family, range(20), seed=8).values, whole.values)
    assert len({tuple(row) for row in whole.values.tolist()}) == 20
    assert torch.equal(world.sample(family, [10**12], 7).values, world.sample(family, [10**12], 7).values)


@pytest.mark.parametrize("family", world.FAMILIES)
@pytest.mark.parametrize("style", world.STYLES)
def test_picture_k_is_the_same_in_any_batch_and_order(family, style):
    contents = sample(family, range(3))
    whole = world.render(contents, style, 32)
    assert torch.equal(world.render(contents, style, 32), whole)
    assert not torch.equal(whole[0], whole[1])
    order = torch.tensor([2, 0])
    torch.testing.assert_close(world.render(contents[order], style, 32), whole[order], rtol=0, atol=1e-5)
    torch.testing.assert_close(world.render(contents[1], style, 32), whole[1:2], rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", world.FAMILIES)
def test_parts_and_threads_do_not_show(family, monkeypatch):
    contents = sample(family, range(6))
    whole = world.render(contents, "photo", 32)
    monkeypatch.setattr(world, "AT_ONCE", 2 * 32 * 32)  # three parts
    one = world.render(contents, "photo", 32)
    torch.set_num_threads(2)
    try:
        two = world.render(contents, "photo", 32)
        assert torch.get_num_threads() == 2, "rendering changed the threads of its caller"
    finally:
        torch.set_num_threads(1)
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
    torch.testing.assert_close(one, whole, rtol=0, atol=1e-5)


def test_pictures_are_the_same_from_another_thread():
    contents, made = sample("landscapes", [4]), []
    thread = threading.Thread(target=lambda: made.append(world.render(contents, "ink", 32)))
    thread.start()
    thread.join()
    torch.testing.assert_close(made[0], world.render(contents, "ink", 32), rtol=0, atol=1e-5)


@pytest.fixture
def seen(monkeypatch):
    """The layers of each scene that a style is given, with its key."""
    scenes = []

    def spy(scene, key):
        scenes.append(({name: getattr(scene, name).clone() for name in (*Scene.LAYERS, "sun", "shade")}, key.clone()))
        return torch.zeros(len(key), 3, scene.size, scene.size)

    for name in ("photo", "sketch"):
        monkeypatch.setitem(styles.STYLES, name, spy)
    return scenes


@pytest.mark.parametrize("family", world.FAMILIES)
def test_neither_style_nor_variation_changes_the_content(family, seen):
    contents = sample(family, range(2))
    before = contents.values.clone()
    for style, variation in (("photo", 0), ("photo", 1), ("sketch", 0)):
        world.render(contents, style, 32, variation)
    (first, key), *others = seen
    assert torch.equal(contents.values, before) and len(others) == 2
    for layers, other_key in others:
        assert all(torch.equal(layers[name], first[name]) for name in first)
        assert not torch.equal(key, other_key), "the accidents are the same"


@pytest.mark.parametrize("style", world.STYLES)
def test_another_variation_has_other_accidents(style):
    contents = sample("portraits", range(2))
    one, other = (world.render(contents, style, 64, variation=v) for v in (0, 1))
    assert (away(one, other) > 0).all() and (away(one, other) < 0.1).all()


@pytest.mark.parametrize("family", world.FAMILIES)
@pytest.mark.parametrize("style", world.STYLES)
def test_the_content_is_the_same_at_64_and_at_128_pixels(family, style):
    contents = sample(family, range(2))
    small, large = world.render(contents, style, 64), F.avg_pool2d(world.render(contents, style, 128), 2)
    assert away(small, large).mean() < SCALES[style]
    assert away(small, large).mean() < 0.7 * away(small, large.flip(0)).mean()  # nearer than another content


# Shapes, sizes, errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", world.FAMILIES)
@pytest.mark.parametrize("style", world.STYLES)
def test_a_picture_is_finite_and_in_range(family, style):
    # the ends of all ranges at once, and an ordinary content
    low, high = ({f.name: getattr(f, end) for f in world.FAMILIES[family].FACTORS if not f.options} for end in ENDS)
    for contents in (sample(family, [0], **low), sample(family, [1], **high), sample(family, range(2))):
        x = world.render(contents, style, 40)
        assert x.shape == (len(contents), 3, 40, 40) and x.dtype == torch.float32 and x.is_contiguous()
        assert x.isfinite().all() and x.min() >= 0 and x.max() <= 1 and x.std() > 0.02


ENDS = ("low", "high")


@pytest.mark.parametrize("family", world.FAMILIES)
def test_sizes_from_32_to_512(family):
    contents = sample(family, [0])
    for size in (32, 47, 512):
        assert world.render(contents, "cartoon", size).shape == (1, 3, size, size)
    for size in (31, 513):
        with pytest.raises(WorldError, match=rf"have 32 to 512 pixels a side; got {size}\.$"):
            world.render(contents, "photo", size)


@pytest.mark.parametrize(
    "wrong, told",
    [
        (lambda c: world.sample("cats", [0]), r"no family 'cats'; it has: portraits, landscapes\."),
        (lambda c: world.render(c, "fresco"), r"no style 'fresco'; it has: photo, sketch, ink, cartoon, oil, line\."),
        (lambda c: c["teeth"], r"portraits have no factor 'teeth'; they have: yaw, .*, backdrop\."),
        (lambda c: c.replace(teeth=1), r"portraits have no factor 'teeth'; they have: yaw"),
        (lambda c: c.replace(hair="bald"), r"hair has no option 'bald'; it has: parted, fringe, swept, curly, bun\."),
        (lambda c: c.replace(smile="yes"), r"smile has no option 'yes'; it has: none\."),
        (lambda c: c.replace(smile=1.5), r"smile lies between -1 and 1; got \[1\.5\]\."),
        (lambda c: c.replace(smile=torch.tensor([0.0, math.nan])), r"smile lies between -1 and 1; got \[0\.0, nan\]\."),
        (lambda c: c.replace(glasses=2), r"glasses is a whole number between 0 and 1; got \[2\.0\]\."),
        (lambda c: c.replace(clothes_hue=-0.1), r"clothes_hue lies between 0 and 1; got"),
        (lambda c: c.replace(smile=torch.zeros(5)), r"smile takes one number, or one for each of 2; got \(5,\)\."),
        (lambda c: c.replace(hair=1.5), r"hair is a whole number between 0 and 4; got \[1\.5"),
        (lambda c: world.sample("portraits", 30), r"named by whole numbers, as in \[3\] or range\(8\); got 30\."),
        (lambda c: world.sample("portraits", [1.5]), r"named by whole numbers, .* got \[1\.5\]\."),
        (lambda c: c[7], r"There is no content 7: these are 2, counted from 0\."),
        (lambda c: world.render(c[:0], "photo"), r"There are no contents to draw"),
        (lambda c: world.render({"smile": 1}, "photo"), r"Contents are drawn, .* got dict\."),
        (lambda c: world.render(c, "photo", size="64"), r"have 32 to 512 pixels a side; got '64'\."),
    ],
)
def test_errors_are_one_sentence(wrong, told):
    with pytest.raises(WorldError, match=told) as error:
        wrong(world.sample("portraits", range(2)))
    assert "\n" not in str(error.value)


# Contents and factors -------------------------------------------------------------------------------------------------


def test_replace_makes_a_copy():
    contents = world.sample("portraits", range(3))
    before = contents.values.clone()
    changed = contents.replace(smile=1, hair="bun", yaw=torch.tensor([-30.0, 0.0, 30.0]))
    assert torch.equal(contents.values, before)
    assert changed["smile"].tolist() == [1, 1, 1] and changed["yaw"].tolist() == [-30, 0, 30]
    assert changed["hair"].tolist() == [4, 4, 4]
    kept = [i for i, f in enumerate(contents.factors) if f.name not in ("smile", "hair", "yaw")]
    assert torch.equal(changed.values[:, kept], before[:, kept])
    assert torch.equal(changed.key("any"), contents.key("any"))
    changed.values[:] = 0
    assert torch.equal(contents.values, before)


def test_parts_and_repetitions_of_contents():
    contents = world.sample("landscapes", range(4))
    assert len(contents) == 4 and len(contents[1:3]) == 2 and len(contents[2]) == len(contents[-1]) == 1
    assert torch.equal(contents[-1].values, contents.values[3:])
    assert contents.repeat(2).numbers.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert contents.maps().water.shape == (4, 1, 1, 1)
    assert torch.equal(contents.to("cpu").values, contents.values)


@pytest.mark.parametrize("key", FACTORS, ids="/".join)
def test_a_factor_is_drawn_from_its_distribution(key, drawn):
    factor, value, count = FACTORS[key], drawn[key[0]][key[1]], 4000
    if factor.options:
        shares = torch.bincount(value.long(), minlength=len(factor.options)) / count
        others = (1 - factor.absent) / (len(factor.options) - 1)
        wanted = [factor.absent] + [others] * (len(factor.options) - 1) if factor.absent else 1 / len(factor.options)
        assert torch.equal(value, value.floor())
        torch.testing.assert_close(shares, torch.as_tensor(wanted).expand_as(shares), rtol=0, atol=0.03)
        return
    assert value.min() >= factor.low and value.max() <= factor.high
    assert (value == factor.low).float().mean().item() == pytest.approx(factor.absent, abs=0.03)
    there = (value[value > factor.low] - factor.low) / (factor.high - factor.low)
    shares = torch.histc(there, 8, 0, 1) / len(there)
    assert (shares - 1 / 8).abs().max() < 0.03


@pytest.fixture(scope="module")
def drawn():
    return {family: world.sample(family, range(4000), seed=1) for family in world.FAMILIES}


@pytest.mark.parametrize("family", world.FAMILIES)
def test_factors_are_drawn_independently(family, drawn):
    correlations = torch.corrcoef(drawn[family].values.T) - torch.eye(len(drawn[family].factors))
    assert correlations.abs().max() < 0.08


@pytest.mark.parametrize("family", world.FAMILIES)
def test_names_are_unique_and_explained(family):
    known = world.FAMILIES[family].FACTORS
    assert len({factor.name for factor in known}) == len(known)
    assert all(factor.text and factor.low < factor.high and 0 <= factor.absent < 1 for factor in known)


def test_targets_by_hand():
    known = (Factor("a", "", -2, 6), Factor("hue", "", periodic=True), Factor("kind", "", options=("x", "y", "z")))
    values = torch.tensor([[-2, 0, 2], [2, 0.25, 0], [6, 0.5, 1]])
    contents = factors.Contents("toys", known, values, torch.arange(3), 0)
    wanted = torch.tensor([[-1.0, 1, 0, 2], [0, 0, 1, 0], [1, -1, 0, 1]])
    torch.testing.assert_close(factors.targets(contents), wanted, rtol=0, atol=1e-6)
    assert [factor.outputs for factor in known] == [1, 2, 3]


@pytest.mark.parametrize("family", world.FAMILIES)
def test_targets_have_a_column_for_each_number(family):
    contents = world.sample(family, range(50))
    found = factors.targets(contents)
    assert found.shape == (50, sum(1 if f.options else f.outputs for f in contents.factors))
    seen = found[~found.isnan()]
    assert seen.isfinite().all() and seen.min() >= -1 and len(seen) > 0.8 * found.numel()


def test_a_factor_shows_only_with_what_it_needs():
    lake = Factor("lake", "")
    boat, sail = Factor("boat", "", needs=("lake", 0.5)), Factor("sail", "", needs=("boat", 0.25))
    values = torch.tensor([[0.4, 0.9, 0.7], [0.5, 0.2, 0.7], [0.6, 0.25, 0.7]])
    contents = factors.Contents("toys", (lake, boat, sail), values, torch.arange(3), 0)
    assert contents.shown("lake").tolist() == values[:, 0].tolist()
    assert contents.shown("boat").isnan().tolist() == [True, False, False]
    assert contents.shown("sail").isnan().tolist() == [True, True, False]  # the first needs a boat, which needs a lake
    torch.testing.assert_close(factors.targets(contents)[2], torch.tensor([0.2, -0.5, 0.4]))
    assert factors.targets(contents)[0].isnan().tolist() == [False, True, True]


@pytest.mark.parametrize(
    "name, gone", [("house_x", {"house": "no"}), ("boat_x", {"water": 0.0}), ("boat_x", {"boat": 0})]
)
def test_what_does_not_show_changes_no_pixel(name, gone):
    contents = world.sample("landscapes", [3]).replace(**{"water": 0.8, "boat": 0.9, "house": "yes"} | gone)
    assert contents.shown(name).isnan().all()
    left, right = (world.render(contents.replace(**{name: value}), "photo", 64) for value in (-0.8, 0.8))
    assert torch.equal(left, right)


# Factors move what is seen --------------------------------------------------------------------------------------------


def frames(family, name, number, values):
    """Photographs of one content in which a factor takes each of the values."""
    contents = sample(family, [number], **NEEDS.get(name, {}))
    return world.render(contents.repeat(len(values)).replace(**{name: values}), "photo", 32)


@pytest.mark.parametrize("family, name", MOVING)
def test_a_factor_moves_the_photograph_and_an_angle_wraps(family, name):
    factor, contents = FACTORS[family, name], sample(family, range(3), **NEEDS.get(name, {}))
    low, middle, high = (
        world.render(contents.replace(**{name: value}), "photo", 32)
        for value in (factor.low, (factor.low + factor.high) / 2, factor.high)
    )
    assert (away(low, middle) > 1e-4).all()
    if factor.periodic:
        torch.testing.assert_close(low, high, rtol=0, atol=1e-4)
    else:
        assert (away(low, high) > 2e-4).all() and away(low, high).mean() > 4e-4


@pytest.mark.parametrize("family", world.FAMILIES)
def test_each_option_looks_different(family):
    contents = sample(family, range(3))
    for factor in (f for f in contents.factors if f.options):
        made = [world.render(contents.replace(**{factor.name: option}), "photo", 32) for option in factor.options]
        for i, one in enumerate(made):
            assert all(away(one, other).mean() > 1e-3 for other in made[:i]), factor.name


@settings(max_examples=12)
@given(st.sampled_from(MOVING), st.integers(0, 10**6))
def test_a_factor_moves_the_photograph_without_a_jump(key, number):
    """In 40 steps no picture differs much from the one before, and the largest step is made of small ones."""
    factor = FACTORS[key]
    values = torch.linspace(factor.low, factor.high, 41)
    made = frames(*key, number, values)
    steps = away(made[1:], made[:-1])
    at = int(steps.argmax())
    assert steps[at] < 0.04
    made = frames(*key, number, torch.linspace(values[at], values[at + 1], 9))
    assert away(made[1:], made[:-1]).max() < 0.5 * steps[at] + 1e-3


# Scenes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", world.FAMILIES)
def test_the_layers_of_a_scene_are_in_their_ranges(family):
    scene = world.scene(world.sample(family, range(24), seed=8), 32)
    for name, channels in Scene.LAYERS.items():
        layer = getattr(scene, name)
        assert layer.shape == (24, channels, 32, 32) and layer.dtype == torch.float32 and layer.isfinite().all(), name
    for name in ("albedo", "light", "glow", "gloss", "subject", "depth"):
        assert getattr(scene, name).min() >= -1e-5 and getattr(scene, name).max() <= 1 + 1e-5, name
    assert 0.3 < scene.texture.abs().max() <= 1.2
    assert -0.05 < scene.contour.min() < 0 and scene.contour.max() > 0.1
    assert scene.flow.norm(dim=1).max() <= 1 + 1e-4
    for name in ("sun", "shade"):
        light = getattr(scene, name)
        assert light.shape == (24, 3, 1, 1) and light.min() > 0 and light.max() < 1.3, name


def shapes(scene, x, y):
    """Shapes around (x, y), with their area."""
    u, v = scene.x - x, scene.y - y
    yield (u * u + v * v).sqrt() - 0.4, math.pi * 0.16
    yield ellipse(u, v, 0.5, 0.3), math.pi * 0.15
    yield box(u, v, 0.4, 0.21), 0.336
    yield box(u, v, 0.4, 0.21, 0.1), 0.336 - (4 - math.pi) * 0.01
    yield capsule(u, v, -0.3, -0.2, 0.3, 0.25, 0.1), 0.75 * 0.2 + math.pi * 0.01


@settings(max_examples=20)
@given(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.sampled_from([32, 64, 100]))
def test_the_coverage_of_a_shape_is_its_area_wherever_it_lies(x, y, size):
    scene = Scene(1, size)
    for distance, area in shapes(scene, x, y):
        assert scene.cover(distance).sum().item() * scene.pixel**2 == pytest.approx(area, rel=0.02)


def test_painting_blends_by_coverage_and_lines_lie_on_the_outline():
    scene = Scene(2, 32)
    scene.paint(scene.x, 0.5, line=0.01, albedo=torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1), light=0.0)
    assert scene.albedo[0, :, 3, 3].tolist() == [0.5, 0.25, 0] and scene.albedo[0, :, 3, 30].tolist() == [0, 0, 0]
    assert scene.light[1, 0, 3, 3] == 0.5 and scene.light[1, 0, 3, 30] == 1
    torch.testing.assert_close(scene.contour, scene.x.abs() - 0.01)
    before = scene.contour.clone()
    scene.paint(scene.y, albedo=0.3)  # no line: a change of colour only
    assert torch.equal(scene.contour, before)


# Noise ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0, 8, 16, 24])
def test_the_hash_is_uniform(shift):
    hashed = noise.hash32(torch.arange(2**16))
    counts = torch.bincount((hashed >> shift) & 255, minlength=256).float()
    chi_square = ((counts - 256) ** 2 / 256).sum()
    assert 150 < chi_square < 380  # 255 expected, deviation 23
    assert len(hashed.unique()) == 2**16


def test_one_bit_changes_half_of_the_hash():
    numbers = torch.arange(2000) * 7919
    for bit in range(32):
        changed = noise.hash32(numbers) ^ noise.hash32(numbers ^ (1 << bit))
        flipped = sum((changed >> i) & 1 for i in range(32)).float()
        assert 15 < flipped.mean() < 17


def test_keys_differ_by_seed_number_and_stream():
    numbers = torch.arange(1000)
    made = torch.cat([noise.keys(seed, numbers, stream) for seed in (0, 1) for stream in ("a", "b")])
    assert len(made.unique()) == 4000 and made.min() >= 0 and made.max() <= noise.MASK
    u = noise.uniform(made, 8)
    assert u.shape == (4000, 8) and u.min() >= 0 and u.max() < 1
    assert u.mean().item() == pytest.approx(0.5, abs=0.01) and u.std().item() == pytest.approx(12**-0.5, abs=0.01)
    assert (torch.corrcoef(u.T) - torch.eye(8)).abs().max() < 0.08


def test_the_tile_has_mean_0_and_deviation_1():
    tile = noise.tile()
    assert tile.shape == (1, 1, noise.TILE, noise.TILE)
    assert abs(tile.mean()) < 1e-4 and tile.std().item() == pytest.approx(1, abs=1e-4)
    assert (tile[..., 1:] - tile[..., :-1]).abs().max() < 2  # smooth, of a span of 6
    assert (tile[..., 0] - tile[..., -1]).abs().max() < 2  # and without a seam


def test_smooth_noise_depends_on_its_key_and_place_only():
    key, scene = noise.keys(0, torch.arange(40), "test"), Scene(40, 64)
    u, v = scene.x * 9, scene.y * 9
    made = noise.smooth(key, u, v)
    torch.testing.assert_close(noise.smooth(key[7:8], u[:1], v[:1]), made[7:8], rtol=0, atol=1e-5)
    assert abs(made.mean()) < 0.1 and made.std().item() == pytest.approx(1, abs=0.1)
    several = noise.fractal(key, u, v)
    assert abs(several.mean()) < 0.1 and several.std().item() == pytest.approx(1, abs=0.15)
