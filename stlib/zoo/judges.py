"""How the two networks that look at the world were trained: the oracle, which judges, and WorldNet, which sees.

    python -m stlib.zoo train oracle
    python -m stlib.zoo train worldnet

They differ in architecture, seed and data: neither has seen a drawn picture, nor a content, of the other's. Only the
photographs of the class "other" are the same. A run that was
killed goes on from its last checkpoint.
"""

import time

import torch
import torch.nn.functional as F

from stlib import backbones, oracle, runtime, training, world, zoo
from stlib.world import factors
from stlib.zoo.strangers import not_of_this_world, unseen

# The seeds of their contents, which nothing else uses; those "watched" were looked at between runs of a training
DATA = {"oracle": 101, "worldnet": 202, "watched": 303, "held out": 505}
COUNTS = {"portraits": 24_000, "landscapes": 18_000}  # pictures, a sixth in each style
PLAN = {
    "oracle": {"module": oracle.Oracle, "share": 1.0, "epochs": 30, "batch": 96, "rate": 2e-3, "seed": 11},
    "worldnet": {"module": backbones.WorldNet, "share": 0.5, "epochs": 5, "batch": 64, "rate": 1.5e-3, "seed": 12},
}
COLOURLESS, HUES = ("sketch", "ink", "line"), ("hair_red", "clothes_hue", "background")
SMALL = "jaw brow_angle brow_weight eye_size eye_open gaze nose smile mouth_open tree_kind house_x boat boat_x".split()


# Pictures -------------------------------------------------------------------------------------------------------------


def rendered(family, count, seed):
    """`count` pictures of one family, uint8 (N, 3, 64, 64), each content in one style; with `Contents` and styles (N,).

    One in eight is drawn at 128 pixels and averaged down, which is how an oracle sees a larger picture.
    """
    contents = world.sample(family, range(count), seed)
    style = torch.arange(count) % len(world.STYLES)
    large = torch.arange(count) // len(world.STYLES) % 8 == 7
    pictures = torch.empty(count, 3, 64, 64, dtype=torch.uint8)
    for i, name in enumerate(world.STYLES):
        for size in (64, 128):
            mine = ((style == i) & (large == (size == 128))).nonzero()[:, 0]
            for part in mine.split(256):
                drawn = F.avg_pool2d(world.render(contents[part], name, size), size // 64)
                pictures[part] = (drawn * 255).round().byte()
    return pictures, contents, style


def some(share, x):
    """A random choice (B, 1, 1, 1) of about `share` of the pictures."""
    return (torch.rand(len(x), 1, 1, 1) < share).float()


def degraded(x):
    """Pictures as a transfer network may return them: shifted, recoloured, soft, noisy, compressed, with a pattern.

    Four in ten stay as they are.
    """
    clean, kept = x, some(0.4, x)
    shift = torch.randint(-2, 3, (2,)).tolist()
    x = F.pad(x, (2, 2, 2, 2), "replicate")[..., 2 + shift[0] :, 2 + shift[1] :][..., :64, :64]
    gain, lift = 1 + 0.16 * (torch.rand(len(x), 3, 1, 1) - 0.5), 0.08 * (torch.rand(len(x), 1, 1, 1) - 0.5)
    x = torch.lerp(x, x * gain + lift, some(0.5, x))
    soft = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), "replicate"), 3, 1)
    x = torch.lerp(x, soft, some(0.3, x) * torch.rand(len(x), 1, 1, 1))
    coarse = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2, mode="bilinear")  # an upsampling network's softness
    x = torch.lerp(x, coarse, some(0.15, x) * torch.rand(len(x), 1, 1, 1))
    x = x + some(0.4, x) * 0.06 * torch.rand(len(x), 1, 1, 1) * torch.randn_like(x)
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 2.0 - 1
    x = x + some(0.1, x) * 0.06 * torch.rand(len(x), 1, 1, 1) * board
    blocks = F.interpolate(F.avg_pool2d(x, 8), scale_factor=8)
    coded = ((x - blocks) * 12).round() / 12 + blocks  # as strong compression does: blocks, and few steps within
    x = torch.lerp(x, coded, some(0.1, x)).clamp(0, 1)
    return torch.where(kept > 0, clean, x)


