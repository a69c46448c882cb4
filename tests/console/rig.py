"""A street behind a hub: real services on real stores, real ingest; the test plays the broker and the agents."""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
from fastapi import FastAPI

from lamplighter_hub import console
from lamplighter_hub.access.roles import Role
from lamplighter_hub.api import create_app
from lamplighter_hub.assembly import Link, assemble
from lamplighter_hub.broker.side import EmbeddedSide
from lamplighter_hub.http_server import HttpServer, listen
from lamplighter_hub.ingest.announce import announcer
from lamplighter_hub.ingest.directory import ServicesDirectory
from lamplighter_hub.ingest.foreign import known_in
from lamplighter_hub.ingest.pipeline import Pipeline
from lamplighter_hub.settings import Settings
from lamplighter_hub.uplink.lanes import Message
from lamplighter_protocols.ids import new_ulid
from lamplighter_protocols.topics import Channel, build
from services.wait import eventually

HEARD_WITHIN_S: Final = 3_600
"""The test's agents are allowed to be silent for the length of a test."""


class Broker:
    """Where ingest takes from and answers to: a list, played by the test."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes]] = []

    def take(self, limit: int, timeout_s: float) -> list[Message]:
        """Nothing: the test hands messages over itself."""
        return [][: limit if timeout_s else 0]

    def acknowledge(self, messages: list[Message]) -> None:
        """Nothing waits for it."""

    def publish(self, topic: str, payload: bytes) -> None:
        self.published.append((topic, payload))


class Street:
    """A hub with its console. `say` is an agent's word, taken through ingest before it returns."""

    def __init__(self, data: Path) -> None:
        self.hub = assemble(Settings(data=data), EmbeddedSide(), Link())
        self.app: FastAPI = create_app(self.hub)
        console.mount(self.app, self.hub)
        broker = Broker()
        self.ingest = Pipeline(
            broker,
            self.hub.series,
            self.hub.ledger,
            ServicesDirectory(self.hub, lambda _agent: None),
            self.hub.devices.owner_profile,
            known_in(self.hub.series),
            self.hub.clock,
            announcer(self.hub.live),
            desk=self.hub.quarantine.desk,
        )
        self.url = ""
        self._visitors: list[httpx.Client] = []
        self._outboxes: dict[str, str] = {}
        self._numbers: dict[tuple[str, str], int] = {}

    def now(self) -> int:
        return self.hub.clock()

    def close(self) -> None:
        self.hub.series.close()
        self.hub.registry.close()

    # What agents say

    def say(self, agent: str, channel: Channel, said: Any, *, arrived: int | None = None) -> None:
        payload = said if isinstance(said, bytes) else json.dumps(said).encode()
        at = arrived or self.now()
        self.ingest.process([Message(build(agent, channel), payload, 0, retain=False, mid=0, arrived_ms=at)])

    def enrol(self, agent: str, devices: Mapping[str, str], *, session: int = 1) -> None:
        """Give an agent its identity, and let it be born with devices (id to profile)."""
        if not self.hub.enrolment.knows(agent):
            self.hub.enrolment.provision([agent], "test")
        birth = {
            "session": session,
            "boot": new_ulid(self.now(), bytes(10)),
            "heard_within_s": HEARD_WITHIN_S,
            "sent": self.now(),
            "devices": [{"id": device, "profile": profile} for device, profile in devices.items()],
        }
        self.say(agent, Channel.BIRTH, birth)

    def leave(self, agent: str, reason: str, *, session: int = 1) -> None:
        self.say(agent, Channel.PRESENCE, {"state": "offline", "session": session, "reason": reason})

    def records(
        self,
        agent: str,
        records: Sequence[dict[str, Any]],
        stream: str = "live",
        *,
        skip: int = 0,
        arrived: int | None = None,
    ) -> None:
        """Let an agent send records; `skip` numbers before them stay missing."""
        outbox = self._outboxes.setdefault(agent, new_ulid(self.now(), os.urandom(10)))
        first = self._numbers.get((agent, stream), 1) + skip
        self._numbers[agent, stream] = first + len(records)
        batch = {"outbox": outbox, "stream": stream, "first": first, "sent": self.now(), "records": list(records)}
        self.say(agent, Channel.BATCH, batch, arrived=arrived)

    def readings(
        self, agent: str, device: str, *, times: Sequence[int], arrived: int | None = None, **columns: Sequence[Any]
    ) -> None:
        """Let a device report columns of values at some times (ms)."""
        flags = {name[2:]: list(column) for name, column in columns.items() if name.startswith("q_")}
        values = {name: list(column) for name, column in columns.items() if not name.startswith("q_")}
        record = {
            "kind": "readings",
            "device": device,
            "t": times[0],
            "dt": [t - times[0] for t in times],
            "m": values,
            "q": flags,
        }
        self.records(agent, [record], arrived=arrived)

    def event(self, agent: str, device: str, name: str, t: int, **data: Any) -> None:
        self.records(agent, [{"kind": "event", "device": device, "t": t, "name": name, "data": data}], "alarm")

    def result(self, agent: str, device: str, command: str, state: str, /, reason: str = "", **data: Any) -> None:
        record = {
            "kind": "result",
            "device": device,
            "command": command,
            "state": state,
            "t": self.now(),
            "data": data,
            "reason": reason,
        }
        self.records(agent, [record])

    def reported(self, agent: str, device: str, state: str = "applied", reason: str = "", errors: Any = ()) -> None:
        """Let a device answer the document that it shall have."""
        view = self.hub.configuration.view(device)
        record = {
            "kind": "reported",
            "device": device,
            "version": view.desired.version,
            "hash": view.desired.hash,
            "state": state,
            "t": self.now(),
            "document": view.desired.document if state == "applied" else {},
            "errors": list(errors),
            "reason": reason,
        }
        self.records(agent, [record])

    def tick(self) -> None:
        """What the hub's clock does each second."""
        now = self.now()
        self.hub.commands.tick(now)
        self.hub.configuration.tick(now)
        self.hub.live.publish("tick", {"t": now, **self.hub.presence.summary(), **self.ingest.counts})

    # Who looks

    def leave_all(self) -> None:
        for client in self._visitors:
            client.close()

    def link(self, role: Role = Role.ADMINISTRATOR, name: str = "Ms Li") -> str:
        return self.hub.access.new_link(name, role, "test", self.url).url

    def visit(self, **headers: str) -> httpx.Client:
        """Return a client that nobody has signed in."""
        client = httpx.Client(base_url=self.url, headers=headers, timeout=30)
        self._visitors.append(client)
        return client


