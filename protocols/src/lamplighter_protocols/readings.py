"""Readings: columnar on the wire, one row a point inside.

A column holds numbers, texts or truth values; null means that there is no sample. Quality travels beside the value.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import FailFast, Field, StrictBool, StrictFloat, StringConstraints, ValidationError, model_validator

from lamplighter_protocols.errors import BadField, bad_field
from lamplighter_protocols.ids import DeviceId, Name
from lamplighter_protocols.model import Millis, WireModel

MAX_SAMPLES: Final = 10_000
MAX_METRICS: Final = 256
MAX_TEXT: Final = 1024
MAX_OFFSET_MS: Final = 366 * 86_400_000
"""How far a sample may be from the time of its record."""

Value = float | bool | str
UnknownClock = Literal["unsynced"] | None
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT, strict=True)]


class _FirstFault(FailFast):
    """One wrong entry of a list is enough: a payload that is wrong throughout must not cost more than a good one."""

    __hash__ = object.__hash__  # members of a union are hashed


Column = Annotated[
    Annotated[list[StrictFloat | None], _FirstFault()]
    | Annotated[list[StrictBool | None], _FirstFault()]
    | Annotated[list[Text | None], _FirstFault()],
    Field(union_mode="left_to_right"),
]


class Quality(StrEnum):
    """Why a value should not be taken at face value. Absent means good."""

    GOOD = "good"
    SENSOR_FAULT = "sensor_fault"
    NO_DATA = "no_data"
    WARMING_UP = "warming_up"
    OVERFLOW = "overflow"
    OUT_OF_RANGE = "out_of_range"
    SUSPECT = "suspect"
    STALE = "stale"
    RATE_OF_CHANGE = "rate_of_change"
    STUCK = "stuck"
    SPIKE = "spike"
    GAP = "gap"
    CROSS_FIELD = "cross_field"


class Reading(NamedTuple):
    """One point: device + metric + time (ms) + value + quality. `value` is None when only the quality is known."""

    device: str
    metric: str
    t: int
    value: Value | None
    quality: Quality = Quality.GOOD


class ReadingsRecord(WireModel):
    """Samples of one device: sample i was taken at `t + dt[i]` ms; `m[metric][i]` is its value.

    `clock` is `unsynced` when nobody knows how wrong the clock was that `t` is of, and nobody will.
    """

    kind: Literal["readings"] = "readings"
    device: DeviceId
    t: Millis
    dt: Annotated[list[int], _FirstFault(), Field(min_length=1, max_length=MAX_SAMPLES)]
    m: Annotated[dict[Name, Column], Field(max_length=MAX_METRICS, default_factory=dict)]
    q: Annotated[
        dict[Name, Annotated[list[Quality | None], _FirstFault()]], Field(max_length=MAX_METRICS, default_factory=dict)
    ]
    clock: UnknownClock = None

    @model_validator(mode="after")
    def _columns_fit(self) -> ReadingsRecord:
        rows = len(self.dt)
        for part, columns in (("m", self.m), ("q", self.q)):
            for name, column in columns.items():
                if len(column) != rows:
                    raise ValueError(f"{part}.{name}: has {len(column)} entries for {rows} times in dt")
        if max(self.dt) > MAX_OFFSET_MS or min(self.dt) < -MAX_OFFSET_MS:
            raise ValueError("dt: holds an offset of more than a year")
        return self

    def points(self) -> list[Reading]:
        """Return one Reading for each value or quality that is present."""
        found = []
        for metric in dict.fromkeys([*self.m, *self.q]):
            values = self.m.get(metric) or [None] * len(self.dt)
            flags = self.q.get(metric) or [None] * len(self.dt)
            for offset, value, flag in zip(self.dt, values, flags, strict=True):
                if value is not None or flag is not None:
                    found.append(Reading(self.device, metric, self.t + offset, value, flag or Quality.GOOD))
        return found


def columnar(device: str, readings: list[Reading]) -> ReadingsRecord:
    """Pack readings of one device into columns; rows are the distinct times, in order.

    Two readings of one metric at one time go into two rows, so that true duplicates survive. Raises BadField for
    readings that no record can hold: none at all, values of two types in one metric, times more than a year apart.
    """
    if not readings:
        raise BadField("no readings", "m")
    rows: dict[tuple[int, int], dict[str, Reading]] = {}
    seen: dict[tuple[int, str], int] = {}
    for reading in readings:
        nth = seen.get((reading.t, reading.metric), 0)
        seen[reading.t, reading.metric] = nth + 1
        rows.setdefault((reading.t, nth), {})[reading.metric] = reading
    keys = sorted(rows)
    base = keys[0][0]
    m: dict[str, list[Value | None]] = {}
    q: dict[str, list[Quality | None]] = {}
    for metric in dict.fromkeys(reading.metric for reading in readings):
        column = [rows[key].get(metric) for key in keys]
        m[metric] = [None if cell is None else cell.value for cell in column]
        flags: list[Quality | None] = [
            None if cell is None or cell.quality is Quality.GOOD else cell.quality for cell in column
        ]
        if any(flags):
            q[metric] = flags
    try:
        return ReadingsRecord.model_validate(
            {"device": device, "t": base, "dt": [key[0] - base for key in keys], "m": m, "q": q}
        )
    except ValidationError as error:
        raise bad_field(error) from None