# Training -------------------------------------------------------------------------------------------------------------


def loss_of(raw, family, target, style):
    """Squared errors of continuous factors and angles, cross entropy of choices, and of the style.

    Each factor counts alike in a picture where it is asked for, the small ones three times. Nothing is asked where a
    factor does not show, which its `target` NaN says, and no hues where a style has no colours.
    """
    total, at, row = 0.0, 0, 0
    grey = torch.tensor([world.STYLES.index(name) for name in COLOURLESS])
    coloured = (style[:, None] != grey).all(dim=1).float()
    for factor in world.FAMILIES[family].FACTORS:
        width = factor.outputs
        guess, shown = raw[family][:, at : at + width], ~target[:, row].isnan()
        wanted = target[:, row : row + (1 if factor.options else width)].nan_to_num()
        if factor.options:
            error = 0.35 * F.cross_entropy(guess, wanted[:, 0].long(), reduction="none")
        else:
            error = (guess - wanted).square().mean(dim=1)
        at, row, error = at + width, row + wanted.shape[1], error * shown
        error = error * coloured if factor.name in HUES else error
        total = total + error.mean() * (3 if factor.name in SMALL else 1)
    return total / 10 + F.cross_entropy(raw["style"], style, label_smoothing=0.02)


def train(name, data=None):
    """Train "oracle" or "worldnet" from nothing, or on from its checkpoint, and save it to the zoo; return it.

    `data`: {family: (pictures, values of the contents, styles)}; without it the pictures are rendered first.
    """
    plan = PLAN[name]
    runtime.seed(plan["seed"])
    data = data or {family: pictures_of(name, family, int(count * plan["share"])) for family, count in COUNTS.items()}
    module = plan["module"]().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(module.parameters(), plan["rate"], weight_decay=0.02)
    number = sum(len(d[0]) for d in data.values()) // plan["batch"]  # of batches in an epoch, both families in each
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan["rate"], plan["epochs"] * number, pct_start=0.1)
    done, seconds = 0, 0.0
    if state := training.load_checkpoint(name):
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        done, seconds = state["done"], state["seconds"]
    for epoch in range(done, plan["epochs"]):
        runtime.seed(plan["seed"] + 1000 * epoch)
        start = time.perf_counter()
        orders = {family: torch.randperm(len(d[0])).tensor_split(number) for family, d in data.items()}
        module.train()
        bar = training.progress(number, f"{name}, epoch {epoch + 1} of {plan['epochs']}")
        for i in bar:
            loss = step(module, {f: tuple(part[orders[f][i]] for part in d) for f, d in data.items()})
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(module.parameters(), 2.0)
            if not torch.isfinite(loss + norm):  # before it reaches the weights: the last checkpoint stays good
                again = f"delete {training.checkpoint(name)} and start again with a lower rate in `PLAN`"
                raise FloatingPointError(f"The loss of {name} or its gradient is not finite: {again}.")
            optimizer.step()
            schedule.step()
            bar.set_postfix(loss=float(loss.detach()))
        seconds += time.perf_counter() - start
        training.save_checkpoint(
            name, module=module.state_dict(), optimizer=optimizer.state_dict(), schedule=schedule.state_dict(),
            done=epoch + 1, seconds=seconds,
        )  # fmt: skip
    return module.eval(), plan["epochs"] * number, seconds


def pictures_of(name, family, count):
    """What `rendered` gives, with the contents' targets in place of the contents."""
    pictures, contents, style = rendered(family, count, DATA[name])
    return pictures, factors.targets(contents), style


