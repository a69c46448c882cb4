"""Telegraf's mqtt_consumer and an InfluxDB 2 behind it, on the broker that the hub was measured on."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import httpx

from bench.flood import FORMS
from bench.frame import cpu_s
from lamplighter_protocols import topics
from services.influx import ORG, Influxd, influxd
from services.need import find, lack
from services.process import Child, Children
from services.wait import eventually

PROGRAMS = ("telegraf", "influxd")
USERS = {form: f"telegraf-{form}" for form in FORMS}
"""Each form has a session of its own: a broker keeps for a session what it did not take, in the form that it had."""
BUCKET = "peer"
OFFERED = {1: 80_000, 10: 32_000, 60: 8_000}
"""Messages a second to Telegraf for each size: more than it takes, few enough that sending leaves it the machine."""


class Counted(NamedTuple):
    """What was used and stored so far: lines of line protocol, and seconds of processor."""

    at: float
    lines: int
    telegraf: float
    influxd: float


@dataclass(frozen=True)
class Peer:
    """Both programs while they run."""

    telegraf: Child
    server: Influxd

    def count(self) -> Counted:
        """Look at both."""
        assert self.server.child is not None
        assert self.telegraf.running, f"telegraf ended: {self.telegraf.said()[-2000:]}"
        used = cpu_s(self.telegraf.pid), cpu_s(self.server.child.pid)
        return Counted(time.monotonic(), stored_lines(httpx.get(f"{self.server.url}/metrics", timeout=30).text), *used)


class PeerTaken(NamedTuple):
    """What Telegraf and InfluxDB did in one run: points a second, and seconds of processor a point of each."""

    rate: float
    telegraf: float
    influxd: float
    offered: float

    @property
    def cpu(self) -> float:
        return self.telegraf + self.influxd


def lacking() -> str:
    """Say what is missing for this measurement; empty when both programs are there."""
    return "; ".join(lack(program) for program in PROGRAMS if find(program) is None)


def taken(before: Counted, after: Counted, points_a_line: float, offered: float) -> PeerTaken:
    """Return what was taken between two looks. `offered` is points a second."""
    points = (after.lines - before.lines) * points_a_line
    telegraf, server = after.telegraf - before.telegraf, after.influxd - before.influxd
    return PeerTaken(points / (after.at - before.at), telegraf / points, server / points, offered)


def stored_lines(metrics: str) -> int:
    """Return from InfluxDB's own metrics how many lines it has written: in its log, and ready to be asked for."""
    found = re.search(r"^storage_writer_ok_points_sum\{[^}]*\} (\S+)$", metrics, re.MULTILINE)
    return round(float(found[1])) if found else 0


@contextmanager
def running(folder: Path, broker: str, user: str, password: str) -> Iterator[Peer]:
    """Run both for as long as the block, with a new store. `broker` is HOST:PORT."""
    with influxd(folder / "influx") as server:
        children = Children(folder)
        configuration = folder / "telegraf.conf"
        configuration.write_text(conf(broker, user, password, server.url, server.token, server.make_bucket(BUCKET)))
        program = find("telegraf")
        assert program, lacking()
        try:
            telegraf = children.start([program, "--config", configuration])
            eventually(lambda: "Connected" in telegraf.said() or not telegraf.running, within_s=20)
            yield Peer(telegraf, server)
        finally:
            children.end()


def conf(broker: str, user: str, password: str, url: str, token: str, bucket: str) -> str:
    """Return a configuration that acknowledges a message once InfluxDB has written it: Telegraf's own defaults, but for
    sizes that would hold it back, and for the name of the machine in every line."""
    return f"""
[agent]
interval = "1s"
flush_interval = "200ms"
metric_batch_size = 10000
metric_buffer_limit = 200000
omit_hostname = true

[[inputs.mqtt_consumer]]
servers = ["tcp://{broker}"]
topics = ["{topics.hub_filter()}"]
qos = 1
persistent_session = true
client_id = "{user}"
username = "{user}"
password = {json.dumps(password)}
max_undelivered_messages = 20000
data_format = "influx"
influx_timestamp_precision = "1ms"

[[outputs.influxdb_v2]]
urls = ["{url}"]
token = "{token}"
organization = "{ORG}"
bucket = "{bucket}"
"""
