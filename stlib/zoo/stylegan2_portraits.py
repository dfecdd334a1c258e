"""How the zoo's generator of portraits was trained: StyleGAN2 on photographs of the world, at 64 pixels.

    python -m stlib.zoo train stylegan2_portraits --minutes 20

It is the source domain of Part III: every few-shot adaptation begins with these weights. The code of the losses and
their order follow rosinality's port; widths, R1's gamma and the half-life of the average fit small pictures. A run that
was killed goes on with `--resume`.
"""

import torch

from stlib import backbones, metrics, oracle, runtime, training, world, zoo
from stlib.losses import adversarial
from stlib.nets.stylegan2 import Discriminator, Generator
from stlib.world import datasets

WIDTHS = {4: 96, 8: 96, 16: 96, 32: 64, 64: 32}
PLAN = {
    "pictures": 40_000,  # rendered once
    "batch": 16,
    "rate": 0.002,
    "gamma": 0.2,  # of R1; .0002 size^2 / batch would be 0.05, and 10 is for 256 pixels and more
    "r1_every": 16,
    "path_weight": 2.0,
    "path_every": 8,
    "mixing": 0.9,  # of the batches take their styles from two latents
    "half_life": 10_000,  # pictures, of the average
    "ramp": 0.05,
    "style_dim": 128,
    "mapping_layers": 4,
}


def networks(size=64):
    """The generator, 0.7 million parameters at 64 pixels, and the discriminator."""
    widths = {side: WIDTHS.get(side, 32) for side in (2**i for i in range(2, 10)) if side <= size}
    return Generator(size, PLAN["style_dim"], PLAN["mapping_layers"], widths), Discriminator(size, widths)


def codes(run, G, stream):
    """W+ codes of this step's latents: nine batches in ten have another latent's from a random layer on."""
    w = G.expand(G.mapping(run.noise(G.style_dim, stream=stream)))
    if torch.rand(()) < PLAN["mixing"]:
        other = G.mapping(run.noise(G.style_dim, stream=stream + 1))
        w = G.mix(w, other, int(torch.randint(1, G.n_latent, ())))
    return w


