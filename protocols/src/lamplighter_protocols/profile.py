"""Profiles: a device model as data. Drivers are code; what a register or a column means stands in a TOML file.

A profile names metrics (unit, range, quality limits, aggregation), events, configuration fields, commands with their
hazard, and how each field protocol carries them (`[modbus]`, `[tail]`, `[simulated]`), with examples that are tests.
"""

from __future__ import annotations

import struct
import tomllib
from collections.abc import Iterator
from enum import StrEnum
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints, ValidationError, model_validator

from lamplighter_protocols.commands import Hazard
from lamplighter_protocols.configuration import FieldSpec
from lamplighter_protocols.errors import BadProfile, bad_field
from lamplighter_protocols.ids import Name
from lamplighter_protocols.model import WireModel
from lamplighter_protocols.readings import Quality

ProfileId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", strict=True)]


class ProfileModel(WireModel):
    """Base of a profile's parts: a misspelt key is an error, not a silence."""

    model_config = ConfigDict(extra="forbid", strict=False)


class Aggregation(StrEnum):
    """How values over a span become one. Decibels average as energy, directions on the circle."""

    MEAN = "mean"
    ENERGY = "energy"
    CIRCULAR = "circular"
    SUM = "sum"
    LAST = "last"


class Retention(StrEnum):
    """For how long something is worth keeping; the hub's settings say how many days each of them means."""

    SHORT = "short"
    STANDARD = "standard"
    LONG = "long"


Limit = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Tolerance = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Metric(ProfileModel):
    """One measured quantity. `range` bounds what is possible; outside it a value is kept and flagged.

    The other limits ask for checks against the values before (checks.py): `max_rate` in units a second, `spike` in
    units, `stuck_after_s` with `stuck_tolerance` in units, `max_gap_s`. Absent means not checked.
    """

    type: Literal["number", "boolean", "string"] = "number"
    unit: str = ""
    title: dict[str, str]
    range: tuple[float, float] | None = None
    max_rate: Limit | None = None
    spike: Limit | None = None
    stuck_after_s: Limit | None = None
    stuck_tolerance: Tolerance = 0.0
    max_gap_s: Limit | None = None
    choices: list[str] = []
    aggregation: Aggregation = Aggregation.MEAN
    retention: Retention = Retention.STANDARD
    decimals: Annotated[int, Field(ge=0, le=9)] = 2
    primary: bool = False

    @model_validator(mode="after")
    def _range_is_ordered(self) -> Metric:
        if self.range and self.range[0] > self.range[1]:
            raise ValueError("range: the lower bound is above the upper one")
        return self

    @model_validator(mode="after")
    def _numbers_have_limits(self) -> Metric:
        for name in ("max_rate", "spike", "stuck_after_s"):
            if self.type != "number" and getattr(self, name) is not None:
                raise ValueError(f"{name}: only a number has one, and this is a {self.type}")
        if self.stuck_tolerance and self.stuck_after_s is None:
            raise ValueError("stuck_tolerance: needs stuck_after_s beside it")
        return self

    @property
    def watched(self) -> bool:
        """Whether a value is compared with those before it."""
        return any((self.max_rate, self.spike, self.stuck_after_s, self.max_gap_s))


class AtMost(ProfileModel):
    """Rule between metrics of one moment: `metric` is above `other` by no more than `tolerance`."""

    rule: Literal["at_most"]
    metric: Name
    other: Name
    tolerance: Tolerance = 0.0

    @property
    def metrics(self) -> list[str]:
        """The metrics that the rule compares."""
        return [self.metric, self.other]


class Never(ProfileModel):
    """Rule between metrics of one moment: they are not all within these ranges (both bounds belong to them)."""

    rule: Literal["never"]
    ranges: Annotated[dict[Name, tuple[float, float]], Field(min_length=2, max_length=8)]

    @property
    def metrics(self) -> list[str]:
        """The metrics that the rule compares."""
        return list(self.ranges)


CrossCheck = Annotated[AtMost | Never, Field(discriminator="rule")]


