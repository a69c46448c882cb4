"""Payloads that the wire contract does not allow, each for a reason of its own kind; the same ones for the same seed.

Every maker gets a source of chance and the number of the payload, and returns what nobody can take for good.
"""

from __future__ import annotations

import functools
import json
import random
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from lamplighter_protocols.topics import publish_filter

PROFILE: Final = "air-station"
OUTBOX: Final = "01M80T5JNV0000000000000000"
NAN: Final = float("nan")


class Sender(NamedTuple):
    """Whose payloads: an agent, its own device, and a device of somebody else."""

    agent: str
    device: str
    foreign: str


class Junk(NamedTuple):
    """One bad message: what comes after `up/` in its topic, and its payload."""

    tail: str
    payload: bytes


Maker = Callable[[random.Random, Sender, int], Junk]


def topic(agent: str, tail: str) -> str:
    """Return a topic below an agent's own, also one that the scheme does not know."""
    return publish_filter(agent).removesuffix("#") + tail


def now_ms() -> int:
    return time.time_ns() // 1_000_000


# Values that are never right

_NUMBERS: Final[Sequence[Any]] = ("1.5", "now", True, None, [1], {"v": 1}, NAN, float("inf"), 10**30, -(10**30))
_WHOLE: Final[Sequence[Any]] = (*_NUMBERS, 1.5, 2**63)
_IDS: Final[Sequence[Any]] = ("", "UPPER", "a" * 65, "../../etc/passwd", "ä", "a b", "-a", "a/b", "a#", 7, None, ["a"])
_ULIDS: Final[Sequence[Any]] = ("", "short", OUTBOX.lower(), "8" + "Z" * 25, OUTBOX + "0", 5, True, {})
_TEXTS: Final[Sequence[Any]] = (5, True, None, ["x"], {"x": 1}, "x" * 5_000)
_OBJECTS: Final[Sequence[Any]] = (5, "x", [], [{}], True, None)
_LISTS: Final[Sequence[Any]] = (5, "x", {}, True, None)
_DEEP: Final[Any] = json.loads('{"a":' * 30 + "1" + "}" * 30)
_DATA: Final[Sequence[Any]] = (5, "x", [], None, _DEEP, {"x": "y" * 9_000}, {"n": 10**30})


def birth(sender: Sender, session: int) -> dict[str, Any]:
    """Return a good birth."""
    return {
        "session": session,
        "boot": OUTBOX,
        "heard_within_s": 3600,
        "sent": now_ms(),
        "devices": [{"id": sender.device, "profile": PROFILE}],
    }


def batch(first: int, record: Any) -> dict[str, Any]:
    return {"outbox": OUTBOX, "stream": "live", "first": first, "sent": now_ms(), "records": [record]}


def readings(device: str) -> dict[str, Any]:
    return {"kind": "readings", "device": device, "t": now_ms(), "dt": [0, 10], "m": {"temp": [20.5, 21.0]}}


def _records(device: str) -> dict[str, dict[str, Any]]:
    """Return a good record of each kind."""
    base = {"device": device, "t": now_ms()}
    return {
        "readings": readings(device),
        "event": {"kind": "event", **base, "name": "door", "data": {"open": True}},
        "result": {"kind": "result", **base, "command": OUTBOX, "state": "running"},
        "reported": {"kind": "reported", **base, "version": 1, "hash": "", "state": "applied"},
        "dropped": {"kind": "dropped", "stream": "live", "first": 1, "last": 2, "count": 2, "t": now_ms()},
    }


