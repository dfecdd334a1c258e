"""Benchmark, not a test: seconds to reach a given loss, and peak memory, ours against the PyTorch tutorial's recipe.

    python tests/benchmarks/gatys.py [--sizes 256 512 1024] [--closures 150]

Both arms minimise the same objective with the same SqueezeNet from the same content picture. The baseline follows the
recipe of PyTorch's neural style tutorial: float32, contiguous, `LBFGS([image])` with its defaults, 20 closure calls a
step, the image clamped inside the closure. Ours is `stlib.stylize.minimise` on `gatys_objective`: channels-last,
bfloat16 where the machine computes in it, a Gram matrix with one product in its gradient, a short L-BFGS history, a
price on values outside [0, 1] instead of the clamp; at one scale, since coarse to fine is for larger strokes, not for a
lower loss. The goal is the loss that the baseline has after `--closures` calls; the losses of both arms are evaluated
again, on pictures clamped to [0, 1], by one float32 function outside the clock. Each arm runs in a process of its own,
so that peak memory is its own.
"""

import argparse
import json
import subprocess
import sys
import time

import torch

from stlib import backbones, images, runtime, stylize
from stlib.losses.perceptual import content_loss, gram_matrix, relative_style_loss

CONTENT, STYLE, WEIGHT = "tuebingen", "starry_night", 30.0


def objective(content, style):
    """The float32 objective that judges both arms, and that the baseline minimises."""
    network = backbones.load("squeezenet", device="cpu", fast=False)
    styles, contents = stylize.STYLE_LAYERS["squeezenet"], stylize.CONTENT_LAYERS["squeezenet"]
    with torch.no_grad():
        wanted = network(content, contents)
        grams = {n: gram_matrix(f) for n, f in network(style, styles).items()}

    def value(x):
        features = network(x, [*grams, *wanted])
        style_term = sum(relative_style_loss(gram_matrix(features[n]), g) for n, g in grams.items()) / len(grams)
        content_term = sum(content_loss(features[n], p) / p.square().mean() for n, p in wanted.items())
        return WEIGHT * style_term + content_term / len(wanted)

    return value


def tutorial(content, style, closures, snapshot):
    """The tutorial's loop around the common objective."""
    loss_of = objective(content, style)
    x = content.clone().requires_grad_(True)
    optimizer, calls = torch.optim.LBFGS([x]), 0
    while calls < closures:

        def closure():
            nonlocal calls
            with torch.no_grad():
                x.clamp_(0, 1)
            optimizer.zero_grad()
            loss = loss_of(x)
            loss.backward()
            calls += 1
            if calls % 10 == 0:
                snapshot(x)
            return loss

        optimizer.step(closure)


def ours(content, style, closures, snapshot):
    """`stlib`'s loop: the fast network, its Gram matrices, a short history, the range priced instead of clamped."""
    network = backbones.load("squeezenet", device="cpu")
    loss_of, calls = stylize.gatys_objective(network, content, style, WEIGHT), 0

    def watched(x):
        nonlocal calls
        calls += 1
        if calls % 10 == 0:
            snapshot(x)
        return loss_of(x)

    stylize.minimise(watched, content, 2 * closures)


def run_arm(arm, size, closures):
    """Run one arm; print the trace of (seconds, picture's loss) and the peak memory as JSON."""
    content, style = images.picture(CONTENT, size), images.picture(STYLE, size)
    backbones.load("squeezenet", device="cpu", fast=arm == "ours")
    trace, kept, paused = [], [], 0.0

    def snapshot(x):
        nonlocal paused
        stop = time.perf_counter()
        kept.append((stop - start - paused, x.detach().clamp(0, 1).half()))
        paused += time.perf_counter() - stop

    with runtime.measure() as cost:
        start = time.perf_counter()
        (ours if arm == "ours" else tutorial)(content, style, closures, snapshot)
    loss_of = objective(content, style)
    with torch.no_grad():
        trace = [(seconds, loss_of(x.float()).item()) for seconds, x in kept]
    memory = cost.peak_bytes - sum(x.numel() * 2 for _, x in kept)
    print(json.dumps({"trace": trace, "peak_bytes": memory}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--closures", type=int, default=150)
    parser.add_argument("--arm", choices=["ours", "tutorial"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        return run_arm(options.arm, options.sizes[0], options.closures)
    print(f"{runtime.hardware()}; goal: the tutorial recipe's loss after {options.closures} closure calls")
    print(f"{'size':>5} {'goal':>7} {'tutorial':>10} {'ours':>10} {'ratio':>6} {'memory':>10} {'memory, ours':>13}")
    for size in options.sizes:
        done = {}
        for arm in ("tutorial", "ours"):
            command = [sys.executable, __file__, "--arm", arm, "--sizes", str(size)]
            command += ["--closures", str(options.closures)]
            done[arm] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        goal_seconds, goal = done["tutorial"]["trace"][-1]
        reached = next((seconds for seconds, loss in done["ours"]["trace"] if loss <= goal), float("nan"))
        memory = [done[arm]["peak_bytes"] / 2**30 for arm in ("tutorial", "ours")]
        print(
            f"{size:>5} {goal:>7.3f} {goal_seconds:>8.1f} s {reached:>8.1f} s {reached / goal_seconds:>6.2f}"
            f" {memory[0]:>6.2f} GiB {memory[1]:>9.2f} GiB",
            flush=True,
        )


if __name__ == "__main__":
    main()
