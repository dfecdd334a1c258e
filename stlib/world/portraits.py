"""Portraits: 26 factors, and how they become a scene. Lengths are in half picture heights, as in `Scene`."""

import copy
import math

import torch
import torch.nn.functional as F

from stlib.world import noise
from stlib.world.factors import Factor
from stlib.world.scene import NO_LINE, Scene, box, capsule, clamp01, colour, ellipse, smoothstep, union

HAIR = ("parted", "fringe", "swept", "curly", "bun")
CLOTHES = ("round", "vneck", "shirt")
FACTORS = (
    Factor("yaw", "the head turns to the viewer's left (-) or right (+)", -32, 32, "degrees"),
    Factor("pitch", "the head looks down (-) or up (+)", -12, 12, "degrees"),
    Factor("roll", "the head leans to the viewer's left (-) or right (+)", -10, 10, "degrees"),
    Factor("face_width", "width of the face", 0.88, 1.14, "of the average"),
    Factor("jaw", "pointed (0) to square (1) chin"),
    Factor("skin", "light (0) to dark (1) skin"),
    Factor("hair", "how the hair is worn", options=HAIR),
    Factor("hair_length", "hair down to the ears (0) or the shoulders (1)"),
    Factor("hair_dark", "light (0) to black (1) hair"),
    Factor("hair_red", "ash (0) to red (1) hair"),
    Factor("brow_angle", "brows slant outwards, worried (-1), or inwards, angry (1)", -1, 1),
    Factor("brow_weight", "thin (0) to bushy (1) brows"),
    Factor("eye_size", "size of the eyes", 0.85, 1.25, "of the average"),
    Factor("eye_open", "narrow (0) to wide open (1) eyes"),
    Factor("gaze", "the eyes look to the viewer's left (-1) or right (1)", -1, 1),
    Factor("nose", "small (0) to large (1) nose"),
    Factor("smile", "sad (-1) to smiling (1) mouth", -1, 1),
    Factor("mouth_open", "closed (0) to wide open (1) mouth", absent=0.35),
    Factor("tears", "no tears (0), or tears that run to the chin (1)", absent=0.6),
    Factor("glasses", "whether glasses are worn", options=("no", "yes"), absent=0.65),
    Factor("beard", "shaven (0), stubble, full beard (1)", absent=0.55),
    Factor("clothes", "the neckline", options=CLOTHES),
    Factor("clothes_hue", "hue of the clothes", unit="turns", periodic=True),
    Factor("light", "the light comes from the viewer's left (-1) or right (1)", -1, 1),
    Factor("background", "hue of the background", unit="turns", periodic=True),
    Factor("backdrop", "dark (0) to light (1) background"),
)

# Colours in white light: skin and hair from light to dark, hair once ash and once red
SKIN = ((1.0, 0.87, 0.78), (0.88, 0.66, 0.50), (0.40, 0.25, 0.17))
HAIR_ASH = ((0.90, 0.82, 0.64), (0.44, 0.33, 0.25), (0.09, 0.08, 0.10))
HAIR_RED = ((0.92, 0.58, 0.28), (0.58, 0.22, 0.08), (0.13, 0.06, 0.05))
IRIS = ((0.30, 0.20, 0.12), (0.35, 0.42, 0.22), (0.25, 0.42, 0.62))


def build(contents, size):
    """The scene of each portrait: (B, ., size, size); painted from the back to the front."""
    scene = Scene(len(contents), size, contents.values.device)
    f = contents.maps()
    face = Face(scene, f, contents.key("portraits/details"))
    hair = Hair(face, contents.key("portraits/strands"))
    backdrop(face)
    hair.behind()
    body(face)
    head(face, hair)
    beard(face, hair)
    mouth(face.crop(-0.62, -0.02, 0.62, 0.66))
    nose(face.crop(-0.50, -0.42, 0.50, 0.36))
    for side in (-1, 1):
        left, right = sorted((0.20 * -side, 0.66 * side))
        eye(face.crop(left - 0.12, -0.45, right + 0.12, 0.22), side)
        tear(face.crop(left - 0.12, -0.20, right + 0.12, 0.64), side)
    hair.front()
    for side in (-1, 1):
        left, right = sorted((0.20 * -side, 0.66 * side))
        brow(face.crop(left - 0.12, -0.64, right + 0.12, 0.06), side)
    glasses(face.crop(-0.78, -0.50, 0.78, 0.28))
    scene.flow = F.normalize(scene.flow, dim=1)  # where two directions met at a soft edge it is too short
    return scene


