"""`lamplighter status`: how the hub is, a line for each of its parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import typer

from lamplighter_hub.cli.connect import Session, connected
from lamplighter_hub.cli.show import Column, clock, plain

app = typer.Typer(rich_markup_mode="rich")

_A_TIME: Final = 10**12
"""Milliseconds since 1970 are above it since 2001; what is called like a time and is smaller is a count."""
_TIMES: Final = ("now", "since", "began", "ended", "last")


@app.command("status")
@connected
def status(at: Session) -> None:
    """Show how the hub is: versions, what listens where, counts, rates, the broker. What is 0 or empty is left out.

    [bold]lamplighter status[/bold]
    [bold]lamplighter status --json | jq .parts.ledger[/bold]
    """
    found = at.hub.get("/status")
    if at.show.as_json:
        at.show.json(found)
        return
    told = {name: _line(name, part) for name, part in (found | found["parts"]).items() if name != "parts"}
    at.show.facts(told, [Column(name.replace("_", " "), name) for name in told])


def _line(name: str, part: Any) -> str:
    """Return one part of a status, or one of its own facts, as a line."""
    told = ", ".join(_facts(part)) if isinstance(part, Mapping) else _fact(name, "", part)
    return told or "none"


def _facts(part: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a part says, one fact each, those of a part of it after its name.

    >>> list(_facts({"connected": False, "queued": 0, "disk_bytes": 1_250_000, "gone": {"files": 1200, "at": None}}))
    ['not connected', 'disk 1.2 MB', 'gone files 1,200']
    """
    for name, value in part.items():
        words = name.replace("_", " ")
        if isinstance(value, Mapping):
            yield from (f"{words} {fact}" for fact in _facts(value))
        elif isinstance(value, bool):
            yield words if value else f"not {words}"
        elif value not in (0, "", None, []):
            yield _fact(name, words, value)


def _fact(name: str, words: str, value: Any) -> str:
    if isinstance(value, int) and value > _A_TIME and (name in _TIMES or name.endswith(("_at", "_from", "_to"))):
        return f"{words} {clock(value)}".strip()
    if name.endswith("bytes_s"):
        return f"{words.removesuffix('bytes s')}{_size(value)}/s"
    if name.endswith("bytes"):
        return f"{words.removesuffix('bytes')}{_size(value)}"
    return f"{words} {f'{value:,}' if isinstance(value, int) and name != 'pid' else plain(value)}".strip()


def _size(count: float) -> str:
    """Return a number of bytes as people read it.

    >>> _size(999), _size(4_000_000), _size(12_345_678_901)
    ('999 B', '4.0 MB', '12.3 GB')
    """
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.1f} {unit}" if unit != "B" else f"{count} B"
        count /= 1000
    return f"{count:,.1f} GB"
