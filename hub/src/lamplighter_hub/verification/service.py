"""Reads every file of the series store and of the kept backups: at once when asked, else at a pace, again and again."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol, runtime_checkable

from lamplighter_hub.backup import archive
from lamplighter_hub.errors import Conflict, NotFound
from lamplighter_hub.series.store import Checked, TimeSeries
from lamplighter_hub.services import Clock
from lamplighter_protocols.errors import LamplighterError

log = logging.getLogger(__name__)

EVERY_MS: Final = 3 * 86_400_000
"""A round begins so long after the one before it began, so that everything is seen at least once a week."""
LOOK_S: Final = 60.0
NOTE_MS: Final = 60_000
FILE: Final = "verified.json"
MAX_NAMED: Final = 1_000
RUNNING, DONE, FAILED = "running", "done", "failed"


@runtime_checkable
class Checkable(Protocol):
    """A series store that can read itself."""

    def check(self, after: str = "") -> Iterator[Checked]:
        """Read the files behind a place, one at each step."""

    def check_size(self) -> tuple[int, int]:
        """Return how many files and bytes there are to read."""


class Fault(NamedTuple):
    """A damaged file. `start` to `end` (ms) and `points` are what is in it; a backup has none. `rebuilt` is whole."""

    path: str
    what: str
    start: int | None = None
    end: int | None = None
    points: int | None = None
    rebuilt: bool = False


class Step(NamedTuple):
    """A file that was read; where to go on behind it."""

    place: str
    size: int
    fault: Fault | None


@dataclass(slots=True, frozen=True)
class Round:
    """One look at everything. `faults` are at most `MAX_NAMED`."""

    state: str
    began: int
    of_files: int = 0
    of_bytes: int = 0
    files: int = 0
    bytes: int = 0
    ended: int | None = None
    faults: Sequence[Fault] = ()
    reason: str = ""

    def after(self, step: Step) -> Round:
        """Return the round behind a step."""
        faults = self.faults if step.fault is None else [*self.faults, step.fault][:MAX_NAMED]
        return replace(self, files=self.files + 1, bytes=self.bytes + step.size, faults=faults)


@dataclass(slots=True)
class Progress:
    """Where the look in the background is; kept in DIR/verified.json, so that a restart goes on."""

    began: int = 0
    place: str = ""
    ended: int | None = None
    noted: int = field(default=0, compare=False)


class VerificationService:
    """One look at a time when asked, beside the one in the background, which reads `bytes_s` (0: none)."""

    def __init__(
        self, data: Path, clock: Clock, series: TimeSeries, backups: Callable[[], list[Path]], bytes_s: int
    ) -> None:
        self._file = data / FILE
        self._clock = clock
        self._series = series if isinstance(series, Checkable) else None
        self._backups = backups
        self._bytes_s = bytes_s
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._background = threading.Thread(target=self._again, name="verification", daemon=True)
        self._asked: Round | None = None
        self._damaged_backups: frozenset[str] = frozenset()
        self.progress = Progress()
        self.rebuilt = 0

    def load(self) -> None:
        """Learn where the hub before us was."""
        try:
            self.progress = Progress(**json.loads(self._file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            self.progress = Progress()

    def start(self) -> None:
        """Look at everything in the background, until `close`."""
        if self._bytes_s and self._series is not None:
            self._background.start()

    def close(self) -> None:
        """End after the file in hand."""
        self._stop.set()
        for thread in (self._thread, self._background):
            if thread is not None and thread.is_alive():
                thread.join()

    def begin(self) -> Round:
        """Begin to look at everything, as fast as it goes. Raises Conflict, and SeriesError."""
        if self._series is None:
            raise Conflict(
                "the series are in InfluxDB: `influxd inspect verify-tsm` on its machine looks at them",
                code="not_verifiable",
            )
        with self._lock:
            if self._asked is not None and self._asked.state == RUNNING:
                raise Conflict("everything is being looked at; wait for it", code="verification_running")
            files, size = self._series.check_size()
            kept = [archive.read_manifest(folder).files for folder in self._backups()]
            self._asked = Round(
                RUNNING,
                self._clock(),
                files + sum(map(len, kept)),
                size + sum(file.bytes for found in kept for file in found),
            )
            self._thread = threading.Thread(target=self._run, args=(self._asked,), name="verifying", daemon=True)
            self._thread.start()
            return self._asked

    def last(self) -> Round:
        """Return the look that was asked for last. Raises NotFound."""
        if self._asked is None:
            raise NotFound("nobody has asked for a look since the start; begin one", code="no_verification")
        return self._asked

    def facts(self) -> dict[str, Any]:
        """Return how far the look in the background is, and when it last had seen everything."""
        known = {name: value for name, value in asdict(self.progress).items() if name not in {"noted", "place"}}
        damaged = sorted(self._damaged_backups)
        return {**known, "bytes_s": self._bytes_s, "rebuilt": self.rebuilt, "damaged_backups": damaged}

    # inside

    def _run(self, found: Round) -> None:
        try:
            for step in self._steps(""):
                if self._stop.is_set():
                    self._asked = replace(found, state=FAILED, reason="the hub ends", ended=self._clock())
                    return
                found = self._asked = found.after(step)
            self._asked = replace(found, state=DONE, ended=self._clock())
        except (LamplighterError, OSError) as error:
            self._asked = replace(found, state=FAILED, reason=str(error)[:500], ended=self._clock())
        except Exception as error:  # supervision: what is wrong with a look must not be lost with its thread
            log.exception("a verification failed")
            reason = f"{type(error).__name__}; the hub's log says more"
            self._asked = replace(found, state=FAILED, reason=reason, ended=self._clock())

    def _again(self) -> None:
        while not self._stop.wait(LOOK_S):
            try:
                self._look()
            except (LamplighterError, OSError) as error:
                log.warning("verification goes on later: %s", error)
            except Exception:  # supervision: the next look tries again
                log.exception("verification failed; it goes on later")

    def _look(self) -> None:
        """Go on with a round, or begin one when it is time. Raises LamplighterError, OSError."""
        if not self.progress.place and self._clock() - self.progress.began < EVERY_MS:
            return
        if not self.progress.place:
            self.progress = Progress(self._clock(), ended=self.progress.ended)
        for step in self._steps(self.progress.place):
            self.progress.place = step.place or self.progress.place
            if self._clock() - self.progress.noted > NOTE_MS:
                self._note()
            if self._stop.wait(step.size / self._bytes_s):
                self._note()
                return
        self.progress = Progress(self.progress.began, ended=self._clock())
        self._note()
        log.info("every file was read and compared with its checksum")

    def _steps(self, place: str) -> Iterator[Step]:
        for item in self._series.check(place) if self._series is not None else ():
            self.rebuilt += item.rebuilt
            yield Step(item.place, item.size, _fault(item))
        for folder in self._backups():
            yield from self._backup(folder)

    def _backup(self, folder: Path) -> Iterator[Step]:
        name = f"backups/{folder.name}"
        try:
            for file in archive.checked(folder):
                yield Step("", file.bytes, None)
            self._damaged_backups -= {name}
        except (archive.BadBackup, OSError) as error:
            if folder.exists():  # else it was deleted meanwhile
                self._damaged_backups |= {name}
                log.error("the backup %s is damaged: %s", folder.name, error)  # noqa: TRY400 - what is wrong is said
                yield Step("", 0, Fault(name, "backup"))

    def _note(self) -> None:
        self.progress.noted = self._clock()
        part = self._file.with_name(f".{FILE}")
        part.write_text(json.dumps(asdict(self.progress)), encoding="utf-8")
        part.replace(self._file)


def _fault(item: Checked) -> Fault | None:
    fault = item.fault
    if fault is None:
        return None
    what = {0: "readings", 60_000: "minutes"}.get(fault.level, "hours")
    return Fault(fault.path, what, fault.start, fault.end, fault.points, item.rebuilt)