def step(run, G, D, real, mean):
    """One step of D, one of G, and what is due of R1 and path length: the losses. It moves `mean.path`."""
    with torch.no_grad(), run.autocast():
        fake = G(w=codes(run, G, stream=0))
    with run.autocast():
        made, true = D(torch.cat([fake, real]), parts=2).float().chunk(2)
    losses = {"D": run.descend("D", adversarial.d_logistic(true, made))}
    if run.step % PLAN["r1_every"] == 0:  # in float32
        x = real.clone().requires_grad_(True)
        logits = D(x)
        penalty = losses["R1"] = adversarial.r1(logits, x)
        run.descend("D", adversarial.lazy(penalty, PLAN["gamma"] / 2, PLAN["r1_every"], logits))
    with run.autocast():
        made = D(G(w=codes(run, G, stream=2))).float()
    losses["G"] = run.descend("G", adversarial.g_logistic(made))
    if run.step % PLAN["path_every"] == 0:
        w = codes(run, G, stream=4)[: max(1, len(real) // 2)]
        pictures = G(w=w)
        penalty, moved, lengths = adversarial.path_length(pictures, w, mean.path)
        mean.path.copy_(moved)
        losses["path"] = lengths.mean()
        run.descend("G", adversarial.lazy(penalty, PLAN["path_weight"], PLAN["path_every"], pictures))
    return losses


def sheet(G):
    """The pictures of the first 64 latents of seed 0, whatever they are: (3, 8 size, 8 size) in [0, 1]."""
    made = sampled(G, 64)
    return torch.cat([torch.cat([*row], dim=2) for row in made.split(8)], dim=1)


@torch.no_grad()
def sampled(G, count, seed=0):
    """`count` pictures (count, 3, size, size) in [0, 1] of latents drawn from `seed`, without truncation."""
    z = torch.randn(count, G.style_dim, generator=torch.Generator().manual_seed(seed))
    return torch.cat([((G(part, noise="fixed") + 1) / 2).clamp(0, 1) for part in z.to(G.input.input.device).split(64)])


def measured(G, count=512):
    """What the finished network is: the share that the oracle takes for photographs, and how far samples vary."""
    device = G.input.input.device
    judge, features = oracle.load(device), backbones.load("worldnet", device)
    size, photo = G.size, world.STYLES.index("photo")
    made = sampled(G, count, seed=1)
    contents = [world.sample("portraits", range(first, first + count)) for first in (2_000_000, 2_500_000)]
    real, other = (world.render(each.to(device), "photo", size) for each in contents)
    reading, true = (judge.read(each, "portraits") for each in (made, real))
    counted = [f for f in contents[0].factors if f.name in oracle.carried("portraits", "photo", size)]
    spread = metrics.spread(reading, true, counted)
    vectors = [torch.cat([features.embed(part) for part in each.split(64)]) for each in (made, real, other)]
    near = metrics.precision_recall(vectors[0], vectors[1])
    return {
        "samples": count,
        "called photo": round(float((reading.style.argmax(dim=1) == photo).float().mean()), 4),
        "precision": round(near.precision, 4),
        "recall": round(near.recall, 4),
        "kernel ratio": round(float(metrics.kernel_ratio(vectors[0], vectors[1], vectors[2])), 3),
        "frechet": round(float(metrics.frechet_distance(vectors[0], vectors[1])), 3),
        "frechet of two real sets": round(float(metrics.frechet_distance(vectors[2], vectors[1])), 3),
        "least spread": min((round(value, 3), name) for name, value in spread.items()),
        "spread": {name: round(value, 3) for name, value in spread.items()},
    }


def publish(name, size=64, minutes=None, steps=None, seed=0, resume=False, device=None):
    """Train the two networks, measure the generator as it is saved, and write both to the zoo in one file."""
    if minutes is None and steps is None:
        minutes = 20
    runtime.seed(seed)
    try:
        G, D = networks(size)
    except ValueError as error:
        raise zoo.ZooError(str(error)) from None
    pictures = datasets.fixed("portraits", "photo", PLAN["pictures"], size)
    mean = torch.nn.Module()  # what is neither a network nor an optimiser, but kept as they are
    mean.register_buffer("path", torch.zeros(()))
    optimizers = {
        "G": torch.optim.Adam(G.parameters(), **adversarial.lazy_adam(PLAN["rate"], PLAN["path_every"])),
        "D": torch.optim.Adam(D.parameters(), **adversarial.lazy_adam(PLAN["rate"], PLAN["r1_every"])),
    }
    run = training.Run(
        name, {"G": G, "D": D, "mean": mean}, optimizers, batch=PLAN["batch"],
        averages={"G": training.EMA(G, PLAN["half_life"], PLAN["ramp"])}, seed=seed, steps=steps, minutes=minutes,
        device=device, fast=True, resume=resume, settings=PLAN | {"size": size},
        sheet=lambda run: sheet(run.averages["G"].module),
    )  # fmt: skip
    for _, index in zip(run, pictures.indices(PLAN["batch"], seed, skip=run.step), strict=False):
        real = pictures.pictures[run.share(index)].to(run.device).float() / 127.5 - 1
        run.after(**step(run, G, D, real, mean))
    if run.is_main:
        both = pair(run.averages["G"].module, D)
        both.load_state_dict({key: rounded(tensor) for key, tensor in both.state_dict().items()})
        zoo.save(
            name, both, chapter="stylegan2_portraits", settings=PLAN | {"size": size, "widths": str(WIDTHS)},
            description="draws portraits of the world as photographs: a StyleGAN2 generator, and its discriminator",
            training=run.facts() | measured(both["g_ema"]), sheet=sheet(both["g_ema"]),
        )  # fmt: skip


def pair(G, D):
    """Both networks as one module, its keys those of a public checkpoint: "g_ema" is the averaged generator."""
    return torch.nn.ModuleDict({"g_ema": G, "d": D})


def rounded(tensor):
    """The numbers that half precision keeps."""
    return tensor.half().float() if tensor.is_floating_point() else tensor


def load(device=None):
    """The shipped generator, with its mean latent, and the discriminator: (G, D), in evaluation mode on `device`."""
    both = zoo.load("stylegan2_portraits", pair(*networks())).to(runtime.device(device))
    G, D = both["g_ema"], both["d"]
    G.name, G.weights = both.name, both.weights
    G.mean_latent(4096, torch.Generator(G.input.input.device).manual_seed(0))
    return G, D
