"""Answers to the exercises of `side_by_side`, right and wrong; `test_check.py` asks for their verdicts."""

from stlib import check

NAN = float("nan")


def ways(distances, by_hand, again):
    road = by_hand - again
    return {system: (by_hand - d) / road if road else NAN for system, d in distances.items()}


def each(change):
    """The right answer with each way changed."""
    return lambda d, h, a: {system: change(value) for system, value in ways(d, h, a).items()}


def emptied(distances, by_hand, again):
    made = ways(distances, by_hand, again)
    distances.clear()
    return made


WAY = {
    "right": [ways, lambda d, h, a: {s: NAN if h == a else 1 - (x - a) / (h - a) for s, x in reversed(d.items())}],
    "your sign is turned round": each(lambda v: -v),
    "from the other end": each(lambda v: 1 - v),
    "divided by the filter's distance": lambda d, h, a: {s: (h - x) / h for s, x in d.items()},
    "divided by the distance of the second truth": lambda d, h, a: {s: (h - x) / a for s, x in d.items()},
    "did not divide": lambda d, h, a: {s: h - x for s, x in d.items()},
    "left the filter out": lambda d, h, a: {s: 1 - x / a for s, x in d.items()},
    "a way below 0": each(lambda v: max(0.0, v)),
    "off at 0 and 1": each(lambda v: min(1.0, max(0.0, v))),
    "a way above 1": each(lambda v: min(1.0, v)),
    "is 0.80, not": each(lambda v: v + 7),
    "divide by 0": lambda d, h, a: {s: (h - x) / (h - a) for s, x in d.items()},
    "NaN for every system": lambda d, h, a: ways(d, h, a) if h != a else dict.fromkeys(d, 0.0),
    "may also be nearer": lambda d, h, a: ways(d, max(h, a), min(h, a)),
    "each system gets one": lambda d, h, a: dict([*ways(d, h, a).items()][1:]),
    "was not among": lambda d, h, a: ways(d, h, a) | {"filter": 0.0},
    "a dict is expected": lambda d, h, a: [*ways(d, h, a).values()],
    "returned an int": lambda d, h, a: 3,
    "changed its input": emptied,
}


def loop(scores):
    names = list(scores)
    for one in scores:
        for other in scores:
            (c, s), (content, style) = scores[other], scores[one]
            if c >= content and s >= style and (c > content or s > style) and one in names:
                names.remove(one)
    return sorted(names, key=lambda name: scores[name][0], reverse=True)


def free(beats):
    """The front of another rule of who beats whom."""

    def front(scores):
        names = [n for n in scores if not any(beats(scores[o], scores[n]) for o in scores if o != n)]
        return sorted(names, key=lambda name: -scores[name][0])

    return front


FRONT = {
    "right": [loop, lambda scores: tuple(loop(scores))],
    "equal scores do not dominate": free(lambda o, n: o[0] >= n[0] and o[1] >= n[1]),
    "better in one and as good in the other": free(lambda o, n: o[0] > n[0] and o[1] > n[1]),
    "those are the dominated ones": lambda scores: [name for name in scores if name not in loop(scores)],
    "one number again": lambda scores: [max(scores, key=lambda name: sum(scores[name]))],
    "'e' is missing": lambda scores: loop(scores)[:-1],
    "'f' is dominated": lambda scores: [*loop(scores), "f"],
    "worst content first": lambda scores: loop(scores)[::-1],
    "in another order": lambda scores: sorted(loop(scores), key=lambda name: (-scores[name][0], -ord(name[0]))),
    "right once": lambda scores: loop(scores) if len(scores) > 5 else list(scores),
    "is no system's name": lambda scores: [scores[name] for name in loop(scores)],
    "stands twice": lambda scores: loop(scores) + loop(scores)[:1],
    "a list of names": lambda scores: dict.fromkeys(loop(scores)),
    "changed its input": lambda scores: [scores.popitem()[0]],
    "alone": lambda scores: loop(scores) if len(scores) > 1 else [],
}

RIGHT = check.side_by_side._RIGHT
COMPARE = {
    "right": [RIGHT, dict(reversed(RIGHT.items()))],
    **{f"look at {key} again": RIGHT | {key: "gate" if key != "D" else "fair"} for key in RIGHT},
    "no answer for E": {key: verdict for key, verdict in RIGHT.items() if key != "E"},
    "is not on the list": RIGHT | {"A": "true"},
    "give a dict": list(RIGHT.values()),
}

CHECKS = {"way": WAY, "front": FRONT, "compare": COMPARE}


def test_dots_in_an_answer_are_not_attempted():
    assert check.side_by_side.compare(RIGHT | {"B": ...}).status == "not attempted"


def test_a_hint_that_asks_ends_with_its_question_mark():
    told = str(check.side_by_side.compare(RIGHT | {"D": "fair"}))
    assert "ask? 4 of 5 are right." in told and "?." not in told


def test_every_statement_has_a_verdict_of_its_own():
    assert {*RIGHT} == {*check.side_by_side.STATEMENTS} and {*RIGHT.values()} == {*check.side_by_side.VERDICTS}
