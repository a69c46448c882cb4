"""Checks against the values before and beside: which flags, that nothing else changes, however records are cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter_protocols import checks
from lamplighter_protocols.checks import Plan, State
from lamplighter_protocols.errors import BadProfile
from lamplighter_protocols.profile import Profile, parse_profile
from lamplighter_protocols.quality import Samples, check_record
from lamplighter_protocols.readings import Quality, Reading, ReadingsRecord

RATE, STUCK, SPIKE, GAP, CROSS = (
    *(Quality.RATE_OF_CHANGE, Quality.STUCK, Quality.SPIKE, Quality.GAP, Quality.CROSS_FIELD),
)
FAULT, OUT = Quality.SENSOR_FAULT, Quality.OUT_OF_RANGE
T = 1_795_476_600_000
HEAD = 'id = "p"\ndevice_class = "air"\ntitle = { en = "P" }\ninterval_s = 1.0\n'
METRIC = '[metrics.{name}]\ntitle = {{ en = "X" }}\nrange = [-1000, 1000]\n{limits}\n'


def made(rules: str = "", **limits: str) -> Profile:
    return parse_profile(HEAD + "".join(METRIC.format(name=n, limits=text) for n, text in limits.items()) + rules)


def planned(profile: Profile) -> Plan:
    plan = checks.plan(profile)
    assert plan is not None
    return plan


def flags(
    profile: Profile,
    rows: Sequence[tuple[int, Any]],
    state: State | None = None,
    given: Sequence[Quality | None] | None = None,
    *,
    filling: bool = False,
) -> list[Quality | None]:
    """Return the flags of metric x at seconds and values, in one record."""
    plan = planned(profile)
    column = Samples("d", "x", [T + 1000 * s for s, _ in rows], [v for _, v in rows], given)
    (found,) = checks.check_columns(plan, state or checks.beginning(plan), [column], filling=filling)
    assert (found.times, found.values) == (column.times, column.values)
    return list(found.qualities or [None] * len(rows))


def sent(**parts: Any) -> ReadingsRecord:
    return ReadingsRecord.model_validate({"device": "d", **parts})


def at_once(*values: float) -> list[tuple[int, float]]:
    return list(enumerate(values))


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ((1.0, 2.0, 3.0), [None] * 3),
        ((1.0, 9.0, 2.0), [None, RATE, None]),  # the way back is measured from the last good value
        ((1.0, 9.0, 9.0, 9.0, 9.0), [None, RATE, RATE, RATE, None]),  # in 4 s it can have come 8 up
    ],
)
def test_a_change_faster_than_the_rate(values: tuple[float, ...], wanted: list[Quality | None]) -> None:
    assert flags(made(x="max_rate = 2.0"), at_once(*values)) == wanted


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ((1.0, 1.0, 9.0), [None] * 3),  # three before it are needed
        ((1.0, 2.0, 1.0, 9.0, 2.0, 1.0), [None, None, None, SPIKE, None, None]),
        ((1.0, 1.0, 1.0, 9.0, 9.0, 9.0), [None, None, None, SPIKE, SPIKE, None]),  # a step is believed
        ((1.0, 1.0, 1.0, 4.0), [None] * 4),
    ],
)
def test_a_spike_is_far_from_the_median_of_three(values: tuple[float, ...], wanted: list[Quality | None]) -> None:
    assert flags(made(x="spike = 3.0"), at_once(*values)) == wanted


def test_a_still_value_is_stuck_from_the_set_time_on() -> None:
    profile = made(x="stuck_after_s = 3\nstuck_tolerance = 0.1")
    found = flags(profile, at_once(1.0, 1.05, 0.95, 1.0, 1.05, 2.0, 2.0))
    assert found == [None, None, None, STUCK, STUCK, None, None]


def test_the_first_value_after_a_gap() -> None:
    profile = made(x="max_gap_s = 10")
    assert flags(profile, [(0, 1.0), (10, 1.0), (21, 1.0), (22, 1.0)]) == [None, None, GAP, None]
    assert flags(profile, [(0, 1.0), (50, 1.0)], filling=True) == [None, None]


def test_nothing_is_compared_across_a_gap() -> None:
    profile = made(x="max_gap_s = 10\nmax_rate = 1.0\nspike = 2.0\nstuck_after_s = 20")
    assert flags(profile, [(0, 1.0), (1, 1.0), (2, 1.0), (60, 999.0), (61, 999.0)]) == [None, None, None, GAP, None]


def test_directions_go_the_short_way_round() -> None:
    profile = made(x='aggregation = "circular"\nmax_rate = 30.0\nspike = 40\nstuck_after_s = 3\nstuck_tolerance = 5')
    assert flags(profile, at_once(350.0, 10.0, 355.0, 5.0)) == [None] * 4
    assert flags(profile, at_once(359.0, 1.0, 359.0, 1.0)) == [None, None, None, STUCK]
    assert flags(profile, at_once(350.0, 90.0)) == [None, RATE]


def test_what_the_device_or_the_range_flagged_counts_more_and_is_compared_with_nothing() -> None:
    profile = made(x="max_rate = 2.0")
    assert flags(profile, at_once(1.0, 900.0, 2.0), given=[None, FAULT, None]) == [None, FAULT, None]
    assert flags(profile, [(0, 1.0), (1, None), (2, 2.0)], given=[None, FAULT, None]) == [None, FAULT, None]
    record = sent(t=T, dt=[0, 1000, 2000], m={"x": [1.0, 5000.0, 2.0]})
    columns, _ = check_record(profile, record)
    (found,) = checks.check_columns(planned(profile), checks.beginning(planned(profile)), columns)
    assert found.qualities == [None, OUT, None]


def test_late_values_are_compared_with_each_other_and_move_nothing() -> None:
    profile = made(x="max_rate = 2.0\nmax_gap_s = 100")
    state = checks.beginning(planned(profile))
    assert flags(profile, [(100, 1.0)], state) == [None]
    assert flags(profile, [(10, 500.0), (11, 501.0), (12, 600.0)], state) == [None, None, RATE]
    assert flags(profile, [(11, 3.0), (12, 3.0)], state) == [None, None]  # back again: compared with nothing before
    assert flags(profile, [(100, 1.0)], state) == [None]  # the same once more
    assert flags(profile, [(101, 2.0), (102, 50.0)], state) == [None, RATE]


def test_a_number_that_is_none_is_passed_over() -> None:
    profile = made(x="max_rate = 2.0\nspike = 3.0\nstuck_after_s = 30")
    assert flags(profile, at_once(1.0, float("nan"), 2.0, float("inf"), 2.0)) == [None] * 5


def test_values_of_one_moment_that_cannot_both_be_true() -> None:
    at_most = made('[[checks]]\nrule = "at_most"\nmetric = "x"\nother = "y"\ntolerance = 1.0\n', x="", y="")
    assert beside(at_most, [5.0, 6.0, 6.1], [5.0, 5.0, 5.0]) == [None, None, CROSS]
    never = made(
        '[[checks]]\nrule = "never"\nranges = { x = [0, 0], y = [95, 100] }\n'
        '[[checks]]\nrule = "never"\nranges = { x = [1, 99], y = [0, 0] }\n', x="", y=""
    )  # fmt: skip
    assert beside(never, [0.0, 0.0, 3.0, 3.0], [100.0, 0.0, 100.0, 0.0]) == [CROSS, None, None, CROSS]


def beside(profile: Profile, x: list[float], y: list[float]) -> list[Quality | None]:
    record = sent(t=T, dt=[*range(len(x))], m={"x": x, "y": y})
    columns, _ = check_record(profile, record)
    first, second = checks.check_columns(planned(profile), checks.beginning(planned(profile)), columns)
    assert (first.values, second.values) == (x, y)
    assert first.qualities == second.qualities
    return list(first.qualities or [None] * len(x))


def test_a_flagged_value_proves_nothing_about_another() -> None:
    profile = made('[[checks]]\nrule = "at_most"\nmetric = "x"\nother = "y"\n', x="", y="")
    record = sent(t=T, dt=[0], m={"x": [9.0], "y": [5.0]}, q={"y": [FAULT]})
    columns, _ = check_record(profile, record)
    found = checks.check_columns(planned(profile), checks.beginning(planned(profile)), columns)
    assert [column.qualities for column in found] == [None, [FAULT]]


def test_a_restart_goes_on_from_the_newest_reading() -> None:
    profile = made(x="max_rate = 2.0\nmax_gap_s = 60\nstuck_after_s = 10")
    plan = planned(profile)
    newest = {"x": Reading("d", "x", T, 5.0)}
    assert flags(profile, [(1, 50.0), (2, 6.0)], checks.resumed(plan, newest)) == [RATE, None]
    assert flags(profile, [(100, 5.0)], checks.resumed(plan, newest)) == [GAP]
    stuck = {"x": Reading("d", "x", T, 5.0, STUCK)}
    assert flags(profile, [(1, 5.0), (2, 6.0)], checks.resumed(plan, stuck)) == [STUCK, None]
    assert flags(profile, [(1, 50.0)], checks.resumed(plan, {"x": Reading("d", "x", T, None, FAULT)})) == [None]


WATCHED = (
    *("max_rate = 2.0", "spike = 3.0", "stuck_after_s = 3\nstuck_tolerance = 0.5", "max_gap_s = 6"),
    "max_rate = 2.0\nspike = 3.0\nstuck_after_s = 3\nmax_gap_s = 6",
    'aggregation = "circular"\nmax_rate = 90.0\nspike = 60.0\nstuck_after_s = 3\nstuck_tolerance = 20',
)
ROWS = st.lists(
    st.tuples(
        st.one_of(st.integers(1, 3), st.integers(-4, 9)),  # mostly forward
        st.one_of(st.integers(0, 4).map(float), st.sampled_from([50.0, 200.0, 340.0, 359.0, float("nan")])),
        st.sampled_from([None] * 9 + [FAULT]),
    ),
    min_size=1,
    max_size=40,
)


@given(limits=st.sampled_from(WATCHED), rows=ROWS, cuts=st.sets(st.integers(1, 39)))
def test_flags_do_not_depend_on_how_values_are_packed(
    limits: str, rows: list[tuple[int, float, Quality | None]], cuts: set[int]
) -> None:
    """One by one each value takes the long way; in one record most take the short one. The state must agree too."""
    profile, t, points = made(x=limits), 0, []
    for step, value, flag in rows:
        t += step
        points.append((t, value, flag))
    whole, parts = (packed(profile, points, wanted) for wanted in (cuts, set(range(1, len(points)))))
    assert whole == parts


def packed(profile: Profile, points: list[tuple[int, float, Quality | None]], cuts: set[int]) -> tuple[Any, ...]:
    plan = planned(profile)
    state = checks.beginning(plan)
    found: list[Quality | None] = []
    ends = sorted({*(cut for cut in cuts if cut < len(points)), len(points)})
    for start, end in zip([0, *ends], ends, strict=False):
        part = points[start:end]
        given = [flag for *_, flag in part]
        found += flags(profile, [(t, v) for t, v, _ in part], state, given if any(given) else None)
    return found, repr(state)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (METRIC.format(name="x", limits="max_rate = 0"), "metrics.x.max_rate"),
        ('[metrics.x]\ntype = "string"\ntitle = { en = "X" }\nspike = 1.0\n', "spike: only a number has one"),
        (METRIC.format(name="x", limits="stuck_tolerance = 1.0"), "stuck_tolerance: needs stuck_after_s"),
        ('[[checks]]\nrule = "at_most"\nmetric = "x"\nother = "y"\n', "checks.0: there is no number x"),
        ('[[checks]]\nrule = "sometimes"\n', "checks.0"),
    ],
)
def test_a_wrong_limit_is_named(text: str, wanted: str) -> None:
    with pytest.raises(BadProfile, match=wanted):
        parse_profile(HEAD + text)


def test_a_profile_that_asks_for_nothing_has_no_plan() -> None:
    assert checks.plan(made(x="")) is None
