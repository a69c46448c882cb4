"""The agent, put together: every object is made here, connected here, started and stopped here.

Driver.read -> runner -> recorder -> outbox ==> link ==> broker
Driver.command, configure <- runner <- commands, configuration <- control <== link <== broker
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from lamplighter_agent import registry
from lamplighter_agent import settings as settings_
from lamplighter_agent.clock import Clock, since_boot_ms
from lamplighter_agent.commands import Commands, Target
from lamplighter_agent.configuration import Configuration
from lamplighter_agent.control import Control
from lamplighter_agent.disk import Disk
from lamplighter_agent.driver import Context, Driver, Event, Fatal
from lamplighter_agent.entries import Inventory
from lamplighter_agent.errors import Mistake
from lamplighter_agent.keys import TrustedKeys
from lamplighter_agent.link import Link, LinkPlan
from lamplighter_agent.metering import Meter
from lamplighter_agent.outbox import Outbox
from lamplighter_agent.recorder import Recorder
from lamplighter_agent.refusals import Refusals
from lamplighter_agent.runner import Plan, Runner
from lamplighter_agent.settings import DeviceSettings, Settings
from lamplighter_agent.state import Day, Identity, Lock, State
from lamplighter_agent.traffic import Account, Budget, Traffic
from lamplighter_protocols.ids import new_ulid
from lamplighter_protocols.presence import Birth, BornDevice
from lamplighter_protocols.presence import Clock as ClockState
from lamplighter_protocols.profile import Profile

OUTBOX: Final = "outbox.sqlite"
STOP_WITHIN_S: Final = 8.0


def make_drivers(chosen: Settings, profiles: dict[str, Profile]) -> dict[str, Driver]:
    """Return a driver for each device, checked but not connected. Raises Mistake."""
    shared: dict[Hashable, Any] = {}
    return {device.id: _make_driver(chosen, device, profiles[device.id], shared) for device in chosen.devices}


def _make_driver(chosen: Settings, device: DeviceSettings, profile: Profile, shared: dict[Hashable, Any]) -> Driver:
    try:
        kind = registry.load(device.driver)
    except Fatal as error:
        raise Mistake(chosen.file, chosen.key(device, "driver"), f"{device.driver!r} {error}") from None
    try:
        own = kind.Settings.model_validate(device.settings)
    except ValidationError as error:
        raise settings_.mistake(chosen.file, error, device.settings, "devices", device.id, "settings") from None
    log = logging.getLogger(f"lamplighter.device.{device.id}")
    context = Context(device.id, profile, chosen.folder, log, shared)
    try:
        return kind(context, own)
    except Fatal as error:
        raise Mistake(chosen.file, chosen.key(device), str(error)) from None


class Agent:
    """One agent. Everything that can be wrong with its files is found by `start`."""

    def __init__(self, chosen: Settings, clock: Clock | None = None) -> None:
        self.settings = chosen
        self.clock = clock or Clock(since_boot=since_boot_ms)
        self.state = State(chosen.data_folder)
        self.disk = Disk()
        self.outbox = Outbox(chosen.data_folder / OUTBOX, chosen.outbox.max_bytes, self.clock.own)
        self.runners: dict[str, Runner] = {}
        self._lock = Lock(chosen.data_folder)
        self._boot = new_ulid(self.clock.own(), os.urandom(10))
        self._log = logging.getLogger("lamplighter.agent")

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then say so to the hub and leave everything in order. Raises AgentError."""
        identity = self.state.identity()
        profiles = settings_.used_profiles(self.settings)
        drivers = make_drivers(self.settings, profiles)
        self._lock.take()
        try:
            await self.disk.run(self.outbox.open)
            parts = await self._join(identity, profiles, drivers)
            async with parts.running() as tasks:
                self._log.info("agent %s with %d device(s)", identity.agent, len(drivers))
                await _until(stop, tasks)
        finally:
            await self.disk.run(self.outbox.close)
            self.disk.close()
            self._lock.release()

    async def _join(self, identity: Identity, profiles: dict[str, Profile], drivers: dict[str, Driver]) -> _Parts:
        meter = await self._meter()
        link = self._link(identity, profiles, meter)
        recorder = Recorder(self.outbox, self.disk, self.clock, link.away_s, link.committed)
        self.runners = {device: self._runner(device, profiles, drivers, recorder) for device in drivers}
        self.configuration = Configuration(
            {device: (profiles[device], runner) for device, runner in self.runners.items()},
            self.state,
            self.disk,
            self.clock,
            recorder.report,
        )
        commands = Commands(self._targets(profiles), self.state, self.disk, self.clock, recorder.report)
        trusted = TrustedKeys({key.kid: key.public_key for key in identity.hub_keys})
        link.control = Control(
            identity.agent,
            self.runners.keys(),
            trusted.verify,
            self.clock,
            commands,
            self.configuration,
            self._refusals(profiles, recorder),
            link,
        )
        return _Parts(meter, link, recorder, list(self.runners.values()), self.configuration, commands)

    def _link(self, identity: Identity, profiles: dict[str, Profile], meter: Meter) -> Link:
        own = self.settings.link
        promise = self.settings.heard_within_s or max(identity.heard_within_s, own.habits.least_promise_s)
        plan = LinkPlan(identity.agent, identity.mqtt, promise, own.habits, own.batch_bytes, own.backlog_share)
        birth = self._birth(promise, profiles, meter)
        return Link(plan, self.outbox, self.disk, self.clock, self.state.next_session, birth, meter)

    def _refusals(self, profiles: dict[str, Profile], recorder: Recorder) -> Refusals:
        async def tell(device: str, event: Event) -> object:
            return await recorder.event(device, profiles[device], event)

        return Refusals(list(self.runners), tell)

    async def _meter(self) -> Meter:
        days = await self.disk.run(self.state.traffic)
        account = Account({item.day: Traffic(item.up, item.down) for item in days})
        own = self.settings.link

        async def keep(account: Account) -> None:
            kept = [Day(day=day, up=sum_.up, down=sum_.down) for day, sum_ in account.days.items()]
            await self.disk.run(self.state.save_traffic, kept)

        return Meter(own.kind, Budget(own.budget_bytes), account, self.clock.now, keep, own.habits.report_s)

    def _runner(
        self, device: str, profiles: dict[str, Profile], drivers: dict[str, Driver], recorder: Recorder
    ) -> Runner:
        own = next(item for item in self.settings.devices if item.id == device)
        interval_s = own.interval_s or profiles[device].interval_s

        async def position(name: str) -> dict[str, Any] | None:
            return await self.disk.run(self.outbox.position, name)

        plan = Plan(device, profiles[device], interval_s, own.timeout_s)
        return Runner(plan, drivers[device], recorder, self.clock, position)

    def _targets(self, profiles: dict[str, Profile]) -> dict[str, Target]:
        return {
            device.id: Target(profiles[device.id], device.rules, self.runners[device.id], self._version_of(device.id))
            for device in self.settings.devices
        }

    def _version_of(self, device: str) -> Callable[[], int]:
        return lambda: self.configuration.in_force(device).version

    def _birth(self, promise: int, profiles: dict[str, Profile], meter: Meter) -> Callable[[int, Inventory], Birth]:
        def birth(session: int, inventory: Inventory) -> Birth:
            return Birth(
                session=session,
                boot=self._boot,
                agent_version=version("lamplighter-agent"),
                clock=ClockState.SYNCED if self.clock.synced else ClockState.UNSYNCED,
                heard_within_s=promise,
                outbox=self.outbox.id,
                lives=self.outbox.lives(),
                sent=self.clock.own(),
                devices=[self._born(device, profile) for device, profile in profiles.items()],
                link=meter.use(),
                **inventory._asdict(),
            )

        return birth

    def _born(self, device: str, profile: Profile) -> BornDevice:
        force = self.configuration.in_force(device)
        often = self.runners[device].plan.interval_s
        return BornDevice(
            id=device,
            profile=profile.id,
            version=force.version,
            hash=force.hash,
            interval_s=None if often == profile.interval_s else often,
        )


