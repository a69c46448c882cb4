"""How much the hub takes from publish to receipt, and how much a bare `mosquitto_sub` takes on the same broker.

Each run starts a Mosquitto with the configuration that `lamplighter` generates and measures two takers, one after the
other, since they share the processors: first the hub, offered more than it takes by agents that wait for receipts;
then `mosquitto_sub`, offered more than it takes by clients that wait for nothing, so that the broker drops the rest.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.frame import BIN, Figure, Setting, cpu_s
from lamplighter_protocols import topics
from services.hub import Hub
from services.mosquitto import Mosquitto
from services.need import need
from services.ports import free_port
from services.process import Child
from services.wait import eventually

SIZES = (1, 10, 60)
AGENTS = 200
RATE = 100
"""Batches that each agent would send a second, far more than is taken."""
WINDOW = 32
FLOODS = 4
WARM_UP_S = 3.0
USER = "onlooker"


class Taken(NamedTuple):
    """What one taker did in one run. Times in seconds of processor; `offered` is 0 where the taker sets the pace."""

    rate: float
    cpu: float
    broker_cpu: float
    offered: float = 0
    p50_ms: float = 0


@dataclass
class Stage:
    """One run: a broker and a hub that uses it, in a folder of their own."""

    at: Setting
    folder: Path
    points: int
    broker: Mosquitto
    hub: Hub

    def hub_takes(self) -> Taken:
        """Let a swarm offer more than the hub takes; count what it has stored and confirmed in the middle of it."""
        said = self.folder / "swarm.json"
        with said.open("w") as sink:
            swarm = subprocess.Popen(self._swarm(), stdout=sink, stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: _stored(self.hub) > 0, within_s=30)
            _pass(WARM_UP_S)
            began, first, cpu, broker = time.monotonic(), _stored(self.hub), self._hub_cpu(), self._broker_cpu()
            _pass(self.at.seconds)
            taken, spent = _stored(self.hub) - first, time.monotonic() - began
            cpu, broker = self._hub_cpu() - cpu, self._broker_cpu() - broker
            swarm.wait(180)
        finally:
            swarm.kill()
            swarm.wait()
        summary: dict[str, Any] = json.loads(said.read_text())
        assert summary["confirmed"] == summary["records"], f"not everything was confirmed: {summary}"
        return Taken(taken / spent, cpu / taken, broker / taken, p50_ms=float(summary["latency_ms"]["p50"] or 0))

    def subscriber_takes(self) -> Taken:
        """Let clients flood the broker; count what `mosquitto_sub` has received in the middle of it."""
        names = [f"flood-{number}" for number in range(FLOODS)]
        given = self.hub.post("agents", {"agents": [{"id": name} for name in (USER, *names)]})["items"]
        passwords = {item["agent"]: item["password"] for item in given}
        self.hub.running.stop()
        onlooker = self.at.children.start([
            need("mosquitto_sub"), "-h", "127.0.0.1", "-p", str(self.broker.port), "-i", USER, "-u", USER,
            "-P", passwords[USER], "-t", topics.hub_filter(), "-F", "%l",
        ])  # fmt: skip
        floods = [self._flood(name, passwords[name]) for name in names]
        eventually(lambda: _lines(onlooker) > 0 or not onlooker.running, within_s=20)
        _pass(WARM_UP_S)
        began, first, cpu, broker = time.monotonic(), _lines(onlooker), cpu_s(onlooker.pid), self._broker_cpu()
        _pass(self.at.seconds)
        taken, spent = _lines(onlooker) - first, time.monotonic() - began
        cpu, broker = cpu_s(onlooker.pid) - cpu, self._broker_cpu() - broker
        eventually(lambda: not any(flood.running for flood in floods), within_s=60)
        offered = sum(int(flood.said()) for flood in floods) / self._flood_s
        onlooker.kill()
        return Taken(taken / spent, cpu / taken, broker / taken, offered)

    @property
    def _flood_s(self) -> float:
        return self.at.seconds + WARM_UP_S + 1

    def _swarm(self) -> list[str]:
        return [
            str(BIN / "lamplighter-sim"), "swarm", "--agents", str(AGENTS), "--rate", str(RATE),
            "--points", str(self.points), "--window", str(WINDOW), "--hub", self.hub.url, "--token", self.hub.token,
            "--seconds", f"{self.at.seconds + WARM_UP_S + 2:g}",
        ]  # fmt: skip

    def _flood(self, name: str, password: str) -> Child:
        argv = (sys.executable, "-m", "bench.flood", str(self.broker.port), name, password, str(self.points))
        return self.at.children.start([*argv, f"{self._flood_s:g}"])

    def _hub_cpu(self) -> float:
        return cpu_s(self.hub.running.pid)

    def _broker_cpu(self) -> float:
        return cpu_s(self.broker.child.pid)


def throughput(at: Setting) -> Iterator[Figure]:
    """Measure messages and points from publish to receipt, beside mosquitto_sub on the same broker in the same run."""
    for points in SIZES:
        runs = [_run(at, points, number) for number in range(at.runs)]
        yield from _figures(points, [hub for hub, _ in runs], [sub for _, sub in runs])


def _figures(points: int, hubs: list[Taken], subs: list[Taken]) -> Iterator[Figure]:
    size = f"{points} point{'s' if points > 1 else ''} a message"
    rate = statistics.median(hub.rate for hub in hubs)
    bare = statistics.median(sub.rate for sub in subs)
    offered = statistics.median(sub.offered for sub in subs)
    waited = statistics.median(hub.p50_ms for hub in hubs)
    limit = "" if offered > 1.1 * bare else ", all that the broker reads: its limit, not the subscriber's"
    yield Figure(f"hub, {size}: messages", rate, "1/s", note=f"{_runs(hubs)}; half wait {waited:.0f} ms or less")
    yield Figure(f"hub, {size}: points", rate * points, "1/s")
    yield Figure(f"mosquitto_sub, {size}: messages", bare, "1/s", note=f"{_runs(subs)}; offered {offered:,.0f}{limit}")
    yield Figure(f"hub beside mosquitto_sub, {size}", rate / bare, "ratio")
    each = 1e6 / points
    yield Figure(f"hub, {size}: processor", statistics.median(hub.cpu for hub in hubs) * each, "CPU-s/M points")
    yield Figure(
        f"broker under the hub, {size}: processor",
        statistics.median(hub.broker_cpu for hub in hubs) * each,
        "CPU-s/M points",
    )


def _runs(taken: list[Taken]) -> str:
    return f"median of {', '.join(f'{one.rate:,.0f}' for one in sorted(taken))}"


def _run(at: Setting, points: int, number: int) -> tuple[Taken, Taken]:
    folder = at.folder / f"{points}-{number}"
    folder.mkdir()
    with _staged(at, folder, points) as stage:
        return stage.hub_takes(), stage.subscriber_takes()


@contextlib.contextmanager
def _staged(at: Setting, folder: Path, points: int) -> Iterator[Stage]:
    port, place = free_port(), folder / "mosquitto"
    made = json.loads(_lamplighter("mosquitto-conf", place, "--port", port, "--json"))
    acl = place / "acl"
    acl.write_text(acl.read_text() + f"user {USER}\ntopic read {topics.hub_filter()}\n")
    if os.geteuid() == 0:  # else Mosquitto becomes another user who may not write here
        (place / "local.d" / "user.conf").write_text("user root\n")
    broker = Mosquitto(Path(made["configuration"]), port)
    broker.start()
    try:
        hub = Hub(folder / "data", at.children, ("--mqtt-url", made["url"], "--mosquitto-dir", str(place)))
        yield Stage(at, folder, points, broker, hub.start())
    finally:
        broker.end()
        at.children.end()


def _stored(hub: Hub) -> int:
    """Records committed so far; their receipts leave with the commit."""
    stored: int = hub.get("status")["parts"]["ledger"]["stored"]
    return stored


def _lines(child: Child) -> int:
    return child.output.read_bytes().count(b"\n")


def _pass(seconds: float) -> None:
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() >= end, within_s=seconds + 5)


def _lamplighter(*arguments: object) -> str:
    argv = [str(BIN / "lamplighter"), *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout
