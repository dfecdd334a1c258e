"""Every exercise check: the right answer, another right answer, wrong answers with their own diagnosis, the stub."""

import pytest
import torch

from stlib import check


def flat(features):
    return features.flatten(2)


def clamping(x, optimizer, loss_of):
    def closure():
        optimizer.zero_grad()
        x.data.clamp_(0, 1)
        loss = loss_of(x)
        loss.backward()
        return loss

    return closure


def closure_maker(zero=True, give_back=True, backward=True):
    def make(x, optimizer, loss_of):
        def closure():
            if zero:
                optimizer.zero_grad()
            loss = loss_of(x)
            if backward:
                loss.backward()
            return loss if give_back else None

        return closure

    return make


def closure_by_autograd(x, optimizer, loss_of):
    def closure():
        loss = loss_of(x)
        x.grad = torch.autograd.grad(loss, x)[0]
        return loss

    return closure


def shuffled(per_channel=False, channels=False):
    def answer(features):
        b, c, h, w = features.shape
        if channels:
            return features[:, torch.randperm(c, generator=torch.Generator().manual_seed(5))]
        if per_channel:
            return torch.stack([f.flatten()[torch.randperm(h * w)].view(h, w) for f in features[0]])[None]
        return flat(features)[..., torch.randperm(h * w)].view(b, c, h, w)

    return answer


def swapped_pair(features):
    moved = features.clone()
    moved[..., 0, 0], moved[..., 0, 1] = features[..., 0, 1], features[..., 0, 0]
    return moved


def reversed_positions(features):
    return features.flip(2, 3)


GRAM = {
    "right": [
        lambda f: flat(f) @ flat(f).transpose(1, 2) / flat(f).shape[2],
        lambda f: torch.einsum("bchw,bdhw->bcd", f, f) / f[0, 0].numel(),
    ],
    "is not divided by H W": lambda f: flat(f) @ flat(f).transpose(1, 2),
    "divided by C H W": lambda f: flat(f) @ flat(f).transpose(1, 2) / f[0].numel(),
    "divided by C but not by H W": lambda f: flat(f) @ flat(f).transpose(1, 2) / f.shape[1],
    "compares positions": lambda f: flat(f).transpose(1, 2) @ flat(f),
    "one matrix for the whole batch": lambda f: torch.einsum("bchw,bdhw->cd", f, f) / f[0, 0].numel(),
    "covariance": lambda f: torch.stack([torch.cov(x.flatten(1), correction=0) for x in f]),
    "mixes channels and positions": lambda f: (
        f.reshape(f.shape[0], -1, f.shape[1]).transpose(1, 2) @ f.reshape(f.shape[0], -1, f.shape[1]) / f[0, 0].numel()
    ),
}
SHUFFLE = {
    "right": [shuffled(), reversed_positions, lambda f: f.roll(-1, 3)],
    "only a few positions moved": swapped_pair,
    "in its own way": shuffled(per_channel=True),
    "permuted the channels": shuffled(channels=True),
    "nothing moved": lambda f: f.clone(),
    "values themselves changed": lambda f: torch.randn_like(f),
    "changed its input": lambda f: f.copy_(f.flip(2)),
}
CLOSURE = {
    "right": [closure_maker(), closure_by_autograd],
    "clamps the picture": clamping,
    "doubled the gradient": closure_maker(zero=False),
    "returns nothing": closure_maker(give_back=False),
    "call loss.backward": closure_maker(backward=False),
    "return the closure itself": lambda x, optimizer, loss_of: loss_of(x),
}
WEIGHTS = {
    "right": [lambda n: 1e3, lambda n: 1e3 / n**2 * n**2],
    "left the notebook's own weight": lambda n: 1e3 / n**2,
    "forgot the notebook's own 1/N^2": lambda n: 1e3 * n**2,
    "off by N": lambda n: 1e3 / n,
    "lost the notebook's factor": lambda n: 1.0,
}
COST = {
    "right": [
        lambda sizes, calls: sum(n * (s / sizes[-1]) ** 2 for s, n in zip(sizes, calls, strict=True)),
        lambda sizes, calls: sum(n * s * s for s, n in zip(sizes, calls, strict=True)) / sizes[-1] ** 2,
    ],
    "took the sides": lambda sizes, calls: sum(n * s for s, n in zip(sizes, calls, strict=True)) / sizes[-1],
    "counted every call alike": lambda sizes, calls: sum(calls),
    "forgot the calls at the last size": lambda sizes, calls: sum(
        n * (s / sizes[-1]) ** 2 for s, n in zip(sizes[:-1], calls, strict=False)
    ),
    "upside down": lambda sizes, calls: sum(n * (sizes[-1] / s) ** 2 for s, n in zip(sizes, calls, strict=True)),
    "at the *first* size": lambda sizes, calls: sum(n * (s / sizes[0]) ** 2 for s, n in zip(sizes, calls, strict=True)),
    "you rounded": lambda sizes, calls: round(sum(n * (s / sizes[-1]) ** 2 for s, n in zip(sizes, calls, strict=True))),
}


