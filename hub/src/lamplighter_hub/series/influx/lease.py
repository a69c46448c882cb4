"""Who uses a bucket: one hub at a time, by a record in the bucket itself that is renewed while the hub runs.

A record (measurement `owners`) has the server's time, so no two machines' clocks are compared, and a turn that counts
up with every start of a hub. A hub that was killed is forgotten `LASTS_S` after its last record, at once when it is
the same hub that starts again. Whoever finds a higher turn than its own has been replaced, and writes no more.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from lamplighter_hub.series.influx.asking import named
from lamplighter_hub.series.influx.client import Influx
from lamplighter_hub.series.influx.lines import quoted
from lamplighter_hub.series.store import SeriesError, StoreUnavailable
from lamplighter_protocols.ids import new_ulid

log = logging.getLogger(__name__)

RENEW_S: Final = 10.0
LASTS_S: Final = 60
TRUSTED_S: Final = 30.0
"""A hub that has not renewed its record for this long does so before it commits: it may have been asleep."""
_KEPT_NS: Final = 3_600_000_000_000
_TIDY_EVERY: Final = 360


class Owner(NamedTuple):
    """A hub: `hub` is the same after a restart and nowhere else; `place` tells people which one it is."""

    hub: str
    place: str


def owner_in(data: Path) -> Owner:
    """Return the hub whose data folder this is; its identity is made the first time. Raises OSError."""
    path = data / "hub-id"
    if not path.exists():
        partial = path.with_suffix(".partial")
        partial.write_text(new_ulid(time.time_ns() // 1_000_000, os.urandom(10)), encoding="ascii")
        partial.rename(path)
    return Owner(path.read_text(encoding="ascii").strip(), f"{socket.gethostname()}, {data}")


class Record(NamedTuple):
    """What one hub said of itself at a time of the server (ns). It is `here` until it leaves."""

    at: int
    turn: int
    owner: Owner
    instance: str
    here: bool


class Lease:
    """The right of one running hub to write to a bucket. `check` is called before each commit, by any thread."""

    def __init__(self, influx: Influx, owner: Owner) -> None:
        self._influx = influx
        self._owner = owner
        self._instance = new_ulid(time.time_ns() // 1_000_000, os.urandom(10))
        self._turn = 0
        self._renewing = threading.Lock()
        self._renewed = (0.0, 0.0)
        self._renewals = 0
        self._replaced = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bucket lease", daemon=True)

    def claim(self) -> None:
        """Make the bucket ours. Raises StoreUnavailable when another hub uses it, SeriesError."""
        self._refuse(_others(self._recent(), self._owner))
        self._turn = 1 + max((one.turn for one in self._last()), default=0)
        self._say(here=True)
        found = self._last()
        mine = min((one.at for one in found if one.instance == self._instance), default=0)
        # Of two that claimed at the same time the one stays that wrote first.
        first = [one for one in found if one.turn == self._turn and one.at < mine and one.instance != self._instance]
        if first:
            self._say(here=False)
            self._refuse(first)

    def keep(self) -> None:
        """Renew the record in a thread, from now on until `leave`."""
        self._thread.start()

    def check(self) -> None:
        """Make sure that the bucket is still ours. Raises SeriesError."""
        if not self._replaced and max(now - then for now, then in zip(_now(), self._renewed, strict=True)) > TRUSTED_S:
            self._renew()
        if self._replaced:
            raise SeriesError(self._replaced)

    def leave(self) -> None:
        """Let the bucket go, so that another hub may have it at once."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(RENEW_S)
        if not self._replaced:
            try:
                self._say(here=False)
            except SeriesError as error:
                log.warning("the bucket will be free in %d s: %s", LASTS_S, error)

    def _run(self) -> None:
        told = False
        while not self._stop.wait(RENEW_S):
            try:
                self._renew()
            except SeriesError as error:
                log.debug("the lease of the bucket was not renewed: %s", error)  # commits say so aloud
            if self._replaced and not told:
                told = True
                log.error("%s", self._replaced)

    def _renew(self) -> None:
        with self._renewing:
            if self._replaced:
                return
            found = self._last()
            if newer := [one for one in found if one.turn > self._turn]:
                who = newer[0].owner.place
                self._replaced = f"{self._bucket} is used by another hub now ({who}); stop one of the two"
                return
            self._say(here=True)
            self._renewals += 1
            if self._renewals % _TIDY_EVERY == 0 and found:
                self._influx.delete("owners", 0, found[0].at - _KEPT_NS)

    def _refuse(self, others: Sequence[Record]) -> None:
        if others:
            raise StoreUnavailable(
                f"{self._bucket} is used by another hub ({others[-1].owner.place}): give this hub a bucket of its own, "
                f"or stop that one; a hub that was killed is forgotten after {LASTS_S} s"
            )

    @property
    def _bucket(self) -> str:
        return f"bucket {self._influx.where.bucket}"

    def _say(self, *, here: bool) -> None:
        texts = {"hub": self._owner.hub, "place": self._owner.place, "instance": self._instance}
        fields = ",".join(f"{name}={quoted(text)}" for name, text in texts.items())
        before = _now()
        self._influx.write(f"owners {fields},turn={self._turn}i,here={here}\n".encode())
        self._renewed = before

    def _recent(self) -> list[Record]:
        return self._records(f"WHERE time > now() - {LASTS_S}s ORDER BY time")

    def _last(self) -> list[Record]:
        return self._records("ORDER BY time DESC LIMIT 10")

    def _records(self, which: str) -> list[Record]:
        (tables,) = self._influx.query(f"SELECT * FROM owners {which}")  # noqa: S608 (statements of this module)
        return [
            Record(row["time"], row["turn"], Owner(row["hub"], row["place"]), row["instance"], row["here"])
            for row in named(tables)
        ]


def _others(found: Sequence[Record], me: Owner) -> list[Record]:
    """Return the last record of each other hub that is here, oldest first."""
    last = {one.owner.hub: one for one in found if one.owner.hub != me.hub}
    return [one for one in last.values() if one.here]


def _now() -> tuple[float, float]:
    """Return both clocks (s): one stands still while the machine sleeps, the other may be set back."""
    return time.monotonic(), time.time()
