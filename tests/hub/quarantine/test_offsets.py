"""By how much a clock was off: said only when arrivals show it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lamplighter_hub.quarantine.offsets import STEADY_MS, Run, runs

T0 = 1_795_476_600_000
HOUR = 3_600_000


def arrived(*offsets: int) -> list[Run]:
    """Entries a minute apart whose newest time was so far (ms) behind their arrival."""
    return [
        Run.of(T0 + 60_000 * n, T0 + 60_000 * n - offset - 5, T0 + 60_000 * n - offset)
        for n, offset in enumerate(offsets)
    ]


@given(offset=st.integers(-(2**45), 2**45), delays=st.lists(st.integers(0, STEADY_MS), min_size=3))
def test_a_constant_offset_is_found_to_the_shortest_delay(offset: int, delays: list[int]) -> None:
    (run,) = runs(arrived(*(offset + delay for delay in delays)))
    assert run.shift is not None
    if run.basis == "constant":
        assert run.shift == offset + min(delays)
    else:
        assert run.shift % (15 * 60_000) == 0


def test_a_clock_of_another_zone_is_moved_by_whole_quarters() -> None:
    (run,) = runs(arrived(-8 * HOUR + 400, -8 * HOUR + 900, -8 * HOUR + 350))
    assert (run.basis, run.shift) == ("time_zone", -8 * HOUR)


def test_few_entries_and_wandering_ones_prove_nothing() -> None:
    assert [(run.basis, run.shift) for run in runs(arrived(9 * HOUR, 9 * HOUR))] == [("few", None)]
    held_back = [9 * HOUR + 60_000 * n for n in range(10)]
    assert [(run.entries, run.basis, run.shift) for run in runs(arrived(*held_back))] == [(10, "varies", None)]


def test_a_burst_may_have_been_held_back() -> None:
    """Three readings of three seconds, an hour late: alike, and wrong by that hour."""
    burst = [Run.of(T0 + n, T0 + 1_000 * n - 9 * HOUR, T0 + 1_000 * n - 9 * HOUR) for n in range(3)]
    assert [(run.entries, run.basis, run.shift) for run in runs(burst)] == [(3, "few", None)]


def test_a_clock_that_drifts_is_followed() -> None:
    """A second in ten minutes, over a day; between the hours some records were held back."""
    found = runs(arrived(*(10**12 + 100 * n for n in range(1_440))))
    assert len(found) > 20
    assert all(run.basis == "constant" for run in found[:-1])
    scattered = [10**12 + 100 * n + (90_000 * (n % 7) if n % 100 > 90 else 0) for n in range(1_440)]
    proving = [run for run in runs(arrived(*scattered)) if run.shift is not None]
    assert all(abs(run.low - 10**12) <= 144_000 for run in proving)
    assert sum(run.entries for run in proving) > 1_200


def test_each_start_of_a_clock_is_a_run_of_its_own() -> None:
    found = runs(arrived(*[10**12 + n for n in range(4)], *[10**12 + 700_000 + n for n in range(3)]))
    assert [(run.entries, run.shift) for run in found] == [(4, 10**12), (3, 10**12 + 700_000)]
    assert found[0].arrived_last < found[1].arrived_first
