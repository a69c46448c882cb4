"""What devices shall be configured to, and what they say they are.

A document is merged from layers - the profile's defaults, then what people set - checked, numbered, signed and sent; it
is repeated until the device says what became of it. While a device is away nothing is queued: when it is back it gets
the newest document, once.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.orm import Session

from lamplighter_hub.commands.repeats import Repeats
from lamplighter_hub.configuration import repository
from lamplighter_hub.devices.service import DeviceService, Taken
from lamplighter_hub.errors import invalid, invalid_fields
from lamplighter_hub.keys import HubKeys
from lamplighter_hub.presence.service import PresenceService
from lamplighter_hub.registry import models
from lamplighter_hub.registry.database import Database
from lamplighter_hub.services import Clock, Downlink, Live
from lamplighter_protocols import configuration as contract
from lamplighter_protocols.configuration import ConfigurationState, FieldError, FieldSpec
from lamplighter_protocols.model import Data
from lamplighter_protocols.presence import BornDevice
from lamplighter_protocols.records import ReportedRecord
from lamplighter_protocols.topics import Channel, build

DEVICE_LAYER: Final = "device"
KEEP_CHANGES: Final = 200
"""Entries of history per device."""
SENDS_PER_TICK: Final = 2_000
PENDING: Final = "pending"
_REFUSED: Final = frozenset({ConfigurationState.REJECTED.value, ConfigurationState.ROLLED_BACK.value})
_DATA: Final[TypeAdapter[dict[str, Any]]] = TypeAdapter(Data)


class Versions(NamedTuple):
    """The short form for lists. Version 0 means the profile's defaults."""

    desired_version: int
    reported_version: int
    state: str


class Difference(NamedTuple):
    """A field that is not as it shall be; None where it is absent."""

    field: str
    desired: Any
    reported: Any


class View(NamedTuple):
    """Everything about one device's configuration."""

    device: str
    desired: models.Desired
    reported: models.Reported | None
    layer: dict[str, Any]
    fields: dict[str, FieldSpec]

    def difference(self) -> list[Difference]:
        """Return which fields are not as they shall be, as far as the device has ever said."""
        if self.reported is None:
            return []
        wanted, found = self.desired.document, self.reported.document
        names = sorted(wanted.keys() | found.keys())
        return [Difference(n, wanted.get(n), found.get(n)) for n in names if wanted.get(n) != found.get(n)]

    def state(self) -> str:
        """Return what became of the desired document: applied, rejected, rolled_back or pending."""
        return _state(self.desired, self.reported)


@dataclass(slots=True)
class _Mark:
    """What must be known of a desired document whenever its device is born."""

    version: int
    hash: str
    refused: bool = False


