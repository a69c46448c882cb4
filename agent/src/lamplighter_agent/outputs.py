"""Whether what a driver gave has the form that `Output` says: it is somebody's code, and passes on a device's word."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from lamplighter_agent.driver import Event, Output, Row
from lamplighter_protocols.ids import Name
from lamplighter_protocols.model import EARLIEST, LATEST
from lamplighter_protocols.readings import MAX_METRICS, Quality

LARGEST_POSITION: Final = 512 * 1024
"""Bytes of a position as JSON: the longest header of a log is in that of a log, with every character escaped."""
_QUALITIES: Final = frozenset(Quality)
_NAME: Final[TypeAdapter[str]] = TypeAdapter(Name)


def flaw(output: Output) -> str:
    """Return why an output cannot be recorded, in one line; empty when it can.

    Values are not looked at: one that no reading can have becomes none, with a flag. Nor are names and data of events,
    of which one may be refused without the others.
    """
    return next(_flaws(output), "")


def _flaws(output: Output) -> Iterator[str]:
    for row in output.rows:
        yield from _of_row(row)
    for event in output.events:
        yield from _of_time(event)
    if output.position is not None and not _fits(output.position):
        yield f"the position is not a JSON object of at most {LARGEST_POSITION} bytes"


def _of_row(row: Row) -> Iterator[str]:
    yield from _of_time(row)
    names = row.values.keys() | row.quality.keys()
    if len(names) > MAX_METRICS:
        yield f"{len(names)} metrics in a row; at most {MAX_METRICS}"
    yield from (f"{name!r:.80} is no name of a metric" for name in names if not _is_name(name))
    yield from (f"{flag!r:.80} is no quality" for flag in row.quality.values() if not _is_quality(flag))


def _of_time(item: Row | Event) -> Iterator[str]:
    if item.t is not None and not (type(item.t) is int and EARLIEST <= item.t <= LATEST):
        yield f"t is {item.t!r:.80}, not milliseconds since 1970"


@lru_cache(maxsize=4_096)
def _is_name(name: object) -> bool:
    try:
        _NAME.validate_python(name)
    except ValidationError:
        return False
    return True


def _is_quality(flag: object) -> bool:
    return isinstance(flag, str) and flag in _QUALITIES


def _fits(position: Any) -> bool:
    try:
        return isinstance(position, dict) and len(json.dumps(position)) <= LARGEST_POSITION
    except (TypeError, ValueError, RecursionError):
        return False
