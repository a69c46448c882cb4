"""Which nats-server is chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from lamplighter_hub.broker import program
from lamplighter_hub.broker.program import BrokerFailed, find_server


def pretend(folder: Path, version: str) -> Path:
    path = folder / "nats-server"
    path.write_text(f"#!/bin/sh\necho 'nats-server: v{version}'\n")
    path.chmod(0o755)
    return path


def test_the_wheels_program_is_found_without_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_server()
    assert Path(found.path).name == "nats-server"
    assert int(found.version.split(".")[1]) >= 10


@pytest.mark.parametrize(
    ("version", "chosen"), [("2.10.0", True), ("3.0.1", True), ("2.9.25", False), ("1.4.1", False)]
)
def test_one_on_path_is_preferred_when_it_is_new_enough(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    version: str,
    chosen: bool,  # noqa: FBT001
) -> None:
    path = pretend(tmp_path, version)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert (find_server().path == str(path)) is chosen


def test_a_program_that_does_not_answer_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "nats-server"
    path.write_text("#!/bin/sh\nexit 3\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert find_server().path != str(path)


def test_without_any_there_is_one_line_that_helps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(program, "DISTRIBUTION", "no-such-distribution")
    with pytest.raises(BrokerFailed, match="--mqtt-url"):
        find_server()
