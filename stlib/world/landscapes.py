"""Landscapes: 16 factors, and how they become a scene. Lengths are in half picture heights, as in `Scene`."""

import math

import torch

from stlib.world import noise
from stlib.world.factors import Factor
from stlib.world.scene import Scene, box, capsule, clamp01, ellipse, smoothstep

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
    Factor("tree_kind", "which trees grow", options=TREES),
    Factor("house", "whether a house stands on the bank", options=("no", "yes")),
    Factor("house_x", "the house stands on the left (-1) or right (1)", -1, 1),
    Factor("boat", "no boat (0) to a large boat (1) on the lake, if there is one", absent=0.4),
    Factor("boat_x", "the boat sails on the left (-1) or right (1)", -1, 1),
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
ROCK, SNOW, DEEP = (0.52, 0.49, 0.48), (0.95, 0.96, 0.99), (0.10, 0.25, 0.32)
BARK, TWIGS, BEACH = (0.36, 0.26, 0.20), (0.56, 0.49, 0.46), (0.50, 0.42, 0.32)
GLASS, LAMP = (0.22, 0.28, 0.36), (1.00, 0.80, 0.38)
HULLS = ((0.72, 0.24, 0.18), (0.20, 0.36, 0.55), (0.55, 0.36, 0.20), (0.85, 0.80, 0.68))
ROOFS = ((0.74, 0.32, 0.22), (0.42, 0.36, 0.38), (0.60, 0.42, 0.26), (0.80, 0.42, 0.24))
HORIZON, SHORE = 0.08, 0.24  # y of the foot of the ridges and of the far shore

# near trees, then trees on the far bank: place (1 is the side of the near bank), height, when it grows (0 first)
NEAR_TREES = ((-0.50, 0.40, 5), (0.50, 0.62, 3), (-0.86, 0.92, 6), (0.84, 1.02, 0))
BANK_TREES = ((-0.72, 0.30, 1), (0.30, 0.24, 2), (-0.25, 0.27, 4))
# boughs: end across, height of the start and of the end, in heights of the tree
BOUGHS = ((-0.24, 0.26, 0.66), (0.21, 0.30, 0.74), (-0.08, 0.40, 0.88))
# clumps of a crown: place across and up, radius, in heights of the tree
ROUND = (
    (0, 0.80, 0.17),
    (-0.19, 0.66, 0.16),
    (0.20, 0.68, 0.15),
    (-0.13, 0.50, 0.15),
    (0.15, 0.50, 0.15),
    (0, 0.60, 0.17),
)
POPLAR = (
    (0, 0.91, 0.055),
    (-0.01, 0.81, 0.085),
    (0.01, 0.67, 0.10),
    (-0.015, 0.53, 0.115),
    (0.015, 0.39, 0.115),
    (0, 0.26, 0.10),
)


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
    paint_trees(scene, view, BANK_TREES, "bank")
    paint_house(scene, view)
    paint_water(scene, view)
    paint_boat(scene, view)
    paint_meadow(scene, view)
    paint_trees(scene, view, NEAR_TREES, "near")
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
    view.side = torch.where(unit(view, "side") < 0.5, -1.0, 1.0)  # from which side the near bank comes
    return view


def blend(table, t):
    """The colour (B, 3, 1, 1) at t (B, 1, 1, 1) in [0, 1] in a table of colours at equal steps."""
    table = torch.tensor(table, device=t.device)
    place = t.flatten() * (len(table) - 1)
    below = place.long().clamp(max=len(table) - 2)
    return torch.lerp(table[below], table[below + 1], (place - below)[:, None])[..., None, None]


def unit(view, stream):
    """A random number in [0, 1) for each picture: (B, 1, 1, 1)."""
    return noise.uniform(view.key(stream), 1)[..., None, None]


def pick(view, table, stream):
    """One colour (B, 3, 1, 1) of a table for each picture."""
    return torch.tensor(table, device=view.device)[(unit(view, stream).flatten() * len(table)).long()][..., None, None]


def colour(view, rgb):
    """A constant colour as (1, 3, 1, 1)."""
    return torch.tensor(rgb, device=view.device).view(1, 3, 1, 1)


