"""Everything an endpoint may reach, in one place; `assembly.py` joins the parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from lamplighter_hub.series.importing import Importer
from lamplighter_hub.settings import Settings
from lamplighter_protocols.profile import Profile

if TYPE_CHECKING:
    from lamplighter_hub.access.service import AccessService
    from lamplighter_hub.backup.service import BackupService
    from lamplighter_hub.commands.service import CommandService
    from lamplighter_hub.configuration.service import ConfigurationService
    from lamplighter_hub.devices.service import DeviceService
    from lamplighter_hub.enrolment.refusals import Refusals
    from lamplighter_hub.enrolment.service import EnrolmentService
    from lamplighter_hub.keys import HubKeys
    from lamplighter_hub.ledger.ledger import Ledger
    from lamplighter_hub.live import Broadcast
    from lamplighter_hub.presence.service import PresenceService
    from lamplighter_hub.quarantine.service import QuarantineService
    from lamplighter_hub.registry.database import Database
    from lamplighter_hub.series.store import TimeSeries
    from lamplighter_hub.verification.service import VerificationService

Clock = Callable[[], int]
"""Returns now as milliseconds since the epoch."""
Downlink = Callable[[str, bytes], None]
"""Publishes a payload under a topic at QoS 0; never blocks, may lose it."""
MqttUrl = Callable[[str], str]
"""Returns the broker's address for agents, given the host name under which they reach the hub."""
Facts = Callable[[], Mapping[str, Any]]
"""What a part says of itself for `GET /api/v1/status`; small, made of JSON values, never blocking for long."""


class Live(Protocol):
    """What services need of the broadcast: `publish` from any thread, never blocking."""

    def publish(self, topic: str, data: dict[str, Any]) -> None:
        """Tell everybody who listens to a topic."""


@dataclass
class Services:
    """The hub's parts. `facts` holds, by name, parts that speak of themselves in the status."""

    settings: Settings
    clock: Clock
    profiles: Mapping[str, Profile]
    registry: Database
    series: TimeSeries
    ledger: Ledger
    live: Broadcast
    keys: HubKeys
    access: AccessService
    enrolment: EnrolmentService
    devices: DeviceService
    presence: PresenceService
    configuration: ConfigurationService
    commands: CommandService
    refusals: Refusals
    mqtt_url: MqttUrl
    backups: BackupService
    verification: VerificationService
    quarantine: QuarantineService
    importer: Importer = field(default_factory=Importer)
    facts: dict[str, Facts] = field(default_factory=dict)
