"""Children that the hub keeps alive."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from lamplighter_hub.processes import Supervised
from services.wait import eventually

SAYS = "import os, sys, time; print(*os.environ, flush=True); time.sleep(60)"


async def said_by_a_child(output: Path) -> str:
    child = Supervised("child", [sys.executable, "-c", SAYS], output)
    child.start()
    try:
        return await asyncio.to_thread(what_it_wrote, output)
    finally:
        await child.stop()


def what_it_wrote(output: Path) -> str:
    return eventually(lambda: output.read_text() if output.is_file() else "")


def test_a_child_is_not_told_the_secret_of_the_series_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMPLIGHTER_SERIES_TOKEN", "of-the-hub-alone")
    said = asyncio.run(said_by_a_child(tmp_path / "child.log"))
    assert "PATH" in said.split()
    assert "LAMPLIGHTER_SERIES_TOKEN" not in said
