"""Configuration over HTTP."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from lamplighter_hub.access.bodies import Body
from lamplighter_hub.access.dependencies import Hub, Operator, Viewer
from lamplighter_hub.configuration.service import View
from lamplighter_hub.devices.endpoints import DevicePath
from lamplighter_hub.registry import models
from lamplighter_hub.registry.paging import Cursor, Limit, Page, read_cursor, write_cursor
from lamplighter_protocols.configuration import ROLLBACK_AFTER_S, FieldError, FieldSpec, RollbackAfter

router = APIRouter(tags=["configuration"])

Exact = Annotated[int, Field(ge=-(2**53), le=2**53)]
Scalar = Annotated[bool | Exact | float | str | None, Field(union_mode="left_to_right")]


class Put(Body):
    """What people set for one device. Fields that are absent or null have the profile's default."""

    document: Annotated[dict[str, Scalar], Field(max_length=128)] = Field(examples=[{"interval_s": 5}])
    rollback_after_s: RollbackAfter = Field(
        ROLLBACK_AFTER_S,
        description="The device undoes the change when it has no word of the hub for so many seconds after it.",
    )


class DesiredDocument(BaseModel):
    """The document that the device shall have; version 0 are the profile's defaults."""

    version: int
    hash: str
    document: dict[str, Any]
    issued_at: int
    issued_by: str
    rollback_after_s: int


class ReportedDocument(BaseModel):
    """What the device last said: `document` is what it runs, `state` what became of `version`."""

    version: int
    hash: str
    document: dict[str, Any]
    state: Literal["applied", "rejected", "rolled_back"]
    reason: str
    errors: list[FieldError]
    t: int


class Difference(BaseModel):
    """A field that is not as it shall be."""

    field: str
    desired: Any
    reported: Any


class Configuration(BaseModel):
    """Desired and reported configuration of a device. `set` is what people set, `fields` what may be set."""

    device: str
    state: str = Field(description="What became of the desired document: applied, rejected, rolled_back, pending.")
    desired: DesiredDocument
    reported: ReportedDocument | None
    difference: list[Difference]
    set: dict[str, Any]
    fields: dict[str, FieldSpec]


class Change(BaseModel):
    """An entry of the history: a document that was set, or what the device said of one."""

    id: int
    at: int
    kind: Literal["set", "reported"]
    version: int
    hash: str
    state: str
    document: dict[str, Any]
    errors: list[FieldError]
    reason: str
    who: str


@router.get("/devices/{device}/configuration")
def read_configuration(hub: Hub, _: Viewer, device: DevicePath) -> Configuration:
    """Show what a device shall have, what it has, and the difference."""
    return _configuration(hub.configuration.view(device))


@router.put("/devices/{device}/configuration")
def put_configuration(hub: Hub, who: Operator, device: DevicePath, body: Put) -> Configuration:
    """Set a device's own fields. What is wrong is refused here, field by field, before anything is sent."""
    return _configuration(hub.configuration.put(device, body.document, who.issuer, body.rollback_after_s))


@router.get("/devices/{device}/configuration/history")
def read_history(hub: Hub, _: Viewer, device: DevicePath, limit: Limit = 100, cursor: Cursor = "") -> Page[Change]:
    """List what was set and what the device said, the newest first; the last 200 entries are kept."""
    before = read_cursor(cursor, int)
    rows = hub.configuration.history(device, before[0] if before else 2**62, limit + 1)
    items = [_change(row) for row in rows[:limit]]
    return Page(items=items, next=write_cursor(items[-1].id) if len(rows) > limit else None)


def _configuration(view: View) -> Configuration:
    return Configuration(
        device=view.device,
        state=view.state(),
        desired=DesiredDocument.model_validate(view.desired, from_attributes=True),
        reported=ReportedDocument.model_validate(view.reported, from_attributes=True) if view.reported else None,
        difference=[Difference.model_validate(part._asdict()) for part in view.difference()],
        set=view.layer,
        fields=view.fields,
    )


def _change(row: models.ConfigurationChange) -> Change:
    return Change.model_validate(row, from_attributes=True)