def ramp(colours, t):
    """Three colours blended at t in [0, 1]: (B, 3, 1, 1)."""
    first, middle, last = (colour(c, t.device) for c in colours)
    return torch.where(t < 0.5, torch.lerp(first, middle, 2 * t), torch.lerp(middle, last, 2 * t - 1))


def hue(turns, saturation, value):
    """A colour (B, 3, 1, 1) of that hue (red 0, green 1/3, blue 2/3), saturation and value."""
    offsets = colour((0.0, 2 / 3, 1 / 3), turns.device)
    pure = clamp01(((turns + offsets) % 1 * 6 - 3).abs() - 1)
    return value * (1 - saturation + saturation * pure)


class Face:
    """The frame of a head: its axes in the picture, its pose, and where a point of the face is seen.

    u runs to the right of the upright head, v down, the origin between the ears. The skull is an ellipsoid; a point
    (X, Y) of the face lies at X half-widths to the right and Y half-heights below, on its surface.
    """

    def __init__(self, scene, f, key):
        self.scene, self.f, self.key = scene, f, key
        details = noise.uniform(key, 8)[..., None, None, None]
        self.details = details.unbind(1)  # what has no name: eight uniform numbers, each (B, 1, 1, 1)
        roll = torch.deg2rad(f.roll)
        x, y = scene.x, scene.y - 0.45  # the head leans about the neck
        self.u = x * roll.cos() + y * roll.sin()
        self.v = -x * roll.sin() + y * roll.cos() + 0.53
        self.turn, self.front = torch.deg2rad(f.yaw).sin(), torch.deg2rad(f.yaw).cos()
        self.nod = torch.deg2rad(f.pitch).sin()
        self.a, self.top, self.chin = 0.425 * f.face_width, 0.50, 0.60  # half-width, heights above and below
        azimuth = f.light * math.radians(62)
        self.to_light = (azimuth.sin() * 0.85, -0.42, azimuth.cos() * 0.85)
        self.skin = ramp(SKIN, f.skin)
        self.hair = torch.lerp(ramp(HAIR_ASH, f.hair_dark), ramp(HAIR_RED, f.hair_dark), f.hair_red)
        scene.sun = colour((1.06, 1.0, 0.94), f.yaw.device).expand(len(f.yaw), -1, -1, -1)
        scene.shade = scene.sun * 0.1 + colour((0.36, 0.36, 0.40), f.yaw.device)
        skewed = self.u - self.a * 0.34 * self.turn * clamp01(self.v / self.chin) ** 1.5
        below = ellipse(skewed, self.v, self.a, self.chin * (1 - 0.25 * self.nod), 1.7 + 1.6 * f.jaw)
        above = ellipse(self.u, self.v, self.a, self.top)
        self.skewed, self.outline = skewed, torch.where(self.v > 0, below, above)

    def crop(self, *rectangle):
        """The same face, of which only the part in this rectangle of the picture is painted."""
        part = copy.copy(self)
        part.scene = self.scene.crop(*rectangle)
        for name in ("u", "v", "skewed", "outline"):
            setattr(part, name, part.scene.cut(getattr(self, name)))
        return part

    def place(self, X, Y, out=0.0):
        """Where (X, Y) is seen, raised by `out` half-widths: its u, its v, and how narrow things look there."""
        Z = math.sqrt(max(1 - X * X - 0.5 * Y * Y, 0.05)) + out
        u = self.a * (X * self.front + Z * self.turn * 0.9)
        v = self.chin * Y - 0.55 * self.nod * Z * 0.6
        return u, v, (self.front - X / Z * self.turn).clamp(0.3, 1.15)

    def lambert(self, nx, ny, nz, wrap=0.0):
        """Light that falls on a surface with this (unnormalised) normal; `wrap` lets it reach round the edge."""
        lx, ly, lz = self.to_light
        facing = (nx * lx + ny * ly + nz * lz) * (nx * nx + ny * ny + nz * nz + 1e-6).rsqrt()
        return clamp01((facing + wrap) / (1 + wrap))


