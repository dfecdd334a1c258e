"""Against numbers of an independent transcription of the released TensorFlow code of white-box cartoonization.

They lie in `tests/parity/whitebox`; sources in its README. With a trap of other implementations written into the
chapter's text, each must miss these numbers.
"""

import pytest
import torch
from official import BOTH, DOUBLE, Official, near, off
from whitebox_mistakes import chapter_with

from stlib.losses import adversarial

official = Official("whitebox")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def chapter():
    return chapter_with()


# The three looks ------------------------------------------------------------------------------------------------------


def radius_and_eps(exact, part):
    """The fixture keeps (radius, eps) in the order in which its name says them."""
    first, second = exact[f"{part}.r_eps"].tolist()
    return int(first), second


@BOTH
@pytest.mark.parametrize("part", ["p0", "p1", "p2"])
def test_guided_filter(chapter, part, dtype):
    case, exact, tolerance = official.case("guided_filter", dtype, 1e-10, 1e-5)
    radius, eps = radius_and_eps(exact, part)
    tolerance = 1e-4 if dtype != DOUBLE and eps == 0.005 else tolerance
    guide, x = (case[name].requires_grad_() for name in ("guide", "input"))
    found = chapter.guided_filter(guide, x, radius, eps)
    near(found, exact[f"{part}.out"], tolerance, relative=False)
    if part == "p2":
        near(chapter.guided_filter(x, x, radius, eps), exact["p2.self"], tolerance, relative=False)
        near(chapter.surface(x, {"smooth": radius}), exact["p2.self"], tolerance, relative=False)
    if part == "p0":
        gradients = torch.autograd.grad((found * case["probe"]).sum(), (guide, x))
        for name, gradient in zip(("guide", "input"), gradients, strict=True):
            near(gradient, exact[f"p0.grad_{name}"], tolerance, relative=dtype != DOUBLE)


@BOTH
@pytest.mark.parametrize("number", [0, 1])
def test_colour_shift(chapter, number, dtype):
    case, exact, tolerance = official.case("colour_shift", dtype, 1e-14, 1e-6)
    weights = case["weights"][number].flip(0)  # there blue, green, red
    for name in ("generated", "cartoon"):
        near(chapter.texture(case[name], weights), exact[f"t{number}.{name}"], tolerance, relative=False)


def test_ranges_of_the_colour_weights(chapter):
    ranges = official.numbers("colour_shift")["ranges"].flip(0)
    near(torch.tensor([chapter.LOW, chapter.HIGH]).T, ranges, 1e-6)
    torch.manual_seed(0)
    drawn = torch.stack([chapter.colour_weights() for _ in range(500)]).double()
    assert (drawn >= ranges[:, 0] - 1e-6).all() and (drawn <= ranges[:, 1] + 1e-6).all()
    spread = (drawn.amax(dim=0) - drawn.amin(dim=0)) / (ranges[:, 1] - ranges[:, 0])
    assert (spread > 0.95).all()


def test_colours_of_segments(chapter):
    exact = official.numbers("adaptive_colour")
    x, labels = exact["image"][None], exact["labels"][None]
    near(chapter.painted(x, labels)[0], exact["out_rule"], 1e-10, relative=False)
    near(chapter.painted(x, labels, scale=0.0)[0], exact["out_mean"], 1e-10, relative=False)
    shrunk = x / 127.5 - 1  # as the released training feeds them: no deviation reaches 20, and all are means
    near((chapter.painted(shrunk, labels)[0] + 1) * 127.5, exact["out_mean"], 1e-10, relative=False)
    near((chapter.painted(shrunk, labels, scale=127.5)[0] + 1) * 127.5, exact["out_rule"], 1e-10, relative=False)
    deviations = [x[0][:, labels[0] == i].std(correction=0) for i in range(5)]
    near(torch.stack(deviations), exact["std"], 1e-10)


# Losses ---------------------------------------------------------------------------------------------------------------