_COLUMNS: Final[Sequence[Any]] = (5, "x", [1], ["1.5", 2], [NAN, 1], [True, 1.5], [[1], [2]], [{}, {}])
_RECORD_FAULTS: Final[dict[str, dict[str, Sequence[Any]]]] = {
    "readings": {
        "device": _IDS,
        "t": _WHOLE,
        "dt": (*_LISTS, [], [0], ["0", "1"], [True, False], [0.5, 1], [NAN, 0], [0, 10**12], [0] * 10_001),
        "m": (
            *_OBJECTS,
            *({"temp": column} for column in _COLUMNS),
            {"Temp!": [1, 2]},
            {"": [1, 2]},
            {f"m{number}": [1, 2] for number in range(257)},
        ),
        "q": (*_OBJECTS, {"temp": ["broken", None]}, {"temp": [None]}, {"temp": [1, 2]}),
    },
    "event": {"device": _IDS, "t": _WHOLE, "name": (*_TEXTS, "", "Bad Name", "UPPER", "a." * 40), "data": _DATA},
    "result": {
        "device": _IDS,
        "t": _WHOLE,
        "command": (*_ULIDS, None),
        "state": (*_TEXTS, "", "done", "SUCCEEDED"),
        "data": _DATA,
        "reason": _TEXTS,
    },
    "reported": {
        "device": _IDS,
        "t": _WHOLE,
        "version": (*_WHOLE, -1),
        "hash": (*_TEXTS, "md5:1", "sha256:" + "z" * 64),
        "state": (*_TEXTS, "", "done"),
        "document": _DATA,
        "errors": (*_LISTS, [5], [{"field": 1, "detail": ""}], [{"field": "a", "detail": "b"}] * 101),
    },
    "dropped": {
        "stream": (*_TEXTS, "", "fast"),
        "first": (*_WHOLE, 0, 3),
        "last": (*_WHOLE, 0, 2**60),
        "count": (*_WHOLE, 0, 3),
        "t": _WHOLE,
    },
}
_HEADER_FAULTS: Final[dict[str, Sequence[Any]]] = {
    "outbox": (*_ULIDS, None),
    "stream": (*_TEXTS, "", "fast", "LIVE"),
    "first": (*_WHOLE, 0, -1),
    "sent": _WHOLE,
    "held": (*_OBJECTS, {"live": -1}, {"live": "many"}, {"fast": 1}),
    "records": (*_LISTS, [], [{}] * 2_001),
}
_BIRTH_FAULTS: Final[dict[str, Sequence[Any]]] = {
    "session": (*_WHOLE, 0, -1),
    "boot": (*_ULIDS, None),
    "agent_version": _TEXTS,
    "clock": (*_TEXTS, "", "maybe"),
    "heard_within_s": (*_WHOLE, 0, 86_401),
    "outbox": _ULIDS,
    "sent": _WHOLE,
    "devices": (
        *_LISTS,
        [5],
        [{}],
        *([{"id": value, "profile": PROFILE}] for value in _IDS),
        *([{"id": "a", "profile": value}] for value in ("", "No Such!", 5, None)),
        *([{"id": "a", "profile": PROFILE, "version": value}] for value in (*_WHOLE, -1)),
        [{"id": "a", "profile": PROFILE, "hash": "md5:1"}],
        [{"id": f"a-{number}", "profile": PROFILE} for number in range(1_001)],
    ),
}
_PRESENCE_FAULTS: Final[dict[str, Sequence[Any]]] = {
    "state": (*_TEXTS, "", "away", "ONLINE"),
    "session": (*_WHOLE, 0, -1),
    "reason": _TEXTS,
    "sent": tuple(value for value in _WHOLE if value is not None),
}
_NEEDED: Final[dict[str, Sequence[str]]] = {
    "readings": ("device", "t", "dt"),
    "event": ("device", "t", "name"),
    "result": ("device", "command", "state", "t"),
    "reported": ("device", "version", "hash", "state", "t"),
    "dropped": ("stream", "first", "last", "count", "t"),
    "header": ("outbox", "stream", "first", "sent", "records"),
    "birth": ("session", "boot", "heard_within_s", "sent"),
    "presence": ("state", "session"),
}


def _spoilt(chance: random.Random, good: dict[str, Any], faults: dict[str, Sequence[Any]], kind: str) -> dict[str, Any]:
    """Return a document with one field missing or wrong."""
    if chance.random() < 0.15:
        gone = chance.choice(_NEEDED[kind])
        return {name: value for name, value in good.items() if name != gone}
    name = chance.choice(list(faults))
    return {**good, name: chance.choice(faults[name])}


# Makers, one for each kind


def bad_header(chance: random.Random, sender: Sender, number: int) -> Junk:
    good = batch(number, readings(sender.device))
    return Junk("batch", _text(chance, _spoilt(chance, good, _HEADER_FAULTS, "header")))


def bad_record(chance: random.Random, sender: Sender, number: int) -> Junk:
    kind, good = chance.choice(list(_records(sender.device).items()))
    odd: Sequence[Any] = (5, "x", None, [], {}, True, {**good, "kind": "wish"}, {**good, "kind": 5})
    record = chance.choice(odd) if chance.random() < 0.1 else _spoilt(chance, good, _RECORD_FAULTS[kind], kind)
    return Junk("batch", _text(chance, batch(number, record)))


def bad_value(chance: random.Random, sender: Sender, number: int) -> Junk:
    good = readings(sender.device)
    record: dict[str, Any] = chance.choice(
        (
            {**good, "m": {"temp": ["warm", "hot"]}},
            {**good, "m": {"temp": [True, False]}},
            {**good, "m": {"heater": [1.0, 2.0]}},
            {**good, "m": {"door": [1.0, 2.0]}},
            {**good, "m": {f"nonsense_{number}": [1.0, 2.0]}},
            {**good, "t": chance.randrange(1_577_836_800_000)},
            {**good, "t": now_ms() + chance.randrange(700_000, 10**12)},
            {**good, "device": sender.foreign},
            {"kind": "event", "device": sender.foreign, "t": now_ms(), "name": "door", "data": {}},
            {"kind": "event", "device": sender.device, "t": 0, "name": "door", "data": {}},
        )
    )
    return Junk("batch", _text(chance, batch(number, record)))


def bad_birth(chance: random.Random, sender: Sender, number: int) -> Junk:
    return Junk("birth", _text(chance, _spoilt(chance, birth(sender, number + 10), _BIRTH_FAULTS, "birth")))


def bad_presence(chance: random.Random, sender: Sender, number: int) -> Junk:
    good = {"state": "offline", "session": number + 10, "reason": "connection_lost", "sent": now_ms()}
    return Junk("presence", _text(chance, _spoilt(chance, good, _PRESENCE_FAULTS, "presence")))