def backdrop(face):
    """A wall out of focus: a gradient of one hue and three discs of light, which lines do not show."""
    scene, f = face.scene, face.f
    value = 0.28 + 0.62 * f.backdrop
    wall = hue(f.background, 0.42 - 0.12 * f.backdrop, value)
    towards = 1 - 0.28 * ((scene.x - 0.5 * f.light) ** 2 + (scene.y + 0.3) ** 2) ** 0.5
    scene.albedo = clamp01(wall * (towards + 0.12))
    for i in range(3):
        x, y = face.details[i] * 2.2 - 1.1, face.details[i + 3] * 1.4 - 1.0
        disc = ((scene.x - x) ** 2 + (scene.y - y) ** 2).sqrt() - 0.16 - 0.1 * face.details[i + 1]
        scene.paint(disc, 0.16, soft=0.12, albedo=wall * 0.5 + 0.5)
    scene.glow += 1
    scene.flow = torch.cat([0.8 + 0 * scene.x, 0.6 + 0 * scene.x], dim=1)


class Hair:
    """The hair's shape and strands, one of five ways to wear it, as signed distances in the frame of the head."""

    def __init__(self, face, key):
        self.face, f, u, v = face, face.f, face.u, face.v
        self.parted, self.fringe, self.swept, self.curly, self.bun = ((f.hair == i).float() for i in range(len(HAIR)))
        pulled = self.swept + self.bun  # away from the forehead
        a, back = face.a, u + 0.10 * face.turn  # the skull reaches back, away from where the face looks
        volume = 1.11 - 0.05 * self.bun + 0.09 * self.curly
        self.fall = 0.08 + 0.78 * f.hair_length * (1 - 0.9 * self.bun)  # how far down it hangs

        # Strands: `across` is constant along a strand, `along` runs down it
        pole = a * (0.55 * (face.details[6] - 0.5) * self.parted + 0.1) + 0.12 * face.turn
        down = (v + 0.60).clamp(min=0)
        spread = 1.06 - torch.exp(-down / 0.22)
        falling = (u - pole) / spread
        fu, fv = u - 0.25 * face.turn, v - 0.15
        radius = (fu * fu + fv * fv + 1e-4).sqrt()
        radial = torch.atan2(fu, -fv) * 0.45
        across = torch.where(pulled > 0, radial, falling)
        along = torch.where(pulled > 0, radius, down)
        fu = torch.where(pulled > 0, fu / radius, falling * torch.exp(-down / 0.22) / 0.22)
        fv = torch.where(pulled > 0, fv / radius, torch.ones_like(v))
        norm = (fu * fu + fv * fv + 1e-6).rsqrt()
        self.flow = torch.cat([fu * norm, fv * norm], dim=1)
        curl = noise.smooth(key + 1, u * 5, v * 5)
        wave = 0.05 * self.curly + 0.015 * f.hair_length * (1 - pulled)
        across = across + wave * curl
        coarse = noise.smooth(key, across * 18, along * (1.2 + 5 * self.curly))
        fine = noise.smooth(key + 2, across * 45, along * 2.5)
        seen = min(1.0, 0.7 / (45 * face.scene.pixel))  # what is finer than a pixel greys out
        self.texture = (0.60 * coarse + 0.50 * seen * fine).clamp(-2, 2) * 0.5

        # Shapes: the cap of the skull with hanging sides, without the opening for the face
        rough = (0.010 + 0.026 * self.curly) * curl
        cap = ellipse(back, v + 0.03, a * volume, face.top * (volume + 0.06))
        self.cap = torch.where(v > 0.1, torch.maximum(cap, v - 0.2), cap) + rough
        half = a * (1.07 + 0.10 * self.curly) + 0.03 * f.hair_length
        length = self.fall / 2 + 0.1
        self.mass = union(cap, box(back, v + 0.1 - length, half, length, 0.14), 0.15) + rough
        opening_u = u - 0.42 * a * face.turn
        line = 0.30 + 0.07 * pulled - 0.02 * self.fringe + 0.10 * face.nod  # height of the hairline
        wide = a * (0.87 + 0.07 * pulled) + 0.05 * (1 - self.parted) * clamp01(v)
        opening = ellipse(opening_u, v - 0.30, wide, 0.30 + line, 2.6)
        dip = (opening_u - pole).abs() * 1.1 - 0.05  # the parting: the line rises to the pole
        sides = dip.clamp(max=0.32) - v - line - 0.10
        self.opening = torch.maximum(opening, torch.where(self.parted > 0, sides, opening - 9))
        teeth = 0.03 * noise.smooth(key + 3, across * 9, 0 * across)
        cut = -(v + 0.235 + teeth + 0.08 * face.nod + 0.25 * (opening_u / a) ** 4)
        self.opening = torch.maximum(self.opening, torch.where(self.fringe > 0, cut, opening - 9))
        locks = union(self.cap, torch.maximum(self.mass, -(v - 0.0)), 0.05)
        shorter = torch.where(self.bun > 0, self.cap, locks)
        self.front_shape = torch.maximum(shorter, -self.opening)

    def look(self, shape, darker=1.0):
        """The layers of hair over `shape`: strands, sheen and shadow."""
        face, v = self.face, self.face.v
        nx, ny = (face.u + 0.1 * face.turn) / (face.a * 1.2), (v + 0.05) / 0.62
        nz = (1 - nx * nx - ny * ny).clamp(min=0.04).sqrt()
        nx = nx + 0.25 * self.texture * self.flow[:, 1:]
        light = face.lambert(nx, ny.clamp(-1, 0.5), nz, 0.3) * (0.55 + 0.45 * clamp01(-shape / 0.10))
        lx, _, _ = face.to_light
        band = torch.exp(-(((ny + 0.48 + 0.25 * nx * nx) / 0.16) ** 2)) * torch.exp(-((nx - 0.5 * lx) ** 2) * 2.2)
        gloss = 0.32 * band * clamp01(0.65 + 0.8 * self.texture) * (0.4 + 0.6 * light)
        return {
            **{"albedo": face.hair * darker, "light": light, "texture": self.texture, "gloss": gloss * darker},
            **{"glow": 0.0, "flow": self.flow, "subject": 1.0, "depth": 0.0},
        }

    def behind(self):
        """What is seen behind neck and shoulders, and the bun."""
        face = self.face
        knot = (0.10 + 0.10 * face.f.hair_length) * self.bun
        centre_u, centre_v = face.u + 0.3 * face.turn, face.v + 0.60 + 0.3 * knot
        bun = ellipse(centre_u, centre_v, knot + 0.01, 0.9 * knot + 0.01) + 9 * (1 - self.bun)
        shape = union(bun, torch.where(self.bun > 0, self.cap, self.mass))
        face.scene.paint(shape, line=0.004, **self.look(shape, 0.8))

    def front(self):
        """What frames the face."""
        shape = self.front_shape
        self.face.scene.paint(shape, line=0.0, **self.look(shape))


