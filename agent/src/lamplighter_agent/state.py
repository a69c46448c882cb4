"""The agent's small documents: identity, session number, applied configuration, command journal, traffic.

They lie in TinyDB files of their own, behind a storage that is atomic: a new file is written, synced and renamed over
the old one, and the folder is synced, so that a crash leaves either the old document or the new one. TinyDB's own
storage rewrites in place. This is the only module that knows TinyDB. All functions wait for the disk.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from tinydb import TinyDB, where
from tinydb.storages import Storage

from lamplighter_agent.errors import AlreadyRunning, NotEnrolled, StateUnreadable
from lamplighter_protocols.commands import CommandState
from lamplighter_protocols.configuration import ConfigurationState, FieldError
from lamplighter_protocols.ids import AgentId
from lamplighter_protocols.presence import Promise

JOURNAL_LIMIT: Final = 500
"""Entries of the command journal."""
RESERVED: Final = 16
"""Session numbers that are reserved ahead, for connections that are made while the disk is full."""
KEPT_MS: Final = 24 * 3_600_000
"""How long a journal entry is kept after its command has expired: the hub may repeat it for so long."""


class AtomicStorage(Storage):
    """A TinyDB storage that replaces its file as a whole. Readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, dict[str, Any]] | None:
        """Return what is stored; None when there is nothing yet. Raises StateUnreadable."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError, OSError) as error:
            raise StateUnreadable(f"{self._path}: cannot be read ({error}); move it away to go on without it") from None
        if not isinstance(found, dict) or not all(isinstance(table, dict) for table in found.values()):
            raise StateUnreadable(f"{self._path}: is not an object; move it away to go on without it")
        return found

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        """Store; durable when it returns, and either whole or not at all."""
        new = self._path.with_suffix(".new")
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(data, file, ensure_ascii=False, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)
        sync_folder(self._path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class _Document(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


def _with_a_port(url: str) -> str:
    _ = urlsplit(url).port  # raises ValueError for what is none
    return url


class Broker(_Document):
    """Where the MQTT broker is, and this agent's credentials for it."""

    url: Annotated[str, AfterValidator(_with_a_port)]
    username: str
    password: str


class HubKey(_Document):
    """One of the hub's public keys, base64url."""

    kid: str
    public_key: str


class Identity(_Document):
    """Who this agent is, as the hub said at enrolment."""

    agent: AgentId
    hub_url: str = ""
    mqtt: Broker
    hub_keys: list[HubKey]
    heard_within_s: Promise = 30


class Version(_Document):
    """What became of one version of a device's configuration."""

    version: int = 0
    hash: str = ""
    state: ConfigurationState = ConfigurationState.APPLIED
    document: dict[str, Any] = {}
    errors: list[FieldError] = []
    reason: str = ""


class Configured(_Document):
    """A device's configuration: what is in force, what was answered last, and what a roll-back returns to.

    `before` is set while the hub has not been heard since the change; `rollback_after_s` is how long to wait for it.
    """

    device: str
    force: Version = Version()
    answered: Version = Version()
    before: Version | None = None
    rollback_after_s: int = 300


class Day(_Document):
    """What the link carried on one day in UTC, in bytes."""

    day: str
    up: int = 0
    down: int = 0


class Entry(_Document):
    """One command in the journal. `state` is `running` from before the act until its result."""

    id: str
    device: str
    name: str = ""
    state: CommandState
    expires_at: int
    begun_at: int | None = None
    finished_at: int | None = None
    harmful: bool = False
    data: dict[str, Any] = {}
    reason: str = ""


Document = TypeVar("Document", bound=_Document)


