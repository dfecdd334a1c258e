"""Benchmark, not a test: seconds of a training step of CUT and peak memory, ours against the plain formulation.

    python tests/benchmarks/cut.py [--fast] [--size 64] [--width 24] [--blocks 4] [--batch 1] [--steps 30] [--threads 1]

Both arms train the same networks from the same weights on the same random pictures; `--fast` takes the recipe of
FastCUT with nothing mirrored. Ours is the step of the chapter `cut`: channels-last, bfloat16 autocast where the machine
computes in it, one pass of G for a picture and its identity that gives the keys as well, real and made pictures in one
pass of D, gradients for the side whose turn it is only. The plain formulation is that of the released code, in float32
and channels-first: the keys are computed in a pass of their own, each term by itself, and D's parameters are frozen
while G learns. First the losses of both in float32 are compared. The arms run one after the other in processes of their
own, `--rounds` times in turn; the best of each counts.
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
from stlib.losses.adversarial import g_least_squares
from stlib.losses.contrastive import patch_nce
from stlib.nets.patch_sampler import draw_positions

NUMBERS = {"size": 64, "width": 24, "blocks": 4, "critic": 48, "batch": 1, "steps": 30, "rounds": 2, "threads": 1}


def plan_of(options):
    plan = {"width": options.width, "blocks": options.blocks, "critic": options.critic, "layers": 2, "projected": 256}
    return plan | {"picked": (0, 1, 2, 3, 4), "patches": 256, "temperature": 0.07, "negatives": "picture"}


def rule_of(options):
    return {"contrast": 10.0 if options.fast else 1.0, "identity": not options.fast, "mirror": False}


def networks(options):
    torch.manual_seed(0)
    return chapters.load_chapter("cut").networks(plan_of(options))


def adam(n):
    sides = {"G": [*n.G.parameters(), *n.F.parameters()], "D": [*n.D.parameters()]}
    return {side: torch.optim.Adam(weights, 2e-4, (0.5, 0.999)) for side, weights in sides.items()}


def plain(n, optimizers, plan, rule):
    def nce(source, made):
        queries = n.G.features(made, n.G.taps)
        keys = n.G.features(source, n.G.taps)
        positions = draw_positions(keys, plan["patches"])
        k, q = n.F(keys, positions), n.F(queries, positions)
        return sum(patch_nce(x, y) for x, y in zip(q, k, strict=True)) / len(q)

    def step(a, b):
        made = n.G(torch.cat([a, b]) if rule["identity"] else a)
        fake = made[: len(a)]
        optimizers["D"].zero_grad()
        losses = {"D": 0.5 * ((n.D(b) - 1).square().mean() + n.D(fake.detach()).square().mean())}
        losses["D"].backward()
        optimizers["D"].step()
        n.D.requires_grad_(False)
        optimizers["G"].zero_grad()
        losses["GAN"] = g_least_squares(n.D(fake))
        share = rule["contrast"] / (1 + rule["identity"])
        losses["NCE"] = share * nce(a, fake)
        if rule["identity"]:
            losses["NCE_identity"] = share * nce(b, made[len(a) :])
        sum(loss for name, loss in losses.items() if name != "D").backward()
        optimizers["G"].step()
        n.D.requires_grad_(True)
        return losses

    return step


def ours(n, optimizers, plan, rule, fast):
    chapter, device = chapters.load_chapter("cut"), next(n.G.parameters()).device
    dtype = runtime.fast_dtype(device) if fast else torch.float32

    def descend(name, loss):
        loss.backward(inputs=optimizers[name].param_groups[0]["params"])
        optimizers[name].step()
        optimizers[name].zero_grad(set_to_none=True)
        return loss.detach()

    def autocast():
        return torch.autocast(device.type, dtype) if dtype != torch.float32 else contextlib.nullcontext()

    run = SimpleNamespace(autocast=autocast, descend=descend)

    def step(a, b):
        a, b = (x.contiguous(memory_format=torch.channels_last) for x in (a, b))
        return chapter.step(run, n, a, b, plan, rule)

    return step


def arm_of(arm, n, options, fast=True):
    plan, rule, optimizers = plan_of(options), rule_of(options), adam(n)
    if arm == "ours":
        return ours(n, optimizers, plan, rule, fast)
    for net in vars(n).values():
        net.to(memory_format=torch.contiguous_format)
    return plain(n, optimizers, plan, rule)


def difference(options):
    """The largest relative difference of the arms' losses in float32, in a first step and the one after it."""
    n, (a, b) = networks(options), torch.rand(2, options.batch, 3, options.size, options.size) * 2 - 1
    rows = []
    for arm in ("plain", "ours"):
        step, losses = arm_of(arm, copy.deepcopy(n), options, fast=False), []
        for seed in range(2):
            torch.manual_seed(seed)  # the same positions
            losses.append(step(a, b))
        rows.append(torch.stack([each[name].detach() for each in losses for name in sorted(each)]))
    return ((rows[1] - rows[0]).abs() / rows[0].abs()).max().item()


def run_arm(arm, options):
    device, n, seconds = runtime.device(), networks(options), []
    for net in vars(n).values():
        net.to(device)
    step = arm_of(arm, n, options)
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
    for name, value in NUMBERS.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--fast", action="store_true", help="the recipe of FastCUT")
    parser.add_argument("--arm", choices=["ours", "plain"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.arm:
        return run_arm(options.arm, options)
    recipe = "FastCUT" if options.fast else "CUT"
    told = f"{recipe}, {options.size} pixels, batch {options.batch}; losses differ by {difference(options):.1e}"
    print(f"{runtime.hardware()}; {told}")
    done = {"plain": [], "ours": []}
    for _ in range(options.rounds):
        for arm in done:
            command = [sys.executable, __file__, "--arm", arm] + ["--fast"] * options.fast
            command += [f"--{name}={getattr(options, name)}" for name in NUMBERS]
            done[arm].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    best = {arm: {key: min(run[key] for run in runs) for key in runs[0]} for arm, runs in done.items()}
    for arm, row in best.items():
        print(f"{arm:>6} {row['step']:>7.3f} s a step {row['peak_bytes'] / 2**30:>6.2f} GiB")
    ratio, memory = (best["ours"][key] / best["plain"][key] for key in ("step", "peak_bytes"))
    print(f"ours takes {ratio:.2f} of the time and {memory:.2f} of the memory")


if __name__ == "__main__":
    main()
