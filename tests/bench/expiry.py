"""What it costs to let one class of metric go: `PYTHONPATH=tests python -m bench.expiry`.

DuckDB: an hour of 4 million points of 4,000 series in one file, of which every second series goes. InfluxDB: a day at
1 Hz of 20 series, which is one step of a pass; and the day of 50 devices among 10,000 of ten series each, which costs
what deletions cost.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.influx import METRICS, fill
from lamplighter_hub.series.ages import Ages, Policy
from lamplighter_hub.series.duckdb import Rules, open_duckdb
from lamplighter_hub.series.influx.lease import Owner
from lamplighter_hub.series.influx.store import Limits, open_influx
from lamplighter_hub.series.store import Commit
from lamplighter_protocols.profile import Retention
from lamplighter_protocols.quality import Samples
from services.influx import influxd

HOUR, DAY = 3_600_000, 86_400_000
FIRST = 1_735_689_600_000
POLICY = Policy({Retention.SHORT: Ages(raw=1)}, lambda _, metric: Retention(metric), lambda _, __: Retention.STANDARD)


def columns(devices: int, points: int, step_ms: int, *metrics: str) -> list[Samples]:
    dice = np.random.default_rng(1)
    times = [FIRST + i * step_ms for i in range(points)]
    walks = dice.normal(0, 0.1, (devices * len(metrics), points)).cumsum(axis=1).round(2)
    names = [(f"air-{number}", metric) for number in range(devices) for metric in metrics]
    return [Samples(*name, times, walk.tolist()) for name, walk in zip(names, walks, strict=True)]


def timed(what: str, work: Callable[[], None]) -> None:
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = after.ru_maxrss // 1024
    print(f"{what}: {time.perf_counter() - began:.2f} s, {cpu:.2f} CPU-s here, peak {peak} MB")


def embedded(folder: Path) -> None:
    store = open_duckdb(folder, rules=Rules(share=1.0))
    for place in range(4):
        whole = columns(2_000, 1_000, 3_600, "short", "standard")
        part = [samples._replace(times=samples.times[place * 250 : (place + 1) * 250]) for samples in whole]
        part = [one._replace(values=one.values[place * 250 : (place + 1) * 250]) for one in part]
        store.commit(Commit(part))
    timed("DuckDB, 4 M points sealed", lambda: print(store.seal()))
    timed("DuckDB, half of its series let go", lambda: store.expire(POLICY, FIRST + 3 * DAY))
    timed("DuckDB, nothing to do", lambda: store.expire(POLICY, FIRST + 3 * DAY))
    store.close()


def influx(folder: Path) -> None:
    with influxd(folder) as server:
        owner = Owner("bench", "bench")
        store = open_influx(server.series_url(server.make_bucket("bench")), server.token, owner, Limits(share=1.0))
        for one in columns(20, 86_400, 1_000, "short"):
            store.commit(Commit([one]))
        timed("InfluxDB, a day at 1 Hz of 20 series", lambda: store.expire(POLICY, FIRST + 3 * DAY))
        timed("InfluxDB, nothing to do", lambda: store.expire(POLICY, FIRST + 3 * DAY))
        store.close()
        store = open_influx(server.series_url(server.make_bucket("many")), server.token, owner, Limits(share=1.0))
        fill(store, turns=2)
        going = {f"air-{number}" for number in range(50)}
        few = Policy({Retention.SHORT: Ages(raw=1)}, lambda device, _: _class(device, going), _standard)
        later = time.time_ns() // 1_000_000 + 3 * DAY
        timed(f"InfluxDB, a day of {len(going) * METRICS} of 100,000 series", lambda: store.expire(few, later))
        store.close()


def _class(device: str, going: set[str]) -> Retention:
    return Retention.SHORT if device in going else Retention.STANDARD


def _standard(_device: str, _name: str) -> Retention:
    return Retention.STANDARD


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        (Path(made) / "duckdb").mkdir()
        (Path(made) / "influxd").mkdir()
        embedded(Path(made) / "duckdb")
        influx(Path(made) / "influxd")
