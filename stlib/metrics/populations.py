"""Scores of sets of pictures, on their feature vectors: (N, D) tensors of one network, such as WorldNet's (N, 64).

Distances between small sets are noisy and depend on the number of pictures: compare only numbers of one count, and put
the number of two real sets of that count beside them. Two sets of one Gaussian in 64 dimensions have a Frechet distance
of 35 at 64 pictures, 9 at 256, 4 at 512: below 2000 it mostly measures the count, and the kernel distance is the one to
compare. With 256 pictures a kernel ratio of 3 is a shift of all features by 0.18 of their deviation; with 64, by 0.34.
"""

import math
from typing import NamedTuple

import torch
from torch import nn

from stlib.metrics.scores import MetricError


class PrecisionRecall(NamedTuple):
    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    density: float
    coverage: float


class Memorisation(NamedTuple):
    ratio: float
    copies: float


class IntraCluster(NamedTuple):
    diversity: float
    occupancy: float


def _sets(*sets, least=2):
    """The sets in float64 on the CPU, checked."""
    for vectors in sets:
        if vectors.dim() != 2 or vectors.shape[1] != sets[0].shape[1]:
            shapes = " and ".join(str(tuple(each.shape)) for each in sets)
            raise MetricError(f"Feature vectors of one network are (N, D) with one D; got {shapes}.")
        if len(vectors) < least:
            raise MetricError(f"A set of {len(vectors)} pictures is too small for this score: it needs {least}.")
        if not bool(vectors.isfinite().all()):
            raise MetricError("The feature vectors are not finite: some picture made the network overflow.")
    return [vectors.detach().cpu().double() for vectors in sets]  # MPS has no float64


class _Vectors(nn.Module):
    """torchmetrics wants a network; we already have what it would give."""

    def __init__(self, size):
        super().__init__()
        self.num_features = size

    def forward(self, vectors):
        return vectors


