"""What was set aside for its times is taken after all, with the right ones (docs/decisions/0015).

The readings, the ledger's mark and the note of the release are one commit, so it happens once or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from lamplighter_hub.ingest.batches import OwnerProfile, take_readings
from lamplighter_hub.ingest.foreign import Known, fresh
from lamplighter_hub.ingest.group import Group
from lamplighter_hub.ingest.times import Origin
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
        if item.content is None or _take(group, item.entry, item.content, owner):
            group.releases.append(Release(item.entry.id, group.now_ms, item.shift, by))
            _book(group, item.entry.agent, item.held)


def _recognise(group: Group, found: Iterable[Corrected], known: Known) -> None:
    """Learn what the store has of foreign devices at the corrected times: at QoS 1 anything may have come before."""
    by_device = sorted((item for item in found if _foreign(item.entry)), key=lambda item: item.entry.device)
    for device, items in groupby(by_device, key=lambda item: item.entry.device):
        readings = [one for item in items if isinstance(item.content, ReadingsRecord) for one in item.content.points()]
        if readings:
            group.foreign.setdefault(device, set()).update(known(device, readings))


def _take(group: Group, entry: Quarantined, content: Content, owner: OwnerProfile) -> bool:
    profile = owner(entry.agent, entry.device)
    if isinstance(profile, str):
        return False
    if isinstance(content, EventRecord):
        group.events.append(StoredEvent(content.device, content.t, content.name, content.data))
        return True
    return _take_pack(group, entry, content, profile) if _foreign(entry) else _store(group, entry, content, profile)


def _take_pack(group: Group, entry: Quarantined, content: ReadingsRecord, profile: Profile) -> bool:
    new = fresh(group, entry.device, content.points(), lambda _device, _readings: set())
    return not new or _store(group, entry, columnar(entry.device, new), profile)


def _store(group: Group, entry: Quarantined, content: ReadingsRecord, profile: Profile) -> bool:
    origin = Origin(entry.agent, entry.at, filling=True)  # late: a gap before it says nothing of the device
    return take_readings(group, origin, content, profile)[0]


def _book(group: Group, agent: str, held: Held) -> None:
    if held.counted:
        group.draft.book(Mark(agent, held.outbox, held.stream, held.number, held.number, 1, 0, -1, 0))


def _foreign(entry: Quarantined) -> bool:
    return entry.channel == Channel.SENML
