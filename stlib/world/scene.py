"""A scene: what is seen where, before any style. Families paint shapes into it, styles draw from it.

Coordinates: x to the right, y down, both from -1 to 1 over the square picture. A shape is a signed distance (B, 1, H,
W) in these units: negative inside. Anti-aliasing is analytic: a pixel is covered as far as the distance says.
"""

import copy
import math

import torch


def clamp01(x):
    return x.clamp(0, 1)


def smoothstep(low, high, x):
    """0 below `low`, 1 above `high`, a smooth ramp between."""
    t = clamp01((x - low) / (high - low))
    return t * t * (3 - 2 * t)


def ellipse(x, y, a, b, power=2.0):
    """Signed distance (first-order) to |x/a|^2 + |y/b|^power = 1: an ellipse, or squarer below and above than one."""
    fx, fy = x / a, (y / b).abs() + 1e-6
    fyp = fy**power if torch.is_tensor(power) or power != 2 else fy * fy
    root = (fx * fx + fyp + 1e-9).sqrt()
    slope = ((fx / a) ** 2 + (0.5 * power * fyp / fy / b) ** 2).sqrt() / root
    return (root - 1) / (slope + 1e-4)


def capsule(x, y, x0, y0, x1, y1, radius):
    """Signed distance to a thick line from (x0, y0) to (x1, y1) with round ends."""
    dx, dy = x1 - x0, y1 - y0
    t = clamp01(((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy + 1e-8))
    return ((x - x0 - t * dx) ** 2 + (y - y0 - t * dy) ** 2 + 1e-12).sqrt() - radius


def box(x, y, half_width, half_height, radius=0.0):
    """Signed distance to an upright rectangle around the origin, its corners rounded by `radius`."""
    dx, dy = x.abs() - half_width + radius, y.abs() - half_height + radius
    outside = (dx.clamp(min=0) ** 2 + dy.clamp(min=0) ** 2 + 1e-12).sqrt()
    return outside + torch.maximum(dx, dy).clamp(max=0) - radius


def union(a, b, smooth=0.0):
    """Union of two shapes; `smooth` > 0 rounds the crease between them by about that length."""
    if not smooth:
        return torch.minimum(a, b)
    h = (smooth - (a - b).abs()).clamp(min=0) / smooth
    return torch.minimum(a, b) - h * h * smooth * 0.25


def polygon(x, y, *corners):
    """Signed distance to a convex polygon; corners clockwise as seen, in the units of x and y."""
    distance = None
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = math.hypot(x1 - x0, y1 - y0)
        edge = (x - x0) * ((y1 - y0) / length) - (y - y0) * ((x1 - x0) / length)
        distance = edge if distance is None else torch.maximum(distance, edge)
    return distance


def direction(across, down):
    """The unit vector (B, 2, H, W) along (across, down)."""
    across, down = torch.broadcast_tensors(across + 1e-5, down)  # nowhere without a direction
    return torch.cat([across, down], dim=1) / (across**2 + down**2).sqrt().clamp(min=1e-9)


def colour(rgb, device):
    """A constant colour as (1, 3, 1, 1)."""
    return torch.tensor(rgb, device=device).view(1, 3, 1, 1)


def fine(scene, features):
    """How far detail of so many features per half picture height can be seen: 0.5 at two pixels each, 1 if larger."""
    return min(1.0, 1 / (features * scene.pixel) ** 0.75)


NO_LINE = -9.0  # as `line` of Scene.paint: hide the lines below, draw none


class Scene:
    """The layers of a picture without a style. All are (B, C, H, W); painting a shape changes them where it covers.

    albedo   3  colour of the surface, as displayed in white light, [0, 1]
    light    1  how much of the main light falls there, [0, 1]: 0 in deep shadow, 1 where it falls straight on
    glow     1  1 where the surface shines by itself (sky, lamps): its albedo is then its colour
    gloss    1  strength of the highlight, [0, 1]
    texture  1  strands, grass, leaves: about -1 to 1; the surface is darker or lighter by it
    flow     2  unit vector along which hair, form and strokes run
    contour  1  distance to the nearest visible line, less the line's own thickness
    subject  1  1 on the subject, 0 on the background
    depth    1  0 near, 1 far

    `sun` and `shade` (B, 3, 1, 1) are the colours of the main light and of the light in shadows.
    """

    LAYERS = {"albedo": 3, "light": 1, "glow": 1, "gloss": 1, "texture": 1}
    LAYERS |= {"flow": 2, "contour": 1, "subject": 1, "depth": 1}

    def __init__(self, batch, size, device="cpu"):
        self.size, self.pixel = size, 2 / size
        axis = (torch.arange(size, device=device) + 0.5) * self.pixel - 1
        self.x = axis.view(1, 1, 1, -1).expand(batch, 1, size, size)
        self.y = axis.view(1, 1, -1, 1).expand(batch, 1, size, size)
        for name, channels in self.LAYERS.items():
            setattr(self, name, torch.zeros(batch, channels, size, size, device=device))
        self.light += 1
        self.flow[:, 0] = 1
        self.contour += 9
        self.depth += 1
        self.sun = torch.ones(batch, 3, 1, 1, device=device)
        self.shade = torch.full((batch, 3, 1, 1), 0.4, device=device)

    def cover(self, distance, soft=0.0):
        """How much of each pixel lies inside a shape, in [0, 1]; `soft` is the width of a blurred edge."""
        return clamp01(0.5 - distance / (self.pixel + soft))

    def paint(self, distance, opacity=1.0, line=None, soft=0.0, **layers):
        """Paint a shape over what is there.

        `layers` are values for the named layers (numbers or tensors that broadcast); those not named stay. `line` is
        the thickness added to the shape's outline (0 is a normal line). None leaves the lines as they are, for what is
        only a change of colour; NO_LINE hides those below.
        """
        amount = self.cover(distance, soft) * opacity
        for name, value in layers.items():
            old = getattr(self, name)
            value = torch.as_tensor(value, dtype=old.dtype, device=old.device)
            old.lerp_(value.expand_as(old), amount.expand_as(old))
        if line is not None:
            below = self.contour + 9 * (distance < 0)
            self.contour.copy_(torch.minimum(below, distance.abs() - line))

    def draw_line(self, distance, line=0.0):
        """Add a line: `distance` (B, 1, H, W) to its middle, `line` its extra thickness. Nothing below is hidden."""
        self.contour.copy_(torch.minimum(self.contour, distance - line))

    def crop(self, left, top, right, bottom):
        """The part of the scene in this rectangle of the picture; what is painted there is painted in the whole.

        The rectangle is one for the whole batch; a `Window` lies elsewhere in each picture.
        """
        part = copy.copy(self)
        part.rows, part.columns = (
            slice(max(0, int((low + 1) / self.pixel)), int((high + 1) / self.pixel) + 1)
            for low, high in ((top, bottom), (left, right))
        )
        for name in (*self.LAYERS, "x", "y"):
            setattr(part, name, part.cut(getattr(self, name)))
        return part

    def cut(self, field):
        """The part of a field (B, C, H, W) of the whole scene that lies in this part of it."""
        return field[..., self.rows, self.columns]


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