def moments(p, dims=(2, 3)):
    return torch.std_mean(p, dim=dims, keepdim=True)


def channel_match(scale=lambda old, new: new / old, shift=True, dims=(2, 3)):
    def answer(picture, target):
        (old, old_mean), (new, new_mean) = moments(picture, dims), moments(target, dims)
        return (picture - old_mean) * scale(old, new) + (new_mean if shift else old_mean)

    return answer


def whitened(picture, target):
    p, t = picture[0].flatten(1), target[0].flatten(1)
    change = torch.linalg.cholesky(torch.cov(t)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(p)))
    return (change @ (p - p.mean(1, keepdim=True)) + t.mean(1, keepdim=True)).view_as(picture)


CHANNELS = {
    "right": [
        channel_match(),
        lambda p, t: (p - moments(p)[1]) / p.std((2, 3), correction=0, keepdim=True) * moments(t)[0] + moments(t)[1],
    ],
    "only the means were moved": channel_match(scale=lambda old, new: 1),
    "the means are not": channel_match(shift=False),
    "ratio of the variances": channel_match(scale=lambda old, new: (new / old) ** 2),
    "upside down": channel_match(scale=lambda old, new: old / new),
    "correlations changed": whitened,
    "you clamped": lambda p, t: channel_match()(p, t).clamp(0, 1),
    "one mean and deviation for all": channel_match(dims=(1, 2, 3)),
    "has the size of the target": lambda p, t: channel_match()(t, p),
    "nothing changed": lambda p, t: p,
    "changed its input": lambda p, t: p.copy_(channel_match()(p, t)),
}


def by_filling(first, second, fine):
    mixed = {}
    for name in second:
        mixed[name] = first[name].clone() if name in fine else second[name].clone()
    return mixed


MIX = {
    "right": [lambda a, b, fine: {n: a[n] if n in fine else b[n] for n in b}, by_filling],
    "swapped": lambda a, b, fine: {n: b[n] if n in fine else a[n] for n in b},
    "only the fine layers": lambda a, b, fine: {n: a[n] for n in fine},
    "you blended": lambda a, b, fine: {n: (a[n] + b[n]) / 2 if n in fine else b[n] for n in b},
    "by their number": lambda a, b, fine: {n: a[n] if i < len(fine) else b[n] for i, n in enumerate(b)},
    "from the first painting": lambda a, b, fine: dict(a),
    "changed one of the dicts": lambda a, b, fine: b.update({n: a[n] for n in fine}) or b,
    "in the order": lambda a, b, fine: {n: a[n] if n in fine else b[n] for n in reversed(list(b))},
}


