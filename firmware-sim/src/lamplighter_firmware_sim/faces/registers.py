"""What a device's registers hold, by its profile's map - packed by the simulator's own code.

The agent unpacks with another implementation on purpose: if both shared one, a mistake in it would go unseen.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from lamplighter_firmware_sim.devices.device import Observation, Value
from lamplighter_protocols.profile import ModbusMap, ModbusWrite, Register

Image = dict[tuple[str, int], int]
"""(table, address from 0 as on the wire) to a word, or to 0 or 1."""

_PACK: Final = {
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "uint64": ">Q",
    "float32": ">f",
    "float64": ">d",
}
_BIT_TABLES: Final = ("coil", "discrete")


def image(device: ModbusMap, seen: Observation, settings: Mapping[str, Value]) -> Image:
    """Return all registers of a device: what it measures, and its settings where the map lets them be written."""
    found: Image = {}
    for name, register in device.registers.items():
        first = register.address - device.base
        if register.table in _BIT_TABLES:
            found[register.table, first] = int(bool(seen.metrics.get(name, 0)))
        elif register.type == "bit":
            bit = _code(register, seen.metrics.get(name, 0)) & 1
            place = (register.table, first)
            found[place] = found.get(place, 0) | bit << (register.bit or 0)
        else:
            _place(found, register.table, first, _measured(register, name, seen))
    for target in _targets(device):
        found.setdefault((target.table, target.address - device.base), 0)
    for name, target in device.configuration.items():
        if name in settings:
            _place(found, target.table, target.address - device.base, written(target, settings[name]))
    return found


def written(target: ModbusWrite, value: Value) -> list[int]:
    """Return the words that stand for a value in a register that can be written."""
    if target.type == "bit" or target.table == "coil":
        return [int(bool(value))]
    return _words(target.type, target.word_order, (float(value) - target.offset) / target.scale)


def meaning(target: ModbusWrite, words: Sequence[int]) -> Value:
    """Return the value that words in a writable register stand for."""
    if target.type == "bit" or target.table == "coil":
        return bool(words[0])
    ordered = words if target.word_order == "big" else words[::-1]
    raw = struct.unpack(_PACK[target.type], struct.pack(f">{len(words)}H", *ordered))[0]
    value = raw * target.scale + target.offset
    # A scaled integer has no more digits than its scale; a float32 has about seven.
    return float(f"{value:.7g}") if isinstance(raw, float) else round(value, 9)


def size(target: ModbusWrite) -> int:
    """Return how many words a writable register has."""
    if target.type == "bit" or target.table == "coil":
        return 1
    return struct.calcsize(_PACK[target.type]) // 2


def width(register: Register) -> int:
    """Return how many words a register that is read has."""
    if register.type == "bit" or register.table in _BIT_TABLES:
        return 1
    return struct.calcsize(_PACK[register.type]) // 2


def _targets(device: ModbusMap) -> Iterator[ModbusWrite]:
    for writes in device.commands.values():
        yield from writes


def _measured(register: Register, name: str, seen: Observation) -> list[int]:
    quality = seen.quality.get(name)
    if quality is not None:
        return _unmeasured(register, quality)
    value = seen.metrics.get(name)
    if value is None:
        return _unmeasured(register, "no_data")
    if register.labels:
        return _words(register.type, register.word_order, _code(register, value))
    return _words(register.type, register.word_order, (float(value) - register.offset) / register.scale)


def _unmeasured(register: Register, quality: str) -> list[int]:
    """Return the sentinel for a quality, else any sentinel, else what a register shows that has none."""
    by_quality = {str(meant): text for text, meant in register.sentinels.items()}
    if by_quality:
        return _sentinel(register, by_quality.get(quality, next(iter(by_quality.values()))))
    return _words(register.type, register.word_order, float("nan"))


def _sentinel(register: Register, text: str) -> list[int]:
    """Return the words of a sentinel: bits after 0x, else a number of the register's type."""
    if text.lower().startswith("0x"):
        raw = int(text, 16).to_bytes(2 * width(register))
    else:
        raw = struct.pack(_PACK[register.type], float(text) if register.type.startswith("float") else int(text))
    return _ordered(list(struct.unpack(f">{width(register)}H", raw)), register.word_order)


def _code(register: Register, value: Value) -> int:
    for code, label in register.labels.items():
        if label == value:
            return int(code)
    return int(float(value)) if not isinstance(value, str) else 0


def _words(kind: str, word_order: str, number: float) -> list[int]:
    form = _PACK[kind]
    raw = struct.pack(form, number if kind.startswith("float") else _fit(kind, number))
    return _ordered(list(struct.unpack(f">{len(raw) // 2}H", raw)), word_order)


def _fit(kind: str, number: float) -> int:
    """Round to a whole number within the type's span; a register without sentinel shows 0 for what is not there."""
    if number != number:  # noqa: PLR0124 - NaN
        return 0
    bits = int(kind.removeprefix("u").removeprefix("int"))
    span = 1 << bits
    low = 0 if kind.startswith("u") else -span // 2
    return min(max(round(number), low), low + span - 1)


def _ordered(words: list[int], word_order: str) -> list[int]:
    return words if word_order == "big" else words[::-1]


def _place(found: Image, table: str, first: int, words: Sequence[int]) -> None:
    for nth, word in enumerate(words):
        found[table, first + nth] = word
