"""The InfluxDB store's own affairs: commits that break off, late writes, bounds, buckets that cannot be used."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from lamplighter_hub.series.influx.client import Influx, read_url
from lamplighter_hub.series.influx.lease import Owner
from lamplighter_hub.series.influx.reader import Newest, Reader, Series
from lamplighter_hub.series.influx.store import InfluxSeries, Limits, open_influx
from lamplighter_hub.series.store import (
    BEGINNING,
    END_OF_TIME,
    Commit,
    SeriesError,
    Span,
    StoredEvent,
    StoreUnavailable,
    Unstorable,
)
from lamplighter_protocols.profile import Aggregation
from services.influx import Influxd, influxd
from services.wait import eventually
from suites.series.make import T0, column, everything, flat, mark, refused

TESTS = Owner("tests", "tests")
WHEN = (BEGINNING, END_OF_TIME)


@pytest.fixture
def bucket(influx_server: Influxd, request: pytest.FixtureRequest) -> Iterator[str]:
    name = influx_server.make_bucket(f"lamps {request.node.name}")
    yield name
    influx_server.drop_bucket(name)


def opened(server: Influxd, bucket: str, limits: Limits | None = None) -> InfluxSeries:
    return open_influx(server.series_url(bucket), server.token, TESTS, limits)


def commit(number: int) -> Commit:
    """Commit n: three points, an event, a mark and an entry of quarantine, all of them named n."""
    points = [(T0, float(number)), (T0, float(number)), (T0 + number, float(number))]
    return Commit(
        [column("air-1", "pm25", points)],
        [StoredEvent("air-1", T0, "commit", {"n": number})],
        [mark(number, number)],
        [refused(number)],
    )


def break_off(store: InfluxSeries, broken: Commit) -> None:
    """Write what a commit writes before it becomes valid, and no more."""
    draft = store._draft(broken)
    store._journal.begin(draft.reach)
    store._influx.write(draft.blob)


def holds(store: InfluxSeries, *numbers: int) -> None:
    """Expect these commits, whole, once, and in this order."""
    values = [item.value for item in everything(store, "air-1") if item.t == T0]
    assert values == [float(number) for number in numbers for _ in range(2)]
    assert [item.data["n"] for item in flat(store.export_events([], [], *WHEN))] == list(numbers)
    assert [item.id for item in store.quarantine(None, None, limit=1000)[0]] == [
        refused(number).id for number in reversed(numbers)
    ]
    assert sum(item.stored for item in store.marks()) == len(numbers)
    found = store.counts()
    assert (found.points, found.events, found.quarantined) == (3 * len(numbers), len(numbers), len(numbers))
    assert store.span("air-1", "pm25", T0, T0 + 1) == Span(2 * len(numbers), T0, T0) if numbers else True


def test_a_commit_that_a_hub_did_not_finish_never_was(influx_server: Influxd, bucket: str) -> None:
    store = opened(influx_server, bucket)
    store.commit(commit(1))
    break_off(store, commit(2))
    holds(store, 1)
    again = opened(influx_server, bucket)
    holds(again, 1)
    assert again.latest(["air-1"])["air-1"]["pm25"].value == 1.0
    buckets = again.buckets("air-1", "pm25", T0, T0 + 10, width_ms=10, aggregation=Aggregation.MEAN)
    assert [(found.count, found.mean) for found in buckets] == [(3, 1.0)]
    again.commit(commit(2))
    again.commit(commit(3))
    holds(again, 1, 2, 3)
    again.close()
    third = opened(influx_server, bucket)
    holds(third, 1, 2, 3)
    third.close()
    store.close()


def test_a_write_that_arrives_after_it_was_given_up_stays_void(influx_server: Influxd, bucket: str) -> None:
    slow = opened(influx_server, bucket)
    slow.commit(commit(1))
    late = slow._draft(commit(2))
    slow._journal.begin(late.reach)

    store = opened(influx_server, bucket)
    store.commit(commit(2))
    slow._influx.write(late.blob)
    slow._journal.finish(late.commit.marks, (), late.totals)

    holds(store, 1, 2)
    store.close()
    store = opened(influx_server, bucket)
    holds(store, 1, 2)
    store.commit(commit(3))
    holds(store, 1, 2, 3)
    store.close()
    slow.close()


def test_a_commit_whose_reach_is_gone_is_void_and_stops_no_other(influx_server: Influxd, bucket: str) -> None:
    store = opened(influx_server, bucket)
    store.commit(commit(1))
    store._influx.write(b"commits void=true 2\n")
    store.close()
    again = opened(influx_server, bucket)
    again.commit(commit(2))
    holds(again, 1, 2)
    again.close()


def test_what_may_be_in_the_servers_memory_only_is_written_again(
    influx_server: Influxd, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hub that is killed amid a write leaves it readable, and gone with the server's next start."""
    store = opened(influx_server, bucket)
    store.commit(commit(1))
    written: list[bytes] = []
    whole = Influx.write

    def write(influx: Influx, blob: bytes) -> None:
        written.append(blob)
        whole(influx, blob)

    with monkeypatch.context() as patch:
        patch.setattr(Influx, "write", write)
        store.commit(commit(2))
        finished = next(blob for blob in written if blob.startswith(b"commits body"))
        written.clear()
        again = opened(influx_server, bucket)
        assert finished in written
        break_off(again, commit(3))
        written.clear()
        third = opened(influx_server, bucket)
    (given_up,) = (blob for blob in written if b"void=true" in blob)
    assert given_up.startswith(f"commits void=true,start={T0}i,end={T0 + 3}i,places=".encode())
    holds(third, 1, 2)
    for one in (store, again, third):
        one.close()


