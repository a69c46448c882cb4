"""Joins the hub's parts: what each is made of, and who hears of whom. Nothing here runs yet."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from lamplighter_hub.access.service import AccessService
from lamplighter_hub.backup.restore import UNFINISHED, Restored, restore
from lamplighter_hub.backup.service import BackupService
from lamplighter_hub.commands.service import CommandService
from lamplighter_hub.configuration.service import ConfigurationService
from lamplighter_hub.devices.service import DeviceService
from lamplighter_hub.enrolment.refusals import Refusals
from lamplighter_hub.enrolment.service import Broker, EnrolmentService
from lamplighter_hub.ingest.desk import Desk
from lamplighter_hub.keys import HubKeys
from lamplighter_hub.ledger.ledger import Ledger
from lamplighter_hub.live import Broadcast
from lamplighter_hub.presence.service import PresenceService
from lamplighter_hub.quarantine.service import QuarantineService
from lamplighter_hub.registry.database import Database, sqlite_url
from lamplighter_hub.series.store import TimeSeries
from lamplighter_hub.services import Clock, Downlink, MqttUrl, Services
from lamplighter_hub.settings import Settings, series_token
from lamplighter_hub.uplink.session import Session
from lamplighter_hub.verification.service import VerificationService
from lamplighter_protocols.errors import LamplighterError
from lamplighter_protocols.profile import Profile, load_profiles


class Link:
    """The way down to the agents. Before the broker is there what is said is lost; everything down is repeated."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.embedded = False

    def url(self, host: str) -> str:
        """Return the broker's address for agents that know the hub as `host`; an external broker has its own."""
        if self.session is None:
            return ""
        where = urlsplit(self.session.where)
        name = f"[{host}]" if ":" in host else host
        return f"{where.scheme}://{name}:{where.port}" if self.embedded else self.session.where

    def __call__(self, topic: str, payload: bytes) -> None:
        """Publish at QoS 0; never blocks."""
        if self.session is not None:
            self.session.publish(topic, payload)


@runtime_checkable
class SpeaksOfItself(Protocol):
    """A series store that has something to say in the status."""

    def facts(self) -> dict[str, Any]:
        """Return facts for people."""


@dataclass(frozen=True)
class Stores:
    """Where the hub keeps what it knows, opened."""

    registry: Database
    keys: HubKeys
    series: TimeSeries


class BadDataFolder(LamplighterError):
    """The data folder cannot be used; the text says why."""


def now_ms() -> int:
    """Return the time in milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def prepare(folder: Path) -> Path:
    """Make the data folder, for its owner only, and return it. Raises BadDataFolder."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadDataFolder(f"--data {folder}: {error.strerror}") from None
    if (folder / UNFINISHED).exists():
        raise BadDataFolder(f"--data {folder}: a restore did not end here; empty the folder and restore again")
    return folder.resolve()


def restore_backup(source: Path, data: Path, registry_url: str) -> Restored:
    """Make a data folder of a backup, for this hub's kind of series store. Raises LamplighterError, one line each."""
    return restore(source, data, registry_url, open_folder)


def open_folder(folder: Path, settings: Settings | None = None) -> TimeSeries:
    """Open the embedded store in a data folder, or in a backup of one. Raises StoreUnavailable.

    Without settings the disk guard lets nothing go: looking into a backup leaves it whole.
    """
    from lamplighter_hub.series.duckdb import Keep, open_duckdb

    if settings is None:
        return open_duckdb(folder)
    return open_duckdb(folder, keep=Keep(settings.keep_free_mb * 2**20))


def open_series(settings: Settings) -> TimeSeries:
    """Open the series store that the settings name. Raises StoreUnavailable, BadSettings."""
    # Imported here: a hub has one of them, and each takes tens of megabytes.
    if not settings.series_url:
        return open_folder(settings.data, settings)
    from lamplighter_hub.series.influx.lease import owner_in
    from lamplighter_hub.series.influx.store import open_influx

    return open_influx(settings.series_url, series_token(settings), owner_in(settings.data))


def assemble(settings: Settings, broker: Broker, link: Link) -> Services:
    """Open the stores and join the services. `link` may be used before the broker is there."""
    profiles = load_profiles(*settings.profiles)
    registry = Database(settings.registry_url or sqlite_url(settings.data))
    registry.upgrade()
    keys = HubKeys(settings.data)
    keys.load()
    stores = Stores(registry, keys, open_series(settings))
    return join(settings, now_ms, profiles, stores, broker, link, link.url)


def join(
    settings: Settings,
    clock: Clock,
    profiles: Mapping[str, Profile],
    stores: Stores,
    broker: Broker,
    down: Downlink,
    mqtt_url: MqttUrl,
) -> Services:
    """Join services on opened stores, and let each read what it kept."""
    registry, keys, series = stores.registry, stores.keys, stores.series
    live, refusals = Broadcast(), Refusals(registry, clock)
    enrolment = EnrolmentService(registry, clock, refusals, broker)
    presence = PresenceService(registry, clock, live)
    devices = DeviceService(registry, profiles, enrolment, presence, refusals, live)
    backups = BackupService(settings.data, clock, registry, series, keys, open_folder)
    services = Services(
        settings=settings,
        clock=clock,
        profiles=profiles,
        registry=registry,
        series=series,
        ledger=Ledger(series.marks(), clock()),
        live=live,
        keys=keys,
        access=AccessService(registry, clock, refusals),
        enrolment=enrolment,
        devices=devices,
        presence=presence,
        configuration=ConfigurationService(registry, clock, devices, presence, keys, down, live),
        commands=CommandService(registry, clock, devices, presence, keys, down, live),
        refusals=refusals,
        mqtt_url=mqtt_url,
        backups=backups,
        verification=VerificationService(settings.data, clock, series, backups.folders, settings.verify_mb_s * 10**6),
        quarantine=QuarantineService(series, devices.owner_profile, clock, Desk()),
    )
    _introduce(services)
    _load(services)
    return services


def _introduce(services: Services) -> None:
    """Let each hear of the others."""
    services.facts["verification"] = services.verification.facts
    if isinstance(services.series, SpeaksOfItself):
        services.facts["sealing"] = services.series.facts
    services.enrolment.watch(services.presence)
    services.devices.listen(services.configuration.born)
    services.devices.listen(services.commands.born)


def _load(services: Services) -> None:
    """Let each read what it kept."""
    services.refusals.load()
    services.enrolment.load()
    services.presence.load()
    services.devices.load()
    services.configuration.load()
    services.commands.load()
    services.backups.load()
    services.verification.load()
