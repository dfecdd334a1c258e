"""Against numbers computed with the official implementations (tests/parity/gatys; sources in its README)."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from stlib import backbones, stylize
from stlib.chapters import load_chapter
from stlib.losses import perceptual

FOLDER = Path(__file__).parent / "parity" / "gatys"
STYLE, CONTENT = "relu1_1 relu2_1 relu3_1 relu4_1 relu5_1".split(), "relu4_2"


def numbers(case, dtype=torch.float64):
    return {name: tensor.to(dtype) for name, tensor in load_file(FOLDER / f"{case}.safetensors").items()}


def near(found, expected, tolerance):
    scale = expected.abs().max().clamp_min(1e-300)
    assert ((found - expected).abs().max() / scale).item() <= tolerance


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("layer", ["L0", "L1", "L2"])
def test_gram_and_its_losses(layer, dtype, tolerance):
    case = {name.split(".")[1]: t for name, t in numbers("gram_losses", dtype).items() if name.startswith(layer)}
    exact = {name.split(".")[1]: t for name, t in numbers("gram_losses").items() if name.startswith(layer)}
    features = case["F"].requires_grad_(True)
    channels = features.shape[1]
    for name, divide_by in (("notebook", "hw"), ("nspt", "chw")):
        gram, target = (perceptual.gram_matrix(f, divide_by) for f in (features, case["A"]))
        loss = perceptual.style_loss(gram, target)
        near(gram[0], exact[f"gram_{divide_by}"], tolerance)
        near(loss, exact[f"style_{name}"], tolerance)
        weighted = loss * (1e3 / channels**2 if name == "notebook" else 1)
        gradient = torch.autograd.grad(weighted, features)[0]
        near(gradient, exact["grad_style_notebook_weighted" if name == "notebook" else "grad_style_nspt"], tolerance)
        if name == "notebook":
            near(weighted, exact["style_notebook_weighted"], tolerance)
            near(loss / 4, exact["paper_E"], tolerance)
    loss = perceptual.content_loss(features, case["P"])
    near(loss, exact["content_mean"], tolerance)
    near(loss * features.numel() / 2, exact["content_paper"], tolerance)
    near(torch.autograd.grad(loss, features)[0], exact["grad_content_mean"], tolerance)


@pytest.mark.parametrize("kind, value", [("l1", "l1_loss"), ("l2", "l2_energy")])
def test_total_variation(kind, value):
    case = numbers("tv")
    x = case["x"].requires_grad_(True)
    loss = case["strength"] * perceptual.total_variation(x, kind)
    near(loss, case[value] if kind == "l1" else case[value], 1e-12)
    near(torch.autograd.grad(loss, x)[0], case[f"{kind}_grad"], 1e-12)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_caffe_range(dtype, tolerance):
    exact = numbers("preprocess")
    near(backbones.caffe_range(exact["rgb"].to(dtype)), exact["bgr255"], tolerance)


def narrow_vgg(case):
    """The official VGG-19 with 4, 6, 8, 8, 8 channels and the weights of the fixture."""
    widths, before, modules = {1: 4, 2: 6, 3: 8, 4: 8, 5: 8}, 3, []
    for block, count in enumerate(backbones.VGG_CONVOLUTIONS["vgg19"], 1):
        for _ in range(count):
            modules += [nn.Conv2d(before, widths[block], 3, padding=1), nn.ReLU()]
            before = widths[block]
        modules.append(nn.MaxPool2d(2))
    features = nn.Sequential(*modules).double()
    for parameter, name in zip(features.parameters(), sorted(n for n in case if n.startswith("vgg.")), strict=True):
        parameter.data.copy_(case[name])
    layers = backbones.vgg_layers(features, backbones.VGG_CONVOLUTIONS["vgg19"])
    return backbones.Backbone("narrow", layers, "fixture", mean=(0, 0, 0), std=(1, 1, 1), fast=False).double()


@pytest.mark.parametrize("part", ["nb", "ns"])
@pytest.mark.parametrize("whose", ["package", "chapter"])
def test_twenty_closures_of_lbfgs(part, whose):
    case = numbers("lbfgs")
    network = narrow_vgg(case)
    divide_by, weight, content_weight = ("hw", None, 1) if part == "nb" else ("chw", 100, 5)
    wanted = network(case["content"], [CONTENT])[CONTENT]
    grams = {n: perceptual.gram_matrix(f, divide_by) for n, f in network(case["style"], STYLE).items()}
    parts = []

    def objective(x):
        found = network(x, [*STYLE, CONTENT])
        terms = []
        for name, gram in grams.items():
            factor = weight or 1e3 / found[name].shape[1] ** 2
            terms.append(factor * perceptual.style_loss(perceptual.gram_matrix(found[name], divide_by), gram))
        terms.append(content_weight * perceptual.content_loss(found[CONTENT], wanted))
        if part == "ns":
            terms.append(1e-3 * perceptual.total_variation(x))
        parts.append(torch.stack(terms).detach())
        return sum(terms)

    start = case["content"] if part == "nb" else case["ns.start"]
    probe = start.clone().requires_grad_(True)
    near(torch.autograd.grad(objective(probe), probe)[0][..., ::2, ::2], case[f"{part}.grad_first"], 1e-9)
    parts.clear()
    losses = []
    if whose == "package":
        x = stylize.minimise(objective, start, 20, callback=lambda _, loss: losses.append(loss))
    else:
        x, losses = load_chapter("gatys").minimise(objective, start, 20)
    losses, expected = torch.tensor(losses, dtype=torch.float64), case[f"{part}.losses"]
    assert len(losses) == 20
    assert ((losses - expected).abs() / expected).max() <= 1e-6
    assert ((losses - expected).abs() / expected)[:5].max() <= 1e-9
    torch.testing.assert_close(torch.stack(parts), case[f"{part}.parts"], rtol=1e-5, atol=1e-6)
    assert (x[..., ::2, ::2] - case[f"{part}.image_final"]).abs().max() <= 1e-3
