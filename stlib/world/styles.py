"""Six styles: each turns a scene into a picture. `STYLES` names them in the order of their class numbers.

A style is a function of (scene, key): `key` (B,) starts the stream of its own accidents, such as grain and strokes.
Lengths are in half picture heights and keep to a few pixels at least, so that small pictures do not alias.
"""

import torch
import torch.nn.functional as F

from stlib.world import noise
from stlib.world.scene import clamp01, colour, smoothstep

LUMA = (0.299, 0.587, 0.114)


def photo(scene, key):
    """A photograph: shaded colours, a vignette, the grain of a sensor."""
    picture = lit_colours(scene)
    vignette = 1 - 0.12 * (scene.x**2 + scene.y**2)
    return clamp01(picture * vignette + 0.008 * pixel_noise(scene, key, 1.5))


def sketch(scene, key):
    """A pencil sketch: soft lines under changing pressure, hatching in up to three directions, the tooth of paper."""
    hairy = massed(scene)
    tone = drawn_tone(scene, hairy)
    tone = torch.lerp(0.70 + 0.30 * tone, tone, scene.subject)
    tooth = pixel_noise(scene, key, 1.2)
    pressure = noise.smooth(key + 1, scene.x * 3, scene.y * 3)
    lines = pen(scene, 0.0090 + 0.0025 * pressure, soft=1.3) * (0.86 + 0.08 * pressure)
    graphite = lines
    for i, (below, slant) in enumerate([(0.78, 1.0), (0.50, -1.3), (0.30, 0.25)]):
        graphite = torch.maximum(
            graphite, (0.62 - 0.40 * hairy) * hatch(scene, key + 2 + i, slant, (below - tone) * 1.5)
        )
    strands = clamp01(-scene.texture * 1.6 + 0.25 - tone) * clamp01(1.25 - tone) * hairy
    graphite = torch.maximum(graphite, 0.85 * strands) + 0.16 * clamp01(0.8 - tone)
    graphite = clamp01(graphite * (1 + 0.22 * tooth))
    return blend(scene, (0.965, 0.955, 0.930), (0.16, 0.16, 0.19), graphite, grain=0.007 * tooth)


def ink(scene, key):
    """Ink wash: few shades of wet ink that bleed into each other, strokes thick and thin, the ground left void."""
    drift = noise.fractal(key, scene.x * 4, scene.y * 4)
    hairy = massed(scene)
    tone = drawn_tone(scene, hairy)
    presence = blur(scene, scene.subject, 0.05) * clamp01(0.92 + 0.18 * drift)
    wet = 1.25 * blur(scene, (1 - tone) ** 1.6, 0.018) + 0.035 * drift
    wash = torch.zeros_like(tone)
    for level, dark in ((0.26, 0.16), (0.46, 0.22), (0.66, 0.26), (0.82, 0.24)):
        wash = wash + dark * smoothstep(level - 0.05, level + 0.05, wet)
        wash = wash + 0.07 * torch.exp(-(((wet - level - 0.05) / 0.03) ** 2))  # ink gathers at the edge of a wash
    halo = 0.10 * blur(scene, scene.subject, 0.30) * (1 - presence) * (1 + 0.6 * drift)
    wash = wash * presence + halo
    pressure = noise.smooth(key + 1, scene.x * 2.2, scene.y * 2.2)
    fibre = noise.smooth(key + 2, scene.x * 60, scene.y * 40)
    stroke = pen(scene, 0.0085 + 0.005 * pressure + 0.0015 * fibre, soft=1.0)
    dry = clamp01(
        1.25 - 0.8 * clamp01(noise.smooth(key + 3, scene.x * 9, scene.y * 30) - 0.2) * clamp01(0.4 - pressure)
    )
    strands = clamp01(0.35 - 1.5 * scene.texture - tone) * clamp01(1.2 - tone) * hairy * clamp01(0.7 + 0.5 * drift)
    black = 1 - (1 - clamp01(wash)) * (1 - 0.82 * stroke * dry * (0.35 + 0.65 * presence)) * (1 - 0.75 * strands)
    black = clamp01(black * (1 + 0.05 * fibre))
    return blend(scene, (0.945, 0.925, 0.870), (0.07, 0.075, 0.09), black, grain=0.008 * fibre)


