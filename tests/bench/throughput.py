"""How much the hub takes from publish to receipt, and how much others take on the same broker: a bare `mosquitto_sub`,
and Telegraf with an InfluxDB behind it.

Each run starts a Mosquitto with the configuration that `lamplighter` generates and measures the takers one after the
other, since they share the processors: first the hub, offered more than it takes by agents that wait for receipts;
then the others, offered more than they take by clients that wait for nothing, so that the broker drops the rest.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bench import flood, peer
from bench.flood import FORMS, ROWS, VALUES, points_a_line
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
RATES = {1: 600, 10: 300, 60: 100}
"""Batches that each agent would send a second, by points a message: clearly more than the hub takes (56,000, 23,000 and
14,400 of all agents), because a hub that is offered less commits smaller groups, which makes each message dearer. Not
more: rows of a record are a millisecond apart at least, so records that follow each other sooner would overlap in time,
and be checked as what comes late."""
WINDOW = 32
"""Batches that an agent has in flight: 6,400 of all, enough for commits of some thousands. With 64 the hub takes no
more, and half of them wait twice as long."""
FLOODS = 4
FLOODERS = [f"flood-{number}" for number in range(FLOODS)]
WARM_UP_S = 3.0
USER = "onlooker"
GOAL_POINTS = {60: 400_000.0}
GOAL_BESIDE = {1: 1.0, 10: 2.0, 60: 4.0}
"""What the hub should do per second of processor, as a multiple of Telegraf and InfluxDB together, which count a point
as a line each."""
LINES = {VALUES: "a line each", ROWS: "rows as lines"}


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
    passwords: dict[str, str] = field(default_factory=dict)

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
        onlooker = self.at.children.start([
            need("mosquitto_sub"), "-h", "127.0.0.1", "-p", str(self.broker.port), "-i", USER, "-u", USER,
            "-P", self.passwords[USER], "-t", topics.hub_filter(), "-F", "%l",
        ])  # fmt: skip
        floods = self._flood()
        eventually(lambda: _lines(onlooker) > 0 or not onlooker.running, within_s=20)
        _pass(WARM_UP_S)
        began, first, cpu, broker = time.monotonic(), _lines(onlooker), cpu_s(onlooker.pid), self._broker_cpu()
        _pass(self.at.seconds)
        taken, spent = _lines(onlooker) - first, time.monotonic() - began
        cpu, broker = cpu_s(onlooker.pid) - cpu, self._broker_cpu() - broker
        offered = self._offered(floods)
        onlooker.kill()
        return Taken(taken / spent, cpu / taken, broker / taken, offered)

    def peer_takes(self, form: str) -> peer.PeerTaken:
        """Let clients offer the same readings to Telegraf; count what InfluxDB has written in the middle of it."""
        place = self.folder / f"peer-{form}"
        place.mkdir()
        user = peer.USERS[form]
        with peer.running(place, f"127.0.0.1:{self.broker.port}", user, self.passwords[user]) as both:
            floods = self._flood("--lines", form, "--rate", str(peer.OFFERED[self.points] / FLOODS))
            eventually(lambda: both.count().lines > 0, within_s=20)
            _pass(WARM_UP_S)
            before = both.count()
            _pass(self.at.seconds)
            after = both.count()
            offered = self._offered(floods) * self.points
        most, stored = offered * self._flood_s, after.lines * points_a_line(self.points, form)
        assert stored <= 1.001 * most, f"{stored:,.0f} points are stored, and only {most:,.0f} were sent"
        return peer.taken(before, after, points_a_line(self.points, form), offered)

    def others(self) -> None:
        """Let the hub go, and those take its place that may read what it read."""
        names = [USER, *peer.USERS.values(), *FLOODERS]
        given = self.hub.post("agents", {"agents": [{"id": name} for name in names]})["items"]
        self.passwords = {item["agent"]: item["password"] for item in given}
        self.hub.running.stop()

    @property
    def _flood_s(self) -> float:
        return self.at.seconds + WARM_UP_S + 1

    def _flood(self, *options: str) -> list[Child]:
        return [self._flooder(name, options) for name in FLOODERS]

    def _flooder(self, name: str, options: Sequence[str]) -> Child:
        asked = flood.command(self.broker.port, name, self.passwords[name], self.points, self._flood_s, *options)
        return self.at.children.start([sys.executable, "-m", "bench.flood", *asked])

    def _offered(self, floods: Sequence[Child]) -> float:
        """Wait for the end of a flood; return how many messages a second it was."""
        eventually(lambda: not any(one.running for one in floods), within_s=60)
        for one in floods:
            assert one.process.returncode == 0, f"a flood ended: {one.said()[-1000:]}"
        return sum(int(one.said()) for one in floods) / self._flood_s

    def _swarm(self) -> list[str]:
        return [
            str(BIN / "lamplighter-sim"), "swarm", "--agents", str(AGENTS), "--rate", str(RATES[self.points]),
            "--points", str(self.points), "--window", str(WINDOW), "--hub", self.hub.url, "--token", self.hub.token,
            "--seconds", f"{self.at.seconds + WARM_UP_S + 2:g}",
        ]  # fmt: skip

    def _hub_cpu(self) -> float:
        return cpu_s(self.hub.running.pid)

    def _broker_cpu(self) -> float:
        return cpu_s(self.broker.child.pid)


class Run(NamedTuple):
    """What all takers did in one run; Telegraf, where it is, for each form of its lines."""

    hub: Taken
    subscriber: Taken
    peers: dict[str, peer.PeerTaken]


def throughput(at: Setting) -> Iterator[Figure]:
    """Measure from publish to receipt, beside mosquitto_sub and Telegraf on the same broker in the same run."""
    for points in SIZES:
        runs = [_run(at, points, number) for number in range(at.runs)]
        hubs = [run.hub for run in runs]
        yield from _figures(points, hubs, [run.subscriber for run in runs])
        for form in _forms(points):
            yield from _beside_peer(points, form, hubs, [run.peers[form] for run in runs if form in run.peers])


def _figures(points: int, hubs: list[Taken], subs: list[Taken]) -> Iterator[Figure]:
    size = _size(points)
    rate = statistics.median(hub.rate for hub in hubs)
    bare = statistics.median(sub.rate for sub in subs)
    offered = statistics.median(sub.offered for sub in subs)
    waited = statistics.median(hub.p50_ms for hub in hubs)
    limit = "" if offered > 1.1 * bare else ", all that the broker reads: its limit, not the subscriber's"
    yield Figure(f"hub, {size}: messages", rate, "1/s", note=f"{_runs(hubs)}; half wait {waited:.0f} ms or less")
    yield Figure(f"hub, {size}: points", rate * points, "1/s", GOAL_POINTS.get(points, 0), more=True)
    yield Figure(f"mosquitto_sub, {size}: messages", bare, "1/s", note=f"{_runs(subs)}; offered {offered:,.0f}{limit}")
    yield Figure(f"hub beside mosquitto_sub, {size}", rate / bare, "ratio")
    each = 1e6 / points
    yield Figure(f"hub, {size}: processor", statistics.median(hub.cpu for hub in hubs) * each, "CPU-s/M points")
    yield Figure(
        f"broker under the hub, {size}: processor",
        statistics.median(hub.broker_cpu for hub in hubs) * each,
        "CPU-s/M points",
    )


def _forms(points: int) -> Sequence[str]:
    return FORMS if points > 1 else (VALUES,)  # one value is one row


def _beside_peer(points: int, form: str, hubs: list[Taken], peers: list[peer.PeerTaken]) -> Iterator[Figure]:
    size = f"{_size(points)}, {LINES[form]}" if points > 1 else _size(points)
    ratio = f"hub beside Telegraf, {size}: points per CPU-second"
    goal = GOAL_BESIDE[points] if form == VALUES else 0.0
    if not peers:
        yield Figure(ratio, None, "ratio", goal, more=True, note=f"not taken: {peer.lacking()}")
        return
    rate, offered = (statistics.median(column) for column in zip(*((p.rate, p.offered) for p in peers), strict=True))
    note = f"{_runs(peers)}; offered {offered:,.0f}{'' if offered > 1.1 * rate else ', all of which was taken'}"
    yield Figure(f"Telegraf and InfluxDB, {size}: points", rate, "1/s", note=note)
    for name, used in (("Telegraf", [p.telegraf for p in peers]), ("InfluxDB", [p.influxd for p in peers])):
        yield Figure(f"{name}, {size}: processor", statistics.median(used) * 1e6, "CPU-s/M points")
    yield Figure(ratio, beside(points, hubs, peers), "ratio", goal, more=True, note="Telegraf and InfluxDB together")


def beside(points: int, hubs: list[Taken], peers: list[peer.PeerTaken]) -> float:
    """Return the hub's points per second of processor as a multiple of Telegraf's and InfluxDB's together."""
    return statistics.median(p.cpu for p in peers) * points / statistics.median(hub.cpu for hub in hubs)


def _size(points: int) -> str:
    return f"{points} point{'s' if points > 1 else ''} a message"


def _runs(taken: Sequence[Taken | peer.PeerTaken]) -> str:
    return f"median of {', '.join(f'{one.rate:,.0f}' for one in sorted(taken))}"


def _run(at: Setting, points: int, number: int) -> Run:
    folder = at.folder / f"{points}-{number}"
    folder.mkdir()
    with _staged(at, folder, points) as stage:
        hub = stage.hub_takes()
        stage.others()
        forms = () if peer.lacking() else _forms(points)
        return Run(hub, stage.subscriber_takes(), {form: stage.peer_takes(form) for form in forms})


@contextlib.contextmanager
def _staged(at: Setting, folder: Path, points: int) -> Iterator[Stage]:
    port, place = free_port(), folder / "mosquitto"
    made = json.loads(_lamplighter("mosquitto-conf", place, "--port", port, "--json"))
    acl = place / "acl"
    allowed = "".join(f"user {user}\ntopic read {topics.hub_filter()}\n" for user in (USER, *peer.USERS.values()))
    acl.write_text(acl.read_text() + allowed)
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
