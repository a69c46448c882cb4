"""The hub from its broker inwards: real pipeline, ledger, store and registry on one disk; it may crash at any step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json
from sqlalchemy import event

from lamplighter_hub.access.roles import Principal, Role
from lamplighter_hub.commands.service import CommandService, Request
from lamplighter_hub.devices.service import DeviceService
from lamplighter_hub.enrolment.refusals import Refusals
from lamplighter_hub.enrolment.service import EnrolmentService
from lamplighter_hub.errors import NotFound
from lamplighter_hub.ingest.pipeline import Pipeline
from lamplighter_hub.ingest.throttle import Throttle
from lamplighter_hub.keys import HubKeys
from lamplighter_hub.ledger.fetching import Fetcher
from lamplighter_hub.ledger.ledger import Ledger
from lamplighter_hub.live import Broadcast
from lamplighter_hub.presence.lives import Newborn
from lamplighter_hub.presence.service import PresenceService
from lamplighter_hub.registry import models
from lamplighter_hub.registry.database import Database, sqlite_url
from lamplighter_hub.series.duckdb import FILE, DuckDbSeries, Keep, Limits, Rules
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, TimeSeries
from lamplighter_hub.uplink.session import Message
from lamplighter_protocols.commands import Fetch
from lamplighter_protocols.model import parse_model
from lamplighter_protocols.presence import Birth, Presence
from lamplighter_protocols.profile import parse_profile
from lamplighter_protocols.records import Receipt, ReportedRecord, ResultRecord, Stream
from lamplighter_protocols.topics import Channel, build, parse
from suites.delivery.fuse import Disk, Fuse, Watched

AGENT: Final = "agent-1"
DEVICE: Final = "device-1"
FETCH_AFTER_MS: Final = 30_000
ALL: Final = 100_000
PROFILE: Final = parse_profile("""
id = "counted"
device_class = "test"
title = { en = "Counted" }
[metrics.n]
title = { en = "Number" }
[commands.mark]
title = { en = "Mark" }
""")
WHO: Final = Principal("token", "1", "test", Role.OPERATOR)


@dataclass(frozen=True)
class Parts:
    """What the hub is made of, so that a test may put a broken part in its place."""

    pipeline: type[Pipeline] = Pipeline
    ledger: type[Ledger] = Ledger
    store: Callable[[TimeSeries], TimeSeries] = lambda real: real


class Directory:
    """Ingest's view of the registry, as the product wires it, without configurations."""

    def __init__(self, devices: DeviceService, presence: PresenceService, commands: CommandService) -> None:
        self._devices = devices
        self._presence = presence
        self._commands = commands

    def births(self, births: list[tuple[str, Birth, int]]) -> None:
        if births:
            self._devices.born(births)

    def told(self, agent: str, presence: Presence, arrived_ms: int) -> None:
        self._presence.told(agent, presence, arrived_ms)

    def session(self, agent: str) -> int:
        return self._presence.session(agent)

    def meet(self, newborns: Sequence[Newborn]) -> dict[tuple[str, str], list[str]]:
        return self._presence.lives.meet(newborns)

    def heard(self, agents: dict[str, int]) -> None:
        self._presence.heard(agents)

    def settle(self) -> None:
        self._presence.flush()

    def results(self, results: list[tuple[str, ResultRecord, int]]) -> None:
        if results:
            self._commands.results(results)

    def reports(self, reports: list[tuple[str, ReportedRecord, int]]) -> None:
        assert not reports


class NoBroker:
    """Identities are given and never used here."""

    def hash_password(self, password: str) -> str:  # noqa: ARG002
        return ""

    def kick(self, agent: str) -> None: ...
    def identities_changed(self) -> None: ...


