"""A busy hub asks for patience between two marks, and says how long and why."""

from __future__ import annotations

from itertools import pairwise

import pytest

from lamplighter_hub.ingest.throttle import HIGH, LONGEST_MS, LOW, REASON, SHORTEST_MS, TOO_LATE_S, Throttle
from lamplighter_protocols.records import Receipt, Stream

NOW = 1_795_476_600_000
RECEIPT = Receipt(outbox="01M80T5JNV0000000000000000", now=NOW)


class Queue:
    """How full it is."""

    fill = 0.0

    def __call__(self) -> float:
        return self.fill


def test_it_begins_at_the_upper_mark_and_ends_below_the_lower() -> None:
    queue = Queue()
    throttle = Throttle(lambda: NOW, queue)
    seen = []
    for fill in (0.0, HIGH - 0.01, HIGH, 0.2, LOW, LOW - 0.01, 0.2, HIGH + 0.3):
        queue.fill = fill
        asked = throttle.worded(RECEIPT).retry_after_ms > 0
        assert asked == throttle.active
        seen.append(asked)
    assert seen == [False, False, True, True, True, False, False, True]
    facts = {"active": True, "since": NOW, "fill_percent": 55.0, "pressure_percent": 55.0, "began": 2, "receipts": 4}
    assert throttle.facts() == facts


def test_the_fuller_the_longer() -> None:
    queue = Queue()
    throttle = Throttle(lambda: NOW, queue)
    assert throttle.worded(RECEIPT) == RECEIPT
    pauses = []
    for fill in (HIGH, LOW, 1.0, 2.0):
        queue.fill = fill
        worded = throttle.worded(RECEIPT)
        assert worded.reason == REASON
        pauses.append(worded.retry_after_ms)
    middle = SHORTEST_MS + (LONGEST_MS - SHORTEST_MS) * (HIGH - LOW) / (1 - LOW)
    for pause, least in zip(pauses, (middle, SHORTEST_MS, LONGEST_MS, LONGEST_MS), strict=True):
        assert least < pause < 1.5 * least


def test_agents_are_not_told_the_same_time_to_come_back() -> None:
    throttle = Throttle(lambda: NOW, lambda: 1.0)
    pauses = sorted(throttle.worded(RECEIPT).retry_after_ms for _ in range(1_000))
    assert (pauses[0], pauses[-1]) == pytest.approx((LONGEST_MS, 1.5 * LONGEST_MS), rel=0.001)
    apart = [after - before for before, after in pairwise(pauses)]
    assert max(apart) < 3 * LONGEST_MS / 2 / 1_000, "spread evenly"


@pytest.mark.parametrize("stream", Stream)
def test_what_has_waited_for_long_counts_as_a_full_queue_does(stream: Stream) -> None:
    arrivals: dict[Stream, int | None] = {}
    throttle = Throttle(lambda: NOW, lambda: 0.0, lambda: arrivals)
    pauses = []
    for part in (HIGH - 0.01, HIGH, LOW, LOW - 0.01, 2.0):
        arrivals = {**dict.fromkeys(Stream, NOW), stream: NOW - round(1000 * part * TOO_LATE_S[stream])}
        pauses.append(throttle.worded(RECEIPT).retry_after_ms)
    assert [pause > 0 for pause in pauses] == [False, True, True, False, True]
    assert max(pauses) < 1.5 * SHORTEST_MS, "what has waited for long may be the last of it"
    arrivals = dict.fromkeys(Stream)
    assert throttle.worded(RECEIPT) == RECEIPT
    assert throttle.facts()["fill_percent"] == 0.0
