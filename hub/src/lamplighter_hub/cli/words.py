"""What people type: times, spans and `name=value` pairs."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import Annotated, Any

import typer

from lamplighter_hub.quarantine.shifts import SPAN, UNITS_MS, read_shift


def span_ms(text: str) -> int:
    """Return a span in milliseconds; a bare number is seconds.

    >>> span_ms("90"), span_ms("2h"), span_ms("1.5 d")
    (90000, 7200000, 129600000)
    """
    found = SPAN.fullmatch(text.strip()) or SPAN.fullmatch(f"{text.strip()}s")
    if found is None:
        raise typer.BadParameter(f"{text!r} is not a span: write 30s, 5m, 2h, 1d")
    return round(float(found[1]) * UNITS_MS[found[2]])


def shift_ms(text: str) -> int:
    """Return by how much times are moved, in milliseconds."""
    try:
        return read_shift(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def span_s(text: str | int) -> int:
    """Return a span in whole seconds, at least one; a number is an option's default and stays."""
    return text if isinstance(text, int) else max(1, round(span_ms(text) / 1000))


def moment(text: str) -> int:
    """Return a time in ms since 1970: `now`, `2h` (ago), ISO 8601 (this machine's zone unless told), or ms.

    >>> moment("1795476600000")
    1795476600000
    >>> moment("2026-11-24T08:30:00+08:00")
    1795480200000
    """
    text = text.strip()
    if text == "now":
        return round(time.time() * 1000)
    if text.isdigit() and len(text) > 10:
        return int(text)
    if SPAN.fullmatch(text):
        return round(time.time() * 1000) - span_ms(text)
    try:
        return round(datetime.fromisoformat(text).astimezone().timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(f"{text!r} is no time: write 2h (ago), now, or 2026-11-24T08:30") from None


def pairs(words: list[str]) -> dict[str, Any]:
    """Return `name=value` words as an object; a value is JSON where it can be, else text.

    >>> pairs(["seconds=30", "text=hello", "lit=true", 'name="12"'])
    {'seconds': 30, 'text': 'hello', 'lit': True, 'name': '12'}
    """
    document: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"{word!r} is not name=value")
        document[name] = _value(value)
    return document


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def json_object(text: str) -> dict[str, Any]:
    """Return a JSON object."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise typer.BadParameter(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter("not a JSON object: write {...}")
    return value


From = Annotated[
    int | None, typer.Option("--from", parser=moment, metavar="TIME", help="Begin: 2h (ago), ISO 8601, or ms.")
]
To = Annotated[int | None, typer.Option("--to", parser=moment, metavar="TIME", help="End, exclusive; else now.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=1_000_000, help="At most so many.")]
Device = Annotated[str, typer.Argument(metavar="DEVICE", help="Id of the device.")]
