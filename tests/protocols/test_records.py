"""Batches: one bad record never spoils its neighbours, and nothing that comes over the wire does harm."""

from __future__ import annotations

import copy
import json
import random
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter_protocols import envelope
from lamplighter_protocols.commands import Command, Fetch
from lamplighter_protocols.configuration import Desired
from lamplighter_protocols.errors import BadField, WireError
from lamplighter_protocols.field.senml import to_readings
from lamplighter_protocols.model import WireModel, parse_model
from lamplighter_protocols.presence import Birth, Presence
from lamplighter_protocols.profile import load_profiles
from lamplighter_protocols.quality import check_record
from lamplighter_protocols.readings import ReadingsRecord, columnar
from lamplighter_protocols.records import BadRecord, EventRecord, Receipt, parse_batch

ULID = "01M85BZKKV0000000000000000"
T = 1_795_476_600_000
HEADER = {"outbox": ULID, "stream": "live", "first": 7, "sent": T}
READINGS: dict[str, Any] = {
    "kind": "readings",
    "device": "air-12",
    "t": T,
    "dt": [0, 1_000],
    "m": {"pm25": [12.5, None], "door": ["closed", "open"]},
    "q": {"pm25": [None, "sensor_fault"]},
}
EVENT: dict[str, Any] = {"kind": "event", "device": "kiosk-3", "t": T, "name": "paper_out", "data": {"tray": "upper"}}
RESULT = {"kind": "result", "device": "kiosk-3", "command": ULID, "state": "succeeded", "t": T}
REPORTED = {"kind": "reported", "device": "kiosk-3", "version": 1, "hash": "", "state": "applied", "t": T}
DROPPED = {"kind": "dropped", "stream": "backlog", "first": 1, "last": 9, "count": 9, "t": T}
GOOD = [READINGS, EVENT, RESULT, REPORTED, DROPPED]
BAD: list[tuple[Any, str]] = [
    (READINGS | {"m": {"pm25": ["1.5", 2.5]}}, "m.pm25.1"),
    (READINGS | {"m": {"pm25": [True, 2.5]}}, "m.pm25.1"),
    (READINGS | {"m": {"pm25": [2.5, float("nan")]}}, "m.pm25.1"),
    (READINGS | {"m": {"pm25": [float("inf"), 1]}}, "m.pm25.0"),
    (READINGS | {"m": {"event": [1, 2, 3]}}, "m.event"),
    (READINGS | {"m": {"event": [1, []]}}, "m.event.1"),
    (READINGS | {"m": {"float": [[], 1]}}, "m.float.0"),
    (READINGS | {"q": {"readings": [None, "odd"]}}, "q.readings.1"),
    (READINGS | {"dt": [0, "1"]}, "dt.1"),
    (READINGS | {"dt": "now"}, "dt"),
    (EVENT | {"t": True}, "t"),
    (EVENT | {"t": 2**60}, "t"),
    (EVENT | {"name": "Paper out"}, "name"),
    (EVENT | {"data": {"a": float("inf")}}, "data"),
    (EVENT | {"data": [1]}, "data"),
    (RESULT | {"state": "done"}, "state"),
    (REPORTED | {"errors": [{"field": "x"}]}, "errors.0.detail"),
    (REPORTED | {"hash": "md5:1"}, "hash"),
    (DROPPED | {"count": 0}, "count"),
    (DROPPED | {"first": 20}, "last"),
    ({"kind": "rumour"}, ""),
    ({}, ""),
    ([], ""),
    (None, ""),
    ("text", ""),
]


def batch(items: list[Any], **header: Any) -> bytes:
    return json.dumps(HEADER | {"records": items} | header).encode()


@pytest.mark.parametrize(("bad", "field"), BAD)
def test_what_is_wrong_is_named_in_its_place(bad: Any, field: str) -> None:
    _, records = parse_batch(batch([EVENT, bad, EVENT]))
    assert isinstance(records[0], EventRecord)
    assert isinstance(records[2], EventRecord)
    assert isinstance(records[1], BadRecord)
    assert records[1].error.field == "records.1" + (f".{field}" if field else "")
    assert records[1].error.detail
    assert "\n" not in records[1].error.detail


@given(st.lists(st.sampled_from([(record, True) for record in GOOD] + [(bad, False) for bad, _ in BAD]), min_size=1))
def test_one_bad_record_never_spoils_its_neighbours(mixed: list[tuple[Any, bool]]) -> None:
    header, records = parse_batch(batch([record for record, _ in mixed]))
    assert header.first == 7
    assert [not isinstance(record, BadRecord) for record in records] == [good for _, good in mixed]


@pytest.mark.parametrize(
    ("header", "field"),
    [
        ({"first": 0}, "first"),
        ({"first": "1"}, "first"),
        ({"first": 2**53}, "first"),
        ({"stream": "express"}, "stream"),
        ({"outbox": "x"}, "outbox"),
        ({"sent": 1.5}, "sent"),
        ({"held": {"live": -1}}, "held.live"),
        ({"records": []}, "records"),
        ({"records": {}}, "records"),
        ({"records": [EVENT] * 2_001}, "records"),
    ],
)
def test_a_header_that_cannot_be_read_is_named(header: dict[str, Any], field: str) -> None:
    with pytest.raises(BadField) as caught:
        parse_batch(batch([EVENT], **header))
    assert caught.value.field == field


