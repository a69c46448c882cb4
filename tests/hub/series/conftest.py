from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.influx import Influxd, influxd


@pytest.fixture(scope="session")
def influx_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Influxd]:
    """One server for all tests that do not kill it."""
    with influxd(tmp_path_factory.mktemp("influxd")) as server:
        yield server
