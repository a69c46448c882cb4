"""The whole of Lamplighter as processes, and a device world around it whose truth is counted by itself.

log-1   a growing log, live times                      own small disk
log-2   a growing log, old times (backlog)             an outbox of 64 KiB: it has to give records up
peer-1  two counting devices                           a clock that can be wrong
peer-2  a counting device, a log that rotates, a counting register behind Modbus TCP; own small disk
foreign-1  SenML at QoS 1, no agent                    rude-1: rubbish, while poisoned
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from chaos import peer as peer_
from chaos import register as register_
from chaos import writer as writer_
from chaos.commander import Commander
from chaos.compare import Given, Span
from chaos.foreign import Client, ForeignDevice, RudeClient
from chaos.machine import SlowDisk, SmallDisk, WrongClock
from chaos.peer import Device, Peer, now_ms
from chaos.proxy import Proxy
from chaos.register import CountingRegister
from chaos.schedule import EVERYBODY, Fault, Victims
from chaos.stores import REGISTRY, STORE, Stores, grown
from chaos.wire import Pieces
from chaos.writer import LogWriter
from lamplighter_hub.broker.mosquitto import Listen, write_configuration
from services.agent import PROGRAM, Agent
from services.brokers import MosquittoHub
from services.hub import Hub
from services.mosquitto import Mosquitto, configured_mosquitto
from services.ports import free_port
from services.process import Children
from services.wait import eventually

AGENTS: Final = ("log-1", "log-2", "peer-1", "peer-2")
HUB: Final = ("hub",)
BROKER: Final = ("broker",)
ON_STORE: Final = (
    Fault.KILL_STORE,
    Fault.FREEZE_STORE,
    Fault.CUT_STORE,
    Fault.SLOW_STORE,
    Fault.STORE_WRITES_FAIL,
)
ON_REGISTRY: Final = (
    Fault.KILL_REGISTRY,
    Fault.FREEZE_REGISTRY,
    Fault.CUT_REGISTRY,
    Fault.SLOW_REGISTRY,
    Fault.READ_ONLY_REGISTRY,
)
REGISTERS: Final = "modbus-1"
FOREIGN: Final = "foreign-1"
RUDE: Final = "rude-1"
ON_SMALL_DISK: Final = ("log-1", "peer-2")
CLOCKED: Final = "peer-1"
AGENT_DISK_MIB: Final = 24
HUB_BACK_S: Final = 120.0
HUB_DISK_MIB: Final = 768
LIVE_RATE: Final = 50
OLD_RATE: Final = 200
BROKER_URL: Final = re.compile(r"mqtt://127\.0\.0\.1:\d+")
OLD_MS: Final = 40 * 86_400_000
ROTATE_LINES: Final = 2_000


class Ground(StrEnum):
    """What the world stands on: which broker, and which stores."""

    NATS = "nats"
    """nats-server, DuckDB and SQLite."""
    MOSQUITTO = "mosquitto"
    """Mosquitto, DuckDB and SQLite."""
    GROWN = "grown"
    """nats-server, InfluxDB and PostgreSQL."""


@dataclass
class World:
    """Everything that runs, and what struck it."""

    folder: Path
    children: Children
    hub: Hub
    mosquitto: Mosquitto | None
    stores: Stores | None
    proxies: dict[str, Proxy]
    agents: dict[str, Agent]
    disks: dict[str, SmallDisk]
    clock: WrongClock
    writers: Sequence[LogWriter] = ()
    devices: Mapping[str, Device] = field(default_factory=dict)
    clients: Sequence[Client] = ()
    register: CountingRegister | None = None
    foreign: ForeignDevice | None = None
    rude: RudeClient | None = None
    commander: Commander | None = None
    poison: threading.Event = field(default_factory=threading.Event)
    declared: dict[str, list[Span]] = field(default_factory=dict)
    forgetful: list[float] = field(default_factory=list)
    """When a broker that is not mended yet lost what it had confirmed."""
    destroyed: list[tuple[float, float]] = field(default_factory=list)
    """When a broker lost what it had confirmed, and when the hub had subscribed again, on the harness's clock."""

    def start_agent(self, name: str) -> None:
        agent = self.agents[name]
        environment = self.clock.environment if name == CLOCKED else {}
        agent.child = self.children.start([PROGRAM, "run", "--config", agent.config], env=environment)

    def start_hub(self) -> None:
        """Start the hub unless it runs; a busy machine may need longer than a test would wait."""
        if self.hub.child is None or not self.hub.child.running:
            with contextlib.suppress(AssertionError):
                self.hub.start()
        eventually(self.hub.ready, within_s=HUB_BACK_S)

    @property
    def hub_disk(self) -> SlowDisk:
        disk = self.disks["hub"]
        assert isinstance(disk, SlowDisk)
        return disk

    def victims(self) -> Victims:
        """Return who may be struck here and by what."""
        small = [name for name in ON_SMALL_DISK if self.disks[name].real]
        lines = [*AGENTS, FOREIGN] + (["hub"] if self.mosquitto else [])
        slow = self.hub_disk.slowable and self.stores is None
        found: dict[Fault, Sequence[str]] = {
            **dict.fromkeys((Fault.KILL_AGENT, Fault.FREEZE_AGENT, Fault.AGENT_WRITES_FAIL), AGENTS),
            **dict.fromkeys((Fault.KILL_HUB, Fault.KILL_IN_COMMIT, Fault.FREEZE_HUB, Fault.HUB_WRITES_FAIL), HUB),
            **dict.fromkeys((Fault.KILL_BROKER, Fault.FREEZE_BROKER, Fault.BROKER_AMNESIA), BROKER),
            **dict.fromkeys((Fault.CUT_LINK, Fault.SLOW_LINK, Fault.HALF_OPEN_LINK), lines),
            **dict.fromkeys((Fault.SHUFFLED_BATCHES, Fault.REPLAYED_BATCHES), AGENTS),
            Fault.HUB_DISK_FULL: HUB if self.disks["hub"].real else (),
            Fault.HUB_DISK_SLOW: HUB if slow else (),
            Fault.AGENT_DISK_FULL: small,
            **dict.fromkeys((Fault.CUT_DEVICE, Fault.SLOW_DEVICE), (REGISTERS,)),
            Fault.CLOCK_JUMP: (CLOCKED,),
            Fault.POISON: [EVERYBODY],
        }
        if self.stores:
            found |= dict.fromkeys(ON_STORE, (STORE,)) | dict.fromkeys(ON_REGISTRY, (REGISTRY,))
            real = {name: (name,) if disk.real else () for name, disk in self.stores.disks.items()}
            found |= {Fault.STORE_DISK_FULL: real[STORE], Fault.REGISTRY_DISK_FULL: real[REGISTRY]}
        return found

    def given(self) -> Iterator[tuple[Given, str]]:
        """Yield what each source gave, and by which agent it went."""
        for writer in self.writers:
            yield writer.given(), AGENT_OF[writer.device]
        for device in self.devices.values():
            yield device.readings(), AGENT_OF[device.name]
            yield device.events(), AGENT_OF[device.name]
        if self.register:
            yield self.register.given(), AGENT_OF[self.register.name]
        if self.foreign:
            yield self.foreign.given(), FOREIGN

    def end_of_input(self) -> None:
        """Let nothing new come."""
        for source in (self.commander, self.foreign, self.rude, *self.writers):
            if source:
                source.stop()
        for device in self.devices.values():
            device.quiet()
        if self.register:
            self.register.quiet()