def test_a_payload_that_is_wrong_throughout_is_refused_quickly() -> None:
    columns: dict[str, list[Any]] = {f"m{number}": [[]] * 2_000 for number in range(80)}
    payload = batch([READINGS | {"dt": [0] * 2_000, "m": columns, "q": {}}])
    assert len(payload) < envelope.MAX_JSON
    started = time.process_time()
    _, records = parse_batch(payload if len(payload) <= envelope.MAX_WIRE else envelope.encode(json.loads(payload)))
    assert time.process_time() - started < 2
    assert isinstance(records[0], BadRecord)


MESSAGES: list[tuple[type[WireModel], dict[str, Any]]] = [
    (Birth, {"session": 1, "boot": ULID, "heard_within_s": 30, "sent": T, "devices": [{"id": "a", "profile": "b"}]}),
    (Presence, {"state": "offline", "session": 1, "reason": "connection_lost"}),
    (Receipt, {"outbox": ULID, "through": {"live": 3}, "also": {"alarm": [[5, 6]]}, "now": T}),
    (
        Command,
        {"id": ULID, "agent": "a", "device": "b", "name": "c", "issued_at": T, "expires_at": T + 1, "issuer": "x"},
    ),
    (Fetch, {"agent": "a", "issued_at": T, "stream": "live", "ranges": [[1, 2]]}),
    (
        Desired,
        {"agent": "a", "device": "b", "version": 1, "hash": "", "document": {"interval_s": 2}, "issued_at": T},
    ),
]
SENML = [{"bn": "urn:dev:1/", "bt": 1.7e9, "n": "pm25", "u": "ug/m3", "v": 1}, {"n": "door", "vs": "open", "u": ""}]
JUNK: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 2**53, 2**63, 10**40, float("nan"), float("-inf"), "", "1.5", "NaN", "x" * 3_000),
    *([], {}, [[]], [[1, 2, 3]], [None], {"a": {"b": {"c": {"d": {"e": {}}}}}}, {"": ""}, [0] * 300, "\x00", "é" * 70),
]


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container and key inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in items for place in [(value, key), *places(inner)]]


def spoil(value: Any, chance: random.Random) -> Any:
    """Replace, remove or add something somewhere in a message."""
    spoilt = copy.deepcopy(value)
    for _ in range(chance.choice([1, 1, 1, 2, 5])):
        found = places(spoilt)
        if not found:
            break
        container, key = chance.choice(found)
        act = chance.random()
        if act < 0.7:
            container[key] = copy.deepcopy(chance.choice(JUNK))
        elif act < 0.85 and isinstance(container, dict):
            del container[key]
        elif isinstance(container, dict):
            container[chance.choice(["", "kind", "Größe", "x" * 200, "m", "0"])] = copy.deepcopy(chance.choice(JUNK))
        else:
            container.extend(copy.deepcopy(container[:3]))
    return spoilt


def garble(payload: bytes, chance: random.Random) -> bytes:
    """Change bytes of a payload in transit."""
    garbled = bytearray(payload)
    for _ in range(chance.choice([0, 0, 1, 3])):
        garbled[chance.randrange(len(garbled))] = chance.randrange(256)
    return bytes(garbled[: chance.choice([len(garbled), len(garbled), chance.randrange(len(garbled) + 1)])])


PROFILE = load_profiles()["air-station"]


def take_batch(payload: bytes) -> None:
    for record in parse_batch(payload)[1]:
        if isinstance(record, ReadingsRecord):
            check_record(PROFILE, record)
            record.points()


def test_ten_thousand_bad_payloads_give_only_wire_errors() -> None:
    """Anything else than a WireError would end a hub's ingest or an agent's control."""
    chance = random.Random(20_261_124)
    errors = [error for error in (refusal(chance) for _ in range(12_000)) if error]
    assert len(errors) > 5_000
    for error in errors:
        assert error.detail
        assert "\n" not in str(error)
        assert len(str(error)) < 2_000


def refusal(chance: random.Random) -> WireError | None:
    """Send one spoilt and garbled message; whatever is not a WireError fails the test."""
    kind = chance.randrange(3)
    try:
        if kind == 0:
            take_batch(garble(batch([spoil(record, chance) for record in chance.choices(GOOD, k=3)]), chance))
        elif kind == 1:
            model, message = chance.choice(MESSAGES)
            parse_model(model, garble(json.dumps(spoil(message, chance)).encode(), chance))
        else:
            payload = garble(json.dumps(spoil(SENML, chance)).encode(), chance)
            readings = to_readings(PROFILE, "air-12", payload, T)
            check_record(PROFILE, columnar("air-12", readings))
    except WireError as error:
        return error
    return None


@given(st.binary(max_size=64), st.integers(0, 200), st.integers(0, 200))
def test_bytes_put_into_a_good_batch_do_no_harm(junk: bytes, start: int, length: int) -> None:
    good = batch([READINGS, EVENT])
    with suppress(WireError):
        take_batch(good[:start] + junk + good[start + length :])


def test_what_an_error_quotes_stays_on_its_line() -> None:
    receipt = {"outbox": ULID, "through": {"a\nb\x1b31m": 1}, "now": T}
    with pytest.raises(WireError) as caught:
        parse_model(Receipt, json.dumps(receipt).encode())
    assert str(caught.value).isprintable()
    assert caught.value.field.startswith("through.a\\nb\\x1b31m")


@pytest.mark.parametrize("told", [{"session": 2**53 - 1}, {"highest": {"live": 2**53 - 1}}])
def test_a_receipt_cannot_use_up_the_numbers_of_an_agent(told: dict[str, Any]) -> None:
    with pytest.raises(BadField, match="is above 4503599627370496"):
        parse_model(Receipt, json.dumps({"outbox": ULID, "now": T, **told}).encode())
