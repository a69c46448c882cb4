"""Places among equal milliseconds, against a plain list of what is taken: no two points ever share a nanosecond."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lamplighter_hub.series.influx.lines import NS
from lamplighter_hub.series.influx.places import GAP_MS, RUNS, Answer, Floor, Places, Question

times = st.one_of(st.integers(0, 12), st.integers(0, 40).map(lambda step: step * (GAP_MS // 2 + 1)))
commits = st.lists(st.lists(st.tuples(st.integers(0, 2), times), min_size=1, max_size=12), min_size=1, max_size=12)


class Taken:
    """A store that only knows which nanoseconds are taken, and how often it was asked."""

    def __init__(self) -> None:
        self.ns: dict[int, list[int]] = {}
        self.questions = 0

    def newest(self, series: Sequence[int]) -> dict[int, int]:
        return {number: max(self.ns[number]) for number in series if self.ns.get(number)}

    def look(self, questions: Sequence[Question]) -> list[Answer]:
        self.questions += len(questions)
        return [self.answer(question) for question in questions]

    def answer(self, question: Question) -> Answer:
        free: dict[int, int] = {}
        for ns in sorted(self.ns.get(question.series, ())):
            if question.start <= ns // NS <= question.end:
                free[ns // NS] = ns % NS + 1
        behind = [ns // NS for ns in self.ns.get(question.series, ()) if ns // NS > question.end]
        return Answer(free, min(behind, default=None))

    @staticmethod
    def assign(places: Places, points: Sequence[tuple[int, int]], floors: Sequence[Floor] = ()) -> list[int]:
        series, t = (np.array(column) for column in zip(*points, strict=True))
        found: list[int] = places.assign(series.astype(np.int32), t.astype(np.int64), floors).tolist()
        return found

    def put(self, places: Places, *points: tuple[int, int]) -> None:
        for (number, _), ns in zip(points, self.assign(places, points), strict=True):
            self.ns.setdefault(number, []).append(ns)


@settings(max_examples=400, deadline=None)
@given(
    given_commits=commits,
    opened_again=st.sets(st.integers(0, 11)),
    late=st.dictionaries(st.integers(0, 11), st.integers(0, 11)),
)
def test_every_point_has_its_own_nanosecond_in_order_of_arrival(
    given_commits: list[list[tuple[int, int]]], opened_again: set[int], late: dict[int, int]
) -> None:
    """The writes of the commits in `late` arrive later than those after them, or never; their place is never taken."""
    taken = Taken()
    places = Places(taken.newest, taken.look)
    floors: list[Floor] = []
    owners: set[tuple[int, int]] = set()
    under_way: list[tuple[int, int, int]] = []
    for number, points in enumerate(given_commits):
        if number in opened_again:
            places = Places(taken.newest, taken.look, unknown=3)
        found = taken.assign(places, points, floors)
        for at, ((series, t), ns) in enumerate(zip(points, found, strict=True)):
            assert ns // NS == t
            assert (series, ns) not in owners
            assert all(old < ns for old in taken.ns.get(series, ()) if old // NS == t), "behind what was there"
            for (other, same), later in zip(points[at + 1 :], found[at + 1 :], strict=True):
                assert (other, same) != (series, t) or ns < later, "in order within a commit"
        owners.update((series, ns) for (series, _), ns in zip(points, found, strict=True))
        arrives = number + late.get(number, 0)
        under_way += [(arrives, series, ns) for (series, _), ns in zip(points, found, strict=True)]
        if arrives > number:
            times = [t for _, t in points]
            floors.append(Floor(min(times), max(times), max(ns % NS for ns in found) + 1))
        for entry in [entry for entry in under_way if entry[0] <= number]:
            taken.ns.setdefault(entry[1], []).append(entry[2])
            under_way.remove(entry)


def test_a_backlog_behind_a_gap_asks_nothing_and_one_within_asks_once() -> None:
    taken = Taken()
    places = Places(taken.newest, taken.look)
    taken.put(places, (0, 0), (0, 1_000))
    taken.put(places, (0, 10 * GAP_MS))
    for t in range(2_000, 400_000, 1_000):
        taken.put(places, (0, t))
    assert taken.questions == 0

    places = Places(taken.newest, taken.look, unknown=1)
    for t in range(400_000, 500_000, 1_000):
        taken.put(places, (0, t))
    assert taken.questions == 1


def test_many_gaps_take_no_more_memory() -> None:
    taken = Taken()
    places = Places(taken.newest, taken.look)
    for number in range(100):
        taken.put(places, (0, number * 2 * GAP_MS))
    assert len(places._earlier[0]) == RUNS
