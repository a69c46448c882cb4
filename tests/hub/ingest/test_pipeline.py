"""Ingest on the real stores: what is committed, what is set aside, what is acknowledged, and in which order."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.registry.rig import START, Rig, rig
from lamplighter_hub.ingest.announce import announcer
from lamplighter_hub.ingest.directory import ServicesDirectory, birth_asker
from lamplighter_hub.ingest.foreign import known_in
from lamplighter_hub.ingest.pipeline import Pipeline
from lamplighter_hub.ingest.throttle import Throttle
from lamplighter_hub.series.store import Commit, Quarantined, SeriesError, TimeSeries
from lamplighter_hub.uplink.session import Message
from lamplighter_protocols.envelope import decode, encode
from lamplighter_protocols.topics import Channel, build, parse

OUTBOX = "01M80T5JNV0000000000000000"
AGENT, DEVICE = "agent-1", "lamp-1"


class Source:
    """The uplink's side: what is waiting, what was acknowledged, what went down."""

    def __init__(self) -> None:
        self.waiting: list[Message] = []
        self.acknowledged: list[Message] = []
        self.down: list[tuple[str, bytes]] = []
        self.fill = 0.0

    def take(self, limit: int, timeout_s: float) -> list[Message]:  # noqa: ARG002
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return taken

    def acknowledge(self, messages: list[Message]) -> None:
        self.acknowledged += messages

    def publish(self, topic: str, payload: bytes) -> None:
        self.down.append((topic, payload))

    def receipts(self) -> list[dict[str, Any]]:
        return [decode(payload) for topic, payload in self.down if parse(topic).channel is Channel.RECEIPT]


class Hub:
    """A rig with ingest in front of it."""

    def __init__(self, made: Rig, series: TimeSeries | None = None) -> None:
        self.rig = made
        self.hub = made.hub
        self.source = Source()
        self.pipeline = Pipeline(
            self.source,
            series or self.hub.series,
            self.hub.ledger,
            ServicesDirectory(self.hub, birth_asker(self.hub.keys, self.source.publish, made.clock)),
            self.hub.devices.owner_profile,
            known_in(self.hub.series),
            made.clock,
            announcer(self.hub.live),
            Throttle(made.clock, lambda: self.source.fill).worded,
            desk=self.hub.quarantine.desk,
        )

    def take(self, *messages: Message) -> None:
        self.pipeline.process(list(messages))

    def quarantine(self) -> list[Quarantined]:
        return self.hub.series.quarantine(None, None, limit=100)[0]

    def powers(self) -> list[float]:
        rows, _ = self.hub.series.readings(DEVICE, ["power"], 0, 2**50, limit=1000)
        return [float(row.value) for row in rows if row.value is not None]


@contextmanager
def ingesting(folder: Path) -> Iterator[Hub]:
    with rig(folder) as made:
        made.street(DEVICE)
        yield Hub(made)


def message(channel: Channel, body: Any, *, agent: str = AGENT, device: str = "", qos: int = 0) -> Message:
    payload = body if isinstance(body, bytes) else encode(body)
    return Message(build(agent, channel, device), payload, qos, retain=False, mid=1, arrived_ms=START)


def batch(first: int, *records: Any, agent: str = AGENT, stream: str = "live") -> Message:
    body = {"outbox": OUTBOX, "stream": stream, "first": first, "sent": START, "records": list(records)}
    return message(Channel.BATCH, body, agent=agent)


def birth(session: int = 1, **more: Any) -> Message:
    said = {"session": session, "boot": OUTBOX, "heard_within_s": 30, "outbox": OUTBOX, "sent": START}
    return message(Channel.BIRTH, said | more)


def reading(value: Any, at: int = START, device: str = DEVICE, metric: str = "power") -> dict[str, Any]:
    return {"kind": "readings", "device": device, "t": at, "dt": [0], "m": {metric: [value]}}


def test_a_receipt_follows_the_commit_and_a_repetition_is_not_stored_again(tmp_path: Path) -> None:
    with ingesting(tmp_path) as hub:
        first = batch(1, reading(40), reading(41, START + 1))
        hub.take(first)
        hub.take(first, batch(2, reading(41, START + 1), reading(42, START + 2)))

        assert hub.powers() == [40, 41, 42]
        assert hub.source.receipts()[-1]["through"] == {"live": 3}
        row = hub.hub.ledger.row(AGENT)[0]
        assert (row.received, row.stored, row.duplicate, row.missing) == (6, 3, 3, [])


