"""Style transfer as functions: pictures in, picture out. The command line calls these.

Every part is first built in a chapter (`gatys`, `gatys_studio`, `adain`); tests hold chapter and function equal.
"""

from functools import lru_cache
from types import SimpleNamespace

import torch
from torch.nn import functional

from stlib import backbones, images, runtime, zoo
from stlib.losses.perceptual import content_loss, gram_matrix, relative_style_loss, total_variation
from stlib.nets.adain import LAYER, Decoder, encode
from stlib.nets.normalization import channel_moments, instance_norm

STYLE_LAYERS = {
    "squeezenet": "relu1 fire2 fire3 fire4 fire5 fire6 fire7 fire8".split(),  # fire9 converges slowly and greys
    "vgg16": "relu1_1 relu2_1 relu3_1 relu4_1 relu5_1".split(),
    "vgg19": "relu1_1 relu2_1 relu3_1 relu4_1 relu5_1".split(),
}
CONTENT_LAYERS = {"squeezenet": ["fire6"], "vgg16": ["relu4_2"], "vgg19": ["relu4_2"]}
COARSEST = 128  # pixels of the shorter side at which coarse-to-fine starts
SCALE = 2.0**14  # torch's L-BFGS drops curvature pairs below an absolute 1e-10: a mean over pixels must be scaled up
RANGE_PRICE = 1000.0  # of leaving [0, 1]: without it the clamp at the end undoes part of what the optimiser did
MARGIN = 16  # pixels added around the canvas: SqueezeNet's first layer does not pad, so it hardly sees the border


class Diverged(ArithmeticError):
    """The loss became NaN or infinite."""


def minimise(objective, start, steps, history=20, callback=None):
    """Minimise `objective(x) -> scalar` over a picture with `steps` closure calls of L-BFGS; returns the picture.

    `callback(step, loss)` is called after each closure call. Raises Diverged when the loss stops being a number.
    """
    x = start.detach().clone().contiguous().requires_grad_(True)
    options = dict(history_size=history, tolerance_grad=-1, tolerance_change=-1)
    optimizer = torch.optim.LBFGS([x], max_iter=steps, **options)
    calls = 0

    def closure():
        nonlocal calls
        loss = objective(x)
        if not torch.isfinite(loss):
            raise Diverged(f"The loss became {loss.item()} at step {calls + 1}: lower the style weight.")
        # contiguous: L-BFGS cannot flatten a channels-last gradient
        x.grad = torch.autograd.grad(SCALE * loss, x)[0].contiguous()
        calls += 1
        if callback:
            callback(calls, loss.item())
        return SCALE * loss.detach()

    optimizer.step(closure)
    if not x.isfinite().all():  # the last step is not followed by a closure call
        raise Diverged(f"The picture is no longer made of numbers after step {calls}: lower the style weight.")
    return x.detach()


