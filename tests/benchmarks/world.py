"""Pictures of the parametric world a second: each style and family, on one thread, on all, on a GPU if there is one.

    python tests/benchmarks/world.py [--size 64] [--count 256] [--rounds 3]

A number is the best of some rounds of `stlib.world.render` on `--count` contents, after one round to warm up; a shorter
round on one thread, where a picture costs the same. Each setting of the threads runs in a process of its own, since a
process keeps what its first render found.
"""

import argparse
import json
import subprocess
import sys
import time

import torch

from stlib import runtime, world


def rate(family, style, size, count, rounds, device):
    """Pictures a second, best of `rounds`."""
    contents = world.sample(family, range(count), device=device)
    world.render(contents[:32], style, size)
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        world.render(contents, style, size)
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return count / best


def run_arm(arm, options):
    """Measure all styles on "one" thread, on "all" threads or on a "gpu"; print the rates as JSON."""
    count = options.count
    if arm == "one":
        torch.set_num_threads(1)
        count = max(16, count // 8)
    device = "cuda" if arm == "gpu" else "cpu"
    settings = options.size, count, options.rounds, device
    rates = {f"{f} {s}": rate(f, s, *settings) for f in world.FAMILIES for s in world.STYLES}
    print(json.dumps({"threads": torch.get_num_threads(), "rates": rates}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arm", choices=["one", "all", "gpu"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        return run_arm(options.arm, options)
    arms, done = ["one", "all", *(["gpu"] if torch.cuda.is_available() else [])], {}
    for arm in arms:
        command = [sys.executable, __file__, "--arm", arm]
        command += [f"--{name}={getattr(options, name)}" for name in ("size", "count", "rounds")]
        done[arm] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"{runtime.hardware()}; pictures of {options.size} pixels a second")
    heads = {"one": "1 thread", "all": f"{done['all']['threads']} threads", "gpu": "GPU"}
    print(f"{'':20}" + "".join(f"{heads[arm]:>11}" for arm in arms))
    for name in done["one"]["rates"]:
        print(f"{name:20}" + "".join(f"{done[arm]['rates'][name]:>11.0f}" for arm in arms))


if __name__ == "__main__":
    main()