def test_the_same_twice_in_one_group_is_stored_once(tmp_path: Path) -> None:
    with ingesting(tmp_path) as hub:
        hub.take(batch(1, reading(40)), batch(1, reading(40)))

        assert hub.powers() == [40]


def test_one_bad_record_goes_aside_and_its_neighbours_are_stored(tmp_path: Path) -> None:
    with ingesting(tmp_path) as hub:
        hub.take(batch(9, reading(0, device="nobody")))
        hub.rig.clock.forward(15)
        hub.take(
            batch(
                1,
                reading(40),
                reading("bright"),
                {"kind": "song"},
                reading(41, device="nobody"),
                reading(42, START + 1),
            )
        )

        assert hub.powers() == [40, 42]
        reasons = {entry.reason: entry for entry in hub.quarantine()}
        assert reasons.keys() == {"bad_value", "bad_record", "unknown_device"}
        assert reasons["bad_value"].field == "m.power"
        assert reasons["bad_record"].field.startswith("records.2")
        assert reasons["unknown_device"].device == "nobody"
        row = hub.hub.ledger.row(AGENT)[0]
        assert (row.through, row.stored, row.quarantined) == (5, 2, 3)


@pytest.mark.parametrize("at", [0, 1_500_000_000_000, START + 11 * 60_000])
def test_an_impossible_time_goes_aside(tmp_path: Path, at: int) -> None:
    with ingesting(tmp_path) as hub:
        hub.take(batch(1, reading(40, at)))

        assert hub.powers() == []
        assert [entry.reason for entry in hub.quarantine()] == ["impossible_time"]
        assert hub.source.receipts()[-1]["through"] == {"live": 1}, "it is dealt with and never comes again"


def test_a_time_that_its_agent_does_not_know_goes_aside_though_it_looks_well(tmp_path: Path) -> None:
    with ingesting(tmp_path) as hub:
        hub.take(batch(1, reading(40) | {"clock": "unsynced"}, reading(41)))

        assert hub.powers() == [41]
        assert [(entry.reason, entry.field) for entry in hub.quarantine()] == [("impossible_time", "clock")]
        row = hub.hub.ledger.row(AGENT)[0]
        assert (row.through, row.stored, row.quarantined) == (2, 1, 1)


def test_a_device_of_another_agent_is_refused(tmp_path: Path) -> None:
    with ingesting(tmp_path) as hub:
        hub.rig.birth("agent-2")
        hub.take(batch(1, reading(40), agent="agent-2"))

        assert hub.powers() == []
        assert [entry.reason for entry in hub.quarantine()] == ["foreign_device"]


@pytest.mark.parametrize(
    "broken",
    [
        Message(build(AGENT, Channel.BATCH), b"\x78\x9cgarbage", 0, retain=False, mid=1, arrived_ms=START),
        Message(build(AGENT, Channel.BATCH), b"{}", 0, retain=False, mid=1, arrived_ms=START),
        Message(build(AGENT, Channel.BIRTH), b'{"session": 0}', 1, retain=False, mid=1, arrived_ms=START),
        Message("lamplighter/v1/agent-1/up/gossip", b"{}", 1, retain=False, mid=1, arrived_ms=START),
    ],
)
def test_what_cannot_be_read_goes_aside_and_is_acknowledged(tmp_path: Path, broken: Message) -> None:
    with ingesting(tmp_path) as hub:
        hub.take(broken, batch(1, reading(40)))

        assert hub.powers() == [40]
        assert len(hub.quarantine()) == 1
        assert hub.quarantine()[0].detail
        assert broken in hub.source.acknowledged


def test_dropped_records_close_the_gap_that_they_declare(tmp_path: Path) -> None:
    with ingesting(tmp_path) as hub:
        dropped = {"kind": "dropped", "stream": "live", "first": 1, "last": 3, "count": 3, "t": START}
        hub.take(batch(4, reading(40)), batch(1, dropped, stream="alarm"))

        rows = {row.stream: row for row in hub.hub.ledger.row(AGENT)}
        assert (rows["live"].through, rows["live"].dropped, rows["live"].missing) == (4, 3, [])


