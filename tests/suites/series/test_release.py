"""What was set aside for its times is released once, on every store, wherever the hub ends meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

from lamplighter_hub.errors import Conflict
from lamplighter_hub.ingest.desk import Desk
from lamplighter_hub.ingest.foreign import known_in
from lamplighter_hub.ingest.pipeline import Pipeline
from lamplighter_hub.ledger.ledger import Ledger
from lamplighter_hub.quarantine.service import Outcome, QuarantineService, Selection
from lamplighter_hub.series import aside
from lamplighter_hub.series.duckdb import DuckDbSeries
from lamplighter_hub.series.influx.client import Influx
from lamplighter_hub.series.influx.journal import Journal
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, SeriesError, TimeSeries
from lamplighter_hub.uplink.session import Message
from lamplighter_protocols.envelope import encode
from lamplighter_protocols.profile import Profile, parse_profile
from lamplighter_protocols.topics import Channel, build
from suites.series.make import T0, everything
from suites.series.stores import Open

AGENT, DEVICE, OUTBOX = "pole-1", "air-1", "01M80T5JNV0000000000000000"
PROFILE = parse_profile(
    'id = "p"\ndevice_class = "test"\ntitle = { en = "p" }\n'
    '[metrics.pm25]\nunit = "ug/m3"\ntitle = { en = "PM2.5" }\n[metrics.odd]\ntitle = { en = "Odd" }\n'
)
DAY = 86_400_000
OFFSET = T0 - 40_000
"""By how much the clock is behind that begins with 1970."""


class Crash(Exception):
    """The hub's process ends here."""


class Registry:
    """Takes whatever it is told."""

    def __getattr__(self, name: str) -> Callable[..., int]:
        return lambda *_: 0


class HubSide:
    """Store, ledger, pipeline and quarantine of a hub; opened again it knows what its store knows."""

    def __init__(self, open_store: Open, folder: Path) -> None:
        self._open_store, self._folder = open_store, folder
        self.now = T0
        self.start()

    def start(self) -> None:
        self.series: TimeSeries = self._open_store(self._folder)
        self.ledger = Ledger(self.series.marks(), self.now)
        self.quarantine = QuarantineService(self.series, _owner, lambda: self.now, Desk())
        directory: Any = Registry()
        self.pipeline = Pipeline(
            self,
            self.series,
            self.ledger,
            directory,
            _owner,
            known_in(self.series),
            lambda: self.now,
            lambda _: None,
            desk=self.quarantine.desk,
        )

    def again(self) -> None:
        """End, and start from what is on the disk."""
        self.series.close()
        self.start()

    def hear(self, first: int, *records: dict[str, Any], arrived: int | None = None) -> None:
        body = {"outbox": OUTBOX, "stream": "live", "first": first, "sent": self.now, "records": list(records)}
        self.pipeline.process([_message(Channel.BATCH, encode(body), arrived or self.now)])

    def hear_pack(self, *values: tuple[float, int], qos: int = 1, arrived: int | None = None) -> None:
        pack = [{"n": "pm25", "u": "ug/m3", "v": value, "t": t / 1000} for value, t in values]
        self.pipeline.process([_message(Channel.SENML, encode(pack), arrived or self.now, qos)])

    def release(self, shift: int | None = OFFSET, ids: list[str] | None = None, **more: Any) -> Outcome:
        chosen = Selection(ids=ids) if ids else Selection(device=DEVICE)
        with self.working():
            return self.quarantine.release(chosen._replace(**more), shift, "operator")

    @contextmanager
    def working(self) -> Iterator[None]:
        """Let the ingest thread attend to what it is asked."""
        stop = threading.Event()

        def work() -> None:
            while not stop.wait(0.002):
                self.pipeline.attend(stop)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def found(self) -> list[tuple[int, Any]]:
        return [(reading.t, reading.value) for reading in everything(self.series, DEVICE, "pm25")]

    def books(self) -> tuple[int, int, int]:
        """Stored, duplicate and quarantined records; they add up."""
        (row,) = self.ledger.row(AGENT)
        assert row.received == row.stored + row.duplicate + row.quarantined
        return row.stored, row.duplicate, row.quarantined

    def take(self, limit: int, timeout_s: float) -> list[Message]:  # noqa: ARG002
        return []

    def acknowledge(self, messages: list[Message]) -> None: ...
    def publish(self, topic: str, payload: bytes) -> None: ...


def _owner(agent: str, device: str) -> Profile | str:
    return PROFILE


def _message(channel: Channel, payload: bytes, arrived: int, qos: int = 0) -> Message:
    device = DEVICE if channel is Channel.SENML else ""
    return Message(build(AGENT, channel, device), payload, qos, retain=False, mid=1, arrived_ms=arrived)