class EventSpec(ProfileModel):
    """Something that can happen; `severity` says whether it travels on the alarm stream."""

    title: dict[str, str]
    severity: Literal["info", "notice", "warning", "critical"] = "info"
    retention: Retention = Retention.STANDARD


class CommandSpec(ProfileModel):
    """Something that can be asked for. `max_expiry_s` bounds how long it may wait for the device.

    With `max_lease_s` the effect is lent: the command carries a `lease_s` of at most so much, and lapses by itself.
    """

    title: dict[str, str]
    effect: dict[str, str] = {}
    hazard: Hazard = Hazard.NONE
    args: dict[Name, FieldSpec] = {}
    max_expiry_s: Annotated[int, Field(ge=1, le=604_800)] = 3_600
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0
    max_lease_s: Annotated[int, Field(ge=1, le=86_400)] | None = None


_WORDS: Final = {"int32": 2, "uint32": 2, "float32": 2, "int64": 4, "uint64": 4, "float64": 4}
Scale = Annotated[float, Field(allow_inf_nan=False)]


class Register(ProfileModel):
    """Where a metric lives in a Modbus device (Modbus Application Protocol 1.1b3).

    `sentinels` maps a raw value (decimal or 0x, signed or as the bits stand) to the quality that it means; `labels` a
    code to its text. value = raw * scale + offset.
    """

    address: Annotated[int, Field(ge=0, le=65_536)]
    table: Literal["holding", "input", "coil", "discrete"] = "holding"
    type: Literal["int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bit"] = "uint16"
    bit: Annotated[int, Field(ge=0, le=15)] | None = None
    word_order: Literal["big", "little"] = "big"
    scale: Scale = 1.0
    offset: Scale = 0.0
    sentinels: dict[str, Quality] = {}
    labels: dict[str, str] = {}

    @model_validator(mode="after")
    def _agrees(self) -> Register:
        if self.scale == 0:
            raise ValueError("scale: 0 makes every value the same")
        if self.bit is not None and self.type != "bit":
            raise ValueError('bit: only a register of type "bit" has one')
        if self.type == "bit" and self.table in ("holding", "input") and self.bit is None:
            raise ValueError("bit: say which one, 0 (least significant) to 15")
        for code in self.labels:
            if not code.lstrip("-").isdigit():
                raise ValueError(f"labels.{code}: is not a whole number")
        _ = self.sentinel_patterns
        return self

    @property
    def words(self) -> int:
        """How many registers (or bits, in the bit tables) the value fills."""
        return _WORDS.get(self.type, 1) if self.table in ("holding", "input") else 1

    @cached_property
    def sentinel_patterns(self) -> dict[int, Quality]:
        """The sentinels as the bits that they are on the wire."""
        return {self._pattern(text): quality for text, quality in self.sentinels.items()}

    def _pattern(self, text: str) -> int:
        try:
            if text.lower().startswith("0x") or not self.type.startswith("float"):
                return int(text, 0) & ((1 << 16 * self.words) - 1)
            form = ">f" if self.type == "float32" else ">d"
            return int.from_bytes(struct.pack(form, float(text)), "big")
        except ValueError:
            raise ValueError(f"sentinels.{text}: is not a number") from None


class ModbusWrite(ProfileModel):
    """A register that a command argument (or a fixed value) or a configuration field is written to."""

    address: Annotated[int, Field(ge=0, le=65_536)]
    table: Literal["holding", "coil"] = "holding"
    type: Literal["int16", "uint16", "int32", "uint32", "float32", "bit"] = "uint16"
    word_order: Literal["big", "little"] = "big"
    scale: Scale = 1.0
    offset: Scale = 0.0
    arg: str = ""
    value: bool | int | Scale | None = None

    @model_validator(mode="after")
    def _agrees(self) -> ModbusWrite:
        if self.scale == 0:
            raise ValueError("scale: 0 cannot be undone")
        if (self.type == "bit") != (self.table == "coil"):
            raise ValueError('type: "bit" and table "coil" go together')
        if self.arg and self.value is not None:
            raise ValueError("value: give either a fixed value or arg, not both")
        return self

    @property
    def words(self) -> int:
        """How many registers the value fills."""
        return _WORDS.get(self.type, 1)


