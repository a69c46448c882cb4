"""Commands on the device: journal before act, never after expiry, never twice, the stored result for a repeated id.

    received -> (guard, expiry, cancel: at the last moment) -> journal "running" -> act -> journal result -> report

The journal entry `running` is on the disk before the driver is called. After a crash such an entry has no result: it
is reported as failed, "interrupted", and never run again, because nobody knows how far it came.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pydantic import ValidationError

from lamplighter_agent import guard
from lamplighter_agent.clock import Clock
from lamplighter_agent.disk import Disk
from lamplighter_agent.driver import DriverError
from lamplighter_agent.errors import AgentError, StateUnreadable
from lamplighter_agent.state import JOURNAL_LIMIT, KEPT_MS, Entry, State
from lamplighter_protocols.commands import Cancel, Command, CommandState
from lamplighter_protocols.profile import Profile
from lamplighter_protocols.records import ResultRecord

MAX_WAITING: Final = 64
LONGEST_EXPIRY_MS: Final = 7 * 24 * 3_600_000
INTERRUPTED: Final = "interrupted: the agent stopped while it ran; it may have acted"


class Actor(Protocol):
    """Who acts: a device's runner. `begin` is awaited at the last moment before."""

    async def command(
        self,
        name: str,
        args: dict[str, Any],
        lease_s: int | None,
        timeout_s: float,
        begin: Callable[[], Awaitable[None]],
    ) -> dict[str, Any]:
        """Act and return what the device answered. Raises DriverError, or what `begin` raised."""
        ...


@dataclass(frozen=True, slots=True)
class Target:
    """A device that can be commanded; `version` is that of its configuration in force."""

    profile: Profile
    rules: guard.Rules
    actor: Actor
    version: Callable[[], int]


class NotBegun(AgentError):
    """It was not acted: the command's end, and why."""

    def __init__(self, state: CommandState, reason: str = "") -> None:
        self.state = state
        self.reason = reason
        super().__init__(reason or str(state))


