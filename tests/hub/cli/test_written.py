"""Where the command line writes what may be long: a file that is whole or not there, a pipe as it is."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lamplighter_hub.cli.client import Failed
from lamplighter_hub.cli.data import to_file


def test_a_pipe_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    assert to_file(iter([b"a,b\n", b"1,2\n"]), pipe) == 8
    reader.join(10)
    assert read == [b"a,b\n1,2\n"]
    assert pipe.is_fifo()


def test_a_full_device_is_said(tmp_path: Path) -> None:
    link = tmp_path / "full"
    link.symlink_to("/dev/full")
    with pytest.raises(Failed, match="full cannot be written: No space left"):
        to_file(iter([b"a,b\n"]), link)
    assert link.is_char_device()


def test_a_link_goes_on_pointing_to_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "latest.csv"
    link.symlink_to(tmp_path / "disk" / "today.csv")
    assert to_file(iter([b"1"]), link) == 1
    assert link.is_symlink()
    assert (tmp_path / "disk" / "today.csv").read_bytes() == b"1"
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["today.csv"]


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("before")
    with pytest.raises(ZeroDivisionError):
        to_file((b"1" if left else bytes(1 // left) for left in (1, 0)), tmp_path / "a.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "before"
