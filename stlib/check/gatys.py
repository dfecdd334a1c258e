"""Checks of the exercises in `1_optimization/gatys`."""

import torch

from stlib.check import Wrong, exercise, expect_tensor, kind


@exercise("your Gram matrices are right, for a batch and for a picture that is not square.")
def gram(answer):
    """Gram matrices (B, C, C) of features (B, C, H, W), divided by H W."""
    features = torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    batch, channels, height, width = features.shape
    right = torch.einsum("bihw,bjhw->bij", features, features) / (height * width)
    result = answer(features)
    if torch.is_tensor(result) and result.shape == (channels, channels):
        raise Wrong("you made one matrix for the whole batch: each picture needs its own, so the shape is (B, C, C).")
    if torch.is_tensor(result) and result.shape == (batch, height * width, height * width):
        raise Wrong("you multiplied F^T F, which compares positions; the Gram matrix compares channels: F F^T.")
    expect_tensor(result, (batch, channels, channels))
    if torch.allclose(result, right):
        return
    ratio = (result / right).mean().item()
    if torch.allclose(result, right * ratio):
        for factor, saying in (
            (height * width, "your Gram is not divided by H W"),
            (1 / channels, "your Gram is divided by C H W, but the exercise asks for H W only"),
            (height * width / channels, "your Gram is divided by C but not by H W"),
            (height * width / batch, "your Gram is divided by the batch size instead of H W"),
        ):
            if abs(ratio - factor) < 1e-6 * factor:
                raise Wrong(f"{saying} (it is {ratio:.4g} times the right one).")
        raise Wrong(f"your Gram is {ratio:.4g} times the right one: look at what you divide by.")
    centred = features - features.mean(dim=(2, 3), keepdim=True)
    if torch.allclose(result, torch.einsum("bihw,bjhw->bij", centred, centred) / (height * width)):
        raise Wrong("you subtracted each channel's mean: that is the covariance. Gatys' Gram matrix keeps the mean.")
    scrambled = features.reshape(batch, height * width, channels)
    if torch.allclose(result, scrambled.transpose(1, 2) @ scrambled / (height * width)):
        raise Wrong("reshape(B, H*W, C) mixes channels and positions; keep C second: reshape(B, C, H*W).")
    raise Wrong("the numbers differ from F F^T / (H W), where row i of F is channel i written as one long vector.")


@exercise("the Gram matrix does not see where anything is, and you have shown it.")
def shuffle(answer):
    """Features with their positions permuted: another picture to the eye, the same Gram matrix."""
    features = torch.randn(1, 6, 5, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    before = features.clone()
    result = answer(features)
    expect_tensor(result, features.shape)
    if not torch.equal(features, before):
        raise Wrong("your function changed its input: work on a copy, or index into a new tensor.")
    if torch.equal(result, features):
        raise Wrong("nothing moved: every feature is still where it was.")
    if not torch.equal(result.sort(dim=-1).values.sum(), features.sort(dim=-1).values.sum()) and not torch.allclose(
        result.flatten().sort().values, features.flatten().sort().values
    ):
        raise Wrong("the values themselves changed; a permutation only moves them.")
    old, new = features.flatten(2)[0], result.flatten(2)[0]
    if torch.allclose(new @ new.T, old @ old.T):
        if (new != old).any(dim=0).double().mean() < 0.5:
            raise Wrong("only a few positions moved: permute all H W of them at random.")
        return
    if torch.allclose(new.sort(dim=1).values, old.sort(dim=1).values):
        raise Wrong("each channel was shuffled in its own way; all channels of one position must move together.")
    if torch.allclose(new.sort(dim=0).values, old.sort(dim=0).values):
        raise Wrong("you permuted the channels; the positions are to be permuted.")
    raise Wrong("the Gram matrix changed: use one permutation of the H W positions for all channels.")


@exercise("your closure does what L-BFGS needs: fresh gradients, the loss returned, the picture left alone.")
def closure(answer):
    """`make_closure(x, optimizer, loss_of)` returning the function that `optimizer.step` calls."""
    x = torch.tensor([[1.5, -0.5, 0.25]], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([x], lr=1)

    def loss_of(picture):
        return (picture.square() * torch.tensor([1.0, 2.0, 3.0])).sum()

    right = (2 * x * torch.tensor([1.0, 2.0, 3.0])).detach()
    made = answer(x, optimizer, loss_of)
    if torch.is_tensor(made):
        raise Wrong("you returned the loss; return the closure itself (the inner function, without calling it).")
    if not callable(made):
        raise Wrong(f"you returned {kind(made)}; return the inner function.")
    first, before = made(), x.detach().clone()
    if first is ...:
        from stlib.check import NotAttempted

        raise NotAttempted
    if first is None:
        raise Wrong("your closure returns nothing: L-BFGS reads the loss it returns.")
    if not torch.equal(before, torch.tensor([[1.5, -0.5, 0.25]], dtype=torch.float64)):
        clamped = before.min() >= 0 and before.max() <= 1
        what = "clamps the picture" if clamped else "changes the picture"
        raise Wrong(
            f"your closure {what}: L-BFGS measures curvature from where *it* moved the picture, so moving it behind "
            "its back corrupts the step. Clamp once, after the optimisation."
        )
    if x.grad is None:
        raise Wrong("after your closure x has no gradient: call loss.backward() in it.")
    made()
    if torch.allclose(x.grad, 2 * right):
        raise Wrong("the second call doubled the gradient: call optimizer.zero_grad() first.")
    if not torch.allclose(x.grad, right):
        raise Wrong("the gradient left in x.grad is not that of loss_of(x).")
    if abs(torch.as_tensor(first).detach().item() - loss_of(before).item()) > 1e-9:
        raise Wrong("the value your closure returns is not loss_of(x).")


@exercise("the two programs now minimise the same thing.")
def weights(answer):
    """The neural-style-pt style weight of a layer that equals the author's notebook with weight 1e3 / N^2."""
    for channels in (64, 512):
        result = float(answer(channels))
        for factor, saying in (
            (1.0, None),
            (channels, "you are off by N: the Gram enters the loss squared, so its extra 1/N counts twice"),
            (1 / channels, "you are off by N: the Gram enters the loss squared, so its extra 1/N counts twice"),
            (1 / channels**2, "you left the notebook's own weight 1e3 / N^2 uncorrected"),
            (channels**2, "you corrected for the Grams' 1/N, but forgot the notebook's own 1/N^2"),
            (1e-3, "you lost the notebook's factor 1e3"),
        ):
            if abs(result - 1e3 * factor) < 1e-6 * 1e3 * factor:
                if saying:
                    raise Wrong(f"{saying} (for N = {channels} you gave {result:.6g}).")
                break
        else:
            raise Wrong(f"for N = {channels} you gave {result:.6g}; write both losses with S = F F^T and compare.")
