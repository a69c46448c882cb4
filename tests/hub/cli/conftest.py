"""A real hub for the command line to talk to, and a device that it can talk about."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hub.cli.foreign import Foreign
from hub.cli.program import Program
from services.hub import Hub
from services.process import Children
from services.wait import eventually


@pytest.fixture(scope="module")
def real_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub as an operator starts it."""
    folder = tmp_path_factory.mktemp("hub")
    children = Children(folder)
    yield Hub(folder / "data", children).start()
    children.end()


@pytest.fixture(scope="module")
def lamplighter(real_hub: Hub) -> Program:
    """The command line beside that hub: its folder is all it needs."""
    return Program(real_hub.data.parent)


@pytest.fixture(scope="module")
def foreign(lamplighter: Program) -> Iterator[Foreign]:
    """A device that speaks MQTT itself, known to the hub."""
    made = lamplighter("agents", "create", "pole-1", "--json").json
    device = Foreign("pole-1", made["items"][0]["password"], made["mqtt_url"])
    device.start()
    eventually(lambda: len(lamplighter("devices", "--json").json) == 2, within_s=20)
    yield device
    device.stop()
