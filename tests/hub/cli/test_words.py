"""What people type."""

from __future__ import annotations

import contextlib
import time

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from lamplighter_hub.cli import words


@pytest.mark.parametrize(("text", "ms"), [("90", 90_000), ("30s", 30_000), ("1.5h", 5_400_000), ("2 d", 172_800_000)])
def test_a_span(text: str, ms: int) -> None:
    assert words.span_ms(text) == ms


@pytest.mark.parametrize("text", ["", "x", "-5s", "5 fortnights", "1e3"])
def test_a_span_that_is_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write 30s, 5m"):
        words.span_ms(text)


def test_a_span_as_a_time_is_that_long_ago() -> None:
    assert abs(words.moment("2h") - (time.time() * 1000 - 7_200_000)) < 5_000


@given(st.integers(946_684_800_000, 4_102_444_800_000))
def test_a_time_in_ms_is_taken_as_it_is(ms: int) -> None:
    assert words.moment(str(ms)) == ms


@given(st.datetimes().map(lambda moment: moment.replace(year=2026)))
def test_iso_times_are_understood(moment: object) -> None:
    assert words.moment(f"{moment}Z") > 0


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(typer.BadParameter):
        assert isinstance(words.moment(text), int)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), st.integers() | st.booleans()))
def test_pairs_keep_types(document: dict[str, int | bool]) -> None:
    written = [f"{name}={str(value).lower()}" for name, value in document.items()]
    assert words.pairs(written) == document


def test_a_word_without_a_name_is_a_usage_error() -> None:
    with pytest.raises(typer.BadParameter, match="is not name=value"):
        words.pairs(["seconds"])
