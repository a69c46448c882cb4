"""The whole of Lamplighter as processes: hub with its broker and store, agents, devices.

Every test here runs twice: with the hub's own nats-server, and with Mosquitto under the generated configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.brokers import BrokerKind, brokered_hub
from services.hub import Hub
from services.process import Children


@pytest.fixture(params=[BrokerKind.NATS, BrokerKind.MOSQUITTO])
def broker_kind(request: pytest.FixtureRequest) -> BrokerKind:
    """Which broker the test runs on."""
    kind: BrokerKind = request.param
    return kind


@pytest.fixture
def hub(broker_kind: BrokerKind, tmp_path: Path, children: Children) -> Iterator[Hub]:
    """A hub that serves."""
    with brokered_hub(broker_kind, tmp_path, children) as started:
        yield started
