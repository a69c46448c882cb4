"""How values look: numbers and times in the visitor's language, device data as bounded text."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from babel.dates import format_datetime, format_timedelta
from babel.numbers import format_decimal

from lamplighter_hub.console.i18n import N_, Language
from lamplighter_hub.console.words import unit

MAX_TEXT: Final = 200


def filters(language: Language) -> dict[str, Callable[..., Any]]:
    """Return the Jinja filters of a language."""
    return {
        "whole": lambda value: whole(language, value),
        "reading": lambda value, decimals=2: reading(language, value, decimals),
        "moment": lambda t: moment(language, t),
        "iso": iso,
        "age": lambda t, now: age(language, t, now),
        "span": lambda ms: span(language, ms),
        "unit": unit,
        "issuer": lambda issuer: issuer_name(language, issuer),
        "text": text,
    }


def whole(language: Language, value: float) -> str:
    """Write a count, such as 74,336."""
    return format_decimal(value, "#,##0", locale=language.locale)


def reading(language: Language, value: Any, decimals: int = 2) -> str:
    """Write a measured value with the decimals of its metric; texts and truth values stay what they are."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return text(value)
    places = "0" * decimals
    return format_decimal(value, f"#,##0.{places}" if places else "#,##0", locale=language.locale)


def moment(language: Language, t: int) -> str:
    """Write a time as date and time of day in the hub's own time zone."""
    form = "yyyy-MM-dd HH:mm:ss"
    return format_datetime(_local(t), form, locale=language.locale)


def _local(t: int) -> datetime:
    try:
        return datetime.fromtimestamp(t / 1000, UTC).astimezone()
    except (OverflowError, ValueError, OSError):
        return datetime.fromtimestamp(0, UTC)


def iso(t: int) -> str:
    """Write a time for machines."""
    return _local(t).isoformat(timespec="milliseconds")


def age(language: Language, t: int, now: int) -> str:
    """Write how long ago something was."""
    delta = timedelta(seconds=round((t - now) / 1000))
    return format_timedelta(delta, add_direction=True, format="short", threshold=1, locale=language.locale)


def span(language: Language, ms: int) -> str:
    """Write a length of time: milliseconds below ten seconds, else in the largest fitting unit."""
    if abs(ms) < 10_000:
        return format_decimal(ms / 1000, "0.000", locale=language.locale) + " s"
    return format_timedelta(timedelta(milliseconds=ms), format="short", threshold=1, locale=language.locale)


def issuer_name(language: Language, issuer: str) -> str:
    """Write who sent or changed something: a person by name, a token as one.

    The hub keeps `session NAME` and `token NAME`.
    """
    kind, _, name = issuer.partition(" ")
    if kind == "token" and name:
        return language.say(N_("API token %(name)s")) % {"name": text(name)}
    return text(name if kind == "session" and name else issuer)


def text(value: Any) -> str:
    """Write any JSON value as one bounded line."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(written.split())
    return line if len(line) <= MAX_TEXT else line[: MAX_TEXT - 1] + "…"
