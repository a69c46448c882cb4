"""Roll-ups answer like raw points, whatever was sealed, came late, or is still hot."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from lamplighter_hub.series import queries, rows
from lamplighter_hub.series.duckdb import DuckDbSeries, Limits, Rules, open_duckdb
from lamplighter_hub.series.manifest import DAY, HOUR
from lamplighter_hub.series.store import Bucket, Span
from lamplighter_protocols.profile import Aggregation
from lamplighter_protocols.quality import Samples
from lamplighter_protocols.readings import Quality
from suites.series.make import T0, column, put
from suites.series.sealed import YEAR_2040
from suites.series.test_release import DEVICE, HubSide

MIDNIGHT = T0 // DAY * DAY
SPAN = "SELECT count(*), min(t), max(t) FROM {points} WHERE series = $series AND t >= $start AND t < $end"
RULES = Rules(grace_ms=0, small_day=40, part=50, large=10, patches=1, gather=1, share=1.0, every_s=3600)

points = st.lists(
    st.tuples(
        st.integers(MIDNIGHT - 3 * HOUR, MIDNIGHT + DAY + 3 * HOUR) | st.sampled_from([MIDNIGHT, MIDNIGHT + HOUR]),
        st.floats(-100, 100) | st.sampled_from([0.0, 1.0, True, False, "text", None]),
        st.sampled_from([None, None, None, Quality.SUSPECT]),
    ),
    min_size=1,
    max_size=40,
)


def raw(
    store: DuckDbSeries, start: int, end: int, width_ms: int, aggregation: Aggregation, metric: str = "m"
) -> list[Bucket]:
    number = store._names.metrics("air-1")[metric]
    asked = {"series": number, "start": start, "end": end, "width": width_ms}
    return [rows.bucket(row) for row in store._questions.ask(queries.buckets(aggregation), asked, [number])]


def raw_span(store: DuckDbSeries, start: int, end: int) -> Span:
    number = store._names.metrics("air-1")["m"]
    return Span(*store._questions.ask(SPAN, {"series": number, "start": start, "end": end}, [number])[0])


def same(found: list[Bucket], expected: list[Bucket], aggregation: Aggregation) -> None:
    assert [(b.t, b.count, b.min, b.max, b.quality) for b in found] == [
        (b.t, b.count, b.min, b.max, b.quality) for b in expected
    ]
    assert [(type(b.last), b.last) for b in found] == [(type(b.last), b.last) for b in expected]
    for one, two in zip(found, expected, strict=True):
        if aggregation is not Aggregation.CIRCULAR:
            assert (one.mean is None) == (two.mean is None), (one, two, aggregation)
            assert one.mean is None or one.mean == pytest.approx(two.mean, rel=1e-9, abs=1e-9)
        elif one.mean is not None and two.mean is not None:
            # Whether directions that nearly cancel out point somewhere is for the last digit to say.
            turn = abs(one.mean - two.mean)
            assert min(turn, 360 - turn) < 1e-3


@settings(
    max_examples=25,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    batches=st.lists(st.tuples(points, st.booleans()), min_size=1, max_size=4),
    edges=st.tuples(st.integers(-4 * HOUR, 14 * HOUR), st.integers(14 * HOUR, 30 * HOUR)),
)
def test_roll_ups_answer_like_raw_points(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[tuple[list[tuple[int, float | str | None, Quality | None]], bool]],
    edges: tuple[int, int],
) -> None:
    clock = [YEAR_2040]
    store = open_duckdb(tmp_path_factory.mktemp("series"), Limits(), RULES, lambda: clock[0])
    for number, (batch, seal) in enumerate(batches):
        times, values, flags = zip(*batch, strict=True)
        put(store, Samples("air-1", "m", times, values, flags), column("air-2", "m", [(MIDNIGHT + number, 1.0)]))
        clock[0] = YEAR_2040 if number % 2 else MIDNIGHT + 5 * HOUR
        if seal:
            store.seal()
    start, end = (MIDNIGHT + edge for edge in edges)
    if "m" in store._names.metrics("air-1"):
        for aggregation in Aggregation:
            for width in (60_000, 5 * 60_000, HOUR, 3 * HOUR, DAY, 2 * DAY):
                found = store.buckets("air-1", "m", start, end, width_ms=width, aggregation=aggregation)
                same(found, raw(store, start, end, width, aggregation), aggregation)
        for begin, stop in ((start, end), (MIDNIGHT - DAY, MIDNIGHT + 2 * DAY)):
            assert store.span("air-1", "m", begin, stop) == raw_span(store, begin, stop)
    store.close()


def test_a_chart_of_days_reads_no_raw_points(tmp_path: Path) -> None:
    store = open_duckdb(tmp_path, Limits(), Rules(grace_ms=0, share=1.0, every_s=3600), lambda: YEAR_2040)
    put(store, column("air-1", "m", [(MIDNIGHT + hour * HOUR, float(hour)) for hour in range(96)]))
    store.seal()
    for path in (tmp_path / "series").rglob("*.parquet"):
        path.write_bytes(b"")
    found = store.buckets("air-1", "m", MIDNIGHT, MIDNIGHT + 4 * DAY, width_ms=DAY, aggregation=Aggregation.MEAN)
    assert [bucket.mean for bucket in found] == [11.5, 35.5, 59.5, 83.5]
    store.close()


@settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    stored=points,
    aside=st.lists(st.lists(st.tuples(st.integers(0, DAY), st.floats(-100, 100)), min_size=1, max_size=12), max_size=4),
    seals=st.tuples(st.booleans(), st.booleans()),
)
def test_roll_ups_after_a_release_are_those_of_the_raw_points(
    tmp_path_factory: pytest.TempPathFactory,
    stored: list[tuple[int, float | str | None, Quality | None]],
    aside: list[list[tuple[int, float]]],
    seals: tuple[bool, bool],
) -> None:
    """What was set aside with times of 1970 joins hours that are sealed already."""
    clock = [YEAR_2040]
    side = HubSide(lambda folder: open_duckdb(folder, Limits(), RULES, lambda: clock[0]), tmp_path_factory.mktemp("s"))
    store = side.series
    assert isinstance(store, DuckDbSeries)
    times, values, flags = zip(*stored, strict=True)
    put(store, Samples(DEVICE, "pm25", times, values, flags))
    for number, rows_aside in enumerate(aside, 1):
        side.hear(
            number,
            {
                "kind": "readings",
                "device": DEVICE,
                "t": 0,
                "dt": [t for t, _ in rows_aside],
                "m": {"pm25": [value for _, value in rows_aside]},
            },
        )
    if seals[0]:
        store.seal()
    if aside:
        side.release(shift=MIDNIGHT - DAY)
    if seals[1]:
        store.seal()
    start, end = MIDNIGHT - 2 * DAY, MIDNIGHT + 2 * DAY
    for aggregation in (Aggregation.MEAN, Aggregation.LAST, Aggregation.ENERGY):
        for width in (60_000, HOUR, DAY):
            if store._names.metrics(DEVICE):
                found = store.buckets(DEVICE, "pm25", start, end, width_ms=width, aggregation=aggregation)
                same(found, raw(store, start, end, width, aggregation, "pm25"), aggregation)
    assert side.series.span(DEVICE, "pm25", 0, MIDNIGHT + DAY * 2).points == points_of(stored) + sum(map(len, aside))
    store.close()


def points_of(stored: list[tuple[int, float | str | None, Quality | None]]) -> int:
    return sum(value is not None or flag is not None for _, value, flag in stored)
