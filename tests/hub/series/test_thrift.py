"""Structs of Thrift's compact protocol, read and written back."""

from __future__ import annotations

import pytest

from lamplighter_hub.series.thrift import Reader, written

NESTED = b"\x1c"  # field 1 is a struct, which begins here


def test_what_was_read_is_written_back() -> None:
    footer = b"\x15\x04\x19\x1c\x48\x04name\x00\x16\xc8\x01\x00"
    assert written(Reader(footer).struct()) == footer


def test_what_is_nested_without_end_is_no_struct() -> None:
    with pytest.raises(ValueError, match="levels deep"):
        Reader(NESTED * 5_000).struct()
    assert Reader(NESTED * 6 + b"\0" * 7).struct()
