"""Every profile carries raw input as its device gives it, and what must become of it: here they run."""

from __future__ import annotations

from typing import Any

import pytest

from lamplighter_protocols import checks
from lamplighter_protocols.field.modbus import decode
from lamplighter_protocols.field.tail import LineCodec, Sample
from lamplighter_protocols.profile import Example, Metric, Profile, load_profiles
from lamplighter_protocols.quality import check_record
from lamplighter_protocols.readings import Reading, columnar

PROFILES = load_profiles()
EXAMPLES = [
    pytest.param(profile, example, id=f"{profile.id}: {example.title}")
    for profile in PROFILES.values()
    for example in profile.examples
]


@pytest.mark.parametrize(("profile", "example"), EXAMPLES)
def test_example_becomes_what_the_profile_says(profile: Profile, example: Example) -> None:
    if example.modbus:
        check_registers(profile, example)
    if example.line:
        check_line(profile, example)
    if profile.simulated and example.readings:
        check_quality(profile, example)
    if example.values:
        check_flags(profile, example)
    assert example.modbus or example.line or example.values or profile.simulated


def check_quality(profile: Profile, example: Example) -> None:
    columns, refused = check_record(
        profile, columnar("d", [Reading("d", n, 0, v) for n, v in example.readings.items()])
    )
    assert refused == []
    assert {column.metric: column.qualities[0] for column in columns if column.qualities} == example.quality


def check_flags(profile: Profile, example: Example) -> None:
    step, plan = example.step_s, checks.plan(profile)
    assert step is not None
    assert plan is not None
    points = [
        Reading("d", name, round(n * step * 1000), value)
        for name, column in example.values.items()
        for n, value in enumerate(column)
    ]
    columns, refused = check_record(profile, columnar("d", points))
    assert refused == []
    found = checks.check_columns(plan, checks.beginning(plan), columns)
    wanted = {name: [flag or None for flag in flags] for name, flags in example.flags.items()}
    assert {column.metric: column.qualities for column in found if column.qualities} == wanted


def test_a_profile_that_asks_for_checks_shows_them() -> None:
    shown = {profile.id for profile in PROFILES.values() if any(example.values for example in profile.examples)}
    asking = {profile.id for profile in PROFILES.values() if profile.checks or any(map(_flags, _metrics(profile)))}
    assert asking == shown


def _metrics(profile: Profile) -> list[Metric]:
    return list(profile.metrics.values())


def _flags(metric: Metric) -> bool:
    return any((metric.max_rate, metric.spike, metric.stuck_after_s))


def check_registers(profile: Profile, example: Example) -> None:
    assert profile.modbus is not None
    raw = {(table, int(at)): word for table, words in example.modbus.items() for at, word in words.items()}
    values, quality = decode(profile.modbus, raw)
    assert typed(values) == typed(example.readings)
    assert quality == example.quality


def check_line(profile: Profile, example: Example) -> None:
    assert profile.tail is not None
    sample = LineCodec(profile.tail, profile.metrics, example.header).feed(example.line)
    assert isinstance(sample, Sample), sample
    assert sample.t == example.t
    assert typed(sample.values) == typed(example.event if profile.tail.event else example.readings)
    assert sample.quality == example.quality
    assert sample.event == profile.tail.event


def typed(values: dict[str, Any]) -> dict[str, tuple[type, Any]]:
    """True is not 1.0 here."""
    return {name: (type(value), value) for name, value in values.items()}


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_profile_speaks_both_languages(profile: Profile) -> None:
    titles = [profile.title, *(metric.title for metric in profile.metrics.values())]
    titles += [*(event.title for event in profile.events.values())]
    titles += [*(field.title for field in profile.configuration.values())]
    for command in profile.commands.values():
        titles += [command.title, command.effect, *(arg.title for arg in command.args.values())]
    assert all(title.get("zh") and title.get("en") for title in titles)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_profile_has_examples_and_something_for_the_chart(profile: Profile) -> None:
    if profile.modbus or profile.tail:
        assert profile.examples
    if profile.metrics:
        assert any(metric.primary for metric in profile.metrics.values())
