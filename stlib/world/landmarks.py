"""What stands in a landscape: trees, a house, a boat. Each is painted into a `Window` of its size.

`view` is what `landscapes.look` gives; `top` tells the y of a skyline at x. Lengths are in half picture heights.
"""

import torch

from stlib.world import noise
from stlib.world.scene import Window, box, capsule, clamp01, colour, direction, ellipse, fine, polygon, smoothstep

SHORE = 0.24  # y of the far shore of the lake
BARK, TWIGS, SNOW = (0.36, 0.26, 0.20), (0.56, 0.49, 0.46), (0.95, 0.96, 0.99)
GLASS, LAMP = (0.22, 0.28, 0.36), (1.00, 0.80, 0.38)
HULLS = ((0.72, 0.24, 0.18), (0.20, 0.36, 0.55), (0.55, 0.36, 0.20), (0.85, 0.80, 0.68))
ROOFS = ((0.74, 0.32, 0.22), (0.42, 0.36, 0.38), (0.60, 0.42, 0.26), (0.80, 0.42, 0.24))

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


def paint_trees(scene, view, top, near):
    """The trees of the near meadow or of the far bank: they grow one after another as the factor `trees` rises."""
    trees, where = (NEAR_TREES, "near") if near else (BANK_TREES, "bank")
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
    bark = torch.lerp(colour(BARK, view.device), colour(SNOW, view.device), 0.2 * view.snow)
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
    leaves = torch.lerp(view.leaves * (0.85 + 0.3 * shake[:, 3:6]), colour(TWIGS, view.device), view.snow)
    green = torch.lerp(leaves, view.needles, conifer)
    snowy = conifer * view.snow * smoothstep(0.45, 0.75, light + 0.12 * clumps)
    scene.paint(
        crown * height + gone,
        line=line - 0.006 * view.snow * (1 - conifer),
        albedo=torch.lerp(clamp01(green), colour(SNOW, view.device), snowy),
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


def paint_house(scene, view, top):
    """A house with a gable, a long wall, roof, chimney, door and windows that are lit by night and at dusk."""
    x0 = 0.44 * view.house_x
    foot = torch.maximum(top(x0 - 0.12), top(x0 + 0.12)) + 0.03
    unit_length = 0.16
    scene = Window(scene, x0, foot - 0.1, 0.42, 0.32)
    mirror = torch.where(noise.unit(view.key("gable")) < 0.5, -1.0, 1.0)
    x, y = (scene.x - x0) / unit_length * mirror, (scene.y - foot) / unit_length
    gone = 9 * (1 - view.house)

    def part(distance, line, **layers):
        scene.paint(distance * unit_length + gone, line=line, **layers)

    walls = noise.pick(
        view.key("walls"), ((0.93, 0.89, 0.80), (0.85, 0.72, 0.55), (0.80, 0.40, 0.34), (0.90, 0.90, 0.90))
    )
    roof = torch.lerp(noise.pick(view.key("roof"), ROOFS), colour(SNOW, view.device), 0.9 * view.snow)
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
    glass = torch.lerp(colour(GLASS, view.device), colour(LAMP, view.device), view.lamps)
    panes = torch.minimum(box(x - 0.05, y + 0.42, 0.13, 0.15), box(x - 0.75, y + 0.42, 0.13, 0.15))
    panes = torch.minimum(panes, box(x + 0.72, y + 0.85, 0.10, 0.13))
    part(panes, -0.006, albedo=glass, light=0.6, glow=view.lamps, gloss=0.1 * (1 - view.lamps), texture=0)
    part(box(x + 0.72, y + 0.24, 0.13, 0.24), -0.006, albedo=colour(BARK, view.device), light=0.4, texture=0)
    scene.put()


def paint_boat(scene, view):
    """A sailing boat and its reflection: hull, mast, main sail and jib. It shrinks with the lake."""
    x0 = 0.55 * view.boat_x
    size = (0.005 + 0.155 * view.boat**0.5) * smoothstep(0.0, 0.3, view.water)
    line_y = SHORE + 0.03 + 0.30 * view.water
    gone = 9 * ((view.boat <= 0) | (view.water <= 0.02)).float()
    hull_colour = noise.pick(view.key("hull"), HULLS)
    sail_colour = noise.pick(view.key("sail"), ((0.97, 0.95, 0.88), (0.98, 0.97, 0.95), (0.86, 0.52, 0.34)))
    lee = torch.where(noise.unit(view.key("lee")) < 0.5, -1.0, 1.0)
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
            (mast, colour(BARK, view.device), -0.004),
            (sails, sail_colour, 0),
            (hull, hull_colour, 0.001),
        ):
            layers = {"albedo": paint, "light": light, "glow": 0.15, "gloss": 0, "texture": 0}
            if not mirrored:
                layers |= {"flow": flow, "subject": 1, "depth": 0.3}
            scene.paint(shape * size + gone, opacity, line=None if mirrored else line, **layers)
    scene.put()
