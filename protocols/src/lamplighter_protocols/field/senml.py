"""SenML (RFC 8428, JSON; RFC 9100 features): packs of foreign devices in, resolved records out, and the way back.

Strict: a label of the wrong type, an unknown unit or an impossible name refuses the pack, and the error says where
(`2.v` is label `v` of record 2, counted from 0). Unknown labels are ignored unless they end with `_`.

>>> pack = b'[{"bn":"urn:dev:ow:10e2073a/","bt":1795476600,"n":"temp","u":"Cel","v":21.5},{"n":"rh","t":-1.5,"v":48}]'
>>> for record in decode_pack(pack, 0): print(*record)
urn:dev:ow:10e2073a/temp 1795476600000 21.5 Cel None
urn:dev:ow:10e2073a/rh 1795476598500 48.0  None
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any, Final, NamedTuple

from lamplighter_protocols import envelope
from lamplighter_protocols.errors import BadField
from lamplighter_protocols.field.units import REGISTERED, convert
from lamplighter_protocols.ids import NAME_PATTERN
from lamplighter_protocols.model import EARLIEST, LATEST
from lamplighter_protocols.profile import Metric, Profile
from lamplighter_protocols.readings import MAX_SAMPLES, MAX_TEXT, Reading, Value

RELATIVE_BELOW: Final = 2**28
"""Times below this many seconds count from now (RFC 8428 4.5.3)."""
VERSIONS: Final = frozenset({10, 26})
"""Version 10, without and with the feature "secondary units" (RFC 9100: 10 + 2^4)."""
MAX_NAME: Final = 256
MAX_UNKNOWN: Final = 16
"""How many metrics that a profile does not know are passed on to be refused by name."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-:./_]*\Z")
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*\Z")
_METRIC: Final = re.compile(NAME_PATTERN)
_VALUES: Final = ("v", "vb", "vs", "vd")
_BASES: Final = frozenset({"bn", "bt", "bu", "bv", "bs", "bver"})


SenmlValue = float | bool | str | bytes


class SenmlRecord(NamedTuple):
    """One resolved record: absolute time in ms, full name. `total` is the sum (integral over seconds), if any."""

    name: str
    t: int
    value: SenmlValue | None
    unit: str
    total: float | None = None


def decode_pack(payload: bytes, now_ms: int, units: frozenset[str] = frozenset()) -> list[SenmlRecord]:
    """Return the resolved records of a pack. `units` are allowed beside the registered ones.

    Raises BadEnvelope for bytes that are no bounded JSON, BadField for a pack that RFC 8428 does not allow.
    """
    pack = envelope.decode(payload)
    if not isinstance(pack, list) or not pack:
        raise BadField("a SenML pack is a JSON array of at least one record", "pack")
    if len(pack) > MAX_SAMPLES:
        raise BadField(f"{len(pack)} records; at most {MAX_SAMPLES} are taken", "pack")
    resolver = _Resolver(now_ms, REGISTERED | units)
    records = [resolver.resolve(index, record) for index, record in enumerate(pack)]
    return [record for record in records if record is not None]


class _Resolver:
    """Carries the base fields from record to record."""

    def __init__(self, now_ms: int, units: frozenset[str]) -> None:
        self._now_ms = now_ms
        self._units = units
        self._bases: dict[str, Any] = {"bn": "", "bt": 0, "bu": "", "bv": 0, "bs": None}

    def resolve(self, index: int, record: Any) -> SenmlRecord | None:
        """Return one record with everything applied; None for one that only sets base fields."""
        if not isinstance(record, dict):
            raise BadField("a SenML record is a JSON object", str(index))
        for label, value in record.items():
            _check_label(f"{index}.{label:.40}", label, value)
        self._bases.update({label: value for label, value in record.items() if label in _BASES})
        if record and record.keys() <= _BASES:
            return None
        name, unit = self._name(index, record), self._unit(index, record)
        return SenmlRecord(name, self._time(index, record), self._value(index, record), unit, self._total(record))

    def _name(self, index: int, record: dict[str, Any]) -> str:
        name = self._bases["bn"] + record.get("n", "")
        if not _NAME.match(name) or len(name) > MAX_NAME:
            detail = f"{name[:80]!r} is no name: letters, digits and -:./_ after a letter or digit, at most {MAX_NAME}"
            raise BadField(detail, f"{index}.n")
        return str(name)

    def _unit(self, index: int, record: dict[str, Any]) -> str:
        unit = record.get("u", self._bases["bu"])
        if unit and unit not in self._units:
            label = "u" if "u" in record else "bu"
            raise BadField(f"{unit[:40]!r} is not a registered unit (RFC 8428 12.1, RFC 8798)", f"{index}.{label}")
        return str(unit)

    def _time(self, index: int, record: dict[str, Any]) -> int:
        seconds = float(self._bases["bt"]) + float(record.get("t", 0))
        since = self._now_ms if seconds < RELATIVE_BELOW else 0
        t = since + round(seconds * 1_000)
        if not EARLIEST <= t <= LATEST:
            raise BadField(f"{seconds:g} s is outside the years 1 to 9999", f"{index}.t")
        return t

    def _value(self, index: int, record: dict[str, Any]) -> SenmlValue | None:
        found = [label for label in _VALUES if label in record]
        if len(found) > 1:
            raise BadField(f"only one value is allowed, here are {' and '.join(found)}", f"{index}.{found[1]}")
        if not found:
            if "s" in record or self._bases["bs"] is not None:
                return None
            raise BadField("a value is missing: give v, vb, vs, vd or s", f"{index}.v")
        label = found[0]
        if label == "v":
            return _sum_of(record["v"], self._bases["bv"])
        return _bytes_of(index, record["vd"]) if label == "vd" else record[label]

    def _total(self, record: dict[str, Any]) -> float | None:
        if "s" not in record and self._bases["bs"] is None:
            return None
        return _sum_of(record.get("s", 0), self._bases["bs"] or 0)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -1e280 < value < 1e280  # room for a factor


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 4 * MAX_TEXT