def body(face):
    """Neck, shoulders and clothes, with the shadow of the head on them."""
    scene, f = face.scene, face.f
    x, y = scene.x, scene.y
    lx, _, _ = face.to_light
    cast = smoothstep(0.10, -0.05, face.outline + 0.10 - 0.35 * (y - 0.42).abs() + 0.12 * lx * x)
    neck_u = x - 0.02 * face.turn
    neck = union(
        capsule(neck_u, y, 0 * lx, 0.2, 0 * lx, 0.72, 0.175 * f.face_width), ellipse(x, y - 1.0, 0.62, 0.36), 0.2
    )
    light = face.lambert(neck_u / 0.2, 0.25 + 0 * x, 0.75, 0.2) * (1 - 0.75 * cast)
    flat = {"glow": 0.0, "subject": 1.0, "depth": 0.0, "gloss": 0.0, "texture": 0.0}
    down = torch.cat([0 * x, 0 * x + 1], dim=1)
    scene.paint(neck, line=-0.003, albedo=face.skin * 0.97, light=light, flow=down, **flat)

    shoulders = ellipse(x, y - 1.30, 0.95, 0.66, 3.0)
    vneck, shirt = (f.clothes == 1).float(), (f.clothes == 2).float()
    hole = torch.where(
        vneck + shirt > 0, torch.maximum(x.abs() * 1.5 + (y - 0.98), 0.5 - y) * 0.6, ellipse(x, y - 0.62, 0.27, 0.17)
    )
    cloth = torch.maximum(shoulders, -hole)
    folds = torch.sin(x * 9 + 5 * y + 6 * face.details[7]) * torch.sin(4 * x - 7 * y) * smoothstep(0.6, 1.0, y)
    nx = x * 0.9 + 0.22 * folds
    light = face.lambert(nx, y * 0.5 - 0.75, 0.8 - 0.3 * x * x, 0.15) * (1 - 0.55 * cast)
    along = torch.cat([0.35 * x.sign() * (x.abs() > 0.1) + 0 * x, 0.93 + 0 * x], dim=1)
    dye = hue(f.clothes_hue, 0.62, 0.72)
    scene.paint(cloth, line=0.004, albedo=dye, light=light, **(flat | {"flow": along}))
    # A shirt's collar: two leaves beside the opening, a line of buttons below
    leaf = torch.maximum(box(x.abs() * 0.83 - (y - 0.70) * 0.25 - 0.17, y - 0.73, 0.10, 0.11, 0.02), -hole - 0.01)
    leaf = leaf + 9 * (1 - shirt)
    scene.paint(leaf, line=-0.002, albedo=dye * 0.45 + 0.52, light=light * 0.9 + 0.1)
    scene.draw_line(torch.maximum(x.abs(), 0.99 - y) + 9 * (1 - shirt), -0.004)


