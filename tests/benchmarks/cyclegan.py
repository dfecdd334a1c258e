"""Benchmark, not a test: seconds of a CycleGAN training step and peak memory, ours against the plain formulation.

    python tests/benchmarks/cyclegan.py [--size 64] [--width 24] [--blocks 4] [--batch 1] [--steps 30] [--threads 1]

Both arms train the same networks from the same weights on the same random pictures, with the whole loss (cycle 10,
identity 5) and pools of 50. Ours is the step of the chapter `cyclegan`: channels-last, bfloat16 autocast where the
machine computes in it, a generator's picture and its identity in one pass, real and made pictures in one pass of a
discriminator, gradients for the side whose turn it is only. The plain formulation is that of tutorials: float32,
channels-first, a pass for each use, one backward pass through everything, the discriminators' gradients thrown away
before their step. (The official code freezes them, too; `--frozen` gives that to the plain arm.) Printed are the
median of a step and the peak memory of the whole process, in which both have the same imports. First the losses of both
in float32 are compared. One thread is the default, for at batch 1 and 64 pixels a second one costs more than it gives.
The arms run one after the other in processes of their own, `--rounds` times in turn; the best of each counts.
"""

import argparse
import contextlib
import copy
import json
import statistics
import subprocess
import sys
import time
from types import SimpleNamespace

import torch

from stlib import chapters, runtime
from stlib.losses.adversarial import d_least_squares, g_least_squares
from stlib.training import ImagePool

WEIGHTS = {"cycle": 10.0, "identity": 5.0}
OPTIONS = (
    ("size", 64),
    ("width", 24),
    ("blocks", 4),
    ("critic", 48),
    ("batch", 1),
    ("steps", 30),
    ("rounds", 2),
    ("threads", 1),
)


def networks(options):
    torch.manual_seed(0)
    plan = {"width": options.width, "blocks": options.blocks, "critic": options.critic, "layers": 2}
    return chapters.load_chapter("cyclegan").networks(plan)


def adam(n, side):
    parameters = [p for name, net in vars(n).items() if name[0] == side for p in net.parameters()]
    return torch.optim.Adam(parameters, 2e-4, (0.5, 0.999))


# The two arms: each a function of (a, b) that takes one step and returns the losses -----------------------------------


def plain(n, optimizers, pools, frozen):
    def distance(x, y):
        return (x - y).abs().mean()

    def step(a, b):
        for D in (n.D_A, n.D_B) if frozen else ():
            D.requires_grad_(False)
        fake_b, fake_a = n.G_AB(a), n.G_BA(b)
        losses = {
            "G_AB": g_least_squares(n.D_B(fake_b)),
            "G_BA": g_least_squares(n.D_A(fake_a)),
            "cycle_A": WEIGHTS["cycle"] * distance(n.G_BA(fake_b), a),
            "cycle_B": WEIGHTS["cycle"] * distance(n.G_AB(fake_a), b),
            "identity_B": WEIGHTS["identity"] * distance(n.G_AB(b), b),
            "identity_A": WEIGHTS["identity"] * distance(n.G_BA(a), a),
        }
        optimizers["G"].zero_grad()
        sum(losses.values()).backward()
        optimizers["G"].step()
        for D in (n.D_A, n.D_B):
            D.requires_grad_(True)
        optimizers["D"].zero_grad()
        for name, D, real, fake in (("A", n.D_A, a, fake_a), ("B", n.D_B, b, fake_b)):
            losses[f"D_{name}"] = d_least_squares(D(real), D(pools[name].query(fake)))
            losses[f"D_{name}"].backward()
        optimizers["D"].step()
        return losses

    return step


def ours(n, optimizers, pools, fast):
    chapter = chapters.load_chapter("cyclegan")
    device = next(n.G_AB.parameters()).device
    dtype = runtime.fast_dtype(device) if fast else torch.float32

    def descend(name, loss):
        parameters = optimizers[name].param_groups[0]["params"]
        loss.backward(inputs=parameters)
        if not torch.nn.utils.clip_grad_norm_(parameters, float("inf")).isfinite():  # as `training.Run` does
            raise FloatingPointError("a gradient is not finite")
        optimizers[name].step()
        optimizers[name].zero_grad(set_to_none=True)
        return loss.detach()

    def autocast():
        return torch.autocast(device.type, dtype) if dtype != torch.float32 else contextlib.nullcontext()

    run = SimpleNamespace(autocast=autocast, descend=descend)

    def step(a, b):
        a, b = (x.contiguous(memory_format=torch.channels_last) for x in (a, b))
        return chapter.step(run, n, pools, a, b, WEIGHTS)

    return step


def arm_of(arm, n, fast=True, frozen=False):
    optimizers = {side: adam(n, side) for side in "GD"}
    pools = {domain: ImagePool(50) for domain in "AB"}
    if arm == "ours":
        return ours(n, optimizers, pools, fast)
    for net in vars(n).values():
        net.to(memory_format=torch.contiguous_format)
    return plain(n, optimizers, pools, frozen)


def difference(options):
    """The largest relative difference of the arms' losses in float32, in a first step and the one after it."""
    n, (a, b) = networks(options), torch.rand(2, 2, 3, options.size, options.size) * 2 - 1
    rows = []
    for arm in ("plain", "ours"):
        step = arm_of(arm, copy.deepcopy(n), fast=False)
        losses = [step(a, b) for _ in range(2)]
        rows.append(torch.stack([each[name].detach() for each in losses for name in sorted(each)]))
    return ((rows[1] - rows[0]).abs() / rows[0].abs()).max().item()


def run_arm(arm, options):
    device = runtime.device()
    n = networks(options)
    for net in vars(n).values():
        net.to(device)
    step, seconds = arm_of(arm, n, frozen=options.frozen), []
    with runtime.measure() as cost:
        for _ in range(-3, options.steps):
            a, b = torch.rand(2, options.batch, 3, options.size, options.size, device=device) * 2 - 1
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            step(a, b)
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    print(json.dumps({"step": statistics.median(seconds[3:]), "peak_bytes": cost.peak_bytes}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, value in OPTIONS:
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--frozen", action="store_true", help="the plain arm freezes D in the generators' step")
    parser.add_argument("--arm", choices=["ours", "plain"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.arm:
        return run_arm(options.arm, options)
    counts = {name: sum(p.numel() for p in net.parameters()) / 1e6 for name, net in vars(networks(options)).items()}
    print(f"{runtime.hardware()}; {options.size} pixels, batch {options.batch}", end="; ")
    print(
        f"G {counts['G_AB']:.2f} M and D {counts['D_B']:.2f} M parameters; losses differ by {difference(options):.1e}"
    )
    done = {"plain": [], "ours": []}
    for _ in range(options.rounds):
        for arm in done:
            command = [sys.executable, __file__, "--arm", arm] + ["--frozen"] * options.frozen
            command += [f"--{name}={getattr(options, name)}" for name, _ in OPTIONS]
            done[arm].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    best = {arm: {key: min(run[key] for run in runs) for key in runs[0]} for arm, runs in done.items()}
    for arm, row in best.items():
        rate = options.batch / row["step"]
        print(
            f"{arm:>6} {row['step']:>7.3f} s a step {rate:>8.1f} pairs a second {row['peak_bytes'] / 2**30:>6.2f} GiB"
        )
    ratio, memory = (best["ours"][key] / best["plain"][key] for key in ("step", "peak_bytes"))
    print(f"ours takes {ratio:.2f} of the time and {memory:.2f} of the memory")


if __name__ == "__main__":
    main()
