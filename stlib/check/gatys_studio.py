"""Checks of the exercises in `1_optimization/gatys_studio`."""

import torch

from stlib.check import Wrong, exercise, expect_tensor, kind


def _double(*shape, seed):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@exercise("a call costs its pixels, so the three small scales together cost less than the last one.")
def equal_cost(answer):
    """Closure calls at the last size that cost as many pixels as `calls[k]` calls at `sizes[k]` pixels."""
    for sizes, calls in (([128, 256, 512], [60, 60, 30]), ([100, 300], [90, 10]), ([64], [7])):
        result = float(answer(list(sizes), list(calls)))
        shares = [size / sizes[-1] for size in sizes]
        right = sum(n * share**2 for n, share in zip(calls, shares, strict=True))
        if abs(result - right) < 1e-6 * right:
            continue
        if abs(result - round(right)) < 1e-6 or abs(result - int(right)) < 1e-6:
            raise Wrong(f"you rounded: {right:.4g} calls are asked for, not {result:.4g}.")
        for wrong, saying in (
            (
                sum(n * s for n, s in zip(calls, shares, strict=True)),
                "you took the sides; a call costs what its area costs",
            ),
            (sum(calls), "you counted every call alike: a call on a small canvas is cheaper"),
            (right - calls[-1], "you forgot the calls at the last size itself"),
            (
                sum(n / s**2 for n, s in zip(calls, shares, strict=True)),
                "your ratio is upside down: small canvases are cheap",
            ),
            (right * (sizes[-1] / sizes[0]) ** 2, "you counted in calls at the *first* size; the last is asked for"),
        ):
            if abs(result - wrong) < 1e-6 * max(1, abs(wrong)):
                raise Wrong(f"{saying} (for sizes {sizes} and calls {calls} you gave {result:.4g}).")
        raise Wrong(f"for sizes {sizes} and calls {calls} you gave {result:.4g}; compare the numbers of pixels.")


@exercise("each channel has the target's mean and deviation. On features, this is AdaIN.")
def channel_match(answer):
    """`picture` (1, 3, H, W) with the mean and standard deviation that `target` has in each channel."""
    picture, target = _double(1, 3, 6, 8, seed=3), 2 * _double(1, 3, 5, 4, seed=4) + 1
    picture[:, 1] = 0.6 * picture[:, 0] + 0.2 * picture[:, 1]  # correlated channels tell this from CORAL
    before = picture.clone()
    result = answer(picture, target)
    if torch.is_tensor(result) and result.shape == target.shape:
        raise Wrong(
            "your result has the size of the target: `picture` is recoloured, `target` only gives its statistics."
        )
    expect_tensor(result, picture.shape)
    if not torch.equal(picture, before):
        raise Wrong("your function changed its input: make a new tensor.")
    old, new, wanted = (torch.stack([p.mean(dim=(0, 2, 3)), p.std(dim=(0, 2, 3))]) for p in (picture, result, target))
    if torch.allclose(result, picture):
        raise Wrong("nothing changed: you returned the picture as it was.")
    if result.min() >= 0 and result.max() <= 1:
        raise Wrong("you clamped: leave values beyond [0, 1] as they are, or the statistics are off again.")
    centred = [(p - p.mean(dim=(2, 3), keepdim=True)).flatten(2)[0] for p in (picture, result)]
    changed = [c @ c.T / (c.norm(dim=1)[:, None] * c.norm(dim=1)) for c in centred]
    if not torch.allclose(changed[0], changed[1], atol=1e-6):
        raise Wrong("the channels' correlations changed: treat each channel alone (this is less than CORAL does).")
    same = torch.allclose(new, wanted, rtol=0.02)
    if same:
        return
    if torch.allclose(new[1], wanted[1], rtol=0.02):
        raise Wrong("the deviations are right, the means are not: subtract the picture's, add the target's.")
    if torch.allclose(new[0], wanted[0]) and torch.allclose(new[1], old[1]):
        raise Wrong("only the means were moved: scale by the ratio of the standard deviations, too.")
    ratio = wanted[1] / old[1]
    if torch.allclose(new[1], old[1] * ratio.square(), rtol=0.04):
        raise Wrong("you scaled by the ratio of the variances: take their square roots.")
    if torch.allclose(new[1], old[1] / ratio, rtol=0.04):
        raise Wrong("your ratio of deviations is upside down: divide by the picture's, multiply by the target's.")
    whole = picture.std(), target.std()
    if torch.allclose(new[1], old[1] * whole[1] / whole[0], rtol=0.04):
        raise Wrong("you took one mean and deviation for all channels together; take them over dim=(2, 3).")
    raise Wrong("mean or deviation of a channel is off; print torch.std_mean(..., dim=(2, 3)) of result and target.")


