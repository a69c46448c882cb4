"""Backup and restore on the command line: what is made, what is refused, and that no password is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.cli.foreign import Foreign
from hub.cli.program import Program
from lamplighter_hub.backup import archive
from services.hub import Hub

pytestmark = pytest.mark.services


def test_a_backup_is_made_where_one_says_and_restored(
    real_hub: Hub, lamplighter: Program, foreign: Foreign, tmp_path: Path
) -> None:
    made = lamplighter("backup", str(tmp_path), "--json").json
    file = Path(made["file"])
    assert file.parent == tmp_path
    assert file.stat().st_mode & 0o777 == 0o600
    assert made["registry"]["devices"] == len(foreign.devices)
    again = lamplighter("backup", str(file))
    assert (again.code, "there already" in again.error) == (1, True)
    assert [path.name for path in (real_hub.data / "backups").iterdir()] == []

    (tmp_path / "full.tar.part").mkdir()
    failed = lamplighter("backup", str(tmp_path / "full.tar"))
    assert (failed.code, "full.tar cannot be written" in failed.error) == (1, True)
    assert [path.name for path in (real_hub.data / "backups").iterdir()] == [], "nobody would ever remove it"

    said = lamplighter("backup", str(tmp_path / "kept.tar"), "--keep")
    (kept,) = (real_hub.data / "backups").iterdir()
    assert said.code == 0
    assert f"backups/{kept.name}" in said.out
    assert archive.check(kept).files == archive.check(tmp_path / "kept.tar").files

    outside = Program(tmp_path)
    restored = outside("restore", str(file), "--data", "new", "--json").json
    assert restored["series"] == made["series"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["keys", "registry.sqlite", "series.duckdb"]
    said = outside("restore", str(kept), "--data", "new")
    assert (said.code, "not empty" in said.error) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("restore", "nothing.tar", "--data", "new"), "nothing.tar: No such file"),
        (("restore", "text.tar", "--data", "new"), "no backup"),
        (("restore", ".", "--data", "new"), ". is no backup: manifest.json in it"),
        (("restore", "text.tar", "--data", "new", "--registry-url", "mysql://me:s3cret@host/db"), "--registry-url"),
        (("up", "--data", "new", "--registry-url", "mysql://me:s3cret@host/db"), "--registry-url"),
        (("up", "--data", "new", "--registry-url", "postgresql://me:s3cret@127.0.0.1:1/db"), "does not answer"),
        (("up", "--data", "new", "--registry-url", "postgresql://me:s3cret@host:port/db"), "--registry-url"),
    ],
)
def test_what_cannot_be_done_is_one_line(arguments: tuple[str, ...], named: str, tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no archive")
    said = Program(tmp_path)(*arguments)
    assert said.code == 1
    assert named in said.error
    assert len(said.error.splitlines()) == 1
    assert "s3cret" not in said.out + said.error
    assert not (tmp_path / "new" / "keys").exists()


def test_only_administrators_make_backups(lamplighter: Program, real_hub: Hub, tmp_path: Path) -> None:
    made = lamplighter("token", "create", "night shift", "--role", "operator", "--expires", "1h", "--json").json
    said = lamplighter(
        "backup", str(tmp_path / "x.tar"), env={"LAMPLIGHTER_TOKEN": made["token"], "LAMPLIGHTER_URL": real_hub.url}
    )
    assert said.code == 1
    assert "administrator" in said.error
    assert not (tmp_path / "x.tar").exists()
