"""The progress loop, which writes on stderr only, and checkpoints, which survive a kill."""

import pytest
import torch

from stlib.training import CheckpointError, checkpoint, load_checkpoint, progress, save_checkpoint


def test_it_writes_on_stderr_only(capsys):
    for _ in progress(3, "painting", mininterval=0):
        pass
    out, err = capsys.readouterr()
    assert out == "" and "painting" in err and "3/3" in err and err.isascii()


@pytest.mark.parametrize("steps, expected", [(3, [0, 1, 2]), (0, []), (["a", "b"], ["a", "b"])])
def test_it_goes_through_a_number_or_an_iterable(steps, expected, capsys):
    assert list(progress(steps)) == expected
    assert list(progress(iter(expected))) == expected
    assert capsys.readouterr().out == ""


def test_it_can_be_silent_and_shows_values_beside(capsys):
    list(progress(3, show=False))
    assert capsys.readouterr() == ("", "")
    bar = progress(2, mininterval=0)
    for _ in bar:
        bar.set_postfix(loss=0.25)
    assert "loss=0.25" in capsys.readouterr().err


def test_an_error_inside_passes_through():
    with pytest.raises(KeyError):
        for _ in progress(3):
            raise KeyError


def test_a_checkpoint_comes_back_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))
    assert load_checkpoint("toy") is None
    save_checkpoint("toy", step=3, weights={"a": torch.arange(3.0)}, history=[{"loss": 0.5}])
    state = load_checkpoint("toy")
    assert state["step"] == 3 and state["history"] == [{"loss": 0.5}]
    assert state["weights"]["a"].tolist() == [0, 1, 2]
    assert [path.name for path in (tmp_path / "training").iterdir()] == ["toy.pt"]


def test_a_kill_while_saving_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))
    save_checkpoint("toy", step=1)

    def killed(state, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint("toy", step=2)
    assert load_checkpoint("toy") == {"step": 1}


def test_a_damaged_checkpoint_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))
    save_checkpoint("toy", step=1, weights=torch.zeros(1000))
    path = checkpoint("toy")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(CheckpointError, match="toy.pt is damaged.*delete it"):
        load_checkpoint("toy")


def test_a_checkpoint_from_a_gpu_is_read_on_the_cpu(tmp_path, monkeypatch):
    monkeypatch.setenv("STLIB_CACHE", str(tmp_path))
    asked, load = [], torch.load
    monkeypatch.setattr(torch, "load", lambda path, **options: asked.append(options) or load(path, **options))
    save_checkpoint("toy", step=1)
    load_checkpoint("toy")
    assert asked == [{"weights_only": True, "map_location": "cpu"}]