def test_another_commit_after_a_failure_takes_the_place_of_the_broken_one(influx_server: Influxd, bucket: str) -> None:
    store = opened(influx_server, bucket)
    store.commit(commit(1))
    break_off(store, commit(2))
    store._doubtful = store._draft(commit(2))
    store.commit(commit(3))
    holds(store, 1, 3)
    assert len(store._journal.valid.voids) == 1
    store.close()


def test_a_server_killed_in_the_middle_of_commits_loses_and_doubles_nothing(tmp_path: Path) -> None:
    seed = random.Random(11)
    with influxd(tmp_path / "influxd") as server:
        store = opened(server, server.make_bucket("lamps"))
        stop = threading.Event()
        done: list[int] = []
        failures: list[str] = []

        def write() -> None:
            while not stop.is_set():
                number = len(done) + 1
                try:
                    store.commit(commit(number))
                except SeriesError as error:
                    failures.append(str(error))
                    stop.wait(0.05)
                else:
                    done.append(number)

        writer = threading.Thread(target=write)
        writer.start()
        for _ in range(6):
            most = len(done) + seed.randint(1, 25)
            eventually(lambda: len(done) >= most or not writer.is_alive(), within_s=30)  # noqa: B023
            failed = len(failures)
            server.kill()
            eventually(lambda: len(failures) > failed or not writer.is_alive())  # noqa: B023
            server.start()
        eventually(lambda: len(done) > most or not writer.is_alive(), within_s=30)
        stop.set()
        writer.join()
        assert all("does not answer" in text and server.token not in text for text in failures)
        holds(store, *done)
        store.close()
        again = opened(server, "lamps")
        holds(again, *done)
        again.close()


def test_records_of_commits_are_summed_up(influx_server: Influxd, bucket: str) -> None:
    store = opened(influx_server, bucket, Limits(records=10))
    for number in range(1, 41):
        store.commit(commit(number))
        if number == 20:
            break_off(store, commit(99))
            store._doubtful = store._draft(commit(99))
    influx = Influx(read_url(influx_server.series_url(bucket)), influx_server.token)
    (records,), (checkpoints,) = influx.query(
        "SELECT count(start) FROM commits", "SELECT count(body_0) FROM checkpoints"
    )
    assert records.rows[0][1] <= 10
    assert checkpoints.rows[0][1] <= 2
    influx.close()
    numbers = [*range(1, 41)]
    holds(store, *numbers)
    store.close()
    again = opened(influx_server, bucket)
    holds(again, *numbers)
    assert list(again.marks()) == [mark(1, 40)]
    again.close()


def test_quarantine_is_bounded_and_what_went_is_counted(influx_server: Influxd, bucket: str) -> None:
    store = opened(influx_server, bucket, Limits(quarantine_rows=20))
    for number in range(50):
        store.commit(Commit(quarantined=[refused(number)]))
    for _ in range(2):
        found = store.counts()
        kept, _ = store.quarantine(None, None, limit=100)
        assert len(kept) == found.quarantined <= 20
        assert [item.id for item in kept] == [refused(number).id for number in range(49, 49 - len(kept), -1)]
        assert found.quarantined + found.quarantine_evicted == 50
        store.close()
        store = opened(influx_server, bucket)
    store.close()


def test_times_beyond_nanoseconds_are_refused_before_anything_is_written(influx_server: Influxd, bucket: str) -> None:
    store = opened(influx_server, bucket)
    for t in (-62_135_596_800_000, 253_402_300_799_999):
        with pytest.raises(Unstorable, match="1678 to 2261"):
            store.commit(Commit([column("air-1", "pm25", [(t, 1.0)])]))
    assert store.metrics("air-1") == []
    store.close()


def test_large_payloads_come_back_whole(influx_server: Influxd, bucket: str) -> None:
    store = opened(influx_server, bucket)
    payload, text = bytes(range(256)) * 8_000, "街" * 700_000
    store.commit(Commit([], [StoredEvent("air-1", T0, "x", {"text": text})], [], [refused(1, payload)]))
    store.commit(Commit([], [StoredEvent("air-1", T0, "x", {})], [], [refused(2, b"")]))
    assert [item.payload for item in store.quarantine(None, None, limit=9)[0]] == [b"", payload]
    assert [item.data for item in flat(store.export_events([], [], *WHEN))] == [{"text": text}, {}]
    store.close()


