"""Configuration on the device: prepare -> apply -> verify -> report, and back again when it does not work out.

Only the newest version counts. A change is on trial until the hub has confirmed its report; when the hub stays away for
`rollback_after_s`, the document before it is put in force again. What is in force survives a restart, and is put into a
device whenever that is opened.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lamplighter_agent.clock import Clock
from lamplighter_agent.disk import Disk
from lamplighter_agent.driver import DriverError, Retriable
from lamplighter_agent.errors import StateUnreadable
from lamplighter_agent.runner import INTERVAL_FIELD
from lamplighter_agent.state import Configured, State, Version
from lamplighter_protocols.configuration import (
    ConfigurationState,
    Desired,
    FieldError,
    check_fields,
    document_hash,
    merge,
)
from lamplighter_protocols.profile import Profile
from lamplighter_protocols.records import Receipt, ReportedRecord, Stream


class Configurable(Protocol):
    """Who is configured: a device's runner."""

    document: dict[str, Any]

    async def configure(self, document: dict[str, Any]) -> dict[str, Any]:
        """Put a document in force; return what is. Raises DriverError."""
        ...

    async def restore(self, document: dict[str, Any], in_device: dict[str, Any]) -> None:
        """Go back to an earlier document; does not fail."""
        ...


@dataclass(slots=True)
class _Trial:
    """A change whose report the hub has not confirmed: `number` is the report's in the alarm stream."""

    number: int
    timer: asyncio.Task[None]


