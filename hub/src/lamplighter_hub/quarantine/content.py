"""What an entry of quarantine holds, and what is left of the reasons against it when it is to be released."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, TypeAdapter, ValidationError

from lamplighter_hub.ingest.batches import OwnerProfile, metric_of, not_ours
from lamplighter_hub.ingest.kept import AS_THEY_ARE, BAD_VALUE, UNKNOWN_METRIC, span
from lamplighter_hub.ingest.release import Content, Corrected
from lamplighter_hub.ingest.times import REASON, UNSYNCED, impossible_time, possible
from lamplighter_hub.series.store import Held, Quarantined
from lamplighter_protocols.envelope import unwrap
from lamplighter_protocols.errors import WireError, bad_field
from lamplighter_protocols.field.senml import to_readings
from lamplighter_protocols.profile import Profile
from lamplighter_protocols.quality import check_record
from lamplighter_protocols.readings import Reading, ReadingsRecord, columnar
from lamplighter_protocols.records import EventRecord
from lamplighter_protocols.topics import Channel

_CONTENT: Final[TypeAdapter[Content]] = TypeAdapter(
    Annotated[ReadingsRecord | EventRecord, Field(discriminator="kind")]
)


def read_content(entry: Quarantined, profile: Profile) -> Content:
    """Return what was set aside, with the times that it came with. Raises WireError."""
    if entry.channel == Channel.SENML:
        found = to_readings(profile, entry.device, entry.payload, entry.at)
        return columnar(entry.device, [reading for reading in found if _set_aside(entry, reading)])
    try:
        return _CONTENT.validate_json(unwrap(entry.payload))
    except ValidationError as error:
        raise bad_field(error) from None


def shift_of(entry: Quarantined, held: Held, shift_ms: int | None) -> int:
    """Return by how much (ms) an entry's times are moved; without a shift so that its newest is when it arrived."""
    return entry.at - held.latest if shift_ms is None else shift_ms


def corrected(entry: Quarantined, shift_ms: int | None, owner: OwnerProfile, now_ms: int) -> Corrected | str:
    """Return an entry as it can be released, or why it cannot."""
    if entry.release is not None:
        return f"was released already, moved by {entry.release.shift} ms by {entry.release.by}"
    if entry.held is None:
        kept = entry.reason in (REASON, *AS_THEY_ARE)
        return "was not kept whole" if kept else f"was set aside for another reason: {entry.reason}"
    profile = owner(entry.agent, entry.device)
    if isinstance(profile, str):
        return f"{profile}: {not_ours(profile).detail}"
    try:
        content = read_content(entry, profile)
    except WireError as error:
        return str(error)
    shift = shift_of(entry, entry.held, shift_ms)
    moved = content.model_copy(update={"t": content.t + shift, "clock": None})
    why = _unbelievable(content, shift) or _wrong_time(moved, now_ms) or _unstorable(moved, profile)
    return why or Corrected(entry, entry.held, moved, shift)


def _set_aside(entry: Quarantined, reading: Reading) -> bool:
    """Whether an entry is there for this reading of its pack; the others of it were stored."""
    if entry.reason in {UNKNOWN_METRIC, BAD_VALUE} and reading.metric != metric_of(entry.field):
        return False
    return possible(reading.t, entry.at) is not (entry.reason == REASON)


def _unbelievable(content: Content, shift: int) -> str:
    return "" if shift or not content.clock else UNSYNCED.detail


def _wrong_time(content: Content, now_ms: int) -> str:
    error = impossible_time(*span(content), now_ms)
    return f"its times would still be impossible: {error.detail}" if error else ""


def _unstorable(content: Content, profile: Profile) -> str:
    if isinstance(content, EventRecord):
        return ""
    columns, refused = check_record(profile, content)
    return "" if columns else str(refused[0]) if refused else "it holds no sample"
