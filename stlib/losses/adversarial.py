"""Adversarial losses on logits, and the two regularisers of StyleGAN2: R1 and path length.

Logits are any tensors, high for real; means run over all their entries. The formulas of the losses are for one step of
the discriminator D (`d_...`) and one of the generator G (`g_...`).
"""

import torch
from torch.nn.functional import relu, softplus


def d_logistic(real, fake):
    """E softplus(-D(x)) + E softplus(D(G(z))), softplus(t) = log(1 + exp t). Goodfellow et al. 2014; StyleGAN2."""
    return softplus(-real).mean() + softplus(fake).mean()


def g_logistic(fake):
    """E softplus(-D(G(z))), the non-saturating loss: its gradient stays where D rejects the picture."""
    return softplus(-fake).mean()


def d_least_squares(real, fake):
    """(E (D(x) - 1)^2 + E D(G(z))^2) / 2. Mao et al. 2017, eq. 9; the CycleGAN family halves it too."""
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def g_least_squares(fake):
    """E (D(G(z)) - 1)^2. Mao et al. 2017, eq. 9, takes half of it; the CycleGAN family does not."""
    return (fake - 1).square().mean()


def d_hinge(real, fake):
    """E max(0, 1 - D(x)) + E max(0, 1 + D(G(z))). Lim and Ye 2017; Miyato et al. 2018, eq. 17."""
    return relu(1 - real).mean() + relu(1 + fake).mean()


def g_hinge(fake):
    """-E D(G(z)). Lim and Ye 2017; Miyato et al. 2018, eq. 18."""
    return -fake.mean()


def d_relativistic(real, fake):
    """E softplus(-(D(x) - E D(G(z)))) + E softplus(D(G(z)) - E D(x)). Jolicoeur-Martineau 2018, without her half."""
    return softplus(fake.mean() - real).mean() + softplus(fake - real.mean()).mean()


def g_relativistic(real, fake):
    """`d_relativistic` with real and fake exchanged: G also lowers what D says of real pictures."""
    return d_relativistic(fake, real)


# Regularisers ---------------------------------------------------------------------------------------------------------


def r1(logits, pictures):
    """E |d S / d x|^2, with S the sum of the logits: the sum over pixels and channels, the mean over the batch.

    `logits` were computed from the real `pictures` (B, C, H, W), which require gradients; what minibatch statistics
    tie together takes part. The loss is gamma / 2 times this (StyleGAN2: gamma 10); call it outside autocast, in
    float32. Source: Mescheder et al. 2018, eq. 9.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), pictures, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean()


def path_length(pictures, w, mean, noise=None, decay=0.01):
    """The path length penalty E (l - a)^2, the new running mean a (detached), and the lengths l (B).

    `pictures` (B, C, H, W) were made from the W+ code `w` (B, n, d) as expanded, so that each place has a gradient J of
    its own: l = sqrt(mean over n of the sum over d of J^2), with J of sum(pictures * noise) / sqrt(H W), and `noise`
    normal, shaped as the pictures (drawn if None). `mean` is the running mean before, 0 at the start. It is first moved
    by `decay` to the mean of the lengths and, as in the official codes, the gradient of the penalty flows through that
    move. The loss is 2 times the penalty. Source: Karras et al. 2020, eq. 4. Raises ValueError for a code in W.
    """
    if w.ndim != 3:
        raise ValueError(f"path_length() takes the expanded W+ code (B, n, d), not the shape {tuple(w.shape)}.")
    noise = torch.randn_like(pictures) if noise is None else noise
    scaled = (pictures * noise).sum() / (pictures.shape[2] * pictures.shape[3]) ** 0.5
    (gradient,) = torch.autograd.grad(scaled, w, create_graph=True)
    lengths = gradient.square().sum(dim=2).mean(dim=1).sqrt()
    moved = mean + decay * (lengths.mean() - mean)
    return (lengths - moved).square().mean(), moved.detach(), lengths


def lazy(penalty, weight, interval, output):
    """What to back-propagate where a regulariser is computed only every `interval` steps: weight * interval * penalty.

    `weight` is gamma / 2 for R1 (StyleGAN2: 10 / 2, interval 16) and 2 for the path length (interval 4). `output`, the
    logits or pictures, is added with the factor 0: parameters that the penalty does not reach get a gradient of zero
    instead of none, and Adam counts the step for all alike.
    """
    return weight * interval * penalty + 0 * output.flatten()[0]


def lazy_adam(lr, interval, betas=(0.0, 0.99)):
    """Adam's settings, as a dict, for `interval` plain steps and one of a lazy regulariser: lr * r and betas ** r.

    r = interval / (interval + 1), so that one round of steps learns and forgets as much as without the additional one.
    The regulariser takes its own step with the same optimiser. Source: Karras et al. 2020, appendix B.
    """
    r = interval / (interval + 1)
    return {"lr": lr * r, "betas": tuple(beta**r for beta in betas)}
