"""Batches as nearly all of them are: readings that are numbers, without flags, next in their stream.

They are read by a typed decoder in a third of the time that the models of the wire contract take (docs/decisions/0037).
It takes less than they do and never more, and what is known already needs no look at its spelling: the outbox and its
stream are in the ledger, the device is in the registry, the metric is in its profile. Whatever is not plain in any
way is left untouched, for `batches.take_batch` to look at from its first byte.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, MsgspecError, Struct
from msgspec.json import Decoder

from lamplighter_hub.ingest.batches import OwnerProfile
from lamplighter_hub.ingest.group import Group
from lamplighter_hub.ingest.times import possible
from lamplighter_hub.ledger.account import Key
from lamplighter_protocols.envelope import unwrap
from lamplighter_protocols.model import EARLIEST, LATEST
from lamplighter_protocols.profile import Profile
from lamplighter_protocols.quality import Samples, check_record
from lamplighter_protocols.readings import MAX_METRICS, MAX_OFFSET_MS, MAX_SAMPLES, Quality
from lamplighter_protocols.records import MAX_RECORDS, Stream

_Millis = Annotated[int, Meta(ge=EARLIEST, le=LATEST)]
_Offset = Annotated[int, Meta(ge=-MAX_OFFSET_MS, le=MAX_OFFSET_MS)]
_Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]


class PlainReadings(Struct, forbid_unknown_fields=True, gc=False):
    """A `ReadingsRecord` of numbers."""

    kind: Literal["readings"]
    device: str
    t: _Millis
    dt: Annotated[list[_Offset], Meta(min_length=1, max_length=MAX_SAMPLES)]
    m: Annotated[dict[str, list[float | None]], Meta(max_length=MAX_METRICS)] = {}
    q: Annotated[dict[str, list[Quality | None]], Meta(max_length=0)] = {}


class PlainBatch(Struct, forbid_unknown_fields=True, gc=False):
    """A `Batch` of such records."""

    outbox: str
    stream: Stream
    first: Annotated[int, Meta(ge=1, le=2**53 - 1)]
    sent: _Millis
    records: Annotated[list[PlainReadings], Meta(min_length=1, max_length=MAX_RECORDS)]
    held: dict[Stream, _Count] = {}
    freed: dict[Stream, _Count] = {}


_BATCH: Final = Decoder(PlainBatch)


def read_plain(payload: bytes) -> PlainBatch | None:
    """Read a batch if it is a plain one. Raises BadEnvelope."""
    try:
        return _BATCH.decode(unwrap(payload))
    except (MsgspecError, UnicodeDecodeError):
        return None


def take_plain(group: Group, agent: str, payload: bytes, owner: OwnerProfile) -> bool:
    """Take a batch into the group if it is a plain one; False when it is not, and nothing was done.

    Raises BadEnvelope.
    """
    batch = read_plain(payload)
    if batch is None:
        return False
    key = Key(agent, batch.outbox, batch.stream)
    if not group.draft.awaits(key, batch.first):
        return False
    found = []
    for record in batch.records:
        good = _good(group, owner(agent, record.device), record)
        if good is None:
            return False
        found.append((record.device, *good))
    filling = batch.held.get(Stream.BACKLOG, 0) > 0
    for device, profile, columns in found:
        group.samples += group.judgement.of(profile, device, columns, filling=filling)
    group.draft.extend(key, batch.first, len(found))
    if batch.held or batch.freed:
        group.draft.heed(agent, batch.outbox, batch.held, batch.freed)
    group.receipts.add((agent, batch.outbox))
    group.records += len(found)
    return True


def _good(group: Group, profile: Profile | str, record: PlainReadings) -> tuple[Profile, list[Samples]] | None:
    """Return the profile and the columns of a record of which nothing is refused."""
    if isinstance(profile, str):
        return None
    rows = len(record.dt)
    for values in record.m.values():
        if len(values) != rows:
            return None
    if not (possible(record.t + min(record.dt), group.now_ms) and possible(record.t + max(record.dt), group.now_ms)):
        return None
    columns, refused = check_record(profile, record)
    return None if refused else (profile, columns)
