"""The typed reader of plain batches beside the models of the contract: whatever it takes, they take in the same way."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from lamplighter_hub.ingest.batches import take_batch
from lamplighter_hub.ingest.group import Group
from lamplighter_hub.ingest.judge import Judge
from lamplighter_hub.ingest.newcomers import Newcomers
from lamplighter_hub.ingest.plain import read_plain, take_plain
from lamplighter_hub.ledger.account import Account, Key
from lamplighter_hub.ledger.ledger import Ledger
from lamplighter_hub.series.store import Mark
from lamplighter_protocols.envelope import encode
from lamplighter_protocols.errors import WireError
from lamplighter_protocols.profile import Profile, load_profiles
from lamplighter_protocols.readings import ReadingsRecord
from lamplighter_protocols.records import BadRecord, Stream, parse_batch
from protocols.test_records import garble, spoil

AGENT, OUTBOX, NOW = "agent-1", "01M80T5JNV0000000000000000", 1_795_476_672_123
KEY = Key(AGENT, OUTBOX, "live")
AIR = load_profiles()["air-station"]
DEVICES: dict[str, Profile | str] = {"air-1": AIR, "air-2": AIR, "air-3": "foreign_device", "air-4": "unknown_profile"}
READINGS = {
    "kind": "readings", "device": "air-1", "t": NOW - 2_000, "dt": [0, 1_000],
    "m": {"pm25": [12.5, 13], "pm10": [20, 21.0], "temp": [21.5, 21.5], "so2": [None, 3]},
}  # fmt: skip
EVENT = {"kind": "event", "device": "air-1", "t": NOW, "name": "door"}
MILLIS = (0, NOW, NOW + 3_600_000, 1_577_836_799_999)


def owner(_agent: str, device: str) -> Profile | str:
    return DEVICES.get(device, "unknown_device")


def said(*records: Any, first: int = 11, **more: Any) -> dict[str, Any]:
    return {"outbox": OUTBOX, "stream": "live", "first": first, "sent": NOW, "records": list(records), **more}


def begun(judge: Judge) -> Group:
    """A group at a hub that has the first ten records of one stream."""
    return Group(
        Ledger([Mark(AGENT, OUTBOX, "live", 1, 10, 10, 0, 0, 0)]).draft(NOW), bytes(10), NOW, judgement=judge.begin()
    )


def carefully(group: Group, payload: bytes) -> None:
    take_batch(group, AGENT, payload, owner, Newcomers(), NOW)


def brought(group: Group) -> Any:
    """All that a group will do."""
    accounts = {key: booked(account) for key, account in group.draft.changed().items()}
    seen = {device: (state.live, state.late) for device, state in group.judgement.seen.items()}
    return group.commit(), accounts, seen, group.receipts, group.records, group.points


def booked(account: Account) -> Any:
    return (
        (account.seen.ranges(), account.gone.ranges()),
        (account.received, account.stored, account.duplicate, account.quarantined, account.held, account.freed),
    )


def chanced(chance: random.Random) -> dict[str, Any]:
    """A batch that is plain, or nearly."""
    first = chance.choice([11, 11, 11, 11, 12, 1, 5])
    records = [chanced_record(chance) for _ in range(chance.choice([1, 1, 2, 4]))]
    more = (
        {"held": {"live": 3, "backlog": chance.choice([0, 9])}, "freed": {"live": 4}} if chance.random() < 0.5 else {}
    )
    return said(*records, first=first, **more)


def chanced_record(chance: random.Random) -> dict[str, Any]:
    rows = chance.choice([1, 1, 2, 5])
    names = chance.sample(["pm25", "pm10", "temp", "rh", "so2", "wind_dir"], chance.choice([1, 2, 4]))
    numbers = [None, 0.0, 1.5, 20, 7, 900.0, 5_000.0, -3.0]
    columns = {name: [chance.choice(numbers) for _ in range(rows)] for name in names}
    dt = [row * chance.choice([0, 1_000, -500]) for row in range(rows)]
    device = chance.choice([*["air-1", "air-1", "air-2"] * 6, "air-3", "air-9"])
    t = chance.choice([*[NOW - 10_000, NOW - 5_000, NOW, NOW] * 6, *MILLIS])
    return {"kind": "readings", "device": device, "t": t, "dt": dt, "m": columns}


@pytest.mark.parametrize("seed", range(10))
def test_a_plain_batch_brings_what_it_brings_when_it_is_looked_at_with_care(seed: int) -> None:
    chance = random.Random(seed)
    plain = 0
    for _ in range(400):
        payload = encode(chanced(chance))
        judge = Judge()
        quick, careful = begun(judge), begun(judge)
        if not take_plain(quick, AGENT, payload, owner):
            assert brought(quick)[0] == brought(begun(judge))[0]
            assert not quick.judgement.seen
            continue
        carefully(careful, payload)
        plain += 1
        assert brought(quick) == brought(careful)
    assert plain > 50


def test_whatever_the_typed_reader_takes_is_what_the_models_read() -> None:
    chance = random.Random(20_261_125)
    taken = 0
    for number in range(20_000):
        record = chanced_record(chance) if number % 2 else READINGS
        records = [spoil(record, chance) if chance.random() < 0.5 else record]
        payload = json.dumps(said(*records)).encode()
        payload = garble(payload, chance) if chance.random() < 0.7 else payload
        try:
            batch = read_plain(payload)
        except WireError:
            continue
        if batch is None or any(len(values) != len(one.dt) for one in batch.records for values in one.m.values()):
            continue  # `take_plain` looks at the lengths
        if not known(batch.outbox, *(one.device for one in batch.records)):
            continue  # what is known needs no look at its spelling
        header, found = parse_batch(payload)
        taken += 1
        assert (header.outbox, header.stream, header.first) == (batch.outbox, batch.stream, batch.first)
        assert (header.held, header.freed) == (batch.held, batch.freed)
        for one, other in zip(batch.records, found, strict=True):
            names = one.m.keys() <= AIR.metrics.keys()
            assert isinstance(other, ReadingsRecord) or (isinstance(other, BadRecord) and not names)
            if isinstance(other, ReadingsRecord):
                assert (one.device, one.t, one.dt, one.m, one.q) == (other.device, other.t, other.dt, other.m, other.q)
    assert taken > 4_000


def known(outbox: str, *devices: str) -> bool:
    return outbox == OUTBOX and set(devices) <= DEVICES.keys()


@pytest.mark.parametrize(
    "body",
    [
        said(READINGS, EVENT),
        said({**READINGS, "q": {"temp": [None, "stale"]}}),
        said({**READINGS, "m": {"pm25": ["a", "b"]}}),
        said({**READINGS, "m": {"pm25": [1.0]}}),
        said({**READINGS, "m": {"no_such_metric": [1.0, 2.0]}}),
        said({**READINGS, "clock": "unsynced"}),
        said({**READINGS, "more": 1}),
        said(READINGS, more=1),
        said({**READINGS, "device": "air-3"}),
        said({**READINGS, "t": 5}),
        said({**READINGS, "dt": [0, 2**60]}),
        said(READINGS, first=12),
        said(READINGS, first=10),
        said(READINGS, first=1, outbox="01M80T5JNV0000000000000001"),
        said(READINGS, first=1, outbox="no outbox"),
        said(READINGS, stream="alarm", first=1),
        said(READINGS, stream="other"),
        {},
    ],
)
def test_what_is_not_plain_is_left_untouched(body: dict[str, Any]) -> None:
    judge = Judge()
    group, fresh = begun(judge), begun(judge)
    assert not take_plain(group, AGENT, encode(body), owner)
    assert group.commit() == fresh.commit()
    changed = group.draft.changed()
    assert set(changed) <= {KEY}, "nothing is opened by looking"
    assert all(booked(account) == booked(fresh.draft.account(KEY)) for account in changed.values())


def test_the_usual_batch_is_plain() -> None:
    """Else all of the above holds, and nothing is any faster."""
    group = begun(Judge())
    body = said(READINGS, READINGS, held={"live": 2, "backlog": 4}, freed={"live": 3, "alarm": 0})
    assert take_plain(group, AGENT, encode(body), owner)
    assert group.commit().marks == [Mark(AGENT, OUTBOX, Stream.LIVE, 11, 12, 2, 0, 0, 0)]
    assert (group.records, group.points) == (2, 14)
