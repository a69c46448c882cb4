"""How long what is kept: a class of metric has its days for raw points and for each roll-up (docs/decisions/0049)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final, NamedTuple

from lamplighter_protocols.profile import Retention

DAY_MS: Final = 86_400_000
_NAMES: Final = ("raw", "minute", "hour", "day", "events")


class Level(IntEnum):
    """The finest that is left of something; a coarser one is left as well."""

    RAW = 0
    MINUTE = 1
    HOUR = 2
    DAY = 3
    NONE = 4


WIDTHS: Final = {Level.MINUTE: 60_000, Level.HOUR: 3_600_000, Level.DAY: DAY_MS}
"""How wide a roll-up is (ms)."""


class Ages(NamedTuple):
    """For how many days raw points, roll-ups by minute, hour and day, and events are kept; None is for ever."""

    raw: int | None = None
    minute: int | None = None
    hour: int | None = None
    day: int | None = None
    events: int | None = None

    def level(self, end: int, now: int) -> Level:
        """Return what is to be left at `now` of points before `end` (ms).

        >>> Ages(1, 30, 365, None).level(0, 2 * DAY_MS)
        <Level.MINUTE: 1>
        """
        for level, days in zip(Level, self[:4], strict=False):
            if days is None or end > now - days * DAY_MS:
                return level
        return Level.NONE


FOR_EVER: Final = Ages()


class Policy(NamedTuple):
    """What each class of metric and event means, and which class a device's metric or event has."""

    ages: Mapping[Retention, Ages]
    metric: Callable[[str, str], Retention]
    event: Callable[[str, str], Retention]

    def of_metric(self, device: str, metric: str) -> Ages:
        """Return how long a series is kept."""
        return self.ages.get(self.metric(device, metric), FOR_EVER)

    def of_event(self, device: str, name: str) -> Ages:
        """Return how long a device's events of a name are kept."""
        return self.ages.get(self.event(device, name), FOR_EVER)


def read_ages(text: str) -> Ages:
    """Read days by what they are for. Raises ValueError that says what is wrong.

    What is finer is kept as long as the next coarser one that is named, and never longer.

    >>> read_ages("raw=30,hour=730")
    Ages(raw=30, minute=730, hour=730, day=None, events=None)
    >>> read_ages("")
    Ages(raw=None, minute=None, hour=None, day=None, events=None)
    """
    days = dict(_part(part) for part in text.split(",") if part.strip())
    coarser: int | None = None
    for name in reversed(_NAMES[:4]):
        mine = days.get(name, coarser)
        if mine is not None and coarser is not None and mine > coarser:
            raise ValueError(f"{name}={mine}: is longer than what is coarser, which is kept for {coarser} days")
        days[name] = coarser = mine
    return Ages(**days)


def _part(part: str) -> tuple[str, int | None]:
    name, _, days = (piece.strip() for piece in part.partition("="))
    if name not in _NAMES:
        raise ValueError(f"{part.strip()[:80]!r}: must look like raw=30,minute=90,hour=730,day=3650,events=365")
    if not (days.isascii() and days.isdigit() and 0 < int(days) <= 1_000_000):
        raise ValueError(f"{name}={days[:80]}: must be a number of days, 1 or more")
    return name, int(days)
