"""Writes to InfluxDB whose client is gone at once: what can be read, and what of it after kill -9 and a new start.

PYTHONPATH=tests .venv/bin/python tests/hub/series/bench_memory_only.py
"""

from __future__ import annotations

import random
import socket
import struct
import tempfile
import time
from pathlib import Path
from typing import Final

from services.influx import ORG, Influxd, influxd

WRITES: Final = 4_000
BUCKET: Final = "lamps"
LONGEST_S: Final = 0.003
SETTLES_S: Final = 1.0
NOTHING: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: the connection is reset when it is closed."""
QUERY: Final = f'from(bucket: "{BUCKET}") |> range(start: 0) |> keep(columns: ["_value"])'


def send(server: Influxd, number: int, stays_s: float) -> None:
    """Ask for one point to be written, and be gone after so long."""
    body = f"m v={number}i {number}\n"
    head = f"POST /api/v2/write?org={ORG}&bucket={BUCKET} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NOTHING)
        stream.sendall(f"{head}Authorization: Token {server.token}\r\n\r\n{body}".encode())
        time.sleep(stays_s)


def read(server: Influxd) -> set[int]:
    """Return what can be read."""
    answer = server.call("POST", "query", params={"org": ORG}, json={"type": "flux", "query": QUERY})
    return {int(line.rpartition(",")[2]) for line in answer.text.split() if line.startswith(",_result")}


def main() -> None:
    """Print the three numbers."""
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as folder, influxd(Path(folder) / "influxd") as server:
        server.make_bucket(BUCKET)
        for number in range(WRITES):
            send(server, number, chance.uniform(0, LONGEST_S))
        time.sleep(SETTLES_S)
        before = read(server)
        server.kill()
        server.start()
        after = read(server)
    print(f"sent {WRITES}, read {len(before)}, of these gone after kill -9 and a start: {len(before - after)}")


if __name__ == "__main__":
    main()
