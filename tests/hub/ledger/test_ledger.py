"""The ledger books what is committed, recognises what comes again, and forgets nothing over a restart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lamplighter_hub.ledger.ledger import MAX_RANGES, Key, Ledger
from lamplighter_hub.series.store import Mark
from lamplighter_protocols.records import Header, Stream

OUTBOX = "01M80T5JNV0000000000000000"
NOW = 1_795_476_673_001


def header(first: int, stream: Stream = Stream.LIVE, held: dict[Stream, int] | None = None) -> Header:
    return Header(outbox=OUTBOX, stream=stream, first=first, sent=NOW, held=held or {})


def mark(first: int, last: int, **numbers: int) -> Mark:
    counts = {"stored": last - first + 1, "duplicate": 0, "quarantined": 0, "dropped": 0, **numbers}
    return Mark("air-1", OUTBOX, "live", first, last, **counts)


def test_a_draft_counts_only_after_its_commit() -> None:
    ledger = Ledger()
    draft = ledger.draft()
    draft.book(mark(1, 10))

    assert ledger.receipt("air-1", OUTBOX, NOW).through == {}
    ledger.take(draft)
    assert ledger.receipt("air-1", OUTBOX, NOW).through == {Stream.LIVE: 10}


def test_within_one_draft_a_repetition_is_recognised() -> None:
    draft = Ledger().draft()
    assert draft.fresh("air-1", header(1), 3) == [True, True, True]
    draft.book(mark(1, 3))

    assert draft.fresh("air-1", header(2), 4) == [False, False, True, True]


def test_a_receipt_tells_what_lies_beyond_a_gap() -> None:
    ledger = Ledger([mark(1, 4), mark(8, 9), mark(12, 12)])
    receipt = ledger.receipt("air-1", OUTBOX, NOW)

    assert receipt.through == {Stream.LIVE: 4}
    assert receipt.also == {Stream.LIVE: [(8, 9), (12, 12)]}
    assert ledger.row("air-1")[0].missing == [(5, 7), (10, 11)]
    assert ledger.totals()["missing"] == 5


def test_a_stream_in_too_many_pieces_is_not_taken_until_its_gaps_are_filled() -> None:
    ledger = Ledger(mark(number, number) for number in range(2, 2 * MAX_RANGES + 1, 2))
    draft = ledger.draft()

    assert draft.fresh("air-1", header(5_000), 1) is None
    assert draft.fresh("air-1", header(1), 3) == [True, False, True]
    assert draft.fresh("air-1", header(2 * MAX_RANGES + 1), 1) == [True]


def test_what_the_agent_still_holds_is_its_own_word() -> None:
    ledger = Ledger()
    draft = ledger.draft()
    draft.hold("air-1", header(1, held={Stream.BACKLOG: 7}))
    ledger.take(draft)

    assert ledger.row("air-1")[0].held == 7


batches = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 9)), max_size=40)


@given(batches, st.integers(0, 40))
def test_every_record_is_taken_once_whatever_comes_again(sent: list[tuple[int, int]], crash_at: int) -> None:
    """A restart from the marks in the middle changes nothing."""
    ledger, marks = Ledger(), list[Mark]()
    stored = list[int]()
    for step, (first, count) in enumerate(sent):
        if step == crash_at:
            ledger = Ledger(marks)
        draft = ledger.draft()
        fresh = draft.fresh("air-1", header(first), count)
        assert fresh is not None
        new = [first + index for index, is_new in enumerate(fresh) if is_new]
        stored += new
        for number in new:
            draft.book(mark(number, number))
        known = [first + index for index, is_new in enumerate(fresh) if not is_new]
        if known:
            draft.book(mark(known[0], known[0], stored=0, duplicate=len(known)))
        marks += draft.marks
        ledger.take(draft)

    numbers = {first + index for first, count in sent for index in range(count)}
    assert sorted(stored) == sorted(numbers)
    if sent:
        row = ledger.row("air-1")[0]
        assert row.received == sum(count for _, count in sent) == row.stored + row.duplicate
        assert (
            Ledger(marks).snapshot(Key("air-1", OUTBOX, "live")).seen.ranges()
            == ledger.snapshot(Key("air-1", OUTBOX, "live")).seen.ranges()
        )