class State:
    """The documents of one data folder. Open files only while reading or writing them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._session = 0

    def exists(self) -> bool:
        """True when this folder holds an identity."""
        return (self.folder / "identity.json").exists()

    def identity(self) -> Identity:
        """Return who this agent is. Raises NotEnrolled."""
        if not self.exists():
            fix = "run `lamplighter-agent enroll HUB_URL CODE`"
            raise NotEnrolled(f"{self.folder}: this agent has no identity yet; {fix}")
        with self._open("identity") as store:
            found = _read(Identity, store.all())
        if not found:
            raise StateUnreadable(f"{self.folder / 'identity.json'}: is empty; enrol again with --again")
        return found[0]

    def save_identity(self, identity: Identity) -> None:
        """Store who this agent is from now on; another identity's configuration and journal are forgotten."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("configuration", "journal", "session"):
            (self.folder / f"{name}.json").unlink(missing_ok=True)
        with self._open("identity") as store:
            # One document that is replaced in one write: there is no moment without identity.
            store.update(identity.model_dump(mode="json")) if len(store) else store.insert(
                identity.model_dump(mode="json")
            )

    def next_session(self, known: int = 0) -> int:
        """Return a session number that is higher than all before, and than `known`.

        It is durable, or within what was reserved while the disk took it; a later life begins behind that. When neither
        is so, because a long life or a new one met a full disk, the hub's answer to the birth corrects it.
        """
        with self._open("session") as store:
            kept = store.all()
            _, reserved = _sessions(kept)
            number = max(self._session or reserved, known) + 1
            self._session = number
            ahead = reserved if number + RESERVED // 2 <= reserved else number + RESERVED
            found = {"session": number, "reserved": ahead}
            with suppress(OSError):
                store.update(found) if kept else store.insert(found)
        return number

    def session(self) -> int:
        """Return the last session number that is on the disk; 0 before the first."""
        with self._open("session") as store:
            return _sessions(store.all())[0]

    def configurations(self) -> dict[str, Configured]:
        """Return the configuration of each device that has one."""
        with self._open("configuration") as store:
            return {item.device: item for item in _read(Configured, store.all())}

    def save_configuration(self, configured: Configured) -> None:
        """Store what is in force on a device."""
        with self._open("configuration") as store:
            store.upsert(configured.model_dump(mode="json"), where("device") == configured.device)

    def journal(self) -> dict[str, Entry]:
        """Return all entries of the command journal by command id, oldest first."""
        with self._open("journal") as store:
            return {item.id: item for item in _read(Entry, store.all())}

    def write_journal(self, entry: Entry, forget: list[str]) -> None:
        """Store an entry in place of its earlier one, and forget others, in one write."""
        with self._open("journal") as store:
            kept = [dict(item) for item in store.all() if item["id"] != entry.id and item["id"] not in forget]
            _replace(store, [*kept, entry.model_dump(mode="json")])

    def traffic(self) -> list[Day]:
        """Return what the link carried, by day."""
        with self._open("traffic") as store:
            return _read(Day, store.all())

    def save_traffic(self, days: list[Day]) -> None:
        """Store what the link carried, in one write."""
        with self._open("traffic") as store:
            _replace(store, [day.model_dump(mode="json") for day in days])

    @contextmanager
    def _open(self, name: str) -> Iterator[TinyDB]:
        path = self.folder / f"{name}.json"
        store = TinyDB(path, storage=AtomicStorage)
        try:
            yield store
        except (KeyError, TypeError, ValueError, OverflowError, ValidationError) as error:
            text = str(error).splitlines()[0]
            raise StateUnreadable(f"{path}: is not what the agent wrote ({text}); move it away") from None
        finally:
            store.close()


def _sessions(kept: list[Any]) -> tuple[int, int]:
    """Return the last session number that was written, and up to which one they are reserved."""
    last = int(kept[0]["session"]) if kept else 0
    reserved = int(kept[0].get("reserved", last)) if kept else 0
    if not 0 <= last <= reserved < 2**53:  # a session number is exact in every JSON reader
        raise ValueError(f"session {last}, reserved up to {reserved}")
    return last, reserved


def _replace(store: TinyDB, documents: list[dict[str, Any]]) -> None:
    # TinyDB has no "replace all" in one write; its storage takes the whole of a table.
    store.storage.write({store.default_table_name: {str(nth): item for nth, item in enumerate(documents, 1)}})


def _read(model: type[Document], items: list[Any]) -> list[Document]:
    return [model.model_validate(dict(item)) for item in items]


class Lock:
    """Keeps a second agent out of a data folder, for as long as the process lives."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._handle: int | None = None

    def take(self) -> None:
        """Raise AlreadyRunning when another process holds it."""
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise AlreadyRunning(f"{self._path.parent}: another agent works in this folder; stop it first") from None
        self._handle = handle

    def release(self) -> None:
        """Let others in."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
