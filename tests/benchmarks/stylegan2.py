"""Benchmark, not a test: seconds of a StyleGAN2 training step and peak memory, ours against the plain formulation.

    python tests/benchmarks/stylegan2.py [--size 64] [--width 96] [--batch 16] [--steps 16]

Both arms train the same networks, of the size `--size`, from the same weights on the same random pictures: one step of
D, one of G, R1 (gamma 10) every 16th step from the first on; no path length. Ours is `stlib`: styles scale the maps,
channels-last, bfloat16 autocast where the machine computes in it, made and real pictures in one pass of D, R1 in
float32 with our second derivatives. The plain formulation follows the paper and its public ports with torch's own
functions: float32, channels-first, weights of its own for each picture in grouped convolutions, two passes of D, R1 by
autograd. A table gives both medians of a step without R1, the mean over a round of 16 steps (15 without and one with),
and the peak memory of the whole process, in which both have the same imports. First the float32 losses of both are
compared. The arms run one after the other in processes of their own, `--rounds` times in turn; the best of each counts.
"""

import argparse
import copy
import json
import math
import statistics
import subprocess
import sys
import time

import torch
from torch.nn import functional

from stlib import runtime
from stlib.losses.adversarial import d_logistic, g_logistic, lazy, lazy_adam, r1
from stlib.nets.stylegan2 import Discriminator, Generator

EVERY, STYLE_DIM = 16, 128