def head(face, hair):
    """Ears and face: the skull's roundness with the relief of brow, sockets, nose, cheeks and lips on it."""
    scene, f, u, v = face.scene, face.f, face.u, face.v
    flat = {"glow": 0.0, "subject": 1.0, "depth": 0.0, "texture": 0.0}
    for side in (-1, 1):
        ear_u, ear_v, _ = side * face.a * face.front - 0.10 * face.turn, -0.12 * face.nod, 0
        x, y = u - ear_u, v - ear_v
        ear = ellipse(x - side * 0.01, y, 0.065, 0.115)
        light = face.lambert(torch.full_like(x, 0.55 * side), 0 * x, 0.7, 0.3) * (
            0.7 + 0.3 * smoothstep(0.0, -0.04, ear)
        )
        scene.paint(ear, line=-0.003, albedo=face.skin * 0.95, light=light, gloss=0.0, **flat)

    bump = relief(face)
    nx = face.skewed / face.a
    ny = v / torch.where(v > 0, face.chin + 0 * v, face.top + 0 * v)
    nz = (1.12 - nx * nx - ny * ny).clamp(min=0.06).sqrt()
    step = 1 / scene.pixel
    nx = nx * 0.9 - torch.gradient(bump, dim=3)[0] * step
    ny = ny * 0.8 - torch.gradient(bump, dim=2)[0] * step
    light = face.lambert(nx, ny, nz, 0.22)
    under_hair = smoothstep(0.09, -0.01, hair.front_shape + 0.03) * 0.45
    light = light * (1 - under_hair)
    facing = face.lambert(nx - 0.35 * face.to_light[0], ny + 0.2, nz)
    gloss = 0.22 * facing**22 * (1 - under_hair) * (0.6 + 0.6 * f.skin)
    across = torch.cat([-ny, nx], dim=1)
    across = across * (across.square().sum(dim=1, keepdim=True) + 1e-6).rsqrt()
    scene.paint(face.outline, line=0.002, albedo=face.skin, light=light, gloss=gloss, flow=across, **flat)
    rosy = face.skin * colour((1.0, 0.74, 0.70), u.device)
    for side in (-1, 1):
        cu, cv, k = face.place(0.52 * side, 0.34)
        cheek = torch.exp(-(((u - cu) / (0.13 * k)) ** 2 + ((v - cv) / 0.09) ** 2))
        scene.paint(face.outline, cheek * 0.34, albedo=rosy)


def relief(face):
    """The height (B, 1, H, W) of the face above the skull's ellipsoid."""
    f, u, v = face.f, face.u, face.v
    size = 0.78 + 0.5 * f.nose
    tip_u, tip_v, _ = face.place(0, 0.26, 0.12)
    root_u, root_v, _ = face.place(0, -0.10)
    t = clamp01((v - root_v) / (tip_v - root_v))
    ridge = torch.exp(-(((u - root_u - (tip_u - root_u) * t) / (0.028 + 0.022 * t * size)) ** 2))
    bump = 0.055 * size * ridge * smoothstep(-0.1, 1.0, t) * smoothstep(tip_v + 0.06, tip_v + 0.01, v)
    bump = bump + 0.035 * size * torch.exp(-((u - tip_u) ** 2 / (0.055 * size) ** 2 + (v - tip_v) ** 2 / 0.045**2))
    for side in (-1, 1):
        eu, ev, k = face.place(0.42 * side, -0.05)
        bump = bump - 0.035 * torch.exp(-(((u - eu) / (0.13 * k)) ** 2) - ((v - ev + 0.015) / 0.085) ** 2)
    mu, mv, k = face.place(0, 0.60)
    bump = bump + 0.020 * torch.exp(-(((u - mu) / (0.12 * k)) ** 2) - ((v - mv) / 0.05) ** 2)
    return bump - 0.018 * torch.exp(-(((u - mu) / (0.13 * k)) ** 2) - ((v - mv - 0.115) / 0.04) ** 2)


