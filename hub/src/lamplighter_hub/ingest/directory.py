"""Ingest's view of the registry: births, presence, results and reports go to the services that own them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from lamplighter_hub.errors import Unavailable
from lamplighter_hub.keys import HubKeys
from lamplighter_hub.presence.lives import Newborn
from lamplighter_hub.services import Clock, Downlink, Services
from lamplighter_protocols.commands import Fetch
from lamplighter_protocols.presence import Birth, Presence
from lamplighter_protocols.records import ReportedRecord, ResultRecord
from lamplighter_protocols.topics import Channel, build

log = logging.getLogger(__name__)


class ServicesDirectory:
    """Hands over to the services, in groups; asks unknown agents for their birth."""

    def __init__(self, services: Services, ask_birth: Callable[[str], None]) -> None:
        self._services = services
        self._ask_birth = ask_birth

    def births(self, births: list[tuple[str, Birth, int]]) -> None:
        """Register agents, sessions and devices."""
        if births:
            self._services.devices.born(births)

    def told(self, agent: str, presence: Presence, arrived_ms: int) -> None:
        """Take a will, a farewell or a sign of life."""
        self._services.presence.told(agent, presence, arrived_ms)

    def session(self, agent: str) -> int:
        """Return the lowest session number of an agent that may still be there."""
        return self._services.presence.session(agent)

    def meet(self, newborns: Sequence[Newborn]) -> dict[tuple[str, str], list[str]]:
        """Return which lives of births are known; of none while the registry is away: those agents ask again."""
        try:
            return self._services.presence.lives.meet(newborns)
        except Unavailable as error:
            log.warning("%d birth(s) are answered later: %s", len(newborns), error)
            return {}

    def heard(self, agents: dict[str, int]) -> None:
        """Note who was heard; ask those for their birth whose birth is not known."""
        self._services.presence.heard(agents)
        for agent in self._services.presence.unknown(agents):
            self._ask_birth(agent)

    def settle(self) -> None:
        """Write presence to the registry before the messages that told it are acknowledged."""
        self._services.presence.flush()

    def results(self, results: list[tuple[str, ResultRecord, int]]) -> None:
        """Book command results."""
        if results:
            self._services.commands.results(results)

    def reports(self, reports: list[tuple[str, ReportedRecord, int]]) -> None:
        """Book reported configurations."""
        if reports:
            self._services.configuration.reported(reports)


def birth_asker(keys: HubKeys, downlink: Downlink, clock: Clock) -> Callable[[str], None]:
    """Return a function that asks an agent to say its birth again."""

    def ask(agent: str) -> None:
        downlink(build(agent, Channel.FETCH), keys.sign(Fetch(agent=agent, issued_at=clock())))

    return ask