class Commands:
    """The commands of one agent. `report` takes results for the outbox; it neither waits nor fails."""

    def __init__(
        self,
        targets: Mapping[str, Target],
        state: State,
        disk: Disk,
        clock: Clock,
        report: Callable[[ResultRecord], object],
    ) -> None:
        self._targets = targets
        self._state = state
        self._disk = disk
        self._clock = clock
        self._report = report
        self._journal: dict[str, Entry] = {}
        self._waiting: dict[str, Command] = {}
        self._cancelled: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()
        self._log = logging.getLogger("lamplighter.commands")

    async def start(self) -> None:
        """Read the journal; what was running when the agent stopped ends as failed."""
        self._journal = await self._disk.run(self._state.journal)
        for entry in list(self._journal.values()):
            if not entry.state.final:
                ended = {"state": CommandState.FAILED, "finished_at": self._clock.now(), "reason": INTERRUPTED}
                await self._write(entry.model_copy(update=ended))
                self._answer(entry.id)
                self._log.warning("command %s (%s) was interrupted", entry.id, entry.name)

    async def stop(self) -> None:
        """Cancel what runs; its journal entries say that it had begun."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def command(self, command: Command) -> None:
        """Take a signed command that is addressed to one of the devices; answer a repeated one."""
        if command.id in self._waiting:
            # Not what the journal says: an entry "running" may still end as expired, and both cannot be true.
            self._say(command, CommandState.RECEIVED)
        elif command.id in self._journal:
            self._answer(command.id)
        elif await self._room():
            self._waiting[command.id] = command
            task = asyncio.create_task(self._run(command), name=f"command {command.id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def cancel(self, cancel: Cancel) -> None:
        """Prevent a command that has not begun, also one that is still to come; else answer how it stands."""
        if cancel.id in self._waiting:
            self._cancelled.add(cancel.id)
        elif cancel.id in self._journal:
            self._answer(cancel.id)
        elif await self._room():
            await self._write(
                Entry(
                    id=cancel.id,
                    device=cancel.device,
                    state=CommandState.CANCELLED,
                    expires_at=cancel.issued_at + LONGEST_EXPIRY_MS,
                    finished_at=self._clock.now(),
                )
            )
            self._answer(cancel.id)

    async def _run(self, command: Command) -> None:
        target = self._targets[command.device]
        begun = False

        async def begin() -> None:
            nonlocal begun
            await self._begin(command, target)
            begun = True

        try:
            self._check(command, target)
            self._say(command, CommandState.RECEIVED)
            spec = target.profile.commands[command.name]
            args = guard.arguments(command, spec)
            data = await target.actor.command(command.name, args, command.lease_s, spec.timeout_s, begin)
            end = self._finished(command, CommandState.SUCCEEDED, data=data)
        except NotBegun as error:
            end = self._finished(command, error.state, reason=error.reason)
        except DriverError as error:
            end = self._finished(command, CommandState.FAILED, reason=str(error))
            if not begun:
                end = self._finished(command, CommandState.REJECTED, reason=f"not begun: {error}")
        await self._write(end)
        self._waiting.pop(command.id, None)
        self._cancelled.discard(command.id)
        self._answer(command.id)

    def _check(self, command: Command, target: Target) -> None:
        """Raise NotBegun unless the command may be begun at this moment."""
        now = self._clock.safe_now()
        if command.id in self._cancelled:
            raise NotBegun(CommandState.CANCELLED)
        if command.expired(now):
            raise NotBegun(CommandState.EXPIRED, f"came {(now - command.expires_at) / 1000:.1f} s too late")
        last = self._last_harmful(command.device)
        situation = guard.Situation(target.profile, target.rules, target.version(), now, last)
        if reason := guard.refuse(command, situation):
            raise NotBegun(CommandState.REJECTED, reason[:500])

    async def _begin(self, command: Command, target: Target) -> None:
        self._check(command, target)
        harmful = guard.harmful(target.profile.commands[command.name].hazard)
        entry = self._entry(command, CommandState.RUNNING).model_copy(
            update={"begun_at": self._clock.now(), "harmful": harmful}
        )
        if not await self._write(entry):
            raise NotBegun(CommandState.REJECTED, "the journal cannot be written on this device")
        # A slow disk may have taken the time that was left.
        if command.expired(self._clock.safe_now()):
            raise NotBegun(CommandState.EXPIRED, "expired while it was written to the journal")
        self._say(command, CommandState.RUNNING)

    def _finished(
        self, command: Command, state: CommandState, data: dict[str, Any] | None = None, reason: str = ""
    ) -> Entry:
        kept = self._journal.get(command.id) or self._entry(command, state)
        update = {"state": state, "finished_at": self._clock.now(), "data": data or {}, "reason": reason[:500]}
        return kept.model_copy(update=update)

    def _entry(self, command: Command, state: CommandState) -> Entry:
        return Entry(
            id=command.id, device=command.device, name=command.name, state=state, expires_at=command.expires_at
        )

    def _last_harmful(self, device: str) -> int | None:
        own = [entry for entry in self._journal.values() if entry.device == device and entry.harmful]
        return max((entry.begun_at for entry in own if entry.begun_at is not None), default=None)

    async def _room(self) -> bool:
        """False when another command cannot be remembered: it is then not taken at all, and the hub repeats it."""
        open_slots = JOURNAL_LIMIT - len(self._journal) - len(self._waiting)
        if len(self._waiting) < MAX_WAITING and (open_slots > 0 or self._forgettable()):
            return True
        self._log.warning("no room in the command journal; a command is left for later")
        return False

    def _forgettable(self) -> list[str]:
        """Entries that are not needed any more; when the journal is full, the oldest whose time has passed."""
        now = self._clock.safe_now()
        over = [entry for entry in self._journal.values() if entry.state.final and entry.expires_at < now]
        old = [entry.id for entry in over if entry.expires_at + KEPT_MS < now]
        full = len(self._journal) + len(self._waiting) >= JOURNAL_LIMIT
        return old or ([min(over, key=lambda entry: entry.expires_at).id] if over and full else [])

    async def _write(self, entry: Entry) -> bool:
        """Put an entry into the journal; false when the disk refused. Memory has it in any case once it is final."""
        async with self._writing:
            forget = [] if entry.id in self._journal else self._forgettable()
            try:
                await self._disk.run(self._state.write_journal, entry, forget)
            except (OSError, StateUnreadable) as error:
                self._log.error("the command journal cannot be written: %s", error)
                if entry.state.final:
                    self._journal[entry.id] = entry
                return False
            for name in forget:
                self._journal.pop(name, None)
            self._journal[entry.id] = entry
            return True

    def _answer(self, command: str) -> None:
        entry = self._journal[command]
        t = entry.finished_at or entry.begun_at or self._clock.now()
        try:
            record = ResultRecord(
                device=entry.device, command=entry.id, state=entry.state, t=t, data=entry.data, reason=entry.reason
            )
        except ValidationError:
            # What a device answers is not ours to bound, but what goes up is.
            text = "the device's answer is too large or no JSON and was left out"
            record = ResultRecord(device=entry.device, command=entry.id, state=entry.state, t=t, reason=text)
        self._report(record)

    def _say(self, command: Command, state: CommandState) -> None:
        self._report(ResultRecord(device=command.device, command=command.id, state=state, t=self._clock.now()))
