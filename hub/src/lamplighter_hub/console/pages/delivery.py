"""What became of what agents sent: of one agent, and of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path
from starlette.responses import HTMLResponse

from lamplighter_hub.console.page import GuestPage, Page
from lamplighter_hub.ledger.ledger import Row
from lamplighter_protocols.ids import AgentId

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Delivery:
    """Streams and their sums: `sent = stored + quarantined + dropped + held + unaccounted` where all is told.

    `untold` is how many of the streams hold nobody knows what since the hub's start; `told_at` (ms) is the oldest word.
    """

    sent: int
    stored: int
    quarantined: int
    dropped: int
    held: int
    unaccounted: int
    untold: int
    told_at: int
    streams: list[Row]


@router.get("/agents/{agent}/delivery")
def delivery(page: GuestPage, agent: Annotated[AgentId, Path()]) -> HTMLResponse:
    """Show what became of what one agent sent."""
    return page.render("device/_delivery.html", agent=agent, delivery=of_agent(page, agent))


def of_agent(page: Page, agent: str) -> Delivery:
    """Return the streams of one agent of which anything is known."""
    return summed([row for row in page.hub.ledger.row(agent) if row.sent])


def summed(rows: Sequence[Row]) -> Delivery:
    """Sum up streams."""
    return Delivery(
        sent=sum(row.sent for row in rows),
        stored=sum(row.stored for row in rows),
        quarantined=sum(row.quarantined for row in rows),
        dropped=sum(row.dropped for row in rows),
        held=sum(row.held for row in rows),
        unaccounted=sum(row.unaccounted for row in rows if row.told_at),
        untold=sum(not row.told_at for row in rows),
        told_at=min((row.told_at for row in rows), default=0),
        streams=list(rows),
    )
