"""Scores of pictures and populations, and the one call that gives a chapter its table.

- `scores`: one picture at a time: content, style, distance to the true picture;
- `populations`: sets of feature vectors: Frechet and kernel distance, precision and recall, diversity, memorisation;
- `evaluation`: `evaluate(transfer, task, judge, features)` with the named `TASKS`, and `record`.

Nothing here can be trained through: all functions work without gradients. Judge and features are arguments.
"""

from stlib.metrics.evaluation import TASKS, Score, Task, evaluate, record
from stlib.metrics.populations import (
    density_coverage,
    diversity,
    frechet_distance,
    intra_cluster_diversity,
    kernel_distance,
    kernel_ratio,
    memorisation,
    precision_recall,
    spread,
)
from stlib.metrics.scores import (
    MetricError,
    agreement,
    blind_agreement,
    content_score,
    counted_style,
    perceptual_distance,
    psnr,
    ssim,
    style_score,
)

__all__ = [
    "TASKS",
    "MetricError",
    "Score",
    "Task",
    "agreement",
    "blind_agreement",
    "content_score",
    "counted_style",
    "density_coverage",
    "diversity",
    "evaluate",
    "frechet_distance",
    "intra_cluster_diversity",
    "kernel_distance",
    "kernel_ratio",
    "memorisation",
    "perceptual_distance",
    "precision_recall",
    "psnr",
    "record",
    "spread",
    "ssim",
    "style_score",
]
