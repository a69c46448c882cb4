"""What the hub does for its broker: the embedded one asks at every connect, a Mosquitto reads files that it writes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from lamplighter_hub.broker import mosquitto
from lamplighter_hub.broker.nats import NatsServer

log = logging.getLogger(__name__)

Entries = Callable[[], Iterable[tuple[str, str]]]
"""Returns (agent, verifier for Mosquitto) of everybody who may connect."""


class EmbeddedSide:
    """The hub's own nats-server: it asks at each connect, so only revocation needs action."""

    def __init__(self) -> None:
        self.server: NatsServer | None = None

    def hash_password(self, password: str) -> str:
        """Return Mosquitto's verifier too, so that a hub can move to Mosquitto without enrolling anew."""
        return mosquitto.mosquitto_hash(password)

    def kick(self, agent: str) -> None:
        """Disconnect an agent."""
        if self.server is not None:
            self.server.kick(agent)

    def identities_changed(self) -> None:
        """Nothing to do: the broker asks."""


class MosquittoSide:
    """A Mosquitto beside the hub, or another broker when there is no folder: then its operator keeps the accounts."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self.entries: Entries = tuple

    def hash_password(self, password: str) -> str:
        """Return the line that Mosquitto's password file wants."""
        return mosquitto.mosquitto_hash(password)

    def kick(self, agent: str) -> None:
        """Nothing more than the new password file: Mosquitto disconnects who is not in it."""
        log.info("agent %s is revoked; the broker disconnects it when it reads its passwords again", agent)

    def identities_changed(self) -> None:
        """Write the password file anew and tell Mosquitto."""
        if self._folder is not None and not mosquitto.refresh_passwords(self._folder, dict(self.entries())):
            log.warning("the passwords in %s are new, but no running Mosquitto could be told", self._folder)
