"""Drivers by name, found by entry point. The built-in ones come through the same door as everybody's."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Final

from lamplighter_agent.driver import Driver, Fatal

GROUP: Final = "lamplighter.drivers"


def names() -> list[str]:
    """Return the names of all installed drivers."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def load(name: str) -> type[Driver]:
    """Return a driver's class; imports what it needs. Raises Fatal with a fix when it cannot be had."""
    found = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    if not found:
        raise Fatal(f"is not installed; installed drivers: {', '.join(names()) or 'none'}")
    # An editable install beside a wheel lists the same entry point twice.
    if len({entry.value for entry in found}) > 1:
        raise Fatal(f"is provided twice: {', '.join(sorted(entry.value for entry in found))}; remove one")
    return _load(found[0])


def _load(entry: EntryPoint) -> type[Driver]:
    try:
        driver = entry.load()
    except ImportError as error:
        extra = "" if entry.dist is None else f"; try: pip install '{entry.dist.name}[{entry.name}]'"
        raise Fatal(f"cannot be imported: {error}{extra}") from None
    if not (isinstance(driver, type) and issubclass(driver, Driver)):
        raise Fatal(f"{entry.value} is not a Driver")
    return driver
