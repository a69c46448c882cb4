"""What the guide says of an InfluxDB whose disk was full: started twice before anybody writes, it loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chaos.machine import SmallDisk
from services.influx import ORG, Influxd, influxd

pytestmark = pytest.mark.services

POINTS = 200
PAD = "y" * 300
FIRST_MS = 1_792_148_550_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    made = SmallDisk(tmp_path / "influxd", 128)
    if not made.real:
        pytest.skip("needs root: a disk of its own")
    yield made
    made.close()


def confirmed(server: Influxd, blob: int) -> int:
    """Write a blob of points; return how many are confirmed."""
    lines = (f'm v={n},pad="{PAD}" {(FIRST_MS + blob * 1000 + n) * 1_000_000}' for n in range(POINTS))
    asked = {"org": ORG, "bucket": "b", "precision": "ns"}
    answer = server.call("POST", "write", params=asked, content="\n".join(lines))
    return POINTS if answer.status_code == httpx.codes.NO_CONTENT else 0


def stored(server: Influxd) -> int:
    asked = {"db": "b", "q": "select count(v) from m"}
    headers = {"Authorization": f"Token {server.token}"}
    answer = httpx.post(f"{server.url}/query", params=asked, headers=headers, timeout=30)
    series: list[dict[str, Any]] = answer.json()["results"][0].get("series", [])
    return int(series[0]["values"][0][1]) if series else 0


def test_started_twice_it_keeps_what_it_confirms_after_its_disk_was_full(disk: SmallDisk) -> None:
    with influxd(disk.folder) as server:
        server.make_bucket("b")
        points = sum(confirmed(server, blob) for blob in range(20))
        disk.fill()
        assert not sum(confirmed(server, blob) for blob in range(20, 24))
        disk.drain()
        for _start in range(2):
            server.kill()
            server.start()
        points += sum(confirmed(server, blob) for blob in range(100, 120))
        assert points == 40 * POINTS
        server.kill()
        server.start()
        assert stored(server) == points