@torch.no_grad()
def frechet_distance(a, b):
    """|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) of the sets' means and covariances: >= 0, lower is better.

    The bias of small sets is large: fewer pictures give a larger distance. Source: Heusel et al. 2017 (FID), computed
    by torchmetrics in float64.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    a, b = _sets(a, b)
    metric = FrechetInceptionDistance(feature=_Vectors(a.shape[1])).set_dtype(torch.float64)
    metric.update(a, real=True)
    metric.update(b, real=False)
    return max(metric.compute().item(), 0.0)


def _kernel(a, b):
    """The kernel of KID: (x.y / D + 1)^3."""
    return (a @ b.T / a.shape[1] + 1) ** 3


@torch.no_grad()
def kernel_distance(a, b, unbiased=True):
    """Squared maximum mean discrepancy with the kernel (x.y / D + 1)^3: lower is better.

    Unbiased: no pairs of a picture with itself, so that two sets of one distribution give 0 on average, also values a
    little below it; equal to torchmetrics' KernelInceptionDistance on one subset of all pictures. Otherwise those pairs
    count, and the distance is never negative. Source: Binkowski et al. 2018 (KID); Gretton et al. 2012, eqs. 3, 5.
    """
    a, b = _sets(a, b)
    aa, bb, across = _kernel(a, a), _kernel(b, b), _kernel(a, b).mean()
    if not unbiased:
        return max((aa.mean() + bb.mean() - 2 * across).item(), 0.0)
    within = [(k.sum() - k.trace()) / (len(k) * (len(k) - 1)) for k in (aa, bb)]
    return (within[0] + within[1] - 2 * across).item()


@torch.no_grad()
def kernel_ratio(vectors, reference, real, halvings=20):
    """Kernel distance of `vectors` to `real`, over that of two real sets: about 1 is as near as real pictures come.

    `reference` and `real` are two disjoint sets of real pictures, each of as many as `vectors`: MetricError otherwise.
    The distance of two real sets is the mean over random halvings of both together, for a single one can be ten times
    smaller by chance. The features are first centred and scaled as those of the real pictures, else a few large ones
    decide, and a good set is refused by chance. The estimate is the biased one, because the unbiased one of two real
    sets is 0 but for noise. So the distance of two real sets of N pictures goes as 1 / N: the more pictures, the
    smaller the differences that are noticed. Source: this course; the halvings as in Gretton et al. 2012, sec. 3.3.
    """
    counts = {len(vectors), len(reference), len(real)}
    if len(counts) > 1:
        raise MetricError(f"The three sets must be equally large; they have {sorted(counts)} pictures.")
    vectors, reference, real = _sets(vectors, reference, real)
    both = torch.cat([reference, real])
    mean, spread = both.mean(dim=0), both.std(dim=0)
    spread = torch.maximum(spread, 0.01 * spread.mean())  # a channel that is dead in all real pictures
    vectors, real, both = ((each - mean) / spread for each in (vectors, real, both))

    kernel, generator = _kernel(both, both), torch.Generator().manual_seed(0)
    within = []
    for _ in range(halvings):
        sign = torch.full((len(both),), 1 / len(real), dtype=both.dtype)
        sign[torch.randperm(len(both), generator=generator)[: len(real)]] *= -1
        within.append((sign @ kernel @ sign).item())
    within = sum(within) / halvings
    if not within > 0:
        raise MetricError("The real pictures are all alike: two sets of them have the kernel distance 0.")
    return kernel_distance(vectors, real, unbiased=False) / within


def _radius(vectors, k):
    """Distance of each vector to its k-th nearest neighbour in the set, without itself."""
    return torch.cdist(vectors, vectors).kthvalue(k + 1, dim=1).values


@torch.no_grad()
def precision_recall(samples, real, k=3):
    """Precision: share of samples in the real pictures' manifold; recall: share of real pictures in the samples'.

    Both in [0, 1], higher is better. The manifold of a set is the union of balls round its members that reach to the
    k-th nearest neighbour. Two real sets do not reach 1: put their number beside. Source: Kynkaanniemi et al. 2019,
    eqs. 1, 2 (k = 3, equally large sets).
    """
    samples, real = _sets(samples, real, least=k + 1)
    apart = torch.cdist(samples, real)
    precision = (apart <= _radius(real, k)[None]).any(dim=1).double().mean().item()
    recall = (apart <= _radius(samples, k)[:, None]).any(dim=0).double().mean().item()
    return PrecisionRecall(precision, recall)


@torch.no_grad()
def density_coverage(samples, real, k=5):
    """Density (about 1 for real, may exceed it) and coverage (in [0, 1]) of the real balls: higher is better.

    Density counts in how many real balls a sample lies, over k; coverage is the share of real balls that hold a sample.
    Less bothered by outliers than precision and recall. Source: Naeem et al. 2020, eq. 4, 5.
    """
    samples, real = _sets(samples, real, least=k + 1)
    inside = torch.cdist(samples, real) <= _radius(real, k)[None]
    return DensityCoverage(inside.double().sum(dim=1).mean().item() / k, inside.any(dim=0).double().mean().item())


def _pairwise(vectors):
    return torch.nn.functional.pdist(vectors).mean().item()


@torch.no_grad()
def diversity(samples, real):
    """Mean distance of two samples over that of two real pictures: 0 all alike, about 1 as diverse as the real ones.

    Larger than 1 is no praise: noise is diverse. Source: pairwise LPIPS as in Zhu et al. 2017 (BicycleGAN), relative.
    """
    samples, real = _sets(samples, real)
    if not (usual := _pairwise(real)):
        raise MetricError("The real pictures are all the same: there is no diversity to compare with.")
    return _pairwise(samples) / usual


@torch.no_grad()
def spread(reading, real, factors):
    """How far each factor varies over samples, as a share of how far it varies over real pictures: {name: ratio}.

    `reading` and `real` are what the oracle reads in the two sets. The deviation is that of the values, for an angle of
    cosine and sine together, for a choice of the options' probabilities together. 0 is a collapse, 1 as it should be.
    Raises MetricError for a factor that shows in some pictures only (`Factor.needs`), for a set of fewer than two, and
    where the real pictures do not vary.
    """
    if hidden := [f.name for f in factors if f.needs]:
        raise MetricError(f"{hidden[0]} shows in some pictures only: its readings in the others vary without meaning.")

    def deviation(factor, read):
        if factor.options:
            return read.choices[factor.name].var(dim=0).sum().sqrt()
        values = read.values[factor.name]
        if factor.periodic:
            turns = 2 * math.pi * values
            return torch.stack([turns.cos(), turns.sin()]).var(dim=1).sum().sqrt()
        return values.std()

    if min(len(v) for each in (reading, real) for v in (*each.values.values(), *each.choices.values())) < 2:
        raise MetricError("The spread of a factor needs two pictures or more in each set.")
    usual = {f.name: float(deviation(f, real)) for f in factors}
    if flat := [name for name, value in usual.items() if value < 1e-6]:
        raise MetricError(f"The real pictures do not vary in {flat[0]}: there is no spread to compare with.")
    return {f.name: float(deviation(f, reading)) / usual[f.name] for f in factors}


def memorisation(samples, training, fresh):
    """How much nearer the samples are to the training pictures than fresh real pictures are: (ratio, copies).

    ratio: median distance to the nearest training picture, of the samples over that of the fresh ones; 1 is none, below
    0.5 memorises, 0 copies; above 1 the samples are far from all that is real. copies: share of the samples nearer to a
    training picture than 99 % of the fresh ones are; about 0.01 without memorising. `fresh` are real pictures that were
    not trained on, 100 or more. Source: Meehan et al. 2020 (data copying), in its simplest form.
    """
    samples, training, fresh = _sets(samples, training, fresh, least=1)
    near, usual = (torch.cdist(each, training).min(dim=1).values for each in (samples, fresh))
    ratio = (near.median() / usual.median().clamp(min=1e-12)).item()
    return Memorisation(ratio, (near < usual.quantile(0.01)).double().mean().item())


@torch.no_grad()
def intra_cluster_diversity(samples, training):
    """Diversity round each of the few training pictures: (diversity, occupancy), both higher is better.

    Each sample joins its nearest training picture; diversity is the mean distance of two members of a cluster, averaged
    over clusters of two or more; occupancy is the share of such clusters, in [0, 1]. The original gives no occupancy: a
    collapsed model that fills one cluster can look good. Without any such cluster both are 0. Source: Ojha et al. 2021
    (CDC), sec. 4.1, with all members instead of at most 50.
    """
    samples, training = _sets(samples, training, least=1)
    nearest = torch.cdist(samples, training).argmin(dim=1)
    clusters = [samples[nearest == i] for i in range(len(training))]
    inside = [_pairwise(cluster) for cluster in clusters if len(cluster) >= 2]
    return IntraCluster(sum(inside) / max(len(inside), 1), len(inside) / len(training))
