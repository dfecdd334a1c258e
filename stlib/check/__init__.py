"""Instant checks of the exercises. `check.gatys.gram(my_gram)` runs an answer and names the likely mistake.

A check never raises and knows no solution: it compares properties and values, and recognises the mistakes that learners
make. `bool(verdict)` is True only for a right answer.
"""

import functools
import importlib
from dataclasses import dataclass

MARKS = {"right": "✔", "wrong": "✘", "not attempted": "…", "error": "✘"}


@dataclass(frozen=True)
class Verdict:
    """What a check says of an answer: `status` is right, wrong, error or not attempted."""

    status: str
    message: str

    def __bool__(self):
        return self.status == "right"

    def __repr__(self):
        return f"{MARKS[self.status]} {self.status}: {self.message}"


class Wrong(Exception):
    """Raised inside a check with the diagnosis, in the learner's terms."""


class NotAttempted(Exception):
    """Raised inside a check when the answer is still the stub."""


def exercise(praise):
    """Make a function that raises Wrong(diagnosis) into a check that returns a Verdict. `praise` is said when right."""

    def decorate(function):
        @functools.wraps(function)
        def check(answer):
            if answer is None or answer is ...:
                return Verdict("not attempted", "replace the dots by your own code, then run this cell again.")
            try:
                function(_guarded(answer) if callable(answer) else answer)
            except NotAttempted:
                return Verdict("not attempted", "replace the dots by your own code, then run this cell again.")
            except Wrong as diagnosis:
                return Verdict("wrong", str(diagnosis))
            except Exception as error:
                return Verdict("error", f"your code stopped with {type(error).__name__}: {error}")
            return Verdict("right", praise)

        return check

    return decorate


def expect_tensor(result, shape):
    """Raise Wrong unless `result` is a tensor of that shape."""
    import torch

    if not torch.is_tensor(result):
        raise Wrong(f"your function returns {kind(result)}; a tensor of shape {tuple(shape)} is expected.")
    if result.shape != torch.Size(shape):
        raise Wrong(f"your result has the shape {tuple(result.shape)}; {tuple(shape)} is expected.")


def kind(thing):
    """What something is, as a sentence says it: "a list", "an int"."""
    name = type(thing).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def diagnosed(answer, right, choices, look, against):
    """Raise unless `answer` is {case: key of `choices`} as `right` is; says what to look at in the first wrong case.

    Cases are runs whose mistake is asked for, or sentences to be judged. `look` is {case: sentence}; `against`
    {choice: why it is not this one} for choices that are often taken for others.
    """
    if callable(answer):
        answer = answer()
    if not isinstance(answer, dict):
        raise Wrong(f'give a dict, {{"{next(iter(right))}": "...", ...}}; got {kind(answer)}.')
    if any(value is ... or value is None for value in answer.values()):
        raise NotAttempted
    if missing := [case for case in right if case not in answer]:
        raise Wrong(f"there is no answer for {missing[0]}: one is asked for each of {', '.join(right)}.")
    if unknown := [value for value in answer.values() if value not in choices]:
        raise Wrong(f"{unknown[0]!r} is not on the list; on it are: {', '.join(choices)}.")
    wrong = [case for case in right if answer[case] != right[case]]
    if not wrong:
        return
    if len(wrong) >= 3 and len(set(answer[case] for case in right)) == 1:
        raise Wrong(f"you gave the same answer {len(right)} times: each has another one.")
    case = wrong[0]
    told = f" (and {against[answer[case]]})" if answer[case] in against else ""
    hint = look[case] + told
    end = "" if hint.endswith("?") else "."
    raise Wrong(f"look at {case} again: {hint}{end} {len(right) - len(wrong)} of {len(right)} are right.")


def _guarded(answer):
    """Call the answer; a result of `...` or a NotImplementedError means that the stub is untouched."""

    def call(*inputs, **options):
        try:
            result = answer(*inputs, **options)
        except NotImplementedError:
            raise NotAttempted from None
        if result is ...:
            raise NotAttempted
        if result is None:
            raise Wrong("your function returns nothing: end it with `return ...`.")
        return result

    return call


def __getattr__(name):
    try:
        return importlib.import_module(f"stlib.check.{name}")
    except ModuleNotFoundError:
        raise AttributeError(f"There are no checks for a chapter {name!r}.") from None
