"""The interval set against the simplest model there is: a Python set."""

from hypothesis import given
from hypothesis import strategies as st

from lamplighter_hub.ledger.intervals import Intervals

pairs = st.tuples(st.integers(1, 60), st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(pairs, max_size=30))
def test_it_is_a_set_of_numbers(added: list[tuple[int, int]]) -> None:
    seen, model = Intervals(), set[int]()
    for first, last in added:
        seen.add(first, last)
        model |= set(range(first, last + 1))

    assert {number for number in range(1, 80) if number in seen} == model
    assert seen.count() == len(model)
    assert seen.highest == max(model, default=0)
    assert {n for a, b in seen.missing() for n in range(a, b + 1)} == set(range(1, seen.highest + 1)) - model
    assert seen.through == next(n for n in range(100) if n + 1 not in model)
    assert all(b + 1 < c for (_, b), (c, _) in zip(seen.ranges(), seen.ranges()[1:], strict=False))


def test_a_copy_goes_its_own_way() -> None:
    seen = Intervals()
    seen.add(1, 3)
    twin = seen.copy()
    twin.add(4, 9)

    assert (seen.through, twin.through) == (3, 9)