class ModbusMap(ProfileModel):
    """A device's registers. `base` 1 means that the maker's document counts from 1."""

    base: Literal[0, 1] = 0
    max_gap: Annotated[int, Field(ge=0, le=100)] = 8
    registers: dict[Name, Register]
    commands: dict[Name, list[ModbusWrite]] = {}
    configuration: dict[Name, ModbusWrite] = {}

    @model_validator(mode="after")
    def _addresses_exist(self) -> ModbusMap:
        for where, item in self._items():
            first = item.address - self.base
            if first < 0 or first + item.words > 65_536:
                raise ValueError(f"{where}: address {item.address} is outside 0 to 65535 (base {self.base})")
        return self

    def _items(self) -> Iterator[tuple[str, Register | ModbusWrite]]:
        for name, register in self.registers.items():
            yield f"registers.{name}", register
        for name, writes in self.commands.items():
            for nth, write in enumerate(writes):
                yield f"commands.{name}.{nth}", write
        for name, write in self.configuration.items():
            yield f"configuration.{name}", write


Column = Annotated[int, Field(ge=0, le=1_000)] | str


class TailColumn(ProfileModel):
    """Which metric (or event field) a column holds: its name in the header, or its place counted from 0.

    `type` matters for events; a reading takes the type of its metric.
    """

    column: Column
    type: Literal["number", "integer", "boolean", "string"] = "number"


class TailMap(ProfileModel):
    """What the lines of a logger's text file mean.

    `delimiter` "" means any blanks; lines that begin with one of `skip` are passed over. `time` names the columns that
    are joined by one blank and read by `time_format`: as in `datetime.strptime`, or `iso`, `unix` (seconds), `unix_ms`.
    `timezone` is an IANA name. Texts in `missing` mean that there is no sample. With `event` each line is an event of
    that name whose data are the columns, otherwise a reading of each column's metric.
    """

    delimiter: Annotated[str, Field(max_length=1)] = ","
    decimal: Literal[".", ","] = "."
    skip: list[Annotated[str, Field(min_length=1)]] = []
    header: bool = False
    time: Annotated[list[Column], Field(min_length=1, max_length=8)]
    time_format: Annotated[str, Field(min_length=1)]
    timezone: str = "UTC"
    missing: list[str] = ["", "NA", "NaN", "-999", "null"]
    columns: Annotated[dict[Name, TailColumn], Field(min_length=1)]
    event: str = ""

    @model_validator(mode="after")
    def _agrees(self) -> TailMap:
        named = [ref for ref in (*self.time, *(c.column for c in self.columns.values())) if isinstance(ref, str)]
        if named and not self.header:
            raise ValueError(f"column {named[0]!r} has a name: set header = true, or count columns from 0")
        if self.decimal == self.delimiter:
            raise ValueError("decimal: is the same as the delimiter")
        return self


class SimulatedMap(ProfileModel):
    """How the `simulated` driver's peer names things: metric to field of its JSON, where they differ."""

    metrics: dict[Name, str] = {}


class Example(ProfileModel):
    """Raw input as the device gives it, and the readings or event that it must become.

    Or values one after another, `step_s` apart, and the flags that the checks must give them ("" is good).
    """

    title: str
    modbus: dict[str, dict[str, int]] = {}
    line: str = ""
    header: str = ""
    readings: dict[Name, float | bool | str] = {}
    quality: dict[Name, str] = {}
    event: dict[str, Any] = {}
    t: int | None = None
    step_s: Limit | None = None
    values: dict[Name, list[float]] = {}
    flags: dict[Name, list[Quality | Literal[""]]] = {}


