"""One call for a chapter's table: named tasks, fixed contents, all scores, rows for `stlib.results`."""

import difflib
from dataclasses import dataclass, field
from functools import lru_cache

import torch

from stlib import results, runtime, world
from stlib.metrics import populations, scores
from stlib.metrics.scores import MetricError

FIRST = 10_000_000  # numbers of contents from here on are only scored, never trained on
STEP = 1_000_000  # the evaluated contents, then the other real set, the references, the fresh real pictures
EDITS = {
    "portraits": {"mouth_open": 1.0, "hair_dark": 1.0, "glasses": "yes", "beard": 1.0, "yaw": 25.0},
    "landscapes": {"season": 0.5, "moon": "moon", "water": 1.0, "trees": 1.0, "house": "yes"},
}
UNITS = {"psnr": "dB", "seconds": "s a picture", "memory": "GiB"}
LEAST = 8  # pictures that any score is given for


@dataclass(frozen=True)
class Task:
    """What a method is asked to do: translate `source` pictures to `style`, generate in `style`, or edit a factor.

    kind       transfer is called as
    translate  transfer(pictures) -> pictures, both (B, 3, H, W) in [0, 1]
    generate   transfer(n) -> pictures (n, 3, H, W)
    edit       transfer(pictures, factor, value) -> pictures: only that factor changes, to that value
    """

    name: str
    kind: str
    family: str
    style: str
    source: str = ""
    factor: str = ""
    value: float | str = 0.0

    def contents(self, count, block=0, device="cpu"):
        """Reserved contents: block 0 is what the method is given, the others hold other contents."""
        first = FIRST + STEP * block
        return world.sample(self.family, range(first, first + count), device=device)

    def references(self, count, size=64, device="cpu"):
        """Real pictures in the target style of contents apart from the evaluated: for methods that want examples."""
        return world.render(self.contents(count, block=2, device=device), self.style, size)


class Tasks(dict):
    """Tasks by name; one that is not there is told in a sentence."""

    def __missing__(self, name):
        near = difflib.get_close_matches(str(name), self, 3, 0.3)
        raise MetricError(
            f"There is no task {name!r}; there are {len(self)}, such as: {', '.join(near or [*self][:3])}."
        )


def tasks():
    """All tasks by name: for each family "portraits photo->sketch", "portraits in photo", "portraits beard=1"."""
    made = []
    for family in world.FAMILIES:
        for style in world.STYLES:
            if style != "photo":
                made.append(Task(f"{family} photo->{style}", "translate", family, style, source="photo"))
            made.append(Task(f"{family} in {style}", "generate", family, style))
        for factor, value in EDITS.get(family, {}).items():
            label = f"{family} {factor}={value if isinstance(value, str) else format(value, 'g')}"
            made.append(Task(label, "edit", family, "photo", source="photo", factor=factor, value=value))
    return Tasks((task.name, task) for task in made)


TASKS = tasks()


@dataclass
class Score:
    """What `evaluate` measured: `score["content"]` and so on; `notes` say what was not counted and why."""

    task: str
    arm: str
    count: int
    size: int
    values: dict
    notes: list = field(default_factory=list)

    def __getitem__(self, name):
        return self.values[name]

    def __str__(self):
        line = ", ".join(f"{name} {value:.3g}" for name, value in self.values.items())
        return "\n  ".join(
            [f"{self.arm or 'transfer'}, {self.task} ({self.count} at {self.size} px): {line}", *self.notes]
        )


def record(chapter, score, claim="", seed=0, suffix=""):
    """Record each value of `score` with `results.record`, under its name ("content", "style", ...) and its arm.

    `suffix` is added to the names where a chapter records more than one task: "content" + " at 128".
    """
    for name, value in score.values.items():
        results.record(chapter, name + suffix, value, score.arm, claim, seed, UNITS.get(name, ""))
    results.record(chapter, "pictures" + suffix, score.count, score.arm, claim, seed)
    results.record(chapter, "size" + suffix, score.size, score.arm, claim, seed, "px")
    results.record(chapter, "task" + suffix, score.task, score.arm, claim, seed)


