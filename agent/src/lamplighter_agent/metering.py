"""What the MQTT connection carried, asked from the kernel, booked by day and kept on disk.

TCP counts what the bill counts, beside IP's headers: repetitions, TLS and refused packets too. Linux says it for each
socket (TCP_INFO, linux/tcp.h); elsewhere nothing is counted.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Final

from lamplighter_agent.errors import StateUnreadable
from lamplighter_agent.traffic import Account, Budget, Traffic, day_of, lets, patience
from lamplighter_protocols.presence import BudgetState, LinkUse
from lamplighter_protocols.records import Stream

EVERY_S: Final = 1.0
KEEP_S: Final = 60.0
"""How much of the account a kill may take."""
TELL_FIRST_S: Final = 10.0
"""After a birth that could not say it yet."""
TELL_CHANGE_S: Final = 300.0
_INFO: Final = getattr(socket, "TCP_INFO", None)
_SIZE: Final = 256
_RECEIVED, _SEGMENTS, _SENT = 128, 136, 200
"""Where `tcpi_bytes_received`, `tcpi_segs_out` with `tcpi_segs_in`, and `tcpi_bytes_sent` (Linux 4.19) stand."""
_HEADERS: Final = {socket.AF_INET: 52, socket.AF_INET6: 72}
"""Bytes of IP and TCP with timestamps, in each segment."""


def carried(connection: socket.socket) -> Traffic | None:
    """Return what a TCP connection carried since it was made; None when that is not known, or it is closed."""
    if _INFO is None:
        return None
    try:
        found = connection.getsockopt(socket.IPPROTO_TCP, _INFO, _SIZE)
    except OSError:
        return None
    if len(found) < _SENT + 8:
        return None
    (sent,), (received,) = struct.unpack_from("=Q", found, _SENT), struct.unpack_from("=Q", found, _RECEIVED)
    out, into = struct.unpack_from("=II", found, _SEGMENTS)
    headers = _HEADERS.get(connection.family, 0)
    return Traffic(sent + headers * out, received + headers * into)


class Meter:
    """Counts one connection after another. `clock` is the corrected time in ms, `keep` writes the account to disk."""

    def __init__(
        self,
        kind: str,
        budget: Budget,
        account: Account,
        clock: Callable[[], int],
        keep: Callable[[Account], Awaitable[None]],
        tell_every_s: float,
    ) -> None:
        self._kind = kind
        self._budget = budget
        self._account = account
        self._clock = clock
        self._keep = keep
        self._tell_every_s = tell_every_s
        self._before = Traffic()
        self._kept = True
        self._noticed = BudgetState.OK
        self._told: BudgetState | None = None
        self._told_at = 0.0
        self._log = logging.getLogger("lamplighter.link")

    @property
    def state(self) -> BudgetState:
        """Where today's use stands."""
        now = self._clock()
        return self._budget.state(self._account.of(now).total, now, self._noticed)

    def lets(self, stream: Stream) -> bool:
        """True when the data budget lets a stream go now."""
        return lets(self.state, stream)

    def patience(self, wait_s: float) -> float:
        """Return how long live readings wait now that would wait so long otherwise."""
        return patience(self.state, wait_s)

    def use(self) -> LinkUse | None:
        """Return what the hub is told, nothing where nothing was counted today; whoever asks tells it."""
        now, state = self._clock(), self.state
        today = self._account.of(now)
        self._told, self._told_at = (state if today.total else None), _now()
        if self._told is None:
            return None
        return LinkUse(
            kind=self._kind,
            day=day_of(now),
            up=today.up,
            down=today.down,
            budget_bytes=self._budget.bytes_per_day,
            budget=state,
        )

    def tells_at(self) -> float:
        """Return when, in the loop's time, the hub should be told again: never what is not known."""
        if not self._account.of(self._clock()).total:
            return math.inf
        if self._told is None:
            return self._told_at + TELL_FIRST_S
        changed = self._told is not self.state
        return self._told_at + (TELL_CHANGE_S if changed else self._tell_every_s)

    async def watch(self, connection: Callable[[], socket.socket | None], changed: Callable[[], None]) -> None:
        """Count what a new connection carries, for ever; call `changed` when the budget lets other streams go."""
        self._before = Traffic()
        kept_at = _now()
        try:
            while True:
                self._count(connection())
                self._notice(changed)
                if _now() >= kept_at + KEEP_S:
                    kept_at = _now()
                    await self.keep()
                await asyncio.sleep(EVERY_S)
        finally:
            self._count(connection())

    async def keep(self) -> None:
        """Write the account to disk, if there is news. A disk that refuses is tried again a minute later."""
        if self._kept:
            return
        self._kept = True
        try:
            await self._keep(self._account)
        except (OSError, StateUnreadable) as error:
            self._kept = False
            self._log.debug("what the link carried cannot be written down now: %s", error)

    def _count(self, connection: socket.socket | None) -> None:
        now = carried(connection) if connection is not None else None
        if now is not None and now != self._before:
            self._account.add(self._clock(), now.since(self._before))
            self._before = now
            self._kept = False

    def _notice(self, changed: Callable[[], None]) -> None:
        state = self.state
        if state is self._noticed:
            return
        self._noticed = state
        said = {
            BudgetState.OK: "everything goes again",
            BudgetState.SAVING: "backlog waits, and live readings wait longer",
            BudgetState.SPENT: "only alarms, results and what tells of losses go for now",
        }
        self._log.info("data budget %s: %s", state, said[state])
        changed()


def _now() -> float:
    return asyncio.get_running_loop().time()