def beard(face, hair):
    """Stubble that thickens to a full beard; it hangs a little below the chin and leaves the lips free."""
    f, u, v = face.f, face.u, face.v
    mu, mv, k = face.place(0, 0.60)
    across = (face.skewed / face.a).clamp(-1.2, 1.2)
    upper = mv - 0.115 - 0.22 * across**4 + 0.10 * (across.abs() - 0.45).clamp(min=0)
    shape = torch.maximum(face.outline - 0.075 * f.beard * smoothstep(0.1, 0.4, v), (upper - v) * 0.8)
    lips = ellipse(u - mu, v - mv - 0.005, 0.155 * k, 0.055)
    shape = torch.maximum(shape + 0.012 * hair.texture, -lips)
    nx, ny = across * 0.8, (v - 0.15) / 0.6
    light = face.lambert(nx + 0.15 * hair.texture, ny, (1.1 - nx * nx - ny * ny).clamp(min=0.1).sqrt(), 0.25)
    opacity = clamp01(f.beard * 1.25) * smoothstep(0, 0.05, f.beard)
    face.scene.paint(shape, opacity, soft=0.05, albedo=face.hair * 0.85, texture=hair.texture, gloss=0.0, light=light)
    face.scene.contour = face.scene.contour + 9 * ((shape < 0.01) & (f.beard > 0.35))


def mouth(face):
    """Lips along a curve that runs from sad to smiling, the gap between them with teeth and tongue, and the folds."""
    scene, f = face.scene, face.f
    mu, mv, k = face.place(0, 0.60)
    wide = 0.165 * k * (1 + 0.14 * f.smile - 0.12 * f.mouth_open)
    t = (face.u - mu) / wide
    arch = clamp01(1 - t * t)
    middle = mv - 0.075 * f.smile * (t * t).clamp(max=1.4) + 0.028 * f.smile
    y = face.v - middle
    gap = 0.15 * f.mouth_open
    upper, lower = -0.35 * gap * arch, 0.65 * gap * arch
    bow = 0.80 + 0.20 * torch.cos(6.0 * t) * torch.exp(-2 * t * t)
    top = upper - 0.042 * arch * (1.55 - bow)
    bottom = lower + 0.052 * arch * (1 + 0.15 * arch)
    ends = (t.abs() - 1) * wide
    lips = torch.maximum(torch.maximum(top - y, y - bottom), ends)
    tint = colour((0.86, 0.52, 0.50), y.device)
    shade = torch.where(y > (upper + lower) / 2, 0.02 * y / y, -0.18 + 0 * y)
    scene.paint(lips, 0.9, line=-0.008, albedo=face.skin * tint, light=clamp01(scene.light + shade), texture=0.0)
    sheen = torch.exp(-((t * 1.6) ** 2) - ((y - lower - 0.025) / 0.010) ** 2) * 0.16
    scene.paint(lips, 1.0, gloss=sheen)
    inside = torch.maximum(torch.maximum(upper - y, y - lower), ends)
    dark = colour((0.22, 0.05, 0.06), y.device)
    scene.paint(inside, smoothstep(0.0, 0.06, f.mouth_open), albedo=dark, light=0.8, gloss=0.0)
    teeth = torch.maximum(inside + 0.004, y - upper - 0.32 * gap * arch)
    tongue = torch.maximum(inside + 0.004, lower - 0.25 * gap * arch - y)
    scene.paint(teeth, smoothstep(0.1, 0.25, f.mouth_open), albedo=0.93, light=0.85)
    scene.paint(tongue, smoothstep(0.1, 0.3, f.mouth_open), albedo=dark * 2 + 0.2, light=0.7)
    scene.draw_line(torch.maximum(y.abs() * 0.9, (t.abs() - 1.04) * wide) + 9 * (f.mouth_open > 0.12), 0.003)
    scene.draw_line(inside.abs() + 9 * (f.mouth_open <= 0.12), 0.001)
    for side in (-1, 1):  # the folds from the nose to the corners deepen with either expression
        cu, cv = mu + side * wide * 1.16, mv - 0.06
        fold = capsule(face.u, face.v, cu - side * 0.035, cv - 0.07, cu + side * 0.012, cv + 0.05, 0.0)
        scene.paint(fold - 0.012, 0.28 * f.smile.abs(), soft=0.03, light=scene.light * 0.6)


