"""What ingest costs for each message and point, without a broker between, and where it goes:

    PYTHONPATH=tests python -m bench.ingest_cost [--points N]... [--group N] [--groups N] [--profile]

Batches of the swarm's air station from 200 agents go in groups through the hub's own ingest and its stores on disk.
For each size: microseconds of CPU a message, the median of all groups (all threads of the process, DuckDB's too).
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.storm import Waiting, pipeline
from lamplighter_firmware_sim.swarm import words
from lamplighter_firmware_sim.swarm.preparation import PROFILE
from lamplighter_hub.assembly import Link, assemble, now_ms
from lamplighter_hub.broker.side import MosquittoSide
from lamplighter_hub.ingest.pipeline import Pipeline
from lamplighter_hub.settings import Settings
from lamplighter_hub.uplink.session import Message
from lamplighter_protocols.ids import new_ulid
from lamplighter_protocols.profile import load_profiles
from lamplighter_protocols.topics import Channel, build

AGENTS = 200
SIZES = (1, 10, 60)
EVERY_MS = 10
"""Between two batches of an agent."""
WARM_UP = 3
"""Groups that are not counted."""


class City:
    """Agents with one device each; their clocks stand still between two batches."""

    def __init__(self, points: int) -> None:
        self.agents = [f"agent-{number:03d}" for number in range(AGENTS)]
        self._load = words.load_of(load_profiles()[PROFILE], points, EVERY_MS / 1000)
        self._outbox = new_ulid(now_ms(), os.urandom(10))
        self._sequence = 0
        self._began = now_ms() - 60_000

    def births(self) -> list[Message]:
        """Return what every agent says first."""
        return [self._message(agent, Channel.BIRTH, self._birth(agent), qos=1) for agent in self.agents]

    def group(self, size: int) -> list[Message]:
        """Return the next batches of all agents in turns, so many in all."""
        return [self._next(number) for number in range(size)]

    def _next(self, number: int) -> Message:
        agent = self.agents[number % AGENTS]
        self._sequence += number % AGENTS == 0
        t = self._began + self._sequence * EVERY_MS
        said = words.batch(self._load, self._outbox, f"{agent}-air", self._sequence, t)
        return self._message(agent, Channel.BATCH, said, qos=0)

    def _birth(self, agent: str) -> bytes:
        return words.birth(
            session=1, boot=self._outbox, outbox=self._outbox, heard_within_s=30, sent=now_ms(),
            device=f"{agent}-air", profile=PROFILE, version="bench",
        )  # fmt: skip

    @staticmethod
    def _message(agent: str, channel: Channel, payload: bytes, qos: int) -> Message:
        return Message(build(agent, channel), payload, qos, False, 1, now_ms())


def groups(ingest: Pipeline, city: City, size: int, count: int, profiler: cProfile.Profile | None) -> Iterator[float]:
    """Yield the CPU microseconds a message of one group after the other."""
    for number in range(-WARM_UP, count):
        messages = city.group(size)
        if profiler and number >= 0:
            profiler.enable()
        used = time.process_time()
        ingest.process(messages)
        used = time.process_time() - used
        if profiler:
            profiler.disable()
        if number >= 0:
            yield used / size * 1e6


def measure(folder: Path, points: int, size: int, count: int, profiler: cProfile.Profile | None) -> None:
    """Take one size and print its line."""
    services = assemble(Settings(data=folder), MosquittoSide(None), Link())
    city, source = City(points), Waiting()
    services.enrolment.provision(city.agents, "bench")
    ingest = pipeline(services, source)
    ingest.process(city.births())
    taken = list(groups(ingest, city, size, count, profiler))
    each = statistics.median(taken)
    stored = services.series.counts().points
    assert stored == points * size * (count + WARM_UP), f"{stored} points are stored: {dict(ingest.counts)}"
    pace = f"{points * 1e6 / each:9,.0f} points a CPU-second"
    print(f"{points:4} points a message: {each:6.1f} us a message, {min(taken):6.1f} at least, {pace}")
    services.series.close()
    services.registry.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, action="append", help="a message; may be given again")
    parser.add_argument("--group", type=int, default=1_000, help="messages in one commit")
    parser.add_argument("--groups", type=int, default=15, help="how many are counted")
    parser.add_argument("--profile", action="store_true", help="print where the time went, by function")
    given = parser.parse_args()
    for points in given.points or SIZES:
        profiler = cProfile.Profile() if given.profile else None
        with tempfile.TemporaryDirectory(prefix="lamplighter-cost-") as folder:
            measure(Path(folder), points, given.group, given.groups, profiler)
        if profiler:
            pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
