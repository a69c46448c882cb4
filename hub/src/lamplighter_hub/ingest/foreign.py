"""Foreign devices: SenML (RFC 8428) from anything that speaks MQTT and has no outbox.

There are no sequence numbers, so a redelivery (QoS 1, DUP set) is recognised by what is already stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lamplighter_hub.ingest.batches import OwnerProfile, impossible_time, not_ours
from lamplighter_hub.ingest.group import Group
from lamplighter_hub.series.store import Samples, TimeSeries
from lamplighter_protocols.field.senml import to_readings
from lamplighter_protocols.quality import check_record
from lamplighter_protocols.readings import Reading, columnar
from lamplighter_protocols.topics import Channel

Known = Callable[[str, list[Reading]], set[Reading]]
"""(device, readings) -> those that the store already has."""


class Foreign(NamedTuple):
    """One SenML pack as it came. `again` is MQTT's DUP flag."""

    agent: str
    device: str
    payload: bytes
    again: bool


def take_senml(group: Group, pack: Foreign, owner: OwnerProfile, known: Known) -> None:
    """Take a SenML pack into the group. Raises WireError when it cannot be read."""
    profile = owner(pack.agent, pack.device)
    if isinstance(profile, str):
        group.refuse(pack.agent, Channel.SENML, profile, pack.payload, not_ours(profile), pack.device)
        return
    readings = to_readings(profile, pack.device, pack.payload, group.now_ms)
    if pack.again:
        readings = [reading for reading in readings if reading not in known(pack.device, readings)]
    if not readings:
        return
    if error := impossible_time(tuple(reading.t for reading in readings), group.now_ms):
        group.refuse(pack.agent, Channel.SENML, "impossible_time", pack.payload, error, pack.device)
        return
    columns, refused = check_record(profile, columnar(pack.device, readings))
    for wrong in refused:
        group.refuse(pack.agent, Channel.SENML, "bad_value", pack.payload, wrong, pack.device)
    group.samples += [Samples(pack.device, *column) for column in columns]
    group.counts["points"] += sum(len(column[1]) for column in columns)


def known_in(series: TimeSeries) -> Known:
    """Look redelivered readings up in the store."""

    def known(device: str, readings: list[Reading]) -> set[Reading]:
        metrics = sorted({reading.metric for reading in readings})
        times = [reading.t for reading in readings]
        found, _ = series.readings(device, metrics, min(times), max(times) + 1, limit=10_000)
        return set(found)

    return known
