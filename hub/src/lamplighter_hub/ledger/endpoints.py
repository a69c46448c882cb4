"""The ledger over HTTP: what is stored of each agent's streams, what is missing, what was given up."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from lamplighter_hub.access.dependencies import Hub, Viewer
from lamplighter_hub.ledger.ledger import Row
from lamplighter_hub.registry.paging import Cursor, Limit, Page, read_cursor, write_cursor
from lamplighter_protocols.ids import AgentId

router = APIRouter(tags=["ledger"])


class LedgerRow(BaseModel):
    """One stream of an agent's outbox, in numbers of records.

    `received = stored + duplicate + quarantined`; a stream is whole when nothing is missing.
    """

    agent: str
    outbox: str = Field(description="The agent's outbox database; a new one when that was lost.")
    stream: str = Field(examples=["live"])
    through: int = Field(description="Everything up to this number is dealt with.")
    highest: int = Field(description="The highest number seen.")
    received: int
    stored: int
    duplicate: int
    quarantined: int
    dropped: int = Field(description="What the agent said it had to give up.")
    held: int = Field(description="What the agent still keeps, as it last said.")
    missing: list[tuple[int, int]] = Field(description="Ranges of numbers that never came, first and last.")
    missing_records: int


@router.get("/ledger")
def list_ledger(hub: Hub, _: Viewer, limit: Limit = 100, cursor: Cursor = "") -> Page[LedgerRow]:
    """List all streams by agent, outbox and stream."""
    after = tuple(read_cursor(cursor, str, str, str))
    found = [row for row in hub.ledger.rows() if not after or row[:3] > after]
    page = found[:limit]
    following = write_cursor(*page[-1][:3]) if len(found) > limit else None
    return Page(items=[_shown(row) for row in page], next=following)


@router.get("/ledger/{agent}")
def read_ledger(
    hub: Hub, _: Viewer, agent: Annotated[AgentId, Path()], limit: Limit = 100, cursor: Cursor = ""
) -> Page[LedgerRow]:
    """List the streams of one agent; none before it sent anything."""
    after = tuple(read_cursor(cursor, str, str, str))
    found = [row for row in hub.ledger.row(agent) if not after or row[:3] > after]
    page = found[:limit]
    following = write_cursor(*page[-1][:3]) if len(found) > limit else None
    return Page(items=[_shown(row) for row in page], next=following)


def _shown(row: Row) -> LedgerRow:
    missing = sum(last - first + 1 for first, last in row.missing)
    return LedgerRow.model_validate({**row._asdict(), "missing_records": missing})