def below(scene, top):
    """Signed distance to the ground under a skyline, `top` (B, 1, 1, W) its y: negative in the ground."""
    (slope,) = torch.gradient(top, spacing=scene.pixel, dim=3)
    return (top - scene.y) / (1 + slope**2).sqrt()


def gradient(field, pixel):
    """Slopes of a field across and down, per half picture height."""
    across, down = torch.gradient(field, spacing=pixel, dim=(3, 2))
    return across, down


def direction(across, down):
    """The unit vector (B, 2, H, W) along (across, down)."""
    across, down = torch.broadcast_tensors(across + 1e-5, down)  # nowhere without a direction
    return torch.cat([across, down], dim=1) / (across**2 + down**2).sqrt().clamp(min=1e-9)


class Window:
    """A part of a scene around the places (x0, y0), (B, 1, 1, 1), of one size in all pictures.

    Small things are painted into it as into a scene, at a fraction of the cost, then `put` writes it back.
    """

    pixel, cover, paint, draw_line = None, Scene.cover, Scene.paint, Scene.draw_line

    def __init__(self, scene, x0, y0, half_width, half_height):
        self.scene, self.pixel = scene, scene.pixel
        spans = []
        for middle, half in ((y0 + 0 * x0, half_height), (x0, half_width)):
            count = min(scene.size, math.ceil(2 * half / scene.pixel) + 1)
            first = ((middle - half + 1) / scene.pixel).floor().long().clamp(0, scene.size - count)
            spans.append(first[:, 0] + torch.arange(count, device=first.device))  # (B, 1, count)
        rows, columns = spans
        self.shape = rows.shape[-1], columns.shape[-1]
        self.place = (rows.transpose(1, 2) * scene.size + columns).flatten(1)[:, None]
        for name in ("x", "y", *Scene.LAYERS):
            layer = getattr(scene, name)
            part = layer.flatten(2).gather(2, self.place.expand(-1, layer.shape[1], -1))
            setattr(self, name, part.unflatten(2, self.shape))

    def put(self):
        """Write all layers back into the scene."""
        for name in Scene.LAYERS:
            layer, part = getattr(self.scene, name), getattr(self, name)
            layer.flatten(2).scatter_(2, self.place.expand(-1, layer.shape[1], -1), part.flatten(2))


def polygon(x, y, *corners):
    """Signed distance to a convex polygon; corners clockwise as seen, in the units of x and y."""
    distance = None
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = math.hypot(x1 - x0, y1 - y0)
        edge = (x - x0) * ((y1 - y0) / length) - (y - y0) * ((x1 - x0) / length)
        distance = edge if distance is None else torch.maximum(distance, edge)
    return distance


def paint_sky(scene, view):
    """The gradient of the hour, stars by night, and the sun or moon with its glow."""
    up = clamp01((HORIZON - scene.y) / (1 + HORIZON))
    sky = torch.lerp(view.low, view.high, smoothstep(0, 0.95, up**0.8))
    from_disc = ((scene.x - view.disc_x) ** 2 + (scene.y - view.disc_y) ** 2).sqrt()
    warm = torch.lerp(view.sun, colour(view, (0.80, 0.88, 1.0)).expand_as(view.sun), view.moon)
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
    ground = torch.lerp(view.slope * (1 + 0.10 * wood), colour(view, ROCK), bare)
    ground = torch.lerp(ground, colour(view, SNOW), cap)
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


def fine(scene, features):
    """How far detail of so many features per half picture height can be seen: 0.5 at two pixels each, 1 if larger."""
    return min(1.0, 1 / (features * scene.pixel) ** 0.75)


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
    petals = pick(view, ((0.98, 0.92, 0.55), (0.95, 0.55, 0.60), (0.97, 0.97, 0.97), (0.72, 0.60, 0.90)), "petals")
    layers["albedo"] = torch.lerp(layers["albedo"], petals, bloom)
    layers["light"] = layers["light"] * (1 - 0.35 * smoothstep(0.5, 1.0, scene.y))  # the eye is led inwards
    rim = smoothstep(-0.035, 0, shore) * smoothstep(0, 0.1, view.water)
    layers["albedo"] = torch.lerp(layers["albedo"], colour(view, BEACH), 0.6 * rim)
    scene.paint(shore, line=0.001, **layers)
    scene.put()


