"""A hub with its own broker and store under a crowd of agents, looked at each second.

A city at its usual pace and at ten times that, and a thousand agents that come back with an hour of backlog.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from bench.frame import BIN, Figure, Setting, Timeline, children_of, cpu_s, let_pass, resident_mb, slope
from services.hub import Hub
from services.process import Child
from services.wait import eventually

CITY_POINTS = 17_085
"""Points a second of a city's 15,000 agents."""
CITY_AGENTS = 15_000
CITY_MESSAGE = 6
"""Points of a message: one sample of six metrics, sent as soon as it was taken; 2,848 messages a second."""
TIMES = 10
BACK = 1_000
"""Agents that come back."""
BACKLOG_S = 3_600
WINDOW = 16
CONNECTED_WITHIN_S = 180
SETTLED = 1 / 3
"""Part of a run in which memory may grow to what the load needs."""
STALL_S = 4.0
"""How long a hub stands still: less than a broker waits for a slow client."""
FULL_PERCENT = 90
FILL_WITHIN_S = 60
GOAL_P99_MS = 1_000
GOAL_LATE_MS = 5_000
GOAL_CORES = 1.0
GOAL_GROWTH = 5.0
"""Per cent that the memory of hub and broker may grow in a quarter of an hour."""


@dataclass(frozen=True)
class Ground:
    """A hub that supervises its own broker."""

    hub: Hub
    broker: int

    def look(self) -> dict[str, float]:
        """Return what a chart shows of this moment; counters rise from the hub's start."""
        parts = self.hub.get("status")["parts"]
        hub = self.hub.running.pid
        return {
            "t": time.time(),
            "points": parts["series"]["points"],
            "stored": parts["ledger"]["stored"],
            "queue_percent": parts["throttle"]["fill_percent"],
            "throttle_receipts": parts["throttle"]["receipts"],
            "shed": parts["uplink"]["shed"],
            "live_waits_ms": 1000 * parts["queue"]["live"]["waited_s"],
            "backlog_waits_ms": 1000 * parts["queue"]["backlog"]["waited_s"],
            "hub_mb": resident_mb(hub),
            "broker_mb": resident_mb(self.broker),
            "hub_cpu": cpu_s(hub),
            "broker_cpu": cpu_s(self.broker),
        }

    def fill(self) -> None:
        """Stop the hub for moments, until what then waits at the broker has filled its queue."""
        end = time.monotonic() + FILL_WITHIN_S
        while not self._fills():
            assert time.monotonic() < end, "the hub's queue did not fill"
            self.hub.running.signal(signal.SIGSTOP)
            let_pass(STALL_S)
            self.hub.running.signal(signal.SIGCONT)

    def _fills(self) -> bool:
        """Whether the queue is full at some time soon."""
        end = time.monotonic() + STALL_S
        while time.monotonic() < end:
            if self.look()["queue_percent"] >= FULL_PERCENT:
                return True
        return False


@dataclass
class Crowd:
    """A swarm on its way, and where it writes what it sees."""

    child: Child
    timeline: Path

    @property
    def seconds(self) -> list[dict[str, Any]]:
        """What the swarm counted, second by second, so far."""
        text = self.timeline.read_text(encoding="utf-8") if self.timeline.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def produces(self) -> bool:
        """Whether records are being made."""
        assert self.child.running, f"the swarm ended: {self.child.said()[-2000:]}"
        return any(second["phase"] == "produce" for second in self.seconds[-1:])

    @property
    def left(self) -> float:
        """Part of the backlog that has no receipt yet."""
        last = self.seconds[-1]
        return float(1 - last["backlog_confirmed"] / last["backlog_records"])

    def summary(self, within_s: float) -> dict[str, Any]:
        """Wait for its end; return all that it counted."""
        eventually(lambda: not self.child.running, within_s=within_s)
        said: dict[str, Any] = json.loads(self.child.said().splitlines()[-1])
        return said


