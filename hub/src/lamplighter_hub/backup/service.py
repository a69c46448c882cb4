"""Backups of a running hub: one is made at a time, in a thread of its own, while everything else goes on.

The order is what makes it right. A receipt stands for a commit of the series store, and results and reports are in the
registry before that commit. So the series and their ledger are copied first and the registry after them: what the
copied ledger calls stored is in the copied registry too. What the registry has in excess comes again and changes
nothing.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

from lamplighter_hub.backup import archive
from lamplighter_hub.backup.contents import OpenSeries, look
from lamplighter_hub.errors import Conflict, NotFound, TooMany, Unavailable
from lamplighter_hub.keys import HubKeys
from lamplighter_hub.registry import copies
from lamplighter_hub.registry.database import Database, sqlite_url
from lamplighter_hub.series.store import TimeSeries
from lamplighter_hub.services import Clock
from lamplighter_protocols.errors import LamplighterError
from lamplighter_protocols.ids import new_ulid

log = logging.getLogger(__name__)

FOLDER: Final = "backups"
MAX_KEPT: Final = 20
RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"
ROOM: Final = 64 * 1024 * 1024
"""Bytes that must be left over beside a backup."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup. `step` is what is being copied; `moment` and what follows are known when it is done."""

    id: str
    state: str
    step: str = ""
    bytes: int = 0
    expected_bytes: int = 0
    moment: int | None = None
    contents: archive.Contents | None = None
    reason: str = ""


