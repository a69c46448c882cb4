"""What a backup is on the disk: files as they lie in a data folder, and a manifest with the checksum of each.

An archive is a plain tar of them with the manifest first, so that any tool can open it, and a reader can check each
file as it passes. Every file is for its owner only: the keys sign commands, and the registry lets agents in.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, BinaryIO, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lamplighter_hub.keys import write_private
from lamplighter_protocols.errors import LamplighterError

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1
PIECE: Final = 1024 * 1024
MAX_MANIFEST: Final = 64 * 1024 * 1024
_BLOCK: Final = 512
_END: Final = b"\0" * (2 * _BLOCK)


class BadBackup(LamplighterError):
    """A backup that is damaged, incomplete or none; the text names the file and what is wrong with it."""


class File(BaseModel):
    """One file of a backup; `name` is its path in a data folder."""

    model_config = ConfigDict(strict=True, frozen=True)

    name: str
    bytes: Annotated[int, Field(ge=0)]
    sha256: str


class Contents(BaseModel):
    """How much a backup holds, counted in the backup itself; ledger figures are numbers of records."""

    model_config = ConfigDict(strict=True, frozen=True)

    series: dict[str, int]
    ledger: dict[str, int]
    registry: dict[str, int]


class Manifest(BaseModel):
    """A backup's first file. No receipt given before `moment` (ms) is missing from what it holds."""

    model_config = ConfigDict(strict=True, frozen=True)

    format: int
    made_by: str
    moment: int
    contents: Contents
    files: list[File]


