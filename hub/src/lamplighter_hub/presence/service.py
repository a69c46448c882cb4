"""Who is there, who is not, and why: in memory for every agent, written to the registry in groups.

What may arrive in any order is ordered by the session number, which rises with each connect of an agent:

- a birth or a sign of life of session n ends every doubt about the sessions before n;
- a will or farewell of session n ends session n; one of an older session is ignored;
- a birth of a session that has ended still tells what the agent carries, but not that it is there.

Records carry no session number. They show that the agent is there, except within REVIVE_MS after its connection ended,
when they may have been on their way before.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from sqlalchemy import event
from sqlalchemy.orm import Session

from lamplighter_hub.presence import repository
from lamplighter_hub.presence.lives import Lives
from lamplighter_hub.registry.database import Database
from lamplighter_hub.services import Clock, Live
from lamplighter_protocols.presence import CONNECTION_LOST, SILENT, Birth, LinkUse, Presence

State = Literal["unknown", "online", "offline"]

FLUSH_MS: Final = 5_000
"""How exact `last_heard` is after a crash."""
REVIVE_MS: Final = 5_000
ASK_MS: Final = 30_000
"""Least time between two requests for a birth to one agent."""
PATIENCE_MS: Final = 3_000
"""How long a birth may take longer than the first record of its agent."""
PAUSE_MS: Final = 15_000
"""A gap between two sweeps beyond which the hub itself was away (stopped, suspended, clock set)."""
SLACK_MS: Final = 2_000
REVOKED: Final = "revoked"


@dataclass(slots=True)
class Standing:
    """What is known of one agent's presence; `since` is when `state` began, all times in ms.

    `link` is what it said last of its link; it is not kept over a restart of the hub, for agents say it again.
    """

    agent: str
    state: State = "unknown"
    reason: str = "never_seen"
    since: int | None = None
    last_heard: int | None = None
    session: int = 0
    ended_session: int = 0
    boot: str = ""
    agent_version: str = ""
    clock: str = ""
    heard_within_s: int = 30
    outbox: str = ""
    born: bool = False
    asked_at: int = 0
    link: LinkUse | None = None

    def deadline(self, from_ms: int) -> int:
        """Return when silence becomes a fact, given when listening began."""
        return max(self.last_heard or 0, from_ms) + self.heard_within_s * 1500 + SLACK_MS


class PresenceService:
    """Any thread may call; nothing here waits for the database except `load`, `flush` and `sweep`."""

    def __init__(self, registry: Database, clock: Clock, live: Live) -> None:
        self.lives = Lives(registry, clock)
        self._registry = registry
        self._clock = clock
        self._live = live
        self._lock = threading.Lock()
        self._agents: dict[str, Standing] = {}
        self._changed: set[str] = set()
        self._heard: set[str] = set()
        self._listening_from = 0
        self._swept_at = 0
        self._flushed_at = 0
        self.ignored = 0
        """Wills and signs of life of sessions that were over already."""

    def load(self) -> None:
        """Read what is known. Promises count from now on: nobody is offline because the hub was away."""
        with self._registry.read() as session:
            standings = [_standing(row) for row in repository.agents(session)]
        with self._lock:
            self._agents = {standing.agent: standing for standing in standings}
            self._listening_from = self._swept_at = self._flushed_at = self._clock()

    # What agents say

    def born(self, births: Iterable[tuple[str, Birth, int]]) -> set[str]:
        """Take births of known agents; return those whose birth is the latest, to be taken up as what they carry.

        Call `save` in the transaction that stores what the births say.
        """
        latest = set()
        with self._lock:
            for agent, birth, arrived_ms in births:
                standing = self._active(agent)
                if standing is None or birth.session < standing.session:
                    self.ignored += 1
                    continue
                latest.add(agent)
                self._take_birth(standing, birth, arrived_ms)
        return latest

    def told(self, agent: str, presence: Presence, arrived_ms: int) -> None:
        """Take a will, a farewell or a sign of life; one of an older session is ignored."""
        with self._lock:
            standing = self._active(agent)
            if standing is None or presence.session < max(standing.session, standing.ended_session):
                self.ignored += 1
                return
            standing.link = presence.link or standing.link
            if presence.session > standing.session:
                standing.session, standing.born = presence.session, False
                self._changed.add(agent)
            if presence.state == "offline":
                standing.ended_session = presence.session
                self._become(standing, "offline", presence.reason or CONNECTION_LOST, arrived_ms)
            elif presence.session > standing.ended_session:
                self._hear(standing, arrived_ms)
                self._become(standing, "online", presence.reason or "said", arrived_ms)

    def heard(self, agents: dict[str, int]) -> None:
        """Note that something arrived from these agents, and when."""
        with self._lock:
            for agent, arrived_ms in agents.items():
                standing = self._active(agent)
                if standing is None:
                    continue
                if standing.state != "online":
                    self._revive(standing, arrived_ms)
                else:
                    self._hear(standing, arrived_ms)

    def unknown(self, agents: Iterable[str]) -> set[str]:
        """Return which of these agents shall be asked for their birth; each at most every 30 s.

        A birth may be overtaken by records on its way, so nobody is asked in the first seconds.
        """
        now = self._clock()
        asked = set()
        with self._lock:
            for agent in agents:
                standing = self._agents.get(agent)
                if standing and not standing.born and not standing.asked_at:
                    standing.asked_at = now - ASK_MS + PATIENCE_MS
                if standing and not standing.born and not 0 <= now - standing.asked_at < ASK_MS:
                    standing.asked_at = now
                    asked.add(agent)
        return asked

    # What time says

    def sweep(self, now_ms: int, *, listening: bool = True) -> None:
        """Call agents silent that broke their promise, and write what changed. Each second.

        While the hub cannot hear (`listening` false: no broker) and after a pause of its own, promises count anew.
        """
        with self._lock:
            if not listening or not 0 <= now_ms - self._swept_at < PAUSE_MS:
                self._listening_from = now_ms
            self._swept_at = now_ms
            for standing in self._agents.values():
                if standing.state == "online" and now_ms >= standing.deadline(self._listening_from):
                    self._become(standing, "offline", SILENT, now_ms)
            due = not 0 <= now_ms - self._flushed_at < FLUSH_MS
        if due or self._changed:
            self.flush()

    def flush(self) -> None:
        """Write everything that changed, in one transaction. Also before wills are acknowledged, and at the end."""
        with self._lock:
            waiting = bool(self._changed or self._heard)
        if waiting:
            with self._registry.write() as session:
                self.save(session)

    def save(self, session: Session) -> None:
        """Write everything that changed in a transaction that somebody else has begun."""
        with self._lock:
            changed = [_row(self._agents[agent]) for agent in self._changed if agent in self._agents]
            heard = [_heard_row(self._agents[a]) for a in self._heard - self._changed if a in self._agents]
            self._changed.clear()
            self._heard.clear()
            self._flushed_at = self._clock()
        event.listen(session, "after_rollback", lambda _: self._mark_again(changed, heard), once=True)
        repository.save(session, changed)
        repository.save(session, heard)

    def _mark_again(self, changed: list[dict[str, Any]], heard: list[dict[str, Any]]) -> None:
        with self._lock:
            self._changed.update(row["id"] for row in changed)
            self._heard.update(row["id"] for row in heard)

    # What others ask

    def standing(self, agent: str) -> Standing:
        """Return a copy of what is known of an agent."""
        with self._lock:
            found = self._agents.get(agent)
            return replace(found) if found else Standing(agent)

    def state(self, agent: str) -> State:
        """Return an agent's state."""
        found = self._agents.get(agent)
        return found.state if found else "unknown"

    def session(self, agent: str) -> int:
        """Return the lowest session number that may still be there; 0 when nothing is known."""
        found = self._agents.get(agent)
        return max(found.session, found.ended_session + 1) if found else 0

    def online(self, agent: str) -> bool:
        """True when the agent is believed to be there."""
        return self.state(agent) == "online"

    def summary(self) -> dict[str, int]:
        """Return how many agents are online, offline and unknown."""
        counts = {"online": 0, "offline": 0, "unknown": 0}
        with self._lock:
            for standing in self._agents.values():
                counts[standing.state] += 1
        return counts

    def links(self) -> list[tuple[str, LinkUse]]:
        """Return what agents said last of their links, by agent."""
        with self._lock:
            return [(agent, known.link) for agent, known in sorted(self._agents.items()) if known.link]

    # What enrolment says

    def identity_given(self, agents: Sequence[str]) -> None:
        """Expect new agents; an id that is enrolled again begins anew."""
        now = self._clock()
        with self._lock:
            for agent in agents:
                self._agents[agent] = Standing(agent, since=now)

    def identity_ended(self, agent: str) -> None:
        """A revoked agent is offline, whatever else arrives of it."""
        with self._lock:
            standing = self._active(agent)
            if standing is None:
                return
            self._become(standing, "offline", REVOKED, self._clock())
        self.flush()

    # Steps; the lock is held

    def _active(self, agent: str) -> Standing | None:
        found = self._agents.get(agent)
        return None if found is None or found.reason == REVOKED else found

    def _take_birth(self, standing: Standing, birth: Birth, arrived_ms: int) -> None:
        standing.session = birth.session
        standing.boot = birth.boot
        standing.agent_version = birth.agent_version
        standing.clock = birth.clock.value
        standing.heard_within_s = birth.heard_within_s
        standing.outbox = birth.outbox or ""
        standing.link = birth.link or standing.link
        standing.born = True
        self._changed.add(standing.agent)
        if birth.session > standing.ended_session:
            self._hear(standing, arrived_ms)
            self._become(standing, "online", "born", arrived_ms)

    def _revive(self, standing: Standing, arrived_ms: int) -> None:
        over = 0 < standing.session <= standing.ended_session
        if arrived_ms <= (standing.since or 0) + (REVIVE_MS if over else 0):
            return
        standing.born = standing.born and not over
        self._hear(standing, arrived_ms)
        self._become(standing, "online", "heard", arrived_ms)

    def _hear(self, standing: Standing, arrived_ms: int) -> None:
        if arrived_ms > (standing.last_heard or 0):
            standing.last_heard = arrived_ms
            self._heard.add(standing.agent)

    def _become(self, standing: Standing, state: State, reason: str, at: int) -> None:
        if standing.state == state and (state == "online" or standing.reason == reason):
            return
        if standing.state != state:
            standing.since = at
        standing.state, standing.reason = state, reason
        self._changed.add(standing.agent)
        self._live.publish("presence", _news(standing))


def _news(standing: Standing) -> dict[str, Any]:
    return {
        "agent": standing.agent,
        "state": standing.state,
        "reason": standing.reason,
        "since": standing.since,
        "last_heard": standing.last_heard,
    }


_COLUMNS: Final = (
    "state",
    "reason",
    "since",
    "last_heard",
    "session",
    "ended_session",
    "boot",
    "agent_version",
    "clock",
    "heard_within_s",
    "outbox",
)


def _row(standing: Standing) -> dict[str, Any]:
    return {"id": standing.agent} | {name: getattr(standing, name) for name in _COLUMNS}


def _heard_row(standing: Standing) -> dict[str, Any]:
    return {"id": standing.agent, "last_heard": standing.last_heard}


def _standing(row: Any) -> Standing:
    known = Standing(row.id, **{name: getattr(row, name) for name in _COLUMNS})
    known.born = known.session > 0
    return known
