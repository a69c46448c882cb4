"""Samples of one device as the columns of one record, in the JSON of the wire contract."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pydantic_core import to_json

from lamplighter_protocols.readings import MAX_METRICS, MAX_TEXT, Quality, Value

MAX_ROWS: Final = 120
MAX_BYTES: Final = 12 * 1024
MAX_SPAN_MS: Final = 7 * 86_400_000
LARGEST: Final = sys.float_info.max


class Sample(NamedTuple):
    """One moment of a device: `t` in ms since 1970, values and flags by metric."""

    t: int
    values: Mapping[str, Value | None]
    quality: Mapping[str, Quality]


@dataclass(slots=True)
class Columns:
    """A readings record that may still grow."""

    device: str
    t: int
    dt: list[int] = field(default_factory=list)
    m: dict[str, list[Value | None]] = field(default_factory=dict)
    q: dict[str, list[str | None]] = field(default_factory=dict)
    size: int = 0

    def takes(self, sample: Sample) -> bool:
        """True when a sample may become the next row: there is room, and each column keeps its type."""
        if len(self.dt) >= MAX_ROWS or self.size >= MAX_BYTES or abs(sample.t - self.t) > MAX_SPAN_MS:
            return False
        if len(self.m.keys() | sample.values.keys()) > MAX_METRICS:
            return False
        return all(_same_type(self.m.get(name), value) for name, value in sample.values.items())

    def add(self, sample: Sample) -> None:
        """Append a row. A metric that the row lacks has no sample there."""
        rows = len(self.dt)
        self.dt.append(sample.t - self.t)
        for name in sample.values:
            if name not in self.m:
                self.m[name] = [None] * rows
        for name, flag in sample.quality.items():
            if flag is not Quality.GOOD and name not in self.q:
                self.q[name] = [None] * rows
        for name, column in self.m.items():
            column.append(_plain(sample.values.get(name)))
        for name, flags in self.q.items():
            found = sample.quality.get(name)
            flags.append(None if found is None or found is Quality.GOOD else str(found))
        self.size += 8 + sum(_width(value) for value in sample.values.values())

    def body(self) -> bytes:
        """Return the record as JSON."""
        record: dict[str, Any] = {"kind": "readings", "device": self.device, "t": self.t, "dt": self.dt, "m": self.m}
        if self.q:
            record["q"] = self.q
        return to_json(record)

    @property
    def span(self) -> tuple[int, int]:
        """First and last time in ms."""
        return self.t + min(self.dt), self.t + max(self.dt)


def sound(sample: Sample) -> Sample:
    """Return the sample without what the contract does not allow: such a value is no value, and is flagged so."""
    bad = [name for name, value in sample.values.items() if not _allowed(value)]
    if not bad:
        return sample
    values = {name: value for name, value in sample.values.items() if name not in bad}
    flags = dict.fromkeys(bad, Quality.SENSOR_FAULT)
    return Sample(sample.t, {**values, **dict.fromkeys(bad)}, {**flags, **sample.quality})


def _allowed(value: Value | None) -> bool:
    if isinstance(value, float | int):
        return -LARGEST <= value <= LARGEST  # not NaN, nor beyond what a float can be
    if isinstance(value, str):
        return len(value) <= MAX_TEXT
    return value is None


def _plain(value: Value | None) -> Value | None:
    # 5.0 travels as 5: two bytes less, and the same number.
    return int(value) if type(value) is float and value.is_integer() and abs(value) < 2**53 else value


def _same_type(column: list[Value | None] | None, value: Value | None) -> bool:
    if column is None or value is None:
        return True
    first = next((item for item in column if item is not None), None)
    return first is None or _kind(first) is _kind(value)


def _kind(value: Value) -> type:
    return bool if isinstance(value, bool) else str if isinstance(value, str) else float


def _width(value: Value | None) -> int:
    return len(value) + 3 if isinstance(value, str) else 6