@BOTH
def test_total_variation_and_what_the_weights_weigh(chapter, dtype):
    case, exact, tolerance = official.case("tv", dtype, 1e-12, 1e-5)
    x = case["x"].requires_grad_()
    again = x[0].numel()  # the released code divides the means a second time
    found = chapter.variation(x) / again
    near(found, exact["tv"], tolerance)
    near(torch.autograd.grad(found, x)[0], exact["grad"], tolerance)
    for size, tv, of_features in zip(
        exact["sizes"].tolist(), exact["effective_tv_weight"], exact["effective_feature_weight"], strict=True
    ):
        near(torch.tensor(chapter.acting(size)).double(), torch.stack([tv, of_features]), 1e-7)


@BOTH
def test_adversarial_terms_and_totals(dtype):
    case, exact, tolerance = official.case("lsgan_total", dtype, 1e-12, 1e-5)
    d, g = {}, {}
    for look in ("surface", "texture"):
        d[look] = adversarial.d_least_squares(case[f"{look}_real"], case[f"{look}_fake"])
        g[look] = adversarial.g_least_squares(case[f"{look}_fake"])
        near(d[look], exact[f"d_{look}"], tolerance)
        near(g[look], exact[f"g_{look}"], tolerance)
    near(d["surface"] + d["texture"], exact["d_total"], tolerance)
    variation, content, structure = case["tv_content_structure"]
    total = 1e4 * variation + 0.1 * g["surface"] + g["texture"] + 200 * (content + structure)
    near(total, exact["g_total"], tolerance)


# Networks -------------------------------------------------------------------------------------------------------------


def convention(chapter, case, kind, dtype):
    layer = chapter.Convolution(3, 4, 3, 2).to(dtype)
    layer.load_state_dict({"weight": case["weight"], "bias": case["bias"]})
    return layer(case[f"{kind}_x"]), chapter.doubled(case[f"{kind}_x"])


@BOTH
@pytest.mark.parametrize("kind", ["even", "odd"])
def test_conventions_of_tensorflow(chapter, kind, dtype):
    case, exact, tolerance = official.case("tf_conventions", dtype, 1e-13, 1e-5)
    halved, doubled = convention(chapter, case, kind, dtype)
    near(halved, exact[f"{kind}_stride2"], tolerance, relative=False)
    near(doubled, exact[f"{kind}_up2"], tolerance, relative=False)


@BOTH
def test_spectral_normalisation(chapter, dtype):
    case, exact, tolerance = official.case("spectral_norm", dtype, 1e-12, 1e-5)
    layer = chapter.SpectralConvolution(4, 5, 3).to(dtype)
    layer.weight.data.copy_(case["weight"])
    layer.u.copy_(case["u"])
    kernel = layer.normalised()
    near(kernel, exact["weight_normalised"], tolerance)
    near(layer.u, exact["u_new"], tolerance)
    near((layer.weight / kernel).mean(), exact["sigma"], tolerance)


def generator(chapter, case, dtype):
    G = chapter.Generator(4, 2).to(dtype)
    weights = [case[f"G.{i:02}"] for i in range(28)]
    for parameter, value in zip(G.parameters(), weights, strict=True):
        assert parameter.shape == value.shape
        parameter.data.copy_(value)
    return G


@BOTH
def test_the_generator_and_its_filtered_output(chapter, dtype):
    case, exact, tolerance = official.case("generator", dtype, 1e-10, 1e-4)
    raw = generator(chapter, case, dtype)(case["x"])
    near(raw, exact["raw"], tolerance, relative=False)
    near(chapter.guided_filter(case["x"], raw, 1, 1e-2), exact["final"], tolerance, relative=False)


# Traps ----------------------------------------------------------------------------------------------------------------

