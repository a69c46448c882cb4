"""The profile in the guide is one, and its example is true."""

from __future__ import annotations

import re
from pathlib import Path

from lamplighter_protocols.field.tail import LineCodec, Sample
from lamplighter_protocols.profile import parse_profile

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "profiles.md"


def test_the_profile_of_the_guide() -> None:
    (text,) = re.findall(r"```toml\n(id = .*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    profile = parse_profile(text)
    (example,) = profile.examples
    assert profile.tail is not None
    sample = LineCodec(profile.tail, profile.metrics, example.header).feed(example.line)
    assert isinstance(sample, Sample)
    assert (sample.t, sample.values) == (example.t, example.readings)
