"""The parent of a swarm: divides the agents among processes, leads them through the phases, adds up what they count.

connect -> produce -> (drop -> come back) -> drain -> leave
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Final

from lamplighter_firmware_sim.errors import SimulatorError
from lamplighter_firmware_sim.swarm.figures import Figures
from lamplighter_firmware_sim.swarm.worker import Drop, Leave, Order, Produce, Report, Share, work

LOOK_EVERY_S: Final = 0.1


@dataclass(frozen=True)
class Phases:
    """How long each phase may last, in seconds. `drop_after` counts from the first record."""

    seconds: float
    connect_within_s: float
    drain_s: float
    drop_after_s: float | None = None
    back_after_s: float | None = None


@dataclass
class Milestones:
    """When things were complete, in seconds: connecting from the start, coming back from the drop."""

    most_connected: int = 0
    connected_s: float | None = None
    dropped_at_ms: int | None = None
    back_connected_s: float | None = None
    back_reporting_s: float | None = None


class WorkerLost(SimulatorError):
    """A process of the swarm ended before it was told to."""


def divide(whole: Share, processes: int) -> list[Share]:
    """Divide the agents, and the pace of connects, among processes."""
    return [
        replace(
            whole,
            credentials=whole.credentials[index::processes],
            connects_s=whole.connects_s / processes,
            seed=whole.seed + index,
        )
        for index in range(processes)
    ]


class Swarm:
    """Runs the phases. `stop` ends production early when it returns true.

    `progress` gets a line a second, `watch` the figures of that moment as JSON, with the latencies of that second.
    """

    def __init__(
        self,
        shares: Sequence[Share],
        phases: Phases,
        progress: Callable[[str], None],
        stop: Callable[[], bool],
        watch: Callable[[dict[str, Any]], object],
    ) -> None:
        self._shares = shares
        self._phases = phases
        self._progress = progress
        self._stop = stop
        self._watch = watch
        self._processes: list[SpawnProcess] = []
        self._pipes: list[Connection] = []
        self._latest: dict[Connection, Report] = {}
        self._milestones = Milestones()
        self._last_line = (0.0, Figures())
        self._phase = "connect"

    def run(self) -> dict[str, Any]:
        """Run to the end and return the summary as JSON. Raises WorkerLost."""
        self._spawn()
        try:
            self._connect()
            produced_s = self._produce()
            self._drain()
            self._leave()
        finally:
            for process in self._processes:
                process.kill()
                process.join()
        return self._summary(produced_s)

    def _spawn(self) -> None:
        # A fork would copy the parent's threads and signal handlers.
        context = multiprocessing.get_context("spawn")
        for share in self._shares:
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, share), daemon=True)
            process.start()
            theirs.close()
            self._processes.append(process)
            self._pipes.append(ours)

    def _connect(self) -> None:
        begun = time.monotonic()
        while time.monotonic() - begun < self._phases.connect_within_s and not self._stop():
            self._look()
            total = self._total()
            if len(self._latest) == len(self._pipes) and total.connected == total.agents:
                self._milestones.connected_s = _since(begun)
                return

    def _produce(self) -> float:
        self._phase = "produce"
        self._order(Produce(on=True))
        begun = time.monotonic()
        while time.monotonic() - begun < self._phases.seconds and not self._stop():
            if self._drop_is_due(begun):
                self._order(Drop(self._phases.back_after_s))
                self._milestones.dropped_at_ms = time.time_ns() // 1_000_000
                self._phase = "dropped"
                if self._phases.back_after_s is None:
                    break
                self._await_absence()
                dropped = time.monotonic()
            self._look()
            if self._phase == "dropped":
                self._note_return(dropped)
        self._order(Produce(on=False))
        return _since(begun)

    def _drop_is_due(self, begun: float) -> bool:
        after = self._phases.drop_after_s
        return after is not None and self._milestones.dropped_at_ms is None and time.monotonic() - begun >= after

    def _await_absence(self) -> None:
        """Wait for reports from after the drop: until then "all are connected" is old news."""
        deadline = time.monotonic() + 10
        while self._total().connected == self._total().agents and time.monotonic() < deadline:
            self._look()

    def _note_return(self, dropped: float) -> None:
        total, milestones = self._total(), self._milestones
        if milestones.back_connected_s is None and total.connected == total.agents:
            milestones.back_connected_s = _since(dropped)
        if milestones.back_reporting_s is None and total.reporting == total.agents:
            milestones.back_reporting_s = _since(dropped)

    def _drain(self) -> None:
        if self._phase == "dropped" and self._phases.back_after_s is None:
            return
        self._phase = "drain"
        begun = time.monotonic()
        while time.monotonic() - begun < self._phases.drain_s:
            self._look()
            # Two looks: a report may have been on its way while the last order was given.
            if _since(begun) > 1.0 and not self._total().unconfirmed:
                return

    def _leave(self) -> None:
        self._phase = "leave"
        self._order(Leave())
        deadline = time.monotonic() + 30
        while not all(report.last for report in self._latest.values()) and time.monotonic() < deadline:
            self._look()

    def _order(self, order: Order) -> None:
        for pipe in self._pipes:
            try:
                pipe.send(order)
            except OSError:
                raise WorkerLost("a process of the swarm has ended; see its message above") from None

    def _look(self) -> None:
        """Take the reports that have come, and say once a second how far it is."""
        for pipe in wait([pipe for pipe in self._pipes if not self._is_done(pipe)], LOOK_EVERY_S):
            if isinstance(pipe, Connection):
                self._receive(pipe)
        self._milestones.most_connected = max(self._milestones.most_connected, self._total().connected)
        now = time.monotonic()
        if now - self._last_line[0] >= 1.0:
            self._say(now)

    def _receive(self, pipe: Connection) -> None:
        try:
            while pipe.poll():
                report = pipe.recv()
                self._latest[pipe] = report
                if report.last:
                    return
        except (EOFError, OSError):
            raise WorkerLost("a process of the swarm has ended; see its message above") from None

    def _is_done(self, pipe: Connection) -> bool:
        return pipe in self._latest and self._latest[pipe].last

    def _total(self) -> Figures:
        total = Figures()
        for report in self._latest.values():
            total.add(report.figures)
        return total

    def _say(self, now: float) -> None:
        total = self._total()
        before, old = self._last_line
        span = max(now - before, 0.001) if before else 1.0
        self._last_line = (now, total)
        self._progress(
            f"{self._phase:8} connected {total.connected}/{total.agents}"
            f"  refused {sum(total.refused.values())}  records {total.records}"
            f" (+{(total.records - old.records) / span:.0f}/s)"
            f"  confirmed {total.confirmed} (+{(total.confirmed - old.confirmed) / span:.0f}/s)"
            f"  in flight {total.unconfirmed}  sent again {total.resent}"
        )
        lately = replace(total, latencies=total.latencies.since(old.latencies))
        self._watch({"t": time.time(), "phase": self._phase, **lately.summary()})

    def _summary(self, produced_s: float) -> dict[str, Any]:
        total = self._total()
        resident = sum(report.resident for report in self._latest.values())
        return {
            **total.summary(),
            "processes": len(self._shares),
            "seconds": produced_s,
            "records_s": round(total.records / produced_s, 1) if produced_s else 0.0,
            "resident_bytes": resident,
            **vars(self._milestones),
        }


def _since(moment: float) -> float:
    return round(time.monotonic() - moment, 3)
