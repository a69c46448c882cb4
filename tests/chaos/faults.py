"""Each fault, done and undone. A fault that is done returns how it is mended; mending may be late, never left out.

What several parts need of each other is waited for when all of them are mended: `whole`.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from typing import Final

from chaos.machine import allow_writing, child_named, forbid_writing
from chaos.proxy import Line
from chaos.schedule import ORDER, Fault, Strike
from chaos.stores import Stores
from chaos.world import World
from services.influx import Influxd
from services.postgres import Postgres
from services.process import Child
from services.wait import eventually

Mend = Callable[[], None]
KILLS: Final = 2
STARTS: Final = 2
LONGEST_LIFE_S: Final = 1.5
JUMPS_S: Final = (-86_400, -3_600, -120, 120, 3_600, 86_400)
DEAF: Final = (Line.SWALLOWS, Line.SWALLOWS_UP, Line.SWALLOWS_DOWN)
BROKER_BACK_S: Final = 90


def strike(world: World, what: Strike, chance: random.Random) -> Mend:
    """Do it; return how to undo it. `chance` chooses what the plan leaves open."""
    return _DOERS[what.fault](world, what.victim, chance)


def _nothing() -> None:
    return


def _kill_agent(world: World, victim: str, _: random.Random) -> Mend:
    world.agents[victim].running.kill()
    return lambda: world.start_agent(victim)


def _kill_hub(world: World, _: str, __: random.Random) -> Mend:
    world.hub.running.kill()
    return world.start_hub


def _kill_in_commit(world: World, _: str, chance: random.Random) -> Mend:
    """Kill -9 at moments when work has piled up and is being committed."""
    for _time in range(KILLS):
        world.hub.running.kill()
        world.start_hub()
        _pause(chance.uniform(0.0, LONGEST_LIFE_S))
    world.hub.running.kill()
    return world.start_hub


def _pause(seconds: float) -> None:
    until = time.monotonic() + seconds
    eventually(lambda: time.monotonic() >= until, within_s=seconds + 5)


def whole(world: World, struck: set[str]) -> None:
    """Wait until the hub serves and hears again, when it or what it needs was struck."""
    if not struck & set(ORDER):
        return
    world.start_hub()
    if "broker" in struck or world.forgetful:
        _broker_serves(world)
    for begun in world.forgetful:
        world.destroyed.append((begun, time.monotonic()))
    world.forgetful.clear()


def _broker_pid(world: World) -> int:
    if world.mosquitto:
        return world.mosquitto.child.pid
    return eventually(lambda: child_named(world.hub.running.pid, "nats-server"), within_s=30)


def _kill_broker(world: World, _: str, __: random.Random) -> Mend:
    os.kill(_broker_pid(world), signal.SIGKILL)
    return _forgetful(world) if world.mosquitto else _nothing


def _amnesia(world: World, _: str, __: random.Random) -> Mend:
    """Kill the broker and destroy all it kept."""
    os.kill(pid := _broker_pid(world), signal.SIGSTOP)
    (world.folder / "mosquitto" / "mosquitto.db").unlink(missing_ok=True)
    shutil.rmtree(world.hub.data / "broker" / "jetstream", ignore_errors=True)
    os.kill(pid, signal.SIGKILL)
    return _forgetful(world)


def _forgetful(world: World) -> Mend:
    """Note how long there was a broker that had forgotten: until the hub has subscribed, it confirms for nobody."""
    world.forgetful.append(time.monotonic())

    def mend() -> None:
        if world.mosquitto:
            world.mosquitto.kill()
            world.mosquitto.start()

    return mend


def _broker_serves(world: World) -> None:
    def serves() -> bool:
        parts = world.hub.get("status")["parts"]
        return not parts["broker"]["trouble"] and bool(parts["uplink"]["connected"])

    eventually(serves, within_s=BROKER_BACK_S)


def _freeze_agent(world: World, victim: str, _: random.Random) -> Mend:
    child = world.agents[victim].running
    child.signal(signal.SIGSTOP)
    return lambda: child.signal(signal.SIGCONT)


def _freeze_hub(world: World, _: str, __: random.Random) -> Mend:
    child = world.hub.running
    child.signal(signal.SIGSTOP)
    return lambda: child.signal(signal.SIGCONT)


def _freeze_broker(world: World, _: str, __: random.Random) -> Mend:
    pid = _broker_pid(world)
    os.kill(pid, signal.SIGSTOP)

    def mend() -> None:
        with contextlib.suppress(ProcessLookupError):  # its supervisor may have lost patience
            os.kill(pid, signal.SIGCONT)

    return mend


def _line(state: Line) -> Callable[[World, str, random.Random], Mend]:
    def do(world: World, victim: str, _: random.Random) -> Mend:
        world.proxies[victim].become(state)
        return lambda: world.proxies[victim].become(Line.WHOLE)

    return do


def _half_open(world: World, victim: str, chance: random.Random) -> Mend:
    return _line(chance.choice(DEAF))(world, victim, chance)


def _replay(world: World, victim: str, _: random.Random) -> Mend:
    world.proxies[victim].replay()

    def mend() -> None:
        world.proxies[victim].replay()

    return mend


def _disk_full(world: World, victim: str, _: random.Random) -> Mend:
    world.disks[victim].fill()
    return world.disks[victim].drain


def _hub_disk_slow(world: World, _: str, __: random.Random) -> Mend:
    """Its disk takes 100 kB/s of it: a commit lasts as long as writing it."""
    disk = world.hub_disk
    disk.slow(world.hub.running.pid)
    return disk.quick


def _store_disk_full(world: World, victim: str, _: random.Random) -> Mend:
    """A write that failed stays failed in InfluxDB's log until it is started again, twice and without a write between.

    The first start cuts the torn entry off its log and goes on writing behind where that was; the next start takes the
    gap for the log's end, and what was confirmed behind it is gone.
    """
    stores, line = _stores(world), world.proxies[victim]
    stores.disks[victim].fill()

    def mend() -> None:
        stores.disks[victim].drain()
        line.become(Line.CUT)
        for _start in range(STARTS):
            stores.influx.kill()
            stores.influx.start()
        line.become(Line.WHOLE)

    return mend


def _registry_disk_full(world: World, victim: str, _: random.Random) -> Mend:
    """PostgreSQL ends when it can write no log, and stays away until there is room."""
    stores = _stores(world)
    stores.disks[victim].fill()

    def mend() -> None:
        stores.disks[victim].drain()
        if not stores.postgres.child.running:
            stores.postgres.start()

    return mend


def _hub_writes_fail(world: World, _: str, __: random.Random) -> Mend:
    child = world.hub.running
    forbid_writing(child.pid)

    def mend() -> None:
        allow_writing(child.pid)
        world.start_hub()  # it may give up, as a program whose disk fails may; its supervisor starts it again

    return mend


def _agent_writes_fail(world: World, victim: str, _: random.Random) -> Mend:
    child = world.agents[victim].running
    forbid_writing(child.pid)

    def mend() -> None:
        allow_writing(child.pid)
        if not child.running:
            world.start_agent(victim)

    return mend


def _clock_jump(world: World, _: str, chance: random.Random) -> Mend:
    world.clock.jump(chance.choice(JUMPS_S))
    return lambda: world.clock.jump(0)


def _poison(world: World, _: str, __: random.Random) -> Mend:
    world.poison.set()
    return world.poison.clear


def _stores(world: World) -> Stores:
    assert world.stores is not None, "this world has no stores of its own"
    return world.stores


def _killed(server: Influxd | Postgres) -> Mend:
    server.kill()

    def mend() -> None:
        server.start()

    return mend


def _kill_store(world: World, _: str, __: random.Random) -> Mend:
    return _killed(_stores(world).influx)


def _freeze_store(world: World, _: str, __: random.Random) -> Mend:
    child = _influxd(world)
    child.signal(signal.SIGSTOP)
    return lambda: child.signal(signal.SIGCONT)


def _store_writes_fail(world: World, _: str, __: random.Random) -> Mend:
    """Its disk takes nothing any more. A write that failed stays failed in its log until it is started again."""
    influx, child = _stores(world).influx, _influxd(world)
    forbid_writing(child.pid)

    def mend() -> None:
        allow_writing(child.pid)
        child.kill()
        influx.start()

    return mend


def _influxd(world: World) -> Child:
    child = _stores(world).influx.child
    assert child is not None
    return child


def _kill_registry(world: World, _: str, __: random.Random) -> Mend:
    return _killed(_stores(world).postgres)


def _freeze_registry(world: World, _: str, __: random.Random) -> Mend:
    server = _stores(world).postgres
    server.signal(signal.SIGSTOP)

    def mend() -> None:
        server.signal(signal.SIGCONT)

    return mend


def _read_only_registry(world: World, _: str, __: random.Random) -> Mend:
    stores = _stores(world)
    stores.postgres.write(stores.database, allowed=False)

    def mend() -> None:
        stores.postgres.write(stores.database, allowed=True)

    return mend


_DOERS: Final[Mapping[Fault, Callable[[World, str, random.Random], Mend]]] = {
    Fault.KILL_AGENT: _kill_agent,
    Fault.KILL_HUB: _kill_hub,
    Fault.KILL_IN_COMMIT: _kill_in_commit,
    Fault.KILL_BROKER: _kill_broker,
    Fault.BROKER_AMNESIA: _amnesia,
    Fault.FREEZE_AGENT: _freeze_agent,
    Fault.FREEZE_HUB: _freeze_hub,
    Fault.FREEZE_BROKER: _freeze_broker,
    Fault.CUT_LINK: _line(Line.CUT),
    Fault.SLOW_LINK: _line(Line.SLOW),
    Fault.HALF_OPEN_LINK: _half_open,
    Fault.SHUFFLED_BATCHES: _line(Line.SHUFFLES),
    Fault.REPLAYED_BATCHES: _replay,
    Fault.HUB_DISK_FULL: _disk_full,
    Fault.AGENT_DISK_FULL: _disk_full,
    Fault.HUB_WRITES_FAIL: _hub_writes_fail,
    Fault.AGENT_WRITES_FAIL: _agent_writes_fail,
    Fault.CLOCK_JUMP: _clock_jump,
    Fault.POISON: _poison,
    Fault.KILL_STORE: _kill_store,
    Fault.FREEZE_STORE: _freeze_store,
    Fault.CUT_STORE: _line(Line.CUT),
    Fault.SLOW_STORE: _line(Line.SLOW),
    Fault.STORE_WRITES_FAIL: _store_writes_fail,
    Fault.KILL_REGISTRY: _kill_registry,
    Fault.FREEZE_REGISTRY: _freeze_registry,
    Fault.CUT_REGISTRY: _line(Line.CUT),
    Fault.SLOW_REGISTRY: _line(Line.SLOW),
    Fault.READ_ONLY_REGISTRY: _read_only_registry,
    Fault.HUB_DISK_SLOW: _hub_disk_slow,
    Fault.STORE_DISK_FULL: _store_disk_full,
    Fault.REGISTRY_DISK_FULL: _registry_disk_full,
    Fault.CUT_DEVICE: _line(Line.CUT),
    Fault.SLOW_DEVICE: _line(Line.SLOW),
}
