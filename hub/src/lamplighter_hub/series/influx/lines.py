"""Line protocol: what is committed as the bytes of one write.

| measurement | tags | fields | time |
|---|---|---|---|
| readings | device, metric | value_f, value_b or value_s; stamp | milliseconds * 10^6 + place among equal ones |
| events | device | name, data, n, stamp | the same |
| quarantine | | size, id, at, agent, ... payload_0, payload_1 ... | number of arrival |

`stamp` is the number of the commit * 16 + the code of the quality. A field has one type for ever, so its name says it.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lamplighter_hub.series.columns import Points, as_json, size_of, storable
from lamplighter_hub.series.rows import as_text
from lamplighter_hub.series.store import Quarantined, StoredEvent, Unstorable

NS: Final = 1_000_000
"""Nanoseconds in a millisecond, so as many points of one series may have the same time."""
EARLIEST_MS: Final = -(2**63) // NS + 1_000
LATEST_MS: Final = 2**63 // NS - 1_000
"""What InfluxDB's nanoseconds reach: the years 1677 to 2262."""
QUALITIES: Final = 16
PIECE: Final = 250_000
"""Characters in one string field; InfluxDB takes 1 MiB, and a character has up to four bytes."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.:/-]+\Z")


def check_times(times: NDArray[np.int64]) -> None:
    """Raise Unstorable for times (ms) that InfluxDB cannot hold."""
    if len(times) and not (times.min() >= EARLIEST_MS and times.max() <= LATEST_MS):
        raise Unstorable("a time lies outside of the years 1678 to 2261, which are all that InfluxDB holds")


def series_key(device: str, metric: str) -> str:
    """Return how a line of a series begins. Raises Unstorable for names that no profile allows.

    >>> series_key("air-1", "pm25")
    'readings,device=air-1,metric=pm25 '
    """
    return f"readings,device={_plain(device)},metric={_plain(metric)} "


def readings(keys: Sequence[str], points: Points, times: NDArray[np.int64], commit: int) -> str:
    """Return the lines of points; `keys` by series number, `times` in nanoseconds."""
    if points.truth is None and points.text is None and not points.quality.any():
        tail = f",stamp={commit * QUALITIES}i "
        found = zip(points.series.tolist(), points.number.tolist(), times.tolist(), strict=True)
        return "".join([f"{keys[series]}value_f={number!r}{tail}{ns}\n" for series, number, ns in found])
    stamps = (points.quality.astype(np.int64) + commit * QUALITIES).tolist()
    rows = zip(points.series.tolist(), _values(points), stamps, times.tolist(), strict=True)
    return "".join([f"{keys[series]}{value}stamp={stamp}i {ns}\n" for series, value, stamp, ns in rows])


def events(found: Sequence[StoredEvent], times: Sequence[int], first: int, commit: int) -> str:
    """Return the lines of events, numbered from `first`; `times` in nanoseconds."""
    stamp = commit * QUALITIES
    return "".join(
        f"events,device={_plain(event.device)} "
        f"name={quoted(event.name)},{pieces('data', as_json(event.data))},n={number}i,stamp={stamp}i {ns}\n"
        for number, (event, ns) in enumerate(zip(found, times, strict=True), first)
    )


def quarantine(entries: Sequence[Quarantined], first: int, commit: int) -> str:
    """Return the lines of entries that were set aside, numbered from `first`."""
    return "".join(_set_aside(entry, commit, number) for number, entry in enumerate(entries, first))


def _set_aside(entry: Quarantined, commit: int, number: int) -> str:
    texts = ",".join(f"{name}={quoted(getattr(entry, name))}" for name in TEXTS)
    texts += f",held={quoted(as_text(entry.held))}"
    payload = pieces("payload", base64.b85encode(entry.payload).decode())
    return f"quarantine at={entry.at}i,size={size_of(entry)}i,{texts},{payload},stamp={commit * QUALITIES}i {number}\n"


TEXTS: Final = ("id", "agent", "device", "channel", "reason", "field", "detail")


def _values(points: Points) -> Iterator[str]:
    for place, number in enumerate(points.number.tolist()):
        if number == number:  # noqa: PLR0124 - NaN is no value
            yield f"value_f={number!r},"
            continue
        truth = None if points.truth is None else points.truth[place]
        text = None if points.text is None else points.text[place]
        yield f"value_b={truth}," if truth is not None else "" if text is None else f"value_s={quoted(text)},"


def quoted(text: str) -> str:
    r"""Return a text as the value of a string field.

    >>> print(quoted('say "a\\b"'))
    "say \"a\\b\""
    """
    return '"' + str(storable(text)).replace("\\", "\\\\").replace('"', '\\"') + '"'


def pieces(name: str, text: str) -> str:
    """Return a long text as as many fields as it needs: name_0, name_1 ..."""
    parts = [text[place : place + PIECE] for place in range(0, len(text), PIECE)] or [""]
    return ",".join(f"{name}_{number}={quoted(part)}" for number, part in enumerate(parts))


def joined(name: str, row: dict[str, object]) -> str:
    """Return the text that `pieces` cut up."""
    parts: list[str] = []
    while isinstance(part := row.get(f"{name}_{len(parts)}"), str):
        parts.append(part)
    return "".join(parts)


def _plain(name: str) -> str:
    if not _PLAIN.match(name):
        raise Unstorable(f"{name[:80]!r} is no name of a device or a metric")
    return name
