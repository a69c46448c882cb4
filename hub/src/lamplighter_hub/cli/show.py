"""What people and programs see: tables and lines, or JSON; progress on the error channel only."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

WIDE: Final = 400
"""Columns when nobody looks at a terminal: a program that reads a table gets whole lines."""
COLOURS: Final = {
    "online": "green",
    "succeeded": "green",
    "applied": "green",
    "offline": "red",
    "failed": "red",
    "rejected": "red",
    "expired": "yellow",
    "cancelled": "yellow",
    "unknown": "yellow",
    "running": "cyan",
    "received": "cyan",
    "sent": "cyan",
}
"""Colour is a help beside the word, never instead of it."""


def console(*, error: bool = False) -> Console:
    """Return a console for answers, or for progress and errors."""
    from rich.console import Console  # here and below: a hub that starts by the same program does without its memory

    stream = sys.stderr if error else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else WIDE, highlight=False, soft_wrap=error)


def plain(value: object) -> str:
    r"""Return a value as text that cannot move a terminal's cursor: devices choose some of what is shown here.

    >>> plain("a\x1b[2Jb"), plain(None), plain({"tray": "upper"}), plain(True)
    ('a\\x1b[2Jb', '', '{"tray": "upper"}', 'true')
    """
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() or char == "\n" else f"\\x{ord(char):02x}" for char in text)


def clock(ms: object) -> str:
    """Return a time in this machine's zone, with the milliseconds that devices report.

    >>> clock(None), clock(10**17)
    ('', '100000000000000000 ms')
    """
    if not isinstance(ms, int | float):
        return ""
    try:
        return _local(ms)
    except (OverflowError, ValueError, OSError):  # a device's clock may say anything
        return f"{ms} ms"


def _local(ms: float) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def rounded(value: object) -> object:
    """Return a number in six digits, or all of those before its point; anything else as it is.

    >>> rounded(118 / 3), rounded(-1 / 800_000), rounded(12_345_678.9), rounded(0.0), rounded(None)
    (39.3333, -1.25e-06, 12345679.0, 0.0, None)
    """
    if not isinstance(value, float) or not value or not math.isfinite(value):
        return value
    return round(value, max(0, 5 - math.floor(math.log10(abs(value)))))


def coloured(value: object) -> Text:
    """Return a cell; a known state is coloured."""
    from rich.text import Text

    text = plain(value)
    return Text(text, style=COLOURS.get(text, ""))


@dataclass(frozen=True)
class Column:
    """One column of a table: heading, key in the item, and how its value is shown."""

    title: str
    key: str
    kind: str = "text"
    """text, number, time, or mean: a number that nobody measured, in six digits."""

    def cell(self, item: Mapping[str, Any]) -> Text:
        """Return this column's cell of one item; `a.b` reaches into an object."""
        from rich.text import Text

        value: Any = item
        for part in self.key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if self.kind == "time":
            return Text(clock(value))
        return coloured(rounded(value) if self.kind == "mean" else value)


@dataclass(frozen=True)
class Show:
    """Prints answers in the form that was asked for."""

    as_json: bool = False

    def json(self, value: object) -> None:
        """Print one JSON value."""
        sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")

    def table(self, items: Sequence[Mapping[str, Any]], columns: Sequence[Column], empty: str) -> None:
        """Print a list: a JSON array, or a table; `empty` says what to do when there is nothing."""
        if self.as_json:
            self.json(items)
        elif not items:
            self.note(empty)
        else:
            console().print(_table(items, columns))

    def facts(self, value: Mapping[str, Any], columns: Sequence[Column]) -> None:
        """Print one thing: a JSON object, or a line for each fact that it has."""
        if self.as_json:
            self.json(value)
            return
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        for column in columns:
            if cell := column.cell(value):
                grid.add_row(Text(column.title, style="dim"), cell)
        console().print(grid)

    def say(self, text: str, style: str = "") -> None:
        """Print a line for people; nothing for programs."""
        from rich.text import Text

        if not self.as_json:
            console().print(Text(plain(text), style=style))

    def note(self, text: str) -> None:
        """Print a remark on the error channel, so that it never mixes with data."""
        from rich.text import Text

        console(error=True).print(Text(plain(text), style="dim"))

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """Show on a terminal that work goes on."""
        from rich.text import Text

        with console(error=True).status(Text(plain(text))):
            yield


def _table(items: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        right = column.kind in ("number", "mean")
        table.add_column(column.title, justify="right" if right else "left", overflow="fold", no_wrap=right)
    for item in items:
        table.add_row(*(column.cell(item) for column in columns))
    return table
