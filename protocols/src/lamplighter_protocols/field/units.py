"""Unit names of the SenML registries (RFC 8428 12.1, RFC 8798) and the exact factors between them.

>>> convert(12.3, "mA", "A")
0.0123
>>> convert(1013.25, "hPa", "Pa")
101325.0
>>> convert(21.0, "Cel", "%RH") is None
True
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

_UNITS: Final = (
    "m kg g s A K cd mol Hz rad sr N Pa J W C V F Ohm S Wb T H Cel lm lx Bq Gy Sv kat m2 m3 l m/s m/s2 m3/s l/s W/m2 "
    "cd/m2 bit bit/s lat lon pH dB dBW Bspl count / % %RH %EL EL 1/s 1/min beat/min beats S/m B VA VAs var vars J/m "
    "kg/m3 deg NTU"
)
PRIMARY: Final = frozenset(_UNITS.split())
"""Registered units, those not recommended for new senders included."""

_MILLION: Final = 1_000_000
_SECONDARY: Final[dict[str, tuple[str, Fraction, Fraction]]] = {
    unit: (primary, Fraction(factor), Fraction(offset))
    for unit, primary, factor, offset in (
        ("ms", "s", "1/1000", 0),
        ("min", "s", 60, 0),
        ("h", "s", 3_600, 0),
        ("MHz", "Hz", _MILLION, 0),
        ("kW", "W", 1_000, 0),
        ("kVA", "VA", 1_000, 0),
        ("kvar", "var", 1_000, 0),
        ("Ah", "C", 3_600, 0),
        ("Wh", "J", 3_600, 0),
        ("kWh", "J", 3_600_000, 0),
        ("varh", "vars", 3_600, 0),
        ("kvarh", "vars", 3_600_000, 0),
        ("VAh", "VAs", 3_600, 0),
        ("kVAh", "VAs", 3_600_000, 0),
        ("Wh/km", "J/m", "3.6", 0),
        ("KiB", "B", 1_024, 0),
        ("GB", "B", 1_000 * _MILLION, 0),
        ("Mbit/s", "bit/s", _MILLION, 0),
        ("B/s", "bit/s", 8, 0),
        ("MB/s", "bit/s", 8 * _MILLION, 0),
        ("mV", "V", "1/1000", 0),
        ("mA", "A", "1/1000", 0),
        ("dBm", "dBW", 1, -30),
        ("ug/m3", "kg/m3", "1e-9", 0),
        ("mm/h", "m/s", "1/3600000", 0),
        ("m/h", "m/s", "1/3600", 0),
        ("ppm", "/", "1e-6", 0),
        ("ppb", "/", "1e-9", 0),
        ("ppt", "/", "1e-12", 0),
        ("/100", "/", "1/100", 0),
        ("/1000", "/", "1/1000", 0),
        ("hPa", "Pa", 100, 0),
        ("mm", "m", "1/1000", 0),
        ("cm", "m", "1/100", 0),
        ("km", "m", 1_000, 0),
        ("km/h", "m/s", "5/18", 0),
        ("mg/l", "kg/m3", "1/1000", 0),
        ("ug/l", "kg/m3", "1e-6", 0),
        ("g/l", "kg/m3", 1, 0),
    )
}
# Not in the registry of secondary units, and exact all the same: what devices and profiles also call these.
_ALSO: Final[dict[str, tuple[str, Fraction, Fraction]]] = {
    "Cel": ("K", Fraction(1), Fraction("273.15")),
    "g": ("kg", Fraction(1, 1_000), Fraction(0)),
    "l": ("m3", Fraction(1, 1_000), Fraction(0)),
    "l/s": ("m3/s", Fraction(1, 1_000), Fraction(0)),
    "1/min": ("1/s", Fraction(1, 60), Fraction(0)),
    "%": ("/", Fraction(1, 100), Fraction(0)),
    "1": ("/", Fraction(1), Fraction(0)),
}
REGISTERED: Final = PRIMARY | _SECONDARY.keys()


def convert(value: float, unit: str, wanted: str) -> float | None:
    """Return a value in another unit, exact to the last digit; None when the two do not measure the same."""
    if unit == wanted:
        return value
    kind, factor, offset = _basis(unit)
    wanted_kind, wanted_factor, wanted_offset = _basis(wanted)
    if kind != wanted_kind:
        return None
    return float((Fraction(repr(value)) * factor + offset - wanted_offset) / wanted_factor)


def _basis(unit: str) -> tuple[str, Fraction, Fraction]:
    return _SECONDARY.get(unit) or _ALSO.get(unit) or (unit, Fraction(1), Fraction(0))