@dataclass(frozen=True)
class _Parts:
    """What runs while the agent does."""

    meter: Meter
    link: Link
    recorder: Recorder
    runners: list[Runner]
    configuration: Configuration
    commands: Commands

    @asynccontextmanager
    async def running(self) -> AsyncIterator[list[asyncio.Task[None]]]:
        """Start everything; at the end stop it, sources first, so that what they still gave is kept and sent."""
        recording = asyncio.create_task(self.recorder.run(), name="recorder")
        await self.commands.start()
        await self.configuration.start()
        linking = asyncio.create_task(self.link.run(), name="link")
        reading = [asyncio.create_task(runner.run(), name=f"device {runner.plan.device}") for runner in self.runners]
        try:
            yield [recording, linking, *reading]
        finally:
            await self._stop_devices(reading)
            await _cancel([recording])
            await _patiently(self.recorder.flush())
            await _patiently(self.link.close())
            await _cancel([linking])
            await _patiently(self.meter.keep())

    async def _stop_devices(self, reading: list[asyncio.Task[None]]) -> None:
        await _cancel(reading)
        await self.commands.stop()
        await self.configuration.stop()
        await _patiently(asyncio.gather(*(runner.close() for runner in self.runners)))


async def _until(stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
    """Return when `stop` is set; raise what ended a task, for none of them ends by itself."""
    stopping = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
    for task in done - {stopping}:
        task.result()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _patiently(work: Awaitable[Any]) -> None:
    """Await a step of the end, but not for ever; what fails here cannot be mended any more."""
    with suppress(TimeoutError):
        async with asyncio.timeout(STOP_WITHIN_S):
            await work


def run(file: Path) -> None:
    """Run the agent of this agent.toml until SIGTERM or SIGINT. Raises AgentError."""
    chosen = settings_.load(file)
    asyncio.run(_run(Agent(chosen)))


async def _run(agent: Agent) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await agent.run(stop)
