"""Bytes on the wire: bounded in every direction, and refused with a reason."""

from __future__ import annotations

import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter_protocols.envelope import (
    COMPRESS_ABOVE,
    MAX_DEPTH,
    MAX_JSON,
    MAX_WIRE,
    decode,
    encode,
    too_deep,
    unwrap,
)
from lamplighter_protocols.errors import BadEnvelope

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
JSON = st.recursive(
    SCALARS | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON) | st.lists(JSON))
def test_decode_undoes_encode(value: Any) -> None:
    if too_deep(value, MAX_DEPTH):
        with pytest.raises(BadEnvelope, match="nested deeper"):
            decode(encode(value))
    else:
        assert decode(encode(value)) == value


def test_large_payloads_are_compressed() -> None:
    value = {"text": "lamp " * 1_000}
    assert len(encode(value)) < COMPRESS_ABOVE
    assert decode(encode(value)) == value
    assert encode({"a": 1}) == b'{"a":1}'


BAD = {
    "empty": b"",
    "blank first": b' {"a":1}',
    "text": b'"text"',
    "cut": b'{"a":',
    "trailing": b'{"a":1} x',
    "NaN": b'{"a":NaN}',
    "infinity": b'{"a":-Infinity}',
    "overflow": b'{"a":1e999}',
    "integer of 100 digits": b'{"a":' + b"9" * 100 + b"}",
    "integer of 400,000 digits": b'{"a":' + b"9" * 400_000 + b"}",
    "lone surrogate": b'{"a":"\\ud800"}',
    "lone low surrogate": b'["\\udc00x"]',
    "surrogate bytes": b'["\xed\xa0\x80"]',
    "not UTF-8": b'["\xff"]',
    "deep": b"[" * 13 + b"]" * 13,
    "very deep": b"[" * 100_000 + b"]" * 100_000,
    "deep objects": b'{"a":' * 200_000,
    "too long": b"[" + b" " * MAX_WIRE + b"]",
    "zlib cut": zlib.compress(b'{"a":1}')[:-1],
    "zlib altered": zlib.compress(b'{"a":1}')[:-1] + b"\x00",
    "zlib and more": zlib.compress(b"[]") + b"[]",
    "zlib of nothing known": b"x\x9chello",
    "zlib bomb": zlib.compress(b" " * (MAX_JSON + 1)),
    "zlib bomb of a gigabyte's kind": zlib.compress(b"[" + b"0," * 20_000_000 + b"0]", 9),
    "zlib in zlib": zlib.compress(zlib.compress(b"[]")),
}


@pytest.mark.parametrize("payload", BAD.values(), ids=BAD)
def test_bad_bytes_are_refused(payload: bytes) -> None:
    with pytest.raises(BadEnvelope) as caught:
        decode(payload)
    assert caught.value.detail
    assert len(str(caught.value)) < 300


def test_the_largest_payloads_pass() -> None:
    text = b'{"a":"' + b"x" * (MAX_WIRE - 8) + b'"}'
    assert len(text) == MAX_WIRE
    assert unwrap(text) == text
    filled = b'{"a":"' + b"x" * (MAX_JSON - 8) + b'"}'
    assert unwrap(zlib.compress(filled)) == filled


@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"x\x9c" + tail))
def test_random_bytes_do_no_harm(payload: bytes) -> None:
    with suppress(BadEnvelope):
        decode(payload)
