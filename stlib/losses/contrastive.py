"""Contrastive losses: a vector must find its partner among others, by their products alone."""

import torch
from torch.nn import functional

from stlib.nets.convolutions import without_autocast


def patch_nce(q, k, temperature=0.07, negatives="picture", reduction="mean"):
    """Mean of -log(exp(q_i k_i / T) / sum_j exp(q_i k_j / T)), for queries and keys (B, P, C) of unit length.

    Row i of both is one position: `q` in the result, `k` in the content picture, which gets no gradient. The sum runs
    over the P keys of the same picture (`negatives` "picture": CUT, FastCUT) or over all B P keys ("batch": CUT on a
    single picture, whose batch are its crops). A loss of log P is chance. `reduction` "none" returns the loss of each
    row (B, P). CUT takes the mean over its layers and all the rows of each.

    Source: Park et al. 2020, eq. 3. The official code departs from it in two ways: it puts the own pair once more among
    the negatives, as -10, which adds exp(-10 / T) to the sum, 1e-62 at T = 0.07 (but 5e-5 at T = 1) and is left out
    here; and it cuts the rows into pictures by the batch size of its options, so that a smaller last batch fails or is
    cut elsewhere. Raises ValueError.
    """
    if q.ndim != 3 or q.shape != k.shape:
        shapes = f"{tuple(q.shape)} and {tuple(k.shape)}"
        raise ValueError(f"patch_nce() takes queries and keys of one shape (B, P, C), not {shapes}.")
    if negatives not in ("picture", "batch"):
        raise ValueError(f"negatives are those of the 'picture' or of the 'batch', not {negatives!r}.")
    batch, patches, channels = q.shape
    dtype = torch.promote_types(q.dtype, torch.float32)
    with without_autocast(q):
        groups = (t.to(dtype).reshape(batch if negatives == "picture" else 1, -1, channels) for t in (q, k.detach()))
        queries, keys = groups
        logits = queries @ keys.transpose(1, 2) / temperature  # (groups, rows, rows): the own key is on the diagonal
    own = torch.arange(logits.shape[1], device=q.device).expand(len(logits), -1)
    losses = functional.cross_entropy(logits.flatten(0, 1), own.flatten(), reduction="none").view(batch, patches)
    return losses if reduction == "none" else losses.mean()