def record(t: int, *values: float | None, metric: str = "pm25") -> dict[str, Any]:
    return {"kind": "readings", "device": DEVICE, "t": t, "dt": list(range(len(values))), "m": {metric: list(values)}}


@pytest.fixture
def side(open_store: Open, tmp_path: Path) -> Iterator[HubSide]:
    made = HubSide(open_store, tmp_path)
    yield made
    made.series.close()


def ids(side: HubSide) -> list[str]:
    return [entry.id for entry in side.series.quarantine(None, None, limit=100, oldest_first=True)[0]]


def test_released_records_are_stored_with_right_times_and_booked(side: HubSide) -> None:
    event = {"kind": "event", "device": DEVICE, "t": 39_000, "name": "door_open", "data": {"n": 1}}
    side.hear(1, record(30_000, 1.0, 2.0), record(T0, 9.0), event)
    assert side.books() == (1, 0, 2)

    done = side.release()
    assert (done.released, done.staying, done.more) == (2, 0, False)
    assert (done.earliest, done.latest) == (T0 - 10_000, T0 - 1_000)
    side.hear(1, record(30_000, 1.0, 2.0), record(T0, 9.0), event)
    for _ in range(2):
        assert side.found() == [(T0 - 10_000, 1.0), (T0 - 9_999, 2.0), (T0, 9.0)]
        events, _ = side.series.events(DEVICE, None, BEGINNING, END_OF_TIME, limit=9)
        assert [(event.t, event.name, event.data) for event in events] == [(T0 - 1_000, "door_open", {"n": 1})]
        assert side.series.latest([DEVICE])[DEVICE]["pm25"].value == 9.0
        assert side.books()[::2] == (3, 0)
        releases = [entry.release for entry in side.series.quarantine(None, None, limit=9)[0] if entry.release]
        assert {(release.at, release.shift, release.by) for release in releases} == {(T0, OFFSET, "operator")}
        side.again()


def test_a_second_release_says_so_and_doubles_nothing(side: HubSide) -> None:
    side.hear(1, record(30_000, 1.0))
    named = ids(side)
    side.release()
    with pytest.raises(Conflict, match="nothing of this waits"):
        side.release()
    with pytest.raises(Conflict, match=f"{named[0]} was released already, moved by {OFFSET} ms by operator"):
        side.release(shift=OFFSET + 5, ids=named)
    assert side.found() == [(T0 - 10_000, 1.0)]


def test_a_preview_changes_nothing_and_says_what_would_stay(side: HubSide) -> None:
    side.hear(1, record(30_000, 1.0), record(T0 + DAY, 2.0), record(30_000, 3.0, metric="nobody_knows"))
    found = side.quarantine.preview(Selection(agent=AGENT), OFFSET)
    assert (found.released, found.staying, found.earliest) == (1, 2, T0 - 10_000)
    assert [one.entry for one in found.kept] == ids(side)[1:]
    assert "more than ten minutes ahead" in found.kept[0].why
    assert "nobody_knows" in found.kept[1].why
    assert side.found() == []
    assert side.books() == (0, 0, 3)


def test_a_part_of_a_record_leaves_the_books_alone(side: HubSide) -> None:
    side.hear(1, {**record(T0, 1.0, 2.0), "dt": [0, 2 * 3_600_000]})
    assert side.books() == (1, 0, 0)
    side.release(shift=-3_600_000 * 2)
    assert side.found() == [(T0, 1.0), (T0, 2.0)]
    assert side.books() == (1, 0, 0)


def test_as_received_takes_each_arrival_for_its_newest_time(side: HubSide) -> None:
    side.hear(1, record(5, 1.0, 2.0), arrived=T0 - 60_000)
    side.hear(2, record(9, 3.0), arrived=T0 - 30_000)
    side.release(shift=None)
    assert side.found() == [(T0 - 60_001, 1.0), (T0 - 60_000, 2.0), (T0 - 30_000, 3.0)]


def test_only_what_arrived_in_a_span_is_released(side: HubSide) -> None:
    for number in range(4):
        side.hear(number + 1, record(number, float(number)), arrived=T0 + number)
    side.release(start=T0 + 1, end=T0 + 3)
    assert [value for _, value in side.found()] == [1.0, 2.0]


