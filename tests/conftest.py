"""What every test may ask for; plain helpers live in `services/` (`from services.wait import eventually`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services import need, ports, process

KEPT = frozenset({"LAMPLIGHTER_DATA"})


@pytest.fixture(scope="session", autouse=True)
def _nobodys_settings() -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in [name for name in os.environ if name.startswith("LAMPLIGHTER_") and name not in KEPT]:
        del os.environ[name]


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A function that returns a free loopback port each time it is called."""
    return ports.free_port


@pytest.fixture
def children(tmp_path: Path) -> Iterator[process.Children]:
    """Starts programs, and ends them and their groups after the test."""
    folder = tmp_path / "output"
    folder.mkdir()
    started = process.Children(folder)
    yield started
    started.end()


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real recordings; the test is skipped without it, and fails without it in CI."""
    return need.recordings()
