"""What any store owes about all that is committed beside the readings: events, marks, quarantine."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamplighter_hub.series.store import (
    BEGINNING,
    END_OF_TIME,
    BadCursor,
    Commit,
    Held,
    Mark,
    Release,
    StoredEvent,
    TimeSeries,
)
from suites.series.make import T0, column, everything, flat, mark, refused
from suites.series.stores import Open

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    # A lone half of a surrogate pair cannot stand in UTF-8, so it cannot arrive.
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=5,
)
WHEN = (BEGINNING, END_OF_TIME)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.dictionaries(st.text("abc", max_size=3), json_values, max_size=4))
def test_an_events_payload_comes_back_the_same(store: TimeSeries, data: dict[str, Any]) -> None:
    store.commit(Commit(events=[StoredEvent("kiosk-1", T0, "paper_out", data)]))
    found, _ = store.events("kiosk-1", None, *WHEN, limit=1)
    assert repr(found) == repr([StoredEvent("kiosk-1", T0, "paper_out", data)])


def test_events_of_one_time_keep_their_order_and_duplicates(store: TimeSeries) -> None:
    def hires(t: int, code: int) -> StoredEvent:
        return StoredEvent("signal-1", T0 + t, "hires", {"code": code})

    given_events = [hires(5, 1), hires(5, 9), hires(5, 9), hires(4, 3), hires(5, 0), StoredEvent("a", T0 + 9, "x", {})]
    store.commit(Commit(events=given_events[:2]))
    store.commit(Commit(events=given_events[2:]))
    expected = [given_events[i] for i in (5, 3, 0, 1, 2, 4)]
    assert flat(store.export_events([], [], *WHEN)) == expected
    assert flat(store.export_events(["signal-1", "nobody"], ["hires"], T0 + 4, T0 + 5)) == [given_events[3]]
    for oldest_first in (True, False):
        ordered = expected[1:] if oldest_first else expected[:0:-1]
        for limit in range(1, 7):
            found: list[StoredEvent] = []
            cursor: str | None = None
            while True:
                page, cursor = store.events(
                    "signal-1", "hires", *WHEN, limit=limit, cursor=cursor, oldest_first=oldest_first
                )
                found += page
                if cursor is None:
                    break
            assert found == ordered
    with pytest.raises(BadCursor):
        store.events(None, None, *WHEN, limit=1, cursor="1~2~3")


runs = st.lists(
    st.tuples(
        st.sampled_from(["live", "alarm"]), st.integers(1, 30), st.integers(0, 5), st.integers(0, 3), st.booleans()
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(commits=st.lists(runs, min_size=1, max_size=3))
def test_marks_keep_every_number_and_every_count(
    open_store: Open, tmp_path_factory: pytest.TempPathFactory, commits: list[list[tuple[str, int, int, int, bool]]]
) -> None:
    folder = tmp_path_factory.mktemp("marks")
    given_marks: list[Mark] = []
    for commit in commits:
        marks = [
            mark(first, first + length, stream, stored=0, dropped=length + 1)
            if lost
            else mark(first, first + length, stream, duplicate=duplicate)
            for stream, first, length, duplicate, lost in commit
        ]
        given_marks += marks
        store = open_store(folder)
        store.commit(Commit(marks=marks))
        assert summed(store.marks()) == summed(given_marks)
        store.close()
    store = open_store(folder)
    found = list(store.marks())
    assert summed(found) == summed(given_marks)
    assert found == sorted(found)
    for lost in (False, True):
        for before, after in pairwise([item for item in found if bool(item.dropped) is lost]):
            assert before.stream != after.stream or before.last + 1 < after.first, "neighbours are joined"
    store.close()


def summed(marks: Any) -> dict[tuple[str, bool], tuple[set[int], list[int]]]:
    """Numbers and counts by stream, and apart for what is lost."""
    found: dict[tuple[str, bool], tuple[set[int], list[int]]] = {}
    for item in marks:
        numbers, sums = found.setdefault((item.stream, bool(item.dropped)), (set(), [0, 0, 0, 0]))
        numbers.update(range(item.first, item.last + 1))
        sums[:] = [have + more for have, more in zip(sums, item[5:], strict=True)]
    return found


def test_quarantine_shows_what_came_and_why(store: TimeSeries, open_store: Open, tmp_path: Path) -> None:
    entries = [refused(i, bytes([i, 0, 255]), f"pole-{i % 2}", f"reason_{i % 3}") for i in range(9)]
    store.commit(Commit(quarantined=entries[:5]))
    store.commit(Commit(quarantined=entries[5:]))
    store.close()
    again = open_store(tmp_path)
    page, cursor = again.quarantine(None, None, limit=4)
    rest, end = again.quarantine(None, None, limit=5, cursor=cursor)
    assert page + rest == entries[::-1]
    assert end is None
    assert again.quarantine("pole-1", "reason_0", limit=9)[0] == [entries[3]]
    assert again.quarantined(entries[2].id) == entries[2]
    assert again.quarantined("nothing") is None
    with pytest.raises(BadCursor):
        again.quarantine(None, None, limit=1, cursor="x")
    again.close()


def test_quarantine_is_listed_from_its_oldest_end_too(store: TimeSeries) -> None:
    entries = [refused(i)._replace(device=f"air-{i % 2}") for i in range(7)]
    store.commit(Commit(quarantined=entries))
    first, cursor = store.quarantine(None, None, limit=4, oldest_first=True)
    rest, end = store.quarantine(None, None, limit=4, cursor=cursor, oldest_first=True)
    assert first + rest == entries
    assert end is None
    assert store.quarantine("pole-1", None, limit=9, device="air-1")[0] == entries[5::-2]


def test_a_release_is_part_of_its_commit(store: TimeSeries, open_store: Open, tmp_path: Path) -> None:
    held = Held("01M80T5JNV0000000000000000", "live", 3, counted=True, earliest=5, latest=9)
    kept, other = refused(1)._replace(held=held), refused(2)
    store.commit(Commit(marks=[mark(1, 4, stored=3, quarantined=1)], quarantined=[kept, other]))
    release = Release(kept.id, T0, -3_600_000, "operator Šárka")
    commit = Commit(
        [column("air-1", "pm25", [(T0, 2.5)])],
        marks=[mark(3, 3, stored=1, quarantined=-1)],
        releases=[release],
    )
    store.commit(commit)
    for _ in range(2):
        assert store.quarantined(kept.id) == kept._replace(release=release)
        assert store.quarantine(None, None, limit=9)[0] == [other, kept._replace(release=release)]
        assert [reading.t for reading in everything(store, "air-1")] == [T0]
        assert list(store.marks()) == [mark(1, 4)]
        counts = store.counts()
        assert (counts.quarantined, counts.quarantine_released) == (1, 1)
        store.close()
        store = open_store(tmp_path)
    store.close()


def test_everything_of_a_commit_is_counted(store: TimeSeries, open_store: Open, tmp_path: Path) -> None:
    store.commit(Commit())
    for number in range(3):
        store.commit(
            Commit(
                [column("air-1", "pm25", [(T0, 1.0), (T0, 2.0)])],
                [StoredEvent("air-1", T0, "x", {})],
                [mark(number * 10 + 1, number * 10 + 2)],
                [refused(number, b"1234")],
            )
        )
    for _ in range(2):
        found = store.counts()
        assert (found.points, found.events, found.series, found.marks, found.quarantined) == (6, 3, 1, 3, 3)
        assert found.quarantine_evicted == 0
        assert found.disk_bytes > 0
        store.close()
        store = open_store(tmp_path)
    store.close()
