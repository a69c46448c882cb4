"""Thrift's compact protocol as plain values, as much of it as the footer of a Parquet file needs.

A struct is a dict of field number to (type, value), a list a pair of element type and values; what is not
understood is written back as it was read. Source: thrift-compact-protocol.md of Apache Thrift.
"""

from __future__ import annotations

from typing import Any, Final

Struct = dict[int, tuple[int, Any]]
I64: Final = 6
LIST: Final = 9
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _STRUCT = 1, 2, 3, 7, 8, 12
_VARINTS: Final = frozenset({4, 5, I64})
_LONG: Final = 15
_DEEPEST: Final = 32
"""A footer nests its structs and lists some six levels deep."""


class Reader:
    """Reads one struct from bytes. Raises ValueError or IndexError when they are none."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0
        self._depth = 0

    def struct(self) -> Struct:
        """Return the struct that begins here."""
        found: Struct = {}
        number = 0
        while head := self._byte():
            kind = head & 15
            number = number + (head >> 4) if head >> 4 else self._zigzag()
            found[number] = (kind, kind == _TRUE if kind in {_TRUE, _FALSE} else self._value(kind))
        return found

    def _value(self, kind: int) -> Any:
        if kind in _VARINTS:
            return self._zigzag()
        if kind == _BINARY:
            return self._take(self._varint())
        if kind in {LIST, _STRUCT}:
            return self._nested(kind)
        if kind in {_TRUE, _FALSE, _BYTE}:
            return self._byte()
        if kind == _DOUBLE:
            return self._take(8)
        raise ValueError(f"type {kind} has no place in a footer")

    def _nested(self, kind: int) -> Any:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError(f"nested more than {_DEEPEST} levels deep")
        found = self._list() if kind == LIST else self.struct()
        self._depth -= 1
        return found

    def _list(self) -> tuple[int, list[Any]]:
        head = self._byte()
        size = head >> 4 if head >> 4 < _LONG else self._varint()
        return head & 15, [self._value(head & 15) for _ in range(size)]

    def _take(self, size: int) -> bytes:
        self._place += size
        return self._data[self._place - size : self._place]

    def _byte(self) -> int:
        self._place += 1
        return self._data[self._place - 1]

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 128:
            value |= (byte & 127) << shift
            shift += 7
        return value | byte << shift

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)


def written(struct: Struct) -> bytes:
    """Return a struct as bytes."""
    out = bytearray()
    before = 0
    for number, (kind, value) in sorted(struct.items()):
        shown = (_TRUE if value else _FALSE) if kind in {_TRUE, _FALSE} else kind
        step = number - before
        out += bytes([step << 4 | shown]) if 0 < step < 16 else bytes([shown]) + _zigzag(number)
        out += b"" if kind in {_TRUE, _FALSE} else _value(kind, value)
        before = number
    return bytes(out) + b"\0"


def _value(kind: int, value: Any) -> bytes:
    if kind in _VARINTS:
        return _zigzag(value)
    if kind == _BINARY:
        return _varint(len(value)) + bytes(value)
    if kind == LIST:
        return _list(*value)
    if kind == _STRUCT:
        return written(value)
    return bytes(value) if kind == _DOUBLE else bytes([value])


def _list(kind: int, values: list[Any]) -> bytes:
    size = len(values)
    head = bytes([size << 4 | kind]) if size < _LONG else bytes([_LONG << 4 | kind]) + _varint(size)
    return head + b"".join(_value(kind, value) for value in values)


def _zigzag(value: int) -> bytes:
    return _varint(value << 1 if value >= 0 else (-value << 1) - 1)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out) + bytes([value])