class Configuration:
    """The configuration of one agent's devices. `report` takes reports for the outbox; the future has the number."""

    def __init__(
        self,
        targets: Mapping[str, tuple[Profile, Configurable]],
        state: State,
        disk: Disk,
        clock: Clock,
        report: Callable[[ReportedRecord], asyncio.Future[list[int]]],
    ) -> None:
        self._targets = targets
        self._state = state
        self._disk = disk
        self._clock = clock
        self._report = report
        self._known: dict[str, Configured] = {}
        self._newest: dict[str, int] = {}
        self._locks = {device: asyncio.Lock() for device in targets}
        self._trials: dict[str, _Trial] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._unreachable: set[str] = set()
        self._log = logging.getLogger("lamplighter.configuration")

    async def start(self) -> None:
        """Put what was in force into the runners; a change that was on trial is on trial again."""
        self._known = await self._disk.run(self._state.configurations)
        for device, kept in self._known.items():
            if device not in self._targets:
                continue
            self._targets[device][1].document = kept.force.document
            if kept.before is not None:
                self._spawn(self._try(kept))

    async def stop(self) -> None:
        """Stop all timers; trials go on at the next start."""
        tasks = [*self._tasks, *(trial.timer for trial in self._trials.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def in_force(self, device: str) -> Version:
        """Return what is in force on a device; version 0 before the first document."""
        return self._get(device).force

    def take(self, desired: Desired) -> str:
        """Take a signed document; it is worked on in the background. Returns why not, empty when it is taken."""
        answered = self._get(desired.device).answered
        if desired.version < max(answered.version, self._newest.get(desired.device, 0)):
            return f"version {desired.version} is older than {answered.version}"
        if desired.version == answered.version and desired.hash != answered.hash:
            return f"version {desired.version} was another document before"
        self._newest[desired.device] = desired.version
        self._spawn(self._work(desired))
        return ""

    async def receipt(self, receipt: Receipt) -> None:
        """End the trials whose report the hub has confirmed."""
        through = receipt.through.get(Stream.ALARM, 0)
        for device in [device for device, trial in self._trials.items() if trial.number <= through]:
            trial = self._trials.pop(device)
            trial.timer.cancel()
            await self._keep(self._get(device).model_copy(update={"before": None}))

    def renumbered(self, by: int) -> None:
        """Learn that reports which were not sent yet have numbers that are higher by so much."""
        for trial in self._trials.values():
            trial.number += by

    def _get(self, device: str) -> Configured:
        return self._known.get(device) or Configured(device=device)

    async def _work(self, desired: Desired) -> None:
        device = desired.device
        async with self._locks[device]:
            kept = self._get(device)
            if desired.version < self._newest.get(device, 0):
                return
            if desired.version == kept.answered.version:
                self._say(device, kept.answered)
            elif errors := self._wrong(desired):
                await self._refuse(kept, self._version(desired, ConfigurationState.REJECTED, errors=errors))
            else:
                await self._apply(desired, kept)

    def _wrong(self, desired: Desired) -> list[FieldError]:
        profile, _ = self._targets[desired.device]
        if document_hash(desired.document) != desired.hash:
            return [FieldError(field="hash", detail="is not that of the document")]
        return check_fields(profile.configuration, desired.document)[:100]

    async def _apply(self, desired: Desired, kept: Configured) -> None:
        device = desired.device
        _, runner = self._targets[device]
        try:
            found = await runner.configure(desired.document)
        except Retriable as error:
            # Not the document's fault: the hub repeats it, and it is applied when the device answers.
            if device not in self._unreachable:
                self._unreachable.add(device)
                self._log.warning(
                    "%s: version %d waits, the device does not answer: %s", device, desired.version, error
                )
            return
        except DriverError as error:
            await self._undo(desired, kept, str(error))
            return
        self._unreachable.discard(device)
        if different := _different(desired.document, found):
            await self._undo(desired, kept, f"not in force after it was applied: {', '.join(different)}")
            return
        version = self._version(desired, ConfigurationState.APPLIED)
        before = kept.before or kept.force
        update = {"force": version, "answered": version, "before": before}
        new = kept.model_copy(update={**update, "rollback_after_s": desired.rollback_after_s})
        if not await self._keep(new):
            await self._undo(desired, kept, "it cannot be stored on this device")
            return
        self._log.info("%s: version %d is in force", device, desired.version)
        await self._try(new)

    async def _undo(self, desired: Desired, kept: Configured, reason: str) -> None:
        await self._restore(kept.device, kept.force)
        self._log.warning("%s: version %d was rolled back: %s", kept.device, desired.version, reason)
        await self._refuse(kept, self._version(desired, ConfigurationState.ROLLED_BACK, reason=reason[:500]))

    async def _restore(self, device: str, version: Version) -> None:
        _, runner = self._targets[device]
        await runner.restore(version.document, self._runs(device, version))

    def _runs(self, device: str, version: Version) -> dict[str, Any]:
        """Return what a device runs under a version; nobody's version 0 are the profile's defaults."""
        return version.document or merge(self._targets[device][0].configuration)

    async def _try(self, kept: Configured) -> None:
        """Report what is in force, and put it on trial until the hub confirms the report."""
        device = kept.device
        if (old := self._trials.pop(device, None)) is not None:
            old.timer.cancel()
        timer = asyncio.create_task(self._abandoned(device, kept.rollback_after_s), name=f"trial {device}")
        # Until the report has its number, no receipt can be one for it.
        trial = self._trials[device] = _Trial(2**60, timer)
        trial.number = (await self._say(device, kept.force))[-1]

    async def _abandoned(self, device: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        async with self._locks[device]:
            kept = self._get(device)
            if kept.before is None:
                return
            self._trials.pop(device, None)
            reason = f"the hub was not heard for {after_s:g} s after the change"
            self._log.warning("%s: version %d was rolled back: %s", device, kept.force.version, reason)
            await self._restore(device, kept.before)
            back = kept.force.model_copy(update={"state": ConfigurationState.ROLLED_BACK, "reason": reason})
            await self._refuse(kept.model_copy(update={"force": kept.before, "before": None}), back)

    async def _refuse(self, kept: Configured, version: Version) -> None:
        """Answer that a version is not in force, with the document that is."""
        running = self._runs(kept.device, kept.force)
        await self._answer(kept, version.model_copy(update={"document": running}))

    async def _answer(self, kept: Configured, version: Version) -> None:
        await self._keep(kept.model_copy(update={"answered": version}))
        self._say(kept.device, version)

    def _say(self, device: str, version: Version) -> asyncio.Future[list[int]]:
        record = ReportedRecord(
            device=device,
            version=version.version,
            hash=version.hash,
            state=version.state,
            t=self._clock.now(),
            document=version.document,
            errors=version.errors,
            reason=version.reason,
        )
        return self._report(record)

    async def _keep(self, kept: Configured) -> bool:
        self._known[kept.device] = kept
        try:
            await self._disk.run(self._state.save_configuration, kept)
        except (OSError, StateUnreadable) as error:
            self._log.error("the configuration cannot be stored: %s", error)
            return False
        return True

    def _version(
        self, desired: Desired, state: ConfigurationState, errors: list[FieldError] | None = None, reason: str = ""
    ) -> Version:
        return Version(
            version=desired.version,
            hash=desired.hash,
            state=state,
            document=desired.document,
            errors=errors or [],
            reason=reason,
        )

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _different(document: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return the fields that are not in force; the runner's own interval is not the device's business."""
    return [
        f"{name} is {found.get(name)!r} instead of {value!r}"
        for name, value in document.items()
        if name != INTERVAL_FIELD and not _same(value, found.get(name))
    ]


def _same(wanted: Any, found: Any) -> bool:
    numbers = isinstance(wanted, int | float) and isinstance(found, int | float)
    if numbers and not isinstance(wanted, bool) and not isinstance(found, bool):
        return math.isclose(wanted, found, rel_tol=1e-6, abs_tol=1e-9)
    return bool(wanted == found)
