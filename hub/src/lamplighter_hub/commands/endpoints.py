"""Commands over HTTP."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from lamplighter_hub.access.bodies import Body, Purpose
from lamplighter_hub.access.dependencies import Hub, Operator, Viewer
from lamplighter_hub.commands.service import Request
from lamplighter_hub.devices.endpoints import DevicePath
from lamplighter_hub.registry import models
from lamplighter_hub.registry.paging import Cursor, Limit, Page, read_cursor, write_cursor
from lamplighter_hub.services import Services
from lamplighter_protocols.commands import CommandState, Hazard
from lamplighter_protocols.ids import AgentId, DeviceId, Name, Ulid

router = APIRouter(tags=["commands"])

CommandPath = Annotated[Ulid, Path(description="A command's id.")]
IdempotencyKey = Annotated[
    str,
    Header(
        max_length=200,
        pattern=r"^[\x20-\x7e]*$",
        description="The same key with the same body is the same command, however often it is sent.",
    ),
]
Exact = Annotated[int, Field(ge=-(2**53), le=2**53)]
Scalar = Annotated[bool | Exact | float | str | None, Field(union_mode="left_to_right")]


class NewCommand(Body):
    """A command to send. It is never begun later than `expires_in_s` after now."""

    name: Name = Field(examples=["set_message"])
    args: Annotated[dict[str, Scalar], Field(max_length=64)] = Field(default={}, examples=[{"text": "Closed"}])
    expires_in_s: Annotated[int, Field(ge=1, le=604_800)] | None = Field(
        default=None, description="At most what the profile allows; by default 60 or less."
    )
    lease_s: Annotated[int, Field(ge=1, le=86_400)] | None = Field(
        default=None, description="How long the effect may last."
    )
    configuration_version: Annotated[int, Field(ge=0, le=2**53)] | None = Field(
        default=None, description="Only act when this version is in force."
    )
    reason: Purpose = Field(default="", description="Why; required for a dangerous command.")


class Command(BaseModel):
    """A command. Accepted by the hub, received by the agent, started and finished are four facts, each with its time.

    `accepted_at`, `sent_at` and `expires_at` are the hub's clock, the others the device's.
    """

    id: str
    device: str
    agent: str
    name: str
    args: dict[str, Any]
    hazard: Hazard
    issuer: str = Field(examples=["token night shift"])
    purpose: str
    lease_s: int | None
    configuration_version: int | None
    state: CommandState
    issued_at: int
    expires_at: int
    accepted_at: int
    sent_at: int | None
    received_at: int | None
    started_at: int | None
    finished_at: int | None
    cancel_at: int | None = Field(description="When somebody asked to cancel it.")
    data: dict[str, Any]
    reason: str = Field(description="Why it ended so, in the device's or the hub's words.")
    overdue: bool = Field(description="An answer should be here by now.")


@router.post("/devices/{device}/commands", status_code=202)
def send_command(
    hub: Hub, who: Operator, device: DevicePath, body: NewCommand, idempotency_key: IdempotencyKey = ""
) -> Command:
    """Accept a command; it is sent at once when the device's agent is there, else until it expires."""
    request = Request(
        device=device,
        name=body.name,
        args=body.args,
        expires_in_s=body.expires_in_s,
        lease_s=body.lease_s,
        configuration_version=body.configuration_version,
        purpose=body.reason,
    )
    return _command(hub, hub.commands.create(request, who, idempotency_key))


@router.get("/commands")
def list_commands(
    hub: Hub,
    _: Viewer,
    device: DeviceId | None = None,
    agent: AgentId | None = None,
    state: CommandState | None = None,
    limit: Limit = 100,
    cursor: Cursor = "",
) -> Page[Command]:
    """List commands, the newest first."""
    before = read_cursor(cursor, str)
    chosen = state.value if state else None
    rows = hub.commands.page(device, agent, chosen, before[0] if before else "", limit + 1)
    items = [_command(hub, row) for row in rows[:limit]]
    return Page(items=items, next=write_cursor(items[-1].id) if len(rows) > limit else None)


@router.get("/commands/{command}")
async def read_command(
    hub: Hub,
    _: Viewer,
    command: CommandPath,
    wait_s: Annotated[float, Query(ge=0, le=60, description="Wait up to so long for its end.")] = 0,
) -> Command:
    """Show a command, at once or when it has ended."""
    with hub.commands.waiters.waiting(command) as changed:
        row = await run_in_threadpool(hub.commands.find, command)
        end = asyncio.get_running_loop().time() + wait_s
        while not CommandState(row.state).final:
            try:
                async with asyncio.timeout_at(end):
                    await changed.wait()
            except TimeoutError:
                break
            changed.clear()
            row = await run_in_threadpool(hub.commands.find, command)
    return _command(hub, row)


@router.post("/commands/{command}/cancel", status_code=202)
def cancel_command(hub: Hub, _: Operator, command: CommandPath) -> Command:
    """Cancel a command that has not begun: at once while it never left the hub, else by asking its agent."""
    return _command(hub, hub.commands.cancel(command))


def _command(hub: Services, row: models.Command) -> Command:
    fields = {name: getattr(row, name) for name in Command.model_fields if name != "overdue"}
    return Command.model_validate(fields | {"overdue": hub.commands.overdue(row)})
