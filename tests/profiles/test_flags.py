"""What the checks say of recordings of real devices: the counts known beforehand, and that no value changes."""

from __future__ import annotations

from collections import Counter

import pytest

from lamplighter_protocols import checks
from lamplighter_protocols.field.tail import Sample
from lamplighter_protocols.quality import Samples, check_record
from lamplighter_protocols.readings import Quality, Reading, columnar
from profiles.test_recordings import PROFILES, read


def flagged(profile_id: str, samples: list[Sample], together: int) -> Counter[tuple[str, str]]:
    """Count flags by metric and name, with so many lines of the file in one record."""
    profile = PROFILES[profile_id]
    plan = checks.plan(profile)
    assert plan is not None
    state = checks.beginning(plan)
    counts: Counter[tuple[str, str]] = Counter()
    for start in range(0, len(samples), together):
        points = [point for sample in samples[start : start + together] for point in _readings(sample)]
        columns, refused = check_record(profile, columnar("d", points))
        found = checks.check_columns(plan, state, columns)
        assert refused == []
        assert [_raw(column) for column in found] == [_raw(column) for column in columns]
        counts.update((column.metric, flag.value) for column in found for flag in column.qualities or () if flag)
    return counts


def _readings(sample: Sample) -> list[Reading]:
    names = sample.values.keys() | sample.quality.keys()
    return [
        Reading("d", name, sample.t, sample.values.get(name), sample.quality.get(name, Quality.GOOD)) for name in names
    ]


def _raw(column: Samples) -> tuple[object, ...]:
    return column.metric, column.times, column.values


def test_fine_particles_above_all_particles_in_beijing() -> None:
    """1,183 rows: counted with pandas from the same file."""
    samples = read("prsa-air", "air/prsa_Aotizhongxin.csv.gz")
    one, many = (flagged("prsa-air", samples, together) for together in (1, 500))
    assert one == many
    assert (one["pm25", "cross_field"], one["pm10", "cross_field"]) == (1_183, 1_183)


@pytest.mark.parametrize(
    ("profile", "name", "wanted"),
    [
        ("noise-log", "noise/laeq_1min.csv", {}),
        ("nab-machine", "machine/nab_machine_temperature_system_failure.csv", {}),
        ("trout-creek-logger", "water/trout_creek_Log00017.txt", {("rh", "sensor_fault"): 4}),
        ("pems-flow", "traffic/pems_lane1_flow_train.csv", {("flow", "gap"): 10}),
    ],
)
def test_flags_of_a_recording(profile: str, name: str, wanted: dict[tuple[str, str], int]) -> None:
    samples = read(profile, name)
    one, many = (flagged(profile, samples, together) for together in (1, 500))
    assert one == many
    assert one == wanted