AGENT_OF: Final[Mapping[str, str]] = {
    "log-1": "log-1",
    "log-2": "log-2",
    "dev-1": "peer-1",
    "dev-2": "peer-1",
    "dev-3": "peer-2",
    "log-3": "peer-2",
    REGISTERS: "peer-2",
}


@contextlib.contextmanager
def world(folder: Path, ground: Ground, seed: int) -> Iterator[World]:
    """Start everything, and end it."""
    with contextlib.ExitStack() as stack:
        output = folder / "output"
        output.mkdir(parents=True)
        children = Children(output)
        disks: dict[str, SmallDisk] = {"hub": SlowDisk(folder / "hub", HUB_DISK_MIB)}
        disks |= {name: SmallDisk(folder / name / "state", AGENT_DISK_MIB) for name in ON_SMALL_DISK}
        for disk in disks.values():
            stack.callback(disk.close)
        stack.callback(children.end)
        (folder / "profiles").mkdir()
        for module in (writer_, peer_, register_):
            (folder / "profiles" / f"{module.__name__.rpartition('.')[2]}.toml").write_text(module.PROFILE)
        made = _ground(stack, folder, ground, children, seed)
        made.disks = disks
        _people(stack, made, seed)
        yield made


def _ground(stack: contextlib.ExitStack, folder: Path, ground: Ground, children: Children, seed: int) -> World:
    """Start the hub and what it stands on."""
    options: tuple[str, ...] = ("--profiles", str(folder / "profiles"))
    clock = WrongClock(folder / "clock")
    if ground is Ground.MOSQUITTO:
        hub, broker, line = _on_mosquitto(stack, folder, children, options, seed)
        return World(folder, children, hub, broker, None, {"hub": line}, {}, {}, clock)
    stores = grown(stack, folder, seed) if ground is Ground.GROWN else None
    hub = Hub(folder / "hub" / "data", children, options + (stores.options if stores else ()))
    return World(folder, children, hub.start(), None, stores, dict(stores.lines) if stores else {}, {}, {}, clock)


def _on_mosquitto(
    stack: contextlib.ExitStack, folder: Path, children: Children, options: tuple[str, ...], seed: int
) -> tuple[Hub, Mosquitto, Proxy]:
    port = free_port()
    made = write_configuration(folder / "mosquitto", Listen(port=port), {})
    (folder / "mosquitto" / "local.d" / "user.conf").write_text("user root\n")
    broker = stack.enter_context(configured_mosquitto(made.configuration, port))
    line = Proxy(port, lambda _: None, seed)
    stack.callback(line.close)
    url = made.url.replace(f":{port}", f":{line.port}")
    options += ("--mqtt-url", url, "--mosquitto-dir", str(folder / "mosquitto"))
    served = MosquittoHub(folder / "hub" / "data", children, options, mqtt_port=port)
    served.mosquitto = broker
    return served.start(), broker, line


