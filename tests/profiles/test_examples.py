"""Every profile carries raw input as its device gives it, and what must become of it: here they run."""

from __future__ import annotations

from typing import Any

import pytest

from lamplighter_protocols.field.modbus import decode
from lamplighter_protocols.field.tail import LineCodec, Sample
from lamplighter_protocols.profile import Example, Profile, load_profiles
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
    if profile.simulated:
        check_quality(profile, example)
    assert example.modbus or example.line or profile.simulated


def check_quality(profile: Profile, example: Example) -> None:
    columns, refused = check_record(
        profile, columnar("d", [Reading("d", n, 0, v) for n, v in example.readings.items()])
    )
    assert refused == []
    assert {column.metric: column.qualities[0] for column in columns if column.qualities} == example.quality


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
