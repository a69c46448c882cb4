"""Recordings of real devices, read through their profiles: every line, every value, the counts known beforehand."""

from __future__ import annotations

import gzip
import itertools
import os
from collections import Counter
from pathlib import Path

import pytest

from lamplighter_protocols.field.tail import LineCodec, Sample
from lamplighter_protocols.profile import load_profiles
from lamplighter_protocols.readings import Quality

DATA = Path(os.environ.get("LAMPLIGHTER_DATA", Path(__file__).parents[3] / "shared" / "data"))
PROFILES = load_profiles()


def read(profile_id: str, name: str) -> list[Sample]:
    """Every sample of a recording; a line that is refused fails the test."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the recording {name} is not here; say where recordings are with LAMPLIGHTER_DATA")
    raw = path.read_bytes()
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    profile = PROFILES[profile_id]
    assert profile.tail is not None
    codec = LineCodec(profile.tail, profile.metrics)
    results = [codec.feed(line) for line in text.splitlines()]
    assert [result for result in results if not isinstance(result, Sample | None)] == []
    return [result for result in results if isinstance(result, Sample)]


def column(samples: list[Sample], metric: str) -> list[float]:
    found = [sample.values[metric] for sample in samples if metric in sample.values]
    return [value for value in found if isinstance(value, float)]


def test_stream_gauge() -> None:
    samples = read("trout-creek-logger", "water/trout_creek_Log00017.txt")
    assert len(samples) == 15_780
    assert sum(len(sample.values) for sample in samples) == 15_780 * 8 - 4
    faults = [sample.quality for sample in samples if sample.quality]
    assert faults == [{"rh": Quality.SENSOR_FAULT}] * 4  # the file says NAN
    assert (samples[0].t, samples[-1].t) == (1_629_320_154_000, 1_634_054_109_000)
    assert {b.t - a.t for a, b in itertools.pairwise(samples)} <= set(range(299_000, 303_000, 1_000))
    spans = {"battery": (4.36, 4.79), "range": (266, 382), "temp_board": (1.49, 75.85)}
    for metric, span in spans.items():
        values = column(samples, metric)
        assert (min(values), max(values)) == span


def test_high_resolution_log() -> None:
    samples = read("signal-hires-log", "signal/odot_hires_1136.csv")
    assert len(samples) == 37_152
    counts = Counter((sample.t, *sorted(sample.values.items())) for sample in samples)
    assert sum(count - 1 for count in counts.values()) == 4
    codes = Counter(sample.values["code"] for sample in samples)
    assert (len(codes), codes[82], codes[81], codes[1]) == (45, 12_595, 12_350, 351)
    assert all(a.t <= b.t for a, b in itertools.pairwise(samples))


def test_air_station_with_its_true_gaps() -> None:
    samples = read("prsa-air", "air/prsa_Aotizhongxin.csv.gz")
    assert len(samples) == 35_064
    missing = {name: len(samples) - sum(name in sample.values for sample in samples) for name in samples[0].values}
    assert missing == {
        "pm25": 925,
        "pm10": 718,
        "so2": 935,
        "no2": 1023,
        "co": 1776,
        "o3": 1719,
        "temp": 20,
        "pressure": 20,
        "dew_point": 20,
        "rain": 20,
        "wind_direction": 81,
        "wind_speed": 14,
    }
    pm25 = column(samples, "pm25")
    assert (min(pm25), max(pm25), round(sum(pm25) / len(pm25), 2)) == (3, 898, 82.77)
    assert {b.t - a.t for a, b in itertools.pairwise(samples)} == {3_600_000}


def test_sound_levels() -> None:
    minutes = column(read("noise-log", "noise/laeq_1min.csv"), "laeq")
    assert (len(minutes), round(min(minutes), 2), round(max(minutes), 2)) == (16_470, 38.19, 68.85)
    assert len(read("noise-log", "noise/laeq_1s.csv.gz")) == 86_401


def test_loop_detector_and_machine() -> None:
    flow = column(read("pems-flow", "traffic/pems_lane1_flow_train.csv"), "flow")
    assert (len(flow), max(flow)) == (7_776, 197)
    samples = read("nab-machine", "machine/nab_machine_temperature_system_failure.csv")
    assert len(samples) == 22_695
    assert len(samples) - len({sample.t for sample in samples}) == 12
    assert sum(b.t < a.t for a, b in itertools.pairwise(samples)) == 1
