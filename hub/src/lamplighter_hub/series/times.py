"""Moments and spans as people and programs write them in a query: `2026-11-24T08:00`, `1795476600000`, `-1h`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import chain
from typing import Annotated, Final, NamedTuple

from fastapi import Query

from lamplighter_hub.access.dependencies import Hub
from lamplighter_hub.errors import invalid
from lamplighter_hub.series.store import BEGINNING, END_OF_TIME
from lamplighter_protocols.model import EARLIEST, LATEST

SECOND: Final = 1_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
_UNITS: Final = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_RELATIVE: Final = re.compile(r"-(\d{1,12})(ms|s|m|h|d|w)\Z")
_LOST_PLUS: Final = re.compile(r" (\d{2}:?\d{2})\Z")
_HINT: Final = "is no time: write 2026-11-24T08:00Z, milliseconds since 1970, or -1h (s, m, h, d, w)"

WIDTHS: Final = tuple(
    chain(
        *([step * scale for step in (1, 2, 5)] for scale in (1, 10, 100)),
        (count * SECOND for count in (1, 2, 5, 10, 15, 30)),
        (count * MINUTE for count in (1, 2, 5, 10, 15, 30)),
        (count * HOUR for count in (1, 2, 3, 6, 12)),
        (count * DAY for count in (1, 2, 7, 14, 28, 91, 364)),
    )
)
"""Widths of a bucket (ms) that people can read off an axis."""

Moment = Annotated[str, Query(max_length=40, examples=["2026-11-24T08:00Z", "1795476600000", "-1h"])]
From = Annotated[Moment, Query(alias="from", description="From this time on; relative to now with `-1h`.")]
To = Annotated[Moment, Query(alias="to", description="Up to this time, not including it; now when absent.")]


class Range(NamedTuple):
    """From `start` up to and without `end` (ms); None where the caller said nothing."""

    start: int | None
    end: int | None

    @property
    def begin(self) -> int:
        """The start, or before every time."""
        return BEGINNING if self.start is None else self.start

    @property
    def stop(self) -> int:
        """The end, or after every time."""
        return END_OF_TIME if self.end is None else self.end


def asked_range(hub: Hub, start: From = "", end: To = "") -> Range:
    """Return the range of a request's `from` and `to`. Raises Invalid."""
    now = hub.clock()
    asked = Range(
        moment(start, now, "from") if start.strip() else None, moment(end, now, "to") if end.strip() else None
    )
    if asked.begin >= asked.stop:
        raise invalid("from", "is not before `to`")
    return asked


def moment(text: str, now_ms: int, parameter: str) -> int:
    """Return the milliseconds since the epoch of a moment as text. Raises Invalid that names the parameter.

    >>> moment("-1h", 3_600_000, "from"), moment("1970-01-02", 0, "from"), moment("12", 0, "to")
    (0, 86400000, 12)
    """
    text = text.strip()
    if found := _RELATIVE.match(text):
        t = now_ms - int(found[1]) * _UNITS[found[2]]
    elif text == "now":
        t = now_ms
    elif re.fullmatch(r"-?[0-9]{1,15}", text):
        t = int(text)
    else:
        t = _calendar(text, parameter)
    if not EARLIEST <= t <= LATEST:
        raise invalid(parameter, "lies outside of the years 1 to 9999")
    return t


def _calendar(text: str, parameter: str) -> int:
    """Read ISO 8601; without an offset it is UTC, and a `+` that a URL turned into a space is one again."""
    try:
        when = datetime.fromisoformat(_LOST_PLUS.sub(r"+\1", text) if "T" in text else text)
        return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise invalid(parameter, _HINT) from None


def human_width(span_ms: int, points: int) -> int:
    """Return the smallest readable bucket width (ms) that cuts a span into at most about `points` pieces.

    >>> human_width(3_600_000, 300), human_width(86_400_000, 300)
    (15000, 300000)
    """
    least = -(-span_ms // points)
    return next((width for width in WIDTHS if width >= least), -(-least // WIDTHS[-1]) * WIDTHS[-1])
