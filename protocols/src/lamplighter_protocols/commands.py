"""Commands: a request to act, and the one function that says which state may follow which.

    queued -> sent -> received -> running -> succeeded | failed | rejected | expired | cancelled

Reports may be lost, repeated or overtake each other, so a state may be skipped but never taken back.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from lamplighter_protocols.errors import IllegalTransition
from lamplighter_protocols.ids import AgentId, DeviceId, Name, Ulid
from lamplighter_protocols.model import Count, Data, Millis, Sequence, WireModel


class CommandState(StrEnum):
    """Where a command is. The last five are final."""

    QUEUED = "queued"
    SENT = "sent"
    RECEIVED = "received"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """True when nothing more will happen."""
        return self in _FINAL


class Hazard(StrEnum):
    """What a command can do to people and things; decides who may send it and what the console asks first."""

    NONE = "none"
    CAUTION = "caution"
    DANGEROUS = "dangerous"


_FINAL: Final = frozenset(
    {
        CommandState.SUCCEEDED,
        CommandState.FAILED,
        CommandState.REJECTED,
        CommandState.EXPIRED,
        CommandState.CANCELLED,
    }
)
_NEVER_RAN: Final = frozenset({CommandState.REJECTED, CommandState.EXPIRED, CommandState.CANCELLED})
_ORDER: Final = (CommandState.QUEUED, CommandState.SENT, CommandState.RECEIVED, CommandState.RUNNING)


def transition(current: CommandState, reported: CommandState) -> CommandState:
    """Return the state after a report; the present one when the report is late or a repetition.

    Raises IllegalTransition when both cannot be true: two different ends, or "never ran" after running.

    >>> transition(CommandState.SENT, CommandState.SUCCEEDED)
    <CommandState.SUCCEEDED: 'succeeded'>
    >>> transition(CommandState.RUNNING, CommandState.RECEIVED)
    <CommandState.RUNNING: 'running'>
    """
    if current == reported:
        return current
    if current.final:
        if reported.final:
            raise IllegalTransition(f"{current} cannot become {reported}", "state")
        return current
    if reported in _NEVER_RAN and current is CommandState.RUNNING:
        raise IllegalTransition(f"{current} cannot become {reported}: it has begun", "state")
    if reported.final or _ORDER.index(reported) > _ORDER.index(current):
        return reported
    return current


class Command(WireModel):
    """A signed request to act (`type` tells it from the other signed documents).

    `expires_at` is checked on the device, against its own clock corrected by the hub's. `lease_s` bounds how long the
    effect may last; `configuration_version`, when given, must be the one in force.
    """

    type: Literal["command"] = "command"
    id: Ulid
    agent: AgentId
    device: DeviceId
    name: Name
    args: Data = {}
    issued_at: Millis
    expires_at: Millis
    issuer: Annotated[str, Field(max_length=200)]
    hazard: Hazard = Hazard.NONE
    lease_s: Annotated[int, Field(ge=1, le=86_400)] | None = None
    configuration_version: Count | None = None

    @model_validator(mode="after")
    def _expires_later(self) -> Command:
        if self.expires_at <= self.issued_at:
            raise ValueError("expires_at: is not later than issued_at")
        return self

    def expired(self, now_ms: int) -> bool:
        """True when it must not be begun any more."""
        return now_ms >= self.expires_at


class Cancel(WireModel):
    """A signed request not to begin a command that may already be on its way."""

    type: Literal["cancel"] = "cancel"
    id: Ulid
    agent: AgentId
    device: DeviceId
    issued_at: Millis


class Fetch(WireModel):
    """A signed request for what the hub misses: ranges of a stream, or the birth when `stream` is absent."""

    type: Literal["fetch"] = "fetch"
    agent: AgentId
    issued_at: Millis
    outbox: Ulid | None = None
    stream: Literal["alarm", "live", "backlog"] | None = None
    ranges: Annotated[list[tuple[Sequence, Sequence]], Field(max_length=100)] = []