class HubSide:
    """`down` is what it published; `busy` how full its queue is, from 0 to 1; `version` rises with every change."""

    def __init__(self, root: Path, clock: Callable[[], int], parts: Parts) -> None:
        self.disk = Disk(root, "hub")
        self.clock = clock
        self.down: list[tuple[str, bytes]] = []
        self.busy = 0.0
        self.version = 0
        self._parts = parts
        self._fuse = Fuse(self.disk.freeze)
        self.start()
        self.enrolment.provision([AGENT], "test")

    def start(self) -> None:
        """What a process that begins knows: what its disk holds, nothing else."""
        self.version += 1
        self._open()
        self.ledger = self._parts.ledger(self.series.marks(), self.clock())
        self.fetcher = Fetcher(self.ledger, lambda _: True, _unsigned, self.publish, FETCH_AFTER_MS)
        self.throttle = Throttle(self.clock, lambda: self.busy)
        self.commands = self._services()
        directory = Directory(self.devices, self.presence, self.commands)
        store = self._parts.store(self.series)
        owner = self.devices.owner_profile
        self.pipeline = self._parts.pipeline(
            self, store, self.ledger, directory, owner, _unknown, self.clock, lambda _: None, self.throttle.worded
        )

    def _open(self) -> None:
        folder = self.disk.folder
        self.series = DuckDbSeries(folder / FILE, Limits(), Rules(), self.clock, Keep())
        self.series._sealer.start = lambda: None  # type: ignore[method-assign] # it seals when it is told to
        self.series.open()
        self.series.tend()
        engine: Any = self.series._engine
        cursor = engine.cursor
        engine.cursor = lambda: self._watched(cursor())
        self.registry = Database(sqlite_url(folder))
        self.registry.upgrade()
        for moment in ("before_cursor_execute", "commit"):
            event.listen(self.registry._engine, moment, lambda *_: self._fuse.step())

    def _watched(self, cursor: Any) -> Watched:
        cursor.execute("SET python_scan_all_frames = true")  # the columns to append are one frame further away
        return Watched(cursor, self._fuse.step)

    def _services(self) -> CommandService:
        keys = HubKeys(self.disk.folder)
        live = Broadcast()
        refusals = Refusals(self.registry, self.clock)
        self.enrolment = EnrolmentService(self.registry, self.clock, refusals, NoBroker())
        self.presence = PresenceService(self.registry, self.clock, live)
        profiles = {PROFILE.id: PROFILE}
        self.devices = DeviceService(self.registry, profiles, self.enrolment, self.presence, refusals, live)
        commands = CommandService(
            self.registry, self.clock, self.devices, self.presence, keys, lambda _topic, _payload: None, live
        )
        self.enrolment.watch(self.presence)
        self.devices.listen(commands.born)
        keys.load()
        for part in (refusals, self.enrolment, self.presence, self.devices, commands):
            part.load()
        return commands

    def close(self) -> None:
        self.series.close()
        self.registry.close()

    # What happens to it

    def take(self, limit: int, timeout_s: float) -> list[Message]:  # noqa: ARG002
        return []

    def hear(self, payload: bytes, channel: Channel = Channel.BATCH, crash: int | None = None) -> None:
        """Take one message all the way; with `crash` the process ends before that step of it, or right after."""
        message = Message(build(AGENT, channel), payload, 0, retain=False, mid=1, arrived_ms=self.clock())
        self._do(lambda: self.pipeline.process([message]), crash)

    def seal(self, crash: int | None = None) -> None:
        """Seal the hours that are closed."""
        self._do(self.series.seal, crash)

    def kill(self) -> None:
        """Kill -9."""
        self._do(lambda: None, 0)

    def _do(self, deed: Callable[[], Any], crash: int | None) -> None:
        self.version += 1
        if not self._fuse.burn(deed, crash):
            self.close()
            self.disk.thaw()
            self.start()

    def copy(self) -> Path:
        """Return a copy of its data of this moment: no transaction is under way."""
        return self.disk.image()

    def restore(self, copy: Path) -> None:
        """Go on with a copy of an earlier moment."""
        self.close()
        self.disk.become(copy)
        self.start()

    def publish(self, topic: str, payload: bytes) -> None:
        self._fuse.step()
        self.down.append((topic, payload))

    def acknowledge(self, messages: list[Message]) -> None:  # noqa: ARG002
        self._fuse.step()

    def receipts(self) -> list[tuple[str, bytes]]:
        """Take the receipts that are on their way."""
        found = [item for item in self.down if parse(item[0]).channel is Channel.RECEIPT]
        self.down = [item for item in self.down if item not in found]
        return found

    def confirmed(self) -> set[tuple[str, Stream, int]]:
        """Return what the receipts that are on their way confirm: outbox, stream and number."""
        found = set()
        for topic, payload in self.down:
            if parse(topic).channel is Channel.RECEIPT:
                receipt = parse_model(Receipt, payload)
                ranges = [(stream, (1, last)) for stream, last in receipt.through.items()]
                ranges += [(stream, pair) for stream, pairs in receipt.also.items() for pair in pairs]
                found |= {
                    (receipt.outbox, stream, n) for stream, (first, last) in ranges for n in range(first, last + 1)
                }
        return found

    # What it knows

    def command(self) -> str:
        """Accept a command; return its id."""
        self.version += 1
        return self.commands.create(Request(DEVICE, "mark", {}), WHO).id

    def result(self, command: str) -> models.Command | None:
        """Return a command; None when this hub does not know it."""
        try:
            return self.commands.find(command)
        except NotFound:
            return None

    def stored(self) -> Counter[int]:
        """How often each number is in the store, as a reading or an event."""
        events, _ = self.series.events(None, None, BEGINNING, END_OF_TIME, limit=ALL)
        readings, _ = self.series.readings(DEVICE, ["n"], BEGINNING, END_OF_TIME, limit=ALL)
        return Counter([item.data["n"] for item in events] + [int(float(str(item.value))) for item in readings])

    def quarantined(self) -> Counter[int]:
        """How often each number is in quarantine."""
        found, _ = self.series.quarantine(None, None, limit=ALL)
        return Counter(from_json(entry.payload)["n"] for entry in found)


def _unknown(device: str, readings: list[Any]) -> set[Any]:
    return set()


def _unsigned(fetch: Fetch) -> bytes:
    return fetch.model_dump_json().encode()