def city(at: Setting) -> Iterator[Figure]:
    """Measure how long a sample of the whole city takes until it is stored, and what that costs."""
    pace = CITY_POINTS / CITY_MESSAGE / CITY_AGENTS
    with _ground(at) as ground:
        crowd = _crowd(at, ground, CITY_AGENTS, pace, at.seconds)
        with _watched(ground) as rows:
            at.spend()
        said = crowd.summary(120)
    at.timelines.append(Timeline("city", f"A city's {CITY_POINTS:,} points a second", joined(rows, crowd.seconds)))
    first, last = rows[0], rows[-1]
    spent = last["t"] - first["t"]
    rate = (last["points"] - first["points"]) / spent
    note = f"{said['records']:,} messages, {said['lost']} without receipt, {said['resent']} sent again"
    yield Figure("city, 15,000 agents: points", rate, "1/s", 0.98 * CITY_POINTS, more=True, note=note)
    late = said["latency_ms"]
    yield Figure("city: 99 % of samples stored within", late["p99"], "ms", GOAL_P99_MS, note="receipts, at the agents")
    yield Figure("city: half of the samples stored within", late["p50"], "ms")
    hub, broker = ((last[name] - first[name]) / spent for name in ("hub_cpu", "broker_cpu"))
    parts = f"hub {hub:.2f}, nats-server {broker:.2f}"
    yield Figure("city: hub and broker", hub + broker, "cores", GOAL_CORES, note=parts)


def flat(at: Setting) -> Iterator[Figure]:
    """Measure whether memory stays flat while a city offers ten times its points.

    The hub's queue is filled once before: what a buffer takes when it is first used is no growth, whenever that is.
    """
    pace = TIMES * CITY_POINTS / CITY_MESSAGE / CITY_AGENTS
    with _ground(at) as ground:
        crowd = _crowd(at, ground, CITY_AGENTS, pace, at.seconds + FILL_WITHIN_S)
        ground.fill()
        with _watched(ground) as rows:
            at.spend()
        said = crowd.summary(600 + FILL_WITHIN_S)
    at.timelines.append(
        Timeline("flat", f"Ten times a city's {CITY_POINTS:,} points a second", joined(rows, crowd.seconds))
    )
    first, last = rows[0], rows[-1]
    spent = last["t"] - first["t"]
    held = said["held_back"] * CITY_MESSAGE
    note = (
        f"offered {TIMES * CITY_POINTS:,}; agents held back {held:,} points, {said['lost']:,} records without receipt"
    )
    yield Figure("ten times the city: points", (last["points"] - first["points"]) / spent, "1/s", note=note)
    note = f"agents asked to hold their backlog in {last['throttle_receipts']:,.0f} receipts"
    yield Figure("ten times the city: messages shed", last["shed"], "", note=note)
    yield Figure("ten times the city: 99 % of samples stored within", said["latency_ms"]["p99"], "ms")
    for name, who in (("hub_mb", "hub"), ("broker_mb", "nats-server")):
        yield _growth(f"ten times the city: {who} memory, growth in 15 minutes", rows, name)


def _growth(what: str, rows: Sequence[dict[str, float]], name: str) -> Figure:
    settled = rows[int(len(rows) * SETTLED) :]
    middle = median(row[name] for row in settled)
    growth = slope([(row["t"], row[name]) for row in settled]) * 900
    most = max(row[name] for row in rows)
    note = f"median {middle:,.0f} MB, most {most:,.0f} MB, {growth:+.1f} MB; over the last two thirds"
    return Figure(what, 100 * growth / middle, "%", GOAL_GROWTH, note=note)


