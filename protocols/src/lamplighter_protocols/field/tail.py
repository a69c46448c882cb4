"""Lines of a logger's text file: one line in, one sample out. The driver that follows the file is somebody else's work.

A line becomes a `Sample`, nothing (a header, a comment, an empty line), or a `BadField` that says why it was refused.
A cell that should hold a number and does not has quality `sensor_fault` and no value; it does not cost its neighbours.

>>> from lamplighter_protocols.profile import TailMap
>>> file = {"time": [0], "time_format": "%Y-%m-%d %H:%M:%S", "columns": {"laeq": {"column": 1}}}
>>> LineCodec(TailMap.model_validate(file), {}).feed("2025-03-22 00:00:01,44.285907")
Sample(t=1742601601000, values={'laeq': 44.285907}, quality={}, event='')
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from lamplighter_protocols.errors import BadField
from lamplighter_protocols.field.localtime import reader
from lamplighter_protocols.model import EARLIEST, LATEST
from lamplighter_protocols.profile import Metric, TailColumn, TailMap
from lamplighter_protocols.readings import MAX_TEXT, Quality

MAX_LINE: Final = 64 * 1024
Kind = Literal["number", "integer", "boolean", "string"]
Cell = float | bool | str
_TRUTH: Final = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


class Sample(NamedTuple):
    """What one line says: values by metric, or the data of an event when `event` names one. `t` is in ms since 1970."""

    t: int
    values: dict[str, Cell]
    quality: dict[str, Quality]
    event: str


class _Wanted(NamedTuple):
    name: str
    kind: Kind
    at: int


class LineCodec:
    """Reads the lines of one file, in order.

    With `header = true` in the map, the first line that is not passed over names the columns, and so does any later
    line that holds all the names that the map needs. A driver that goes on in mid-file gives the `header` it kept.
    """

    def __init__(self, tail: TailMap, metrics: Mapping[str, Metric], header: str = "") -> None:
        self._tail = tail
        self._skip = tuple(tail.skip)
        self._missing = frozenset(tail.missing)
        self._read_time = reader(tail.time_format, tail.timezone)
        self._kinds = {name: _kind(tail, column, metrics.get(name)) for name, column in tail.columns.items()}
        self._names = frozenset(_references(tail))
        self._time: list[int] = []
        self._wanted: list[_Wanted] = []
        self._width = 0
        self.header = ""
        if header:
            self._learn(header, self._split(header))
        elif not tail.header:
            self._place({})

    def feed(self, line: str) -> Sample | BadField | None:
        """Return what a line says, without its end; None for a line that carries no sample; a refusal otherwise."""
        line = line.strip("\r\n\ufeff")
        if not line or (self._skip and line.startswith(self._skip)):
            return None
        if len(line) > MAX_LINE:
            return BadField(f"{len(line)} characters; at most {MAX_LINE} are taken", "line")
        cells = self._split(line)
        if self._width == 0:
            return self._learn(line, cells)
        if len(cells) < self._width:
            return BadField(f"has {len(cells)} columns, {self._width} are needed", "line")
        return self._sample(line, cells)

    def _split(self, line: str) -> list[str]:
        delimiter = self._tail.delimiter
        if '"' not in line:
            return line.split(delimiter) if delimiter else line.split()
        try:
            return next(csv.reader([line], delimiter=delimiter or " "))
        except csv.Error:
            return []

    def _sample(self, line: str, cells: list[str]) -> Sample | BadField | None:
        text = " ".join([cells[at].strip() for at in self._time])
        try:
            t = self._read_time(text)
        except ValueError:
            return self._no_time(line, cells, text)
        if not EARLIEST <= t <= LATEST:
            return self._no_time(line, cells, text)
        values: dict[str, Cell] = {}
        quality: dict[str, Quality] = {}
        for name, kind, at in self._wanted:
            cell = cells[at].strip()
            if cell in self._missing:
                continue
            value = self._value(kind, cell)
            if value is not None:
                values[name] = value
            elif self._tail.event:
                return BadField(f"{cell[:40]!r} is not {'an' if kind == 'integer' else 'a'} {kind}", name)
            else:
                quality[name] = Quality.SENSOR_FAULT
        return Sample(t, values, quality, self._tail.event)

    def _value(self, kind: Kind, cell: str) -> Cell | None:
        if kind == "string":
            return cell if len(cell) <= MAX_TEXT else None
        if kind == "boolean":
            return _TRUTH.get(cell.lower())
        if "_" in cell:  # Python's digit grouping is nobody's notation in a log
            return None
        try:
            if kind == "integer":
                return int(cell)
            value = float(cell.replace(",", ".") if self._tail.decimal == "," else cell)
        except ValueError:
            return None
        return value if value - value == 0 else None  # neither NaN nor infinite

    def _no_time(self, line: str, cells: list[str], text: str) -> BadField | None:
        if self._names and self._names <= {cell.strip() for cell in cells}:
            return self._learn(line, cells)
        return BadField(f"{text[:40]!r} is not a time of format {self._tail.time_format!r}", "time")

    def _learn(self, line: str, cells: list[str]) -> BadField | None:
        places = {cell.strip(): at for at, cell in reversed(list(enumerate(cells)))}
        try:
            self._place(places)
        except KeyError as missing:
            return BadField(f"the header has no column {missing.args[0]!r}; it has {', '.join(places)[:200]}", "header")
        self.header = line
        return None

    def _place(self, places: dict[str, int]) -> None:
        def at(ref: int | str) -> int:
            return ref if isinstance(ref, int) else places[ref]

        time = [at(ref) for ref in self._tail.time]
        wanted = [_Wanted(name, self._kinds[name], at(column.column)) for name, column in self._tail.columns.items()]
        self._time, self._wanted = time, wanted
        self._width = 1 + max(*time, *(item.at for item in wanted))


def _references(tail: TailMap) -> list[str]:
    """Return the columns that the map calls by name."""
    return [ref for ref in (*tail.time, *(item.column for item in tail.columns.values())) if isinstance(ref, str)]


def _kind(tail: TailMap, column: TailColumn, metric: Metric | None) -> Kind:
    if tail.event:
        return column.type
    return metric.type if metric else "number" if column.type == "integer" else column.type
