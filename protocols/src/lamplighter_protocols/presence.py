"""Birth and presence: who is there, since which session, and how often it promises to be heard.

MQTT wills tell of a lost connection; the promise `heard_within_s` tells of a silent one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from lamplighter_protocols.configuration import ConfigurationHash
from lamplighter_protocols.ids import DeviceId, Ulid
from lamplighter_protocols.model import Count, Millis, Reason, WireModel
from lamplighter_protocols.records import MAX_LIVES, Counted

MAX_DEVICES: Final = 1_000
SessionNumber = Annotated[int, Field(ge=1, le=2**53 - 1)]
Promise = Annotated[int, Field(ge=1, le=86_400)]


class Clock(StrEnum):
    """Whether the agent trusts its own clock."""

    SYNCED = "synced"
    UNSYNCED = "unsynced"


class BornDevice(WireModel):
    """A device behind the agent, and the version of the configuration that it runs (0: only defaults).

    `interval_s` is how often its agent reads it when no configuration says otherwise; absent where that is as its
    profile has it.
    """

    id: DeviceId
    profile: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", strict=True)]
    version: Count = 0
    hash: ConfigurationHash = ""
    interval_s: Annotated[float, Field(gt=0, le=86_400)] | None = None


class BudgetState(StrEnum):
    """What a day's data budget lets through at the moment.

    `ok`: everything; `saving`: no backlog, and live readings wait longer; `spent`: alarms, results and declarations.
    """

    OK = "ok"
    SAVING = "saving"
    SPENT = "spent"


class LinkUse(WireModel):
    """What an agent's link carried on one day in UTC: bytes `up` and `down`, with the headers of TCP and IP.

    `budget_bytes` is what both together may be a day, absent where nothing limits them.
    """

    kind: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,31}$", strict=True)]
    day: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}$", strict=True)]
    up: Count
    down: Count
    budget_bytes: Count | None = None
    budget: BudgetState = BudgetState.OK


class Life(WireModel):
    """From one start of an agent to the next; `first` is the number of its first record in each stream."""

    id: Ulid
    first: Counted


class Birth(WireModel):
    """Said on every connect. `session` rises with each connect of this agent, across restarts.

    `freed` says up to which number each of the outbox's streams keeps nothing any more, `held` how many records it
    still keeps, and `last` the number that it gave last where that is beyond `freed`. Who says `held` says it of every
    stream. `lives` are those that the agent does not know the hub to have met, the present one last; none once it has.
    """

    session: SessionNumber
    boot: Ulid
    agent_version: Annotated[str, Field(max_length=64)] = ""
    clock: Clock = Clock.UNSYNCED
    heard_within_s: Promise
    outbox: Ulid | None = None
    freed: Counted = {}
    held: Counted = {}
    last: Counted = {}
    lives: Annotated[list[Life], Field(max_length=MAX_LIVES)] = []
    sent: Millis
    devices: Annotated[list[BornDevice], Field(max_length=MAX_DEVICES)] = []
    link: LinkUse | None = None


class Presence(WireModel):
    """Online or offline, and why. As a will, `reason` is `connection_lost`.

    A sign of life and a farewell say, as the birth does, what the outbox holds: `freed`, `held` and `last`.
    """

    state: Literal["online", "offline"]
    session: SessionNumber
    reason: Reason = ""
    sent: Millis | None = None
    outbox: Ulid | None = None
    freed: Counted = {}
    held: Counted = {}
    last: Counted = {}
    link: LinkUse | None = None


CONNECTION_LOST: Final = "connection_lost"
"""The will: the broker lost the connection."""
STOPPED: Final = "stopped"
"""The agent was told to stop."""
SILENT: Final = "silent"
"""Nothing was heard within the agent's own promise."""
HEARTBEAT: Final = "heartbeat"
"""Nothing else was due."""