@pytest.mark.parametrize("metric", ["a b", "a,b", "a=b", "", "a\nb", "a\\"])
def test_names_that_no_profile_allows_are_refused(influx_server: Influxd, bucket: str, metric: str) -> None:
    store = opened(influx_server, bucket)
    with pytest.raises(Unstorable, match="no name"):
        store.commit(Commit([column("air-1", metric, [(T0, 1.0)])]))
    store.close()


def test_what_people_ask_for_is_never_taken_for_a_statement(influx_server: Influxd, bucket: str) -> None:
    store = opened(influx_server, bucket)
    store.commit(Commit([], [StoredEvent("air-1", T0, 'it\'s \\ "so"', {"a": 1})], [], [refused(1, reason="a'b")]))
    assert len(store.events(None, 'it\'s \\ "so"', *WHEN, limit=9)[0]) == 1
    for text in ("' OR 'a' = 'a", "x\\", "a\nb", "\x00", "; DROP MEASUREMENT events"):
        assert store.events(text, text, *WHEN, limit=9) == ([], None)
        assert store.quarantine(text, text, limit=9) == ([], None)
        assert store.quarantined(text) is None
    assert len(store.quarantine(None, "a'b", limit=9)[0]) == 1
    store.close()


@pytest.mark.parametrize("name", ["lamps", "city/lamps", "it's & more"])
def test_a_token_for_the_bucket_alone_is_enough(influx_server: Influxd, name: str) -> None:
    influx_server.make_bucket(name)
    token = influx_server.token_for(name)
    for _ in range(2):
        store = open_influx(influx_server.series_url(name), token, TESTS)
        store.commit(Commit([column("air-1", "pm25", [(T0, 1.0)])]))
        store.close()
    store = open_influx(influx_server.series_url(name), token, TESTS)
    assert store.span("air-1", "pm25", *WHEN).points == 2
    store.close()
    influx_server.drop_bucket(name)


def test_a_bucket_that_cannot_be_used_is_named_in_one_line(influx_server: Influxd) -> None:
    influx_server.make_bucket("forgets", keeps_s=86_400)
    url = influx_server.series_url
    for wrong, token, reason in (
        (url("forgets"), influx_server.token, "retention"),
        (url("nowhere"), influx_server.token, "no bucket nowhere"),
        (url("first"), "secret", "token is wrong"),
        ("http://127.0.0.1:9?org=city&bucket=x", "secret", "does not answer"),
    ):
        with pytest.raises(StoreUnavailable, match=reason) as raised:
            open_influx(wrong, token, TESTS)
        assert "\n" not in str(raised.value)
        assert token not in str(raised.value)


def test_newest_values_are_known_soon_after_a_start_and_each_is_read_once(
    influx_server: Influxd, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lamplighter_hub.series.influx.store.PAGE", 4)
    devices = [f"air-{number:02}" for number in range(30)]
    with closing(opened(influx_server, bucket)) as store:
        store.commit(Commit([column(device, "pm25", [(T0, 1.0), (T0, 2.0)]) for device in devices]))
        break_off(store, Commit([column("air-07", "pm25", [(T0 + 9, 3.0)])]))
    asked: list[str] = []
    real = Reader.newest

    def counted(reader: Reader, series: Sequence[Series]) -> Iterator[Newest]:
        asked.extend(one.device for one in series)
        return real(reader, series)

    monkeypatch.setattr(Reader, "newest", counted)
    with closing(opened(influx_server, bucket)) as store:
        store.commit(Commit([column("air-29", "pm25", [(T0 - 1, 0.0)]), column("air-24", "pm25", [(T0 + 1, 4.0)])]))
        eventually(lambda: not store._newest.missing(range(30)), within_s=20)
        found = [one["pm25"].value for one in store.latest(devices).values()]

        assert found == [2.0] * 24 + [4.0] + [2.0] * 5
        assert len(everything(store, "air-07")) == 2
        store.commit(Commit([column("air-07", "pm25", [(T0 + 9, 5.0), (T0, 6.0)])]))
        assert [item.value for item in everything(store, "air-07")] == [1.0, 2.0, 6.0, 5.0]
    assert set(asked) == set(devices)
    assert len(asked) <= 30 + 2, "a commit asks for its own series where they are not known yet"


def test_a_copy_is_left_to_the_servers_own_tool(influx_server: Influxd, bucket: str, tmp_path: Path) -> None:
    with closing(opened(influx_server, bucket)) as store, pytest.raises(SeriesError, match="influx backup"):
        store.backup(tmp_path)
