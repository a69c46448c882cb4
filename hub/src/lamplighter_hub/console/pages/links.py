"""Which agents are nearest to what their links may carry a day."""

from __future__ import annotations

from typing import Final, NamedTuple

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from lamplighter_hub.console.page import GuestPage, Page
from lamplighter_protocols.presence import BudgetState, LinkUse

router = APIRouter(include_in_schema=False)

AGENTS: Final = 5
_WORST: Final = {state: place for place, state in enumerate(reversed(BudgetState))}


class Metered(NamedTuple):
    """An agent with a data budget, and what it said of it."""

    agent: str
    link: LinkUse


@router.get("/overview/links")
def links(page: GuestPage) -> HTMLResponse:
    """Show data budgets; nothing where nobody has one."""
    return page.render("overview/_links.html", links=nearest(page))


def nearest(page: Page) -> list[Metered]:
    """Return the agents that have used most of their budgets, those that save or have spent theirs first."""
    found = [Metered(agent, link) for agent, link in page.hub.presence.links() if link.budget_bytes is not None]
    return sorted(found, key=lambda row: (_WORST[row.link.budget], -_part(row.link)))[:AGENTS]


def _part(link: LinkUse) -> float:
    return (link.up + link.down) / (link.budget_bytes or 1)
