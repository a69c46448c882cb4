"""One run: strike by the plan, mend, wait until nothing is held, compare."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from chaos.compare import CALM, FORBIDDEN, Item, Tally, Timeline, clean, compare, compare_commands
from chaos.faults import Mend, strike, whole
from chaos.schedule import MENDED, Strike, groups, rank
from chaos.world import AGENTS, FOREIGN, REGISTERS, RUDE, World
from services.agent import PROGRAM
from services.wait import eventually

SETTLES_S: Final = 180.0
STILL_S: Final = 12.0
ENDS_S: Final = 120.0
BOOKED: Final = ("duplicate", "quarantined")
DEFECT: Final = "internal_error"
"""Why a message is in quarantine that ingest failed on, and not for what is in it."""
Say = Callable[[str], None]


@dataclass
class Outcome:
    """What came of a run."""

    tally: Tally
    struck: Counter[str] = field(default_factory=Counter)
    faults: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return clean(self.tally)


class Drive:
    """Takes a world through a plan. `say` is told one line at a time."""

    def __init__(self, world: World, strikes: list[Strike], seed: int, say: Say) -> None:
        self._world = world
        self._strikes = strikes
        self._chance = random.Random(seed)
        self._say = say
        self._timeline = Timeline()
        self._tally = Tally()
        self._before: dict[str, int] = {}
        self._name = CALM
        self._began = time.monotonic()

    def run(self) -> Outcome:
        """Do all of it. Raises AssertionError when something does not come back by itself."""
        outcome = Outcome(self._tally)
        self._before = self._totals() or {}
        for group in groups(self._strikes):
            self._strike(group, outcome)
        self._name = f"{self._name} and after"
        self._settle()
        self._book()
        self._compare()
        outcome.notes += self._accounts()
        return outcome

    def _strike(self, group: list[Strike], outcome: Outcome) -> None:
        self._wait(group[0].gap_s)
        self._book()
        self._name = str(group[0].fault)
        self._timeline.mark(time.monotonic(), self._name)
        mends: list[tuple[Strike, Mend]] = []
        try:
            for one in group:
                outcome.faults += 1
                outcome.struck[one.fault] += 1
                self._say(f"{self._clock} {outcome.faults:4d}/{len(self._strikes)} {one.fault} {one.victim}")
                mends.append((one, strike(self._world, one, self._chance)))
            self._wait(max(one.lasts_s for one in group))
        finally:
            for _, mend in sorted(mends, key=lambda item: rank(item[0], MENDED)):
                mend()
        self._raise_the_dead()
        whole(self._world, {one.victim for one in group})

    def _raise_the_dead(self) -> None:
        """Start again what ended by itself: that is what a supervisor is for, and it is noted."""
        for name in AGENTS:
            agent = self._world.agents[name]
            if not agent.running.running:
                self._tally.blame(self._name, "ended", f"agent {name} ended by itself: {agent.running.said()[-300:]}")
                self._world.start_agent(name)
        if not self._world.hub.running.running:
            self._tally.blame(self._name, "ended", f"the hub ended: {self._world.hub.running.said()[-600:]}")
            self._world.start_hub()

    @property
    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._began), 60)
        return f"{minutes:02d}:{seconds:02d}"

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        eventually(lambda: time.monotonic() >= until, within_s=seconds + 5)

    # What the ledger says

    def _totals(self) -> dict[str, int] | None:
        try:
            parts = self._world.hub.get("status")["parts"]
            found = {"duplicate": parts["ledger"]["duplicate"], "quarantined": parts["series"]["quarantined"]}
        except (httpx.HTTPError, OSError, ValueError, KeyError, AssertionError):
            return None
        return found

    def _book(self) -> None:
        """Count what the ledger booked since the last strike for that one."""
        now = self._totals()
        if now is None:
            return
        for column in BOOKED:
            self._tally.add(self._name, column, max(0, now[column] - self._before.get(column, 0)))
        self._before = now

    def _rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._world.hub.get("ledger", limit=1000)["items"]
        return [row for row in found if row["agent"] != RUDE]  # it invents numbers

    def _accounts(self) -> Iterator[str]:
        for row in self._rows():
            name = f"ledger {row['agent']} {row['stream']}"
            if row["received"] != row["stored"] + row["duplicate"] + row["quarantined"]:
                self._tally.blame(CALM, "untrue", f"{name}: {row}")
            if row["missing_records"]:
                self._tally.blame(CALM, "missing", f"{name} misses {row['missing']}")
            yield f"{name}: through {row['through']}, dropped {row['dropped']}, duplicate {row['duplicate']}"
        for entry in self._world.hub.get("quarantine", reason=DEFECT, limit=10)["items"]:
            self._tally.blame(CALM, "broken", f"a message of {entry['agent']} broke ingest: {entry['detail']}")

    # The end

    def _settle(self) -> None:
        """Let nothing new come, and wait until nobody holds anything back any more."""
        self._say(f"{self._clock} all is mended; waiting until nothing is held")
        self._world.end_of_input()
        deadline = time.monotonic() + SETTLES_S
        last, since = self._progress(), time.monotonic()
        while time.monotonic() < deadline:
            self._wait(2.0)
            now = self._progress()
            self._say(f"{self._clock} stored {now[1]}; {'; '.join(now[0]) or 'nothing is held'}")
            if now != last:
                last, since = now, time.monotonic()
            if not last[0] and time.monotonic() - since > STILL_S:
                return
        self._tally.blame(self._name, "held", f"not settled within {SETTLES_S:.0f} s: {last[0]}")

    def _progress(self) -> tuple[list[str], int]:
        """Return what is still under way, and how much is stored."""
        waiting = [f"{name} holds {held}" for name in AGENTS if (held := self._held(name))]
        waiting += [f"{d.name} has unseen events" for d in self._world.devices.values() if not d.all_seen]
        if self._world.foreign and self._world.foreign.waiting:
            waiting.append(f"{FOREIGN} waits for {self._world.foreign.waiting} confirmations")
        waiting += [f"{row['agent']} {row['stream']} misses records" for row in self._rows() if row["missing_records"]]
        return waiting, self._world.hub.get("status")["parts"]["series"]["points"]

    def _held(self, name: str) -> int:
        argv = [str(PROGRAM), "status", "--config", str(self._world.agents[name].config), "--json"]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
        streams = json.loads(done.stdout)["outbox"]["streams"]
        return sum(stream["held"] for stream in streams.values())

    def _compare(self) -> None:
        world = self._world
        gone = world.foreign.gone(world.destroyed) if world.foreign else set()
        for given, agent in world.given():
            read = self._events if given.source.startswith("events") else self._readings
            stored = read(given.device)
            if given.device == REGISTERS:
                stored = (item._replace(t=0) for item in stored)  # the time of a reading is its reader's
            spans = list(world.declared[agent])
            compare(self._tally, self._timeline, given, stored, spans, gone if agent == FOREIGN else set())
        if world.commander:
            executed = {n: times for device in world.devices.values() for n, times in device.executed.items()}
            with contextlib.suppress(AssertionError):  # what is open is counted below
                eventually(self._ended, within_s=ENDS_S)
            compare_commands(self._tally, self._timeline, world.commander.all(), executed)

    def _ended(self) -> bool:
        under_way = ("queued", "sent", "received", "running")
        return not any(self._world.hub.get("commands", state=state, limit=1)["items"] for state in under_way)

    def _readings(self, device: str) -> Iterator[Item]:
        text: str = self._world.hub.get("export.csv", device=device, metric="count")
        for row in csv.DictReader(io.StringIO(text)):
            if row["quality"] == "good":
                yield Item(int(row["t"]), int(float(row["value"])))

    def _events(self, device: str) -> Iterator[Item]:
        text: str = self._world.hub.get("export-events.csv", device=device)
        for row in csv.DictReader(io.StringIO(text)):
            if row["name"] in {"tick", "alert"}:
                yield Item(int(row["t"]), int(json.loads(row["data"])["n"]))


def verdict(outcome: Outcome) -> str:
    """Return the last word, in one line."""
    sums = {column: outcome.tally.total(column) for column in FORBIDDEN}
    said = ", ".join(f"{column} {number}" for column, number in sums.items())
    return f"{'CLEAN' if outcome.clean else 'NOT CLEAN'} after {outcome.faults} faults: {said}"
