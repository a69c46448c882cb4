"""What every test may ask for; plain helpers live in `services/` (`from services.wait import eventually`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from services import need, ports, process

if TYPE_CHECKING:  # the agent's tests run where there is no hub
    from services.postgres import Postgres

KEPT = frozenset({"LAMPLIGHTER_DATA"})
LONG = ("suites", "architecture", "e2e")
"""Folders of the files that take longest: they come first, or all would wait for the last one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first; within a folder the order stays."""
    items.sort(key=lambda item: next((LONG.index(part) for part in item.path.parts if part in LONG), len(LONG)))


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


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A PostgreSQL of this test run."""
    from services.postgres import postgres

    with postgres() as started:
        yield started


@pytest.fixture(scope="session")
def postgres_template(postgres_server: Postgres) -> str:
    """The name of a database with an empty registry, to be copied."""
    from lamplighter_hub.registry.database import Database

    name = postgres_server.create()
    database = Database(postgres_server.url(name))
    database.upgrade()
    database.close()
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
def registry_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty registry: the test runs on SQLite in its data folder ("") and on PostgreSQL."""
    if request.param == "sqlite":
        return ""
    template: str = request.getfixturevalue("postgres_template")
    server: Postgres = request.getfixturevalue("postgres_server")
    return server.url(server.create(template))