_LABELS: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    **dict.fromkeys(("bt", "bv", "bs", "v", "s", "t", "ut"), (_is_number, "a finite number")),
    **dict.fromkeys(("bn", "bu", "n", "u", "vs", "vd"), (_is_text, f"a text of at most {4 * MAX_TEXT} characters")),
    "vb": (lambda value: isinstance(value, bool), "true or false"),
    "bver": (lambda value: type(value) is int and value in VERSIONS, "a version known here (10, or 26)"),
}


def _check_label(where: str, label: str, value: Any) -> None:
    fits, wanted = _LABELS.get(label, (None, ""))
    if fits is None:
        if label.endswith("_"):
            raise BadField("is a label that must be understood and is not known here", where)
    elif not fits(value):
        raise BadField(f"{value!r:.40} is not {wanted}", where)


def _sum_of(value: float, base: float) -> float:
    if not base:
        return float(value)
    return float(Fraction(repr(value)) + Fraction(repr(base)))  # exact: 20 + 3.1 is 23.1


def _bytes_of(index: int, text: str) -> bytes:
    if not _BASE64URL.match(text) or len(text) % 4 == 1:
        raise BadField("is not base64url without padding", f"{index}.vd")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode_pack(records: Sequence[SenmlRecord], base_name: str = "") -> bytes:
    """Return the pack of records; names are cut by `base_name`, which all of them must begin with.

    Raises BadField for a time before July 1978, which a reader would take for relative.
    """
    return envelope.encode([_packed(index, record, base_name) for index, record in enumerate(records)])


def _packed(index: int, record: SenmlRecord, base_name: str) -> dict[str, Any]:
    if not record.name.startswith(base_name):
        raise BadField(f"does not begin with {base_name!r}", f"{index}.n")
    if record.t < RELATIVE_BELOW * 1_000:
        raise BadField("times before 1978-07-04 cannot be told from relative ones", f"{index}.t")
    out: dict[str, Any] = {"bn": base_name} if base_name and index == 0 else {}
    out |= {"n": record.name[len(base_name) :]} if len(record.name) > len(base_name) else {}
    out |= {"u": record.unit} if record.unit else {}
    out["t"] = record.t // 1_000 if record.t % 1_000 == 0 else record.t / 1_000
    if record.value is not None:
        out |= _packed_value(record.value)
    return out if record.total is None else out | {"s": record.total}


def _packed_value(value: SenmlValue) -> dict[str, Any]:
    if isinstance(value, bytes):
        return {"vd": base64.urlsafe_b64encode(value).rstrip(b"=").decode()}
    return {"vb" if isinstance(value, bool) else "vs" if isinstance(value, str) else "v": value}


def to_readings(profile: Profile, device: str, payload: bytes, now_ms: int) -> list[Reading]:
    """Return a pack as readings of a device: the metric is what follows the last `:` or `/` of a name.

    A unit that can be converted to the metric's is, exactly; another one, or a value of another type, refuses the pack.
    A sum goes to the metric `NAME_sum` where the profile has one. Of metrics that the profile does not know, the first
    value of each is passed on, so that a check against the profile refuses them by name.
    """
    units = frozenset(metric.unit for metric in profile.metrics.values() if metric.unit)
    unknown: dict[str, Reading] = {}
    readings: list[Reading] = []
    for index, record in enumerate(decode_pack(payload, now_ms, units)):
        for name, value, unit in _named(index, record, profile):
            metric = profile.metrics.get(name)
            if metric:
                readings.append(Reading(device, name, record.t, _as_metric(f"{index}.{name}", metric, value, unit)))
            elif len(unknown) < MAX_UNKNOWN and not isinstance(value, bytes):
                unknown.setdefault(name, Reading(device, name, record.t, value))
    return readings + list(unknown.values())


def _named(index: int, record: SenmlRecord, profile: Profile) -> Iterator[tuple[str, SenmlValue, str]]:
    name = re.split(r"[:/]", record.name)[-1]
    if len(name) > 64 or not _METRIC.match(name):
        detail = f"{name[:40]!r} is no metric: a-z, then a-z 0-9 _ and dots, after the last ':' or '/'"
        raise BadField(detail, f"{index}.n")
    if record.value is not None:
        yield name, record.value, record.unit
    if record.total is not None and (record.value is None or f"{name}_sum" in profile.metrics):
        yield f"{name}_sum", record.total, ""


def _as_metric(where: str, metric: Metric, value: SenmlValue, unit: str) -> Value:
    if isinstance(value, bytes) or _kind(value) != metric.type:
        raise BadField(f"{value!r:.40} is not a {metric.type}", where)
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise BadField(f"is longer than {MAX_TEXT} characters", where)
        return value
    if isinstance(value, bool) or not unit:
        return value
    converted = convert(value, unit, metric.unit)
    if converted is None:
        raise BadField(f"unit {unit!r} cannot become {metric.unit or 'no unit'!r}", where)
    return converted


def _kind(value: Value) -> str:
    return "boolean" if isinstance(value, bool) else "string" if isinstance(value, str) else "number"


def from_readings(readings: Iterable[Reading], profile: Profile, base_name: str = "") -> bytes:
    """Return readings as a pack, with the units of their metrics; readings without value are left out."""
    records = [
        SenmlRecord(base_name + reading.metric, reading.t, reading.value, profile.metrics[reading.metric].unit)
        for reading in readings
        if reading.value is not None
    ]
    return encode_pack(records, base_name)
