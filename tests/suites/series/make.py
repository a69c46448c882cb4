"""Short words for what the tests of series stores put in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TypeVar

from lamplighter_hub.series.store import BEGINNING, END_OF_TIME, Commit, Mark, Quarantined, TimeSeries
from lamplighter_hub.verification.service import Checkable
from lamplighter_protocols.quality import Samples
from lamplighter_protocols.readings import Quality, Reading, Value

T0 = 1_795_476_600_000
Item = TypeVar("Item")


def column(
    device: str, metric: str, points: Sequence[tuple[int, Value | None]], flags: Sequence[Quality | None] | None = None
) -> Samples:
    return Samples(device, metric, [t for t, _ in points], [value for _, value in points], flags)


def put(store: TimeSeries, *samples: Samples) -> None:
    store.commit(Commit(samples=list(samples)))


def everything(store: TimeSeries, device: str, *metrics: str) -> list[Reading]:
    found, cursor = store.readings(device, metrics, BEGINNING, END_OF_TIME, limit=100_000)
    assert cursor is None
    return found


def damaged_files(store: Checkable) -> list[str]:
    """Read every file; return the paths of those that are damaged and stay so."""
    return [item.path for item in store.check() if item.fault and not item.rebuilt]


def flat(chunks: Iterable[Sequence[Item]]) -> list[Item]:
    return list(chain.from_iterable(chunks))


def mark(first: int, last: int, stream: str = "live", **counts: int) -> Mark:
    numbers = {"stored": last - first + 1, "duplicate": 0, "quarantined": 0, "dropped": 0} | counts
    return Mark("pole-1", "01M80T5JNV0000000000000000", stream, first, last, **numbers)


def refused(number: int, payload: bytes = b"?", agent: str = "pole-1", reason: str = "bad_field") -> Quarantined:
    return Quarantined(f"{number:026d}", T0 + number, agent, "air-1", "batch", reason, "t", "no number", payload)
