"""Quarantine over HTTP: what the hub could not take, and why."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from lamplighter_hub.access.dependencies import Hub, Viewer
from lamplighter_hub.errors import NotFound
from lamplighter_hub.registry.paging import Cursor, Limit, Page
from lamplighter_hub.series.access import answering
from lamplighter_hub.series.store import Quarantined
from lamplighter_protocols.envelope import unwrap
from lamplighter_protocols.errors import BadEnvelope

router = APIRouter(tags=["quarantine"])

SHOWN: Final = 16 * 1024
"""How much of a payload is shown, in characters."""


class QuarantineEntry(BaseModel):
    """A message or record that was set aside."""

    id: str
    at: int
    agent: str
    device: str
    channel: str
    reason: str = Field(examples=["unknown_device"])
    field: str = Field(description="Which field was wrong, where that is known.", examples=["records.0.m.pm25.3"])
    detail: str
    payload_bytes: int


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
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Page[QuarantineEntry]:
    """List what was set aside, newest first."""
    with answering():
        found, following = hub.series.quarantine(agent or None, reason or None, limit=limit, cursor=cursor or None)
    return Page(items=[QuarantineEntry.model_validate(_entry(entry)) for entry in found], next=following)


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


def _entry(entry: Quarantined) -> dict[str, object]:
    return {**entry._asdict(), "payload_bytes": len(entry.payload)}
