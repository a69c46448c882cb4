"""The agent's side: the real outbox on its own disk, which may crash at any statement."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from lamplighter_agent.outbox import Outbox
from lamplighter_protocols.records import Stream
from suites.delivery.fuse import Disk, Fuse, Watched

FILE: Final = "outbox.sqlite"
_BASES: Final = {0: Stream.ALARM, 1: Stream.LIVE, 2: Stream.BACKLOG}


class Held(NamedTuple):
    """A record that the outbox holds: which numbers of ours are in it, and what it tells to be gone."""

    stream: Stream
    number: int
    ours: frozenset[int]
    told: tuple[Stream, int, int] | None


class AgentSide:
    """One identity; its outbox may be lost, copied and brought back."""

    def __init__(self, root: Path, clock: Callable[[], int], budget: int, kind: type[Outbox]) -> None:
        self.disk = Disk(root, "agent")
        self._clock = clock
        self._budget = budget
        self._kind = _watched(kind, self.step)
        self._fuse = Fuse(self.disk.freeze)
        self.outbox = self._open()

    def _open(self) -> Outbox:
        outbox = self._kind(self.disk.folder / FILE, self._budget, self._clock)
        outbox.open()
        return outbox

    def do(self, deed: Callable[[Outbox], Any], crash: int | None = None) -> bool:
        """Do something with the outbox; with `crash` the process ends before that statement of it, or right after.

        False when it ended; then what the disk held is all there is.
        """
        if self._fuse.burn(lambda: deed(self.outbox), crash):
            return True
        self.outbox.close()
        self.disk.thaw()
        self.outbox = self._open()
        return False

    def step(self) -> None:
        self._fuse.step()

    def kill(self) -> None:
        """Kill -9."""
        self.do(lambda _: None, 0)

    def become(self, folder: Path) -> None:
        """Go on with another disk."""
        self.outbox.close()
        self.disk.become(folder)
        self.outbox = self._open()

    def held(self) -> Iterator[Held]:
        """Yield what the disk holds, read beside the outbox's own code."""
        for record, body in self.outbox._connection.execute("SELECT id, body FROM records"):
            yield Held(_BASES[record >> 56], record & ((1 << 56) - 1), *_content(json.loads(body)))


def _content(record: dict[str, Any]) -> tuple[frozenset[int], tuple[Stream, int, int] | None]:
    match record["kind"]:
        case "dropped" if record.get("outbox"):
            return frozenset(), None
        case "dropped":
            return frozenset(), (Stream(record["stream"]), record["first"], record["last"])
        case "readings":
            return frozenset(record["m"]["n"]), None
        case "nonsense":
            return frozenset([record["n"]]), None
        case _:
            return frozenset([record["data"]["n"]]), None


def _watched(kind: type[Outbox], step: Callable[[], None]) -> type[Outbox]:
    class WatchedOutbox(kind):  # type: ignore[valid-type, misc] # any kind of outbox
        @property
        def _connection(self) -> Any:
            return Watched(super()._connection, step)

    return WatchedOutbox
