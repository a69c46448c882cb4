from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lamplighter_hub.series.store import TimeSeries
from services.influx import Influxd, influxd
from suites.series.stores import SERVER, STORES, Open


@pytest.fixture(scope="session")
def influx_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    with influxd(tmp_path_factory.mktemp("influxd")) as server:
        yield server


@pytest.fixture(params=sorted(STORES))
def store_name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    if name == "influx":
        monkeypatch.setenv(SERVER, request.getfixturevalue("influx_server").environment)
    return name


@pytest.fixture
def open_store(store_name: str) -> Open:
    return STORES[store_name]


@pytest.fixture
def store(open_store: Open, tmp_path: Path) -> Iterator[TimeSeries]:
    opened = open_store(tmp_path)
    yield opened
    opened.close()