@pytest.mark.parametrize("shift", [OFFSET, None])
def test_a_pack_that_came_twice_is_released_once(side: HubSide, shift: int | None) -> None:
    side.hear_pack((1.0, 30_000 + 10**12), (1.0, 30_000 + 10**12))
    side.hear_pack((1.0, 30_000 + 10**12), (1.0, 30_000 + 10**12), arrived=T0 + 7_000)
    side.hear_pack((2.0, 30_009 + 10**12), arrived=T0 + 9)
    done = side.release(shift if shift is None else shift - 10**12)
    assert (done.released, done.repetitions) == (3, 1)
    assert [value for _, value in side.found()] == [1.0, 1.0, 2.0], "what a pack says twice is its own business"
    side.hear_pack((2.0, 30_009 + 10**12), arrived=T0 + 11)
    again = side.release(shift if shift is None else shift - 10**12)
    assert (again.released, again.repetitions) == (1, 1)
    assert len(side.found()) == 3


def test_a_repetition_is_known_though_its_first_is_not_selected(side: HubSide) -> None:
    for arrived in (T0, T0 + 5_000):
        side.hear_pack((1.0, 30_000 + 10**12), arrived=arrived)
    assert side.release(None, start=T0 + 1).repetitions == 1
    assert side.release(None).repetitions == 0
    assert side.found() == [(T0, 1.0)]


def test_what_one_commit_does_not_take_is_left_for_the_next(side: HubSide, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamplighter_hub.quarantine.service.MOST_ENTRIES", 2)
    monkeypatch.setattr("lamplighter_hub.quarantine.service.PAGE", 2)
    side.hear(1, *(record(10 * number, float(number)) for number in range(5)))
    assert [(done.released, done.more) for done in (side.release(), side.release(), side.release())] == [
        (2, True),
        (2, True),
        (1, False),
    ]
    assert [value for _, value in side.found()] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert side.books() == (5, 0, 0)


Step = tuple[Any, str, str]
STEPS: dict[str, list[Step]] = {
    "duckdb": [(aside, "write", "before"), (aside, "write", "after"), (DuckDbSeries, "_settle", "before")],
    "influx": [
        (Journal, "begin", "before"),
        (Journal, "begin", "after"),
        (Influx, "write", "after"),
        (Journal, "finish", "before"),
        (Journal, "finish", "after"),
    ],
}
STEPS["duckdb-eager"] = STEPS["duckdb"]
BEYOND: list[Step] = [(Ledger, "take", "before"), (Ledger, "take", "after")]


def crashing(monkeypatch: pytest.MonkeyPatch, step: Step) -> None:
    owner, name, when = step
    real = getattr(owner, name)

    @wraps(real)
    def ends(*args: Any, **more: Any) -> Any:
        if when == "after":
            real(*args, **more)
        raise Crash(name)

    monkeypatch.setattr(owner, name, ends)


def test_a_crash_at_any_step_releases_exactly_once(
    store_name: str, open_store: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = []
    for number, step in enumerate([*STEPS[store_name], *BEYOND]):
        folder = tmp_path / str(number)
        folder.mkdir()
        side = HubSide(open_store, folder)
        side.hear(1, record(30_000, 1.0, 2.0), record(T0, 9.0), record(35_000, 3.0))
        with monkeypatch.context() as patch:
            crashing(patch, step)
            with suppress(Crash):
                side.release()
                pytest.fail(f"{step} was never reached")
        side.again()
        assert side.books() in {(1, 0, 2), (3, 0, 0)}
        outcomes.append(side.books() == (3, 0, 0))
        with suppress(Conflict) if outcomes[-1] else _nothing():
            side.release()
        side.hear(1, record(30_000, 1.0, 2.0), record(T0, 9.0), record(35_000, 3.0))
        for _ in range(2):
            assert side.found() == [(T0 - 10_000, 1.0), (T0 - 9_999, 2.0), (T0 - 5_000, 3.0), (T0, 9.0)], step
            assert side.books()[::2] == (3, 0), step
            side.again()
        side.series.close()
    assert set(outcomes) == {True, False}, "some steps are before the commit, some behind it"


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def test_a_store_that_is_away_for_a_moment_gets_it_once(side: HubSide, monkeypatch: pytest.MonkeyPatch) -> None:
    side.hear(1, record(30_000, 1.0))
    real, failures = side.series.commit, [SeriesError("away"), SeriesError("away")]

    def commit(what: Any) -> None:
        if failures:
            raise failures.pop()
        real(what)

    monkeypatch.setattr(side.series, "commit", commit)
    monkeypatch.setattr("lamplighter_hub.ingest.pipeline.RETRY_S", 0.01)
    side.release()
    assert side.found() == [(T0 - 10_000, 1.0)]
    assert side.books() == (1, 0, 0)
    assert side.pipeline.counts["failures"] == 2
