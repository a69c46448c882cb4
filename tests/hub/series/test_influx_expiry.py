"""Raw points give way to roll-ups in InfluxDB: crashes and failures at every step, late points, readers beside it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from lamplighter_hub.series.ages import Ages, Policy
from lamplighter_hub.series.influx.lease import Owner
from lamplighter_hub.series.influx.store import InfluxSeries, Limits, open_influx
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Commit, SeriesError, StoredEvent
from lamplighter_protocols.profile import Aggregation, Retention
from services.influx import Influxd
from suites.series.make import column, everything, put

HOUR, DAY = 3_600_000, 86_400_000
FIRST = 1_735_689_600_000 // DAY * DAY
NOW = FIRST + 3 * DAY
POLICY = Policy(
    {Retention.STANDARD: Ages(raw=1, minute=2, events=1)}, lambda *_: Retention.STANDARD, lambda *_: Retention.STANDARD
)
STEPS = ["begin", "write", "after_write", "finish", "after_finish", "delete", "second_delete", "settle"]


class Crash(BaseException):
    """As if the process ended here: nothing tidies up."""


@pytest.fixture
def bucket(influx_server: Influxd, request: pytest.FixtureRequest) -> Iterator[str]:
    name = influx_server.make_bucket(f"lamps {request.node.name}")
    yield name
    influx_server.drop_bucket(name)


def opened(server: Influxd, bucket: str) -> InfluxSeries:
    return open_influx(server.series_url(bucket), server.token, Owner("tests", "tests"), Limits(share=1.0))


def filled(server: Influxd, bucket: str) -> InfluxSeries:
    store = opened(server, bucket)
    points = [(FIRST + i * HOUR, float(i)) for i in range(72)]
    put(store, column("air-1", "pm25", points), column("air-2", "pm25", points))
    return store


def answers(store: InfluxSeries) -> list[Any]:
    found: list[Any] = []
    for device in ("air-1", "air-2"):
        days = store.buckets(device, "pm25", BEGINNING, END_OF_TIME, width_ms=DAY, aggregation=Aggregation.SUM)
        found.append([(bucket.count, bucket.mean, bucket.last) for bucket in days])
        found.append(store.span(device, "pm25", BEGINNING, END_OF_TIME))
    return [*found, store.counts().points]


def failing(store: InfluxSeries, step: str, error: BaseException, patch: pytest.MonkeyPatch) -> None:
    """Let a pass end with an error at a step: before it is done, or - its answer is lost - after it."""
    writes = {"write": b"minutes", "after_write": b"minutes", "after_finish": b"commits body"}
    places: dict[str, tuple[object, str]] = {
        "begin": (store._journal, "begin"),
        "finish": (store._journal, "finish"),
        "delete": (store._influx, "delete"),
        "second_delete": (store._influx, "delete"),
        "settle": (store._journal, "settle"),
    }
    where, name = places.get(step, (store._influx, "write"))
    whole = getattr(where, name)
    spared = [1 if step == "second_delete" else 0]

    def fails(*given: Any, **named: Any) -> Any:
        if step in writes and not given[0].startswith(writes[step]):
            return whole(*given, **named)
        spared[0] -= 1
        if spared[0] >= 0:
            return whole(*given, **named)
        if step.startswith("after"):
            whole(*given, **named)
        raise error

    patch.setattr(where, name, fails)


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_loses_and_doubles_nothing(
    step: str, influx_server: Influxd, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(influx_server, bucket)
    before = answers(store)
    with monkeypatch.context() as patch:
        failing(store, step, Crash(), patch)
        with pytest.raises(Crash):
            store.expire(POLICY, NOW)
    again = opened(influx_server, bucket)
    assert answers(again) == before
    again.expire(POLICY, NOW)
    assert answers(again) == before
    assert [item.value for item in everything(again, "air-1")] == [float(i) for i in range(48, 72)]
    put(again, column("air-1", "pm25", [(FIRST, 1.0)]))
    assert answers(again)[1].points == 73
    again.close()
    again = opened(influx_server, bucket)
    assert everything(again, "air-1")[0].value == 1.0, "what came after it is not deleted with it"
    again.close()


@pytest.mark.parametrize("step", STEPS)
def test_a_failure_is_mended_before_the_next_commit(
    step: str, influx_server: Influxd, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(influx_server, bucket)
    before = answers(store)
    with monkeypatch.context() as patch:
        failing(store, step, SeriesError("the server is away"), patch)
        with pytest.raises(SeriesError):
            store.expire(POLICY, NOW)
        if step in {"delete", "second_delete", "settle"}:
            with pytest.raises(SeriesError):
                put(store, column("air-1", "pm25", [(FIRST, 1.0)]))
    put(store, column("air-3", "pm25", [(NOW, 1.0)]))
    assert answers(store)[:4] == before[:4]
    store.expire(POLICY, NOW)
    assert answers(store)[:4] == before[:4]
    assert len(everything(store, "air-1")) == 24
    store.close()


def test_late_points_that_come_meanwhile_are_not_lost(
    influx_server: Influxd, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(influx_server, bucket)
    summed = store._expiry._sum
    late = [3]

    def late_points(*given: Any) -> Any:
        found = summed(*given)
        if late[0]:
            late[0] -= 1
            put(store, column("air-1", "pm25", [(FIRST + late[0], 100.0)]))
        return found

    monkeypatch.setattr(store._expiry, "_sum", late_points)
    store.expire(POLICY, NOW)
    assert answers(store)[1].points == 75
    assert answers(store)[0][0][:2] == (27, sum(range(24)) + 300.0)
    late[0] = 99
    with pytest.raises(SeriesError, match="late points came"):
        store.expire(POLICY, NOW + DAY)
    late[0] = 0
    store.expire(POLICY, NOW + DAY)
    assert len(everything(store, "air-1")) == 0
    store.close()


def test_a_device_goes_in_one_deletion_and_roll_ups_by_metric(
    influx_server: Influxd, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    classes = {"pm25": Retention.STANDARD, "no2": Retention.STANDARD, "noise": Retention.LONG}
    ages = {Retention.STANDARD: Ages(raw=1, minute=2), Retention.LONG: Ages(raw=2, minute=3)}
    policy = Policy(ages, lambda _, metric: classes[metric], lambda *_: Retention.STANDARD)
    store = opened(influx_server, bucket)
    points = [(FIRST + i * HOUR, float(i)) for i in range(24)]
    put(store, *(column("air-1", metric, points) for metric in ("pm25", "no2")))
    put(store, *(column("air-2", metric, points) for metric in classes))
    asked: list[tuple[Any, ...]] = []
    delete = store._influx.delete

    def noted(measurement: str, first: int, last: int, **tags: str) -> None:
        asked.append((measurement, *tags.values()))
        delete(measurement, first, last, **tags)

    monkeypatch.setattr(store._influx, "delete", noted)
    store.expire(policy, FIRST + 2 * DAY)
    raw = [found for found in asked if found[0] == "readings"]
    assert raw == [("readings", "air-1"), ("readings", "air-2", "no2"), ("readings", "air-2", "pm25")]
    assert len(everything(store, "air-2")) == 24, "what is kept for longer stays"
    asked.clear()
    store.expire(policy, FIRST + 3 * DAY)
    assert sorted(asked) == [
        ("minutes", "no2"),
        ("minutes", "noise"),
        ("minutes", "pm25"),
        ("readings", "air-2", "noise"),
    ]
    store.close()


def test_a_metric_that_begins_meanwhile_does_not_go_with_its_device(
    influx_server: Influxd, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(influx_server, bucket)
    summed, new = store._expiry._sum, ["no2"]

    def beginning(*given: Any) -> Any:
        found = summed(*given)
        while new:
            put(store, column("air-1", new.pop(), [(FIRST + HOUR, 7.0)]))
        return found

    monkeypatch.setattr(store._expiry, "_sum", beginning)
    store.expire(POLICY, FIRST + 2 * DAY)
    assert [item.value for item in everything(store, "air-1") if item.metric == "no2"] == [7.0]
    store.close()


def test_late_events_are_looked_at_again(influx_server: Influxd, bucket: str) -> None:
    store = opened(influx_server, bucket)
    for n in range(2):
        store.commit(
            Commit(events=[StoredEvent("air-1", FIRST + n, "door", {}), StoredEvent("air-1", NOW, "door", {})])
        )
        store.expire(POLICY, NOW)
        assert [event.t for event in store.events(None, None, BEGINNING, END_OF_TIME, limit=9)[0]] == [NOW] * (n + 1)
    store.close()


def test_readers_count_nothing_twice_while_points_go(influx_server: Influxd, bucket: str) -> None:
    store = filled(influx_server, bucket)
    done = threading.Event()
    counted: set[int] = set()

    def look() -> None:
        while not done.is_set():
            found = store.buckets("air-1", "pm25", BEGINNING, END_OF_TIME, width_ms=DAY, aggregation=Aggregation.MEAN)
            counted.add(sum(bucket.count for bucket in found))
            counted.add(store.span("air-1", "pm25", BEGINNING, END_OF_TIME).points)

    reader = threading.Thread(target=look)
    reader.start()
    for day in range(1, 8):
        store.expire(POLICY, FIRST + day * DAY)
    done.set()
    reader.join()
    assert counted == {72}
    store.close()