def _people(stack: contextlib.ExitStack, made: World, seed: int) -> None:
    """Start agents, devices, and whoever else takes part."""
    poisoned = made.poison.is_set
    made.devices = {name: Device(name, poisoned) for name in ("dev-1", "dev-2", "dev-3")}
    peer = Peer(dict(made.devices))
    stack.callback(peer.close)
    _register(stack, made, seed)
    now = now_ms()
    made.writers = [
        LogWriter("log-1", made.folder / "log-1.csv", LIVE_RATE, now, poisoned),
        LogWriter("log-2", made.folder / "log-2.csv", OLD_RATE, now - OLD_MS, poisoned),
        LogWriter("log-3", made.folder / "log-3.csv", LIVE_RATE, now, poisoned, ROTATE_LINES),
    ]
    for number, name in enumerate(AGENTS):
        _agent(stack, made, name, seed + number, peer.port)
    passwords = {
        item["agent"]: item["password"]
        for item in made.hub.post("agents", {"agents": [{"id": name} for name in (FOREIGN, RUDE)]})["items"]
    }
    _line(stack, made, FOREIGN, seed)
    foreign = Client(FOREIGN, passwords[FOREIGN], made.proxies[FOREIGN].port)
    rude = Client(RUDE, passwords[RUDE], made.hub.mqtt_port)
    made.clients = [foreign, rude]
    for client in made.clients:
        stack.callback(client.close)
    made.foreign = ForeignDevice(FOREIGN, foreign, poisoned)
    made.foreign.birth()
    made.rude = RudeClient(rude, poisoned)
    for device in (*AGENT_OF, FOREIGN):
        _wait_online(made.hub, device)
    made.commander = Commander(made.hub, list(made.devices), seed)
    for thread in (*made.writers, made.foreign, made.rude, made.commander):
        thread.start()
    stack.callback(made.end_of_input)


def _register(stack: contextlib.ExitStack, made: World, seed: int) -> None:
    """Start the device behind Modbus, and the line that leads to it."""
    made.register = CountingRegister(REGISTERS, made.poison.is_set).start()
    stack.callback(made.register.close)
    made.proxies[REGISTERS] = Proxy(made.register.port, lambda _: None, seed, Pieces)
    stack.callback(made.proxies[REGISTERS].close)


def _wait_online(hub: Hub, device: str) -> None:
    eventually(lambda: hub.device(device).get("state") == "online", within_s=60)


def _line(stack: contextlib.ExitStack, made: World, name: str, seed: int) -> None:
    made.declared[name] = []

    def heard(batch: dict[str, Any]) -> None:
        made.declared[name] += [
            Span(record["from_t"], record["to_t"]) for record in batch["records"] if record["kind"] == "dropped"
        ]

    made.proxies[name] = Proxy(made.hub.mqtt_port, heard, seed)
    stack.callback(made.proxies[name].close)


def _agent(stack: contextlib.ExitStack, made: World, name: str, seed: int, peer_port: int) -> None:
    _line(stack, made, name, seed)
    agent = Agent(name, made.folder / name, made.children)
    devices = [device for device, owner in AGENT_OF.items() if owner == name]
    parts = [_device(made, device, peer_port) for device in devices]
    room = "[outbox]\nmax_bytes = 65536\n" if name == "log-2" else ""
    head = 'data = "state"\nheard_within_s = 5\nprofiles = ["../profiles"]\n'
    agent.configure(head + room + "[link]\nlinger_s = 0.5\n" + "".join(parts)).enroll(made.hub)
    identity = agent.folder / "state" / "identity.json"
    text, found = BROKER_URL.subn(f"mqtt://127.0.0.1:{made.proxies[name].port}", identity.read_text())
    assert found == 1, text
    identity.write_text(text)
    made.agents[name] = agent
    made.start_agent(name)


def _device(made: World, device: str, peer_port: int) -> str:
    head = f'[[devices]]\nid = "{device}"\ntimeout_s = 3.0\n'
    if device in made.devices:
        return (
            f'{head}profile = "chaos-peer"\ndriver = "simulated"\n'
            f'[devices.settings]\nport = {peer_port}\ndevice = "{device}"\n'
        )
    if device == REGISTERS:
        return (
            f'{head}profile = "chaos-register"\ndriver = "modbus"\n'
            f'[devices.settings]\nhost = "127.0.0.1"\nport = {made.proxies[REGISTERS].port}\n'
        )
    path = made.folder / f"{device}.csv"
    return f'{head}profile = "chaos-log"\ndriver = "tail"\n[devices.settings]\npath = "{path}"\npoll_s = 0.2\n'
