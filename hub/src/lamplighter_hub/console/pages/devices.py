"""Devices: find one among many. Filters are in the address; pages follow the id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from starlette.responses import HTMLResponse

from lamplighter_hub.console.page import GuestPage, Page
from lamplighter_hub.console.pages.delivery import of_agent
from lamplighter_hub.console.render import is_fragment
from lamplighter_hub.console.shown import ShownDevice, shown_device
from lamplighter_hub.devices.service import Filter
from lamplighter_hub.errors import NotFound
from lamplighter_hub.registry.paging import read_cursor, write_cursor

router = APIRouter(include_in_schema=False)

ROWS: Final = 50
Text = Annotated[str, Query(max_length=64)]


@dataclass(frozen=True)
class ListQuery:
    """What the address asks for; empty means all."""

    q: Text = ""
    state: Text = ""
    profile: Text = ""
    agent: Text = ""
    cursor: Annotated[str, Query(max_length=400)] = ""

    def path(self) -> str:
        """Return the address of this query."""
        given = {name: value for name, value in vars(self).items() if value}
        return "/devices" + (f"?{urlencode(given)}" if given else "")


@dataclass(frozen=True)
class DeviceList:
    """One page of devices. `counts` are of the query without its state."""

    query: ListQuery
    rows: list[ShownDevice]
    counts: list[tuple[str, int]]
    next: str

    @property
    def all(self) -> int:
        """Devices in any state."""
        return sum(count for _, count in self.counts)

    @property
    def total(self) -> int:
        """Devices that pass the whole filter."""
        return dict(self.counts).get(self.query.state, self.all)

    @property
    def first(self) -> str:
        """Address of the first page; empty on it."""
        return replace(self.query, cursor="").path() if self.query.cursor else ""

    @property
    def filtered(self) -> bool:
        """True when something narrows the list."""
        return any((self.query.q, self.query.state, self.query.profile, self.query.agent))

    def link(self, **changes: str) -> str:
        """Return the address with something else chosen, from its first page."""
        return replace(self.query, cursor="", **changes).path()


@router.get("/devices")
def devices(page: GuestPage, query: Annotated[ListQuery, Depends()]) -> HTMLResponse:
    """Show the table, or only the list when the filter form asks."""
    query = replace(query, q=query.q.strip())
    name = "devices/_list.html" if is_fragment(page.request) else "devices/page.html"
    delivery = of_agent(page, query.agent) if query.agent else None
    return page.render(
        name, list=_list(page, query), profiles=_profiles(page), base_url=page.base_url, delivery=delivery
    )


@router.get("/devices/rows")
def rows(page: GuestPage, device: Annotated[Sequence[str], Query(max_length=ROWS)] = ()) -> HTMLResponse:
    """Show these devices' rows again, to be patched in place; one that is not known is left out."""
    return page.render("devices/_rows.html", rows=[row for name in device if (row := _row(page, name))])


def _row(page: Page, device: str) -> ShownDevice | None:
    try:
        return shown_device(page.hub, page.language, page.hub.devices.find(device))
    except NotFound:
        return None


def _list(page: Page, query: ListQuery) -> DeviceList:
    chosen = Filter(query.profile, query.agent, query.q)
    after = read_cursor(query.cursor, str)
    found = page.hub.devices.page(chosen, query.state, after[0] if after else "", ROWS + 1)
    rows = [shown_device(page.hub, page.language, known) for known in found[:ROWS]]
    following = replace(query, cursor=write_cursor(rows[-1].id)).path() if len(found) > ROWS else ""
    return DeviceList(query, rows, list(page.hub.devices.counts_of(chosen).items()), following)


def _profiles(page: Page) -> list[dict[str, str]]:
    named = [
        {"id": name, "title": page.language.pick(profile.title, name)} for name, profile in page.hub.profiles.items()
    ]
    return sorted(named, key=lambda profile: profile["title"])
