"""A device's configuration: a form made from its profile, what it reports, and the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse

from lamplighter_hub.configuration.service import View
from lamplighter_hub.console.forms import Control, complaints, control, read_all, typed_texts, written
from lamplighter_hub.console.page import GuestPage, Page
from lamplighter_hub.console.pages.device import DevicePath, head_values
from lamplighter_hub.console.problems import sentence
from lamplighter_hub.errors import Invalid
from lamplighter_hub.registry import models

router = APIRouter(include_in_schema=False, prefix="/devices/{device}/configuration")

PREFIX: Final = "field"
HISTORY: Final = 50


@dataclass(frozen=True)
class FieldRow:
    """One field: its input, what the device reports, and whether that is not what it shall be."""

    name: str
    title: str
    unit: str
    control: Control
    reported: Any
    differs: bool


@dataclass(frozen=True)
class StateView:
    """What became of the desired document."""

    state: str
    desired_version: int
    reported_version: int
    reason: str
    errors: list[dict[str, Any]]

    @property
    def waiting(self) -> bool:
        """True while the device has not answered."""
        return self.state == "pending"


@router.get("")
def configuration(page: GuestPage, device: DevicePath) -> HTMLResponse:
    """Show the whole tab."""
    view = page.hub.configuration.view(device)
    return page.render(
        "device/configuration.html",
        configuration=_state(view),
        history=_history(page, device),
        patch=False,
        **_form_values(page, view),
        **head_values(page, device, "configuration"),
    )


@router.get("/state")
def state(page: GuestPage, device: DevicePath) -> HTMLResponse:
    """Show what became of the desired document."""
    view = page.hub.configuration.view(device)
    values = head_values(page, device, "configuration") | _form_values(page, view)
    return page.render("device/_configuration_state.html", configuration=_state(view), patch=True, **values)


@router.get("/history")
def history(page: GuestPage, device: DevicePath) -> HTMLResponse:
    """Show who set what and what the device said."""
    values = head_values(page, device, "configuration")
    return page.render("device/_configuration_history.html", history=_history(page, device), **values)


@router.post("")
async def save(request: Request, page: GuestPage, device: DevicePath) -> HTMLResponse:
    """Set what was typed. What is refused is shown beside its field; nothing of it is sent."""
    async with request.form(max_fields=200) as form:
        typed = {str(name): str(value) for name, value in form.items()}
    return await run_in_threadpool(_save, page, device, typed)


def _save(page: Page, device: str, form: dict[str, str]) -> HTMLResponse:
    page.check_role("operator")
    before = page.hub.configuration.view(device)
    document = read_all(before.fields, PREFIX, form)
    try:
        view = page.hub.configuration.put(device, document, page.who.issuer)
    except Invalid as error:
        return _refused(page, before, form, error)
    version = view.desired.version if view.desired.version != before.desired.version else 0
    values = _form_values(page, view) | {"saved": version, "unchanged": not version}
    return page.render("device/_configuration_form.html", **values, **head_values(page, device, "configuration"))


def _refused(page: Page, view: View, form: dict[str, str], error: Invalid) -> HTMLResponse:
    typed = typed_texts(view.fields, PREFIX, form)
    values = _form_values(page, view, typed, complaints(page.language, view.fields, error.errors))
    values["problem"] = sentence(page.language, error)
    head = head_values(page, view.device, "configuration")
    return page.render("device/_configuration_form.html", error.status, **values, **head)


def _form_values(
    page: Page, view: View, typed: dict[str, str] | None = None, errors: dict[str, str] | None = None
) -> dict[str, Any]:
    differing = {part.field for part in view.difference()}
    texts = typed if typed is not None else {name: written(value) for name, value in view.layer.items()}
    rows = [
        _row(page, view, name, texts.get(name, ""), (errors or {}).get(name, ""), differing) for name in view.fields
    ]
    return {"fields": rows, "saved": 0, "unchanged": False, "problem": ""}


def _row(page: Page, view: View, name: str, typed: str, error: str, differing: set[str]) -> FieldRow:
    spec = view.fields[name]
    made = control(page.language, PREFIX, name, spec, typed, error, default_is_empty=True)
    reported = view.reported.document.get(name) if view.reported else None
    return FieldRow(name, made.title, made.unit, made, reported, name in differing)


def _state(view: View) -> StateView:
    reported = view.reported
    untouched = view.desired.version == 0 and reported is None
    same = reported is not None and reported.version == view.desired.version
    return StateView(
        state="defaults" if untouched else view.state(),
        desired_version=view.desired.version,
        reported_version=reported.version if reported else 0,
        reason=reported.reason if reported and same else "",
        errors=reported.errors if reported and same else [],
    )


def _history(page: Page, device: str) -> list[models.ConfigurationChange]:
    return page.hub.configuration.history(device, 2**62, HISTORY)
