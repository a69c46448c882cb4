"""The times that devices give: which can be believed, and what is set aside until somebody knows the right ones."""

from __future__ import annotations

from typing import Final

from lamplighter_hub.ingest.group import Group
from lamplighter_hub.ingest.kept import Origin, Why, keep_pack, keep_record, span
from lamplighter_hub.series.store import AHEAD_MS
from lamplighter_protocols.errors import BadField
from lamplighter_protocols.readings import ReadingsRecord
from lamplighter_protocols.records import EventRecord

REASON: Final = "impossible_time"
EARLIEST_MS: Final = 1_577_836_800_000
"""2020-01-01T00:00:00Z: no device here reported before."""

UNSYNCED: Final = BadField("its agent does not know how wrong the clock was: release it with a shift", "clock")
"""The times may look well; the agent that made them says that they are not to be believed."""


def possible(t: int, now_ms: int) -> bool:
    """Whether a device's time can be believed at `now_ms`."""
    return EARLIEST_MS <= t <= now_ms + AHEAD_MS


def impossible_time(earliest: int, latest: int, now_ms: int) -> BadField | None:
    """Say what is wrong with device times: before 2020, or more than ten minutes ahead of the hub."""
    if earliest < EARLIEST_MS:
        return BadField("before 2020: the device's clock is not set", "t")
    if latest > now_ms + AHEAD_MS:
        return BadField("more than ten minutes ahead of the hub's clock: set the device's clock", "t")
    return None


def parted(record: ReadingsRecord, now_ms: int) -> tuple[ReadingsRecord | None, ReadingsRecord | None]:
    """Return a record as its rows whose time can be believed, and those whose time cannot."""
    if record.clock:
        return None, record
    earliest, latest = span(record)
    if possible(earliest, now_ms) and possible(latest, now_ms):
        return record, None
    good = [possible(record.t + offset, now_ms) for offset in record.dt]
    return _rows(record, good), _rows(record, [not one for one in good])


def _rows(record: ReadingsRecord, wanted: list[bool]) -> ReadingsRecord | None:
    if not any(wanted):
        return None
    rows = [row for row, one in enumerate(wanted) if one]
    return record.model_copy(
        update={
            "dt": [record.dt[row] for row in rows],
            "m": {name: [column[row] for row in rows] for name, column in record.m.items()},
            "q": {name: [column[row] for row in rows] for name, column in record.q.items()},
        }
    )


def hold(
    group: Group, origin: Origin, number: int, record: ReadingsRecord | EventRecord, *, counted: bool = True
) -> None:
    """Set a record aside for its times, whole; `counted` as the ledger does, unless another part of it is stored."""
    error = UNSYNCED if record.clock else _wrong(*span(record), origin.arrived_ms)
    keep_record(group, origin, number, record.model_copy(update={"clock": None}), Why(REASON, error), counted=counted)


def hold_pack(group: Group, origin: Origin, device: str, payload: bytes, times: list[int]) -> None:
    """Set the SenML pack of a foreign device aside, as it came, for those of its times that cannot be believed."""
    error = _wrong(min(times), max(times), origin.arrived_ms)
    keep_pack(group, origin, device, payload, Why(REASON, error), (min(times), max(times)))


def _wrong(earliest: int, latest: int, now_ms: int) -> BadField:
    return impossible_time(earliest, latest, now_ms) or BadField("cannot be believed", "t")
