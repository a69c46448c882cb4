"""A backup becomes a data folder: unpacked beside nothing else, every checksum compared, its stores opened and counted.

What was pending is not carried out late, and doors that may have been shut since stay shut (docs/decisions/0058):
queued commands end, for those already sent the hub asks to cancel, sessions and unused codes and links are gone.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import delete, func, update

from lamplighter_hub.backup import archive
from lamplighter_hub.backup.archive import Manifest
from lamplighter_hub.backup.contents import OpenSeries, look
from lamplighter_hub.registry import copies
from lamplighter_hub.registry.database import SQLITE_FILE, Database, sqlite_url
from lamplighter_hub.registry.models import Command, ConsoleSession, EnrolmentCode, SignInLink
from lamplighter_protocols.commands import CommandState
from lamplighter_protocols.errors import LamplighterError

UNFINISHED: Final = ".restoring"
"""Where a restore works inside of the new data folder; a hub does not start beside it."""
_CANCELLED: Final = "the hub was restored from a backup"
_OPEN: Final = [state.value for state in CommandState if not state.final and state is not CommandState.QUEUED]


class CannotRestore(LamplighterError):
    """A backup is not restored there, or not as it was; the text says why."""


class Restored(NamedTuple):
    """A new data folder and what it holds; `registry` says where the registry is."""

    manifest: Manifest
    registry: str


def restore(source: Path, data: Path, registry_url: str, open_series: OpenSeries) -> Restored:
    """Make a data folder of a backup. `registry_url` names an empty PostgreSQL database; "" means SQLite.

    Raises CannotRestore, BadBackup, or what the stores raise; nothing is left behind then.
    """
    with _working(data) as work:
        manifest = archive.unpack(source, work)
        _compare(manifest, work, open_series)
        with closing(Database(sqlite_url(work))) as registry:
            _shut_doors(registry)
            where = _move_registry(registry, registry_url) if registry_url else "SQLite"
        if registry_url:
            (work / SQLITE_FILE).unlink()
        for path in work.iterdir():
            path.rename(data / path.name)
    for folder in (*(path for path in data.rglob("*") if path.is_dir()), data):
        archive.sync_folder(folder)
    return Restored(manifest, where)


@contextmanager
def _working(data: Path) -> Iterator[Path]:
    """Give a folder to work in. Whatever fails, the data folder is as before."""
    made = _claim(data)
    work = data / UNFINISHED
    try:
        yield work
        work.rmdir()
    except BaseException:
        for path in data.iterdir():  # all of it is ours: it was empty
            _remove(path)
        if made:
            data.rmdir()
        raise


def _claim(data: Path) -> bool:
    """Make the folder and the one to work in; return whether the folder is new. Raises CannotRestore."""
    try:
        made = not data.exists()
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(data.iterdir()):
            raise CannotRestore(f"--data {data} is not empty; a backup is only restored into a new or empty folder")
        data.chmod(0o700)
        (data / UNFINISHED).mkdir(mode=0o700)
    except OSError as error:
        raise CannotRestore(f"--data {data}: {error.strerror}") from None
    return made


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _compare(manifest: Manifest, work: Path, open_series: OpenSeries) -> None:
    wrong = archive.differences(manifest.contents, look(work, open_series))
    if wrong:
        told = ", ".join(f"{name} {said} became {found}" for name, (said, found) in sorted(wrong.items())[:5])
        raise CannotRestore(f"the restored stores do not hold what the backup says: {told}")


def _shut_doors(registry: Database) -> None:
    now = time.time_ns() // 1_000_000
    ended = {"state": CommandState.CANCELLED.value, "finished_at": now, "reason": _CANCELLED}
    with registry.write() as session:
        session.execute(update(Command).where(Command.state == CommandState.QUEUED.value).values(ended))
        asked = func.coalesce(Command.cancel_at, now)
        session.execute(update(Command).where(Command.state.in_(_OPEN)).values(cancel_at=asked))
        session.execute(delete(ConsoleSession))
        session.execute(delete(EnrolmentCode))
        session.execute(delete(SignInLink).where(SignInLink.used_at.is_(None)))


def _move_registry(registry: Database, url: str) -> str:
    with closing(Database(url)) as target:
        target.upgrade()
        if any(copies.count(target).values()):
            raise CannotRestore(f"the registry {target.where} is not empty; name an empty database")
        copies.copy(registry, target)
        return target.where