class ConfigurationService:
    """Any thread may call."""

    def __init__(
        self,
        registry: Database,
        clock: Clock,
        devices: DeviceService,
        presence: PresenceService,
        keys: HubKeys,
        downlink: Downlink,
        live: Live,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._devices = devices
        self._presence = presence
        self._keys = keys
        self._downlink = downlink
        self._live = live
        self._lock = threading.Lock()
        self._marks: dict[str, _Mark] = {}
        self._repeats = Repeats()

    def load(self) -> None:
        """Read what is desired, and begin to repeat what was not answered."""
        with self._registry.read() as session:
            rows = repository.everything_desired(session)
        now = self._clock()
        for desired, reported in rows:
            self._marks[desired.device] = _Mark(desired.version, desired.hash, _state(desired, reported) in _REFUSED)
            if not desired.answered:
                self._repeats.add(desired.device, self._devices.find(desired.device).agent, now)

    # What people want

    def put(
        self, device: str, document: dict[str, Any], by: str, rollback_after_s: int = contract.ROLLBACK_AFTER_S
    ) -> View:
        """Set the device's own layer; null takes a field back. Raises Invalid that names every wrong field.

        The device undoes it when it has no word of the hub for `rollback_after_s` after it.
        Nothing new is sent when the merged document stays as it is, unless the device had refused it.
        """
        specs = self._devices.profile(device).configuration
        merged = _checked(specs, document)
        now = self._clock()
        with self._registry.write() as session:
            layer = {name: value for name, value in document.items() if value is not None}
            repository.put_layer(
                session,
                models.ConfigurationLayer(
                    layer=DEVICE_LAYER, subject=device, document=layer, changed_at=now, changed_by=by
                ),
            )
            changed = self._desire(session, device, merged, by, now)
            if changed:
                changed.rollback_after_s = rollback_after_s
        if changed:
            self._begin(device, changed, now)
        return self.view(device)

    def view(self, device: str) -> View:
        """Return everything about a device's configuration. Raises NotFound."""
        specs = self._devices.profile(device).configuration
        with self._registry.read() as session:
            desired = repository.desired(session, [device]).get(device)
            reported = repository.reported(session, [device]).get(device)
            layer = repository.layer(session, DEVICE_LAYER, device)
        return View(device, desired or _defaults(device, specs), reported, layer, specs)

    def versions(self, devices: Sequence[str]) -> dict[str, Versions]:
        """Return the short form for some devices."""
        with self._registry.read() as session:
            desired = repository.desired(session, devices)
            reported = repository.reported(session, devices)
        return {device: _versions(desired.get(device), reported.get(device)) for device in devices}

    def history(self, device: str, before: int, limit: int) -> list[models.ConfigurationChange]:
        """Return a device's history, the newest first, entries older than `before`. Raises NotFound."""
        self._devices.find(device)
        with self._registry.read() as session:
            return repository.history(session, device, before, limit)

    def pending(self) -> int:
        """Return how many devices have not answered their document."""
        return len(self._repeats)

    # What devices say

    def born(self, births: Sequence[Taken]) -> None:
        """Send what devices miss that have just been born."""
        now = self._clock()
        for agent, devices in births:
            for device in devices:
                self._meet(agent, device, now)
        self.tick(now)

    def reported(self, reports: Sequence[tuple[str, ReportedRecord, int]]) -> None:
        """Book reports (agent, record, arrival in ms) in one transaction. A report may come twice or late."""
        mine = [report for agent, report, _ in reports if self._devices.owns(agent, report.device)]
        if not mine:
            return
        devices = list({report.device for report in mine})
        with self._registry.write() as session:
            desired = repository.desired(session, devices)
            latest = repository.reported(session, devices)
            fresh = [report for report in mine if self._book(session, report, desired, latest)]
        for report in fresh:
            self._answered(report)
            self._live.publish("configuration", _news(report.device, report.version, report.state.value))

    def tick(self, now_ms: int) -> None:
        """Repeat what has not been answered, to agents that are there. Each second."""
        due = self._repeats.due(now_ms, SENDS_PER_TICK, self._presence.online)
        if due:
            self._send(due, now_ms)

    # Steps

    def _desire(
        self, session: Session, device: str, document: dict[str, Any], by: str, now: int
    ) -> models.Desired | None:
        """Store the merged document as the next version; None when it is the present one."""
        before = repository.desired(session, [device]).get(device)
        reported = repository.reported(session, [device]).get(device)
        digest = contract.document_hash(document)
        if before and before.hash == digest and _state(before, reported) not in _REFUSED:
            return None
        version = 1 + max(before.version if before else 0, reported.version if reported else 0)
        desired = models.Desired(
            device=device,
            version=version,
            hash=digest,
            document=document,
            issued_at=now,
            issued_by=by,
            answered=False,
        )
        repository.note(session, _set(desired), KEEP_CHANGES)
        return session.merge(desired)

    def _begin(self, device: str, desired: models.Desired, now: int) -> None:
        """Send a new document, if its agent is there, and keep repeating it."""
        with self._lock:
            self._marks[device] = _Mark(desired.version, desired.hash)
        agent = self._devices.find(device).agent
        self._repeats.add(device, agent, now)
        self._live.publish("configuration", _news(device, desired.version, PENDING))
        if self._presence.online(agent):
            self._send([device], now)

    def _send(self, devices: list[str], now: int) -> None:
        with self._registry.read() as session:
            rows = repository.desired(session, devices)
        for device in devices:
            row = rows.get(device)
            if row is None:
                self._repeats.drop([device])
                continue
            agent = self._devices.find(device).agent
            document = contract.Desired(
                agent=agent,
                device=device,
                version=row.version,
                hash=row.hash,
                document=row.document,
                issued_at=row.issued_at,
                rollback_after_s=row.rollback_after_s,
            )
            self._downlink(build(agent, Channel.DESIRED, device), self._keys.sign(document))
            self._repeats.sent(device, now)

    def _meet(self, agent: str, born: BornDevice, now: int) -> None:
        mark = self._marks.get(born.id)
        if mark is None:
            return
        if (born.version, born.hash) == (mark.version, mark.hash):
            self._repeats.drop([born.id])
        elif born.version > mark.version:
            self._overtake(born, now)
        elif not mark.refused:
            self._repeats.add(born.id, agent, now)

    def _overtake(self, born: BornDevice, now: int) -> None:
        """A device that knows a later version than we do (our registry is an old copy) gets a still later one."""
        with self._registry.write() as session:
            desired = repository.desired(session, [born.id]).get(born.id)
            if desired is None or desired.version >= born.version:
                return
            desired.version, desired.issued_at, desired.answered = born.version + 1, now, False
            repository.note(session, _set(desired), KEEP_CHANGES)
        self._begin(born.id, desired, now)

    def _book(
        self,
        session: Session,
        report: ReportedRecord,
        desired: dict[str, models.Desired],
        latest: dict[str, models.Reported],
    ) -> bool:
        """Store a report; False when it is known already. The latest time of the latest version is what counts."""
        if repository.noted(session, report.device, report.version, report.state.value, report.t):
            return False
        repository.note(session, _said(report), KEEP_CHANGES)
        before = latest.get(report.device)
        if before is None or (before.version, before.t) <= (report.version, report.t):
            latest[report.device] = session.merge(_reported(report))
        wanted = desired.get(report.device)
        if wanted and (wanted.version, wanted.hash) == (report.version, report.hash):
            wanted.answered = True
        return True

    def _answered(self, report: ReportedRecord) -> None:
        with self._lock:
            mark = self._marks.get(report.device)
            if mark is None or (mark.version, mark.hash) != (report.version, report.hash):
                return
            mark.refused = report.state.value in _REFUSED
        self._repeats.drop([report.device])


def _checked(specs: dict[str, FieldSpec], layer: dict[str, Any]) -> dict[str, Any]:
    """Return the merged document. Raises Invalid that names every wrong field."""
    if len(layer) > contract.MAX_FIELDS:
        raise invalid("document", f"has {len(layer)} fields; at most {contract.MAX_FIELDS} are taken")
    unknown = {name: value for name, value in layer.items() if name not in specs}
    wrong = contract.check_fields(specs, unknown | contract.merge(specs, layer))
    if wrong:
        raise invalid_fields(wrong)
    merged = contract.merge(specs, layer)
    try:
        return _DATA.validate_python(merged)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise invalid_fields([FieldError(field="document", detail=f"is {detail}")]) from None


def _defaults(device: str, specs: dict[str, FieldSpec]) -> models.Desired:
    """Word what a device has that nobody configured: version 0."""
    return models.Desired(
        device=device,
        version=0,
        hash="",
        document=contract.merge(specs),
        issued_at=0,
        issued_by="",
        answered=True,
        rollback_after_s=contract.ROLLBACK_AFTER_S,
    )


def _state(desired: models.Desired | None, reported: models.Reported | None) -> str:
    if desired is None or desired.version == 0:
        return reported.state if reported else ConfigurationState.APPLIED.value
    if reported and (reported.version, reported.hash) == (desired.version, desired.hash):
        return reported.state
    return PENDING


def _versions(desired: models.Desired | None, reported: models.Reported | None) -> Versions:
    return Versions(desired.version if desired else 0, reported.version if reported else 0, _state(desired, reported))


def _set(desired: models.Desired) -> models.ConfigurationChange:
    return models.ConfigurationChange(
        device=desired.device,
        at=desired.issued_at,
        kind="set",
        version=desired.version,
        hash=desired.hash,
        document=desired.document,
        errors=[],
        who=desired.issued_by,
    )


def _said(report: ReportedRecord) -> models.ConfigurationChange:
    return models.ConfigurationChange(
        device=report.device,
        at=report.t,
        kind="reported",
        version=report.version,
        hash=report.hash,
        state=report.state.value,
        document=report.document,
        errors=[error.model_dump() for error in report.errors],
        reason=report.reason,
    )


def _reported(report: ReportedRecord) -> models.Reported:
    return models.Reported(
        device=report.device,
        version=report.version,
        hash=report.hash,
        state=report.state.value,
        t=report.t,
        document=report.document,
        errors=[error.model_dump() for error in report.errors],
        reason=report.reason,
    )


def _news(device: str, version: int, state: str) -> dict[str, Any]:
    return {"device": device, "version": version, "state": state}
