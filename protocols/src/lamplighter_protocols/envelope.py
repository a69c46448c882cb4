"""Bytes on the wire: UTF-8 JSON, above 1 KiB perhaps zlib (RFC 1950); the first byte tells.

>>> decode(encode({"a": 1}))
{'a': 1}
"""

from __future__ import annotations

import zlib
from typing import Any, Final

from pydantic_core import from_json, to_json

from lamplighter_protocols.errors import BadEnvelope

COMPRESS_ABOVE: Final = 1024
MAX_WIRE: Final = 512 * 1024
"""Largest payload as it travels, in bytes."""
MAX_JSON: Final = 2 * 1024 * 1024
"""Largest payload after decompression, in bytes."""
MAX_DEPTH: Final = 12
_ZLIB: Final = 0x78


def encode(value: Any) -> bytes:
    """Return the JSON of a value or model, compressed when it is large enough to gain from it."""
    return wrap(to_json(value, inf_nan_mode="constants", exclude_none=False))


def wrap(raw: bytes, above: int = COMPRESS_ABOVE, level: int = 6) -> bytes:
    """Return JSON text as it travels: compressed when it has more than `above` bytes; `unwrap` is the inverse.

    `level` is zlib's, 1 (quick) to 9 (small).
    """
    return zlib.compress(raw, level) if len(raw) > above else raw


def unwrap(payload: bytes) -> bytes:
    """Return the JSON text of a payload. Raises BadEnvelope when it is too large or not what it says."""
    if len(payload) > MAX_WIRE:
        raise BadEnvelope(f"{len(payload)} bytes; at most {MAX_WIRE} are taken")
    if not payload:
        raise BadEnvelope("the payload is empty")
    if payload[0] == _ZLIB:
        return _inflate(payload)
    if payload[0] not in b"{[":
        raise BadEnvelope("neither JSON ('{' or '[') nor zlib (0x78) at the first byte")
    return payload


def peek(payload: bytes, size: int) -> bytes:
    """Return the first `size` bytes of a payload's JSON text, unchecked; less when there is less, or it is damaged.

    >>> peek(wrap(b'{"stream":"live"}', above=0), 10)
    b'{"stream":'
    """
    if payload[:1] != b"x":
        return payload[:size]
    try:
        return zlib.decompressobj().decompress(payload, size)
    except zlib.error:
        return b""


def decode(payload: bytes) -> Any:
    """Return the JSON value of a payload; NaN, infinities (1e999 too) and deep nesting are refused."""
    try:
        value = from_json(unwrap(payload), allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise BadEnvelope(f"not JSON: {error}") from None
    if too_deep(value, MAX_DEPTH):
        raise BadEnvelope(f"nested deeper than {MAX_DEPTH}")
    if not all_finite(value):
        raise BadEnvelope("holds a number that is too large")
    return value


def all_finite(value: Any) -> bool:
    """True when no float inside is infinite or NaN, and every integer fits into 64 bits."""
    if isinstance(value, dict):
        return all(map(all_finite, value.values()))
    if isinstance(value, list):
        return all(map(all_finite, value))
    if isinstance(value, float):
        return value - value == 0
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def too_deep(value: Any, levels: int) -> bool:
    """True when lists and objects are nested in more than `levels` levels.

    >>> too_deep({"a": [1]}, 2), too_deep({"a": [1]}, 1)
    (False, True)
    """
    layer = [value]
    for _ in range(levels):
        layer = [inner for outer in layer for inner in _children(outer)]
        if not layer:
            return False
    return True


def _children(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in inner if isinstance(item, dict | list)]


def _inflate(payload: bytes) -> bytes:
    engine = zlib.decompressobj()
    try:
        raw = engine.decompress(payload, MAX_JSON)
    except zlib.error as error:
        raise BadEnvelope(f"not zlib: {error}") from None
    if engine.unconsumed_tail:
        raise BadEnvelope(f"more than {MAX_JSON} bytes when decompressed")
    if not engine.eof or engine.unused_data:
        raise BadEnvelope("the zlib stream is cut short or followed by other bytes")
    return raw
