"""100,000 series in InfluxDB: what the newest values of all of them cost, at any time and just after a start."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from bench.frame import Figure, Setting
from bench.hours import asked
from lamplighter_hub.series.influx.lease import Owner
from lamplighter_hub.series.influx.store import InfluxSeries, open_influx
from lamplighter_hub.series.store import Commit
from lamplighter_protocols.quality import Samples
from services.influx import influxd
from services.wait import eventually

DEVICES: Final = 10_000
METRICS: Final = 10
TOGETHER: Final = 1_000
"""Devices in one commit."""
WARM_WITHIN_S: Final = 120.0


def influx(at: Setting) -> Iterator[Figure]:
    """Measure newest values in a bucket of a server of its own."""
    with influxd(at.folder / "influxd") as server:
        url, owner = server.series_url(server.make_bucket("bench")), Owner("bench", "bench")
        store = open_influx(url, server.token, owner)
        fill(store, turns=2)
        store.close()
        began = time.perf_counter()
        store = open_influx(url, server.token, owner)
        yield Figure("InfluxDB: opened", (time.perf_counter() - began) * 1000, "ms", note="takes data from here on")
        first = asked(lambda: len(store.latest([_device(7)])), 1)
        yield Figure("InfluxDB: newest values of one device, at once", first.first, "ms")
        began = time.perf_counter()
        _commit(store, 3, range(5_000, 6_000))
        yield Figure("InfluxDB: first commit, 10,000 series", (time.perf_counter() - began) * 1000, "ms")
        eventually(lambda: not store._warming.is_alive(), within_s=WARM_WITHIN_S)
        assert not store._newest.missing(range(DEVICES * METRICS))
        taken = (time.perf_counter() - began) * 1000
        yield Figure("InfluxDB: all newest values known", taken, "ms", note="in the background, while data is taken")
        names = [_device(number) for number in range(DEVICES)]
        warm = asked(lambda: sum(map(len, store.latest(names).values())))
        yield Figure("InfluxDB: newest values", warm.median, "ms", 500, note=f"{warm.found:,} series")
        store.close()


def _device(number: int) -> str:
    return f"air-{number}"


def fill(store: InfluxSeries, turns: int) -> None:
    """Put points of now into all series."""
    for turn in range(turns):
        for first in range(0, DEVICES, TOGETHER):
            _commit(store, turn, range(first, first + TOGETHER))


def _commit(store: InfluxSeries, turn: int, devices: range) -> None:
    t = time.time_ns() // 1_000_000 - 3_600_000 + turn * 1000
    store.commit(Commit([Samples(_device(n), f"m{m}", [t], [n / 8 + m]) for n in devices for m in range(METRICS)]))
