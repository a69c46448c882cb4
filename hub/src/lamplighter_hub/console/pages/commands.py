"""Commands of a device: the profile's catalogue, a form made from it, and each command followed to its end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse

from lamplighter_hub.commands import service as commands
from lamplighter_hub.console.forms import Control, complaints, control, read_all, typed_texts, written
from lamplighter_hub.console.i18n import N_, Language
from lamplighter_hub.console.page import GuestPage, Page
from lamplighter_hub.console.pages.device import DevicePath, head_values, profile_of
from lamplighter_hub.console.problems import sentence
from lamplighter_hub.console.render import is_fragment
from lamplighter_hub.errors import Conflict, HubError, Invalid, NotFound, TooMany
from lamplighter_hub.registry import models
from lamplighter_hub.registry.paging import read_cursor, write_cursor
from lamplighter_protocols.commands import CommandState
from lamplighter_protocols.configuration import FieldError
from lamplighter_protocols.ids import Name, Ulid, new_ulid
from lamplighter_protocols.profile import CommandSpec, Profile

router = APIRouter(include_in_schema=False, prefix="/devices/{device}/commands")

PREFIX: Final = "arg"
ROWS: Final = 50
EXPIRIES_S: Final = (10, 60, 600, 3_600, 86_400)
NamePath = Annotated[Name, Path()]
CommandPath = Annotated[Ulid, Path()]


@dataclass(frozen=True)
class ShownSpec:
    """A command of the profile's catalogue."""

    name: str
    title: str
    effect: str
    hazard: str


@dataclass(frozen=True)
class Step:
    """One fact of a command: when it happened, and how long after the one before (ms)."""

    title: str
    t: int | None
    after: int | None
    css: str


@dataclass(frozen=True)
class ShownCommand:
    """A command with its title and its facts in order."""

    id: str
    title: str
    state: str
    final: bool
    overdue: bool
    args: dict[str, Any]
    data: dict[str, Any]
    reason: str
    purpose: str
    issuer: str
    accepted_at: int
    expires_at: int
    steps: list[Step]


@router.get("")
def catalogue(page: GuestPage, device: DevicePath, cursor: Annotated[str, Query(max_length=400)] = "") -> HTMLResponse:
    """Show what can be sent, and what was sent."""
    values = _sent_values(page, device, cursor) | {"specs": _specs(page, device)}
    return page.render("device/commands.html", **values, **head_values(page, device, "commands"))


@router.get("/sent")
def sent(page: GuestPage, device: DevicePath) -> HTMLResponse:
    """Show what was sent again."""
    values = _sent_values(page, device, "") | head_values(page, device, "commands")
    return page.render("device/_sent_commands.html", **values)


@router.get("/new/{name}")
def form(page: GuestPage, device: DevicePath, name: NamePath) -> HTMLResponse:
    """Show the form of a command, in the dialog or on a page of its own."""
    page.check_role("operator")
    spec = _spec(page, device, name)
    typed = {arg: written(field.default) for arg, field in spec.args.items()}
    template = "device/_command_form.html" if is_fragment(page.request) else "device/new_command.html"
    return page.render(template, **_form_values(page, device, name, spec, typed))


@router.post("/new/{name}")
async def send(request: Request, page: GuestPage, device: DevicePath, name: NamePath) -> HTMLResponse:
    """Send what was typed, and show the command's progress in the form's place."""
    async with request.form(max_fields=100) as form:
        typed = {str(field): str(value) for field, value in form.items()}
    return await run_in_threadpool(_send, page, device, name, typed)


@router.get("/{command}")
def progress(page: GuestPage, device: DevicePath, command: CommandPath) -> HTMLResponse:
    """Show how far a command is, in the dialog or on a page of its own."""
    row = _find(page, device, command)
    template = "device/_command.html" if is_fragment(page.request) else "device/command.html"
    return page.render(template, **_progress_values(page, device, row))


@router.post("/{command}/cancel")
def cancel(page: GuestPage, device: DevicePath, command: CommandPath) -> HTMLResponse:
    """Ask that a command is not begun; show what became of it. One that is finished meanwhile is simply shown."""
    page.check_role("operator")
    row = _find(page, device, command)
    try:
        row = page.hub.commands.cancel(command)
    except Conflict:
        row = page.hub.commands.find(command)
    return page.render("device/_command.html", **_progress_values(page, device, row))


def shown_commands(page: Page, device: str, limit: int, before: str = "") -> tuple[list[ShownCommand], str]:
    """Return a device's newest commands, and the cursor of the next page."""
    rows = page.hub.commands.page(device, None, None, before, limit + 1)
    profile = profile_of(page, device)
    shown = [shown_command(page, profile, row) for row in rows[:limit]]
    return shown, write_cursor(shown[-1].id) if len(rows) > limit else ""


def shown_command(page: Page, profile: Profile | None, row: models.Command) -> ShownCommand:
    """Return a command as pages show it."""
    spec = profile.commands.get(row.name) if profile else None
    return ShownCommand(
        id=row.id,
        title=page.language.pick(spec.title, row.name) if spec else row.name,
        state=row.state,
        final=CommandState(row.state).final,
        overdue=page.hub.commands.overdue(row),
        args=row.args,
        data=row.data,
        reason=row.reason,
        purpose=row.purpose,
        issuer=row.issuer,
        accepted_at=row.accepted_at,
        expires_at=row.expires_at,
        steps=steps(page.language, row),
    )


