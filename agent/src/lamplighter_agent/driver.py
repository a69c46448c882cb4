"""What a driver is: the whole of what somebody outside writes to bring a field protocol.

A driver opens, reads, acts and configures one device. It never retries, waits for its next turn, publishes, logs a
failure or reads a global setting: the runner around it does. It says what went wrong by the type that it raises:

    DriverError
    ├── Retriable   not now: the runner closes, waits with back-off and opens again
    ├── Fatal       not ever, as configured: the runner tries again only rarely
    ├── Partial     some of it: `output` holds what could be read
    └── Refused     the device, or its protocol, does not do what was asked

Found by entry point, group `lamplighter.drivers`; `lamplighter_agent.testing` is the suite that it must pass.

    class Thermometer(Driver):
        class Settings(DriverSettings):
            path: str

        async def open(self, position): ...
        async def read(self): return Output(rows=[Row({"temperature": 21.5})])
        async def close(self): ...
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict

from lamplighter_protocols.errors import LamplighterError, one_line
from lamplighter_protocols.profile import Profile
from lamplighter_protocols.readings import Quality, Value

Position = dict[str, Any]
"""How far a device's own memory has been read: small JSON, stored in one transaction with the records."""


class DriverSettings(BaseModel):
    """Base of a driver's settings (`[devices.settings]`): a misspelt key is an error, not a silence."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(NamedTuple):
    """What one moment gave, by metric. `t` in ms is the device's own time; None: the moment of the read."""

    values: Mapping[str, Value | None]
    quality: Mapping[str, Quality] = {}
    t: int | None = None


class Event(NamedTuple):
    """Something that happened. `t` as in Row."""

    name: str
    data: Mapping[str, Any] = {}
    t: int | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """What one read gave, in the order in which it happened.

    `position`, when given, becomes durable together with rows and events, and is handed to the next `open`. `more`
    says that the device holds more right now: the next read follows as soon as this one is safe.
    """

    rows: Sequence[Row] = ()
    events: Sequence[Event] = ()
    position: Position | None = None
    more: bool = False


class DriverError(LamplighterError):
    """Root of what a driver raises on purpose; the text is one line for people, also when a device broke it."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(one_line(detail))


class Retriable(DriverError):
    """Not now: no connection, no answer, a garbled answer."""


class Fatal(DriverError):
    """Not with these settings: no such file system, no such unit, a device of another kind."""


class Partial(DriverError):
    """Some of it could be read: `output` has the rest marked `no_data`."""

    def __init__(self, detail: str, output: Output) -> None:
        self.output = output
        super().__init__(detail)


class Refused(DriverError):
    """The device does not do what was asked; asking again will not help."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a driver may know of where it runs.

    `folder` is where agent.toml lies: relative paths in settings start there. `shared` belongs to the agent and is the
    same for all devices: what several of them have in common, such as a serial line, is kept there by its name.
    """

    device: str
    profile: Profile
    folder: Path
    log: logging.Logger
    shared: dict[Hashable, Any] = field(default_factory=dict)


class Driver(ABC):
    """One device. Calls never overlap: the runner waits for one to end, or cancels it, before it makes the next."""

    Settings: ClassVar[type[DriverSettings]] = DriverSettings

    def __init__(self, context: Context, settings: Any) -> None:
        """Check settings and profile; raise Fatal when they do not fit. Connect to nothing."""
        self.context = context
        self.settings = settings

    @property
    def poll_s(self) -> float | None:
        """How often to look when that is not the profile's interval: a file or a queue that fills by itself."""
        return None

    @abstractmethod
    async def open(self, position: Position | None) -> None:
        """Connect. `position` is the last one that became durable; None the first time."""

    @abstractmethod
    async def read(self) -> Output:
        """Read once."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything; also after a failure, also when it never opened."""

    async def command(self, name: str, args: dict[str, Any], lease_s: int | None) -> dict[str, Any]:
        """Act, and return what the device answered. `lease_s`: the effect must lapse by itself after so long."""
        raise Refused(f"this driver has no command {name!r} (args {sorted(args)}, lease {lease_s})")

    async def configure(self, document: dict[str, Any]) -> dict[str, Any]:
        """Put a document in force, and return what the device says is now in force (read back where it can be).

        Fields that mean nothing to the device are returned as they came.
        """
        return document
