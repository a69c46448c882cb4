"""Runs one driver: schedule, time-out, back-off, statistics, and what a change of its state means.

Every device has a task of its own, so that a bad one never delays another. Reads fall on a grid of the wall clock
(every 10 s: at :00, :10, :20), and a read that comes too late for its instant is skipped and counted, never queued. A
change of state is logged and reported once, not once per retry.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from lamplighter_agent.clock import Clock, Moment
from lamplighter_agent.driver import Driver, DriverError, Event, Fatal, Output, Partial, Position, Retriable, Row
from lamplighter_agent.outputs import flaw
from lamplighter_protocols.profile import Profile
from lamplighter_protocols.readings import Quality

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 30.0
FATAL_WAIT_S: Final = 300.0
ON_TIME_MS: Final = 50
"""A read that begins this soon after its instant on the grid carries the instant's time."""
INTERVAL_FIELD: Final = "interval_s"

T = TypeVar("T")


class Sink(Protocol):
    """Where a runner's output goes: the recorder."""

    async def put(self, device: str, profile: Profile, output: Output, at: Moment) -> asyncio.Future[list[int]]:
        """Take what a read gave; the future is done when it is durable."""
        ...


@dataclass(slots=True)
class Statistics:
    """What a runner counted since its start. `lasted_s` is how long the last read took."""

    reads: int = 0
    failures: int = 0
    skipped: int = 0
    reopened: int = 0
    lasted_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How a device is run. `interval_s` is agent.toml's or the profile's; a configuration field may override it."""

    device: str
    profile: Profile
    interval_s: float
    timeout_s: float


class Runner:
    """One device. `position` returns the driver's last durable position."""

    def __init__(
        self,
        plan: Plan,
        driver: Driver,
        sink: Sink,
        clock: Clock,
        position: Callable[[str], Awaitable[Position | None]],
    ) -> None:
        self.plan = plan
        self.statistics = Statistics()
        self.document: dict[str, Any] = {}
        """The configuration in force; put into the device again whenever it is opened."""
        self.trouble = ""
        self._driver = driver
        self._sink = sink
        self._clock = clock
        self._position = position
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._opened = False
        self._failed_at = 0
        self._attempt = 0
        self._partial = ""
        self._log = logging.getLogger(f"lamplighter.device.{plan.device}")

    @property
    def interval_s(self) -> float:
        """How often the device is read now."""
        if self._driver.poll_s is not None:
            return self._driver.poll_s
        own = self.document.get(INTERVAL_FIELD)
        fits = isinstance(own, int | float) and not isinstance(own, bool) and own > 0
        return float(own) if fits and own is not None else self.plan.interval_s

    async def run(self) -> None:
        """Read for ever."""
        instant: int | None = None
        before: float | None = None
        while True:
            try:
                more = await self._once(instant)
            except DriverError as error:
                await self._failing(error)
                await asyncio.sleep(self._wait_s(error))
                instant = before = None
                continue
            if more:
                instant = None
            else:
                instant = await self._next_instant(before)
                before = asyncio.get_running_loop().time()

    async def close(self) -> None:
        """Let go of the device."""
        async with self._lock:
            await self._close()

    async def command(
        self,
        name: str,
        args: dict[str, Any],
        lease_s: int | None,
        timeout_s: float,
        begin: Callable[[], Awaitable[None]],
    ) -> dict[str, Any]:
        """Act; `begin` is awaited at the last moment before, and may raise to prevent it. Raises DriverError."""
        async with self._lock:
            await self._open()
            await begin()
            return await self._limited(self._driver.command(name, args, lease_s), timeout_s)

    async def configure(self, document: dict[str, Any]) -> dict[str, Any]:
        """Put a document in force for runner and driver; return what is in force. Raises DriverError."""
        async with self._lock:
            await self._open(with_document=False)
            found = await self._limited(self._driver.configure(document), self.plan.timeout_s)
            self.document = document
            self._changed.set()
            return found

    async def restore(self, document: dict[str, Any], in_device: dict[str, Any]) -> None:
        """Go back to an earlier document, with `in_device` for the device; what fails is done when it opens again."""
        async with self._lock:
            self.document = document
            self._changed.set()
            try:
                await self._open(with_document=False)
                await self._limited(self._driver.configure(in_device), self.plan.timeout_s)
            except DriverError as error:
                self._log.warning("could not be set back: %s", error)
                await self._close()

    async def _once(self, instant: int | None) -> bool:
        async with self._lock:
            await self._open()
            at = self._clock.moment()
            begun = asyncio.get_running_loop().time()
            try:
                output = await self._limited(self._read(), self.plan.timeout_s)
            except Partial as error:
                output = error.output
                self._say_partial(str(error))
            else:
                self._say_partial("")
            self.statistics.lasted_s = asyncio.get_running_loop().time() - begun
        self.statistics.reads += 1
        await self._well()
        if instant is not None and 0 <= at.t - instant <= ON_TIME_MS:
            at = at._replace(t=instant)
        stored = await self._sink.put(self.plan.device, self.plan.profile, output, at)
        if output.position is not None:
            await stored
        return output.more

    async def _read(self) -> Output:
        """Read; what nobody could record is the driver's mistake, and its own."""
        try:
            output = await self._driver.read()
        except Partial as error:
            _check(error.output)
            raise
        _check(output)
        return output

    async def _open(self, *, with_document: bool = True) -> None:
        if self._opened:
            return
        position = await self._position(self.plan.device)
        await self._limited(self._driver.open(position), self.plan.timeout_s)
        self._opened = True
        self.statistics.reopened += 1
        if with_document and self.document:
            await self._limited(self._driver.configure(self.document), self.plan.timeout_s)

    async def _close(self) -> None:
        self._opened = False
        with_trouble = "%s while closing: %s"
        try:
            async with asyncio.timeout(self.plan.timeout_s):
                await self._driver.close()
        except (DriverError, OSError, TimeoutError) as error:
            self._log.debug(with_trouble, type(error).__name__, error)

    async def _limited(self, work: Awaitable[T], timeout_s: float) -> T:
        """Await a call into the driver; whatever goes wrong there becomes a DriverError, and the device is closed."""
        async with self._translated(timeout_s):
            async with asyncio.timeout(timeout_s):
                return await work

    @asynccontextmanager
    async def _translated(self, timeout_s: float) -> AsyncIterator[None]:
        try:
            yield
        except Partial:
            raise
        except DriverError as error:
            if isinstance(error, Retriable | Fatal):
                await self._close()
            raise
        except TimeoutError:
            await self._close()
            raise Retriable(f"no answer within {timeout_s:g} s") from None
        except OSError as error:
            await self._close()
            raise Retriable(str(error)) from error
        except Exception as error:
            # The supervision point of everybody's driver: a mistake in one must not stop the others.
            self._log.exception("the driver %s has a bug", type(self._driver).__name__)
            await self._close()
            raise Retriable(f"driver bug: {type(error).__name__}: {error}") from error

    async def _next_instant(self, before: float | None) -> int:
        """Wait for the next instant of the grid; those since `before` that passed without a read count as skipped.

        `before` is of the loop's clock: nothing was skipped when the wall clock is set.
        """
        while True:
            interval = max(1, round(self.interval_s * 1000))
            now = self._clock.now()
            instant = now // interval * interval + interval
            self._changed.clear()
            try:
                async with asyncio.timeout((instant - now) / 1000):
                    await self._changed.wait()
            except TimeoutError:
                instant = max(instant, self._clock.now() // interval * interval)
                if before is not None:
                    passed_s = asyncio.get_running_loop().time() - before
                    self.statistics.skipped += max(0, round(passed_s * 1000 / interval) - 1)
                return instant
            before = None

    def _wait_s(self, error: DriverError) -> float:
        if isinstance(error, Fatal):
            return FATAL_WAIT_S * _jitter()
        least = min(self.interval_s, LONGEST_WAIT_S)
        return float(min(LONGEST_WAIT_S, max(FIRST_WAIT_S, least) * 2 ** min(self._attempt - 1, 10))) * _jitter()

    async def _failing(self, error: DriverError) -> None:
        self.statistics.failures += 1
        self._attempt += 1
        if not self.trouble:
            self._failed_at = self._clock.now()
            self._log.warning("does not answer: %s", error)
            flags = dict.fromkeys(self.plan.profile.metrics, Quality.NO_DATA)
            rows = [Row(dict.fromkeys(flags), flags)] if flags and self._driver.poll_s is None else []
            await self._tell(Event("device_unreachable", {"reason": str(error)[:400]}), rows)
        elif isinstance(error, Fatal) and str(error) != self.trouble:
            self._log.warning("still does not answer, for another reason: %s", error)
        self.trouble = str(error) or type(error).__name__

    async def _well(self) -> None:
        self._attempt = 0
        if self.trouble:
            self.trouble = ""
            after_s = (self._clock.now() - self._failed_at) // 1000
            self._log.warning("answers again after %d s", after_s)
            await self._tell(Event("device_back", {"after_s": after_s}), [])

    async def _tell(self, event: Event, rows: list[Row]) -> None:
        output = Output(rows=rows, events=[event])
        await self._sink.put(self.plan.device, self.plan.profile, output, self._clock.moment())

    def _say_partial(self, trouble: str) -> None:
        if trouble and not self._partial:
            self._log.warning("answers in part: %s", trouble)
        elif self._partial and not trouble:
            self._log.info("answers in full again")
        self._partial = trouble


def _check(output: Output) -> None:
    if what := flaw(output):
        raise ValueError(what)


def _jitter() -> float:
    # Spreads retries of many devices; nothing secret depends on it.
    return random.uniform(0.5, 1.0)  # noqa: S311