def networks(size, width):
    """G and D with about 0.7 million parameters each at 64 pixels and width 96."""
    torch.manual_seed(0)
    channels = {2**i: max(8, width // 2 ** max(0, i - 4)) for i in range(2, int(math.log2(size)) + 1)}
    return Generator(size, STYLE_DIM, 4, channels), Discriminator(size, channels)


# The plain formulation, on the weights of our modules -----------------------------------------------------------------


def filtered(x, kernel, pad, up=1):
    """FIR filter of all channels as one, zeros written out: what the ports do where their CUDA operator is missing."""
    maps = x.reshape(-1, 1, *x.shape[2:])
    if up == 2:
        wide = maps.new_zeros(len(maps), 1, 2 * x.shape[2], 2 * x.shape[3])
        wide[..., ::2, ::2] = maps
        maps = wide
    maps = functional.pad(maps, (*pad, *pad))
    maps = functional.conv2d(maps, kernel.flip(0, 1)[None, None])
    return maps.view(*x.shape[:2], *maps.shape[2:])


def modulated(layer, x, w, demodulate):
    batch, weight = len(x), layer.weight * layer.scale * layer.modulation(w)[:, None, :, None, None]
    if demodulate:
        weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    grouped, (outputs, side) = x.reshape(1, -1, *x.shape[2:]), weight.shape[1::2]
    if layer.blur is None:
        y = functional.conv2d(grouped, weight.flatten(0, 1), padding=side // 2, groups=batch)
        return y.view(batch, outputs, *y.shape[2:])
    weight = weight.transpose(1, 2).flatten(0, 1)
    y = functional.conv_transpose2d(grouped, weight, stride=2, groups=batch)
    return filtered(y.view(batch, outputs, *y.shape[2:]), layer.blur.kernel, layer.blur.pad)


def activated(x, bias):
    return math.sqrt(2) * functional.leaky_relu(x + bias.view(1, -1, 1, 1), 0.2)


def plain_generator(network, z, noise):
    w = network.mapping(z)
    x, rgb = network.input.input.repeat(len(z), 1, 1, 1), None
    for number, layer in enumerate([network.conv1, *network.convs]):
        x = modulated(layer.conv, x, w, True) + layer.noise.weight * noise[number]
        x = activated(x, layer.activate.bias)
        if number % 2 == 0:
            to_rgb = network.to_rgbs[number // 2 - 1] if number else network.to_rgb1
            y = modulated(to_rgb.conv, x, w, False) + to_rgb.bias
            rgb = y if rgb is None else y + filtered(rgb, to_rgb.upsample.kernel, to_rgb.pad, 2)
    return rgb


def plain_discriminator(network, x):
    def conv(layers, x):
        if layers.halve:
            x = filtered(x, layers[0].kernel, layers[0].pad)
        weight = layers[1 if layers.halve else 0]
        y = functional.conv2d(x, weight.weight * weight.scale, stride=weight.stride, padding=weight.padding)
        return activated(y, layers[-1].bias) if layers.activated else y

    x = conv(network.convs[0], x)
    for block in network.convs[1:]:
        x = (conv(block.conv2, conv(block.conv1, x)) + conv(block.skip, x)) / math.sqrt(2)
    grouped = x.view(min(len(x), 4), -1, *x.shape[1:])
    std = (grouped.var(0, correction=0) + 1e-8).sqrt().mean((1, 2, 3)).repeat(len(grouped))
    x = torch.cat([x, std.view(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])], dim=1)
    return network.final_linear(conv(network.final_conv, x).flatten(1))


# The two arms ---------------------------------------------------------------------------------------------------------


def losses_of(arm, G, D):
    """The three losses of an arm: of D, of G, and R1, as functions of (z, noise, real pictures)."""
    if arm == "plain":
        return (
            lambda z, noise, real: d_logistic(
                plain_discriminator(D, real), plain_discriminator(D, plain_generator(G, z, noise).detach())
            ),
            lambda z, noise, real: g_logistic(plain_discriminator(D, plain_generator(G, z, noise))),
            lambda x: (r1((logits := plain_discriminator(D, x)), x), logits),
        )
    dtype = runtime.fast_dtype(G.input.input.device)
    fast = dict(device_type=G.input.input.device.type, dtype=dtype, enabled=arm == "ours" and dtype != torch.float32)

    def of_d(z, noise, real):
        with torch.autocast(**fast):
            with torch.no_grad():
                made = G(z, noise=noise)
            fake, true = D(torch.cat([made, real]), parts=2).chunk(2)
        return d_logistic(true, fake)

    def of_g(z, noise, real):
        with torch.autocast(**fast):
            return g_logistic(D(G(z, noise=noise)))

    return of_d, of_g, lambda x: (r1((logits := D(x)), x), logits)


def train(G, D, losses, options, device):
    """Seconds of each step, without R1 and with, after a round that is not counted."""
    of_d, of_g, of_r1 = losses
    for_g = torch.optim.Adam(G.parameters(), 0.002, betas=(0.0, 0.99))
    for_d = torch.optim.Adam(D.parameters(), **lazy_adam(0.002, EVERY))
    seconds = {False: [], True: []}

    def step(optimizer, network, loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for number in range(-2, options.steps):
        z = torch.randn(2, options.batch, STYLE_DIM, device=device)
        noise, real = G.make_noise(options.batch), torch.randn(options.batch, 3, G.size, G.size, device=device) / 2
        with runtime.measure() if device.type == "cuda" else _clock() as cost:
            D.requires_grad_(True)
            step(for_d, D, of_d(z[0], noise, real))
            with_r1 = number % EVERY == 0 or number == -1
            if with_r1:
                x = real.clone().requires_grad_(True)
                penalty, logits = of_r1(x)
                step(for_d, D, lazy(penalty, 10 / 2, EVERY, logits))
            D.requires_grad_(False)
            step(for_g, G, of_g(z[1], noise, real))
        if number >= 0:
            seconds[with_r1].append(cost.seconds)
    return seconds


class _clock:
    """Seconds of a block; leaves the peak of memory to the whole run."""

    def __enter__(self):
        self.start = time.perf_counter()
        return self

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self.start


def difference(options):
    """The largest relative difference of the arms' losses in float32, R1 and its gradient among them."""
    G, D = networks(options.size, options.width)
    z, noise, real = torch.randn(4, STYLE_DIM), G.make_noise(4), torch.randn(4, 3, G.size, G.size) / 2
    rows = []
    for arm in ("plain", "ours in float32"):
        of_d, of_g, of_r1 = losses_of(arm, G, d := copy.deepcopy(D))
        penalty, _ = of_r1(real.clone().requires_grad_(True))
        penalty.backward()
        size = torch.cat([p.grad.flatten() for p in d.parameters() if p.grad is not None]).norm()
        rows.append(torch.stack([of_d(z, noise, real), of_g(z, noise, real), penalty, size]))
    return ((rows[1] - rows[0]).abs() / rows[0].abs()).max().item()


def run_arm(arm, options):
    device = runtime.device()
    G, D = (network.to(device) for network in networks(options.size, options.width))
    with runtime.measure() as cost:
        seconds = train(G, D, losses_of(arm, G, D), options, device)
    plain, with_r1 = (statistics.median(seconds[key]) for key in (False, True))
    mean = ((EVERY - 1) * plain + with_r1) / EVERY
    print(json.dumps({"step": plain, "with_r1": with_r1, "mean": mean, "peak_bytes": cost.peak_bytes}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, value in (("size", 64), ("width", 96), ("batch", 16), ("steps", 16), ("rounds", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--arm", choices=["ours", "plain"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps < 2 or options.batch > 4 and options.batch % 4:
        parser.error("the plain formulation needs a batch that 4 divides, and a mean at least 2 steps")
    if options.arm:
        return run_arm(options.arm, options)
    counts = [sum(p.numel() for p in network.parameters()) / 1e6 for network in networks(options.size, options.width)]
    print(f"{runtime.hardware()}; {options.size} pixels, batch {options.batch}", end="; ")
    print(f"G {counts[0]:.2f} M and D {counts[1]:.2f} M parameters; losses differ by {difference(options):.1e}")
    done = {"plain": [], "ours": []}
    for _ in range(options.rounds):
        for arm in done:
            command = [sys.executable, __file__, "--arm", arm]
            command += [f"--{name}={getattr(options, name)}" for name in ("size", "width", "batch", "steps")]
            done[arm].append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    best = {arm: {key: min(run[key] for run in runs) for key in runs[0]} for arm, runs in done.items()}
    print(f"{'':>6} {'step':>9} {'with R1':>9} {'mean':>9} {'pictures a second':>18} {'memory':>9}")
    for arm, row in best.items():
        times = " ".join(f"{row[key]:>7.3f} s" for key in ("step", "with_r1", "mean"))
        print(f"{arm:>6} {times} {options.batch / row['mean']:>18.1f} {row['peak_bytes'] / 2**30:>5.2f} GiB")
    ratio, memory = (best["ours"][key] / best["plain"][key] for key in ("mean", "peak_bytes"))
    print(f"ours takes {ratio:.2f} of the time and {memory:.2f} of the memory")


if __name__ == "__main__":
    main()
