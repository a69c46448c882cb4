"""A batch of the outbox: each record for itself, known ones recognised, all of them booked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count, groupby
from typing import Final, TypeVar

from pydantic_core import to_json

from lamplighter_hub.ingest.group import Group
from lamplighter_hub.ingest.kept import BAD_VALUE, UNKNOWN_METRIC, Origin, Why, keep_record
from lamplighter_hub.ingest.newcomers import Newcomers
from lamplighter_hub.ingest.times import hold, parted, possible
from lamplighter_hub.series.store import Mark, StoredEvent
from lamplighter_protocols.errors import BadField
from lamplighter_protocols.profile import Profile
from lamplighter_protocols.quality import check_record
from lamplighter_protocols.readings import ReadingsRecord
from lamplighter_protocols.records import (
    BadRecord,
    DroppedRecord,
    EventRecord,
    Header,
    Record,
    ReportedRecord,
    ResultRecord,
    Stream,
    parse_batch,
)
from lamplighter_protocols.topics import Channel

Told = TypeVar("Told", ResultRecord, ReportedRecord)
OwnerProfile = Callable[[str, str], Profile | str]
"""(agent, device) -> the device's profile, or the reason why its data cannot be taken."""

_OWNED: Final = (ReadingsRecord, EventRecord)

_HINTS: Final = {
    "unknown_device": "no birth of this agent names the device; add it to the agent's configuration",
    "foreign_device": "the device belongs to another agent",
    "unknown_profile": "the hub has no such profile; put its TOML file into a folder given with --profiles",
}


def take_batch(
    group: Group, agent: str, payload: bytes, owner: OwnerProfile, newcomers: Newcomers, arrived_ms: int
) -> None:
    """Take what is new of a batch into the group. Raises WireError when its header cannot be read."""
    header, records = parse_batch(payload)
    if any(newcomers.early(agent, device, group.now_ms) for device in _unknown(agent, records, owner)):
        group.counts["shed_early"] += 1
        return
    fresh = group.draft.fresh(agent, header, len(records))
    if fresh is None:
        group.counts["shed_torn"] += 1
        return
    group.draft.receive(agent, header, len(records))
    origin = Origin(agent, arrived_ms, header.outbox, header.stream, header.held.get(Stream.BACKLOG, 0) > 0)
    taken = [
        not new or _take_record(group, origin, number, record, owner)
        for number, record, new in zip(count(header.first), records, fresh, strict=False)
    ]
    for mark in _marks(agent, header, fresh, taken):
        group.draft.book(mark)
    for record, new in zip(records, fresh, strict=True):
        if new and type(record) is DroppedRecord:  # asking isinstance of another model is slow
            group.draft.declare(agent, header.outbox, record)
    group.draft.heed(agent, header.outbox, header.held, header.freed)
    group.receipts.add((agent, header.outbox))
    group.records += len(records)


def _unknown(agent: str, records: Sequence[Record | BadRecord], owner: OwnerProfile) -> set[str]:
    """Return the devices of a batch that the hub does not know."""
    devices = {record.device for record in records if isinstance(record, _OWNED)}
    return {device for device in devices if owner(agent, device) == "unknown_device"}


def _marks(agent: str, header: Header, fresh: list[bool], taken: list[bool]) -> Iterator[Mark]:
    """One mark for each run of new records, and one that counts what came again."""
    if all(fresh):  # one run, as nearly always
        kept, last = sum(taken), header.first + len(taken) - 1
        yield Mark(agent, header.outbox, header.stream, header.first, last, kept, 0, len(taken) - kept, 0)
        return
    numbered = zip(range(header.first, header.first + len(fresh)), fresh, taken, strict=True)
    for new, run in groupby(numbered, key=lambda item: item[1]):
        numbers, _, stored = zip(*run, strict=True)
        kept = sum(stored)
        first, last = numbers[0], numbers[-1]
        if new:
            yield Mark(agent, header.outbox, header.stream, first, last, kept, 0, len(stored) - kept, 0)
        else:
            yield Mark(agent, header.outbox, header.stream, first, last, 0, len(stored), 0, 0)