class BackupService:
    """Makes, lists and hands out backups, kept below `DIR/backups`. Any thread may call."""

    def __init__(
        self,
        data: Path,
        clock: Clock,
        registry: Database,
        series: TimeSeries,
        keys: HubKeys,
        open_series: OpenSeries,
    ) -> None:
        self._folder = data / FOLDER
        self._clock = clock
        self._registry = registry
        self._series = series
        self._keys = keys
        self._open_series = open_series
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._last: Backup | None = None

    def load(self) -> None:
        """Remove what an earlier run did not finish."""
        for path in self._folder.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)

    def begin(self) -> Backup:
        """Begin a backup. Raises Conflict while one is made, TooMany, or Unavailable without room on the disk."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                raise Conflict("a backup is being made; wait for it", code="backup_running")
            if len(self._kept()) >= MAX_KEPT:
                raise TooMany(f"there are {MAX_KEPT} backups; delete some first", code="too_many_backups")
            expected = self._expected()
            self._make_room(expected)
            now = self._clock()
            begun = Backup(new_ulid(now, os.urandom(10)), RUNNING, "series", expected_bytes=expected, moment=now)
            self._last = begun
            self._thread = threading.Thread(target=self._run, args=(begun,), name="backup", daemon=True)
            self._thread.start()
        return begun

    def find(self, backup: str) -> Backup:
        """Return a backup. Raises NotFound."""
        last = self._last
        if last is not None and last.id == backup and last.state != DONE:
            return self._measured(last)
        if backup not in self._kept():
            raise NotFound(f"backup {backup} is not known", code="backup_unknown")
        return self._finished(backup)

    def page(self, before: str, limit: int) -> list[Backup]:
        """Return backups, the newest first, those with ids before `before`."""
        last = self._last
        names = {*self._kept(), *([last.id] if last and last.state != DONE else [])}
        chosen = sorted((name for name in names if not before or name < before), reverse=True)
        return [self.find(name) for name in chosen[:limit]]

    def folders(self) -> list[Path]:
        """Return the folders of the finished backups."""
        return [self._folder / name for name in sorted(self._kept())]

    def size(self, backup: str) -> int:
        """Return the length of a finished backup's archive. Raises NotFound or Conflict."""
        folder = self._ready(backup)
        return archive.size(archive.read_manifest(folder), folder)

    def stream(self, backup: str) -> Iterator[bytes]:
        """Yield the archive of a finished backup. Raises NotFound or Conflict."""
        folder = self._ready(backup)
        return archive.stream(archive.read_manifest(folder), folder)

    def delete(self, backup: str) -> None:
        """Delete a backup that is not being made. Raises NotFound or Conflict."""
        found = self.find(backup)
        if found.state == RUNNING:
            raise Conflict("this backup is being made; wait for it", code="backup_running")
        if found.state == FAILED:
            self._last = None
            return
        gone = self._folder / f".{backup}"
        (self._folder / backup).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def close(self) -> None:
        """Wait for the end of a backup; call it after the series store is closed, which ends it."""
        if self._thread is not None:
            self._thread.join()

    # Steps

    def _run(self, begun: Backup) -> None:
        work = self._folder / f".{begun.id}"
        try:
            self._make(begun, work)
            self._set(begun, DONE)
        except (LamplighterError, OSError) as error:
            self._fail(begun, work, str(error))
        except Exception as error:  # supervision: what is wrong with a backup must not be lost with its thread
            log.exception("a backup failed")
            self._fail(begun, work, f"{type(error).__name__}; the hub's log says more")

    def _make(self, begun: Backup, work: Path) -> None:
        work.mkdir(mode=0o700, parents=True)
        self._folder.chmod(0o700)
        self._series.backup(work)
        self._set(begun, RUNNING, "registry")
        with closing(Database(sqlite_url(work))) as target:
            target.upgrade()
            copies.copy(self._registry, target)
        self._keys.backup(work)
        self._set(begun, RUNNING, "checksums")
        contents = look(work, self._open_series)
        manifest = archive.Manifest(
            format=archive.FORMAT,
            made_by=f"Lamplighter {version('lamplighter-hub')}",
            moment=begun.moment or 0,
            contents=contents,
            files=archive.describe(work),
        )
        archive.write_manifest(work, manifest)
        work.rename(self._folder / begun.id)
        archive.sync_folder(self._folder)
        log.info("backup %s is complete", begun.id)

    def _fail(self, begun: Backup, work: Path, reason: str) -> None:
        log.error("backup %s failed: %s", begun.id, reason)
        shutil.rmtree(work, ignore_errors=True)
        self._set(begun, FAILED, reason=reason[:500])

    def _set(self, begun: Backup, state: str, step: str = "", reason: str = "") -> None:
        self._last = replace(begun, state=state, step=step, reason=reason)

    def _kept(self) -> set[str]:
        with suppress(FileNotFoundError):
            return {path.name for path in self._folder.iterdir() if _complete(path)}
        return set()

    def _ready(self, backup: str) -> Path:
        if self.find(backup).state != DONE:
            raise Conflict(f"backup {backup} is not complete", code="backup_not_complete")
        return self._folder / backup

    def _finished(self, backup: str) -> Backup:
        manifest = archive.read_manifest(self._folder / backup)
        length = sum(file.bytes for file in manifest.files)
        return Backup(backup, DONE, "", length, length, manifest.moment, manifest.contents)

    def _measured(self, backup: Backup) -> Backup:
        work = self._folder / f".{backup.id}"
        return replace(backup, bytes=size_below(work))

    def _expected(self) -> int:
        return self._series.counts().disk_bytes + self._registry.size()

    def _make_room(self, expected: int) -> None:
        free = shutil.disk_usage(self._folder.parent).free
        if free < expected + ROOM:
            raise Unavailable(
                f"a backup needs about {(expected + ROOM) // 10**6} MB, but {free // 10**6} MB are free",
                code="no_room",
            )


def _complete(path: Path) -> bool:
    return not path.name.startswith(".") and (path / archive.MANIFEST).is_file()


def size_below(folder: Path) -> int:
    """Return the bytes of all files below a folder, which may be going away meanwhile."""
    return sum(_size(Path(root, name)) for root, _, names in os.walk(folder) for name in names)


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
