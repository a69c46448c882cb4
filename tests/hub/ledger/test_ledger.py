"""The ledger books what is committed, recognises what comes again, and forgets nothing over a restart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter_hub.ledger.account import Key
from lamplighter_hub.ledger.ledger import MAX_RANGES, MOST_ACCUSED, Ledger
from lamplighter_hub.series.store import Mark
from lamplighter_protocols.presence import Presence
from lamplighter_protocols.records import DroppedRecord, Header, Stream

OUTBOX = "01M80T5JNV0000000000000000"
NOW = 1_795_476_673_001


def header(first: int, stream: Stream = Stream.LIVE) -> Header:
    return Header(outbox=OUTBOX, stream=stream, first=first, sent=NOW)


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
    draft.heed("air-1", OUTBOX, {Stream.BACKLOG: 7}, {})
    ledger.take(draft)

    assert ledger.row("air-1")[0].held == 7


def said(ledger: Ledger, held: int, freed: int, last: int | None = None, outbox: str = OUTBOX, at: int = NOW) -> None:
    """Let the agent say what its live stream holds; beyond a batch it also says which number it gave last."""
    draft = ledger.draft(at)
    if last is None:
        draft.heed("air-1", outbox, {Stream.LIVE: held}, {Stream.LIVE: freed})
    else:
        beyond = {Stream.LIVE: last} if held else {}
        draft.heed_inventory(
            "air-1",
            Presence(
                state="online",
                session=1,
                outbox=outbox,
                held={Stream.LIVE: held},
                freed={Stream.LIVE: freed},
                last=beyond,
            ),
        )
    ledger.take(draft)


def balance(ledger: Ledger, outbox: str = OUTBOX) -> tuple[int, int, int]:
    row = next(row for row in ledger.row("air-1") if row.outbox == outbox)
    assert row.sent == row.stored + row.quarantined + row.dropped + row.held + row.unaccounted
    return row.sent, row.held, row.unaccounted


def test_what_is_held_is_what_only_the_agent_has() -> None:
    ledger = Ledger([mark(1, 10)])
    assert ledger.row("air-1")[0].told_at == 0, "nothing was said yet"
    said(ledger, held=10, freed=0)
    assert balance(ledger) == (10, 0, 0), "the agent has not heard yet that they are stored"
    said(ledger, held=25, freed=5)
    assert balance(ledger) == (30, 20, 0), "a batch tells of what lies behind it"
    said(ledger, held=20, freed=10, last=32)
    assert balance(ledger) == (32, 20, 2), "two in the middle are nowhere"
    said(ledger, held=0, freed=32, last=32)
    assert balance(ledger) == (32, 0, 22), "what nobody holds is not accounted for"
    assert ledger.row("air-1")[0].missing == [(11, 32)], "and is asked for"


def test_a_hole_that_the_agent_can_fill_is_held_and_one_that_it_cannot_is_not() -> None:
    ledger = Ledger([mark(1, 10), mark(21, 30)])
    said(ledger, held=20, freed=10)
    assert balance(ledger) == (30, 10, 0)
    said(ledger, held=15, freed=15, last=30)
    assert balance(ledger) == (30, 5, 5), "its fifteen are the five of the hole, and ten that are stored"


def test_what_an_outbox_that_is_no_more_held_is_missing() -> None:
    ledger = Ledger([mark(1, 10)])
    said(ledger, held=7, freed=10, last=17)
    assert balance(ledger) == (17, 7, 0)
    said(ledger, held=3, freed=0, last=3, outbox="01M85BZKKV0000000000000000", at=NOW + 5)
    assert balance(ledger) == (17, 0, 7)
    row = ledger.row("air-1")[0]
    assert (row.missing, row.told_at) == ([(11, 17)], NOW + 5)
    draft = ledger.draft(NOW)
    told = DroppedRecord(outbox=OUTBOX, stream=Stream.LIVE, first=11, last=17, count=7, t=NOW)
    draft.declare("air-1", "01M85BZKKV0000000000000000", told)
    ledger.take(draft)
    assert balance(ledger) == (17, 0, 0)
    totals = ledger.totals()
    assert (totals["sent"], totals["held"], totals["unaccounted"], totals["untold"]) == (20, 3, 0, 0)


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
        draft.receive("air-1", header(first), count)
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


def dropped(first: int, last: int, outbox: str | None = None) -> DroppedRecord:
    return DroppedRecord(stream=Stream.LIVE, outbox=outbox, first=first, last=last, count=last - first + 1, t=NOW)


def booked(ledger: Ledger, *steps: Mark | DroppedRecord, now: int = NOW) -> list[Mark]:
    """Take marks and declarations as one commit each; return the marks as the store would keep them."""
    kept = []
    for step in steps:
        draft = ledger.draft(now)
        if isinstance(step, Mark):
            draft.receive("air-1", header(step.first), step.stored + step.duplicate + step.quarantined)
            draft.book(step)
        else:
            draft.declare("air-1", OUTBOX, step)
        kept += draft.marks
        ledger.take(draft)
    return kept


def test_a_declaration_counts_only_what_did_not_arrive() -> None:
    ledger = Ledger()
    kept = booked(ledger, mark(1, 4), mark(8, 9), dropped(3, 10))

    row = ledger.row("air-1")[0]
    assert (row.through, row.stored, row.dropped, row.missing) == (10, 6, 4, [])
    assert [(item.first, item.last, item.dropped) for item in kept[2:]] == [(5, 7, 3), (10, 10, 1)]
    assert Ledger(kept).row("air-1") == ledger.row("air-1")


def test_what_was_declared_dropped_and_comes_after_all_is_taken() -> None:
    ledger = Ledger()
    kept = booked(ledger, mark(1, 1), dropped(2, 5))
    draft = ledger.draft(NOW)
    assert draft.fresh("air-1", header(1), 4) == [False, True, True, True]
    kept += booked(ledger, mark(3, 4))

    for books in (ledger, Ledger(kept), Ledger(reversed(kept))):
        row = books.row("air-1")[0]
        assert (row.through, row.stored, row.dropped) == (5, 3, 2)
        assert books.draft().fresh("air-1", header(2), 3) == [True, False, False]


def test_an_earlier_outbox_can_be_declared_lost() -> None:
    earlier = "01M7Z00000000000000000000A"
    ledger = Ledger()
    booked(ledger, mark(1, 3)._replace(outbox=earlier), mark(7, 8)._replace(outbox=earlier), dropped(4, 6, earlier))

    rows = {row.outbox: row for row in ledger.row("air-1")}
    assert (rows[earlier].through, rows[earlier].dropped, rows[earlier].missing) == (8, 3, [])


def test_what_the_agent_no_longer_keeps_and_the_hub_does_not_have_is_missing() -> None:
    """A hub whose store is older than what its agents were told."""
    ledger = Ledger([mark(1, 100)])
    draft = ledger.draft(NOW)
    draft.heed("air-1", OUTBOX, {Stream.LIVE: 2}, {Stream.LIVE: 150, Stream.ALARM: 4})
    ledger.take(draft)

    rows = {row.stream: row for row in ledger.row("air-1")}
    assert rows["live"].missing == [(101, 150)]
    assert rows["alarm"].missing == [(1, 4)]
    assert ledger.receipt("air-1", OUTBOX, NOW).through == {Stream.LIVE: 100, Stream.ALARM: 0}
    draft = ledger.draft(NOW)
    draft.heed("air-1", OUTBOX, {}, {Stream.LIVE: 20})
    ledger.take(draft)
    assert ledger.row("air-1")[1].highest == 150, "an old word takes nothing back"


def test_each_hole_has_its_own_age() -> None:
    ledger = Ledger()
    booked(ledger, mark(1, 2), mark(6, 7), now=1_000)
    booked(ledger, mark(9, 9), now=2_000)
    booked(ledger, mark(4, 4), now=3_000)
    booked(ledger, mark(20, 20), now=4_000)

    assert ledger.row("air-1")[0].holes == [(3, 3, 1_000), (5, 5, 1_000), (8, 8, 2_000), (10, 19, 4_000)]
    booked(ledger, mark(3, 19))
    assert ledger.holes() == {}


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9), st.booleans()), max_size=30))
def test_holes_are_what_is_missing_and_never_grow_younger(steps: list[tuple[int, int, bool]]) -> None:
    ledger = Ledger()
    since: dict[int, int] = {}
    for now, (first, more, lost) in enumerate(steps, start=1):
        booked(ledger, dropped(first, first + more) if lost else mark(first, first + more), now=now)
        row = ledger.row("air-1")[0]
        assert [n for a, b in row.missing for n in range(a, b + 1)] == [
            n for hole in row.holes for n in range(hole.first, hole.last + 1)
        ]
        ages = {n: hole.since for hole in row.holes for n in range(hole.first, hole.last + 1)}
        assert all(since.get(number, now) == age for number, age in ages.items())
        since = ages


def unbalanced(ledger: Ledger, agent: str, stream: Stream, number: int = 1) -> None:
    """Commit two records of which only one is booked."""
    draft = ledger.draft(NOW)
    draft.receive(agent, header(number, stream), 2)
    draft.book(Mark(agent, OUTBOX, stream, number, number, 1, 0, 0, 0))
    ledger.take(draft)


def test_books_that_do_not_add_up_are_said_once_a_stream_and_counted_always(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger()
    for number in range(1, 4):
        unbalanced(ledger, "air-1", Stream.LIVE, number)
    unbalanced(ledger, "air-1", Stream.ALARM)
    unbalanced(ledger, "air-2", Stream.LIVE)

    said = [record.getMessage() for record in caplog.records]
    assert [line.partition(" does")[0] for line in said] == [
        "the ledger of air-1 live",
        "the ledger of air-1 alarm",
        "the ledger of air-2 live",
    ]
    assert "2 received, 1 booked" in said[0]
    assert ledger.violations == ledger.totals()["violations"] == 5


def test_a_city_whose_books_do_not_add_up_floods_no_log(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger()
    for agent in range(MOST_ACCUSED + 50):
        unbalanced(ledger, f"air-{agent}", Stream.LIVE)

    assert len(caplog.records) == MOST_ACCUSED
    assert ledger.violations == MOST_ACCUSED + 50


def test_totals_say_how_many_of_a_million_are_lost() -> None:
    ledger = Ledger()
    booked(ledger, mark(1, 900), dropped(901, 950), mark(1_000, 1_049))

    totals = ledger.totals()
    assert (totals["stored"], totals["dropped"], totals["missing"], totals["holes"]) == (950, 50, 49, 1)
    assert totals["samples_lost_per_million"] == round(1e6 * 99 / 1_049, 3)