def test_a_birth_is_answered_with_the_highest_numbers_and_session(tmp_path: Path) -> None:
    with ingesting(tmp_path) as hub:
        hub.take(birth(session=4), batch(1, reading(40)), batch(7, reading(41, START + 1)))
        hub.take(birth(session=2))

        first, second = (receipt for receipt in hub.source.receipts() if "session" in receipt)
        assert (first["session"], first["highest"]) == (4, {"live": 7})
        assert (second["session"], second["highest"], second["through"]) == (4, {"live": 7}, {"live": 1})


def test_a_birth_is_answered_with_the_lives_that_are_met(tmp_path: Path) -> None:
    with ingesting(tmp_path) as hub:
        lives = [{"id": f"01M80T5JNV{n:016d}", "first": {"alarm": 1, "live": n, "backlog": 1}} for n in (3, 9)]
        hub.take(birth(lives=lives[:1]), batch(3, reading(40)))  # the copy of an outbox that has given more numbers
        hub.take(birth(lives=lives))
        lives[0]["first"] = lives[1]["first"]
        hub.take(birth(lives=lives))
        hub.take(birth())

        answers = [receipt for receipt in hub.source.receipts() if "session" in receipt]
        assert [answer.get("met") for answer in answers] == [[], [], [lives[1]["id"]], None]


def test_a_full_queue_makes_receipts_ask_for_patience(tmp_path: Path) -> None:
    with ingesting(tmp_path) as hub:
        hub.source.fill = 0.9
        hub.take(batch(1, reading(40)))
        hub.source.fill = 0.0
        hub.take(batch(2, reading(41, START + 1)))

        first, second = hub.source.receipts()
        assert first["through"] == {"live": 1}
        assert first["retry_after_ms"] > 5_000
        assert "hold the backlog" in first["reason"]
        assert second.keys().isdisjoint({"retry_after_ms", "reason"})


def test_a_birth_tells_what_a_restored_hub_lost(tmp_path: Path) -> None:
    with ingesting(tmp_path) as hub:
        birth = {"session": 9, "boot": OUTBOX, "heard_within_s": 30, "sent": START, "outbox": OUTBOX}
        hub.take(message(Channel.BIRTH, birth | {"freed": {"live": 7}}))
        (row,) = hub.hub.ledger.row(AGENT)
        assert (row.stream, row.missing) == ("live", [(1, 7)])

        said = {
            "kind": "dropped",
            "stream": "live",
            "first": 1,
            "last": 7,
            "count": 7,
            "reason": "not_held",
            "t": START,
        }
        hub.take(batch(1, said, stream="alarm"))
        rows = {row.stream: row for row in hub.hub.ledger.row(AGENT)}
        assert (rows["live"].through, rows["live"].dropped, rows["live"].holes) == (7, 7, [])


def test_birth_heartbeat_and_farewell_tell_what_the_agent_still_holds(tmp_path: Path) -> None:
    def live() -> tuple[int, int, int]:
        row = next(row for row in hub.hub.ledger.row(AGENT) if row.stream == "live")
        assert row.told_at == START
        return row.sent, row.held, row.unaccounted

    with ingesting(tmp_path) as hub:
        hub.take(batch(1, reading(40)))
        quiet = {"alarm": 0, "backlog": 0}
        hub.take(birth(freed={"live": 1}, held={"live": 9, **quiet}, last={"live": 10}))
        assert live() == (10, 9, 0)
        beat = {"state": "online", "session": 1, "outbox": OUTBOX, "freed": {"live": 1}}
        hub.take(message(Channel.PRESENCE, beat | {"held": {"live": 19, **quiet}, "last": {"live": 20}}))
        assert live() == (20, 19, 0)
        bye = {"state": "offline", "session": 1, "outbox": OUTBOX, "freed": {"live": 3}}
        hub.take(message(Channel.PRESENCE, bye | {"held": {"live": 17, **quiet}, "last": {"live": 20}}))
        assert live() == (20, 17, 2), "two are gone, and nobody has said so yet"


