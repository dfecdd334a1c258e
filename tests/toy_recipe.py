"""A whole recipe in small, for the tests: a GAN whose pictures are points on a circle.

    python tests/toy_recipe.py train toy --steps 20 --device cpu

Tests set TOY_FOLDER (where the network is saved), TOY_NAN (the step whose loss is not a number) and TOY_STILL (nothing
depends on how a batch is shared: no batch normalisation, no jitter).
"""

import math
import os
import sys

import torch
from torch import nn
from torch.nn.functional import softplus

from stlib import runtime, training, zoo

BATCH = 16
RECIPE = zoo.Recipe("toy_recipe", ("training.py",))


def still():
    return "TOY_STILL" in os.environ


def points(numbers):
    """The points (B, 2) with these numbers: the same number is always the same point."""
    angles = torch.tensor([*numbers]) * math.pi * (3 - math.sqrt(5))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def networks(size, seed):
    """A generator of points from 4 normal numbers, and a discriminator, of `size` channels."""
    runtime.seed(seed + int(os.environ.get("RANK", 0)))  # the run gives all processes the weights of the first
    norm = nn.Identity() if still() else nn.BatchNorm1d(size)
    G = nn.Sequential(nn.Linear(4, size), norm, nn.ReLU(), nn.Linear(size, 2))
    D = nn.Sequential(nn.Linear(2, size), nn.LeakyReLU(0.2), nn.Linear(size, 1))
    return G, D


def sheet(run):
    """A picture (3, 32, 32) of where the averaged generator puts 16 points."""
    made = run.averages["G"].module(torch.randn(16, 4, device=run.device)).cpu().clamp(-1, 1)
    picture = torch.ones(3, 32, 32)
    rows, columns = ((made + 1) * 15.5).long().T
    picture[:, rows, columns] = 0
    return picture


def trained(size=16, steps=40, seed=0, every=0.0, share=None, **options):
    """Train the toy and return the finished `training.Run`; with `share` on that part of each batch only."""
    G, D = networks(size, seed)
    optimizers = {"G": torch.optim.Adam(G.parameters(), 2e-3), "D": torch.optim.Adam(D.parameters(), 2e-3)}
    averages = {"G": training.EMA(G, half_life=100)}
    run = training.Run(
        "toy", {"G": G, "D": D}, optimizers, batch=BATCH, averages=averages, seed=seed, steps=steps, sheet=sheet,
        settings={"size": size}, every=every, **options,
    )  # fmt: skip
    for _ in run:
        run.after(**step(run, G, D, share))
    return run


def step(run, G, D, share):
    """One step of each network. The real points are jittered by torch's generator, as an augmentation would be."""
    real = points(run.numbers()).to(run.device)[:share]
    real = real + 0.01 * torch.randn_like(real) * (not still())
    fake = G(run.noise(4)[:share])
    loss = softplus(-D(real)).mean() + softplus(D(fake.detach())).mean()
    loss = loss * (float("nan") if run.step == int(os.environ.get("TOY_NAN", -1)) else 1)
    losses = {"D": run.descend("D", loss, clip=10)}
    return losses | {"G": run.descend("G", softplus(-D(fake)).mean())}


def publish(name, size=16, minutes=None, steps=40, seed=0, resume=False, device=None):
    """Train the toy and save it."""
    run = trained(size, steps, seed, minutes=minutes, resume=resume, device=device)
    if run.is_main:
        settings = {"size": size, "batch": BATCH, "half_life": 100}
        made = run.facts() | {"data": "points on a circle"}
        zoo.save(
            name, run.averages["G"].module, chapter="toy_recipe", description="puts points on a circle",
            settings=settings, training=made, folder=os.environ["TOY_FOLDER"],
        )  # fmt: skip


if __name__ == "__main__":
    from stlib.zoo.__main__ import main

    zoo.RECIPES["toy"] = RECIPE
    sys.exit(main())
