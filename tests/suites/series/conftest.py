from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lamplighter_hub.series.store import TimeSeries
from suites.series.stores import STORES, Open


@pytest.fixture(params=sorted(STORES))
def store_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def open_store(store_name: str) -> Open:
    return STORES[store_name]


@pytest.fixture
def store(open_store: Open, tmp_path: Path) -> Iterator[TimeSeries]:
    opened = open_store(tmp_path)
    yield opened
    opened.close()