def fill(street: Street, *, more: int = 70) -> None:
    """Let a small city report: some are offline, some values are bad, one batch is missing."""
    now = street.now()
    street.enrol("station-road", {"air-1": "air-station", "noise-1": "sound-level-meter", "flood-1": "flood-gauge"})
    street.enrol("service-hall", {"kiosk-1": "kiosk", "kiosk-2": "kiosk"})
    street.enrol("crossing-7", {"signal-1": "signal-controller"})
    street.enrol("harbour", {f"air-{n}": "air-station" for n in range(100, 100 + more)})
    street.enrol("old-mill", {"flood-9": "flood-gauge"})
    street.hub.enrolment.provision(["spare"], "test")
    _air(street, now)
    _kiosk(street, now)
    _events(street, now)
    street.leave("harbour", "connection_lost")
    street.leave("old-mill", "stopped")
    street.enrol("old-mill", {}, session=2)
    for who, why, count in (("pump-3", "unknown_agent", 3), ("air-9", "wrong_password", 12)):
        for _ in range(count):
            street.hub.refusals.record(who, why, "connect from 10.1.4.22")
    _clocks(street, now)
    street.say("station-road", Channel.BATCH, b"not a batch")
    street.readings("service-hall", "air-1", times=[now], pm25=[1.0])


def _air(street: Street, now: int) -> None:
    """A quarter of an hour every two seconds with a gap of two minutes, then a week in ten-minute steps before it.

    PM10 is above PM2.5 at any time of day, so nothing but what is meant to be is flagged.
    """
    week = range(now - 7 * 86_400_000, now - 900_000, 600_000)
    recent = [t for t in range(now - 900_000, now, 2_000) if not now - 420_000 < t < now - 300_000]
    for times in (list(week), recent):
        street.readings(
            "station-road",
            "air-1",
            times=times,
            pm25=[round(38 + 14 * math.sin(t / 190_000) + 3 * math.sin(t / 9_000)) for t in times],
            pm10=[round(86 + 22 * math.sin(t / 260_000) + 5 * math.sin(t / 7_000)) for t in times],
            temp=[
                round(17.4 + 3.2 * math.sin(t / 900_000) + 0.2 * math.sin(t / 11_000) + 20 * (t == times[-40]), 1)
                for t in times
            ],
            rh=[round(63 - 6 * math.sin(t / 900_000), 1) for t in times],
            heater=[t % 240_000 < 60_000 for t in times],
            door=["closed" for t in times],
            so2=[None for t in times],
            q_so2=["sensor_fault" for t in times],
        )


def _kiosk(street: Street, now: int) -> None:
    times = list(range(now - 900_000, now, 10_000))
    street.readings(
        "service-hall",
        "kiosk-1",
        times=times,
        paper_left=[round(82 - index * 0.4) for index in range(len(times))],
        temp=[round(34 + math.sin(t / 120_000), 1) for t in times],
        session_count=[1_204 + index // 6 for index in range(len(times))],
        ui_state=["in_session" if t // 60_000 % 3 else "in_service" for t in times],
        mains=[True for t in times],
    )


def _clocks(street: Street, now: int) -> None:
    """A gauge whose clock began with 1970, and a sound level meter that shows the time of another zone."""
    for arrived in range(now - 90_000, now, 30_000):
        clock = arrived - now + 180_000
        street.readings("station-road", "flood-1", times=[clock], level=[0.31], arrived=arrived)
        clock = arrived + 8 * 3_600_000
        street.readings("station-road", "noise-1", times=[clock], laeq_1s=[61.5], arrived=arrived)


def _events(street: Street, now: int) -> None:
    street.event("service-hall", "kiosk-1", "session_ended", now - 700_000, duration_s=143)
    street.event("service-hall", "kiosk-1", "paper_low", now - 420_000, tray="upper", left_percent=14)
    street.event("service-hall", "kiosk-1", "door_open", now - 180_000, by="key")
    street.event("service-hall", "kiosk-2", "paper_jam", now - 95_000, tray="lower")


@contextmanager
def street(data: Path) -> Iterator[Street]:
    """A hub on a real port, with nothing behind it yet."""
    made = Street(data)
    listener = listen("127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = HttpServer(made.app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started)
        yield made
    finally:
        made.leave_all()
        made.hub.live.close()
        server.stop()
        thread.join()
        listener.close()
        made.close()
