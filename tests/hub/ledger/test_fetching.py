"""What is missing is asked for: after a while, in bounded pieces, with growing pauses, from those who are there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from lamplighter_hub.ledger.fetching import A_TICK, LONGEST_MS, MAX_RANGES, Fetcher
from lamplighter_hub.ledger.ledger import Ledger
from lamplighter_hub.series.store import Mark
from lamplighter_protocols.commands import Fetch
from lamplighter_protocols.model import parse_model
from lamplighter_protocols.topics import Channel, parse

OUTBOX = "01M80T5JNV0000000000000000"
AFTER_MS = 30_000
T0 = 1_795_476_600_000


def mark(first: int, last: int, agent: str = "air-1", stream: str = "live") -> Mark:
    return Mark(agent, OUTBOX, stream, first, last, last - first + 1, 0, 0, 0)


class Bench:
    def __init__(self, marks: Sequence[Mark]) -> None:
        self.ledger = Ledger(marks, T0)
        self.asked: list[Fetch] = []
        self.online = {mark.agent for mark in marks}
        self.fetcher = Fetcher(self.ledger, self.online.__contains__, _plain, self._down, AFTER_MS)

    def _down(self, topic: str, payload: bytes) -> None:
        assert parse(topic).channel is Channel.FETCH
        self.asked.append(parse_model(Fetch, payload))

    def book(self, *marks: Mark) -> None:
        draft = self.ledger.draft(T0)
        for item in marks:
            draft.book(item)
        self.ledger.take(draft)


def _plain(fetch: Fetch) -> bytes:
    return fetch.model_dump_json().encode()


def test_a_hole_is_asked_for_when_it_is_old_enough() -> None:
    bench = Bench([mark(1, 4), mark(8, 9), mark(12, 12)])
    bench.fetcher.tick(T0 + AFTER_MS - 1)
    assert bench.asked == []
    bench.fetcher.tick(T0 + AFTER_MS)
    (fetch,) = bench.asked
    assert (fetch.agent, fetch.outbox, fetch.stream) == ("air-1", OUTBOX, "live")
    assert fetch.ranges == [(5, 7), (10, 11)]
    assert fetch.issued_at == T0 + AFTER_MS
    assert bench.fetcher.facts(T0 + AFTER_MS) == {
        "fetches": 1,
        "fetched_ranges": 2,
        "fetched_records": 0,
        "oldest_hole_s": 30,
    }


def test_pauses_double_while_nothing_comes_and_begin_anew_when_something_does() -> None:
    bench = Bench([mark(1, 4), mark(8, 9)])
    times: list[int] = []
    now = T0
    while len(times) < 10:
        before = len(bench.asked)
        bench.fetcher.tick(now)
        if len(bench.asked) > before:
            times.append(now)
        now += 1_000
    pauses = [b - a for a, b in pairwise(times)]
    assert pauses[:4] == [30_000, 60_000, 120_000, 240_000]
    assert max(pauses) == LONGEST_MS
    bench.book(mark(5, 5))
    bench.fetcher.tick(now)
    bench.fetcher.tick(now + AFTER_MS)
    assert bench.asked[-1].ranges == [(6, 7)]
    assert bench.fetcher.closed == 1
    bench.book(mark(6, 7))
    asked = len(bench.asked)
    bench.fetcher.tick(now + 10 * LONGEST_MS)
    assert len(bench.asked) == asked
    assert bench.fetcher.facts(now)["fetched_records"] == 3
    assert bench.fetcher.facts(now)["oldest_hole_s"] == 0


def test_who_is_away_is_asked_when_he_is_back() -> None:
    bench = Bench([mark(2, 2)])
    bench.online.clear()
    bench.fetcher.tick(T0 + AFTER_MS)
    assert bench.asked == []
    bench.online.add("air-1")
    bench.fetcher.tick(T0 + 10 * AFTER_MS)
    assert len(bench.asked) == 1


def test_a_fetch_and_a_tick_are_bounded() -> None:
    torn = [mark(number, number) for number in range(2, 1_000, 2)]
    others = [mark(2, 2, f"air-{nth}") for nth in range(A_TICK + 100)]
    bench = Bench([*torn, *others])
    bench.fetcher.tick(T0 + AFTER_MS)
    assert len(bench.asked) == A_TICK
    assert max(len(fetch.ranges) for fetch in bench.asked) == MAX_RANGES
    bench.fetcher.tick(T0 + AFTER_MS + 1_000)
    assert len(bench.asked) == A_TICK + 101 - 1, "the rest, and nobody twice"


def test_a_busy_hub_does_not_ask_for_backlog() -> None:
    bench = Bench([mark(2, 2), mark(2, 2, stream="backlog")])
    bench.fetcher.tick(T0 + AFTER_MS, hold=("backlog",))
    assert [fetch.stream for fetch in bench.asked] == ["live"]
    bench.fetcher.tick(T0 + AFTER_MS + 1)
    assert [fetch.stream for fetch in bench.asked] == ["live", "backlog"]