def bad_senml(chance: random.Random, sender: Sender, number: int) -> Junk:
    good = {"n": "temp", "u": "Cel", "v": 21.5}
    wrong: Any = chance.choice(
        (
            {},
            [],
            [5],
            [{"n": "temp"}],
            [{**good, "v": chance.choice(_NUMBERS)}],
            [{**good, "n": chance.choice(("", "a b", "#", "ä", 5, "x" * 300, "TEMP"))}],
            [{**good, "u": chance.choice(("furlong", 5, "m"))}],
            [{**good, "t": chance.choice(("now", 1e20, True, -1e15))}],
            [{**good, "vs": "two values"}],
            [{"n": "temp", "vs": "warm"}],
            [{"n": "temp", "vd": "!"}],
            [{"n": "door", "v": 1}],
            [{**good, "needed_": 1}],
            [{**good, "bver": 99}],
            [{**good, "bt": 300_000_000}],
            [{"n": f"nonsense_{number}", "v": 1}],
            [good] * 10_001,
        )
    )
    device = chance.choice((sender.device, sender.device, sender.device, sender.foreign, f"unknown-{number}"))
    return Junk(f"senml/{device}", _text(chance, wrong))


def bad_bytes(chance: random.Random, sender: Sender, number: int) -> Junk:
    return Junk(_channel(chance, sender), chance.randbytes(chance.choice((0, 1, 2, 7, 64, 300, 5_000))))


@functools.cache
def _bombs() -> tuple[bytes, ...]:
    return zlib.compress(b"[" * 3_000_000), zlib.compress(b'{"session":' + b" " * 8_000_000)


def bad_zlib(chance: random.Random, sender: Sender, number: int) -> Junk:
    whole = zlib.compress(json.dumps(birth(sender, number + 10)).encode())
    payload = chance.choice(
        (
            whole[: chance.randrange(1, len(whole))],
            whole + b"more",
            b"\x78" + chance.randbytes(40),
            zlib.compress(chance.randbytes(400)),
            zlib.compress(zlib.compress(whole)),
            *_bombs(),
        )
    )
    return Junk(_channel(chance, sender), payload)


def bad_json(chance: random.Random, sender: Sender, number: int) -> Junk:
    channel, good = chance.choice(
        (
            ("birth", birth(sender, number + 10)),
            ("presence", {"state": "online", "session": number + 10, "reason": "heartbeat"}),
            ("batch", batch(number, readings(sender.device))),
            (f"senml/{sender.device}", [{"n": "temp", "u": "Cel", "v": 21.5}]),
        )
    )
    text = json.dumps(good).encode()
    payload = chance.choice(
        (
            text[: chance.randrange(1, len(text))],
            text + chance.choice((b"}", b"]", b"x", b"{}", b"\x00")),
            text.replace(b'"', b"'"),
            text.replace(b'"', b'"\xff', 1),
            text.replace(b'"', b'"\\ud800', 1),
            text.replace(b":", b"", 1),
            text.replace(b":", b": NaN, :", 1),
            text.replace(b'"', b'"\x00', 1),
            b"\xef\xbb\xbf" + text,
            text.decode().encode("utf-16"),
            b'{"a":' * chance.choice((100, 20_000)),
            b"[" * chance.choice((100, 100_000)),
        )
    )
    return Junk(channel, payload)


def bad_topic(chance: random.Random, sender: Sender, number: int) -> Junk:
    tail = chance.choice(
        (
            "weather",
            f"weather/{number}",
            "batch/extra",
            f"birth/{sender.device}",
            "senml",
            "senml/UPPER",
            "senml/" + "a" * 65,
            f"senml/{sender.device}/temp",
            f"command/{sender.device}",
            "receipt",
            "x" * 200,
            "a/b/c/d/e/f/g/h",
        )
    )
    return Junk(tail, json.dumps(birth(sender, number + 10)).encode())


MAKERS: Final[dict[str, Maker]] = {
    "header": bad_header,
    "record": bad_record,
    "value": bad_value,
    "birth": bad_birth,
    "presence": bad_presence,
    "senml": bad_senml,
    "bytes": bad_bytes,
    "zlib": bad_zlib,
    "json": bad_json,
    "topic": bad_topic,
}
NAMING: Final = frozenset({"header", "record", "value", "birth", "presence"})
"""Kinds whose payloads are sound JSON, so that a field can be named."""


def make(kind: str, sender: Sender, count: int, seed: int) -> list[Junk]:
    """Return bad messages of one kind, numbered from 1."""
    chance = random.Random(f"{kind}-{seed}")
    return [MAKERS[kind](chance, sender, number) for number in range(1, count + 1)]


def _text(chance: random.Random, value: Any) -> bytes:
    raw = json.dumps(value).encode()
    return zlib.compress(raw) if len(raw) > 400_000 or chance.random() < 0.1 else raw


def _channel(chance: random.Random, sender: Sender) -> str:
    return chance.choice(("birth", "presence", "batch", f"senml/{sender.device}"))
