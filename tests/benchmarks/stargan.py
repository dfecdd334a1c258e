"""Benchmark, not a test: seconds of a training iteration of StarGAN v2 and peak memory, ours against the plain form.

    python tests/benchmarks/stargan.py [--size 64] [--width 16] [--cap 64] [--batch 8] [--steps 12] [--threads 1]

Both arms train the same networks from the same weights on the same random pictures. Ours is the step of the chapter
`stargan`: channels-last, bfloat16 autocast where the machine computes in it, the first half of G once for both codes,
gradients for the networks whose turn it is only. `--lazy 4` gives it R1 every 4th iteration as well, which is another
training; with 1 (the default) both arms compute the same. The plain form is that of the released code: float32,
channels-first, whole passes, all gradients. First the losses of both in float32 are compared. The arms run one after
the other in processes of their own, `--rounds` times in turn; the best of each counts.
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
from torch.nn.functional import softplus

from stlib import chapters, runtime
from stlib.nets import stargan

NUMBERS = {
    "size": 64,
    "width": 16,
    "cap": 64,
    "domains": 3,
    "batch": 8,
    "steps": 12,
    "rounds": 2,
    "threads": 1,
    "lazy": 1,
}


def plan_of(options):
    plan = {"size": options.size, "code": 32, "latent": 16, "hidden": 64, "width": options.width, "cap": options.cap}
    plan |= {"halvings": 1, "critic": (16, 96), "rate": 1e-4, "decay": 1e-4}
    plan |= {"style": 1.0, "diversity": 1.0, "cycle": 1.0}
    return plan | {"fade": 100_000, "r1": 1.0, "r1_every": options.lazy}


def networks(options):
    torch.manual_seed(0)
    n = chapters.load_chapter("stargan").built(plan_of(options), options.domains)
    return SimpleNamespace(**{key: stargan.he_init(net) for key, net in vars(n).items()})


def batch_of(options, device="cpu"):
    x, one, two = torch.rand(3, options.batch, 3, options.size, options.size, device=device) * 2 - 1
    y, target = torch.randint(options.domains, (2, options.batch), device=device)
    return (x, y, (one, two), target), torch.randn(2, options.batch, 16, device=device)


def plain(n, optimizers):
    def descend(names, loss):
        for net in vars(n).values():
            net.zero_grad(set_to_none=True)
        loss.backward()
        for name in names:
            optimizers[name].step()

    def step(batch, z):
        x, y, references, target = batch
        codes = {"noise": lambda i: n.F(z[i], target), "reference": lambda i: n.E(references[i], target)}
        losses = {}
        for kind, code in codes.items():
            real = x.clone().requires_grad_(True)
            logits = n.D(real, y)
            (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
            with torch.no_grad():
                fake = n.G(x, code(0))
            loss = softplus(-logits).mean() + softplus(n.D(fake, target)).mean()
            loss = loss + 0.5 * gradient.square().sum(dim=(1, 2, 3)).mean()
            descend("D", loss)
            losses[f"D, {kind}"] = loss
        for kind, moved in {"noise": "GFE", "reference": "G"}.items():
            s = codes[kind](0)
            fake = n.G(x, s)
            terms = {"adversary": softplus(-n.D(fake, target)).mean(), "style": (n.E(fake, target) - s).abs().mean()}
            terms["diversity"] = (fake - n.G(x, codes[kind](1)).detach()).abs().mean()
            terms["cycle"] = (n.G(fake, n.E(x, y)) - x).abs().mean()
            descend(moved, terms["adversary"] + terms["style"] - terms["diversity"] + terms["cycle"])
            losses |= {f"{name}, {kind}": term for name, term in terms.items()}
        return losses

    return step


def ours(n, optimizers, options, fast):
    chapter, device = chapters.load_chapter("stargan"), next(n.G.parameters()).device
    dtype, plan = runtime.fast_dtype(device) if fast else torch.float32, plan_of(options)
    for net in vars(n).values():
        net.to(memory_format=torch.channels_last)

    def backward(loss, inputs):
        loss.backward(inputs=inputs)

    def update(name):
        optimizers[name].step()
        optimizers[name].zero_grad(set_to_none=True)

    def descend(name, loss):
        loss.backward(inputs=[*getattr(n, name).parameters()])
        update(name)
        return loss.detach()

    def autocast():
        return torch.autocast(device.type, dtype) if dtype != torch.float32 else contextlib.nullcontext()

    run = SimpleNamespace(modules=vars(n), update=update, descend=descend, autocast=autocast, step=-1)
    run.accelerator = SimpleNamespace(backward=backward)

    def step(batch, z):
        run.step += 1
        x, y, references, target = batch
        x, one, two = (each.contiguous(memory_format=torch.channels_last) for each in (x, *references))
        return chapter.step(run, n, (x, y, (one, two), target), z, plan)

    return step


def arm_of(arm, n, options, fast=True):
    optimizers = chapters.load_chapter("stargan").adams(n, plan_of(options))
    return ours(n, optimizers, options, fast) if arm == "ours" else plain(n, optimizers)


def difference(options):
    """The largest relative difference of the arms' losses in float32 in a first iteration, R1 in both."""
    torch.manual_seed(1)
    n, given, rows = networks(options), batch_of(options), []
    for arm in ("plain", "ours"):
        every = argparse.Namespace(**{**vars(options), "lazy": 1})
        losses = arm_of(arm, copy.deepcopy(n), every, fast=False)(*given)
        rows.append(torch.stack([losses[name].detach() for name in sorted(losses)]))
    return ((rows[1] - rows[0]).abs() / rows[0].abs()).max().item()


def run_arm(arm, options):
    device, n, seconds = runtime.device(), networks(options), []
    for net in vars(n).values():
        net.to(device)
    step = arm_of(arm, n, options)
    with runtime.measure() as cost:
        for _ in range(-4, options.steps):
            given = batch_of(options, device)
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            step(*given)
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    print(json.dumps({"step": statistics.mean(seconds[4:]), "peak_bytes": cost.peak_bytes}))  # R1 counts in its share


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, value in NUMBERS.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--arm", choices=["ours", "plain"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.arm:
        return run_arm(options.arm, options)
    told = f"{options.size} pixels, batch {options.batch}; losses differ by {difference(options):.1e}"
    print(f"{runtime.hardware()}; {told}")
    done = {"plain": [], "ours": []}
    for _ in range(options.rounds):
        for arm in done:
            command = [
                sys.executable,
                __file__,
                "--arm",
                arm,
                *(f"--{name}={getattr(options, name)}" for name in NUMBERS),
            ]
            done[arm].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    best = {arm: {key: min(run[key] for run in runs) for key in runs[0]} for arm, runs in done.items()}
    for arm, row in best.items():
        print(f"{arm:>6} {row['step']:>7.3f} s an iteration {row['peak_bytes'] / 2**30:>6.2f} GiB")
    ratio, memory = (best["ours"][key] / best["plain"][key] for key in ("step", "peak_bytes"))
    print(f"ours takes {ratio:.2f} of the time and {memory:.2f} of the memory")


if __name__ == "__main__":
    main()