def scales(shorter, coarsest=COARSEST):
    """Shorter sides from coarse to fine, doubling, that end at `shorter`: scales(512) == [128, 256, 512]."""
    sizes = [shorter]
    while sizes[0] >= 2 * coarsest:
        sizes.insert(0, sizes[0] // 2)
    return sizes


def keep_colors(stylized, content):
    """The luminance of `stylized` with the colours of `content` (both (B, 3, H, W)): Gatys et al. 2017, section 5.1."""
    luminance = images.luminance(stylized) - images.luminance(content)
    return (content + luminance).clamp(0, 1)


def with_margin(picture):
    """A picture with MARGIN mirrored pixels around it."""
    return functional.pad(picture, [MARGIN] * 4, mode="reflect")


def gatys_objective(network, content, style, style_weight=30.0, tv_weight=0.0):
    """The loss of Gatys et al. as a function of the picture, for a content and a style picture (1, 3, H, W).

    `style_weight` times the mean relative Gram error, plus the relative content error, plus `tv_weight` times the total
    variation per value, plus a price for leaving [0, 1]. The last values of the first two: `objective.parts`.
    """
    style_layers, content_layers = STYLE_LAYERS[network.name], CONTENT_LAYERS[network.name]
    with torch.no_grad():
        wanted = network(content, content_layers)
        grams = {name: gram_matrix(f) for name, f in network(style, style_layers).items()}
    parts = SimpleNamespace()

    def objective(x):
        features = network(x, [*grams, *wanted])
        parts.style = sum(relative_style_loss(gram_matrix(features[n]), g) for n, g in grams.items()) / len(grams)
        parts.content = sum(content_loss(features[n], p) / p.square().mean() for n, p in wanted.items()) / len(wanted)
        smooth = tv_weight * total_variation(x) / x.numel() if tv_weight else 0
        return style_weight * parts.style + parts.content + smooth + RANGE_PRICE * (x - x.clamp(0, 1)).square().mean()

    objective.parts = parts
    return objective


def gatys(
    content,
    style,
    *,
    backbone="squeezenet",
    steps=100,
    style_weight=30.0,
    tv_weight=0.0,
    keep_colors_of_content=False,
    seed=0,
    device=None,
    callback=None,
):
    """Paint `content` in the style of `style` by optimising the pixels (Gatys et al. 2016), coarse to fine.

    `content`, `style`: (1, 3, H, W) in [0, 1], of any sizes; the style is used at the content's scale. `steps` is the
    number of closure calls at each scale; the finest gets half of them, since it only adds detail. Every layer's Gram
    error is divided by its target's energy, so one `style_weight` fits all layers. `callback(done, total, loss)`.
    Returns a namespace: `picture` (1, 3, H, W) in [0, 1] on the CPU, `content_loss`, `style_loss`, and `weights`, which
    says what the backbone had. Raises Diverged, backbones.PictureTooSmall, runtime.DeviceError.
    """
    if min(content.shape[-2:]) <= MARGIN:  # reflection needs more pixels than it adds
        size = f"{content.shape[-1]} x {content.shape[-2]}"
        raise backbones.PictureTooSmall(f"A content picture of {size} pixels is too small; use a larger one.")
    where = runtime.device(device)
    runtime.seed(seed)
    network = backbones.load(backbone, device=where)
    photo = content
    if keep_colors_of_content:  # paint in grey; the colours come back at the end
        style = images.match_luminance(style, content)
        content = images.luminance(content).expand(-1, 3, -1, -1)
    sizes = scales(min(content.shape[-2:]))
    budgets = [steps] * (len(sizes) - 1) + [max(1, steps // 2) if len(sizes) > 1 else steps]
    painted, done = None, 0
    for size, budget in zip(sizes, budgets, strict=True):
        small = images.resize(content, size).to(where)
        example = images.resize(style, min(size, min(style.shape[-2:]))).to(where)
        # the margin was cut off before enlarging: enlarged with it, everything would shrink
        start = small if painted is None else functional.interpolate(painted, small.shape[-2:], mode="bicubic")
        objective = gatys_objective(network, with_margin(small), example, style_weight, tv_weight)

        def report(step, loss, before=done):
            if callback:
                callback(before + step, sum(budgets), loss)

        painted = minimise(objective, with_margin(start), budget, callback=report)[..., MARGIN:-MARGIN, MARGIN:-MARGIN]
        done += budget
    picture = painted.clamp(0, 1)
    if keep_colors_of_content:
        picture = keep_colors(picture, photo.to(where))
    parts = objective.parts
    return SimpleNamespace(
        picture=picture.cpu(), content_loss=parts.content.item(), style_loss=parts.style.item(), weights=network.weights
    )


# AdaIN ---------------------------------------------------------------------------------------------------------------

ENCODER_CONTEXT, DECODER_CONTEXT = 48, 6  # pixels, positions: what lies further off does not change a value


def in_tiles(function, x, tile, context, scale, report=lambda: None):
    """`function(x)` for a map x (B, C, H, W), computed tile by tile, so that memory is that of one tile.

    `function` keeps places: its result is `scale` times as high and wide. Each tile of `tile` x `tile` sees `context`
    more on every side; where that covers what an output value depends on, the result is the untiled one.
    """
    height, width = x.shape[-2:]
    rows = []
    for top in range(0, height, tile):
        row = []
        for left in range(0, width, tile):
            above, before = min(top, context), min(left, context)
            made = function(x[..., top - above : top + tile + context, left - before : left + tile + context])
            y, y_end = (int(v * scale) for v in (above, above + min(tile, height - top)))
            z, z_end = (int(v * scale) for v in (before, before + min(tile, width - left)))
            row.append(made[..., y:y_end, z:z_end].clone())  # a view would keep the whole tile in memory
            report()
        rows.append(torch.cat(row, dim=3))
    return torch.cat(rows, dim=2)


def to_multiple_of_8(picture, margin=0):
    """A picture (1, 3, H, W) with `margin` mirrored pixels around it, and more below and right until 8 divides."""
    height, width = (length + 2 * margin for length in picture.shape[-2:])
    return functional.pad(picture, (margin, margin - width % -8, margin, margin - height % -8), mode="reflect")


@lru_cache(maxsize=2)
def adain_decoder(device=None):
    """The decoder trained in the chapter `adain`, on `device`."""
    return zoo.load("adain_decoder", Decoder()).to(runtime.device(device))


@torch.no_grad()
def adain(
    content,
    styles,
    *,
    mix=None,
    alpha=1.0,
    keep_colors_of_content=False,
    tile=1024,
    device=None,
    callback=None,
):
    """Paint `content` in the style of one or several pictures in one pass (Huang and Belongie 2017).

    `content` (1, 3, H, W) in [0, 1]; `styles` one such picture or a list, of any sizes; `mix` a weight for each
    (default: equal). `alpha` from 0, the photograph as the decoder rebuilds it, to 1. To keep the colours, the styles
    are recoloured (CORAL), and of the result only the luminance is taken. The work is done in tiles of `tile` pixels
    with statistics over the whole picture. `callback(done, total)` counts tiles. Returns a namespace:
    `picture` (1, 3, H, W) in [0, 1] on the CPU, and `weights`, which says what the networks had. Every side needs 24
    pixels, for the mirrored margin. Raises ValueError, backbones.PictureTooSmall, runtime.DeviceError, zoo.ZooError.
    """
    styles = [styles] if torch.is_tensor(styles) else list(styles)
    mix = torch.tensor([1.0] * len(styles) if mix is None else mix)
    if len(mix) != len(styles) or mix.sum() <= 0 or not mix.isfinite().all() or mix.min() < 0 or not 0 <= alpha <= 1:
        raise ValueError("One weight per style is needed, none negative, not all zero; and alpha lies in [0, 1].")
    if tile < 8 or tile % 8:
        raise ValueError(f"A tile of {tile} pixels cannot be cut into positions of 8 x 8: choose a multiple of 8.")
    for picture in (content, *styles):
        if min(picture.shape[-2:]) < MARGIN + 8:
            size = f"{picture.shape[-1]} x {picture.shape[-2]}"
            raise backbones.PictureTooSmall(f"A picture of {size} pixels is too small; use a larger one.")
    where = runtime.device(device)
    network, decoder = backbones.load(device=where), adain_decoder(where)
    canvas = to_multiple_of_8(content, MARGIN)
    total = 2 * -(-canvas.shape[-2] // tile) * -(-canvas.shape[-1] // tile)
    done = iter(range(1, total + 1))

    def report():
        if callback:
            callback(next(done), total)

    def features(picture, report=lambda: None):
        return in_tiles(
            lambda x: encode(network, x.to(where))[LAYER].cpu(), picture, tile, ENCODER_CONTEXT, 1 / 8, report
        )

    f = features(canvas, report)
    mean, std = ((1 - alpha) * moment for moment in channel_moments(f))
    for share, style in zip(alpha * mix / mix.sum(), styles, strict=True):  # mixing moments mixes AdaINs
        style = images.coral(style, content).clamp(0, 1) if keep_colors_of_content else style
        style_mean, style_std = channel_moments(features(to_multiple_of_8(style)))
        mean, std = mean + share * style_mean, std + share * style_std
    painted = in_tiles(
        lambda x: decoder(x.to(where)).clamp(0, 1).cpu(),
        std * instance_norm(f) + mean,
        tile // 8,
        DECODER_CONTEXT,
        8,
        report,
    )
    height, width = content.shape[-2:]
    picture = painted[..., MARGIN : MARGIN + height, MARGIN : MARGIN + width].contiguous()
    picture = keep_colors(picture, content.cpu()) if keep_colors_of_content else picture
    return SimpleNamespace(picture=picture, weights=f"{network.name} {network.weights}; decoder {decoder.weights}")