def backlog(at: Setting) -> Iterator[Figure]:
    """Measure how fast an hour of backlog from a thousand agents is taken, and what that does to live data."""
    with _ground(at) as ground:
        crowd = _crowd(at, ground, BACK, 1.0, at.seconds, "--backlog", str(BACKLOG_S), "--drain", "300")
        with _watched(ground) as rows:
            end = time.monotonic() + at.seconds
            eventually(lambda: crowd.left == 0 or time.monotonic() > end, within_s=at.seconds + 30)
        seen = 1 - crowd.left
        crowd.child.signal(signal.SIGINT)
        said = crowd.summary(400)
    title = f"An hour of backlog from {BACK:,} agents that go on sampling {CITY_MESSAGE} values a second"
    at.timelines.append(Timeline("backlog", title, joined(rows, crowd.seconds)))
    spent = rows[-1]["t"] - rows[0]["t"]
    note = f"{seen:.0%} of {said['backlog_points']:,} points in {spent:.0f} s"
    rate = seen * said["backlog_points"] / spent
    yield Figure("backlog of 1,000 agents: recovered", 100 * seen, "%", 100, more=True, note=note)
    yield Figure(
        "backlog of 1,000 agents: points", rate, "1/s", note=f"beside {BACK * CITY_MESSAGE:,} live points a second"
    )
    late = said["latency_ms"]
    note = f"half within {late['p50']:,.0f} ms, 99 % within {late['p99']:,.0f} ms; {said['resent']} sent again"
    yield Figure("backlog: latest live sample stored within", late["max"], "ms", GOAL_LATE_MS, note=note)
    waits = {name: max(row[f"{name}_waits_ms"] for row in rows) for name in ("live", "backlog")}
    note = f"backlog {waits['backlog']:,.0f} ms; looked at each second"
    yield Figure("backlog: longest wait of live data inside the hub", waits["live"], "ms", note=note)
    note = f"{said['throttled']:,} receipts asked to hold the backlog, {rows[-1]['shed']:,.0f} messages shed"
    yield Figure("backlog: most memory of the hub", max(row["hub_mb"] for row in rows), "MB", note=note)


def joined(rows: Sequence[dict[str, float]], seconds: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """Return for each two looks at the hub what happened between them, with what the agents counted just before."""
    found = []
    for before, now in pairwise(rows):
        spent = now["t"] - before["t"]
        said = next((second for second in reversed(seconds) if second["t"] <= now["t"]), None)
        found.append({
            "s": now["t"] - rows[0]["t"],
            "points_s": (now["points"] - before["points"]) / spent,
            "hub_cores": (now["hub_cpu"] - before["hub_cpu"]) / spent,
            "broker_cores": (now["broker_cpu"] - before["broker_cpu"]) / spent,
            "shed_s": (now["shed"] - before["shed"]) / spent,
            **{name: now[name] for name in ("queue_percent", "hub_mb", "broker_mb")},
            **(_of_agents(said) if said else {}),
        })  # fmt: skip
    return found


def _of_agents(said: dict[str, Any]) -> dict[str, float]:
    late = {f"{name}_ms": said["latency_ms"][name] for name in ("p50", "p99") if said["latency_ms"][name] is not None}
    left = said["backlog_records"] - said["backlog_confirmed"]
    return {**late, "backlog_percent": 100 * left / said["backlog_records"]} if said["backlog_records"] else late


@contextmanager
def _ground(at: Setting) -> Iterator[Ground]:
    hub = Hub(at.folder / "data", at.children).start()
    yield Ground(hub, children_of(hub.running.pid)["nats-server"])
    hub.running.stop()


def _crowd(at: Setting, ground: Ground, agents: int, pace: float, seconds: float, *options: str) -> Crowd:
    """Start a swarm and wait until all are connected and make records."""
    timeline = at.folder / "swarm.jsonl"
    argv: list[str | Path] = [
        BIN / "lamplighter-sim", "swarm", "--agents", str(agents), "--rate", f"{pace:.6f}", "--window", str(WINDOW),
        "--points", str(CITY_MESSAGE), "--seconds", f"{seconds + 5:g}", "--timeline", timeline,
        "--hub", ground.hub.url, "--token", ground.hub.token, *options,
    ]  # fmt: skip
    crowd = Crowd(at.children.start(argv), timeline)
    eventually(crowd.produces, within_s=CONNECTED_WITHIN_S)
    return crowd


@contextmanager
def _watched(ground: Ground) -> Iterator[list[dict[str, float]]]:
    """Look each second, from now until the end of the block."""
    rows, over = [ground.look()], threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            rows.append(ground.look())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield rows
    finally:
        over.set()
        watcher.join()
