"""Every profile carries raw input as its device gives it, and what must become of it: here they run."""

from __future__ import annotations

import pytest
from lamplighter_protocols.field.modbus import decode
from lamplighter_protocols.profile import Example, Profile, load_profiles

PROFILES = load_profiles()
EXAMPLES = [
    pytest.param(profile, example, id=f"{profile.id}: {example.title}")
    for profile in PROFILES.values()
    for example in profile.examples
]


@pytest.mark.parametrize(("profile", "example"), EXAMPLES)
def test_example_becomes_what_the_profile_says(profile: Profile, example: Example) -> None:
    if example.modbus:
        assert profile.modbus is not None
        raw = {(table, int(at)): word for table, words in example.modbus.items() for at, word in words.items()}
        values, quality = decode(profile.modbus, raw)
        assert values == example.readings
        assert {name: type(value) for name, value in values.items()} == {
            name: type(value) for name, value in example.readings.items()
        }
        assert quality == example.quality
