"""An archive that is not as it was written is refused, by the name of what is wrong; it never writes elsewhere."""

from __future__ import annotations

import contextlib
import hashlib
import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from lamplighter_hub.backup import archive
from lamplighter_hub.backup.archive import BadBackup, Contents, File, Manifest

FILES = {
    "series.duckdb": bytes(range(256)) * 5_000,
    "registry.sqlite": b"r" * 512,
    "keys/000001.pem": b"key",
    "empty": b"",
}
CONTENTS = Contents(series={"points": 1}, ledger={"stored": 2}, registry={"agents": 3})


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A complete backup as the hub keeps it."""
    folder = tmp_path / "kept"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    files = archive.describe(folder)
    archive.write_manifest(folder, Manifest(format=1, made_by="a test", moment=5, contents=CONTENTS, files=files))
    return folder


@pytest.fixture
def packed(kept: Path, tmp_path: Path) -> Path:
    """The same as one file."""
    path = tmp_path / "backup.tar"
    path.write_bytes(b"".join(archive.stream(archive.read_manifest(kept), kept)))
    return path


def found(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_packed_comes_out_and_nobody_else_can_read_it(kept: Path, packed: Path, tmp_path: Path) -> None:
    assert packed.stat().st_size == archive.size(archive.read_manifest(kept), kept)
    for name, source in {"folder": kept, "file": packed}.items():
        target = tmp_path / name
        manifest = archive.unpack(source, target)
        assert manifest == archive.check(source) == archive.read_manifest(kept)
        assert found(target) == FILES
        assert all(path.stat().st_mode & 0o077 == 0 for path in target.rglob("*"))
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept.rglob("*") if path.is_file())


def test_any_tool_can_open_it(packed: Path) -> None:
    with tarfile.open(packed) as tar:
        assert tar.getnames() == [archive.MANIFEST, *sorted(FILES)]
        assert {member.mode for member in tar.getmembers()} == {0o600}


def test_a_changed_byte_anywhere_is_found(packed: Path) -> None:
    whole = packed.read_bytes()
    seed = random.Random(11)
    with tarfile.open(packed) as tar:
        inside = [(member.offset_data, member.size) for member in tar.getmembers() if member.size]
    places = [start + seed.randrange(size) for start, size in inside for _ in range(8)]
    told = 0
    for place in places:
        packed.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        with contextlib.suppress(BadBackup):
            # A letter or a digit of what the manifest tells besides may pass, a file never does.
            assert archive.check(packed).files == archive.describe(packed.parent / "kept")
            told += 1
    assert told < len(places) / 4


def test_an_archive_that_ends_too_soon_is_found(packed: Path) -> None:
    whole = packed.read_bytes()
    seed = random.Random(12)
    last = whole.rstrip(b"\0")
    for length in [0, 1, 511, 512, 1024, *(seed.randrange(len(last)) for _ in range(30))]:
        packed.write_bytes(whole[:length])
        with pytest.raises(BadBackup):
            archive.check(packed)


@pytest.mark.parametrize("content", [b"", b"no tar", b"\0" * 10_240, b"\x1f\x8b" + b"x" * 2_000])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "backup.tar"
    path.write_bytes(content)
    with pytest.raises(BadBackup, match=r"^[^\n]*backup.tar is (damaged or )?no backup"):
        archive.check(path)


def test_a_kept_backup_without_a_file_is_refused(kept: Path) -> None:
    (kept / "registry.sqlite").unlink()
    with pytest.raises(BadBackup, match=r"registry\.sqlite is missing"):
        archive.check(kept)


def written(path: Path, manifest: Manifest, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w") as tar:
        for member, content in [(tarfile.TarInfo(archive.MANIFEST), manifest.model_dump_json().encode()), *members]:
            member.size = len(content) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(content))
    return path


def a_link(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    return member


@pytest.mark.parametrize("name", ["/tmp/out", "../out", "keys/../../out", "manifest.json", "a\\..\\out", ""])
def test_no_file_is_written_outside_of_the_folder(name: str, tmp_path: Path) -> None:
    file = File(name=name, bytes=1, sha256=hashlib.sha256(b"x").hexdigest())
    manifest = Manifest(format=1, made_by="a stranger", moment=0, contents=CONTENTS, files=[file])
    path = written(tmp_path / "evil.tar", manifest, [(tarfile.TarInfo(name), b"x")])
    with pytest.raises(BadBackup, match="outside"):
        archive.unpack(path, tmp_path / "inner" / "data")
    assert {one.name for one in tmp_path.rglob("*")} <= {"evil.tar", "inner"}


@pytest.mark.parametrize("make", [a_link, tarfile.TarInfo])
def test_only_the_files_that_the_manifest_names_are_taken(
    make: Callable[[str], tarfile.TarInfo], tmp_path: Path
) -> None:
    file = File(name="file", bytes=1, sha256=hashlib.sha256(b"x").hexdigest())
    manifest = Manifest(format=1, made_by="a stranger", moment=0, contents=CONTENTS, files=[file])
    other = make("file" if make is a_link else "other")
    path = written(tmp_path / "evil.tar", manifest, [(other, b"x")])
    with pytest.raises(BadBackup, match="file is missing"):
        archive.unpack(path, tmp_path / "data")


def test_another_format_is_refused_by_the_version_that_wrote_it(kept: Path) -> None:
    manifest = archive.read_manifest(kept).model_copy(update={"format": 2, "made_by": "Lamplighter 9.0"})
    archive.write_manifest(kept, manifest)
    with pytest.raises(BadBackup, match=r"format 2, .* use Lamplighter 9\.0"):
        archive.check(kept)
