"""What can go wrong in the agent, as types.

    LamplighterError (protocols)
    └── AgentError             one line for people; `exit_code` is what the program ends with
        ├── Mistake            a configuration file: names file, key and fix
        ├── NotEnrolled        there is no identity yet
        ├── EnrolmentRefused   the hub did not take the code, or cannot be reached
        ├── AlreadyRunning     another agent works in this data folder
        └── StateUnreadable    a file in the data folder is not what the agent wrote

What a driver raises stands in `driver.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from lamplighter_protocols.errors import LamplighterError


class AgentError(LamplighterError):
    """Root of what ends the program with one line."""

    exit_code: ClassVar[int] = 1


class Mistake(AgentError):
    """Something in a configuration file: `file: key: what is wrong and how to put it right`.

    `more` are the lines of what is wrong beside it.
    """

    exit_code = 2

    def __init__(self, file: Path | str, key: str, detail: str, more: Sequence[Mistake] = ()) -> None:
        self.file = str(file)
        self.key = key
        self.detail = detail
        self.more = [str(one) for one in more]
        super().__init__(": ".join(part for part in (self.file, key, detail) if part))


class NotEnrolled(AgentError):
    """The data folder holds no identity."""

    exit_code = 2


class EnrolmentRefused(AgentError):
    """The hub did not enrol this agent."""


class AlreadyRunning(AgentError):
    """The data folder is in use by another agent."""


class StateUnreadable(AgentError):
    """A file in the data folder cannot be read; nothing is done to it."""
