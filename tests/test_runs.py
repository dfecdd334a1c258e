"""Trainings: they end when told, go on after a kill to the same bits, stop at NaN, and share a batch rightly."""

import lzma
import math
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import toy_recipe
from safetensors.torch import load
from torch import nn

from stlib import images, training, zoo
from stlib.runtime import DeviceError
from stlib.training import EMA, CheckpointError, Run

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache; the folder of checkpoints in it."""
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))
    monkeypatch.setenv("TOY_FOLDER", str(tmp_path / "weights"))
    return tmp_path / "training"


def states(run):
    """Every tensor of a run, by name."""
    found = {}
    for kind in Run.KINDS:
        for name, thing in getattr(run, kind).items():
            state = thing.state_dict()
            layers = state["state"] if kind == "optimizers" else {0: state.get("module", state)}
            for number, layer in layers.items():
                found |= {f"{kind} {name} {number} {key}": torch.as_tensor(v).clone() for key, v in layer.items()}
    return found


def assert_same_bits(one, other):
    assert one.keys() == other.keys() and len(one) > 10
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def tiny(steps=3, batch=4, rate=0.1, **options):
    """A run of one linear layer."""
    torch.manual_seed(0)
    layer = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), rate)
    return layer, Run("tiny", {"layer": layer}, {"layer": optimizer}, batch=batch, steps=steps, device="cpu", **options)


# Running averages -----------------------------------------------------------------------------------------------------


def one_weight(value):
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, value)
    return module


def averaged(values, batch, **options):
    """The average after each of the weights `values`, by EMA with a random start."""
    ema = EMA(one_weight(1000.0), **options)
    found = []
    for value in values:
        ema.update(one_weight(value), batch)
        found.append(ema.module.weight.item())
    return found


@pytest.mark.parametrize("ramp", [None, 0.05, 1.0])
def test_the_average_is_right_from_the_first_step(ramp):
    """The random weights it was made from have no part in it, and a constant is its own average."""
    assert averaged([3.0] * 5, 8, half_life=1000, ramp=ramp) == [3.0] * 5


def test_the_average_is_the_weighted_mean_by_its_formula():
    values, keep = [1.0, 4.0, -2.0, 7.0], 0.5 ** (8 / 24)
    for n, found in enumerate(averaged(values, 8, half_life=24), 1):
        weights = [keep ** (n - 1 - i) for i in range(n)]
        assert found == pytest.approx(
            sum(w * v for w, v in zip(weights, values, strict=False)) / sum(weights), rel=1e-5
        )


def test_the_half_life_counts_pictures_whatever_the_batch():
    def change(i):
        return 0.0 if i <= 6400 else 1.0  # in pictures

    small = averaged([change(i) for i in range(8, 7201, 8)], 8, half_life=800)[-1]
    large = averaged([change(i) for i in range(32, 7201, 32)], 32, half_life=800)[-1]
    assert small == pytest.approx(0.5, abs=0.01) and large == pytest.approx(small, abs=1e-4)


def test_a_ramp_forgets_the_first_weights_sooner():
    values = [1.0] * 10 + [0.0] * 10
    assert averaged(values, 8, half_life=10_000, ramp=0.05)[-1] < 1e-4 < averaged(values, 8, half_life=10_000)[-1]
    long = averaged(values, 8, half_life=8, ramp=100.0)
    assert long == averaged(values, 8, half_life=8), "the ramp may only shorten"


def test_buffers_are_copied_and_the_average_can_be_used_and_kept():
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ema = EMA(module, 100)
    module(torch.rand(8, 2) + 5)
    ema.update(module, 8)
    module(torch.rand(8, 2) + 5)
    ema.update(module, 8)
    assert torch.equal(ema.module[1].running_mean, module[1].running_mean)
    assert ema.module[1].num_batches_tracked == 2 and not ema.module.training
    assert not any(parameter.requires_grad for parameter in ema.module.parameters())
    other = EMA(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), 100)
    other.load_state_dict(ema.state_dict())
    with torch.no_grad():
        module[0].weight += 1
    for each in (ema, other):
        each.update(module, 8)
    assert torch.equal(ema.module[0].weight, other.module[0].weight) and other.pictures == 24


# What a step draws on -------------------------------------------------------------------------------------------------


def test_numbers_and_noise_are_functions_of_the_step():
    def drawn(**options):
        _, run = tiny(**options)
        found = []
        for _ in run:
            again, other = run.noise(3), run.noise(3, stream=1)
            assert torch.equal(run.noise(3), again) and not torch.equal(other, again)
            found.append((list(run.numbers()), again, torch.rand(2)))
            run.after()
        run.path.unlink()
        return found

    first, again, other = drawn(), drawn(), drawn(seed=1)
    assert [numbers for numbers, _, _ in first] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert all(torch.equal(a[i], b[i]) for a, b in zip(first, again, strict=True) for i in (1, 2))
    assert not any(torch.equal(a[i], b[i]) for a, b in zip(first, other, strict=True) for i in (1, 2))
    assert not torch.equal(first[0][1], first[1][1]) and not torch.equal(first[0][2], first[1][2])
    assert first[0][1].shape == (4, 3)


def test_parts_add_up_to_the_whole_batch():
    def weights(parts):
        layer, run = tiny(parts=parts, batch=8)
        for _ in run:
            for part in range(parts):
                x = toy_recipe.points(run.numbers(part)) + run.noise(2, part=part)
                run.backward("layer", layer(x).square().mean())
            run.update("layer")
            run.after()
        run.path.unlink()
        return layer.weight

    torch.testing.assert_close(weights(4), weights(1))
    with pytest.raises(ValueError, match="A batch of 8 cannot be shared by 1 processes in 3 parts"):
        weights(3)


def test_a_gradient_is_for_one_optimizer_only_and_cleared_after_its_step():
    G, D = nn.Linear(2, 2), nn.Linear(2, 1)
    run = Run(
        "two", {"G": G, "D": D}, {n: torch.optim.SGD(m.parameters(), 0.1) for n, m in (("G", G), ("D", D))},
        batch=4, steps=1, device="cpu",
    )  # fmt: skip
    before = D.weight.clone()
    loss = run.descend("G", D(G(run.noise(2))).square().mean())
    assert D.weight.grad is None and torch.equal(D.weight, before) and G.weight.grad is None
    assert not loss.requires_grad


def test_a_long_gradient_is_shortened():
    moves = []
    for clip in (math.inf, 0.01):
        layer, run = tiny(rate=1.0)
        before = torch.cat([p.detach().flatten() for p in layer.parameters()])
        run.backward("layer", 100 * layer(run.noise(2)).square().mean())
        norm = run.update("layer", clip)
        moves.append((torch.cat([p.detach().flatten() for p in layer.parameters()]) - before).norm())
        torch.testing.assert_close(moves[-1], norm.clamp(max=clip))
    assert moves[0] > 1 and moves[1] == pytest.approx(0.01, rel=1e-3)


def test_autocast_is_off_unless_asked_for_and_only_where_it_pays(monkeypatch):
    from stlib import runtime

    for fast, dtype, expected in [(False, torch.bfloat16, "float32"), (True, torch.bfloat16, "bfloat16"),
                                  (True, torch.float32, "float32")]:  # fmt: skip
        monkeypatch.setattr(runtime, "fast_dtype", lambda where, dtype=dtype: dtype)
        layer, run = tiny(fast=fast)
        with run.autocast():
            assert str(layer(torch.rand(4, 2)).dtype) == f"torch.{expected}"
        assert run.facts()["dtype"] == expected


# Its length, its line, its sheet --------------------------------------------------------------------------------------


def test_it_ends_after_so_many_steps_and_says_how_it_went(cache, capsys):
    run = toy_recipe.trained(steps=120, every=60, device="cpu")
    facts = run.facts()
    assert (facts["steps"], facts["pictures"], facts["device"]) == (120, 1920, "cpu, 1 process")
    assert [row["step"] for row in run.history] == [50, 100] and set(facts["losses"]) == {"D", "G"}
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 2, "the first step and the end"
    last = r"toy: step 120 of 120, [\d,.]+ pictures/s, D [\d.]+, G [\d.]+, 0.0 min left"
    assert re.fullmatch(last, err.splitlines()[-1])


def test_the_history_holds_means():
    _, run = tiny(steps=training.ROW)
    for step in run:
        run.after(number=step, **({"rare": 8.0} if step % 25 == 0 else {}))
    assert run.history == [{"step": training.ROW, "number": (training.ROW - 1) / 2, "rare": 8.0}]
    assert run.losses == {"number": (training.ROW - 1) / 2, "rare": 8.0}


def test_it_ends_after_so_many_minutes_of_all_starts(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(training.time, "perf_counter", lambda: clock[0])

    def go(minutes, resume=False):
        _, run = tiny(steps=None, minutes=minutes, resume=resume)
        for _ in run:
            clock[0] += 30
            run.after()
        return run

    assert go(2).step == 4
    clock[0] = 1e6
    longer = go(3, resume=True)
    assert longer.step == 6 and longer.seconds == 180
    clock[0] += 1e6
    assert longer.seconds == 180, "what comes after the last step is not the run's"
    assert go(3, resume=True).step == 6, "it was at its end"


def test_checkpoints_sheets_and_lines_come_by_the_clock(monkeypatch, capsys):
    clock, saved, drawn = [0.0], [], []
    monkeypatch.setattr(training.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(training, "save_checkpoint", lambda name, **state: saved.append(state["step"]))
    _, run = tiny(steps=10, every=1.0, sheet=lambda run: drawn.append(run.step) or torch.zeros(3, 8, 8))
    for _ in run:
        clock[0] += 20
        run.after()
    assert saved == [3, 6, 9, 10] and drawn == [1, 4, 7, 10]
    lines = capsys.readouterr().err.splitlines()
    assert [re.search(r"step (\d+)", line)[1] for line in lines] == ["1", "3", "5", "7", "9", "10"]
    assert "0.2 pictures/s, 3.0 min left" in lines[0] and "0.0 min left" in lines[-1]


def test_the_sheet_lies_beside_the_checkpoint(cache):
    toy_recipe.trained(steps=2)
    assert sorted(path.name for path in cache.iterdir()) == ["toy.png", "toy.pt"]
    picture = images.read(cache / "toy.png")
    assert picture.shape == (1, 3, 32, 32) and 0 < (picture == 0).float().mean() < 0.1


def test_a_run_needs_an_end_and_a_step_its_after():
    with pytest.raises(ValueError, match="'tiny' would never end"):
        tiny(steps=None)
    _, run = tiny()
    with pytest.raises(RuntimeError, match="The step 0 of 'tiny' did not end"):
        for _ in run:
            pass


def test_another_device_is_refused_in_a_sentence():
    with pytest.raises(DeviceError, match="There is no device 'cuda:99' here"):
        toy_recipe.trained(device="cuda:99")


# Going on -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [1, 49, 50, 73])
def test_a_resumed_run_comes_to_the_same_bits(cache, stop):
    whole = toy_recipe.trained(steps=80, every=60)
    whole.path.unlink()
    stopped = toy_recipe.trained(steps=stop)
    finished = toy_recipe.trained(steps=stop, resume=True)  # at its end: what it would publish is the same
    assert finished.losses == stopped.losses != {}
    assert_same_bits(states(stopped), states(finished))
    resumed = toy_recipe.trained(steps=80, every=60, resume=True)
    assert_same_bits(states(whole), states(resumed))
    assert resumed.history == whole.history and resumed.losses == whole.losses
    assert resumed.seconds > 0 and resumed._start[0] == stop


def test_what_is_drawn_for_a_sheet_changes_nothing():
    whole = toy_recipe.trained(steps=6, every=0.0)
    whole.path.unlink()
    assert_same_bits(states(whole), states(toy_recipe.trained(steps=6, every=60)))


def test_the_same_bits_need_the_whole_state(cache):
    """The test above can fail: with one part of a checkpoint gone the bits differ."""
    whole = states(toy_recipe.trained(steps=12))
    for kind, name in (("optimizers", "D"), ("averages", "G"), ("modules", "G")):
        training.checkpoint("toy").unlink()
        toy_recipe.trained(steps=6)
        state = training.load_checkpoint("toy")
        fresh = toy_recipe.networks(16, 0)[0]
        state[kind][name] = {
            "optimizers": torch.optim.Adam(toy_recipe.networks(16, 0)[1].parameters(), 2e-3).state_dict(),
            "averages": EMA(fresh, 100).state_dict(),
            "modules": fresh.state_dict(),
        }[kind]
        training.save_checkpoint("toy", **state)
        resumed = states(toy_recipe.trained(steps=12, resume=True))
        assert any(not torch.equal(whole[key], resumed[key]) for key in whole), kind


def test_other_things_with_a_state_are_kept_too():
    def go(steps, **options):
        layer = nn.Linear(2, 1)
        optimizer = torch.optim.SGD(layer.parameters(), 0.1)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
        run = Run(
            "s", {"layer": layer}, {"layer": optimizer}, batch=4, steps=steps, states={"rate": schedule}, **options
        )
        for _ in run:
            run.descend("layer", layer(run.noise(2).to(run.device)).mean())
            schedule.step()
            run.after()
        return schedule.get_last_lr()

    assert go(2) == [0.025] and go(3, resume=True) == [0.0125]


def test_nothing_is_overwritten_by_accident(cache):
    toy_recipe.trained(steps=3)
    kept = training.checkpoint("toy").read_bytes()
    with pytest.raises(
        CheckpointError, match=r"'toy' was trained up to step 3 in .*toy.pt: resume it \(--resume\), or"
    ):
        toy_recipe.trained(steps=5)
    with pytest.raises(CheckpointError, match=r"toy.pt has another size \(16 there, 8 here\): take the same settings"):
        toy_recipe.trained(size=8, steps=5, resume=True)
    training.save_checkpoint("tiny", **(training.load_checkpoint("toy") | {"settings": {}}))
    with pytest.raises(CheckpointError, match="tiny.pt does not fit 'tiny'.*: build the networks as it did, or delete"):
        tiny(resume=True)
    training.save_checkpoint("tiny", module={}, done=3)  # of another kind of training
    with pytest.raises(CheckpointError, match="does not fit 'tiny'"):
        tiny(resume=True)
    assert training.checkpoint("toy").read_bytes() == kept


def test_what_a_kill_left_half_written_is_removed(cache):
    cache.mkdir()
    (cache / "toy.123.part").write_bytes(b"half")
    (cache / "toy_2.123.part").write_bytes(b"another's")
    toy_recipe.trained(steps=1, resume=True)
    assert sorted(path.name for path in cache.iterdir()) == ["toy.png", "toy.pt", "toy_2.123.part"]


# NaN ------------------------------------------------------------------------------------------------------------------


def test_nan_stops_before_the_weights_and_the_last_good_checkpoint_is_kept(cache, monkeypatch):
    good = states(toy_recipe.trained(steps=7))
    monkeypatch.setenv("TOY_NAN", "7")
    told = (
        r"'toy' stopped at step 7: a gradient of 'D' is not finite; the last good checkpoint, .*toy.pt, is kept: resume"
    )
    with pytest.raises(FloatingPointError, match=told) as error:
        toy_recipe.trained(steps=20, resume=True)
    assert "\n" not in str(error.value)
    monkeypatch.delenv("TOY_NAN")
    assert_same_bits(good, states(toy_recipe.trained(steps=7, resume=True)))
    assert toy_recipe.trained(steps=20, seed=1, resume=True).step == 20, "as it advises: another seed"


def test_nan_before_the_first_checkpoint_says_so(cache, monkeypatch):
    monkeypatch.setenv("TOY_NAN", "0")
    with pytest.raises(
        FloatingPointError, match="nothing had been saved yet: start again with another seed or a lower"
    ):
        toy_recipe.trained(every=60)
    assert not cache.exists()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_never_reaches_the_weights(bad):
    layer, run = tiny()
    before = layer.weight.clone()
    with pytest.raises(FloatingPointError, match="a gradient of 'layer'"):
        run.descend("layer", (layer(run.noise(2)) * bad).mean())
    assert torch.equal(layer.weight, before)


def test_a_checkpoint_with_nan_is_never_written(cache):
    for what in ("weight", "loss"):
        layer, run = tiny(steps=5, every=0.0, resume=True)
        with pytest.raises(FloatingPointError, match="a weight of 'layer'" if what == "weight" else "the loss 'L'"):
            for step in run:
                if what == "weight" and step == 2:
                    nn.init.constant_(layer.weight, math.nan)  # by a recipe's own doing
                run.after(L=math.nan if what == "loss" else 1.0)
        assert training.load_checkpoint("tiny")["step"] == 2
        assert training.load_checkpoint("tiny")["modules"]["layer"]["weight"].isfinite().all()


# As a command, killed and in two processes ----------------------------------------------------------------------------


def environment(**more):
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"} | more


def toy(*arguments, **more):
    command = [sys.executable, ROOT / "tests" / "toy_recipe.py", "train", "toy", "--device", "cpu", *arguments]
    return subprocess.run(command, env=environment(**more), capture_output=True, text=True)


def test_killed_and_resumed_it_saves_the_same_bits(cache, tmp_path):
    """The process gets SIGKILL wherever it may be; the command with --resume ends as if nothing had happened."""
    whole = toy_recipe.trained(steps=300, every=60)
    wanted = states(whole)
    whole.path.unlink()
    command = [sys.executable, ROOT / "tests" / "toy_recipe.py", "train", "toy", "--steps", "300", "--device", "cpu"]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        while "step 20 of 300" not in (line := process.stderr.readline()):
            assert line, "it ended before it could be killed"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    reached = training.load_checkpoint("toy")["step"]
    assert 19 <= reached < 300 and not (tmp_path / "weights").exists()

    done = toy("--steps", "300", "--resume")
    assert done.returncode == 0, done.stderr
    assert f"step {reached + 1} of 300" in done.stderr, "it did not go on from the checkpoint"
    assert_same_bits(wanted, states(toy_recipe.trained(steps=300, resume=True)))
    about = zoo.record("toy", tmp_path / "weights")
    assert (about["chapter"], about["training"]["steps"], about["training"]["pictures"]) == ("toy_recipe", 300, 4800)
    (weights,) = (tmp_path / "weights").glob("*.xz")
    saved, average = load(lzma.decompress(weights.read_bytes())), whole.averages["G"].module.state_dict()
    assert all(torch.equal(saved[key], average[key].half()) for key in saved if saved[key].is_floating_point())


def test_two_processes_take_the_steps_of_one(cache, tmp_path, monkeypatch):
    """Each has half of the batch; the weights are those of the whole one, and not those of a half."""
    monkeypatch.setenv("TOY_STILL", "1")
    half = toy_recipe.trained(steps=5, share=toy_recipe.BATCH // 2)
    half.path.unlink()
    one = toy_recipe.trained(steps=5)
    one.path.unlink()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    code = "import toy_recipe as t; from stlib import zoo; zoo.RECIPES['toy'] = t.RECIPE; t.publish('toy', steps=2)"
    code += "; t.publish('toy', steps=5, resume=True)"  # the first from nothing, the second from its checkpoint
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=environment(RANK=rank, LOCAL_RANK=rank, **shared),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in "01"
    ]  # fmt: skip
    try:
        said = [process.communicate(timeout=300)[0] for process in started]
    finally:
        for process in started:  # one that waits for the other would wait for ever
            process.kill()
    assert [process.returncode for process in started] == [0, 0], said
    assert ["step 2 of 2" in text and "step 5 of 5" in text for text in said] == [True, False], "only one speaks"
    assert zoo.record("toy", tmp_path / "weights")["training"]["device"] == "cpu, 2 processes"
    two, one, half = training.load_checkpoint("toy"), states(one), states(half)
    far = 0.0
    for name, state in two["modules"].items():
        for key, tensor in state.items():
            torch.testing.assert_close(tensor, one[f"modules {name} 0 {key}"], rtol=1e-5, atol=1e-6)
            far = max(far, (one[f"modules {name} 0 {key}"] - half[f"modules {name} 0 {key}"]).abs().max().item())
    assert far > 1e-3
