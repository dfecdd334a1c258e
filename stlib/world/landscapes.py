"""Landscapes: 17 factors, and how they become a scene. Lengths are in half picture heights, as in `Scene`."""

import math

import torch

from stlib.world import noise
from stlib.world.factors import Factor
from stlib.world.landmarks import SHORE, SNOW, paint_boat, paint_house, paint_trees
from stlib.world.scene import Scene, Window, clamp01, colour, direction, fine, smoothstep

TREES = ("round", "conifer", "poplar")
FACTORS = (
    Factor("height", "low hills (0) to high mountains (1)"),
    Factor("rough", "rolling (0) to jagged (1) ridges"),
    Factor("ridges", "how many ridges stand one behind the other", 1, 4, "ridges"),
    Factor("sun_x", "the sun or moon stands on the left (-1) or right (1)", -1, 1),
    Factor("sun_height", "the sun or moon stands low (0) or high (1)"),
    Factor("moon", "what shines: the sun by day or the moon by night", options=("sun", "moon"), absent=0.7),
    Factor("hour", "dawn (0), noon or midnight (0.5), dusk (1)"),
    Factor("clouds", "clear (0) to cloudy (1) sky"),
    Factor("season", "spring (0), summer (0.25), autumn (0.5), winter (0.75)", unit="turns", periodic=True),
    Factor("mist", "clear air (0) to thick mist (1) between the ridges", absent=0.2),
    Factor("water", "no lake (0) to a lake that fills the foreground (1)", absent=0.2),
    Factor("trees", "bare land (0) to many, large trees (1)"),
    Factor("tree_kind", "which trees grow", options=TREES, needs=("trees", 0.2)),
    Factor("house", "whether a house stands on the bank", options=("no", "yes")),
    Factor("house_x", "the house stands on the left (-1) or right (1)", -1, 1, needs=("house", 1)),
    Factor("boat", "no boat (0) to a large boat (1) on the lake", absent=0.4, needs=("water", 0.15)),
    Factor("boat_x", "the boat sails on the left (-1) or right (1)", -1, 1, needs=("boat", 0.15)),
)

# colours at the hours 0, 0.25, 0.5, 0.75, 1: by day, then by night
SKY_HIGH = (
    ((0.45, 0.52, 0.74), (0.36, 0.60, 0.86), (0.24, 0.52, 0.86), (0.36, 0.56, 0.80), (0.30, 0.29, 0.54)),
    ((0.19, 0.26, 0.52), (0.11, 0.19, 0.43), (0.06, 0.13, 0.35), (0.12, 0.16, 0.40), (0.25, 0.20, 0.48)),
)
SKY_LOW = (
    ((0.99, 0.80, 0.71), (0.95, 0.92, 0.84), (0.80, 0.91, 0.97), (0.99, 0.88, 0.68), (0.99, 0.58, 0.36)),
    ((0.70, 0.64, 0.76), (0.42, 0.53, 0.72), (0.30, 0.45, 0.67), (0.46, 0.46, 0.66), (0.82, 0.52, 0.56)),
)
SUN = (
    ((1.10, 0.86, 0.74), (1.12, 1.00, 0.86), (1.08, 1.05, 0.99), (1.16, 0.99, 0.76), (1.16, 0.73, 0.46)),
    ((0.84, 0.82, 0.96), (0.76, 0.84, 1.02), (0.70, 0.83, 1.05), (0.76, 0.82, 1.00), (0.90, 0.76, 0.86)),
)
SHADE = (
    ((0.45, 0.43, 0.58), (0.45, 0.51, 0.63), (0.46, 0.53, 0.64), (0.45, 0.47, 0.58), (0.38, 0.32, 0.49)),
    ((0.30, 0.32, 0.50), (0.24, 0.30, 0.50), (0.20, 0.28, 0.50), (0.24, 0.29, 0.49), (0.33, 0.28, 0.46)),
)
# colours in spring, summer, autumn, winter, and spring again
GRASS = ((0.55, 0.71, 0.32), (0.44, 0.60, 0.25), (0.71, 0.58, 0.30), (0.91, 0.93, 0.97), (0.55, 0.71, 0.32))
SLOPE = ((0.42, 0.54, 0.34), (0.32, 0.46, 0.29), (0.56, 0.42, 0.28), (0.60, 0.65, 0.74), (0.42, 0.54, 0.34))
LEAVES = ((0.66, 0.78, 0.36), (0.30, 0.50, 0.20), (0.86, 0.47, 0.14), (0.55, 0.42, 0.32), (0.66, 0.78, 0.36))
NEEDLES = ((0.20, 0.42, 0.28), (0.16, 0.36, 0.23), (0.20, 0.37, 0.23), (0.30, 0.42, 0.42), (0.20, 0.42, 0.28))
ROCK, DEEP, BEACH = (0.52, 0.49, 0.48), (0.10, 0.25, 0.32), (0.50, 0.42, 0.32)
HORIZON = 0.08  # y of the foot of the ridges