def pack(*values: float, at: int = START, qos: int = 1) -> Message:
    body = [{"n": "power", "u": "W", "v": value, "t": at / 1000} for value in values]
    return message(Channel.SENML, body, device=DEVICE, qos=qos)


def test_senml_at_qos_1_that_comes_again_is_stored_once_whoever_repeats_it(tmp_path: Path) -> None:
    with ingesting(tmp_path) as hub:
        hub.take(pack(12.5), pack(12.5))
        hub.take(pack(13.5, at=START + 1))
        hub.take(pack(12.5), pack(13.5, at=START + 1), pack(14.5, at=START - 1))

        assert hub.powers() == [14.5, 12.5, 13.5]


def test_a_value_whose_quality_was_judged_is_recognised_when_it_comes_again(tmp_path: Path) -> None:
    with ingesting(tmp_path) as hub:
        hub.take(pack(-1e9))
        hub.take(pack(-1e9))

        assert hub.powers() == [-1e9]


def test_equal_readings_within_a_pack_or_at_qos_0_are_what_the_device_says(tmp_path: Path) -> None:
    with ingesting(tmp_path) as hub:
        hub.take(pack(12.5, 12.5))
        hub.take(pack(12.5, at=START + 1, qos=0))
        hub.take(pack(12.5, at=START + 1, qos=0))

        assert hub.powers() == [12.5] * 4


def test_records_that_overtake_their_birth_wait_for_it(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        made.hub.enrolment.provision([AGENT], "test")
        hub = Hub(made)
        early = batch(1, reading(40))
        hub.take(early)
        assert hub.source.receipts() == []
        assert hub.quarantine() == []

        made.birth(AGENT, [DEVICE])
        hub.take(early)
        assert hub.powers() == [40]
        assert hub.source.receipts()[-1]["through"] == {"live": 1}


def test_an_agent_that_was_never_born_is_asked_for_its_birth_and_then_judged(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        made.hub.enrolment.provision([AGENT], "test")
        hub = Hub(made)
        hub.take(batch(1, reading(40)))
        made.clock.forward(15)
        hub.take(batch(1, reading(40)))

        asked = [topic for topic, _ in hub.source.down if parse(topic).channel is Channel.FETCH]
        assert asked == [build(AGENT, Channel.FETCH)]
        assert [entry.reason for entry in hub.quarantine()] == ["unknown_device"]


class FailingSeries:
    """The real store, out of order for its first commits."""

    def __init__(self, real: TimeSeries, failures: list[Exception]) -> None:
        self._real = real
        self._failures = failures

    def commit(self, commit: Commit) -> None:
        if self._failures:
            raise self._failures.pop()
        self._real.commit(commit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def run_until_empty(hub: Hub) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=hub.pipeline.run, args=(stop,))
    thread.start()
    while hub.source.waiting or not hub.source.acknowledged:
        stop.wait(0.01)
    stop.set()
    thread.join(10)


def test_nothing_is_confirmed_while_the_store_is_away(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        made.street(DEVICE)
        away: list[Exception] = [SeriesError("no room"), SeriesError("no room")]
        hub = Hub(made, FailingSeries(made.hub.series, away))
        hub.source.waiting = [batch(1, reading(40))]
        run_until_empty(hub)

        assert hub.powers() == [40]
        assert len(hub.source.receipts()) == 1
        assert hub.pipeline.counts["failures"] == 2
        assert hub.quarantine() == []


def test_a_message_that_breaks_the_hub_is_set_aside_alone(tmp_path: Path) -> None:
    with rig(tmp_path) as made:
        made.street(DEVICE)
        defect: list[Exception] = [ZeroDivisionError(), ZeroDivisionError()]
        hub = Hub(made, FailingSeries(made.hub.series, defect))
        hub.source.waiting = [batch(1, reading(40)), batch(2, reading(41, START + 1))]
        run_until_empty(hub)

        assert hub.powers() == [41]
        assert [entry.reason for entry in hub.quarantine()] == ["internal_error"]
        assert len(hub.source.acknowledged) == 2


def test_payloads_in_quarantine_are_what_came(tmp_path: Path) -> None:
    with ingesting(tmp_path) as hub:
        hub.take(batch(1, {"kind": "song", "title": "Ode"}))

        assert json.loads(hub.quarantine()[0].payload) == {"kind": "song", "title": "Ode"}
