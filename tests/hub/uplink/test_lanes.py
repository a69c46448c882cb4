"""What is urgent overtakes what is not, nothing is starved, and nobody's birth overtakes what it said before."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter_agent.entries import Window
from lamplighter_hub.uplink.inbox import Budget, Inbox
from lamplighter_hub.uplink.lanes import (
    BACKLOG_SIZE,
    HEAD,
    MESSAGE_OVERHEAD,
    Lanes,
    Message,
    plainly_live,
    stream_of,
    weight,
)
from lamplighter_protocols.envelope import wrap
from lamplighter_protocols.records import Stream
from lamplighter_protocols.topics import Channel, build

OUTBOX = "01M80T5JNV0000000000000000"
EVERYTHING = 2**40


def said(stream: str, *, spaces: bool = False, **more: object) -> bytes:
    body = {"outbox": OUTBOX, "stream": stream, "first": 1, "sent": 1_795_476_672_123, **more}
    return json.dumps(body, separators=None if spaces else (",", ":")).encode()


def message(
    payload: bytes, number: int = 0, agent: str = "air-1", channel: Channel = Channel.BATCH, qos: int = 0
) -> Message:
    return Message(build(agent, channel), payload, qos, retain=False, mid=number, arrived_ms=number)


def numbers(messages: list[Message]) -> list[int]:
    return [one.mid for one in messages]


@pytest.mark.parametrize("stream", Stream)
@pytest.mark.parametrize("spaces", [False, True])
@pytest.mark.parametrize("level", [None, 1, 9])
def test_a_batch_waits_in_the_lane_of_its_stream(stream: Stream, *, spaces: bool, level: int | None) -> None:
    payload = said(stream, spaces=spaces, records=["x" * 2_000])
    assert f'"{stream}"'.encode() in payload[:HEAD], "the head is long enough"
    payload = payload if level is None else wrap(payload, 0, level)
    assert stream_of(message(payload)) is stream
    assert plainly_live([message(payload)]) == (stream is Stream.LIVE and level is None and not spaces)


@pytest.mark.parametrize("stream", Stream)
@pytest.mark.parametrize("held", Stream)
def test_the_batches_of_the_agent_say_theirs(stream: Stream, held: Stream) -> None:
    window = Window(OUTBOX, stream, 1, [b"{}"], {held: 5}, {}, whole=True)
    assert stream_of(message(window.payload(1))) is stream
    assert plainly_live([message(window.payload(1))]) == (stream is Stream.LIVE)


@pytest.mark.parametrize(
    "payload", [b"", b"x", b"x\x9c\xff\xff", b"{}", b'[{"bn":"backlog"}]', said("urgent"), b"\xff" * 100]
)
def test_what_says_no_stream_is_live_and_harms_nothing(payload: bytes) -> None:
    assert stream_of(message(payload)) is Stream.LIVE
    assert weight(message(payload)) <= MESSAGE_OVERHEAD + len(payload)


def test_what_is_acknowledged_keeps_its_order() -> None:
    lanes = Lanes()
    for number, stream in enumerate([Stream.BACKLOG, Stream.ALARM, Stream.LIVE, Stream.ALARM]):
        one = message(said(stream), number, qos=1)
        lanes.add(one, stream_of(one))
    assert numbers(lanes.take(10, EVERYTHING)) == [0, 1, 2, 3]


def test_alarms_and_live_data_overtake_backlog_that_does_not_fit() -> None:
    lanes = Lanes()
    for number in range(100):
        lanes.add(message(said("backlog", records=["x" * 1_000]), number), Stream.BACKLOG)
    lanes.add(message(said("live"), 200), Stream.LIVE)
    lanes.add(message(said("alarm"), 300), Stream.ALARM)
    assert numbers(lanes.take(100, 5_000)) == [0, 1, 2, 200, 300]


def test_a_compressed_message_weighs_what_is_in_it() -> None:
    text = said("backlog", records=["x" * 100_000])
    assert weight(message(wrap(text))) == weight(message(text)) == MESSAGE_OVERHEAD + len(text)
    bomb = zlib.compress(b" " * 50_000_000)
    assert weight(message(bomb)) < 3_000_000, "what ingest would refuse is not unfolded either"


def test_a_group_is_cut_by_what_is_in_it_and_has_one_message_always() -> None:
    lanes = Lanes()
    for number in range(6):
        lanes.add(message(wrap(said("backlog", records=["x" * 100_000])), number), Stream.BACKLOG)
    assert numbers(lanes.take(100, 250_000)) == [0, 1]
    assert numbers(lanes.take(100, 10)) == [2]
    assert numbers(lanes.take(1, EVERYTHING)) == [3]


def test_backlog_is_taken_in_small_groups_also_when_nothing_else_waits() -> None:
    lanes = Lanes()
    for number in range(20):
        lanes.add(message(wrap(said("backlog", records=["x" * 100_000])), number), Stream.BACKLOG)
    assert BACKLOG_SIZE - 110_000 < sum(map(weight, lanes.take(100, EVERYTHING))) <= BACKLOG_SIZE


def test_every_lane_has_its_part_of_each_group() -> None:
    lanes = Lanes()
    for number in range(1_000):
        for stream in Stream:
            lanes.add(message(said(stream), number, agent=stream), stream)
    taken = lanes.take(160, EVERYTHING)
    count = {stream: sum(f'"{stream}"'.encode() in one.payload for one in taken) for stream in Stream}
    assert count == {Stream.ALARM: 120, Stream.LIVE: 30, Stream.BACKLOG: 10}


def test_agents_take_turns_in_the_backlog() -> None:
    lanes = Lanes()
    for number in range(5):
        lanes.add(message(said("backlog"), number, agent="talker"), Stream.BACKLOG)
    lanes.add(message(said("backlog"), 10, agent="other"), Stream.BACKLOG)
    assert numbers(lanes.take(3, EVERYTHING)) == [0, 10, 1]


def test_a_birth_overtakes_nothing_that_its_agent_said_before() -> None:
    lanes = Lanes()
    for number in range(50):
        lanes.add(message(said("backlog"), number, agent=f"other-{number}"), Stream.BACKLOG)
    for number, stream in ((100, Stream.BACKLOG), (101, Stream.ALARM), (102, Stream.LIVE), (103, Stream.BACKLOG)):
        lanes.add(message(said(stream), number), stream)
    lanes.add(message(b"{}", 104, channel=Channel.BIRTH, qos=1), Stream.LIVE)
    lanes.add(message(said("backlog"), 105), Stream.BACKLOG)
    taken = numbers(lanes.take(20, EVERYTHING))
    assert [number for number in taken if number >= 100] == [102, 101, 100, 103, 104]


def test_births_and_presences_pass_live_data_but_not_alarms() -> None:
    lanes = Lanes()
    for number in range(1_000):
        lanes.add(message(said("live"), number, agent=f"other-{number}"), Stream.LIVE)
    for number in range(2_000, 2_100):
        channel = Channel.BIRTH if number % 2 else Channel.PRESENCE
        lanes.add(message(b"{}", number, agent=f"new-{number}", channel=channel, qos=1), Stream.LIVE)
    lanes.add(message(said("alarm"), 3_000), Stream.ALARM)
    assert (lanes.count(Stream.LIVE), lanes.next_ms(Stream.LIVE)) == (1_100, 0)
    taken = numbers(lanes.take(20, EVERYTHING))
    assert taken == [*range(5), *range(2_000, 2_014), 3_000], "live data has its part"


def test_a_device_called_birth_is_no_news() -> None:
    odd = Message(build("air-1", Channel.SENML, "birth"), b"[]", 1, retain=False, mid=1, arrived_ms=1)
    lanes = Lanes()
    for number in range(2, 10):
        lanes.add(message(said("live"), number), Stream.LIVE)
    lanes.add(odd, stream_of(odd))
    assert numbers(lanes.take(8, EVERYTHING)) == list(range(2, 10))


@st.composite
def _messages(draw: st.DrawFn) -> list[Message]:
    kinds = draw(st.lists(st.tuples(st.sampled_from([*Stream, None]), st.sampled_from("abc"), st.integers(0, 600))))
    return [
        message(b"{}", number, agent, Channel.BIRTH, 1)
        if stream is None
        else message(said(stream, records=["x" * size]), number, agent)
        for number, (stream, agent, size) in enumerate(kinds)
    ]


@given(_messages(), st.integers(1, 9), st.integers(100, 3_000))
def test_everything_comes_once_in_its_order_and_within_bounds(messages: list[Message], limit: int, size: int) -> None:
    lanes = Lanes()
    for one in messages:
        lanes.add(one, stream_of(one))
    came: list[Message] = []
    while len(lanes):
        taken = lanes.take(limit, size)
        assert 1 <= len(taken) <= limit
        assert len(taken) <= len(Stream) + 1 or sum(map(weight, taken)) <= size + 2 * max(map(weight, taken))
        came += taken
    assert sorted(numbers(came)) == numbers(messages)
    place = {one.mid: place for place, one in enumerate(came)}
    for one in messages:
        agent = one.topic.rpartition("/")[0]
        before = [m for m in messages[: one.mid] if m.topic.startswith(agent)]
        if one.qos == 0:  # in its stream, as far back as to the birth: until that is answered agents send nothing
            since = max((m.mid for m in before if m.qos), default=0)
            before = [m for m in before if m.mid > since and stream_of(m) is stream_of(one)]
        assert all(place[m.mid] < place[one.mid] for m in before)


def test_backlog_leaves_room_for_live_data_and_both_for_alarms() -> None:
    inbox = Inbox(Budget(messages=8))
    for stream, kept in ((Stream.BACKLOG, 4), (Stream.LIVE, 4), (Stream.ALARM, 8)):
        inbox.put_all([message(said(stream), number, agent=stream) for number in range(20)])
        waiting = inbox.waiting()[stream]
        assert waiting == (kept, 0, 20 - kept)
    assert (len(inbox), inbox.shed, inbox.fill) == (16, 44, 2.0)
    inbox.take(100, 0)
    assert (len(inbox), inbox.size) == (0, 0)
    assert inbox.waiting()[Stream.LIVE] == (0, None, 16)