def nose(face):
    """Wings, nostrils, and the line of the bridge on the side that the head turns to."""
    scene, f, u, v = face.scene, face.f, face.u, face.v
    size = 0.78 + 0.5 * f.nose
    tip_u, tip_v, k = face.place(0, 0.26, 0.12)
    wide = 0.082 * size * k
    x, y = u - tip_u, v - tip_v
    under = torch.exp(-((x / (wide * 1.1)) ** 2) - ((y - 0.052 * size) / 0.022) ** 2)
    scene.paint(face.outline, 0.42 * under, light=scene.light * 0.35)
    lx, _, _ = face.to_light
    cast = torch.exp(-(((x + 0.055 * lx) / 0.04) ** 2) - ((y + 0.02) / 0.09) ** 2) * smoothstep(0.0, 0.06, -x * lx)
    scene.paint(face.outline, 0.5 * cast, light=scene.light * 0.45)
    for side in (-1, 1):
        hole = ellipse(x - side * wide * 0.48, y - 0.034 * size, 0.022 * size, 0.013 * size)
        scene.paint(hole, 0.75, albedo=face.skin * 0.35, gloss=0.0)
        scene.draw_line((hole + 0.004).clamp(min=0), -0.003)
        wing = ellipse(x - side * wide * 0.78, y - 0.018, 0.040 * size, 0.042 * size)
        hidden = torch.maximum(0.85 * wide - side * x, -0.022 - y)
        scene.draw_line(torch.maximum(wing.abs(), hidden), -0.004)
    away = torch.where(face.turn - 0.25 * lx > 0, 1.0, -1.0)
    bridge_u, bridge_v, _ = face.place(0, -0.06)
    line = capsule(u, v, bridge_u + away * 0.035, bridge_v, tip_u + away * wide * 0.75, tip_v - 0.02, 0.0)
    scene.draw_line(line, -0.007)


def eye(face, side):
    """One eye: white, iris, pupil, the spark of light, lids that close, the lash line. `side` -1 is on the left."""
    scene, f = face.scene, face.f
    cu, cv, k = face.place(0.42 * side, -0.05)
    x, y = face.u - cu, face.v - cv
    wide = 0.112 * f.eye_size * k
    t = x / wide
    arch = clamp01(1 - t * t)
    y = y + 0.010 * side * t  # the outer corner is higher
    upper, lower = -wide / k * (0.22 + 0.50 * f.eye_open) * arch, wide / k * (0.16 + 0.26 * f.eye_open) * arch
    ends = (t.abs() - 1) * wide
    white = torch.maximum(torch.maximum(upper - y, y - lower), ends)
    shadow = 0.55 + 0.45 * smoothstep(0.0, 0.05, y - upper)
    flat = {"gloss": 0.0, "texture": 0.0, "glow": 0.35}
    scene.paint(white, line=-0.010, albedo=torch.full_like(scene.sun, 0.95), light=shadow, **flat)
    iris_u = f.gaze * 0.42 * wide
    radius = 0.060 * f.eye_size
    disc = ((x - iris_u).square() / k**1.2 + (y + 0.006).square() + 1e-9).sqrt() - radius
    iris = torch.maximum(disc, white)
    pigment = ramp(IRIS, face.details[7])
    depth = torch.lerp(pigment * 0.55, pigment * 1.25, smoothstep(-0.02, 0.05, y))
    scene.paint(iris, line=-0.006, albedo=depth, light=0.5 + 0.5 * shadow)
    pupil = torch.maximum(disc + radius * 0.52, white)
    scene.paint(pupil, line=NO_LINE, albedo=0.03)
    scene.draw_line((pupil + 0.006).clamp(min=0), -0.004)  # in lines the pupil is a black dot
    lx, _, _ = face.to_light
    spark = ((x - iris_u - 0.022 * lx - 0.006).square() + (y + 0.026).square() + 1e-9).sqrt() - 0.0155
    scene.paint(torch.maximum(spark, white), line=NO_LINE, albedo=1.0, light=1.0, glow=1.0)
    lash = torch.maximum((y - upper).abs(), (t.abs() - 1.08) * wide)
    scene.paint(lash - 0.010 - 0.006 * arch, 0.9, albedo=face.hair * 0.25, light=0.6, gloss=0.0, glow=0.0)
    scene.draw_line(lash, 0.003)
    crease = torch.maximum((y - 1.25 * upper + 0.040).abs(), (t.abs() - 0.95) * wide)
    scene.paint(crease - 0.004, 0.5, soft=0.014, light=scene.light * 0.5)
    scene.draw_line(crease, -0.009)
    lid = torch.maximum((y - lower - 0.028).abs(), (t.abs() - 0.8) * wide)
    scene.paint(lid - 0.003, 0.25, soft=0.02, light=scene.light * 0.5)


