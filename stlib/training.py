"""How networks are trained here: the progress loop, checkpoints, averages, schedules, and runs that survive a kill.

Nothing in this room knows a method: a recipe says what a step is, `Run` does what all trainings share. Text goes to
stderr, so that the saved outputs of a notebook stay clean.
"""

import copy
import hashlib
import math
import os
import pickle
import sys
import time

from tqdm import tqdm

from stlib import assets

ROW = 50  # steps whose mean losses make one row of a run's history


class CheckpointError(ValueError):
    """A checkpoint cannot be read or used; the message says which file to delete, or what else to do."""


def progress(steps, title="", show=True, **options):
    """Go through `steps` (an iterable or a number) with a text progress bar on stderr.

    The bar is a plain `tqdm`: `bar.set_postfix(loss=...)` shows values beside it.
    """
    steps = range(steps) if isinstance(steps, int) else steps
    options = {"mininterval": 0.5, "ascii": True, "ncols": 90, **options}
    return tqdm(steps, desc=title, file=sys.stderr, disable=not show, **options)


# Checkpoints ----------------------------------------------------------------------------------------------------------


def checkpoint(name):
    """The file in the user's cache that keeps the state of the training called `name`."""
    return assets.cache_folder() / "training" / f"{name}.pt"


def save_checkpoint(name, **state):
    """Keep the state of a training: state dicts, numbers, lists. A kill leaves the old file or the new one."""
    import torch

    path = checkpoint(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    torch.save(state, part)
    os.replace(part, path)


def load_checkpoint(name):
    """The state that `save_checkpoint` kept, on the CPU, as a dict; None when there is none. Raises CheckpointError."""
    import torch

    path = checkpoint(name)
    try:
        return torch.load(path, weights_only=True, map_location="cpu") if path.exists() else None
    except (OSError, EOFError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"The checkpoint {path} is damaged ({error}): delete it to start again.") from None


# Running averages -----------------------------------------------------------------------------------------------------


class EMA:
    """The running average of a network's weights, in `module`, a copy that is ready to be used.

    What the weights were `half_life` pictures ago counts half of what they are now, whatever the batch. The average
    starts with the first `update`, not with the random weights, and what it has seen always adds up to one: it needs
    no warm-up. With `ramp` the half-life is at most that share of the pictures so far (0.05 in StyleGAN2), which
    forgets the first, worst weights sooner. Buffers are not averaged, but copied.
    """

    def __init__(self, module, half_life, ramp=None):
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.half_life, self.ramp, self.pictures, self.total = half_life, ramp, 0, 0.0

    def update(self, module, pictures):
        """Take in the weights of `module` after a step on so many pictures."""
        import torch

        self.pictures += pictures
        half_life = self.half_life if self.ramp is None else min(self.half_life, self.ramp * self.pictures)
        keep = 0.5 ** (pictures / half_life)
        # avg_t = sum_i w_i theta_i / sum_i w_i, without the sum: each step moves by its share of the total weight
        self.total = keep * self.total + (1 - keep)
        with torch.no_grad():
            for average, now in zip(self.module.parameters(), module.parameters(), strict=True):
                average.lerp_(now.to(average), (1 - keep) / self.total)
            for mine, now in zip(self.module.buffers(), module.buffers(), strict=True):
                mine.copy_(now)

    def state_dict(self):
        """What `load_state_dict` wants back."""
        return {"module": self.module.state_dict(), "pictures": self.pictures, "total": self.total}

    def load_state_dict(self, state):
        """Go on from the state of another average of the same network."""
        self.module.load_state_dict(state["module"])
        self.pictures, self.total = state["pictures"], state["total"]


# Schedules ------------------------------------------------------------------------------------------------------------


def linear_decay(epoch, constant=100, decay=100):
    """The factor of the learning rate in an epoch, from 0 on: 1 for `constant` epochs, then down to 1 / (decay + 1).

    1 - max(0, epoch + 1 - constant) / (decay + 1), for `torch.optim.lr_scheduler.LambdaLR`. In the CycleGAN family it
    never reaches 0. The unit is the caller's: where a training counts steps, give all three in steps.
    """
    return 1 - max(0, epoch + 1 - constant) / (decay + 1)


# Pictures of the past -------------------------------------------------------------------------------------------------


class ImagePool:
    """The last made pictures, mixed: what the discriminators of the CycleGAN family are shown as fakes.

    While it holds fewer than `size` pictures, each new one is kept and returned. Then each is either returned itself,
    or, with probability 1/2, takes the place of a random one, which is returned for the last time. The draws come from
    torch's generator for the CPU. A pool of size 0 returns what it is given. Source: Shrivastava et al. 2017; Zhu et
    al. 2017, with 50 pictures.

    `Run(states={"pool": pool})` keeps it, with all pictures, in the checkpoints: query it before `run.after`. With
    several processes each has a pool of its own, and only the main one's is kept.
    """

    def __init__(self, size=50):
        self.size, self.pictures = size, []

    def query(self, pictures):
        """As many pictures as given (B, C, H, W), one drawn after the other, always detached."""
        import torch

        if not self.size:
            return pictures.detach()
        shown = []
        for picture in pictures.detach():
            if len(self.pictures) < self.size:
                self.pictures.append(picture.clone())  # a view would keep its whole batch in memory and checkpoint
            elif torch.rand(()).item() > 0.5:
                place = int(torch.randint(self.size, ()))
                picture, self.pictures[place] = self.pictures[place].to(picture), picture.clone()
            shown.append(picture)
        return torch.stack(shown)

    def state_dict(self):
        """What `load_state_dict` wants back."""
        return {"pictures": list(self.pictures)}

    def load_state_dict(self, state):
        """Go on with the pictures of another pool, of the same size at least. Raises ValueError."""
        if len(state["pictures"]) > self.size:
            raise ValueError(f"a pool of {len(state['pictures'])} pictures does not go into one of {self.size}")
        self.pictures = list(state["pictures"])


# Runs -----------------------------------------------------------------------------------------------------------------


class Run:
    """A training that may be killed at any moment: started again, it comes to the same weights.

    >>> run = Run("faces", {"G": G, "D": D}, {"G": adam_g, "D": adam_d}, batch=32, steps=10_000,
    ...           averages={"G": EMA(G, half_life=10_000)})
    >>> for step in run:
    ...     real, z = pictures(run.numbers()), run.noise(64)
    ...     d = run.descend("D", d_loss(D(real), D(G(z).detach())))
    ...     g = run.descend("G", g_loss(D(G(z))))
    ...     run.after(D=d, G=g)

    A step may draw on its number only: on `numbers()`, `noise()`, and the generators of torch, NumPy and Python, which
    are seeded anew for each step. So there is no state of data or of random numbers to be kept, and a resumed run is
    equal to the last bit on the CPU.

    `modules`, `optimizers`, `averages` and `states` (whatever else has a `state_dict`: schedules, an image pool) are
    dicts; the modules are moved to the device. `batch` counts the pictures of a step in all processes and `parts`
    together. It ends after `steps` or `minutes`, whichever comes first, those of earlier starts included. With `fast`,
    `autocast()` computes in bfloat16 where that pays. `settings` is what a checkpoint must agree on. Every `every`
    minutes the state is saved, and the picture that `sheet(run)` returns, (3, H, W) in [0, 1], is written beside it.
    Without `resume` a checkpoint that is there is an error: nothing is overwritten by accident.

    Several processes or machines, by `accelerate launch` or `torchrun`, share each batch; buffers, such as running
    statistics, are kept as the main process has them.
    Raises CheckpointError, DeviceError, ValueError for a batch that cannot be shared, and FloatingPointError when a
    loss or a gradient is not finite, before it reaches the weights.
    """

    KINDS = ("modules", "optimizers", "averages", "states")  # of what has a state

    def __init__(
        self, name, modules, optimizers, *, batch, averages=None, states=None, seed=0, steps=None, minutes=None,
        device=None, fast=False, parts=1, resume=False, settings=None, sheet=None, every=5.0,
    ):  # fmt: skip
        if steps is None and minutes is None:
            raise ValueError(f"The training {name!r} would never end: give it steps, minutes or both.")
        self.name, self.batch, self.seed, self.parts = name, batch, seed, parts
        self.steps, self.minutes = (math.inf if limit is None else limit for limit in (steps, minutes))
        self.modules, self.optimizers = modules, optimizers
        self.averages, self.states, self.settings = averages or {}, states or {}, settings or {}
        self.step, self.history, self.losses, self._sums = 0, [], {}, {}
        self.accelerator = _accelerator(device, fast)
        self.device, self.processes = self.accelerator.device, self.accelerator.num_processes
        if batch % (self.processes * parts):
            raise ValueError(f"A batch of {batch} cannot be shared by {self.processes} processes in {parts} parts.")
        for module in (*modules.values(), *(average.module for average in self.averages.values())):
            module.to(self.device)
        self._before, self._begun, self._ended = 0.0, time.perf_counter(), None  # earlier starts; this one
        self._sheet, self._every = sheet, 60 * every
        self._resume(resume)
        self._start = self.step, self.seconds
        self._last = {"save": self.seconds, "sheet": -math.inf, "say": -math.inf}  # when each was done
        self._over = self._all_agree(over=self._at_its_end())["over"]
        self._ended = self._begun if self._over else None

    @property
    def path(self):
        """The file of the checkpoint; the sheet lies beside it, as a PNG."""
        return checkpoint(self.name)

    @property
    def is_main(self):
        """Whether this is the one process that writes: checkpoints, sheets, and what the recipe publishes."""
        return self.accelerator.is_main_process

    @property
    def seconds(self):
        """How long the run has taken so far, or had when it came to its end; earlier starts included."""
        now = time.perf_counter() if self._ended is None else self._ended
        return self._before + now - self._begun

    @property
    def pictures(self):
        """How many pictures the run has seen."""
        return self.step * self.batch

    # What a recipe draws on

    def __iter__(self):
        from stlib import runtime

        while not self._over:
            runtime.seed(self._number("step", self.accelerator.process_index))
            yield (now := self.step)
            if self.step == now:
                raise RuntimeError(f"The step {now} of {self.name!r} did not end with `run.after(...)`.")
        self._do("save", "sheet", "say")

    def numbers(self, part=0):
        """The numbers of the pictures that this process takes in this step, a range: no picture comes twice in a run.

        Those of all processes and parts together are the same however many there are.
        """
        share = self.batch // (self.processes * self.parts)
        first = self.pictures + (part * self.processes + self.accelerator.process_index) * share
        return range(first, first + share)

    def noise(self, *shape, part=0, stream=0):
        """Normal numbers (len(numbers()), *shape) for these pictures; another `stream` gives independent ones."""
        import torch

        generator = torch.Generator().manual_seed(self._number("noise", stream))
        return self.share(torch.randn(self.batch, *shape, generator=generator), part).to(self.device)

    def share(self, batch, part=0):
        """This process's part of what was made for the whole batch: indices, pictures, latents."""
        mine = self.numbers(part)
        return batch[mine.start - self.pictures : mine.stop - self.pictures]

    def autocast(self):
        """A context in which the networks compute in the run's precision."""
        return self.accelerator.autocast()

    # What a recipe does in a step

    def backward(self, name, loss, **options):
        """Add the gradient of `loss`, a mean over the pictures of one part, for the weights of one optimizer only.

        The other networks it goes through keep their gradients as they are, and lose no time on them.
        """
        self.accelerator.backward(loss / self.parts, inputs=self._parameters(name), **options)

    def update(self, name, clip=math.inf):
        """Take one step of an optimizer along the mean gradient of all processes, and clear it; return its norm.

        A gradient longer than `clip` is shortened to it. Raises FloatingPointError before a number that is not finite
        reaches the weights.
        """
        import torch

        parameters = [parameter for parameter in self._parameters(name) if parameter.grad is not None]
        # Not by DistributedDataParallel, which a game of two networks confuses: half of its calls leave no gradient
        if self.processes > 1:
            flat = self.accelerator.reduce(torch.cat([p.grad.flatten() for p in parameters]), "mean")
            for parameter, mean in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
                parameter.grad.copy_(mean.view_as(parameter))
        norm = torch.nn.utils.clip_grad_norm_(parameters, clip)
        if not norm.isfinite():
            raise self._not_finite(f"a gradient of {name!r}")
        self.optimizers[name].step()
        self.optimizers[name].zero_grad(set_to_none=True)
        return norm

    def descend(self, name, loss, clip=math.inf):
        """`backward` and `update` in one, for a step in one part; return the loss without its graph."""
        self.backward(name, loss)
        self.update(name, clip)
        return loss.detach()

    def after(self, **losses):
        """End the step: averages, the history of losses, and when it is time a checkpoint, a sheet, a line.

        A loss (a scalar) may be given in some steps only; the history holds means over `ROW` steps.
        """
        import torch

        self.step += 1
        for name, average in self.averages.items():
            average.update(self.modules[name], self.batch)
        for name, loss in losses.items():
            total, count = self._sums.get(name, (0.0, 0))
            self._sums[name] = total + torch.as_tensor(loss).detach().float().to(self.device), count + 1
        if self.step % ROW == 0:
            self._take_means()
            self.history.append({"step": self.step, **self.losses})
            self._sums = {}
        now = self.seconds
        every = {"save": self._every, "sheet": self._every, "say": min(self._every, 30)}
        due = {what: now - self._last[what] >= wait for what, wait in every.items()}
        # The main process looks at the clock: all processes have to do the same
        due = self._all_agree(**due, over=self._at_its_end())
        self._over = due.pop("over")
        if self._over:
            self._ended = self._begun + now - self._before
        else:
            self._do(*(what for what, is_due in due.items() if is_due))

    def facts(self):
        """What the record of the finished weights should say of the run: its length, machine, and last losses."""
        dtype = {"no": "float32", "bf16": "bfloat16"}[self.accelerator.mixed_precision]
        return {
            "steps": self.step,
            "pictures": self.pictures,
            "seconds": round(self.seconds, 1),
            "seed": self.seed,
            "device": f"{self.device.type}, {self.processes} process" + "es" * (self.processes > 1),
            "dtype": dtype,  # not "precision", which is a score of generators
            "losses": {key: round(value, 5) for key, value in self.losses.items()},
        }

    # What happens between the steps

    def save(self):
        """Write the checkpoint, unless a weight or a loss is not finite. Only the main process writes."""
        for name, module in self.modules.items():
            if not all(tensor.isfinite().all() for tensor in module.state_dict().values()):
                raise self._not_finite(f"a weight of {name!r}")
        self._take_means()
        if self.is_main:
            state = {kind: {k: v.state_dict() for k, v in getattr(self, kind).items()} for kind in self.KINDS}
            state |= {"step": self.step, "seconds": self.seconds, "settings": self.settings}
            state |= {"history": self.history, "losses": self.losses, "sums": self._sums}
            save_checkpoint(self.name, **state)

    def _resume(self, allowed):
        """Take over the checkpoint, which the main process reads for all; without one, its first weights."""
        from accelerate.utils import broadcast, broadcast_object_list

        main = self.is_main
        for part in self.path.parent.glob(f"{self.name}.*.part") if main else ():
            part.unlink()  # what a kill in the middle of saving left behind
        (state,) = broadcast_object_list([load_checkpoint(self.name) if main else None])
        if state is None:
            for module in self.modules.values():
                for tensor in (*module.parameters(), *module.buffers()):
                    tensor.data.copy_(broadcast(tensor.data.contiguous()))
            return
        if not allowed:
            again = "resume it (--resume), or delete that file to start from nothing"
            raise CheckpointError(f"{self.name!r} was trained up to step {state.get('step')} in {self.path}: {again}.")
        mine, other = self.settings, state.get("settings", {})
        for at in (key for key in {**mine, **other} if mine.get(key) != other.get(key)):
            told = f"{other.get(at)!r} there, {mine.get(at)!r} here"
            advice = "take the same settings, or delete that file to start from nothing"
            raise CheckpointError(f"The checkpoint {self.path} has another {at} ({told}): {advice}.")
        try:
            for kind in self.KINDS:
                for name, thing in getattr(self, kind).items():
                    thing.load_state_dict(state[kind][name])
            self.step, self._before, self.history = state["step"], state["seconds"], state["history"]
            self.losses = state["losses"]
            self._sums = {name: (total.to(self.device), count) for name, (total, count) in state["sums"].items()}
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = " ".join(str(error).split())[:200]
            again = "build the networks as it did, or delete it to start from nothing"
            raise CheckpointError(f"The checkpoint {self.path} does not fit {self.name!r} ({why}): {again}.") from None

    def _at_its_end(self):
        return self.step >= self.steps or self.seconds >= 60 * self.minutes

    def _do(self, *whats):
        """Save, draw the sheet, and say how far it is, or some of that."""
        self._last |= dict.fromkeys(whats, self.seconds)
        if "save" in whats:
            self.save()
        if "sheet" in whats:
            self._draw()
        if "say" in whats and self.is_main:
            print(self.line(), file=sys.stderr, flush=True)

    def line(self):
        """One line on how far the run is: step, pictures a second, last losses, minutes left."""
        steps, seconds = self.step - self._start[0], max(self.seconds - self._start[1], 1e-9)
        left = self.minutes - self.seconds / 60
        left = min(left, (self.steps - self.step) * seconds / steps / 60 if steps else math.inf)
        losses = self.losses or {key: float(total) / count for key, (total, count) in self._sums.items()}
        words = [f"{self.name}: step {self.step:,}" + (f" of {self.steps:,}" if self.steps < math.inf else "")]
        words += [f"{steps * self.batch / seconds:,.1f} pictures/s"]
        words += [f"{key} {value:.4g}" for key, value in losses.items()]
        return ", ".join(words + ([f"{max(left, 0):,.1f} min left"] if left < math.inf else []))

    def _draw(self):
        import torch

        from stlib import images

        if self._sheet and self.is_main:
            with torch.no_grad():
                picture = self._sheet(self)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            images.write(picture, self.path.with_suffix(".png"), f"{self.name} after {self.pictures:,} pictures")

    def _take_means(self):
        """Set `losses` to the mean of each loss since the last row of the history, over all processes."""
        import torch

        if self._sums:
            means = torch.stack([total / count for total, count in self._sums.values()])
            means = dict(zip(self._sums, self.accelerator.reduce(means, "mean").tolist(), strict=True))
            if wrong := [name for name, mean in means.items() if not math.isfinite(mean)]:
                raise self._not_finite(f"the loss {wrong[0]!r}")
            self.losses = means

    def _all_agree(self, **answers):
        """The yes-or-no answers of the main process, in all processes."""
        import torch
        from accelerate.utils import broadcast

        if self.processes == 1:
            return answers
        told = broadcast(torch.tensor(list(answers.values()), dtype=torch.uint8, device=self.device))
        return dict(zip(answers, map(bool, told.tolist()), strict=True))

    def _number(self, *of):
        """A seed that is a function of the run's seed, the step and what else it is for."""
        return int.from_bytes(hashlib.sha256(repr((self.seed, self.step, *of)).encode()).digest()[:7], "big")

    def _parameters(self, name):
        groups = self.optimizers[name].param_groups
        return [parameter for group in groups for parameter in group["params"] if parameter.requires_grad]

    def _not_finite(self, what):
        kept, advice = "nothing had been saved yet", "start again with another seed or a lower learning rate"
        if self.path.exists():
            kept = f"the last good checkpoint, {self.path}, is kept"
            advice = "resume it with another seed, or start again with a lower learning rate"
        return FloatingPointError(f"{self.name!r} stopped at step {self.step}: {what} is not finite; {kept}: {advice}.")


def _accelerator(device, fast):
    """Accelerate's view of this process, on the device called `device`, in bfloat16 if that is asked for and pays."""
    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    from stlib import runtime

    place = runtime.device(device)
    if place.index is not None and place.type == "cuda":
        torch.cuda.set_device(place)
    fast = fast and runtime.fast_dtype(place) == torch.bfloat16
    AcceleratorState._reset_state(reset_partial_state=True)  # else a process could train in one precision only
    return Accelerator(cpu=place.type == "cpu", mixed_precision="bf16" if fast else "no")