def describe(folder: Path) -> list[File]:
    """Return all files below a folder with their checksums; each is closed to others and on the disk afterwards."""
    return [_file(path, folder) for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put the manifest beside the files; with it a backup is complete."""
    write_private(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())
    for path in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
        sync_folder(path)


def read_manifest(folder: Path) -> Manifest:
    """Return a complete backup's manifest. Raises BadBackup."""
    try:
        return _parsed((folder / MANIFEST).read_bytes())
    except OSError as error:
        raise BadBackup(f"{folder} is no backup: {MANIFEST} in it: {error.strerror}") from None


def size(manifest: Manifest, folder: Path) -> int:
    """Return how many bytes `stream` will give."""
    sizes = [(folder / MANIFEST).stat().st_size, *(file.bytes for file in manifest.files)]
    names = [MANIFEST, *(file.name for file in manifest.files)]
    heads = sum(len(_head(name, length)) for name, length in zip(names, sizes, strict=True))
    return heads + sum(length + _padding(length) for length in sizes) + len(_END)


def stream(manifest: Manifest, folder: Path) -> Iterator[bytes]:
    """Yield the archive of a complete backup in pieces, in constant memory."""
    for name in (MANIFEST, *(file.name for file in manifest.files)):
        path = folder / name
        length = path.stat().st_size
        yield _head(name, length)
        with path.open("rb") as source:
            while piece := source.read(PIECE):
                yield piece
        yield b"\0" * _padding(length)
    yield _END


def unpack(source: Path, folder: Path) -> Manifest:
    """Write a backup's files into a folder, each checked. Raises BadBackup, or OSError for the folder."""
    with _opened(source) as (manifest, entries):
        for file, content in entries:
            _take(file, content, source, folder / file.name)
    return manifest


def check(source: Path) -> Manifest:
    """Read a whole backup and return its manifest. Raises BadBackup when anything is not as it was written."""
    with _opened(source) as (manifest, entries):
        for file, content in entries:
            _take(file, content, source, None)
    return manifest


def checked(source: Path) -> Iterator[File]:
    """Read a backup, a file at each step. Raises BadBackup when anything is not as it was written."""
    with _opened(source) as (_, entries):
        for file, content in entries:
            _take(file, content, source, None)
            yield file


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


Entries = Iterator[tuple[File, IO[bytes]]]


@contextmanager
def _opened(source: Path) -> Iterator[tuple[Manifest, Entries]]:
    """Open an archive, or a folder that the hub keeps a backup in."""
    if source.is_dir():
        manifest = read_manifest(source)
        yield manifest, _in_folder(manifest, source)
        return
    try:
        with source.open("rb") as raw, tarfile.open(fileobj=raw, mode="r|") as tar:
            manifest = _first(tar, source)
            yield manifest, _in_tar(manifest, tar, source)
    except (tarfile.TarError, EOFError) as error:
        raise BadBackup(f"{source} is damaged or no backup: {error}") from None


def _in_folder(manifest: Manifest, folder: Path) -> Entries:
    for file in manifest.files:
        try:
            with (folder / file.name).open("rb") as content:
                yield file, content
        except FileNotFoundError:
            raise BadBackup(f"{folder} is incomplete: {file.name} is missing") from None


def _first(tar: tarfile.TarFile, source: Path) -> Manifest:
    member = tar.next()
    content = tar.extractfile(member) if member and member.name == MANIFEST and member.isreg() else None
    if member is None or content is None or member.size > MAX_MANIFEST:
        raise BadBackup(f"{source} is no backup: it does not begin with {MANIFEST}")
    return _parsed(content.read())


def _in_tar(manifest: Manifest, tar: tarfile.TarFile, source: Path) -> Entries:
    for file in manifest.files:
        member = tar.next()
        if member is None or member.name != file.name or not member.isreg():
            raise BadBackup(f"{source} is incomplete: {file.name} is missing")
        content = tar.extractfile(member)
        if content is not None:
            yield file, content


def _parsed(raw: bytes) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(raw)
    except ValidationError:
        raise BadBackup(f"{MANIFEST} cannot be read: it is damaged, or of another version of Lamplighter") from None
    if manifest.format != FORMAT:
        raise BadBackup(f"the backup has format {manifest.format}, this version reads {FORMAT}: use {manifest.made_by}")
    for file in manifest.files:
        parts = PurePosixPath(file.name).parts
        if not parts or "\\" in file.name or any(part in {"/", "..", MANIFEST} for part in parts):
            raise BadBackup(f"{MANIFEST} names a file outside of a data folder: {file.name!r}")
    return manifest


def _take(file: File, content: IO[bytes], source: Path, target: Path | None) -> None:
    """Read a file through, write it where it belongs, and compare its checksum."""
    if target is None:
        found = _passed(content, None)
    else:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(target, "xb", opener=_private) as sink:
            found = _passed(content, sink)
            sink.flush()
            os.fsync(sink.fileno())
    if found != (file.bytes, file.sha256):
        raise BadBackup(f"{source} is damaged: {file.name} does not have the checksum that it was written with")


def _passed(content: IO[bytes], sink: BinaryIO | None) -> tuple[int, str]:
    length, digest = 0, hashlib.sha256()
    while piece := content.read(PIECE):
        length += len(piece)
        digest.update(piece)
        if sink is not None:
            sink.write(piece)
    return length, digest.hexdigest()


def _file(path: Path, folder: Path) -> File:
    path.chmod(0o600)
    with path.open("rb") as content:
        length, digest = _passed(content, None)
        os.fsync(content.fileno())
    return File(name=path.relative_to(folder).as_posix(), bytes=length, sha256=digest)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _head(name: str, length: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.mode = length, 0o600
    return member.tobuf(tarfile.PAX_FORMAT)


def _padding(length: int) -> int:
    return -length % _BLOCK


def differences(said: Contents, found: Contents) -> Mapping[str, tuple[int | None, int | None]]:
    """Return what is not as it was said, by name: (said, found)."""
    left, right = _flat(said), _flat(found)
    return {name: (left.get(name), right.get(name)) for name in left if left[name] != right.get(name)}


def _flat(contents: Contents) -> dict[str, int]:
    parts = contents.model_dump().items()
    return {f"{part}.{name}": figure for part, figures in parts for name, figure in figures.items()}
