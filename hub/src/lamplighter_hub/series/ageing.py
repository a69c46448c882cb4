"""Once an hour what is older than its class is kept goes from the store, in a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from lamplighter_hub.errors import NotFound
from lamplighter_hub.series.ages import Policy, read_ages
from lamplighter_hub.series.store import SeriesError
from lamplighter_hub.services import Services
from lamplighter_protocols.profile import Profile, Retention

log = logging.getLogger(__name__)

FIRST_S: Final = 60.0
EVERY_S: Final = 3_600.0


class Ageing:
    """Lets a store's old data go. `last` is when it last did (ms), `trouble` why it did not the last time."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self.policy = policy(services)
        self.last: int | None = None
        self.trouble = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ageing", daemon=True)

    def start(self) -> None:
        """Do so from now on, until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more. What is being done ends when the store is closed."""
        self._stop.set()

    def facts(self) -> dict[str, Any]:
        """Return for how many days each class is kept (None: for ever), and how the last pass went."""
        kept = {str(name): ages._asdict() for name, ages in self.policy.ages.items()}
        return {"days": kept, "last": self.last, "trouble": self.trouble}

    def expire(self) -> None:
        """Let go what is too old now."""
        now = self._services.clock()
        try:
            self._services.series.expire(self.policy, now)
        except SeriesError as error:
            if self._stop.is_set():
                return
            self.trouble = str(error)
            log.warning("old data will be looked at again: %s", error)
            return
        self.last, self.trouble = now, ""

    def _run(self) -> None:
        wait_s = FIRST_S
        while not self._stop.wait(wait_s):
            wait_s = EVERY_S
            try:
                self.expire()
            except Exception as error:  # supervision: old data stays a while, and the hub goes on
                self.trouble = f"it failed: {error!r}"
                log.exception("old data could not be let go; it will be tried again")


@contextmanager
def ageing(services: Services) -> Iterator[None]:
    """Let old data go while the hub runs."""
    keeper = Ageing(services)
    services.facts["retention"] = keeper.facts
    keeper.start()
    try:
        yield
    finally:
        keeper.stop()


def policy(services: Services) -> Policy:
    """Return what the settings say of each class, and which class the profile of a device gives."""

    def metric(device: str, name: str) -> Retention:
        profile = _profile(services, device)
        found = profile.metrics.get(name) if profile else None
        return found.retention if found else Retention.STANDARD

    def event(device: str, name: str) -> Retention:
        profile = _profile(services, device)
        found = profile.events.get(name) if profile else None
        return found.retention if found else Retention.STANDARD

    given = services.settings
    kept = zip(Retention, (given.keep_short, given.keep_standard, given.keep_long), strict=True)
    return Policy({name: read_ages(text) for name, text in kept}, metric, event)


def _profile(services: Services, device: str) -> Profile | None:
    try:
        return services.profiles.get(services.devices.find(device).profile)
    except NotFound:
        return None