def evaluate(
    transfer, task, judge, features, size=64, count=256, arm="", factors=None, training=None, batch=32, device=None
):
    """Score `transfer` on a task (its name in `TASKS`, or a `Task`): a `Score`.

    judge.read(pictures, family) gives a Reading. features(pictures, names) gives the feature maps of `features.layers`,
    and features.embed(pictures) the vectors (B, D). `factors` are the names of those scored; by default those
    that the style carries (`oracle.carried`). `training`, real pictures (K, 3, H, W) that the method has seen, adds
    memorisation and intra-cluster diversity. The contents are always the first `count` of the reserved numbers; with
    fewer than 256 pictures the kernel ratio lets larger differences pass (see `populations.kernel_ratio`).

    translate gives content, style (and style_raw, kernel_ratio: style is 0 where the ratio exceeds 3), ssim, psnr and
    perceptual to the true picture, frechet, kernel, diversity, seconds a picture, memory in GiB. edit adds `edit`: 0 as
    in the source, 1 as in the true edited picture; content is then read from the other factors. generate has no true
    picture: neither content nor distances to it, but precision and recall, density and coverage.

    Raises MetricError, in one sentence, for a result of another shape, not finite or out of [0, 1].
    """
    if isinstance(task, str):
        if task not in TASKS:
            raise MetricError(f"There is no task {task!r}; there are: {', '.join(TASKS)}.")
        task = TASKS[task]
    if not hasattr(judge, "read") or not callable(getattr(features, "embed", None)):
        raise MetricError(
            'evaluate() takes a judge, as `oracle.load()`, and features, as `backbones.load("worldnet")`.'
        )
    if count < LEAST:
        raise MetricError(f"A score needs at least {LEAST} pictures; got count={count}.")
    device = runtime.device(device)
    contents = task.contents(count, device=device)
    change = {task.factor: task.value} if task.kind == "edit" else {}
    wanted = contents.replace(**change)
    truth, real = (_drawn(task, task.style, count, block, size, device, *change.items()) for block in (0, 1))
    source = _drawn(task, task.source, count, 0, size, device) if task.source else None

    pictures, cost = _run(transfer, task, source, count, size, batch, device)
    reading = judge.read(pictures, task.family)
    vectors, true_vectors, real_vectors = (_vectors(features, each, batch) for each in (pictures, truth, real))

    values, notes = {}, []
    if task.kind != "generate":
        values |= _content(reading, judge, task, contents, wanted, source, truth, factors)
    ratio = populations.kernel_ratio(vectors, true_vectors, real_vectors)
    raw = scores.style_score(reading, task.style, world.STYLES)
    style, reason = scores.counted_style(raw, ratio)
    notes += [reason] if reason else []
    values |= {"style": style, "style_raw": raw, "kernel_ratio": ratio}
    if task.kind != "generate":
        values["ssim"] = scores.ssim(pictures, truth).mean().item()
        values["psnr"] = scores.psnr(pictures, truth).mean().item()
        values["perceptual"] = _perceptual(features, pictures, truth, batch)
    values["frechet"] = populations.frechet_distance(vectors, real_vectors)
    values["kernel"] = populations.kernel_distance(vectors, real_vectors)
    values["diversity"] = populations.diversity(vectors, real_vectors)
    if task.kind == "generate":
        values |= populations.precision_recall(vectors, real_vectors)._asdict()
        values |= populations.density_coverage(vectors, real_vectors)._asdict()
    if training is not None:
        seen = _vectors(features, training.to(device), batch)
        memory = populations.memorisation(vectors, seen, real_vectors)
        inside = populations.intra_cluster_diversity(vectors, seen)
        values |= {"memorisation": memory.ratio, "copies": memory.copies}
        values |= {"intra_cluster": inside.diversity, "occupancy": inside.occupancy}
    values |= {"seconds": cost.seconds / count, "memory": cost.peak_bytes / 2**30}
    return Score(task.name, arm, count, size, values, notes)


@lru_cache(maxsize=12)
def _drawn(task, style, count, block, size, device, *change):
    """The task's contents drawn in a style: the same for every method, so drawn once. Nobody may write into them."""
    return world.render(task.contents(count, block, device).replace(**dict(change)), style, size)


def _run(transfer, task, source, count, size, batch, device):
    """The transfer's pictures, checked, and what they cost. Gradients are its own affair: some methods need them."""
    made = []
    with runtime.measure() as cost:
        for i in range(0, count, batch):
            n = min(batch, count - i)
            if task.kind == "generate":
                part = transfer(n)
            else:
                given = source[i : i + n].clone()  # what a transfer does to its input in place is its own affair
                part = transfer(given, task.factor, task.value) if task.kind == "edit" else transfer(given)
            made.append(_checked(part, (n, 3, size, size)).to(device))
    return torch.cat(made), cost


def _checked(pictures, shape):
    if not torch.is_tensor(pictures):
        raise MetricError(
            f"The transfer must return a tensor {shape} of pictures; it returned {type(pictures).__name__}."
        )
    if tuple(pictures.shape) != shape:
        raise MetricError(f"The transfer must return pictures {shape}; it returned {tuple(pictures.shape)}.")
    pictures = pictures.detach().float()
    if not bool(pictures.isfinite().all()):
        raise MetricError("The transfer returned pictures with numbers that are not finite (NaN or infinity).")
    low, high = pictures.min().item(), pictures.max().item()
    if low < -1e-3 or high > 1 + 1e-3:
        raise MetricError(
            f"The transfer must return pictures in [0, 1]; its numbers reach from {low:.3g} to {high:.3g}."
        )
    return pictures.clamp(0, 1)


def _content(reading, judge, task, contents, wanted, source, truth, factors):
    """The content score, and for an edit that of the edited factor; `contents` are those before the edit."""
    if factors is None:
        from stlib import oracle

        factors = oracle.carried(task.family, task.style, source.shape[-1])
    kept = [name for name in factors if name != task.factor]
    true_reading = judge.read(truth, task.family)
    after = (torch.arange(len(wanted)) + 1) % len(wanted)
    other = wanted[after]  # the derangement: each content meets the next one's
    # What an edit lets appear (the place of a new house) is not counted: it must show before, too
    by_chance = scores.agreement(true_reading, other, kept, also=contents[after]).mean().item()
    chance = max(by_chance, scores.blind_agreement(wanted, kept, also=contents).mean().item())
    result, best = (scores.agreement(each, wanted, kept, also=contents) for each in (reading, true_reading))
    values = {"content": scores.content_score(result, best, chance)}
    if task.kind == "edit":
        if task.factor not in factors:
            raise MetricError(f"The judge does not read {task.factor!r} well enough in {task.style} to score its edit.")
        readings = (reading, true_reading, judge.read(source, task.family))
        values["edit"] = scores.content_score(*(scores.agreement(each, wanted, [task.factor]) for each in readings))
    return values


@torch.no_grad()
def _vectors(features, pictures, batch):
    return torch.cat([features.embed(part) for part in pictures.split(batch)])


@torch.no_grad()
def _perceptual(features, pictures, truth, batch):
    names = list(features.layers)
    parts = zip(pictures.split(batch), truth.split(batch), strict=True)
    return (
        torch.cat([scores.perceptual_distance(features(a, names), features(b, names)) for a, b in parts]).mean().item()
    )