def steps(language: Language, row: models.Command) -> list[Step]:
    """Return accepted, sent, received, started and finished: what happened, what is awaited, what never came."""
    facts = (
        (N_("Accepted by the hub"), row.accepted_at),
        (N_("Sent to the agent"), row.sent_at),
        (N_("Received by the agent"), row.received_at),
        (N_("Started"), row.started_at),
        (N_("Finished"), row.finished_at),
    )
    state = CommandState(row.state)
    found: list[Step] = []
    before: int | None = None
    for index, (title, t) in enumerate(facts):
        css = _step_css(state, t, last=index == len(facts) - 1)
        if css == "open" and found and found[-1].css == "done":
            css = "now"
        after = t - before if t is not None and before is not None else None
        found.append(Step(language.say(title), t, after, css))
        before = t if t is not None else before
    return found


def _step_css(state: CommandState, t: int | None, *, last: bool) -> str:
    if last and state.final:
        return "end-good" if state is CommandState.SUCCEEDED else "end-bad"
    if t is not None:
        return "done"
    return "skipped" if state.final else "open"


def _send(page: Page, device: str, name: str, form: Mapping[str, str]) -> HTMLResponse:
    page.check_role("operator")
    spec = _spec(page, device, name)
    try:
        row = page.hub.commands.create(_request(device, name, spec, form), page.who, form.get("idempotency_key", ""))
    except (Invalid, Conflict, TooMany) as error:
        return _refused(page, device, name, spec, form, error)
    return page.render("device/_command.html", **_progress_values(page, device, row))


def _request(device: str, name: str, spec: CommandSpec, form: Mapping[str, str]) -> commands.Request:
    """Word what was typed. Raises Invalid for what only a person confirms; the service checks all the rest."""
    if spec.hazard == "dangerous" and form.get("confirmation", "").strip() != device:
        detail = "is not the device's id"
        raise Invalid(f"confirmation {detail}", errors=[FieldError(field="confirmation", detail=detail)])
    expiry = form.get("expires_in_s", "")
    return commands.Request(
        device=device,
        name=name,
        args={arg: value for arg, value in read_all(spec.args, PREFIX, form).items() if value is not None},
        expires_in_s=int(expiry) if expiry.isdecimal() and len(expiry) < 8 else None,
        purpose=form.get("reason", "").strip()[:500],
    )


def _refused(
    page: Page, device: str, name: str, spec: CommandSpec, form: Mapping[str, str], error: HubError
) -> HTMLResponse:
    wrong = complaints(page.language, spec.args, error.errors, "args.")
    values = _form_values(page, device, name, spec, typed_texts(spec.args, PREFIX, form), wrong)
    expiry = form.get("expires_in_s", "")
    values |= {
        "problem": sentence(page.language, error),
        "reason": form.get("reason", ""),
        "reason_error": page.language.say(N_("This field is required.")) if "reason" in wrong else "",
        "confirmation_error": page.language.say(N_("This is not the device's id.")) if "confirmation" in wrong else "",
        "expiry": int(expiry) if expiry in map(str, values["expiries"]) else values["expiry"],
        "key": form.get("idempotency_key", ""),
    }
    if isinstance(error, Conflict):
        values["key"] = _new_key(page)
    return page.render("device/_command_form.html", error.status, **values)


def _form_values(
    page: Page, device: str, name: str, spec: CommandSpec, typed: dict[str, str], errors: dict[str, str] | None = None
) -> dict[str, Any]:
    expiries = [seconds for seconds in EXPIRIES_S if seconds <= spec.max_expiry_s] or [spec.max_expiry_s]
    return head_values(page, device, "commands") | {
        "spec": _shown_spec(page.language, name, spec),
        "args": _controls(page.language, spec, typed, errors or {}),
        "expiries": expiries,
        "expiry": 60 if 60 in expiries else expiries[-1],
        "reason": "",
        "reason_error": "",
        "confirmation_error": "",
        "problem": "",
        "key": _new_key(page),
    }


def _controls(language: Language, spec: CommandSpec, typed: dict[str, str], errors: dict[str, str]) -> list[Control]:
    return [
        control(language, PREFIX, arg, field, typed.get(arg, ""), errors.get(arg, ""), default_is_empty=False)
        for arg, field in spec.args.items()
    ]


def _progress_values(page: Page, device: str, row: models.Command) -> dict[str, Any]:
    shown = shown_command(page, profile_of(page, device), row)
    return {"command": shown} | head_values(page, device, "commands")


def _sent_values(page: Page, device: str, cursor: str) -> dict[str, Any]:
    before = read_cursor(cursor, str)
    rows, following = shown_commands(page, device, ROWS, before[0] if before else "")
    after = f"/devices/{device}/commands?cursor={following}" if following else ""
    return {"commands": rows, "cursor": cursor, "after": after}


def _specs(page: Page, device: str) -> list[ShownSpec]:
    profile = profile_of(page, device)
    return [_shown_spec(page.language, *item) for item in profile.commands.items()] if profile else []


def _shown_spec(language: Language, name: str, spec: CommandSpec) -> ShownSpec:
    effect = language.pick(spec.effect, "") if spec.effect else ""
    return ShownSpec(name, language.pick(spec.title, name), effect, spec.hazard.value)


def _spec(page: Page, device: str, name: str) -> CommandSpec:
    spec = page.hub.devices.profile(device).commands.get(name)
    if spec is None:
        raise NotFound(f"the profile of {device} has no command {name!r}", code="command_unknown")
    return spec


def _find(page: Page, device: str, command: str) -> models.Command:
    row = page.hub.commands.find(command)
    if row.device != device:
        raise NotFound(f"{command} is not a command of {device}", code="command_unknown")
    return row


def _new_key(page: Page) -> str:
    return new_ulid(page.hub.clock(), os.urandom(10))
