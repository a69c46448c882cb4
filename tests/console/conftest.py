"""A filled street for all tests of pages, and browsers for those that need one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from console.rig import Street, fill, street
from lamplighter_hub.access.roles import Role
from lamplighter_hub.console.assets import Assets, AssetsMissing
from services import need


@pytest.fixture(scope="session", autouse=True)
def _assets() -> None:
    """Pages need the files that the build brings."""
    try:
        Assets()
    except AssetsMissing as error:
        need.missing(str(error))


@pytest.fixture
def empty_street(tmp_path: Path) -> Iterator[Street]:
    """A hub that was just started."""
    with street(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """A filled street that tests only read."""
    with street(tmp_path_factory.mktemp("city")) as made:
        fill(made)
        yield made


def sign_in(made: Street, role: Role = Role.ADMINISTRATOR, language: str = "en") -> httpx.Client:
    """Return a client that is signed in as `role` and prefers a language."""
    client = made.visit()
    answer = client.post("/sign-in", data={"code": made.link(role).rsplit("=", 1)[-1]})
    assert answer.status_code == 303, answer.text
    client.post("/preferences", data={"language": language})
    return client


def csrf(client: httpx.Client) -> dict[str, str]:
    """Return the headers with which the page's own scripts send a form."""
    return {"X-CSRF-Token": client.get("/api/v1/sessions/current").json()["csrf"], "HX-Request": "true"}