def build(contents, size):
    """The scene (`Scene`) of each content, from the sky to the nearest tree, each painted over what is behind it."""
    scene, view = Scene(len(contents), size, contents.values.device), look(contents)
    scene.sun, scene.shade = view.sun, view.shade
    behind = Window(scene, 0 * view.hour, -0.33, 1, 0.67)  # rows down to the far shore
    paint_sky(behind, view)
    paint_clouds(behind, view)
    for number in (3, 2, 1, 0):
        paint_ridge(behind, view, number)
    paint_bank(behind, view)
    behind.put()
    paint_trees(scene, view, bank_top(view), near=False)
    paint_house(scene, view, bank_top(view))
    paint_water(scene, view)
    paint_boat(scene, view)
    paint_meadow(scene, view)
    paint_trees(scene, view, near_shore(view), near=True)
    scene.flow = direction(*scene.flow.split(1, dim=1))  # unit length at soft edges, too
    return scene


def look(contents):
    """What all parts share: the factors as maps (B, 1, 1, 1), colours of the hour and season, places, the light."""
    view = contents.maps()
    view.key, view.device = contents.key, contents.values.device
    for name, (day, night) in {"high": SKY_HIGH, "low": SKY_LOW, "sun": SUN, "shade": SHADE}.items():
        setattr(view, name, torch.lerp(blend(day, view.hour), blend(night, view.hour), view.moon))
    for name, table in {"grass": GRASS, "slope": SLOPE, "leaves": LEAVES, "needles": NEEDLES}.items():
        setattr(view, name, blend(table, view.season))
    view.snow = smoothstep(0.35, 0.95, torch.cos(2 * math.pi * (view.season - 0.75)))
    noon = torch.lerp(torch.sin(math.pi * view.hour), torch.ones_like(view.hour), view.moon)
    altitude = view.sun_height * (0.4 + 0.6 * noon)  # by day the sun stands low at dawn and dusk
    view.disc_x, view.disc_y = 0.8 * view.sun_x, HORIZON - 0.28 - 0.52 * altitude
    view.light_x, view.light_y = torch.tanh(1.6 * view.sun_x), -(0.5 + 0.4 * altitude)
    view.lamps = torch.maximum(view.moon, smoothstep(0.3, 0.5, (view.hour - 0.5).abs()))  # windows are lit
    view.side = torch.where(noise.unit(view.key("side")) < 0.5, -1.0, 1.0)  # from which side the near bank comes
    return view


def blend(table, t):
    """The colour (B, 3, 1, 1) at t (B, 1, 1, 1) in [0, 1] in a table of colours at equal steps."""
    table = torch.tensor(table, device=t.device)
    place = t.flatten() * (len(table) - 1)
    below = place.long().clamp(max=len(table) - 2)
    return torch.lerp(table[below], table[below + 1], (place - below)[:, None])[..., None, None]


def below(scene, top):
    """Signed distance to the ground under a skyline, `top` (B, 1, 1, W) its y: negative in the ground."""
    (slope,) = torch.gradient(top, spacing=scene.pixel, dim=3)
    return (top - scene.y) / (1 + slope**2).sqrt()


def gradient(field, pixel):
    """Slopes of a field across and down, per half picture height."""
    across, down = torch.gradient(field, spacing=pixel, dim=(3, 2))
    return across, down


def paint_sky(scene, view):
    """The gradient of the hour, stars by night, and the sun or moon with its glow."""
    up = clamp01((HORIZON - scene.y) / (1 + HORIZON))
    sky = torch.lerp(view.low, view.high, smoothstep(0, 0.95, up**0.8))
    from_disc = ((scene.x - view.disc_x) ** 2 + (scene.y - view.disc_y) ** 2).sqrt()
    warm = torch.lerp(view.sun, colour((0.80, 0.88, 1.0), view.device).expand_as(view.sun), view.moon)
    stars = smoothstep(2.0, 2.6, noise.smooth(view.key("stars"), scene.x * 28, scene.y * 28)) * view.moon
    sky = sky + stars * (0.2 + 0.8 * up)
    halo = 0.55 * torch.exp(-from_disc / 0.20) + 0.25 * torch.exp(-from_disc / 0.6)
    scene.albedo = clamp01(torch.lerp(sky, warm.clamp(max=1), halo * (1 - 0.35 * view.moon)))
    scene.glow += 1
    radius = 0.105
    craters = noise.fractal(view.key("moon"), scene.x * 16, scene.y * 16, 2) * view.moon
    disc = (1.04 * warm + 0.08) * (1 - 0.06 * craters)
    scene.paint(from_disc - radius, albedo=clamp01(disc), glow=1, subject=0.3, line=-0.003)