def brow(face, side):
    """One brow: a stroke that tapers outwards, slanting from worried to angry."""
    f = face.f
    cu, cv, k = face.place(0.43 * side, -0.285)
    x, y = face.u - cu, face.v - cv
    out = side * x / (0.145 * k)  # -1 at the inner end, 1 at the outer
    rise = -0.034 * (1 - out * out) + (0.010 - 0.046 * f.brow_angle) * out - 0.012 * f.eye_open
    thick = (0.011 + 0.020 * f.brow_weight) * clamp01(1.0 - 0.62 * smoothstep(-0.4, 1.1, out))
    shape = torch.maximum((y - rise).abs() - thick, (out.abs() - 1) * 0.145 * k)
    strands = noise.smooth(face.key, x * 40 + y * 30 * side, y * 14) * 0.3
    hairs = face.hair * (0.75 - 0.35 * (1 - f.hair_dark))
    face.scene.paint(shape, 0.92, soft=0.012, albedo=hairs, texture=strands, gloss=0.0, light=0.75)
    face.scene.draw_line((shape + 0.006).clamp(min=0), -0.004)


def tear(face, side):
    """Tears under one eye: a film on the lid, then a stream that runs further down the cheek with a drop at its end."""
    scene, f = face.scene, face.f
    cu, cv, k = face.place(0.42 * side, -0.05)
    start, run = cv + 0.065, 0.40 * f.tears
    end_u = cu + side * 0.03 * k
    stream = capsule(face.u, face.v, cu, start, end_u, start + run, 0.012 + 0.008 * f.tears)
    drop_radius = 0.022 + 0.016 * f.tears
    x, y = face.u - end_u, face.v - start - run
    drop = ellipse(x, y - 0.01, drop_radius, drop_radius * 1.25)
    shape = union(stream, drop, 0.03)
    opacity = smoothstep(0.0, 0.10, f.tears)
    water = colour((0.72, 0.88, 1.0), x.device)
    gloss = 0.5 * torch.exp(-((x + 0.008) ** 2 + (y + 0.002) ** 2) / 0.0001)
    scene.paint(
        shape, 0.72 * opacity, albedo=face.skin * 0.25 + water * 0.75, light=clamp01(scene.light + 0.3), gloss=gloss
    )
    scene.draw_line(shape.abs() + 9 * (f.tears < 0.06), -0.007)


def glasses(face):
    """Round glasses: rims, a bridge, temples to the ears, and a faint reflection on the lenses."""
    scene, f, u, v = face.scene, face.f, face.u, face.v
    absent = 9 * (1 - f.glasses)
    spots = [face.place(0.42 * side, -0.03, 0.05) for side in (-1, 1)]
    frame = torch.full_like(v, 9.0)
    for side, (cu, cv, k) in zip((-1, 1), spots, strict=True):
        lens = ellipse(u - cu, v - cv, 0.158 * k, 0.148)
        shine = smoothstep(0.02, 0.0, ((u - cu + 0.6 * (v - cv)).abs() - 0.035))
        scene.paint(lens + absent, 0.10 + 0.12 * shine, albedo=1.0, light=1.0)
        ear_u = side * face.a * face.front - 0.08 * face.turn
        temple = capsule(u, v, cu + side * 0.155 * k, cv - 0.03, ear_u, cv - 0.05, 0.010)
        frame = union(frame, union(lens.abs() - 0.013, temple))
    (left_u, left_v, left_k), (right_u, _, right_k) = spots
    bridge = capsule(u, v, left_u + 0.155 * left_k, left_v - 0.03, right_u - 0.155 * right_k, left_v - 0.03, 0.012)
    frame = union(frame, bridge) + absent
    rim = torch.where(face.details[2] < 0.6, 0.07, 0.30) * colour((1.3, 0.9, 0.7), u.device)
    scene.paint(frame, line=NO_LINE, albedo=rim, light=0.75, gloss=0.0, texture=0.0, glow=0.0)
    scene.draw_line((frame + 0.010).clamp(min=0), -0.003)
