"""A busy hub asks for patience between two marks, and says how long and why."""

from __future__ import annotations

from lamplighter_hub.ingest.throttle import HIGH, LONGEST_MS, LOW, REASON, SHORTEST_MS, Throttle
from lamplighter_protocols.records import Receipt

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
    for fill in (0.0, HIGH - 0.01, HIGH, 0.3, LOW, LOW - 0.01, 0.4, HIGH + 0.3):
        queue.fill = fill
        asked = throttle.worded(RECEIPT).retry_after_ms > 0
        assert asked == throttle.active
        seen.append(asked)
    assert seen == [False, False, True, True, True, False, False, True]
    assert throttle.facts() == {"active": True, "since": NOW, "fill_percent": 80.0, "began": 2, "receipts": 4}


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
    assert pauses == [14_375, SHORTEST_MS, LONGEST_MS, LONGEST_MS]