def paint_trees(scene, view, trees, where):
    """Trees of one place ("near" or "bank"): they grow one after another as `trees` rises."""
    near = where == "near"
    top = near_shore(view) if near else bank_top(view)
    for i, (place, tall, when) in enumerate(trees):
        grown = smoothstep(0, 1, clamp01((view.trees * 8.5 - when) / 2.5))
        key = view.key(f"{where} tree {i}")
        shake = noise.uniform(key, 12)[..., None, None]
        x0 = place * view.side + 0.10 * (shake[:, :1] - 0.5)
        foot = top(x0) + (0.03 + 0.09 * shake[:, 1:2] if near else 0.02)
        height = tall * (0.85 + 0.3 * shake[:, 2:3]) * (0.03 + 0.97 * grown)
        window = Window(scene, x0, foot - 0.47 * height, 0.53 * tall + 0.04, 0.64 * tall + 0.04)
        paint_tree(window, view, key, shake, x0, foot, height, grown, near)
        window.put()


def paint_tree(scene, view, key, shake, x0, foot, height, grown, near):
    """One tree with its foot at (x0, foot): shadow on the ground, trunk, boughs, crown. Absent where `grown` is 0."""
    x, up = (scene.x - x0) / height, (foot - scene.y) / height  # in heights of the tree, from its foot
    gone = 9 * (grown <= 0)
    conifer, poplar = (view.tree_kind == 1).float(), (view.tree_kind == 2).float()
    clumps, leaf = noise.smooth(key, x * 13, up * 13), noise.smooth(noise.hash32(key + 1), x * 42, up * 42)
    leaf = leaf * fine(scene, 42 if near else 150)
    shadow = ellipse(x + 0.20 * view.light_x, up, 0.24, 0.045) * height + gone
    scene.paint(shadow, 0.6, soft=0.03, light=0.15)
    wood = capsule(x, up, 0, -0.01, 0.02, 0.5, (0.034 - 0.032 * clamp01(up)) * (1 - 0.3 * poplar))
    for x1, up0, up1 in BOUGHS:
        bough = capsule(x, up, 0, up0, x1 * (1 - 0.65 * poplar), up1, 0.011 - 0.009 * clamp01((up - up0) / (up1 - up0)))
        wood = torch.minimum(wood, bough + 0.5 * conifer)
    flow = direction(torch.zeros_like(x), torch.ones_like(x))
    layers = {"glow": 0, "gloss": 0, "flow": flow, "subject": 1, "depth": 0.03 if near else 0.42}
    bark = torch.lerp(colour(view, BARK), colour(view, SNOW), 0.2 * view.snow)
    line = 0.003 if near else -0.003
    wood_light = clamp01(0.5 + 9 * x * view.light_x)
    scene.paint(wood * height + gone, line=line, albedo=bark, light=wood_light, texture=0.3 * leaf, **layers)
    leafy, needles = leafy_crown(view, x, up, shake, poplar), conifer_crown(view, x, up)
    crown = leafy[0]
    crease, light, layers["flow"] = (torch.lerp(*both, conifer) for both in zip(leafy[1:], needles[1:], strict=True))
    crown = crown + (0.020 * clumps + 0.008 * leaf) * (1 - 0.4 * poplar)
    twigs = 0.05 * clumps.abs() - 0.18 + 0.167 * smoothstep(0, 0.9, view.snow)  # winter leaves a web of twigs
    crown = torch.maximum(crown, twigs)
    crown = torch.lerp(crown, needles[0] + (0.006 * clumps + 0.006 * leaf), conifer)
    leaves = torch.lerp(view.leaves * (0.85 + 0.3 * shake[:, 3:6]), colour(view, TWIGS), view.snow)
    green = torch.lerp(leaves, view.needles, conifer)
    snowy = conifer * view.snow * smoothstep(0.45, 0.75, light + 0.12 * clumps)
    scene.paint(
        crown * height + gone,
        line=line - 0.006 * view.snow * (1 - conifer),
        albedo=torch.lerp(clamp01(green), colour(view, SNOW), snowy),
        light=clamp01(light + 0.10 * clumps + 0.11 * leaf),
        texture=torch.tanh(0.6 * leaf + 0.2 * clumps),
        **layers,
    )
    broken = (crease + 0.012 * clumps.abs()) * height  # inner lines, not closed
    scene.draw_line(broken + 9 * (crown > 0) + 9 * view.snow * (1 - conifer) + gone, line - 0.005)


