"""What was kept whole in quarantine is taken after all: its times are right now, or it is known now (0015, 0067).

The readings, the ledger's mark and the note of the release are one commit, so it happens once or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from lamplighter_hub.ingest.batches import OwnerProfile, keep_refused, take_readings
from lamplighter_hub.ingest.foreign import Known, fresh
from lamplighter_hub.ingest.group import Group
from lamplighter_hub.ingest.kept import AS_THEY_ARE, Origin, Why, keep_pack, span
from lamplighter_hub.series.store import Held, Mark, Quarantined, Release, StoredEvent
from lamplighter_protocols.profile import Profile
from lamplighter_protocols.readings import ReadingsRecord, columnar
from lamplighter_protocols.records import EventRecord
from lamplighter_protocols.topics import Channel

Content = ReadingsRecord | EventRecord


class Corrected(NamedTuple):
    """An entry of quarantine and what it holds, its times moved by `shift` ms; no content when it came before."""

    entry: Quarantined
    held: Held
    content: Content | None
    shift: int


def take_release(group: Group, found: Sequence[Corrected], owner: OwnerProfile, known: Known, by: str) -> None:
    """Take corrected entries into the group, in the order given; what cannot be stored any more stays set aside."""
    _recognise(group, found, known)
    for item in found:
        if item.content is None or _take(group, item, item.content, owner):
            group.releases.append(Release(item.entry.id, group.now_ms, item.shift, by))
            _book(group, item.entry.agent, item.held)


def _recognise(group: Group, found: Iterable[Corrected], known: Known) -> None:
    """Learn what the store has of foreign devices at the corrected times: at QoS 1 anything may have come before."""
    by_device = sorted((item for item in found if _foreign(item.entry)), key=lambda item: item.entry.device)
    for device, items in groupby(by_device, key=lambda item: item.entry.device):
        readings = [one for item in items if isinstance(item.content, ReadingsRecord) for one in item.content.points()]
        if readings:
            group.foreign.setdefault(device, set()).update(known(device, readings))


def _take(group: Group, item: Corrected, content: Content, owner: OwnerProfile) -> bool:
    profile = owner(item.entry.agent, item.entry.device)
    if isinstance(profile, str):
        return False
    if isinstance(content, EventRecord):
        group.events.append(StoredEvent(content.device, content.t, content.name, content.data))
        return True
    return _take_pack(group, item, content, profile) if _foreign(item.entry) else _store(group, item, content, profile)


def _take_pack(group: Group, item: Corrected, content: ReadingsRecord, profile: Profile) -> bool:
    new = fresh(group, content.device, content.points(), lambda _device, _readings: set())
    return not new or _store(group, item, columnar(content.device, new), profile)


def _store(group: Group, item: Corrected, content: ReadingsRecord, profile: Profile) -> bool:
    held = item.held
    # Filling, as it is late: a gap before it says nothing of the device.
    origin = Origin(item.entry.agent, item.entry.at, held.outbox, held.stream, filling=True)
    stored, refused = take_readings(group, origin, content, profile)
    if stored and refused:
        _keep_rest(group, origin, item, content, refused)
    return stored


def _keep_rest(group: Group, origin: Origin, item: Corrected, content: ReadingsRecord, refused: Sequence[Why]) -> None:
    """Set aside again what the profile does not take of an entry; a pack with its own times stays as it came."""
    if _foreign(item.entry) and item.entry.reason in AS_THEY_ARE:
        for why in refused:
            keep_pack(group, origin, content.device, item.entry.payload, why, span(content))
    else:
        keep_refused(group, origin, item.held.number, content, refused, counted=False)


def _book(group: Group, agent: str, held: Held) -> None:
    if held.counted:
        group.draft.book(Mark(agent, held.outbox, held.stream, held.number, held.number, 1, 0, -1, 0))


def _foreign(entry: Quarantined) -> bool:
    return entry.channel == Channel.SENML
