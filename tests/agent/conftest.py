"""An agent in a folder of its own, a broker, and a peer that speaks the wire contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.bench import Bench
from services.mosquitto import Mosquitto, mosquitto
from services.peer import Peer
from services.process import Children


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def peer(broker: Mosquitto) -> Iterator[Peer]:
    with Peer(broker.port) as running:
        yield running


@pytest.fixture
def bench(tmp_path: Path, peer: Peer, children: Children) -> Bench:
    return Bench(tmp_path, peer, children)
