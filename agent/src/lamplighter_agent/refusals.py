"""What came down and was not acted on: counted by reason, reported once and then at ten, a hundred, a thousand."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from lamplighter_agent.driver import Event
from lamplighter_protocols.topics import Address

Tell = Callable[[str, Event], Awaitable[object]]
"""Records an event of a device."""


class Refusals:
    """Counts refusals. An event needs a device: the addressed one, or else this agent's first."""

    def __init__(self, devices: Sequence[str], tell: Tell) -> None:
        self.counts: Counter[str] = Counter()
        self._devices = devices
        self._tell = tell
        self._log = logging.getLogger("lamplighter.control")

    async def add(self, address: Address, reason: str, detail: str) -> None:
        """Count one refusal; `reason` is a code such as `bad_signature`."""
        self.counts[reason] += 1
        count = self.counts[reason]
        if not _worth_saying(count):
            return
        self._log.warning("refused on %s: %s (%s), %d so far", address.channel, reason, detail, count)
        device = address.device if address.device in self._devices else next(iter(self._devices), "")
        if device:
            data = {"reason": reason, "count": count, "channel": str(address.channel)}
            await self._tell(device, Event("downlink_refused", data))


def _worth_saying(count: int) -> bool:
    while count % 10 == 0:
        count //= 10
    return count == 1