def leafy_crown(view, x, up, shake, poplar):
    """A crown of clumps, each shaded as a ball: distance, distance to the creases between clumps, light, flow."""
    distance = None
    for k, (broad, narrow) in enumerate(zip(ROUND, POPLAR, strict=True)):
        across, high, radius = (wide + (slim - wide) * poplar for wide, slim in zip(broad, narrow, strict=True))
        jitter = (shake[:, 6 + k : 7 + k] - 0.5) * (1 - poplar)
        dx, dy = x - across - 0.10 * jitter, up - high - 0.05 * jitter
        ball = (dx**2 + dy**2 + 1e-9).sqrt() - radius
        shape = torch.cat([(dx * view.light_x - dy * view.light_y) / radius, dy, dx], dim=1)  # light, flow
        if distance is None:
            distance, crease, seen = ball, torch.full_like(ball, 9.0), shape
            continue
        gap = (ball - distance) / 2
        crease = torch.where(gap < 0, -gap, torch.minimum(crease, gap + 9 * (ball > 0.03)))
        seen = torch.lerp(seen, shape, smoothstep(0.015, -0.015, gap))
        distance = torch.minimum(distance, ball)
    light, turn_x, turn_y = seen.split(1, dim=1)
    whole = 0.6 * x * view.light_x + 0.5 * (up - 0.6)
    return distance, crease, clamp01(0.45 + 0.30 * light + 0.9 * whole), direction(turn_x, turn_y)


def conifer_crown(view, x, up):
    """A cone of tiers with drooping edges: distance, distance to the edges of tiers, light, flow."""
    down = clamp01(1 - up)
    tier = (down * 6.5) % 1
    width = 0.24 * down**0.9 * (0.62 + 0.38 * tier) + 0.012
    distance = torch.maximum((x.abs() - width) * 0.9, torch.maximum(0.13 - up, up - 1))
    light = 0.5 + 0.35 * (x / width).clamp(-1, 1) * view.light_x + 0.25 * (0.5 - tier)
    return distance, torch.minimum(tier, 1 - tier) / 6.5, clamp01(light), direction(torch.tanh(9 * x), 0.8 + 0 * x)