OF_GENERATOR = {
    "padding (1, 1)": ("pads += [total // 2, total - total // 2]", "pads += [(total + 1) // 2, total // 2]"),
    "torch's doubling": (
        'x = functional.interpolate(x, (2 * height + 1, 2 * width + 1), mode="bilinear", align_corners=True)\n'
        "    return x[..., :-1, :-1]",
        'return functional.interpolate(x[..., :-1, :-1], scale_factor=2, mode="bilinear")',
    ),
    "another slope": ("w, leaky = width, nn.LeakyReLU(0.2)", "w, leaky = width, nn.LeakyReLU(0.01)"),
    "rectified sums": ("return x + self.inside(x)", "return functional.leaky_relu(x + self.inside(x), 0.2)"),
    "a tanh at the end": ("return self.last(", "return torch.tanh(self.last("),
    "no skip": ("x1 = self.up1(doubled(x2) + x1)", "x1 = self.up1(doubled(x2))"),
}
OF_FILTER = {
    "zeros count": ("count_include_pad=False", "count_include_pad=True"),
    "one average less": ("return mean(A) * guide + mean(b)", "return A * guide + b"),
    "eps forgotten": ("- mean_g * mean_g + eps)", "- mean_g * mean_g + 1e-6)"),
}
OF_COLOURS = {
    "deviation of the means": ("mean(pixels.square()).mean(dim=1)", "colours.square().mean(dim=1)"),
    "mean and median exchanged": ("(1 + (s < 20).to(x) - (s > 40).to(x))", "(1 - (s < 20).to(x) + (s > 40).to(x))"),
    "no median": ("if (share < 1).any()", "if False"),
}


def fixed(change):
    """The tanh needs a second bracket."""
    old, new = change
    closing = ("self.up2(doubled(x1) + x0))", "self.up2(doubled(x1) + x0)))")
    return [(old + closing[0], new + closing[1])] if "tanh" in new else [change]


@pytest.mark.parametrize("trap", OF_GENERATOR)
def test_traps_of_the_generator_are_noticed(trap):
    case, exact = official.numbers("generator"), official.numbers("generator")
    chapter = chapter_with(*fixed(OF_GENERATOR[trap]))
    assert off(generator(chapter, case, DOUBLE)(case["x"]), exact["raw"], relative=False) > 1e-3


@pytest.mark.parametrize("trap", OF_FILTER)
def test_traps_of_the_filter_are_noticed(trap):
    case = official.numbers("guided_filter")
    radius, eps = radius_and_eps(case, "p0")
    found = chapter_with(OF_FILTER[trap]).guided_filter(case["guide"], case["input"], radius, eps)
    assert off(found, case["p0.out"], relative=False) > 1e-3


@pytest.mark.parametrize("trap", OF_COLOURS)
def test_traps_of_the_colours_are_noticed(trap):
    case = official.numbers("adaptive_colour")
    found = chapter_with(OF_COLOURS[trap]).painted(case["image"][None], case["labels"][None])[0]
    assert off(found, case["out_rule"], relative=False) > 1e-3


def test_blue_for_red_is_noticed(chapter):
    case = official.numbers("colour_shift")
    assert off(chapter.texture(case["generated"], case["weights"][0]), case["t0.generated"], relative=False) > 1e-3


def test_a_second_division_less_is_another_objective(chapter):
    """The printed weights at 64 pixels act 16 times as strongly as at 256."""
    small, large = chapter.acting(64), chapter.acting(256)
    assert small[0] / large[0] == pytest.approx(16) and small[1] / large[1] == pytest.approx(16)


@BOTH
def test_kornia_s_filter_is_another_one(dtype):
    """Why the chapter has its own: at the border, and as soon as three channels are its guide."""
    from kornia.filters import guided_blur

    case = official.numbers("guided_filter", dtype)
    radius, eps = radius_and_eps(official.numbers("guided_filter"), "p0")
    exact = official.numbers("guided_filter")["p0.out"]
    channels = [case[name].flatten(0, 1)[:, None] for name in ("guide", "input")]
    inside = (slice(None), slice(None), slice(2 * radius, -2 * radius), slice(2 * radius, -2 * radius))
    for border in ("reflect", "constant", "replicate"):
        single = guided_blur(*channels, 2 * radius + 1, eps, border).view_as(exact)
        assert off(single[inside], exact[inside], relative=False) < 1e-4 < 1e-3 < off(single, exact, relative=False)
    joint = guided_blur(case["guide"], case["input"], 2 * radius + 1, eps)
    assert off(joint[inside], exact[inside], relative=False) > 1e-3
