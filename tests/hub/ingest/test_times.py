"""Impossible times: only what has them is set aside, whole, and the ledger counts records all the same."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from hub.ingest.test_pipeline import AGENT, DEVICE, OUTBOX, Hub, batch, ingesting, message, reading
from hub.registry.rig import OPERATOR, START, rig
from lamplighter_hub.commands.service import Request
from lamplighter_hub.ledger.ledger import Row
from lamplighter_hub.series.store import Held
from lamplighter_protocols.envelope import unwrap
from lamplighter_protocols.topics import Channel

EPOCH = 12_000
LATE = START + 40 * 366 * 86_400_000


def row(hub: Hub) -> Row:
    (found,) = hub.hub.ledger.row(AGENT)
    assert found.received == found.stored + found.duplicate + found.quarantined
    return found


def readings(t: int, offsets: list[int], power: list[Any], flags: Any = ()) -> dict[str, Any]:
    return {"kind": "readings", "device": DEVICE, "t": t, "dt": offsets, "m": {"power": power}, "q": dict(flags)}


def test_only_the_readings_with_an_impossible_time_are_set_aside(tmp_path: Path) -> None:
    """A clock that was set while the record grew; no offset reaches further than a year."""
    with ingesting(tmp_path) as hub:
        ahead = 3_600_000
        mixed = readings(START, [ahead, 0, ahead + 9, 1], [1, 2, 3, 4], {"power": [None, None, "stale", None]})
        hub.take(batch(7, mixed))

        assert hub.powers() == [2, 4]
        (entry,) = hub.quarantine()
        assert entry.held == Held(OUTBOX, "live", 7, False, START + ahead, START + ahead + 9)
        kept = json.loads(entry.payload)
        assert (kept["t"], kept["dt"], kept["m"]) == (START, [ahead, ahead + 9], {"power": [1.0, 3.0]})
        assert kept["q"] == {"power": [None, "stale"]}
        assert (row(hub).stored, row(hub).quarantined) == (1, 0), "some of the record is stored"


def test_a_record_of_which_nothing_is_stored_counts_as_quarantined(tmp_path: Path) -> None:
    with ingesting(tmp_path) as hub:
        empty_but_for_its_odd_row = readings(START, [0, 3_600_000], [None, 5])
        hub.take(batch(1, readings(EPOCH, [0, 1], [1, 2]), empty_but_for_its_odd_row))

        assert hub.powers() == []
        assert [entry.held.counted for entry in hub.quarantine() if entry.held] == [True, True]
        assert (row(hub).stored, row(hub).quarantined) == (0, 2)


def test_an_event_keeps_everything(tmp_path: Path) -> None:
    event = {"kind": "event", "device": DEVICE, "t": LATE, "name": "door_open", "data": {"by": "鲍勃"}}
    with ingesting(tmp_path) as hub:
        hub.take(batch(3, event, stream="alarm"))

        (entry,) = hub.quarantine()
        assert entry.held == Held(OUTBOX, "alarm", 3, True, LATE, LATE)
        assert json.loads(unwrap(entry.payload)) == event


def test_a_large_record_is_kept_whole(tmp_path: Path) -> None:
    values = [random.Random(4).random() for _ in range(5_000)]
    with ingesting(tmp_path) as hub:
        hub.take(batch(1, readings(EPOCH, list(range(5_000)), values)))

        (entry,) = hub.quarantine()
        assert entry.held
        assert json.loads(unwrap(entry.payload))["m"]["power"] == values


def test_what_is_too_large_to_be_kept_whole_is_said_and_counted(tmp_path: Path) -> None:
    """`1` may come as two bytes and is four in what is kept."""
    columns = {f"m{number}": [1] * 10_000 for number in range(60)}
    with ingesting(tmp_path) as hub:
        record = {"kind": "readings", "device": DEVICE, "t": EPOCH, "dt": list(range(10_000)), "m": columns}
        hub.take(batch(1, record))

        (entry,) = hub.quarantine()
        assert entry.held is None
        assert "cannot be released" in entry.detail
        assert len(entry.payload) == 16 * 1024
        assert hub.pipeline.counts["not_releasable"] == 1
        assert row(hub).quarantined == 1


def test_of_a_senml_pack_the_possible_readings_are_stored_and_it_is_kept_as_it_came(tmp_path: Path) -> None:
    pack = [{"n": "power", "u": "W", "v": v, "t": t / 1000} for v, t in ((1, START), (2, LATE), (3, START + 1))]
    came = message(Channel.SENML, pack, device=DEVICE)
    with ingesting(tmp_path) as hub:
        hub.take(came)

        assert hub.powers() == [1, 3]
        (entry,) = hub.quarantine()
        assert entry.payload == came.payload
        assert (entry.at, entry.held) == (START, Held("", "", 0, False, LATE, LATE))


@pytest.mark.parametrize("t", [EPOCH, LATE])
def test_what_became_of_a_command_counts_whenever_the_device_says_it_was(tmp_path: Path, t: int) -> None:
    with ingesting(tmp_path) as hub:
        command = hub.hub.commands.create(Request(DEVICE, "switch", {"on": True}), OPERATOR)
        hub.take(
            batch(
                1,
                {"kind": "result", "device": DEVICE, "command": command.id, "state": "received", "t": t},
                {"kind": "result", "device": DEVICE, "command": command.id, "state": "succeeded", "t": t + 1},
            )
        )

        found = hub.hub.commands.find(command.id)
        assert (found.state, found.received_at, found.finished_at) == ("succeeded", START, START)
        assert hub.pipeline.counts["times_replaced"] == 2
        assert row(hub).stored == 2


def test_a_dropped_note_may_span_all_of_time(tmp_path: Path) -> None:
    note = {"kind": "dropped", "stream": "live", "first": 1, "last": 3, "count": 3, "from_t": EPOCH, "to_t": LATE}
    with ingesting(tmp_path) as hub:
        hub.take(batch(4, reading(40)), batch(1, {**note, "t": EPOCH}, stream="alarm"))

        rows = {found.stream: found for found in hub.hub.ledger.row(AGENT)}
        assert (rows["live"].dropped, rows["live"].missing, hub.quarantine()) == (3, [], [])


def test_a_report_of_2070_does_not_hide_what_comes_later(tmp_path: Path, registry_url: str) -> None:
    with rig(tmp_path, registry_url) as made:
        made.street(DEVICE)
        hub = Hub(made)
        desired = made.hub.configuration.put(DEVICE, {"interval_s": 5}, "test").desired
        said = {"kind": "reported", "device": DEVICE, "version": desired.version, "hash": desired.hash}
        hub.take(batch(1, {**said, "state": "rejected", "t": LATE, "reason": "no"}))
        later = batch(2, {**said, "state": "applied", "t": START + 1_000, "document": {"interval_s": 5}})
        made.clock.forward(2)
        hub.take(later._replace(arrived_ms=made.clock()))

        reported = made.hub.configuration.view(DEVICE).reported
        assert reported
        assert (reported.state, reported.t) == ("applied", START + 1_000)