class Profile(ProfileModel):
    """A device model. `id` is unique over all classes; `device_class` groups models.

    `max_wait_s` bounds how long its readings wait for company before they are sent, whatever the link would rather do.
    """

    id: ProfileId
    device_class: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
    title: dict[str, str]
    maker: str = ""
    source: str = ""
    interval_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    max_wait_s: Annotated[float, Field(ge=0, le=86_400)] | None = None
    metrics: dict[Name, Metric] = {}
    checks: list[CrossCheck] = []
    events: dict[Name, EventSpec] = {}
    configuration: dict[Name, FieldSpec] = {}
    commands: dict[Name, CommandSpec] = {}
    modbus: ModbusMap | None = None
    tail: TailMap | None = None
    simulated: SimulatedMap | None = None
    examples: list[Example] = []

    @model_validator(mode="after")
    def _parts_agree(self) -> Profile:
        for wrong in (*self._unknown_names(), *self._unknown_in_checks(), *self._unknown_event()):
            raise ValueError(wrong)
        return self

    def _unknown_names(self) -> Iterator[str]:
        metrics, commands, fields = self.metrics.keys(), self.commands.keys(), self.configuration.keys()
        for where, names in self._mapped_metrics():
            yield from (f"{where}.{name}: no such metric; add [metrics.{name}]" for name in names - metrics)
        if self.modbus:
            for name in self.modbus.commands.keys() - commands:
                yield f"modbus.commands.{name}: no such command; add [commands.{name}]"
            for name in self.modbus.configuration.keys() - fields:
                yield f"modbus.configuration.{name}: no such field; add [configuration.{name}]"

    def _mapped_metrics(self) -> Iterator[tuple[str, set[str]]]:
        if self.modbus:
            yield "modbus.registers", set(self.modbus.registers)
        if self.tail and not self.tail.event:
            yield "tail.columns", set(self.tail.columns)
        if self.simulated:
            yield "simulated.metrics", set(self.simulated.metrics)

    def _unknown_in_checks(self) -> Iterator[str]:
        numbers = {name for name, metric in self.metrics.items() if metric.type == "number"}
        for nth, check in enumerate(self.checks):
            for name in (name for name in check.metrics if name not in numbers):
                yield f"checks.{nth}: there is no number {name}; add [metrics.{name}]"

    def _unknown_event(self) -> Iterator[str]:
        if self.tail and self.tail.event and self.tail.event not in self.events:
            yield f"tail.event: no such event; add [events.{self.tail.event}]"


def parse_profile(text: str, where: str = "") -> Profile:
    """Read a profile from TOML. Raises BadProfile that names the file and the key."""
    try:
        return Profile.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise BadProfile(f"not TOML: {error}", where) from None
    except RecursionError:
        raise BadProfile("is nested too deeply; a profile needs four levels", where) from None
    except ValidationError as error:
        wrong = bad_field(error)
        raise BadProfile(wrong.detail, f"{where}: {wrong.field}".strip(": ")) from None


def load_profiles(*folders: Path) -> dict[str, Profile]:
    """Return the profiles of the package and of the given folders (`CLASS/MODEL.toml` or `MODEL.toml`), by id.

    A later folder may replace a profile of an earlier one; twice the same id within a folder is a mistake.
    """
    found: dict[str, Profile] = {}
    with resources.as_file(resources.files(__package__) / "profiles") as own:
        for folder in (own, *folders):
            found |= _load_folder(folder)
    return found


def _load_folder(folder: Path) -> dict[str, Profile]:
    if not folder.is_dir():
        raise BadProfile("is not a folder; give one that holds profile files", str(folder))
    found: dict[str, Profile] = {}
    for path in sorted(folder.rglob("*.toml")):
        profile = parse_profile(_text(path), str(path))
        if profile.id in found:
            raise BadProfile(f"profile {profile.id!r} is defined twice", str(path))
        found[profile.id] = profile
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadProfile("is not UTF-8", str(path)) from None
    except OSError as error:
        raise BadProfile(f"cannot be read: {error.strerror}", str(path)) from None
