"""Checks of the exercises in `2_gan/side_by_side`."""

import itertools
import math

from stlib.check import Wrong, diagnosed, exercise, kind

# side_by_side-way -----------------------------------------------------------------------------------------------------

DISTANCES = {"near": 0.2, "as the filter": 0.6, "worse": 0.7, "perfect": 0.0, "again": 0.1}


def _ways(distances, by_hand, again):
    return {system: (by_hand - d) / (by_hand - again) for system, d in distances.items()}


def _way_mistakes(distances, by_hand, again):
    """What answers with one mistake would return for the first system, each with its diagnosis."""
    d, road = next(iter(distances.values())), by_hand - again
    return (
        ((d - by_hand) / road, "your sign is turned round: a distance below the filter's is a way above 0"),
        ((d - again) / road, "you measured from the other end: 0 is the filter, 1 the truth drawn again"),
        ((by_hand - d) / by_hand, "you divided by the filter's distance: the road ends at the second truth, not at 0"),
        ((by_hand - d) / again, "you divided by the distance of the second truth: the road is the difference of both"),
        (by_hand - d, "you did not divide by the length of the road"),
        (1 - d / again, "you left the filter out: it is where the road begins"),
    )  # fmt: skip


@exercise("0 is as good as the filter, 1 as a second true drawing, and nothing is hidden below or above.")
def way(answer):
    """{system: (by_hand - d) / (by_hand - again)}; NaN where the filter is as far as the truth drawn again."""
    given = dict(DISTANCES)
    result = answer(given, 0.6, 0.1)
    if given != DISTANCES:
        raise Wrong("your function changed its input: make a new dict.")
    if not isinstance(result, dict):
        raise Wrong(f"a dict is expected, {{system: way}}; your function returned {kind(result)}.")
    if missing := [system for system in DISTANCES if system not in result]:
        raise Wrong(f"there is no way for {missing[0]!r}: each system gets one.")
    if more := [system for system in result if system not in DISTANCES]:
        raise Wrong(f"{more[0]!r} was not among the systems.")
    right = _ways(DISTANCES, 0.6, 0.1)
    if not _alike(result, right):
        first = next(iter(DISTANCES))
        for value, saying in _way_mistakes(DISTANCES, 0.6, 0.1):
            if math.isclose(float(result[first]), value, abs_tol=1e-6):
                raise Wrong(f"{saying}.")
        if _alike(result, {system: max(0.0, value) for system, value in right.items()}):
            raise Wrong("whoever is worse than the filter has a way below 0: do not cut it off.")
        if _alike(result, {system: min(1.0, max(0.0, value)) for system, value in right.items()}):
            raise Wrong("do not cut the way off at 0 and 1: what lies outside tells something, too.")
        if _alike(result, {system: min(1.0, value) for system, value in right.items()}):
            raise Wrong("whoever is nearer than a second true drawing has a way above 1: do not cut it off.")
        wrong = next(s for s in DISTANCES if not _alike({s: result[s]}, {s: right[s]}))
        told = f"{right[wrong]:.2f}, not {result[wrong]}"
        raise Wrong(f"the way of a distance {DISTANCES[wrong]} between 0.6 and 0.1 is {told}.")
    try:
        same = answer({"one": 0.3, "other": 0.5}, 0.5, 0.5)
    except ZeroDivisionError:
        raise Wrong("where filter and truth are equally far you divide by 0: NaN is asked for.") from None
    if not (isinstance(same, dict) and same.keys() == {"one", "other"} and all(math.isnan(v) for v in same.values())):
        raise Wrong("where filter and truth are equally far there is no road: NaN for every system.")
    if not _alike(answer({"one": 0.25}, 0.2, 0.4), {"one": 0.25}):
        raise Wrong("right so far; but the filter may also be nearer than the second truth: the formula is the same.")


def _alike(found, right):
    return all(math.isclose(float(found[system]), value, abs_tol=1e-6) for system, value in right.items())


# side_by_side-front ---------------------------------------------------------------------------------------------------

SCORES = {
    "a": (0.5, 0.9),
    "b": (0.7, 0.6),
    "c": (0.5, 0.8),
    "d": (0.7, 0.6),
    "e": (0.2, 0.95),
    "f": (0.6, 0.6),
    "g": (0.1, 0.1),
}  # content, style


