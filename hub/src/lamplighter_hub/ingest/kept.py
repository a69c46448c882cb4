"""What is kept whole in quarantine until something is known: the right times, the device, its profile or the metric."""

from __future__ import annotations

from typing import Final, NamedTuple

from lamplighter_hub.ingest.group import MAX_KEPT_PAYLOAD, Group
from lamplighter_hub.series.store import Held, Quarantined
from lamplighter_protocols.envelope import MAX_JSON, MAX_WIRE, wrap
from lamplighter_protocols.errors import BadField
from lamplighter_protocols.readings import ReadingsRecord
from lamplighter_protocols.records import EventRecord
from lamplighter_protocols.topics import Channel

UNKNOWN_METRIC: Final = "unknown_metric"
BAD_VALUE: Final = "bad_value"
AS_THEY_ARE: Final = ("unknown_device", "foreign_device", "unknown_profile", UNKNOWN_METRIC, BAD_VALUE)
"""Reasons that go when the registry or a profile changes: what waits for that is released with its own times."""


class Origin(NamedTuple):
    """Where records came from, and when (ms). A foreign device has no outbox and no stream.

    `filling` says that what lies before them may still come: their agent holds a backlog, or they are late themselves.
    """

    agent: str
    arrived_ms: int
    outbox: str = ""
    stream: str = ""
    filling: bool = False


class Why(NamedTuple):
    """The reason why something is set aside, and what is wrong with which field."""

    reason: str
    error: BadField


def span(record: ReadingsRecord | EventRecord) -> tuple[int, int]:
    """Return the earliest and the latest time (ms) of a record."""
    if isinstance(record, EventRecord):
        return record.t, record.t
    return record.t + min(record.dt), record.t + max(record.dt)


def keep_record(
    group: Group, origin: Origin, number: int, record: ReadingsRecord | EventRecord, why: Why, *, counted: bool = True
) -> None:
    """Set a record aside, whole; `counted` as the ledger does, unless another part of it is stored."""
    held = Held(origin.outbox, origin.stream, number, counted, *span(record))
    content = record.model_dump_json(exclude=None if record.clock else {"clock"}).encode()
    _keep(group, origin, Channel.BATCH, record.device, content, held, why)


def keep_pack(
    group: Group, origin: Origin, device: str, payload: bytes, why: Why, times: tuple[int, int] | None = None
) -> None:
    """Set the SenML pack of a foreign device aside, as it came; without `times` (ms) nobody has read it."""
    earliest, latest = times or (origin.arrived_ms, origin.arrived_ms)
    _keep(group, origin, Channel.SENML, device, payload, Held("", "", 0, False, earliest, latest), why)


def _keep(group: Group, origin: Origin, channel: Channel, device: str, content: bytes, held: Held, why: Why) -> None:
    kept = content if channel is Channel.SENML else wrap(content)
    whole = len(kept) <= MAX_WIRE and len(content) <= MAX_JSON
    group.counts["not_releasable"] += not whole
    detail = why.error.detail
    group.quarantined.append(
        Quarantined(
            id=group.new_id(),
            at=origin.arrived_ms,
            agent=origin.agent,
            device=device,
            channel=channel,
            reason=why.reason,
            field=why.error.field,
            detail=detail if whole else f"{detail}; too large to be kept whole, so it cannot be released",
            payload=kept if whole else content[:MAX_KEPT_PAYLOAD],
            held=held if whole else None,
        )
    )