def _take_record(group: Group, origin: Origin, number: int, record: Record | BadRecord, owner: OwnerProfile) -> bool:
    """Take one new record; False when it went into quarantine as a whole."""
    if isinstance(record, BadRecord):
        _refuse(group, origin.agent, record)
        return False
    if isinstance(record, ReadingsRecord):
        return _take_readings(group, origin, number, record, owner)
    if isinstance(record, EventRecord):
        return _take_event(group, origin, number, record, owner)
    if isinstance(record, ResultRecord):
        group.results.append((origin.agent, _timed(group, record, origin), origin.arrived_ms))
    elif isinstance(record, ReportedRecord):
        group.reports.append((origin.agent, _timed(group, record, origin), origin.arrived_ms))
    return True


def _timed(group: Group, record: Told, origin: Origin) -> Told:
    """Return a record with a time that can be believed: what came of a command counts more than when it said so."""
    if possible(record.t, group.now_ms):
        return record
    group.counts["times_replaced"] += 1
    return record.model_copy(update={"t": origin.arrived_ms})


def _take_readings(group: Group, origin: Origin, number: int, record: ReadingsRecord, owner: OwnerProfile) -> bool:
    profile = _profile(group, origin, number, record, owner)
    if profile is None:
        return False
    good, odd = parted(record, group.now_ms)
    stored, refused = take_readings(group, origin, good, profile) if good else (False, [])
    kept = stored or not (refused or odd)
    if odd:
        hold(group, origin, number, odd, counted=not kept)
    if good and refused:
        keep_refused(group, origin, number, good, refused, counted=not (kept or odd))
    return kept


def take_readings(group: Group, origin: Origin, record: ReadingsRecord, profile: Profile) -> tuple[bool, list[Why]]:
    """Take readings whose times are right; return whether any is stored, and why which metrics are not."""
    columns, refused = check_record(profile, record)
    judged = group.judgement.of(profile, record.device, columns, filling=origin.filling)
    group.samples += judged
    return bool(judged), [why_refused(profile, error) for error in refused]


def why_refused(profile: Profile, error: BadField) -> Why:
    """Return why a metric is set aside: `error` is what `check_record` says of it."""
    return Why(BAD_VALUE if metric_of(error.field) in profile.metrics else UNKNOWN_METRIC, error)


def metric_of(field: str) -> str:
    """Return the metric that a refusal of `check_record` names."""
    return field.removeprefix("m.")


def keep_refused(
    group: Group, origin: Origin, number: int, record: ReadingsRecord, refused: Sequence[Why], *, counted: bool
) -> None:
    """Set metrics of a record aside, each for itself; the ledger counts the record once."""
    for why in refused:
        metric = metric_of(why.error.field)
        part = {
            "m": {name: column for name, column in record.m.items() if name == metric},
            "q": {name: flags for name, flags in record.q.items() if name == metric},
        }
        keep_record(group, origin, number, record.model_copy(update=part), why, counted=counted)
        counted = False


def _take_event(group: Group, origin: Origin, number: int, record: EventRecord, owner: OwnerProfile) -> bool:
    if _profile(group, origin, number, record, owner) is None:
        return False
    if record.clock or not possible(record.t, group.now_ms):
        hold(group, origin, number, record)
        return False
    group.events.append(StoredEvent(record.device, record.t, record.name, record.data))
    return True


def _profile(
    group: Group, origin: Origin, number: int, record: ReadingsRecord | EventRecord, owner: OwnerProfile
) -> Profile | None:
    """Return the profile of a record whose device can be believed; else quarantine it."""
    profile = owner(origin.agent, record.device)
    if isinstance(profile, str):
        keep_record(group, origin, number, record, Why(profile, not_ours(profile)))
        return None
    return profile


def not_ours(reason: str) -> BadField:
    """Say what to do about a device whose data cannot be taken; `reason` is what OwnerProfile gave."""
    return BadField(_HINTS.get(reason, reason), "device")


def _refuse(group: Group, agent: str, record: BadRecord) -> None:
    """Put a record that cannot be read into quarantine as JSON."""
    device = str(record.raw.get("device", ""))[:64] if isinstance(record.raw, dict) else ""
    payload = to_json(record.raw, inf_nan_mode="constants")
    group.refuse(agent, Channel.BATCH, "bad_record", payload, record.error, device)