def cartoon(scene, key):
    """A cartoon: flat strong colours, one step of shadow, one of light, an even outline."""
    surface = scene.albedo * (
        1 - 0.16 * smoothstep(0.25, 0.32, -scene.texture) + 0.10 * smoothstep(0.3, 0.37, scene.texture)
    )
    grey = luminance(surface)
    surface = clamp01(grey + 1.35 * (surface - grey))
    edge = max(0.03, 0.9 * scene.pixel)
    step = smoothstep(0.40 - edge, 0.40 + edge, scene.light)
    dark = scene.shade * 0.75 + 0.22 * scene.sun
    picture = surface * torch.lerp(dark, scene.sun, torch.maximum(step, scene.glow))
    picture = torch.lerp(picture, scene.sun, 0.55 * smoothstep(0.11, 0.15, scene.gloss))
    thickness = 0.013 + 0.002 * noise.uniform(key, 1)[..., None, None]
    line = pen(scene, thickness, soft=0.9)
    return clamp01(torch.lerp(picture, surface * 0.18, line))


def oil(scene, key):
    """Oil: three layers of brush strokes along the form, ever finer and only where needed, with the relief of paint."""
    target = lit_colours(scene, strands=0.5)
    grey = luminance(target)
    target = clamp01(grey + 1.25 * (target - grey) + 0.02)
    canvas, height = blur(scene, target, 0.12), torch.zeros_like(grey)
    for i, (width, length, needed) in enumerate(
        ((0.13, 1.3, 0.0), (0.065, 1.3, 0.05), (0.035, 1.1, 0.05), (0.018, 1.0, 0.06))
    ):
        if i == 0 or width > 0.9 * scene.pixel:
            width = max(width, 1.3 * scene.pixel)
            canvas, height = strokes(scene, key + 10 * i, target, canvas, height, width, length, needed)
    slope = torch.gradient(height, dim=3)[0] + torch.gradient(height, dim=2)[0]
    weave = noise.smooth(key + 99, scene.x / scene.pixel / 2, scene.y / scene.pixel / 2)
    return clamp01(canvas * (1 - 0.20 * slope.clamp(-0.7, 0.7)) + 0.010 * weave)


def line(scene, key):
    """A pen drawing: black lines that swell in the shade, dark hair and leaves massed in black, white paper."""
    tone = luminance(lit_colours(scene, strands=0.0))
    wobble = noise.smooth(key, scene.x * 3, scene.y * 3)
    swell = 0.0045 + 0.009 * (1 - scene.light) + 0.002 * wobble
    black = pen(scene, swell, soft=0.9)
    dark = 0.95 - 2.6 * tone - scene.texture * 1.1
    width = 0.10 + 3 * scene.pixel
    black = torch.maximum(black, massed(scene) * smoothstep(-width, width, dark))
    return (1 - 0.97 * clamp01(black)).expand(-1, 3, -1, -1).contiguous()


STYLES = {"photo": photo, "sketch": sketch, "ink": ink, "cartoon": cartoon, "oil": oil, "line": line}


# What the styles share ------------------------------------------------------------------------------------------------


def lit_colours(scene, strands=0.35):
    """The colours (B, 3, H, W) under the scene's light: surface times light, plus highlights; `strands` of texture."""
    lit = scene.shade + (scene.sun - scene.shade) * scene.light
    surface = scene.albedo * (1 + strands * scene.texture)
    return clamp01(torch.lerp(surface * lit + scene.gloss * scene.sun, surface, scene.glow))


def luminance(picture):
    """(B, 3, H, W) to its brightness (B, 1, H, W)."""
    red, green, blue = picture.unbind(1)
    return (LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue)[:, None]


def massed(scene):
    """Where the subject is made of strands, grass or leaves: 1 there, 0 on plain surfaces (B, 1, H, W)."""
    return smoothstep(0.08, 0.20, blur(scene, scene.texture.abs(), 0.03)) * scene.subject


def drawn_tone(scene, hairy):
    """Brightness (B, 1, H, W) as one who draws sees it: plain surfaces lighter than they are, hair as dark as it is."""
    tone = luminance(lit_colours(scene, strands=0.2))
    return 1 - (1 - tone) * (0.62 + 0.38 * hairy)


def blend(scene, paper, ink, amount, grain):
    """Paper where `amount` (B, 1, H, W) is 0, ink where it is 1, on a grain: (B, 3, H, W)."""
    paper, ink = colour(paper, amount.device), colour(ink, amount.device)
    return clamp01(torch.lerp(paper + 0 * amount, ink + 0 * amount, amount.expand(-1, 3, -1, -1)) + grain)


def pixel_noise(scene, key, pixels):
    """Smooth noise whose grains measure that many pixels."""
    return noise.smooth(key, scene.x / scene.pixel / pixels / 2, scene.y / scene.pixel / pixels / 2)


def pen(scene, half_width, soft=1.0):
    """How far each pixel is covered by the scene's lines, drawn `half_width` to either side, at least 0.4 pixels."""
    half_width = (torch.as_tensor(half_width) * (0.5 + 0.5 * scene.subject)).clamp(min=0.40 * scene.pixel)
    return clamp01(0.5 + (half_width - scene.contour) / (soft * scene.pixel))


