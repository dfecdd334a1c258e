"""What the tests of the translators' chapters share: two sets of pictures, a chapter with a line changed, a kill."""

import types
from contextlib import contextmanager

from stlib import chapters


def chapter_with(name, *changes):
    """The method cells of the chapter `name` as a module, each pair (old, new) of texts replaced in them."""
    path = chapters.find(name)
    cells = [cell["source"] for cell in chapters.read(path)["cells"] if "method" in chapters.tags(cell)]
    text = "\n\n".join(cells) + "\n"
    for old, new in changes:
        assert old in text, f"the chapter does not say {old!r} any more"
        text = text.replace(old, new)
    module = types.ModuleType(f"chapter_{name}")
    exec(compile(text, path.name, "exec"), module.__dict__)
    return module


def two_sets(style):
    """Photographs and pictures of the style, 5 and 4 of 32 pixels, of different contents."""
    from stlib import world
    from stlib.world import datasets

    made = []
    for drawn, first in (("photo", 0), (style, 1_000_000)):
        contents = world.sample("portraits", range(first, first + 5 - len(made)))
        made.append(datasets.PictureSet((world.render(contents, drawn, 32) * 255).byte(), contents, drawn))
    return made


def weights(n, *names):
    """All weights of the networks, or of those named, in one row."""
    import torch

    return torch.cat([p.detach().flatten() for name in names or vars(n) for p in getattr(n, name).parameters()])


@contextmanager
def killed_after(stop, monkeypatch, owner, key="step"):
    """Inside, a training saves after each step, and `owner`'s function `key` is interrupted at the end of the next."""
    import pytest

    from stlib import training

    original, calls = owner[key] if isinstance(owner, dict) else getattr(owner, key), []

    def killed(*given):
        calls.append(original(*given))
        if len(calls) > stop:
            raise KeyboardInterrupt
        return calls[-1]

    def saved(run, after=training.Run.after, **losses):
        after(run, **losses)
        run.save()

    with monkeypatch.context() as patch:
        (patch.setitem if isinstance(owner, dict) else patch.setattr)(owner, key, killed)
        patch.setattr(training.Run, "after", saved)
        with pytest.raises(KeyboardInterrupt):
            yield
