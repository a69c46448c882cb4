"""What the ledger's sums cost at a city's size: PYTHONPATH=tests python -m hub.ledger.measure_totals [AGENTS]"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator

from lamplighter_hub.ledger.ledger import Ledger
from lamplighter_hub.series.store import Mark
from lamplighter_protocols.presence import Presence
from lamplighter_protocols.records import Stream

RUNS = 9
STORED = 1_000
HELD = 5
OUTBOX = "01M80T5JNV0000000000000000"
NOW = 1_795_476_673_001


def marks(agents: int) -> Iterator[Mark]:
    """Every stream of every agent has stored something."""
    for agent in range(agents):
        for stream in Stream:
            yield Mark(f"agent-{agent:05d}", OUTBOX, stream, 1, STORED, STORED, 0, 0, 0)


def city(agents: int) -> Ledger:
    """Return a ledger to which every agent has said what it holds."""
    ledger = Ledger(marks(agents), NOW)
    word = dict.fromkeys(Stream, STORED)
    said = Presence(
        state="online",
        session=1,
        outbox=OUTBOX,
        freed=word,
        held=dict.fromkeys(Stream, HELD),
        last={stream: number + HELD for stream, number in word.items()},
    )
    draft = ledger.draft(NOW)
    for agent in range(agents):
        draft.heed_inventory(f"agent-{agent:05d}", said)
    ledger.take(draft)
    return ledger


def main(agents: int) -> None:
    ledger = city(agents)
    took = []
    for _ in range(RUNS):
        begun = time.process_time()
        totals = ledger.totals()
        took.append(time.process_time() - begun)
    streams = agents * len(Stream)
    assert totals["stored"] == streams * STORED
    assert totals["held"] == streams * HELD
    assert totals["unaccounted"] == totals["untold"] == 0
    print(f"sums over {streams:,} streams: {statistics.median(took) * 1000:.0f} ms of CPU, the median of {RUNS}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 15_000)
