"""What ingest costs when a whole swarm comes back at once, without a broker between:

    PYTHONPATH=tests python -m bench.storm [--agents N]

Known agents lose their connections (wills), say their births again and send what they kept, through the hub's own
stores on disk. For each kind of message: messages a second, and CPU microseconds each, of one ingest thread.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lamplighter_hub.assembly import Link, assemble, now_ms
from lamplighter_hub.broker.side import MosquittoSide
from lamplighter_hub.ingest.announce import announcer
from lamplighter_hub.ingest.batches import OwnerProfile
from lamplighter_hub.ingest.directory import ServicesDirectory, birth_asker
from lamplighter_hub.ingest.foreign import known_in
from lamplighter_hub.ingest.pipeline import GROUP, Pipeline
from lamplighter_hub.series.store import TimeSeries
from lamplighter_hub.services import Services
from lamplighter_hub.settings import Settings
from lamplighter_hub.uplink.session import Message
from lamplighter_protocols.envelope import encode
from lamplighter_protocols.ids import new_ulid
from lamplighter_protocols.topics import Channel, build

POINTS = 10
PROFILE = "sound-level-meter"
METRIC = "laeq_1s"


class Waiting:
    """Where messages wait for ingest, and where what it says in return is counted."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self.published = 0

    def take(self, limit: int, timeout_s: float) -> list[Message]:  # noqa: ARG002
        return []

    def acknowledge(self, messages: Sequence[Message]) -> None:
        self.acknowledged += len(messages)

    def publish(self, topic: str, payload: bytes) -> None:  # noqa: ARG002
        self.published += 1


def pipeline(
    services: Services, source: Waiting, series: TimeSeries | None = None, owner: OwnerProfile | None = None
) -> Pipeline:
    """Join ingest as the hub does, with `source` in place of the broker, and the hub's own for what is not given."""
    directory = ServicesDirectory(services, birth_asker(services.keys, source.publish, now_ms))
    return Pipeline(
        source,
        series or services.series,
        services.ledger,
        directory,
        owner or services.devices.owner_profile,
        known_in(services.series),
        now_ms,
        announcer(services.live),
    )


class Swarm:
    """What the agents say. Every agent has one device and one outbox."""

    def __init__(self, agents: int) -> None:
        self.agents = [f"agent-{number:05d}" for number in range(agents)]
        self.outbox = new_ulid(now_ms(), os.urandom(10))
        self.session = 0
        self.sequence = 0

    def births(self) -> list[Message]:
        self.session += 1
        return [self._message(agent, Channel.BIRTH, self._birth(agent), qos=1) for agent in self.agents]

    def wills(self) -> list[Message]:
        will = encode({"state": "offline", "session": self.session, "reason": "connection_lost", "sent": None})
        return [self._message(agent, Channel.PRESENCE, will, qos=1) for agent in self.agents]

    def batches(self) -> list[Message]:
        self.sequence += 1
        return [self._message(agent, Channel.BATCH, self._batch(agent), qos=0) for agent in self.agents]

    def _birth(self, agent: str) -> bytes:
        return encode({
            "session": self.session, "boot": self.outbox, "agent_version": "storm", "clock": "synced",
            "heard_within_s": 30, "outbox": self.outbox, "sent": now_ms(),
            "devices": [{"id": f"device-of-{agent}", "profile": PROFILE, "version": 0, "hash": ""}],
        })  # fmt: skip

    def _batch(self, agent: str) -> bytes:
        record = {
            "kind": "readings", "device": f"device-of-{agent}", "t": now_ms() - POINTS * 1000,
            "dt": [1000 * row for row in range(POINTS)], "m": {METRIC: [50 + row / 8 for row in range(POINTS)]},
        }  # fmt: skip
        header = {"outbox": self.outbox, "stream": "live", "first": self.sequence, "sent": now_ms()}
        return encode({**header, "records": [record]})

    @staticmethod
    def _message(agent: str, channel: Channel, payload: bytes, qos: int) -> Message:
        return Message(build(agent, channel), payload, qos, False, 1, now_ms())


def measure(name: str, take: Callable[[list[Message]], None], messages: list[Message]) -> None:
    """Feed messages in groups; print how fast they went and the slowest group."""
    slowest, began, used = 0.0, time.perf_counter(), time.process_time()
    for first in range(0, len(messages), GROUP):
        start = time.perf_counter()
        take(messages[first : first + GROUP])
        slowest = max(slowest, time.perf_counter() - start)
    took, cpu = time.perf_counter() - began, time.process_time() - used
    each = cpu / len(messages) * 1e6
    print(f"{name:34} {len(messages) / took:10,.0f}/s {each:8.0f} us CPU each   slowest group {slowest * 1000:6.0f} ms")


def main(folder: Path, agents: int) -> None:
    services = assemble(Settings(data=folder), MosquittoSide(None), Link())
    swarm, source = Swarm(agents), Waiting()
    for first in range(0, agents, 1_000):
        services.enrolment.provision(swarm.agents[first : first + 1_000], "storm")
    ingest = pipeline(services, source)
    measure("first births", ingest.process, swarm.births())
    measure(f"batches of {POINTS} points", ingest.process, swarm.batches())
    measure("wills", ingest.process, swarm.wills())
    measure("births of known agents", ingest.process, swarm.births())
    mixed = [message for pair in zip(swarm.wills(), swarm.births(), swarm.batches(), strict=True) for message in pair]
    measure("will, birth and batch in turns", ingest.process, mixed)
    said = f"{source.acknowledged:,} acknowledged, {source.published:,} receipts, {services.presence.summary()}"
    print(f"{said}, {services.series.counts().points:,} points, failures {ingest.counts['failures']}")
    services.series.close()
    services.registry.close()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--agents", type=int, default=15_000)
    with tempfile.TemporaryDirectory(prefix="lamplighter-storm-") as made:
        main(Path(made), options.parse_args().agents)
