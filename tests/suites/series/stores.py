"""The series stores that the contract suite is run against, and how each is opened on a folder.

A folder stands for one store: opened again it holds what it held. A store with a server keeps a bucket for each.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from lamplighter_hub.series.duckdb import Rules, open_duckdb
from lamplighter_hub.series.store import TimeSeries
from services.influx import Influxd
from suites.series.sealed import open_eager

Open = Callable[[Path], TimeSeries]
SERVER = "LAMPLIGHTER_TEST_INFLUX"
"""How a test's child process finds the server."""


def _duckdb(folder: Path) -> TimeSeries:
    return open_duckdb(folder, rules=Rules(share=1.0))


def influx_bucket(server: Influxd, folder: Path) -> str:
    """Return the bucket that stands for a folder, made the first time."""
    name = "lamps-" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    note = folder / "bucket"
    if not note.exists():
        server.make_bucket(name)
        note.write_text(name)
    return name


def _influx(folder: Path) -> TimeSeries:
    from lamplighter_hub.series.influx.lease import Owner
    from lamplighter_hub.series.influx.store import Limits, open_influx

    server, owner = Influxd.from_environment(os.environ[SERVER]), Owner("tests", "tests")
    return open_influx(server.series_url(influx_bucket(server, folder)), server.token, owner, Limits(share=1.0))


STORES: dict[str, Open] = {"duckdb": _duckdb, "duckdb-eager": open_eager, "influx": _influx}