def projected(zero=True, clamp="after", step=True, give="before"):
    def answer(x, optimizer, loss_of):
        if clamp == "before":
            x.data.clamp_(0, 1)
        if zero:
            optimizer.zero_grad()
        loss = loss_of(x)
        loss.backward()
        if step:
            optimizer.step()
        if clamp == "after":
            with torch.no_grad():
                x.clamp_(0, 1)
        if clamp == "copy":
            x = x.clamp(0, 1)
        return loss if give == "before" else loss_of(x) if give == "after" else None

    return answer


def projected_by_hand(x, optimizer, loss_of):
    loss = loss_of(x)
    x.grad = torch.autograd.grad(loss, x)[0]
    optimizer.step()
    x.data.copy_(x.data.clip(0, 1))
    return loss.item()


PROJECTED = {
    "right": [projected(), projected_by_hand],
    "clamp it in place after the step": projected(clamp="copy"),
    "zero_grad, loss, backward, step": projected(zero=False),
    "did not move": projected(step=False),
    "return the loss before the step": projected(give="after"),
    "returns nothing": projected(give="nothing"),
}
CHECKS = {
    "gatys": {"gram": GRAM, "shuffle": SHUFFLE, "closure": CLOSURE, "weights": WEIGHTS},
    "gatys_studio": {
        "equal_cost": COST,
        "channel_match": CHANNELS,
        "mix_layers": MIX,
        "projected_step": PROJECTED,
    },
}
WRONG = [(c, e, d) for c, es in CHECKS.items() for e, answers in es.items() for d in answers if d != "right"]
EXERCISES = [(c, e) for c, es in CHECKS.items() for e in es]


def ask(chapter, exercise):
    return getattr(getattr(check, chapter), exercise)


@pytest.mark.parametrize("chapter, exercise", EXERCISES)
def test_right_answers_pass(chapter, exercise):
    for answer in CHECKS[chapter][exercise]["right"]:
        verdict = ask(chapter, exercise)(answer)
        assert verdict and verdict.status == "right", verdict


@pytest.mark.parametrize("chapter, exercise, diagnosis", WRONG)
def test_wrong_answers_get_their_own_diagnosis(chapter, exercise, diagnosis):
    verdict = ask(chapter, exercise)(CHECKS[chapter][exercise][diagnosis])
    assert verdict.status == "wrong" and diagnosis in verdict.message, verdict


@pytest.mark.parametrize("chapter, exercise", EXERCISES)
def test_an_untouched_stub_is_not_attempted(chapter, exercise):
    def unfinished(*_):
        raise NotImplementedError

    def inner_dots(*_):
        return lambda: ...

    stubs = [..., None, lambda *_: ..., unfinished] + ([inner_dots] if exercise == "closure" else [])
    assert [ask(chapter, exercise)(stub).status for stub in stubs] == ["not attempted"] * len(stubs)


@pytest.mark.parametrize("chapter, exercise", EXERCISES)
def test_an_answer_that_crashes_is_told_so(chapter, exercise):
    def broken(*_):
        raise KeyError("oops")

    verdict = ask(chapter, exercise)(broken)
    assert verdict.status == "error" and "KeyError" in verdict.message


def test_a_function_that_returns_nothing_is_told_so():
    verdict = check.gatys.gram(lambda f: None)
    assert verdict.status == "wrong" and "returns nothing" in verdict.message


def test_there_are_no_checks_for_a_chapter_that_has_none():
    with pytest.raises(AttributeError, match="no checks for a chapter 'nothing'"):
        check.nothing  # noqa: B018


def test_every_exercise_of_the_chapters_is_checked_here():
    from stlib import chapters

    for path in chapters.notebooks():
        if "solutions" in path.parts:
            continue
        ids = {c["metadata"]["exercise"] for c in chapters.read(path)["cells"] if "exercise" in c["metadata"]}
        assert ids == {f"{path.stem}-{name}" for name in CHECKS[path.stem]} and len(ids) >= 3, path
