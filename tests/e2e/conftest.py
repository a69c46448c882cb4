"""The whole of Lamplighter as processes: hub with its broker and store, agents, devices.

Every test here runs twice: with the hub's own nats-server, and with Mosquitto under the generated configuration. The
tests of one module share a hub on each broker; a test that breaks it has it started again for the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.proxy import Proxy
from services.brokers import BrokerKind, brokered_hub
from services.counting import add_profile
from services.hub import Hub
from services.process import Children


@pytest.fixture(scope="module", params=[BrokerKind.NATS, BrokerKind.MOSQUITTO])
def broker_kind(request: pytest.FixtureRequest) -> BrokerKind:
    """Which broker the test runs on."""
    kind: BrokerKind = request.param
    return kind


@pytest.fixture(scope="module")
def place(broker_kind: BrokerKind, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a module's tests share on one broker."""
    return tmp_path_factory.mktemp(broker_kind.name.lower())


@pytest.fixture(scope="module")
def lasting(place: Path) -> Iterator[Children]:
    """Starts programs that live as long as the module's hub."""
    folder = place / "output"
    folder.mkdir()
    started = Children(folder)
    yield started
    started.end()


@pytest.fixture(scope="module")
def shared_hub(broker_kind: BrokerKind, place: Path, lasting: Children) -> Iterator[Hub]:
    """The module's hub; tests ask for `hub`."""
    add_profile(place / "profiles")
    with brokered_hub(broker_kind, place, lasting) as started:
        yield started


@pytest.fixture
def hub(shared_hub: Hub) -> Hub:
    """A hub that serves."""
    return shared_hub if shared_hub.running.running else shared_hub.start()


@pytest.fixture
def fresh_hub(broker_kind: BrokerKind, tmp_path: Path, children: Children) -> Iterator[Hub]:
    """A hub of the test's own."""
    add_profile(tmp_path / "profiles")
    with brokered_hub(broker_kind, tmp_path, children) as started:
        yield started


@pytest.fixture
def line(fresh_hub: Hub) -> Iterator[Proxy]:
    """The link between an agent and the broker of `fresh_hub`."""
    proxy = Proxy(fresh_hub.mqtt_port, lambda _: None)
    yield proxy
    proxy.close()