def hatch(scene, key, slant, amount):
    """Parallel strokes x + slant y = const, thicker where `amount` is larger, none where it is negative: [0, 1]."""
    period = max(0.028, 3.0 * scene.pixel) * (1 + slant * slant) ** 0.5
    waver = noise.smooth(key, scene.x * 2, scene.y * 2)
    phase = (scene.x + slant * scene.y) / period + 0.22 * waver
    distance = (phase - phase.round()).abs() * period / (1 + slant * slant) ** 0.5
    half_width = clamp01(amount) * 0.32 * max(0.028, 3.0 * scene.pixel)
    breaks = 0.75 + 0.25 * noise.smooth(key + 7, scene.x * 7, scene.y * 7)
    return clamp01(0.5 + (half_width - distance) / (1.3 * scene.pixel)) * clamp01(amount * 5) * breaks


def blur(scene, field, radius):
    """Blur by about `radius`: two passes of a box filter, along rows and then along columns."""
    reach = max(1, round(radius / scene.pixel))
    if reach == 1 and radius < 0.75 * scene.pixel:
        return field
    for _ in range(2):
        padded = F.pad(field, (reach,) * 4, "replicate")
        field = F.avg_pool2d(F.avg_pool2d(padded, (1, 2 * reach + 1), 1), (2 * reach + 1, 1), 1)
    return field


def strokes(scene, key, target, canvas, height, width, length, needed):
    """One layer of strokes over `canvas`: one in each cell of a grid, `width` apart, its colour that of `target` there;
    it reaches `length` widths to either side.

    A stroke is made only where the canvas differs from the target by more than `needed`. Overlaps are decided by a
    random order. Returns the canvas and the height of the paint.
    """
    batch, cells = len(key), round(2 / width) + 2
    device = target.device
    u = noise.uniform(key, 6 * cells * cells).view(batch, 6, cells, cells)
    index = torch.arange(cells, device=device) - 0.5  # one cell beyond each border
    centre_x = (index.view(1, 1, -1) + 0.8 * (u[:, 0] - 0.5)) * width - 1
    centre_y = (index.view(1, -1, 1) + 0.8 * (u[:, 1] - 0.5)) * width - 1
    where = torch.stack([centre_x, centre_y], dim=-1)
    at = F.grid_sample(
        torch.cat([target, canvas, scene.flow], dim=1), where, padding_mode="border", align_corners=False
    )
    wanted, under, flow = at[:, :3], at[:, 3:6], at[:, 6:]
    lacking = smoothstep(needed * 0.7, needed * 1.3 + 1e-3, (wanted - under).abs().mean(dim=1, keepdim=True) + 1e-3)
    turn = (u[:, 2:3] - 0.5) * 0.7
    fx, fy = flow[:, :1] + turn * flow[:, 1:], flow[:, 1:] - turn * flow[:, :1]
    norm = (fx * fx + fy * fy + 1e-6).rsqrt()
    vary = (width / 0.13) ** 0.5
    wanted = wanted * (1 + 0.16 * vary * (u[:, 3:4] - 0.5)) + 0.05 * vary * (u[:, 3:6] - 0.5)
    cell = torch.cat([wanted, centre_x[:, None], centre_y[:, None], fx * norm, fy * norm, lacking, u[:, 4:5]], dim=1)

    at_x = ((scene.x[0, 0, 0] + 1) / width + 0.5).floor().long()
    total = torch.full_like(height, 1e-6)
    mixed, miss, relief = torch.zeros_like(canvas), torch.ones_like(height), torch.zeros_like(height)
    for dy in (-1, 0, 1):
        rows = cell.index_select(2, (at_x + dy).clamp(0, cells - 1))
        for dx in (-1, 0, 1):
            here = rows.gather(3, (at_x + dx).clamp(0, cells - 1).expand(*rows.shape[:3], -1))
            x, y = scene.x - here[:, 3:4], scene.y - here[:, 4:5]
            along, across = x * here[:, 5:6] + y * here[:, 6:7], y * here[:, 5:6] - x * here[:, 6:7]
            bristle = torch.sin(across * (19 / width) + 40 * here[:, 8:9])
            inside = torch.minimum(0.55 * width - across.abs(), length * width - along.abs() - 0.10 * width * bristle)
            covered = clamp01(0.5 + inside / (1.2 * scene.pixel)) * here[:, 7:8]
            weight = covered * torch.exp(9 * here[:, 8:9])
            mixed = mixed + weight * here[:, :3]
            relief = relief + weight * (0.6 + 0.4 * bristle)
            total, miss = total + weight, miss * (1 - covered)
    amount = 1 - miss
    return torch.lerp(canvas, mixed / total, amount.expand_as(canvas)), torch.lerp(height, relief / total, amount)
