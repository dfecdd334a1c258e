"""Against numbers computed with the official implementation (tests/parity/stylegan2; sources in its README)."""

import json

import pytest
import torch
from official import BOTH, DOUBLE, Official, near

from stlib.losses import adversarial
from stlib.nets import stylegan2
from stlib.nets.convolutions import fir_kernel, resample

official = Official("stylegan2")
pytestmark = pytest.mark.usefixtures("one_thread")


def with_weights(network, case, prefix):
    """`network` with all the weights and buffers PREFIX/key of a case."""
    state = {name.split("/", 1)[1]: t for name, t in case.items() if name.startswith(prefix + "/")}
    network = network.to(next(iter(state.values())).dtype)
    network.load_state_dict(state)
    return network


def gradients(output, named, names):
    return dict(zip(names, torch.autograd.grad(output, [named[name] for name in names]), strict=True))


# Names and shapes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [64, 256, 1024])
def test_keys_shapes_and_counts_of_the_public_checkpoints(size):
    expected = json.loads((official.folder / f"state_dict_{size}.json").read_text())
    with torch.device("meta"):
        networks = {"generator": stylegan2.Generator(size), "discriminator": stylegan2.Discriminator(size)}
    for name, network in networks.items():
        found = {key: list(tensor.shape) for key, tensor in network.state_dict().items()}
        assert list(found.items()) == list(expected[name].items())  # in the official order, too
        assert [key for key, _ in network.named_buffers() if key in found] == expected[f"{name}_buffers"]
        assert sum(p.numel() for p in network.parameters()) == expected[f"{name}_parameters"]
    assert networks["generator"].n_latent == expected["n_latent"]
    pictures = networks["generator"](torch.zeros(5, 512, device="meta"))
    assert pictures.shape == (5, 3, size, size) and networks["discriminator"](pictures).shape == (5, 1)


