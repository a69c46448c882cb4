"""Quarantine: whose records wait for the right times or to be known, their release, and what was set aside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse

from lamplighter_hub.console.i18n import N_
from lamplighter_hub.console.page import GuestPage, Page
from lamplighter_hub.console.problems import sentence
from lamplighter_hub.errors import Conflict, NotFound, TooMany, Unavailable
from lamplighter_hub.quarantine.service import UNMOVED, Outcome, Selection, Unknown, Waiting
from lamplighter_hub.quarantine.shifts import LONGEST, read_shift, write_shift
from lamplighter_hub.series.access import answering

router = APIRouter(include_in_schema=False, prefix="/quarantine")

LISTED: Final = 50
MOST_CLOCKS: Final = 50
MOST_STRANGERS: Final = 50
Cursor = Annotated[str, Query(max_length=64)]


@dataclass(frozen=True)
class Answer:
    """What came of a preview or a release; `problem` is a sentence."""

    outcome: Outcome | None = None
    preview: bool = False
    problem: str = ""


@dataclass(frozen=True)
class Clock:
    """A device whose entries wait, with the shift that is proposed or was typed. `key` is its place on the page."""

    waiting: Waiting
    key: str
    shift: str
    answer: Answer | None


@dataclass(frozen=True)
class Stranger:
    """A device of which something waits to be known: a line for each reason. `known`: some of it is by now."""

    agent: str
    device: str
    lines: list[Unknown]
    answer: Answer | None

    @property
    def known(self) -> bool:
        """Whether anything of it can be released."""
        return any(not line.why for line in self.lines)


@router.get("")
def quarantine(page: GuestPage, cursor: Cursor = "") -> HTMLResponse:
    """Show the whole page."""
    parts = {"clocks": _clocks(page), "strangers": _strangers(page), "done": None}
    return page.render("quarantine/page.html", **parts, **_entries(page, cursor))


@router.get("/entries")
def entries(page: GuestPage, cursor: Cursor = "") -> HTMLResponse:
    """Show what was set aside."""
    return page.render("quarantine/_set_aside.html", **_entries(page, cursor))


@router.post("/release")
async def release(request: Request, page: GuestPage) -> HTMLResponse:
    """Release what a device's run of the clock left, or say what that would do."""
    async with request.form(max_fields=20) as form:
        typed = {str(name): str(value) for name, value in form.items()}
    return await run_in_threadpool(_release, page, typed)


@router.post("/release-known")
async def release_known(request: Request, page: GuestPage) -> HTMLResponse:
    """Release what waited to be known of a device and is by now, or say what that would do."""
    async with request.form(max_fields=20) as form:
        typed = {str(name): str(value) for name, value in form.items()}
    return await run_in_threadpool(_release_known, page, typed)


def _entries(page: Page, cursor: str) -> dict[str, Any]:
    with answering():
        found, after = page.hub.series.quarantine(None, None, limit=LISTED, cursor=cursor or None)
    return {"entries": found, "cursor": cursor, "after": f"/quarantine?cursor={after}" if after else ""}


def _release(page: Page, typed: Mapping[str, str]) -> HTMLResponse:
    page.check_role("operator")
    answer = _answer(page, typed)
    clocks = _clocks(page, typed, answer)
    elsewhere = None if any(clock.answer for clock in clocks) else answer
    return page.render("quarantine/_waiting.html", clocks=clocks, done=elsewhere)


def _answer(page: Page, typed: Mapping[str, str]) -> Answer:
    try:
        shift = None if typed.get("how") == "received" else read_shift(typed.get("shift", ""))
    except ValueError:
        return Answer(
            problem=page.language.say(N_("Write by how much the times are moved, such as 8h, -1d2h or 20782d4h30m."))
        )
    return _done(page, typed, _selection(typed), shift)


def _done(page: Page, typed: Mapping[str, str], selection: Selection, shift: int | None) -> Answer:
    try:
        if typed.get("act") != "release":
            return Answer(page.hub.quarantine.preview(selection, shift), preview=True)
        return Answer(page.hub.quarantine.release(selection, shift, page.who.issuer))
    except (Conflict, NotFound, TooMany, Unavailable) as error:
        return Answer(problem=sentence(page.language, error))


def _release_known(page: Page, typed: Mapping[str, str]) -> HTMLResponse:
    page.check_role("operator")
    selection = UNMOVED._replace(agent=typed.get("agent", "")[:64] or "-", device=typed.get("device", "")[:64] or "-")
    answer = _done(page, typed, selection, 0)
    strangers = _strangers(page, selection, answer)
    elsewhere = None if any(stranger.answer for stranger in strangers) else answer
    return page.render("quarantine/_unknown.html", strangers=strangers, done=elsewhere)


def _strangers(page: Page, asked: Selection | None = None, answer: Answer | None = None) -> list[Stranger]:
    by_device = groupby(page.hub.quarantine.unknown(), key=lambda found: (found.agent, found.device))
    mine = (asked.agent, asked.device) if asked else None
    found = [Stranger(*key, list(lines), answer if key == mine else None) for key, lines in by_device]
    return found[:MOST_STRANGERS]


def _selection(typed: Mapping[str, str]) -> Selection:
    """Return the entries of one run: what arrived between its first and its last. A form without device has none."""
    first, last = (_time(typed.get(name, "")) for name in ("first", "last"))
    return Selection(typed.get("agent", "")[:64], typed.get("device", "")[:64] or "-", (), first, last + 1)


def _time(text: str) -> int:
    return int(text) if len(text) < 16 and text.isascii() and text.isdigit() else 0


def _clocks(page: Page, typed: Mapping[str, str] | None = None, answer: Answer | None = None) -> list[Clock]:
    return [_clock(found, typed or {}, answer) for found in page.hub.quarantine.waiting()[:MOST_CLOCKS]]


def _clock(found: Waiting, typed: Mapping[str, str], answer: Answer | None) -> Clock:
    key = f"{found.agent}-{found.device}-{found.run.arrived_first}"
    mine = answer is not None and typed.get("key") == key
    proposed = "" if found.run.shift is None else write_shift(found.run.shift)
    return Clock(found, key, typed.get("shift", "")[:LONGEST] if mine else proposed, answer if mine else None)