def paint_clouds(scene, view):
    """Soft clouds, flatter towards the horizon, bright on the side of the sun."""
    far = 1 / (0.5 + clamp01(HORIZON - scene.y))  # clouds shrink towards the horizon
    u, v = scene.x * (0.5 + 0.7 * far), -3.6 * far
    field = noise.fractal(view.key("clouds"), 0.8 * u + 0.6 * v, 0.8 * v - 0.6 * u, 4)  # turned: no upright edges
    threshold = 1.7 - 2.6 * view.clouds
    density = smoothstep(0, 1.1, field - threshold) * smoothstep(0.0, 0.25, HORIZON + 0.05 - scene.y)
    across, down = gradient(field, scene.pixel)
    bright = 0.55 - 0.09 * (across * view.light_x + down * view.light_y)
    bright = clamp01(bright - 0.2 * smoothstep(0.3, 2, field - threshold))  # thick clouds are grey
    lit = torch.lerp(view.low, view.sun.clamp(max=1), 0.75)
    dim = torch.lerp(torch.lerp(view.high, view.low, 0.45), view.shade, 0.35)
    shine = torch.lerp(dim, clamp01(lit + 0.08), bright)
    scene.albedo = torch.lerp(scene.albedo, shine, 0.9 * density)
    scene.contour = scene.contour + 0.02 * density  # the sun's outline fades in clouds
    edge = (field - threshold - 0.35) / (across**2 + down**2 + 4).sqrt()
    scene.draw_line(edge.abs() + 9 * (scene.y > -0.1), -0.006)


def ridge_relief(view, number, u, v, octaves):
    """Height of the ground of a ridge at (u, v), about -1.5 to 1.5: smooth hills, or sharp crests where rough."""
    key, total = view.key(f"ridge {number}"), 0
    for i in range(octaves):
        smooth = noise.smooth(noise.hash32(key + i), u * 2**i, v * 2**i)
        sharp = 1.1 - 1.7 * smooth.abs()
        total = total + torch.lerp(0.8 * smooth, sharp, view.rough) * (0.28 + 0.16 * view.rough) ** i
    return 1.6 * torch.tanh(total / 1.6)  # no needles


