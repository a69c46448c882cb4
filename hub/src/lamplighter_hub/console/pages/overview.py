"""Overview: is the city fine? Health, rates, delivery, latest events, who was refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from lamplighter_hub.console.page import GuestPage, Page
from lamplighter_hub.console.pages.delivery import summed
from lamplighter_hub.console.pages.links import nearest
from lamplighter_hub.console.rates import Rates
from lamplighter_hub.console.shown import ShownEvent, shown_events
from lamplighter_hub.errors import NotFound
from lamplighter_hub.series.access import answering
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME
from lamplighter_protocols.profile import Profile

router = APIRouter(include_in_schema=False)

EVENTS: Final = 8
LOOKED_AT: Final = 200
REFUSED: Final = 5
AGENTS: Final = 5


@dataclass(frozen=True)
class Health:
    """Numbers of devices by state."""

    counts: list[tuple[str, int]]

    @property
    def total(self) -> int:
        """All devices."""
        return sum(count for _, count in self.counts)


@router.get("/")
def overview(page: GuestPage) -> HTMLResponse:
    """Show the whole page."""
    return page.render(
        "overview.html",
        health=_health(page),
        store=_store(page),
        links=nearest(page),
        events=_events(page),
        refused=_refused(page),
        base_url=page.base_url,
        **_delivery(page),
    )


@router.get("/overview/health")
def health(page: GuestPage) -> HTMLResponse:
    """Show the tiles."""
    return page.render("overview/_health.html", health=_health(page))


@router.get("/overview/store")
def store(page: GuestPage) -> HTMLResponse:
    """Show what is wrong with the store, if anything is."""
    return page.render("overview/_store.html", store=_store(page))


@router.get("/overview/rates")
def rates(page: GuestPage) -> list[tuple[int, float]]:
    """Return the readings per second of the last minutes, as the chart wants them: (time in ms, rate)."""
    kept: Rates = page.request.app.state.rates
    return kept.rows()


@router.get("/overview/delivery")
def delivery(page: GuestPage) -> HTMLResponse:
    """Show what the ledger says."""
    return page.render("overview/_delivery.html", **_delivery(page))


@router.get("/overview/events")
def events(page: GuestPage) -> HTMLResponse:
    """Show the latest events."""
    return page.render("overview/_events.html", events=_events(page))


@router.get("/overview/refused")
def refused(page: GuestPage) -> HTMLResponse:
    """Show who was refused and what was set aside."""
    return page.render("overview/_refused.html", refused=_refused(page))


def _health(page: Page) -> Health:
    return Health(list(page.hub.devices.counts().items()))


def _store(page: Page) -> Mapping[str, Any]:
    """Return what the embedded store says of itself; nothing when there is another one."""
    facts = page.hub.facts.get("sealing")
    return facts() if facts else {}


def _delivery(page: Page) -> dict[str, Any]:
    """Return the sums over all agents, and the streams that are not simply `sent = stored`."""
    rows = page.hub.ledger.rows()
    odd = [row for row in rows if row.sent != row.stored]
    worst = sorted(odd, key=lambda row: (row.unaccounted, row.held), reverse=True)[:AGENTS]
    return {"delivery": summed(rows), "odd": worst}


def _events(page: Page) -> list[ShownEvent]:
    """Return the latest events; what only informs makes room for what is more, within the last LOOKED_AT."""
    with answering():
        found, _ = page.hub.series.events(None, None, BEGINNING, END_OF_TIME, limit=LOOKED_AT)
    profiles = {device: _profile(page, device) for device in {event.device for event in found}}
    shown = shown_events(profiles, page.language, found)
    chosen = sorted(range(len(shown)), key=lambda index: (shown[index].severity == "info", index))[:EVENTS]
    return [shown[index] for index in sorted(chosen)]


def _profile(page: Page, device: str) -> Profile | None:
    try:
        return page.hub.devices.profile(device)
    except NotFound:
        return None


def _refused(page: Page) -> dict[str, Any]:
    connections = page.hub.refusals.rows()
    with answering():
        quarantined, _ = page.hub.series.quarantine(None, None, limit=REFUSED)
    return {
        "connections": connections[:REFUSED],
        "total": sum(entry.count for entry in connections),
        "quarantined": quarantined,
        "quarantine_total": page.hub.series.counts().quarantined,
    }
