"""What a swarm's agent says and understands: births, batches, receipts. Bytes in and out, no socket.

A batch is not kept for sending it again but made again from its number and time, so that thousands of agents with
full windows stay small.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from lamplighter_protocols import envelope
from lamplighter_protocols.errors import WireError
from lamplighter_protocols.profile import Profile

STREAM: Final = "live"
BACKLOG: Final = "backlog"
_SHAPE: Final = tuple(round(0.5 + 0.2 * math.sin(step * math.tau / 256), 4) for step in range(256))


class Column(NamedTuple):
    """A metric that the load fills, and the span its values stay in."""

    metric: str
    low: float
    width: float
    decimals: int


@dataclass(frozen=True)
class Load:
    """The shape of one batch: `points` values in columns of a profile's metrics, one record a batch."""

    points: int
    columns: Sequence[Column]
    row_ms: int = 1_000

    @property
    def rows(self) -> int:
        """Samples a column; the last row is filled only as far as points go."""
        return -(-self.points // len(self.columns))


def load_of(profile: Profile, points: int, interval_s: float = 0.0, wide: int = 6) -> Load:
    """Return the load of so many points a batch, in up to `wide` of the profile's numeric metrics with a range.

    A batch each `interval_s` holds samples of that time, at most a second apart: none is older than the batch before.
    """
    columns = [
        Column(name, metric.range[0], metric.range[1] - metric.range[0], metric.decimals)
        for name, metric in profile.metrics.items()
        if metric.type == "number" and metric.range
    ]
    load = Load(points, columns[: min(points, wide)])
    if not interval_s:
        return load
    return replace(load, row_ms=max(1, min(load.row_ms, int(interval_s * 1000 / load.rows))))


def batch(load: Load, outbox: str, device: str, sequence: int, t: int) -> bytes:
    """Return the batch with record `sequence` of the live stream, sampled up to `t` (ms); always the same bytes."""
    said = {"outbox": outbox, "stream": STREAM, "first": sequence, "sent": t}
    return envelope.encode({**said, "records": [record(load, device, sequence, t)]})


def backlog(outbox: str, first: int, sent: int, records: Sequence[dict[str, Any]]) -> bytes:
    """Return a batch of the backlog stream with records from number `first` on."""
    return envelope.encode({"outbox": outbox, "stream": BACKLOG, "first": first, "sent": sent, "records": records})


def record(load: Load, device: str, sequence: int, t: int) -> dict[str, Any]:
    """Return a readings record whose values follow from its number, sampled up to `t` (ms)."""
    rows, wide = load.rows, len(load.columns)
    missing = rows * wide - load.points
    m: dict[str, list[float | None]] = {}
    for place, (metric, low, width, decimals) in enumerate(load.columns):
        start = sequence * rows + place // 2 * 31  # in pairs, so that fine particles stay below all particles
        values: list[float | None] = [round(low + width * _SHAPE[(start + row) & 255], decimals) for row in range(rows)]
        if place >= wide - missing:
            values[-1] = None
        m[metric] = values
    step = load.row_ms
    first = t - (rows - 1) * step
    return {"kind": "readings", "device": device, "t": first, "dt": [row * step for row in range(rows)], "m": m}


def birth(
    *, session: int, boot: str, outbox: str, heard_within_s: int, sent: int, device: str, profile: str, version: str
) -> bytes:
    """Return the birth of an agent with one device that runs its profile's defaults."""
    return envelope.encode(
        {
            "session": session,
            "boot": boot,
            "agent_version": version,
            "clock": "synced",
            "heard_within_s": heard_within_s,
            "outbox": outbox,
            "sent": sent,
            "devices": [{"id": device, "profile": profile, "version": 0, "hash": ""}],
        }
    )


def presence(state: str, session: int, reason: str, sent: int | None = None) -> bytes:
    """Return a presence message; as a will it carries no time."""
    return envelope.encode({"state": state, "session": session, "reason": reason, "sent": sent})


class Confirmed(NamedTuple):
    """What a receipt says of the live stream: all `through` a number and closed ranges beyond it; and of `backlog`."""

    through: int
    also: tuple[tuple[int, int], ...]
    wait_ms: int
    backlog: int


def receipt(payload: bytes, outbox: str) -> Confirmed | None:
    """Read a receipt; None when it is not one for this outbox."""
    try:
        said = envelope.decode(payload)
        if not isinstance(said, dict) or said.get("outbox") != outbox:
            return None
        ranges = said.get("also", {}).get(STREAM, ())
        return Confirmed(
            int(said.get("through", {}).get(STREAM, 0)),
            tuple((int(first), int(last)) for first, last in ranges),
            int(said.get("retry_after_ms", 0)),
            int(said.get("through", {}).get(BACKLOG, 0)),
        )
    except (WireError, ValueError, TypeError, AttributeError):
        return None


def asks_for_birth(token: bytes) -> bool:
    """True when a signed fetch names no stream. A swarm has nothing to protect, so the signature is not checked."""
    said = _claims(token)
    return said.get("type") == "fetch" and said.get("stream") is None


def _claims(token: bytes) -> dict[str, Any]:
    parts = token.split(b".")
    if len(parts) != 3:
        return {}
    try:
        said = envelope.decode(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
    except (binascii.Error, WireError):
        return {}
    return said if isinstance(said, dict) else {}
