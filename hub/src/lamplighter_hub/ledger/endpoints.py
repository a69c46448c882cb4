"""The ledger over HTTP: what is stored of each agent's streams, what is missing, what was given up."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from lamplighter_hub.access.dependencies import Hub, Viewer
from lamplighter_hub.ledger import completeness
from lamplighter_hub.ledger.ledger import Row
from lamplighter_hub.registry.paging import Cursor, Limit, Page, read_cursor, write_cursor
from lamplighter_protocols.ids import AgentId

_WORD: Final = ("told_at", "held", "unaccounted", "adds_up")
"""What only the agent's word tells."""
router = APIRouter(tags=["ledger"])
router.include_router(completeness.router)


class HoleItem(BaseModel):
    """Numbers that never came, and since when the hub has known so (since its start at most)."""

    first: int
    last: int
    since: int


class LedgerRow(BaseModel):
    """One stream of an agent's outbox, in numbers of records.

    `received = stored + duplicate + quarantined`; a stream is whole when nothing is missing.
    `sent = stored + quarantined + dropped + held + unaccounted`, as of the agent's last word.
    """

    agent: str
    outbox: str = Field(description="The agent's outbox database; a new one when that was lost.")
    stream: str = Field(examples=["live"])
    through: int = Field(description="Everything up to this number is dealt with.")
    highest: int = Field(description="The highest number seen.")
    sent: int = Field(description="How many records the agent is known to have numbered.")
    received: int
    stored: int
    duplicate: int
    quarantined: int
    dropped: int = Field(description="What the agent said it had to give up.")
    held: int | None = Field(
        description="What only the agent has, as it last said: by so much the hub is behind. Null as `adds_up` is."
    )
    unaccounted: int | None = Field(
        description="Neither stored, nor in quarantine, nor dropped, nor held. At rest it is 0: what is missing is "
        "asked for, and comes or is declared dropped. Null as `adds_up` is."
    )
    adds_up: bool | None = Field(
        description="Whether nothing is unaccounted for; null while the agent has not said what it holds since the "
        "hub's start. It does so within its `heard_within_s`."
    )
    told_at: int | None = Field(description="When the agent last said what it holds.")
    missing: list[tuple[int, int]] = Field(description="Ranges of numbers that never came, first and last.")
    missing_records: int
    lost: list[tuple[int, int]] = Field(description="Ranges that the agent declared dropped and that did not come.")
    holes: list[HoleItem] = Field(description="The missing ranges with their age; each is asked for again.")


class LedgerTotals(BaseModel):
    """All streams of all agents, in numbers of records."""

    sent: int
    received: int
    stored: int
    duplicate: int
    quarantined: int
    dropped: int
    held: int = Field(description="As far as it is known: see `untold`.")
    unaccounted: int = Field(
        description="`sent = stored + quarantined + dropped + held + unaccounted`; while streams are `untold`, part of "
        "it may be held."
    )
    untold: int = Field(
        description="Streams of which no agent has said since the hub's start what it holds. Each says it within its "
        "`heard_within_s`."
    )
    missing: int
    holes: int = Field(description="Missing ranges.")
    oldest_hole_s: int
    fetches: int = Field(description="How often agents were asked for what is missing, since the start.")
    fetched_records: int = Field(description="Missing records that came, or were declared dropped, when asked for.")
    violations: int = Field(description="How often `received = stored + duplicate + quarantined` did not hold: 0.")
    samples_lost_per_million: float = Field(
        description="Dropped or missing of all records, per million: samples, taking each record for an average one."
    )


@router.get("/ledger")
def list_ledger(hub: Hub, _: Viewer, limit: Limit = 100, cursor: Cursor = "") -> Page[LedgerRow]:
    """List all streams by agent, outbox and stream."""
    after = tuple(read_cursor(cursor, str, str, str))
    found = [row for row in hub.ledger.rows() if not after or row[:3] > after]
    page = found[:limit]
    following = write_cursor(*page[-1][:3]) if len(found) > limit else None
    return Page(items=[_shown(row) for row in page], next=following)


@router.get("/ledger-totals")
def read_totals(hub: Hub, _: Viewer) -> LedgerTotals:
    """Sum up the ledger of the whole city."""
    found = dict.fromkeys(LedgerTotals.model_fields, 0) | dict(hub.facts.get("ledger", hub.ledger.totals)())
    return LedgerTotals.model_validate(found)


@router.get("/ledger/{agent}")
def read_ledger(
    hub: Hub, _: Viewer, agent: Annotated[AgentId, Path()], limit: Limit = 100, cursor: Cursor = ""
) -> Page[LedgerRow]:
    """List the streams of one agent; none before it sent anything."""
    after = tuple(read_cursor(cursor, str, str, str))
    rows = hub.ledger.row(agent)
    if not rows:
        hub.enrolment.agent(agent)
    found = [row for row in rows if not after or row[:3] > after]
    page = found[:limit]
    following = write_cursor(*page[-1][:3]) if len(found) > limit else None
    return Page(items=[_shown(row) for row in page], next=following)


def _shown(row: Row) -> LedgerRow:
    missing = sum(last - first + 1 for first, last in row.missing)
    holes = [hole._asdict() for hole in row.holes]
    shown = {**row._asdict(), "adds_up": row.unaccounted == 0, "holes": holes, "missing_records": missing}
    return LedgerRow.model_validate(shown if row.told_at else shown | dict.fromkeys(_WORD))
