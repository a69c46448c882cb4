"""Modbus registers (Application Protocol 1.1b3): which blocks to read, what their words mean, what to write.

Words are 16 bits, most significant byte first. A value that fills several takes them in the profile's `word_order`.

>>> from lamplighter_protocols.profile import ModbusMap
>>> registers = {"temp": {"address": 3, "type": "int16", "scale": 0.1}, "rh": {"address": 5, "scale": 0.1}}
>>> device = ModbusMap.model_validate({"registers": registers})
>>> plan_reads(device)
[Block(table='holding', address=3, count=3)]
>>> decode(device, {("holding", 3): 0xFFFB, ("holding", 5): 123})
({'temp': -0.5, 'rh': 12.3}, {})
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from lamplighter_protocols.errors import BadField
from lamplighter_protocols.field.decimals import decimals
from lamplighter_protocols.profile import ModbusMap, ModbusWrite, Register
from lamplighter_protocols.readings import Quality, Value

MAX_WORDS: Final = 125
"""Registers in one read request (function codes 3 and 4)."""
MAX_BITS: Final = 2_000
"""Coils or discrete inputs in one read request (function codes 1 and 2)."""
_BIT_TABLES: Final = frozenset({"coil", "discrete"})
_BEYOND: Final = 1e40
_FORMATS: Final = {"float32": ">f", "float64": ">d"}


@dataclass(frozen=True, slots=True)
class Block:
    """One read request: `count` entries of `table` from `address`, counted from 0 as on the wire."""

    table: str
    address: int
    count: int


class Write(NamedTuple):
    """One write request: words for holding registers, one truth value for a coil. `address` counts from 0."""

    table: str
    address: int
    value: list[int] | bool


def plan_reads(device: ModbusMap) -> list[Block]:
    """Return the requests that read every register of a map, merged over gaps of up to `max_gap` entries."""
    spans = {(r.table, r.address - device.base, r.address - device.base + r.words) for r in device.registers.values()}
    blocks: list[Block] = []
    for table, start, end in sorted(spans):
        last = blocks[-1] if blocks else None
        if last and last.table == table and _joins(last, start, end, device.max_gap):
            blocks[-1] = replace(last, count=max(last.count, end - last.address))
        else:
            blocks.append(Block(table, start, end - start))
    return blocks


def _joins(block: Block, start: int, end: int, max_gap: int) -> bool:
    most = MAX_BITS if block.table in _BIT_TABLES else MAX_WORDS
    return start - (block.address + block.count) <= max_gap and end - block.address <= most


def decode(
    device: ModbusMap, raw: Mapping[tuple[str, int], int]
) -> tuple[dict[str, float | bool | str], dict[str, Quality]]:
    """Return the values of a map's registers, and the quality of those that are not simply good.

    `raw` maps (table, address from 0) to a word or a bit. A register that was not read has quality `no_data`; a
    sentinel has its quality and no value; a code without label is kept as a text and is `suspect`.
    """
    values: dict[str, Value] = {}
    quality: dict[str, Quality] = {}
    for name, register in device.registers.items():
        first = register.address - device.base
        words = [raw.get((register.table, first + nth)) for nth in range(register.words)]
        value, flag = _meaning(register, [word for word in words if word is not None])
        if value is not None:
            values[name] = value
        if flag is not None:
            quality[name] = flag
    return values, quality


def _meaning(register: Register, words: list[int]) -> tuple[Value | None, Quality | None]:
    if len(words) < register.words:
        return None, Quality.NO_DATA
    if register.table in _BIT_TABLES or register.type == "bit":
        return _label(register, bool(words[0] >> (register.bit or 0) & 1))
    pattern = _pattern(words, register.word_order)
    if pattern in register.sentinel_patterns:
        return None, register.sentinel_patterns[pattern]
    number = _number(register.type, pattern)
    if not math.isfinite(number):
        return None, Quality.SENSOR_FAULT
    return _label(register, number) if register.labels else (_scaled(register, number), None)


def _label(register: Register, code: Value) -> tuple[Value, Quality | None]:
    if not register.labels:
        return code, None
    text = str(int(code))
    return (register.labels[text], None) if text in register.labels else (text, Quality.SUSPECT)


def _pattern(words: list[int], word_order: str) -> int:
    pattern = 0
    for word in words if word_order == "big" else reversed(words):
        pattern = pattern << 16 | word & 0xFFFF
    return pattern


def _number(kind: str, pattern: int) -> int | float:
    bits = int(kind.lstrip("uintfloa"))
    if kind in _FORMATS:
        return _unpacked(kind, pattern.to_bytes(bits // 8, "big"))
    return pattern - (1 << bits) if kind[0] == "i" and pattern >> (bits - 1) else pattern


def _unpacked(kind: str, raw: bytes) -> float:
    number: float = struct.unpack(_FORMATS[kind], raw)[0]
    if kind == "float64" or not math.isfinite(number):
        return number
    # The shortest decimal that is this float32: 0.1 and not 0.10000000149011612.
    short = (float(f"{number:.{digits}g}") for digits in range(6, 9))
    return next((text for text in short if _same_float32(text, raw)), float(f"{number:.9g}"))


def _same_float32(number: float, raw: bytes) -> bool:
    try:
        return struct.pack(">f", number) == raw
    except OverflowError:
        return False


def _scaled(register: Register, number: float) -> float:
    if register.scale == 1.0 and register.offset == 0.0:
        return float(number)
    places = max(decimals(register.scale), decimals(register.offset))
    if register.type in _FORMATS:
        return number * register.scale + register.offset
    return round(number * register.scale + register.offset, places)


def writes(device: ModbusMap, command: str, args: Mapping[str, Value]) -> Iterator[Write]:
    """Return the writes of a command in their order. Raises BadField that names the argument."""
    for write in device.commands[command]:
        value = write.value if write.value is not None else args.get(write.arg)
        if value is None:
            raise BadField("is required", write.arg)
        yield Write(write.table, write.address - device.base, encode_write(write, value))


def encode_write(write: ModbusWrite, value: Value) -> list[int] | bool:
    """Return the words, or for a coil the bit, that carry a value. Raises BadField for one that does not fit."""
    if write.table == "coil":
        if value in (0, 1) and not isinstance(value, str):
            return bool(value)
        raise BadField(f"{value!r} is not true or false", write.arg)
    if isinstance(value, bool | str):
        raise BadField(f"{value!r} is not a number", write.arg)
    if not -_BEYOND < value < _BEYOND:  # neither NaN nor infinite, nor more than a float holds
        raise BadField(f"{value!r:.40} does not fit a register of type {write.type}", write.arg)
    raw = _packed(write, (value - write.offset) / write.scale, value)
    words = [int.from_bytes(raw[at : at + 2], "big") for at in range(0, len(raw), 2)]
    return words if write.word_order == "big" else words[::-1]


def _packed(write: ModbusWrite, number: float, value: float) -> bytes:
    bits = int(write.type.lstrip("uintfloa"))
    try:
        if write.type in _FORMATS:
            return struct.pack(_FORMATS[write.type], number)
        return round(number).to_bytes(bits // 8, "big", signed=write.type[0] == "i")
    except (OverflowError, ValueError, struct.error):
        raise BadField(f"{value!r} does not fit a register of type {write.type}", write.arg) from None