@exercise("fine layers of one painting, coarse ones of the other: now look at what it paints.")
def mix_layers(answer):
    """A dict of Gram matrices in the order of `second`: the layers in `fine` from `first`, the others from `second`."""
    names = ["relu1", "fire2", "fire5", "fire9"]
    first = {name: _double(1, 3, 3, seed=i) for i, name in enumerate(names)}
    second = {name: _double(1, 3, 3, seed=10 + i) for i, name in enumerate(names)}
    kept = dict(first), dict(second)
    fine = ["relu1", "fire5"]
    result = answer(first, second, fine)
    if first.keys() != kept[0].keys() or any(
        d[n] is not k[n] for d, k in zip((first, second), kept, strict=True) for n in k
    ):
        raise Wrong("you changed one of the dicts you were given: make a new one.")
    if not isinstance(result, dict):
        raise Wrong(f"you returned {kind(result)}; a dict from layer names to Gram matrices is expected.")
    if set(result) == set(fine):
        raise Wrong("only the fine layers are in your dict: the others come from the second painting.")
    if set(result) != set(names):
        raise Wrong(f"your dict has the layers {sorted(result)}; {names} are expected.")
    if all(result[n] is first[n] or torch.equal(result[n], first[n]) for n in names):
        raise Wrong("every layer comes from the first painting.")
    if all(torch.equal(result[n], (second if n in fine else first)[n]) for n in names):
        raise Wrong("the paintings are swapped: the *fine* layers are to come from the first.")
    if all(torch.allclose(result[n], (first[n] + second[n]) / 2) for n in fine):
        raise Wrong("you blended the matrices; here each layer comes from one painting alone.")
    if all(torch.equal(result[n], (first if n in names[:2] else second)[n]) for n in names):
        raise Wrong("you took the first layers by their number; take those that are named in `fine`.")
    if not all(torch.equal(result[n], (first if n in fine else second)[n]) for n in names):
        raise Wrong("a layer's matrix is from the wrong painting: `first[name] if name in fine else second[name]`.")
    if list(result) != names:
        raise Wrong(f"the layers are right, but in the order {list(result)}; keep that of the second painting.")


@exercise("a clean projected step: the gradient at the picture, the step, then the clamp.")
def projected_step(answer):
    """One step of Adam with the picture put back into [0, 1] afterwards; returns the loss before the step."""
    begin = torch.tensor([[0.98, 0.5, 0.03, 0.2]], dtype=torch.float64)
    goal = torch.tensor([[2.0, 0.9, -1.0, 0.1]], dtype=torch.float64)

    def loss_of(picture):
        return (picture - goal).square().sum()

    def play(clamp):
        x = begin.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([x], lr=0.1)
        trace = []
        for _ in range(3):
            optimizer.zero_grad()
            loss = loss_of(x)
            loss.backward()
            optimizer.step()
            if clamp:
                x.data.clamp_(0, 1)
            trace.append((x.detach().clone(), loss.item()))
        return trace

    x = begin.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([x], lr=0.1)
    x.grad = torch.full_like(x, 5.0)  # what an earlier step left behind
    right, free = play(True), play(False)
    for step in range(3):
        before = x.detach().clone()
        told = answer(x, optimizer, loss_of)
        now = x.detach()
        if torch.equal(now, before):
            raise Wrong("the picture did not move: call optimizer.step(), and change x in place, not a copy of it.")
        if step == 0 and torch.allclose(now, free[0][0]):
            raise Wrong("the picture left [0, 1]: clamp it in place after the step.")
        if now.min() < 0 or now.max() > 1:
            raise Wrong("the picture left [0, 1]: clamp after the step, not before it.")
        if not torch.allclose(now, right[step][0]):
            raise Wrong("the step is not Adam's at this gradient: zero_grad, loss, backward, step, and clamp last.")
        told = told.item() if torch.is_tensor(told) else told
        if abs(told - right[step][1]) > 1e-6:
            raise Wrong("return the loss before the step, loss_of(x) as it was differentiated.")