def paint_ridge(scene, view, number):
    """Ridge `number` (0 the nearest): skyline, slopes lit by the sun, woods below, rock and snow above, mist, haze."""
    far = (number + 1) / 4
    there = clamp01(view.ridges - number)  # the last ridge rises from behind the others
    foot, pitch = HORIZON - 0.02 * number, 1.2 + 0.25 * number
    size = (0.12 + 0.82 * view.height) * (0.42 + 0.58 * far) * there - 0.12 * (1 - there)
    lean = (-1.0) ** number * view.side * (0.9 if number < 3 else 0.2)  # ridges come in from alternate sides

    x = scene.x[:, :, :1]
    rise = size * (0.62 + 0.38 * torch.tanh(1.5 * lean * x))
    crowns = 0.018 * noise.smooth(view.key(f"crowns {number}"), 30 * x, 0 * x).abs() * (1 - 0.8 * far) * there
    skyline = foot - rise * (0.75 + 0.42 * ridge_relief(view, number, x * pitch, 0 * x, 5)) - crowns
    distance = below(scene, skyline)
    depth = clamp01(scene.y - foot + rise * (0.75 + 0.42 * ridge_relief(view, number, x * pitch, 0 * x, 2)))
    warp = 0.25 * depth * noise.smooth(view.key(f"warp {number}"), scene.x * 2, depth * 3)
    relief = ridge_relief(view, number, (scene.x + warp) * pitch, depth * pitch * 0.9, 4 if number < 2 else 3)
    across, down = gradient(relief, scene.pixel)
    steep = (0.11 + 0.11 * view.height) * (1 - 0.45 * view.rough)
    light = clamp01(0.52 - steep * (across * view.light_x + 0.6 * down * view.light_y))
    ground, texture = ridge_ground(scene, view, number, relief, clamp01((foot - scene.y) / 0.75))
    air = 0.06 + 0.62 * far**1.2
    wisps = noise.smooth(view.key(f"wisps {number}"), scene.x * 1.5, scene.y * 6)
    share = (foot - scene.y) / (
        rise.clamp(min=0) + 0.05
    ) + 0.12 * wisps  # 0 at the foot of the ridge, about 1 at its top
    mist = view.mist * (0.2 + 0.8 * smoothstep(1.0, 0.40, share)) * (0.65 + 0.35 * far)
    haze = torch.lerp(torch.lerp(view.low, view.high, 0.30), view.low * 0.97 + 0.03, mist)
    veil = air + (1 - air) * mist
    scene.paint(
        distance,
        line=0.002 - 0.007 * far,
        albedo=torch.lerp(ground, haze, veil),
        light=light,
        glow=veil,
        gloss=0,
        texture=texture * (1 - veil),
        flow=direction(torch.tanh(0.8 * across), 0.75 + 0 * across),
        subject=(1 - 0.5 * far) * (1 - mist),
        depth=0.4 + 0.55 * far,
    )
    crest = noise.smooth(
        noise.hash32(view.key(f"ridge {number}") + 1), (scene.x + warp) * pitch * 2, depth * pitch * 1.8
    )
    scene.draw_line(crest.abs() / (3 * pitch) + 9 * (distance > 0) + 0.025 * depth, -0.002 - 0.005 * far)
    scene.contour = scene.contour + 0.02 * mist * (distance < 0)


def ridge_ground(scene, view, number, relief, altitude):
    """Colour and texture of a ridge: woods below, rock where it is high or rough, snow on top (lower in winter)."""
    wood = noise.smooth(view.key(f"wood {number}"), scene.x * 32, scene.y * 40) * fine(scene, 32)
    grain = noise.smooth(view.key(f"grain {number}"), scene.x * 45, scene.y * 30 + 4 * relief) * fine(scene, 45)
    bare = smoothstep(0.22, 0.5, altitude + 0.07 * relief + 0.03 * wood + 0.15 * view.rough - 0.1)
    cap = smoothstep(0.40, 0.55, altitude + 0.10 * relief * view.rough + 0.35 * view.snow)
    ground = torch.lerp(view.slope * (1 + 0.10 * wood), colour(ROCK, view.device), bare)
    ground = torch.lerp(ground, colour(SNOW, view.device), cap)
    return ground, 0.5 * wood * (1 - bare) + 0.35 * grain * (1 - 0.7 * cap)


def bank_top(view):
    """The skyline of the far bank, as a function of x."""

    def top(x):
        return SHORE - 0.12 - 0.05 * noise.smooth(view.key("bank"), x * 1.3, 0 * x).clamp(-1.2, 2) - 0.05 * x * x

    return top


def near_shore(view):
    """The edge of the near meadow, as a function of x: it sinks as the lake grows, last on the side of the bank."""

    def top(x):
        reach = 0.86 * view.water * (1 - 0.5 * smoothstep(-0.4, 1.0, view.side * x))
        waves = noise.smooth(view.key("near"), x * 1.2, 0 * x).clamp(-2, 2) * (0.03 + 0.03 * (1 - view.water))
        return SHORE + reach + waves - 0.14 * clamp01(1 - 6 * view.water)

    return top


def grassland(scene, view, stream, near):
    """Layers of a meadow: colour in patches, soft bumps, tufts and blades of grass; `near` is 1 in front, 0 far."""
    down = clamp01(scene.y - HORIZON) + 0.12  # distances shrink with 1 / down
    u, v = scene.x / down**0.6, 3 * torch.log(down)
    patches = noise.fractal(view.key(f"{stream} patches"), u * 1.2, v * 1.2, 3)
    tufts = noise.smooth(view.key(f"{stream} tufts"), u * 9, v * 6)
    blades = noise.smooth(view.key(f"{stream} blades"), scene.x * 80, scene.y * (30 - 6 * near) + 0.5 * tufts)
    across, down = gradient(patches, scene.pixel)
    light = 0.72 - 0.012 * (across * view.light_x + down * view.light_y) + 0.04 * tufts
    blunt = (1 - 0.75 * view.snow) * fine(scene, 80)
    return {
        "albedo": clamp01(view.grass * (1 + 0.10 * patches) * (0.9 + 0.1 * near)),
        "light": clamp01(light),
        "glow": 0,
        "gloss": 0,
        "texture": (0.7 * torch.tanh(1.2 * blades) + 0.25 * tufts) * blunt * (0.55 + 0.45 * near),
        "flow": direction(torch.ones_like(patches), 0.04 * down - 0.15),
        "subject": 0.85,
        "depth": 0.45 * (1 - near) + 0.05,
    }