@pytest.mark.parametrize("size", [8, 16, 32, 64, 128, 256, 512, 1024])
def test_which_latent_drives_which_layer(size):
    case = official.numbers("latent_index_map")
    network = stylegan2.Generator(size, 4, 1, {2**i: 1 for i in range(2, 11)}).eval()
    _, n_latent, layers = next(row.tolist() for row in case["n_latent"] if row[0] == size)
    assert (network.n_latent, len(network.noise_sizes())) == (n_latent, layers)
    assert network.noise_sizes() == case[f"side.{size}"].tolist()
    codes, seen = torch.arange(float(n_latent))[None, :, None].expand(1, -1, 4), {}
    hooks = [(name, m) for name, m in network.named_modules() if name.endswith(".modulation")]
    for name, module in hooks:
        module.register_forward_pre_hook(lambda _, inputs, name=name: seen.update({name: int(inputs[0][0, 0])}))
    if size > 256:  # as far as the layers go, only narrower; the pictures would take seconds
        network.input.input.data = network.input.input.data[..., :1, :1]
        network.noise_sizes = lambda: case[f"side.{size}"].div(4, rounding_mode="floor").tolist()
    with torch.no_grad():
        network(w=codes, noise="none")
    convs = ["conv1", *(f"convs.{i}" for i in range(layers - 1))]
    colours = ["to_rgb1", *(f"to_rgbs.{i}" for i in range(layers // 2))]
    assert [seen[f"{name}.conv.modulation"] for name in convs] == case[f"conv.{size}"].tolist()
    assert [seen[f"{name}.conv.modulation"] for name in colours] == case[f"rgb.{size}"].tolist()


# Layers ---------------------------------------------------------------------------------------------------------------


@BOTH
def test_mapping(dtype):
    case, exact, tolerance = official.case("mapping", dtype, 1e-12, 1e-5)
    network = stylegan2.Generator(8, 16, 8, {4: 1, 8: 1}).to(dtype)
    weights = {name[len("M/style.") :]: t for name, t in case.items() if name.startswith("M/")}
    network.style.load_state_dict(weights)
    z = case["z"].requires_grad_(True)
    w = network.mapping(z)
    near(network.style[0](z), exact["pixel_norm"], tolerance)
    near(w, exact["w"], tolerance)
    near(torch.autograd.grad((w * case["probe"]).sum(), z)[0], exact["grad_z"], tolerance)
    near(
        with_weights(stylegan2.EqualLinear(16, 7, bias=1), case, "A")(exact["w"].to(dtype)), exact["affine"], tolerance
    )
    near(w.mean(dim=0, keepdim=True), exact["mean_latent"], tolerance)
    near(network.truncate(w, 0.7, case["wbar"]), exact["truncated"], tolerance)


@BOTH
@pytest.mark.parametrize("taps", ["sym", "asym"])
def test_fir_filters(taps, dtype):
    case, exact, tolerance = official.case("fir", dtype, 1e-14, 1e-6)
    x = case["x"].requires_grad_(True)
    kernel = fir_kernel(case[f"{taps}.taps"].tolist()).to(dtype)
    near(kernel, exact[f"{taps}.kernel"], tolerance)
    upsampled = resample(x, 4 * kernel, up=2, pad=(2, 1))
    near(upsampled, exact[f"{taps}.upsample"], tolerance)
    gradient = torch.autograd.grad((upsampled * case[f"{taps}.probe"]).sum(), x)[0]
    near(gradient, exact[f"{taps}.upsample_grad"], tolerance)
    near(resample(x, kernel, down=2, pad=(1, 1)), exact[f"{taps}.downsample"], tolerance)
    near(resample(x, 4 * kernel, pad=(1, 1)), exact[f"{taps}.blur_up"], tolerance)
    near(resample(x, kernel, pad=(2, 2)), exact[f"{taps}.blur_down3"], tolerance)
    near(resample(x, kernel, pad=(1, 1)), exact[f"{taps}.blur_down1"], tolerance)


@BOTH
def test_fir_filter_of_any_shape(dtype):
    case = official.numbers("fir", dtype)
    found = resample(case["x"], case["general.kernel"], up=(2, 3), down=(3, 2), pad=((-1, 3), (2, -1)))
    near(found, official.numbers("fir")["general.out"], 1e-14 if dtype == DOUBLE else 1e-6)


@BOTH
@pytest.mark.parametrize("name", ["conv3", "conv3_nodemod", "conv1_nodemod", "up", "up_asym"])
def test_modulated_convolution(name, dtype):
    case, exact = official.numbers("modulated_conv", dtype), official.numbers("modulated_conv")
    layer = stylegan2.ModulatedConv(5, 4, 1 if name.startswith("conv1") else 3, 6, upsample=name.startswith("up"))
    layer = with_weights(layer, case, name)
    inputs = {"x": case["x"].requires_grad_(True), "latent": case["latent"].requires_grad_(True)}
    y, factors = layer(inputs["x"], inputs["latent"])
    y = y if name.endswith("nodemod") else y * factors[..., None, None]
    tolerance = 1e-12 if dtype == DOUBLE else 2e-5
    near(y, exact[f"{name}.out"], tolerance)
    names = ("x", "latent", "weight", "modulation.weight")
    found = gradients((y * case[f"{name}.probe"]).sum(), {**inputs, **dict(layer.named_parameters())}, names)
    for of, gradient in found.items():
        near(gradient, exact[f"{name}.grad.{of}"], tolerance)


@BOTH
@pytest.mark.parametrize("batch", [8, 12, 4, 2, 1])
def test_minibatch_std(batch, dtype):
    case, exact = official.numbers("minibatch_std", dtype), official.numbers("minibatch_std")
    x = case[f"b{batch}.x"].requires_grad_(True)
    std = stylegan2.minibatch_std(x)
    near(std, exact[f"b{batch}.std"], 1e-13 if dtype == DOUBLE else 1e-5)
    if batch > 1:
        gradient = torch.autograd.grad((std * case[f"b{batch}.probe"]).sum(), x)[0]
        near(gradient, exact[f"b{batch}.grad"], 1e-13 if dtype == DOUBLE else 1e-4)


# Networks -------------------------------------------------------------------------------------------------------------


def generator_16(case):
    return with_weights(stylegan2.Generator(16, 16, 3, {4: 12, 8: 10, 16: 8}), case, "G")


@BOTH
def test_pictures_of_the_generator(dtype):
    case, exact, tolerance = official.case("generator", dtype, 1e-11, 2e-5)
    network = generator_16(case)
    z, z2, w, mean = (case[name] for name in ("z", "z2", "w", "wbar"))
    maps = [case[f"noise.{j}"] for j in range(5)]
    near(network.mapping(z), exact["w_of_z"], tolerance)
    near(network(z, noise="fixed"), exact["from_z"], tolerance)
    near(network(w=case["wplus"], noise="fixed"), exact["from_wplus"], tolerance)
    every_second = {
        "from_w": network(w=w, noise="fixed"),
        "truncated": network(z, truncation=0.7, mean=mean, noise="fixed"),
        "mixed": network(z, mix=(z2, 3), noise="fixed"),
        "mixed_truncated": network(z, mix=(z2, 3), truncation=0.7, mean=mean, noise="fixed"),
        "own_noise": network(w=w, noise=maps),
        "no_noise": network(w=w, noise="none"),
    }
    for name, picture in every_second.items():
        near(picture[..., ::2, ::2], exact[name], tolerance)
    near(network(w=w, noise=[torch.zeros_like(m) for m in maps])[..., ::2, ::2], exact["no_noise"], tolerance)


@BOTH
def test_maps_and_gradients_of_the_generator(dtype):
    case, exact, tolerance = official.case("generator", dtype, 1e-11, 2e-5)
    network, wplus = generator_16(case), case["wplus"].requires_grad_(True)
    for number, found in enumerate(network.activations(wplus)):
        near(found[..., ::2, ::2] if number > 2 else found, exact[f"act.{number}"], tolerance)
    features = network.features(wplus)
    assert list(features) == [4, 8, 16]
    for resolution, number in ((4, 0), (8, 2), (16, 4)):
        found = features[resolution]
        near(found[..., ::2, ::2] if number > 2 else found, exact[f"act.{number}"], tolerance)
    colours = [rgb for _, rgb in network._steps(wplus, "fixed") if rgb is not None]
    near(colours[0], exact["rgb.0"], tolerance)
    near(colours[1], exact["rgb.1"], tolerance)
    for tolerance_of_gradients, output, named, of in (
        (tolerance * 50, network(w=wplus, noise="fixed"), {"wplus": wplus}, "wplus"),
        (tolerance * 50, network(case["z"].requires_grad_(True), noise="fixed"), {"z": case["z"]}, "z"),
    ):
        named = {**named, **dict(network.named_parameters())}
        wanted = [
            n[5:] for n in exact if n.startswith("grad.") and (n in ("grad.z", "grad.style.1.weight")) == (of == "z")
        ]
        for name, gradient in gradients((output * case["probe"]).sum(), named, wanted).items():
            near(gradient, exact[f"grad.{name}"], 1e-11 if dtype == DOUBLE else tolerance_of_gradients)


@BOTH
def test_discriminator(dtype):
    case, exact, tolerance = official.case("discriminator", dtype, 1e-11, 1e-5)
    network = with_weights(stylegan2.Discriminator(16, {4: 10, 8: 8, 16: 6}), case, "D")
    x = case["x"].requires_grad_(True)
    logits = network(x)
    near(logits, exact["logits"], tolerance)
    near(network(x[:4]), exact["logits_first4"], tolerance)
    near(network(x[:2]), exact["logits_first2"], tolerance)
    maps = network.features(x)
    assert list(maps) == [16, 8, 4]
    for name, found in (("block.0", maps[16][:1, :, ::2, ::2]), ("block.1", maps[8][:1]), ("block.2", maps[4][:1])):
        near(found, exact[name], tolerance)
    wanted = [name[5:] for name in exact if name.startswith("grad.")]
    found = gradients((logits * case["probe"]).sum(), {"x": x, **dict(network.named_parameters())}, wanted)
    found["x"] = found["x"][:2]
    for name, gradient in found.items():
        near(gradient, exact[f"grad.{name}"], 1e-11 if dtype == DOUBLE else 1e-3)


# Losses and training --------------------------------------------------------------------------------------------------


@BOTH
def test_logistic_losses(dtype):
    case, exact, tolerance = official.case("logistic_losses", dtype, 1e-8, 1e-6)
    real, fake = case["real"].requires_grad_(True), case["fake"].requires_grad_(True)
    d_loss, g_loss = adversarial.d_logistic(real, fake), adversarial.g_logistic(fake)
    near(d_loss, exact["d_loss"], tolerance)
    near(g_loss, exact["g_loss"], tolerance)
    found = (*torch.autograd.grad(d_loss, (real, fake)), *torch.autograd.grad(g_loss, fake))
    for gradient, name in zip(found, ("d_grad_real", "d_grad_fake", "g_grad_fake"), strict=True):
        near(gradient, exact[name], tolerance, relative=False)


def networks_8(case, dim, layers, widths):
    return (
        with_weights(stylegan2.Generator(8, dim, layers, widths), case, "G"),
        with_weights(stylegan2.Discriminator(8, widths), case, "D"),
    )


@BOTH
def test_r1(dtype):
    case, exact, tolerance = official.case("r1_path_length", dtype, 1e-9, 1e-3)
    _, network = networks_8(case, 8, 2, {4: 7, 8: 6})
    x = case["r1.x"].requires_grad_(True)
    logits = network(x)
    penalty = adversarial.r1(logits, x)
    near(torch.autograd.grad(logits.sum(), x, retain_graph=True)[0][:1], exact["r1.grad_x"], tolerance)
    near(penalty, exact["r1.penalty"], tolerance)
    weighted = adversarial.lazy(penalty, 10 / 2, 16, logits)
    near(weighted, exact["r1.weighted"], tolerance)
    wanted = [name[8:] for name in exact if name.startswith("r1.grad.")]
    for name, gradient in gradients(weighted, dict(network.named_parameters()), wanted).items():
        near(gradient, exact[f"r1.grad.{name}"], tolerance)


@BOTH
@pytest.mark.parametrize("part", ["path0", "path1"])
def test_path_length(part, dtype):
    case, exact, tolerance = official.case("r1_path_length", dtype, 1e-9, 1e-3)
    network, _ = networks_8(case, 8, 2, {4: 7, 8: 6})
    w = network.mix(network.mapping(case["path.z"]), network.mapping(case["path.z2"]), 2)
    pictures = network(w=w, noise="fixed")
    before = case["path1.a_old"] if part == "path1" else 0.0
    penalty, mean, lengths = adversarial.path_length(pictures, w, before, case["path.y"])
    near(lengths, exact[f"{part}.lengths"], tolerance)
    near(mean, exact[f"{part}.a_new"], tolerance)
    near(penalty, exact[f"{part}.penalty"], tolerance)
    assert not mean.requires_grad
    weighted = adversarial.lazy(penalty, 2, 4, pictures)
    near(weighted, exact[f"{part}.weighted"], tolerance)
    weighted.backward()
    named = dict(network.named_parameters())
    for name in [name for name in exact if name.startswith(f"{part}.grad.")]:
        near(named[name[len(part) + 6 :]].grad, exact[name], tolerance)
    for name in ("to_rgb1.bias", "to_rgbs.0.bias"):  # not reached by the penalty: a gradient of zero, and not none
        assert named[name].grad.abs().max() == 0
    if part == "path0":
        detached, found = exact["path0.grad_detached.conv1.conv.weight"], named["conv1.conv.weight"].grad
        assert (found - detached).abs().max() > 3 * tolerance * detached.abs().max()


@BOTH
def test_adam_with_the_lazy_correction(dtype):
    case, exact = official.numbers("lazy_adam", dtype), official.numbers("lazy_adam")
    for lr, n, _, corrected, beta1, beta2 in exact["settings"].tolist():
        found = adversarial.lazy_adam(lr, round(n)) if n else {"lr": lr, "betas": (0.0, 0.99)}
        assert found["lr"] == pytest.approx(corrected, rel=1e-14)
        assert found["betas"] == pytest.approx((beta1, beta2), rel=1e-14)
    lr, n = exact["settings"][0, :2].tolist()
    parameter = torch.nn.Parameter(case["p0"].clone())
    optimizer = torch.optim.Adam([parameter], **adversarial.lazy_adam(lr, round(n)))
    for gradient, expected in zip(case["grads"], exact["steps"], strict=True):
        parameter.grad = gradient.clone()
        optimizer.step()
        near(parameter.detach(), expected, 1e-12 if dtype == DOUBLE else 1e-6)


@BOTH
def test_three_training_iterations(dtype):
    """The order of the steps, and that everything above works together: losses, optimiser and weights after it all."""
    case, exact = official.numbers("train_iterations", dtype), official.numbers("train_iterations")
    of_losses, of_weights = (1e-9, 1e-9) if dtype == DOUBLE else (1e-4, 1e-3)
    G, D = networks_8(case, 8, 2, {4: 6, 8: 5})
    averaged, every, beta = networks_8(case, 8, 2, {4: 6, 8: 5})[0].requires_grad_(False), 2, 0.5 ** (32 / 10000)
    for_g = torch.optim.Adam(G.parameters(), **adversarial.lazy_adam(0.002, every))
    for_d = torch.optim.Adam(D.parameters(), **adversarial.lazy_adam(0.002, every))
    forward, mean, rows = 0, 0.0, {name: [] for name in ("loss_d", "loss_g", "r1", "path", "a", "lengths")}

    def made():
        nonlocal forward
        w, at = G.mapping(case[f"z.{forward}.0"]), int(case["inject"][forward])
        w = G.expand(w) if at < 0 else G.mix(w, G.mapping(case[f"z.{forward}.1"]), at)
        maps, forward = [case[f"noise.{forward}.{j}"] for j in range(3)], forward + 1
        return G(w=w, noise=maps), w

    def step(optimizer, loss):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    for i in range(3):
        real = case[f"real.{i}"]
        fake = made()[0].detach()
        logits = D(torch.cat([fake, real]), parts=2)  # one pass, the same as two
        loss = adversarial.d_logistic(logits[4:], logits[:4])
        rows["loss_d"].append(loss.detach())
        step(for_d, loss)
        if i % every == 0:
            x = real.clone().requires_grad_(True)
            logits = D(x)
            penalty = adversarial.r1(logits, x)
            rows["r1"].append(penalty.detach())
            step(for_d, adversarial.lazy(penalty, 10 / 2, every, logits))
        loss = adversarial.g_logistic(D(made()[0]))
        rows["loss_g"].append(loss.detach())
        step(for_g, loss)
        if i % every == 0:
            pictures, w = made()
            penalty, mean, lengths = adversarial.path_length(pictures, w, mean, case[f"y.{i // every}"])
            for name, value in (("path", penalty), ("a", mean), ("lengths", lengths)):
                rows[name].append(value.detach())
            step(for_g, adversarial.lazy(penalty, 2, every, pictures))
        for average, parameter in zip(averaged.parameters(), G.parameters(), strict=True):
            average.lerp_(parameter.detach(), 1 - beta)
    for name, values in rows.items():
        near(torch.stack(values), exact[name], of_losses)
    for prefix, network in (("G", G), ("D", D), ("ema", averaged)):
        for name, parameter in network.named_parameters():
            near(parameter.detach(), exact[f"after.{prefix}.{name}"], of_weights)