def paint_house(scene, view):
    """A house with a gable, a long wall, roof, chimney, door and windows that are lit by night and at dusk."""
    x0 = 0.44 * view.house_x
    top = bank_top(view)
    foot = torch.maximum(top(x0 - 0.12), top(x0 + 0.12)) + 0.03
    unit_length = 0.16
    scene = Window(scene, x0, foot - 0.1, 0.42, 0.32)
    mirror = torch.where(unit(view, "gable") < 0.5, -1.0, 1.0)
    x, y = (scene.x - x0) / unit_length * mirror, (scene.y - foot) / unit_length
    gone = 9 * (1 - view.house)

    def part(distance, line, **layers):
        scene.paint(distance * unit_length + gone, line=line, **layers)

    walls = pick(view, ((0.93, 0.89, 0.80), (0.85, 0.72, 0.55), (0.80, 0.40, 0.34), (0.90, 0.90, 0.90)), "walls")
    roof = torch.lerp(pick(view, ROOFS, "roof"), colour(view, SNOW), 0.9 * view.snow)
    sunny = clamp01(0.5 + 0.5 * view.light_x * mirror)  # 1 where the sun is on the side of the long wall
    upright = direction(torch.zeros_like(x), torch.ones_like(x))
    layers = {"glow": 0.06, "gloss": 0, "texture": 0, "subject": 1, "depth": 0.4, "flow": upright}
    part(ellipse(x + 1.2 * view.light_x * mirror, y, 1.4, 0.22), None, light=0.2)
    part(box(x - 0.55, y + 1.5, 0.13, 0.35), -0.004, albedo=0.8 * walls, light=sunny, **layers)
    part(
        polygon(x, y, (-0.35, -0.75), (1.1, -0.75), (1.1, 0.0), (-0.35, 0.0)),
        -0.002,
        albedo=walls,
        light=0.2 + 0.75 * sunny,
        **layers,
    )
    gable = polygon(x, y, (-1.1, -0.75), (-0.72, -1.5), (-0.35, -0.75), (-0.35, 0.0), (-1.1, 0.0))
    part(gable, -0.002, albedo=walls, light=0.2 + 0.75 * (1 - sunny), **layers)
    layers["texture"] = 0.5 * torch.sin(scene.y / unit_length * 40)
    layers["flow"] = direction(0.3 * mirror + 0 * x, torch.ones_like(x))
    slab = polygon(x, y, (-0.76, -1.56), (0.72, -1.56), (1.2, -0.68), (-0.32, -0.68))
    part(slab, -0.001, albedo=roof, light=0.45 + 0.5 * sunny, **layers)
    glass = torch.lerp(colour(view, GLASS), colour(view, LAMP), view.lamps)
    panes = torch.minimum(box(x - 0.05, y + 0.42, 0.13, 0.15), box(x - 0.75, y + 0.42, 0.13, 0.15))
    panes = torch.minimum(panes, box(x + 0.72, y + 0.85, 0.10, 0.13))
    part(panes, -0.006, albedo=glass, light=0.6, glow=view.lamps, gloss=0.1 * (1 - view.lamps), texture=0)
    part(box(x + 0.72, y + 0.24, 0.13, 0.24), -0.006, albedo=colour(view, BARK), light=0.4, texture=0)
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
    deep = torch.lerp(colour(view, DEEP), view.high, 0.5)
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


def paint_boat(scene, view):
    """A sailing boat and its reflection: hull, mast, main sail and jib. It shrinks with the lake."""
    x0 = 0.55 * view.boat_x
    size = (0.005 + 0.155 * view.boat**0.5) * smoothstep(0.0, 0.3, view.water)
    line_y = SHORE + 0.03 + 0.30 * view.water
    gone = 9 * ((view.boat <= 0) | (view.water <= 0.02)).float()
    hull_colour = pick(view, HULLS, "hull")
    sail_colour = pick(view, ((0.97, 0.95, 0.88), (0.98, 0.97, 0.95), (0.86, 0.52, 0.34)), "sail")
    lee = torch.where(unit(view, "lee") < 0.5, -1.0, 1.0)
    scene = Window(scene, x0, line_y, 0.28, 0.48)
    ripple = noise.smooth(view.key("wake"), scene.x * 4, scene.y * 40)
    for mirrored in (True, False):
        x = (scene.x - x0) / (size + 1e-3) * lee + 0.12 * mirrored * ripple
        y = (scene.y - line_y) / (size + 1e-3) * (-1 if mirrored else 1)
        hull = polygon(x, y, (-1.0, -0.34), (1.2, -0.38), (0.75, 0.06), (-0.75, 0.06))
        main = polygon(x, y, (-0.02, -2.5), (-0.02, -0.50), (-0.95, -0.55))
        jib = polygon(x, y, (0.10, -2.2), (0.98, -0.52), (0.10, -0.50))
        sails = torch.minimum(main, jib)
        mast = box(x - 0.04, y + 1.4, 0.03, 1.2)
        light = clamp01(0.6 + 0.4 * view.light_x * lee * (1.5 * x + 0.3))
        flow = direction(0.25 + 0 * x, torch.ones_like(x))
        opacity = 0.45 if mirrored else 1.0
        for shape, paint, line in (
            (mast, colour(view, BARK), -0.004),
            (sails, sail_colour, 0),
            (hull, hull_colour, 0.001),
        ):
            layers = {"albedo": paint, "light": light, "glow": 0.15, "gloss": 0, "texture": 0}
            if not mirrored:
                layers |= {"flow": flow, "subject": 1, "depth": 0.3}
            scene.paint(shape * size + gone, opacity, line=None if mirrored else line, **layers)
    scene.put()
