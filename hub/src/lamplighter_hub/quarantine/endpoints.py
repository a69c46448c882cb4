"""Quarantine over HTTP: what the hub could not take and why, and the release of what can be taken after all."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field, model_validator

from lamplighter_hub.access.dependencies import Hub, Operator, Viewer
from lamplighter_hub.errors import NotFound
from lamplighter_hub.ingest.kept import AS_THEY_ARE
from lamplighter_hub.ingest.times import REASON
from lamplighter_hub.quarantine.offsets import Basis
from lamplighter_hub.quarantine.service import MOST_ENTRIES, Selection, Waiting
from lamplighter_hub.registry.paging import Cursor, Limit, Page
from lamplighter_hub.series.access import answering
from lamplighter_hub.series.store import Quarantined
from lamplighter_protocols.envelope import unwrap
from lamplighter_protocols.errors import BadEnvelope
from lamplighter_protocols.ids import AgentId, DeviceId, Ulid
from lamplighter_protocols.model import LATEST

router = APIRouter(tags=["quarantine"])

SHOWN: Final = 16 * 1024
"""How much of a payload is shown, in characters."""


class Released(BaseModel):
    """When an entry was stored after all, by how much its times were moved, and who said so."""

    at: int
    shift_ms: int
    by: str = Field(examples=["token night-shift"])


class QuarantineEntry(BaseModel):
    """A message or record that was set aside.

    One that came with impossible times, or that waits until the hub knows its device, profile or metric, and is kept
    whole is `releasable`; `earliest` and `latest` are its times as the device gave them, `at` is when it arrived.
    """

    id: str
    at: int
    agent: str
    device: str
    channel: str
    reason: str = Field(examples=["unknown_device"])
    field: str = Field(description="Which field was wrong, where that is known.", examples=["records.0.m.pm25.3"])
    detail: str
    payload_bytes: int
    releasable: bool
    earliest: int | None
    latest: int | None
    released: Released | None


class QuarantineDetail(QuarantineEntry):
    """An entry with what came. The payload is foreign text: show it as text only."""

    encoding: Literal["text", "hex"]
    payload: str
    cut: bool = Field(description="Whether more came than is shown.")


@router.get("/quarantine")
def list_quarantine(
    hub: Hub,
    _: Viewer,
    agent: Annotated[str, Query(max_length=64)] = "",
    reason: Annotated[str, Query(max_length=64)] = "",
    device: Annotated[str, Query(max_length=64)] = "",
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Page[QuarantineEntry]:
    """List what was set aside, newest first."""
    with answering():
        found, following = hub.series.quarantine(
            agent or None, reason or None, device=device or None, limit=limit, cursor=cursor or None
        )
    return Page(items=[QuarantineEntry.model_validate(_entry(entry)) for entry in found], next=following)


class QuarantineClock(BaseModel):
    """How far off a device's clock was while it did not step, as the arrivals of its entries that wait tell.

    `shift_ms` is proposed when three entries or more show one offset within five seconds: they were sent at once. It is
    the least of `arrival - newest time`, so it holds the shortest delay of the way; a `time_zone` is whole quarters of
    an hour. Otherwise only people can know: there are too `few` entries, or the offset `varies`.
    """

    agent: str
    device: str
    entries: int
    arrived_first: int
    arrived_last: int
    earliest: int
    latest: int
    least_offset_ms: int
    greatest_offset_ms: int
    shift_ms: int | None
    basis: Basis


@router.get("/quarantine-clocks")
def list_clocks(hub: Hub, _: Viewer) -> list[QuarantineClock]:
    """List the devices whose entries wait for the right times, and by how much these could be moved."""
    return [_clock(found) for found in hub.quarantine.waiting()]


class QuarantineUnknown(BaseModel):
    """Entries of a device that wait until the hub knows the device, its profile or a metric: one line for each reason.

    `why` says what still stands against the newest of them; null when they can be released as they are.
    """

    agent: str
    device: str
    reason: str = Field(examples=["unknown_metric"])
    field: str = Field(examples=["m.pm25"])
    entries: int
    why: str | None


@router.get("/quarantine-unknown")
def list_unknown(hub: Hub, _: Viewer) -> list[QuarantineUnknown]:
    """List what waits until the hub knows its device, its profile or a metric, and whether it does now."""
    return [
        QuarantineUnknown.model_validate({**vars(found), "why": found.why or None})
        for found in hub.quarantine.unknown()
    ]


class ReleaseRequest(BaseModel):
    """What to release, and the right times: moved by `shift_ms`, `as_received`, or `as_they_are`.

    Select by `ids`, or by `agent`, `device` and when the entries arrived (`from` inclusive, `to` exclusive). Without
    `ids`, `as_they_are` takes what waited for its device, profile or metric, and the others what came with wrong times.
    """

    agent: AgentId | None = None
    device: DeviceId | None = None
    ids: Annotated[list[Ulid], Field(max_length=MOST_ENTRIES)] = []
    start: Annotated[int | None, Field(alias="from")] = None
    end: Annotated[int | None, Field(alias="to")] = None
    shift_ms: Annotated[int | None, Field(ge=-LATEST, le=LATEST, examples=[28_800_000])] = None
    as_received: bool = Field(
        default=False,
        description="The newest time of each entry becomes its arrival: right if sent at once.",
    )
    as_they_are: bool = Field(
        default=False,
        description="Their times are right; what was set aside because the hub did not know it is known now.",
    )
    dry_run: bool = Field(default=False, description="Change nothing; say what all that is selected would become.")

    @model_validator(mode="after")
    def _says_which_and_how(self) -> ReleaseRequest:
        if self.ids and (self.agent or self.device):
            raise ValueError("ids: name entries, or an agent or device, not both")
        if not (self.ids or self.agent or self.device):
            raise ValueError("device: say which entries: give device, agent or ids")
        if [self.shift_ms is not None, self.as_received, self.as_they_are].count(True) != 1:
            raise ValueError("shift_ms: give one of shift_ms, as_received and as_they_are")
        return self

    @property
    def selection(self) -> Selection:
        """Which entries."""
        reasons = AS_THEY_ARE if self.as_they_are else (REASON,)
        return Selection(self.agent or "", self.device or "", self.ids, self.start, self.end, reasons)


class KeptEntry(BaseModel):
    """An entry that stays in quarantine, and why."""

    id: str
    why: str


class ReleaseAnswer(BaseModel):
    """What was released, or would be. `repetitions` are released entries that bring nothing new.

    `earliest` and `latest` are the new times. `staying` entries cannot be released, `kept` names the first of them.
    One call takes 1,000 entries at most: with `more`, call again.
    """

    released: int
    repetitions: int
    staying: int
    kept: list[KeptEntry]
    earliest: int | None
    latest: int | None
    more: bool


@router.post("/quarantine/release")
def release(hub: Hub, who: Operator, body: ReleaseRequest) -> ReleaseAnswer:
    """Store entries with the right times, or that can be taken by now: all of a call in one commit, once."""
    shift_ms = 0 if body.as_they_are else body.shift_ms
    if body.dry_run:
        found = hub.quarantine.preview(body.selection, shift_ms)
    else:
        found = hub.quarantine.release(body.selection, shift_ms, who.issuer)
    kept = [KeptEntry(id=one.entry, why=one.why) for one in found.kept]
    return ReleaseAnswer.model_validate({**vars(found), "kept": kept})


@router.get("/quarantine/{entry}")
def read_quarantine(hub: Hub, _: Viewer, entry: Annotated[str, Path(max_length=64)]) -> QuarantineDetail:
    """Show one entry with its payload, decompressed where it was compressed."""
    with answering():
        found = hub.series.quarantined(entry)
    if found is None:
        raise NotFound(f"no entry {entry!r} in quarantine; the oldest make room for new ones", code="entry_unknown")
    encoding, payload, cut = shown(found.payload)
    return QuarantineDetail.model_validate({**_entry(found), "encoding": encoding, "payload": payload, "cut": cut})


def shown(payload: bytes) -> tuple[Literal["text", "hex"], str, bool]:
    r"""Return how a payload is shown: as text with control characters escaped, or in hex; and whether it is cut.

    >>> shown(b'{"a":1}'), shown(b"\xff\x00")
    (('text', '{"a":1}', False), ('hex', 'ff 00', False))
    """
    try:
        text = unwrap(payload).decode()
    except (BadEnvelope, UnicodeDecodeError):
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            return "hex", payload[: SHOWN // 3].hex(" "), len(payload) > SHOWN // 3
    printable = "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text[:SHOWN])
    return "text", printable, len(text) > SHOWN


def _entry(entry: Quarantined) -> dict[str, Any]:
    held, release = entry.held, entry.release
    return entry._asdict() | {
        "payload_bytes": len(entry.payload),
        "releasable": held is not None and release is None,
        "earliest": held.earliest if held else None,
        "latest": held.latest if held else None,
        "released": Released(at=release.at, shift_ms=release.shift, by=release.by) if release else None,
    }


def _clock(found: Waiting) -> QuarantineClock:
    run = found.run
    return QuarantineClock(
        agent=found.agent,
        device=found.device,
        entries=run.entries,
        arrived_first=run.arrived_first,
        arrived_last=run.arrived_last,
        earliest=run.earliest,
        latest=run.latest,
        least_offset_ms=run.low,
        greatest_offset_ms=run.high,
        shift_ms=run.shift,
        basis=run.basis,
    )