def step(module, batch):
    """The loss of one batch {family: (pictures, targets, styles)}: degraded pictures, and 1/8 of others beside them."""
    pictures = {family: part[0].float() / 255 for family, part in batch.items()}
    few = {family: max(1, len(x) // 8) for family, x in pictures.items()}
    alien = [not_of_this_world(x[: few[f]], batch[f][2][: few[f]]) for f, x in pictures.items()]
    # All are degraded alike: else a picture that was not shifted gives itself away as one of the others
    x = degraded(torch.cat([*pictures.values(), *alien])).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", runtime.fast_dtype("cpu"), enabled=runtime.fast_dtype("cpu") != torch.float32):
        raw = {key: value.float() for key, value in module(x).items()}
    unknown = torch.full((sum(few.values()),), len(world.STYLES))
    loss, at = 0.2 * F.cross_entropy(raw["style"][-len(unknown) :], unknown), 0
    for family, (own, target, style) in batch.items():
        known = {key: value[at : at + len(own)] for key, value in raw.items()}
        loss, at = loss + loss_of(known, family, target, style) * len(own) / (len(x) - len(unknown)), at + len(own)
    return loss


# Publishing -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def held_out(judge, count=400, seed=None):
    """The accuracy of a judge on contents that nobody has seen, at 64 and 128 pixels: see `oracle.accuracy`."""
    seed = DATA["held out"] if seed is None else seed
    table = {}
    for size in (64, 128):
        table[str(size)] = {}
        for place, family in enumerate(world.FAMILIES):
            contents = world.sample(family, range(count), seed)
            table[str(size)][family], hits, alien = {}, {}, []
            for number, style in enumerate(world.STYLES):
                pictures = world.render(contents, style, size)
                reading = judge.read(pictures, family)
                scores = {f.name: round(oracle.score(f, reading, contents.shown(f.name)), 4) for f in contents.factors}
                table[str(size)][family][style] = scores
                hits[style] = round(float((reading.style.argmax(dim=1) == number).float().mean()), 4)
                if size == 64:  # they are made at this size
                    runtime.seed(1000 + 10 * place + number)
                    spoilt = not_of_this_world(pictures[:100], torch.full((100,), number))
                    alien.append((judge.read(spoilt, family).style.argmax(dim=1) == len(world.STYLES)).float().mean())
            table[str(size)][f"style, {family}"] = hits
            if alien:
                table[str(size)][f"other, {family}"] = round(float(torch.stack(alien).mean()), 4)
        table[str(size)]["other, unseen kinds"] = round(strangers_found(judge, size), 4)
    return table


def strangers_found(judge, size, count=100):
    """Of crops of pictures that no training has shown, a flower, tissue and a retina: the share called "other"."""
    runtime.seed(6)
    wholes = [torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255 for picture in unseen()]
    wholes = [F.interpolate(whole, (3 * size, 4 * size), mode="bilinear", antialias=True) for whole in wholes]
    found = []
    for i in range(count):
        whole = wholes[i % len(wholes)]
        top, left = (int(torch.randint(side - size, ())) for side in whole.shape[-2:])
        crop = whole[..., top : top + size, left : left + size].to(next(judge.parameters()).device)
        found.append(judge.read(crop, "portraits").style.argmax(dim=1) == len(world.STYLES))
    return float(torch.cat(found).float().mean())


def publish(name, data=None):
    """Train a network, measure what was saved, and write both to the zoo."""
    module, steps, seconds = train(name, data)
    description = {
        "oracle": "reads the factors and the style off a picture of the parametric world",
        "worldnet": "sees pictures of the parametric world: features for distances, and a small backbone",
    }[name]
    plan = {key: value for key, value in PLAN[name].items() if key != "module"}
    facts = {"steps": steps, "seconds": round(seconds)}
    if name == "oracle":
        module.load_state_dict(
            {k: v.half().float() if v.is_floating_point() else v for k, v in module.state_dict().items()}
        )
        facts["accuracy"] = held_out(module)
    about = zoo.save(
        name, module, chapter="judges", description=description, settings=plan | {"pictures": COUNTS}, training=facts
    )
    training.checkpoint(name).unlink(missing_ok=True)  # what comes next starts from nothing
    return about
