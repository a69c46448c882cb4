"""Topics: build and parse undo each other, and nothing else is a topic."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter_protocols.errors import BadTopic
from lamplighter_protocols.topics import Address, Channel, agent_filter, build, hub_filter, parse, sender

IDS = st.from_regex(r"[a-z0-9][a-z0-9-]{0,63}", fullmatch=True)
BAD_IDS = ["", "A", "-a", "a_b", "a" * 65, "a/b", "+", "#", "ä", "a\n", "\uff11", "a ", "a.b"]


@given(agent=IDS, channel=st.sampled_from(Channel), device=IDS)
def test_parse_undoes_build(agent: str, channel: Channel, device: str) -> None:
    address = Address(agent, channel, device if channel.has_device else "")
    topic = build(*address)
    assert parse(topic) == address
    assert sender(topic) == agent
    prefix = hub_filter() if channel.goes_up else agent_filter(agent)
    assert topic.startswith(prefix.partition("+")[0].removesuffix("#"))


@given(st.text(max_size=300) | st.from_regex(r"lamplighter/v1/[^/]*/(up|down)/[a-z]*(/[^/]*)?", fullmatch=True))
def test_whatever_parses_is_what_build_makes(topic: str) -> None:
    with suppress(BadTopic):
        assert build(*parse(topic)) == topic


@pytest.mark.parametrize("bad", BAD_IDS)
def test_bad_ids_are_refused(bad: str) -> None:
    with pytest.raises(BadTopic):
        build(bad, Channel.BATCH)
    with pytest.raises(BadTopic):
        build("a", Channel.COMMAND, bad)


def test_a_device_is_neither_missing_nor_too_much() -> None:
    with pytest.raises(BadTopic, match="needs a device"):
        build("a", Channel.SENML)
    with pytest.raises(BadTopic, match="has no device"):
        build("a", Channel.BATCH, "b")
