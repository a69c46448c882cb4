"""The stores of a grown hub, InfluxDB and PostgreSQL, each behind a line that can be cut and slowed."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chaos.machine import SmallDisk
from chaos.proxy import Proxy
from chaos.wire import Pieces
from services.influx import Influxd, influxd
from services.postgres import Postgres, postgres

STORE: Final = "store"
REGISTRY: Final = "registry"
BUCKET: Final = "street"
STORE_DISK_MIB: Final = 512
REGISTRY_DISK_MIB: Final = 256


@dataclass
class Stores:
    """Both servers; `options` are what the hub is started with. The lines are the world's, by name."""

    influx: Influxd
    postgres: Postgres
    database: str
    lines: dict[str, Proxy]
    disks: dict[str, SmallDisk]
    options: tuple[str, ...]


def grown(stack: contextlib.ExitStack, folder: Path, seed: int) -> Stores:
    """Start both; they end with the stack."""
    # Not below the run's folder: root's folders are closed to the user that PostgreSQL runs as.
    elsewhere = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lamplighter-registry-")))
    disks = {STORE: SmallDisk(folder / "influxd", STORE_DISK_MIB), REGISTRY: SmallDisk(elsewhere, REGISTRY_DISK_MIB)}
    for disk in disks.values():
        stack.callback(disk.close)
    influx = stack.enter_context(influxd(folder / "influxd"))
    server = stack.enter_context(postgres(elsewhere))
    lines = {STORE: Proxy(influx.port, _nobody, seed, Pieces), REGISTRY: Proxy(server.port, _nobody, seed, Pieces)}
    for line in lines.values():
        stack.callback(line.close)
    influx.make_bucket(BUCKET)
    secret = folder / "series-token"
    secret.touch(0o600)
    secret.write_text(influx.token_for(BUCKET))
    database = server.create()
    options = (
        "--series-url",
        influx.series_url(BUCKET).replace(f":{influx.port}", f":{lines[STORE].port}"),
        "--series-token-file",
        str(secret),
        "--registry-url",
        server.url(database).replace(f":{server.port}/", f":{lines[REGISTRY].port}/"),
    )
    return Stores(influx, server, database, lines, disks, options)


def _nobody(_batch: object) -> None:
    return
