"""Foreign devices: SenML (RFC 8428) from anything that speaks MQTT and has no outbox.

There are no sequence numbers, so a redelivery is recognised by what is already stored: the same value of a metric at
the same time. At QoS 1 any message may be one. MQTT's DUP flag tells only of the broker's own repetitions: what the
device repeats because its broker died before confirming comes as a new message (MQTT 3.1.1, 3.3.1.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from lamplighter_hub.ingest.batches import OwnerProfile, not_ours, why_refused
from lamplighter_hub.ingest.group import Group
from lamplighter_hub.ingest.kept import Origin, Why, keep_pack, span
from lamplighter_hub.ingest.times import hold_pack, possible
from lamplighter_hub.series.store import TimeSeries
from lamplighter_protocols.field.senml import to_readings
from lamplighter_protocols.quality import check_record
from lamplighter_protocols.readings import Reading, Value, columnar

Same = tuple[str, int, Value | None]
"""Metric, time and value of a reading; its quality may have been judged since."""
Known = Callable[[str, list[Reading]], set[Same]]
"""(device, readings) -> those that the store already has."""
PAGE: Final = 10_000


class Foreign(NamedTuple):
    """One SenML pack as it came at `arrived_ms`. `again`: it may have come before, as everything at QoS 1 may."""

    agent: str
    device: str
    payload: bytes
    again: bool
    arrived_ms: int


def take_senml(group: Group, pack: Foreign, owner: OwnerProfile, known: Known) -> None:
    """Take a SenML pack into the group. Raises WireError when it cannot be read."""
    profile = owner(pack.agent, pack.device)
    origin = Origin(pack.agent, pack.arrived_ms)
    if isinstance(profile, str):
        keep_pack(group, origin, pack.device, pack.payload, Why(profile, not_ours(profile)))
        return
    found = to_readings(profile, pack.device, pack.payload, pack.arrived_ms)
    readings = [reading for reading in found if possible(reading.t, pack.arrived_ms)]
    if len(readings) < len(found):
        odd = [reading.t for reading in found if not possible(reading.t, pack.arrived_ms)]
        hold_pack(group, origin, pack.device, pack.payload, odd)
    if not readings:
        return
    record = columnar(pack.device, readings)
    columns, refused = check_record(profile, record)
    for wrong in refused:
        keep_pack(group, origin, pack.device, pack.payload, why_refused(profile, wrong), span(record))
    if pack.again:
        names = {column.metric for column in columns}
        new = fresh(group, pack.device, [reading for reading in readings if reading.metric in names], known)
        columns = check_record(profile, columnar(pack.device, new))[0] if new else []
    group.samples += group.judgement.of(profile, pack.device, columns)


def fresh(group: Group, device: str, readings: list[Reading], known: Known) -> list[Reading]:
    """Return what neither the store nor this group has; what a pack says twice at one time is its own business."""
    before = group.foreign.setdefault(device, set())
    seen = before | known(device, readings)
    new = [reading for reading in readings if _same(reading) not in seen]
    before.update(map(_same, new))
    return new


def _same(reading: Reading) -> Same:
    return reading.metric, reading.t, reading.value


def known_in(series: TimeSeries) -> Known:
    """Look readings up in the store. What is newer than all that a metric has costs no look at its history."""

    def known(device: str, readings: list[Reading]) -> set[Same]:
        newest = series.latest([device]).get(device, {})
        doubtful = [one for one in readings if one.metric in newest and one.t <= newest[one.metric].t]
        if not doubtful:
            return set()
        metrics = sorted({one.metric for one in doubtful})
        first, last = min(one.t for one in doubtful), max(one.t for one in doubtful)
        found: set[Same] = set()
        cursor: str | None = None
        while True:
            page, cursor = series.readings(device, metrics, first, last + 1, limit=PAGE, cursor=cursor)
            found.update(map(_same, page))
            if cursor is None:
                return found

    return known