def paint_bank(scene, view):
    """The far bank of the lake: a meadow below the ridges, on which the house stands."""
    layers = grassland(scene, view, "bank", 0.0)
    veil = 0.12 + 0.42 * view.mist
    layers["albedo"] = torch.lerp(layers["albedo"], view.low, veil)
    layers["glow"], layers["subject"] = veil, 0.85 - 0.5 * view.mist
    layers["texture"] = layers["texture"] * (1 - veil) ** 2
    scene.paint(below(scene, bank_top(view)(scene.x[:, :, :1])), line=-0.003, **layers)


def paint_meadow(scene, view):
    """The near meadow, with flowers from spring to autumn."""
    scene = Window(scene, 0 * view.hour, 0.48, 1, 0.54)  # rows from the highest place of the shore
    layers = grassland(scene, view, "meadow", 1.0)
    shore = below(scene, near_shore(view)(scene.x[:, :, :1]))
    down = clamp01(scene.y - HORIZON) + 0.12
    shape = noise.smooth(view.key("flowers"), scene.x * 14 / down**0.6, 18 * torch.log(down))
    bloom = smoothstep(1.7, 2.1, shape) * (1 - view.snow) * smoothstep(-0.02, -0.2, shore)
    petals = noise.pick(
        view.key("petals"), ((0.98, 0.92, 0.55), (0.95, 0.55, 0.60), (0.97, 0.97, 0.97), (0.72, 0.60, 0.90))
    )
    layers["albedo"] = torch.lerp(layers["albedo"], petals, bloom)
    layers["light"] = layers["light"] * (1 - 0.35 * smoothstep(0.5, 1.0, scene.y))  # the eye is led inwards
    rim = smoothstep(-0.035, 0, shore) * smoothstep(0, 0.1, view.water)
    layers["albedo"] = torch.lerp(layers["albedo"], colour(BEACH, view.device), 0.6 * rim)
    scene.paint(shore, line=0.001, **layers)
    scene.put()


def paint_water(scene, view):
    """The lake from the far shore down: the mirrored land and sky, shaken by ripples; deeper colour near the viewer."""
    whole, scene = scene, Window(scene, 0 * view.hour, 0.62, 1, 0.40)  # rows below the far shore
    down = clamp01(scene.y - SHORE)
    u, v = scene.x * (5 - 2.5 * down), 9 * torch.log(down + 0.08)  # ripples grow towards the viewer
    ripple = noise.fractal(view.key("ripples"), u, 2.2 * v, 2)
    shake = 0.10 * down**0.8 + 0.004
    grid = torch.stack(
        [(scene.x + 0.35 * shake * ripple)[:, 0], (SHORE - down - 0.01 + shake * 0.5 * ripple)[:, 0]], dim=-1
    )
    names = ("albedo", "light", "glow", "texture")
    seen = torch.cat([getattr(whole, name) for name in names], dim=1)
    seen = torch.nn.functional.grid_sample(seen, grid, padding_mode="border", align_corners=False)
    albedo, light, glow, texture = seen.split([3, 1, 1, 1], dim=1)
    body = clamp01(0.12 + 0.5 * down + 0.05 * ripple)
    deep = torch.lerp(colour(DEEP, view.device), view.high, 0.5)
    path = torch.exp(-(((scene.x - view.disc_x) / (0.10 + 0.25 * down)) ** 2))
    lake = SHORE - scene.y + 9 * (view.water <= 0)
    scene.paint(
        lake,
        line=-0.002,
        albedo=torch.lerp(albedo, deep, body),
        light=light,
        glow=torch.maximum(glow, 0.6 * body),
        gloss=0.75 * path * smoothstep(0.2, 1.4, ripple),
        texture=0.5 * texture * (1 - body),
        flow=direction(torch.ones_like(down), 0.06 * ripple),
        subject=0.35,
        depth=0.42 - 0.4 * down,
    )
    waves = (ripple - 1.0).abs() * 0.05 + 0.012 * (1 - path) + 9 * (lake > -0.02)
    scene.draw_line(waves, -0.006)
    scene.put()
