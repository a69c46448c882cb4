"""A running hub carries no module that it does not need: it would keep it for as long as it runs."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from services.hub import Hub, plain
from services.process import Children
from services.wait import eventually

UNNEEDED = {
    "alembic": "changes tables of an earlier version",
    "cryptography": "libsodium signs, which the broker's callout needs anyway",
    "httpx": "the command line asks a hub with it",
    "influxdb_client": "for a hub that keeps its series in InfluxDB",
    "lamplighter_agent": "another program",
    "lamplighter_firmware_sim": "another program",
    "lamplighter_hub.cli.client_commands": "the command line but for `up`",
    "lamplighter_hub.series.influx": "for a hub that keeps its series in InfluxDB",
    "numpy.ma": "nobody asks NumPy for masked arrays",
    "numpy.random": "nobody asks NumPy for random numbers",
    "numpy.testing": "for tests",
    "pandas": "DuckDB would hand results over to it",
    "polars": "DuckDB would hand results over to it",
    "prometheus_client": "for who scrapes the hub",
    "psycopg": "for a hub that keeps its registry in PostgreSQL",
    "pyarrow": "DuckDB would hand results over to it",
    "pytest": "for tests",
    "rich": "the command line shows with it",
    "sqlalchemy.dialects.postgresql": "for a hub that keeps its registry in PostgreSQL",
    "unittest": "for tests",
}
"""Modules, and when they are needed instead."""
_LOADED = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)

pytestmark = pytest.mark.services


def test_a_hub_loads_no_module_that_it_may_never_need(
    tmp_path: Path, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    hub = Hub(tmp_path / "data", children)
    for store in ("an empty one", "the same again"):
        found = loaded_by(hub.start())
        assert {"duckdb", "fastapi", "lamplighter_hub.cli.up", "sqlalchemy.orm"} <= found
        assert not found & UNNEEDED.keys(), f"with {store} as its store"
        hub.running.stop()


def test_metrics_bring_what_they_need(tmp_path: Path, children: Children, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    hub = Hub(tmp_path / "data", children).start()
    assert "lamplighter_agents{" in httpx.get(f"{hub.url}/metrics", timeout=20, verify=plain()).text
    assert loaded_by(hub) & UNNEEDED.keys() == {"prometheus_client"}


def loaded_by(hub: Hub) -> set[str]:
    """Return the modules that a hub has loaded once all of it is at work."""
    eventually(lambda: hub.get("status")["parts"]["uplink"]["connected"], within_s=20)
    return set(_LOADED.findall(hub.running.said()))