def _front(scores, weak=False):
    def dominated(system):
        content, style = scores[system]
        others = [pair for name, pair in scores.items() if name != system]
        if weak:
            return any(c >= content and s >= style for c, s in others)
        return any(c >= content and s >= style and (c, s) != (content, style) for c, s in others)

    return sorted((system for system in scores if not dominated(system)), key=lambda system: -scores[system][0])


@exercise("nobody on the list is beaten by anybody, and whoever is left out is.")
def front(answer):
    """The names of the systems that no other dominates, best content first, equals in the order given."""
    given = dict(SCORES)
    result = answer(given)
    if given != SCORES:
        raise Wrong("your function changed its input: make a new list.")
    if isinstance(result, (str, dict)) or not hasattr(result, "__iter__"):
        raise Wrong(f"a list of names is expected; your function returned {kind(result)}.")
    result, right = list(result), _front(SCORES)
    if unknown := [name for name in result if name not in SCORES]:
        raise Wrong(f"{unknown[0]!r} is no system's name: return the keys.")
    if len(set(result)) < len(result):
        raise Wrong("a name stands twice in your list.")
    if result == _front(SCORES, weak=True):
        raise Wrong("two systems with equal scores do not dominate each other: one of the two scores must be better.")
    strict = [
        s for s, (content, style) in SCORES.items() if not any(c > content and t > style for c, t in SCORES.values())
    ]
    if set(result) == set(strict):
        raise Wrong("to dominate it is enough to be better in one and as good in the other.")
    if set(result) == {s for s in SCORES if s not in right}:
        raise Wrong("those are the dominated ones: the others are asked for.")
    if len(result) == 1:
        raise Wrong("one number again: the front keeps every system that nobody beats in both.")
    if set(result) != set(right):
        wrong = next(s for s in SCORES if (s in result) != (s in right))
        verb = "is missing: nobody beats it" if wrong in right else "is dominated and does not belong there"
        raise Wrong(f"in {SCORES} the system {wrong!r} {verb}.")
    if result != right:
        if result == right[::-1] or SCORES[result[0]][0] < SCORES[result[-1]][0]:
            raise Wrong("the right systems, but worst content first: best content first.")
        raise Wrong("the right systems in another order: best content first, equals in the order given.")
    for order in itertools.permutations(list(SCORES)[:5]):
        scores = {name: SCORES[name] for name in order}
        if list(answer(dict(scores))) != _front(scores):
            raise Wrong(f"right once, but not for {scores}.")
    if list(answer({"alone": (0.0, 0.0)})) != ["alone"]:
        raise Wrong("a system that is alone is dominated by nobody.")


# side_by_side-compare -------------------------------------------------------------------------------------------------

STATEMENTS = {
    "A": "On sketches this CycleGAN ends nearer to the truth than this CUT, and keeps more of the content.",
    "B": "The portrait network's distance is smaller than CUT's, so it draws better.",
    "C": "Of two records of the zoo, the one with fewer minutes belongs to the faster method.",
    "D": "CycleGAN's raw style is above 0.9, so its sketches lie where true sketches lie.",
    "E": "The uneven cycle ends with more content than CycleGAN with a pen, so its losses are the reason.",
}
VERDICTS = {
    "fair": "it follows, as a description of these networks",
    "tasks": "the numbers belong to different tasks",
    "machines": "the numbers were measured under different conditions",
    "gate": "another score of the same row says the contrary",
    "once": "one training each: another seed might change as much",
}
_RIGHT = {"A": "fair", "B": "tasks", "C": "machines", "D": "gate", "E": "once"}
_TOLD = {
    "A": "one task, the same steps and pictures; and does the sentence say why?",
    "B": "look at the column `style`: what does each of the two draw?",
    "C": "what do the minutes of a record count, and in which arithmetic?",
    "D": "what does the column beside raw style ask?",
    "E": "how many trainings stand behind each of the two?",
}


@exercise("you know what a table allows to say.")
def compare(answer):
    """{statement: key of VERDICTS} for all STATEMENTS."""
    diagnosed(answer, _RIGHT, VERDICTS, _TOLD, {})


__all__ = ["STATEMENTS", "VERDICTS", "compare", "front", "way"]
