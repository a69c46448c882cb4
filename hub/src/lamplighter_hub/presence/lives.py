"""Which lives of an agent the hub has met: so an older copy of an outbox is told from the outbox (decision 0024)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from lamplighter_hub.registry.database import Database
from lamplighter_hub.registry.models import Agent, MetLife
from lamplighter_hub.services import Clock
from lamplighter_protocols.presence import Life
from lamplighter_protocols.records import MAX_LIVES, Stream

AT_ONCE: Final = 500
Place = tuple[str, str]
"""Outbox and life."""
Row = tuple[str, str, str]
"""Agent, outbox and life."""


class Newborn(NamedTuple):
    """A birth that tells of lives and waits for its answer; `highest` are the numbers that the hub knows."""

    agent: str
    outbox: str
    lives: Sequence[Life]
    highest: Mapping[Stream, int]


def meets(lives: Sequence[Life], known: Collection[str], highest: Mapping[Stream, int]) -> bool:
    """Whether the present life, the last one, can be met: no life that is not known begins at a known number."""
    latest = max((place for place, life in enumerate(lives) if life.id in known), default=-1)
    unknown = lives[latest + 1 :]
    return not unknown or all(unknown[0].first.get(stream, 0) > number for stream, number in highest.items())


class Lives:
    """Keeps the last MAX_LIVES lives of each agent, in however many outboxes it had them."""

    def __init__(self, registry: Database, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock

    def meet(self, newborns: Sequence[Newborn]) -> dict[tuple[str, str], list[str]]:
        """Meet whom can be met, durably; return which lives of each birth are known now. Raises Unavailable."""
        found: dict[tuple[str, str], list[str]] = {}
        for place in range(0, len(newborns), AT_ONCE):
            with self._registry.write() as session:
                found |= self._meet(session, _enrolled(session, newborns[place : place + AT_ONCE]))
        return found

    def _meet(self, session: Session, newborns: Sequence[Newborn]) -> dict[tuple[str, str], list[str]]:
        known = _known(session, {one.agent for one in newborns})
        before = {(agent, *place) for agent, lives in known.items() for place in lives}
        found = {}
        for one in newborns:
            ids = {life for outbox, life in known[one.agent] if outbox == one.outbox}
            if one.lives[-1].id not in ids and meets(one.lives, ids, one.highest):
                known[one.agent] = [*known[one.agent], (one.outbox, one.lives[-1].id)][-MAX_LIVES:]
                ids.add(one.lives[-1].id)
            found[one.agent, one.outbox] = [life.id for life in one.lives if life.id in ids]
        self._write(session, before, {(agent, *place) for agent, lives in known.items() for place in lives})
        return found

    def _write(self, session: Session, before: set[Row], after: set[Row]) -> None:
        now = self._clock()
        names = ("agent", "outbox", "life", "met_at")
        if fresh := [dict(zip(names, (*row, now), strict=True)) for row in sorted(after - before)]:
            session.execute(insert(MetLife), fresh)
        for agent, outbox, life in before - after:
            gone = MetLife.agent == agent, MetLife.outbox == outbox, MetLife.life == life
            session.execute(delete(MetLife).where(*gone))


def _enrolled(session: Session, newborns: Sequence[Newborn]) -> list[Newborn]:
    agents = set(session.scalars(select(Agent.id).where(Agent.id.in_({one.agent for one in newborns}))))
    return [one for one in newborns if one.agent in agents]


def _known(session: Session, agents: Collection[str]) -> defaultdict[str, list[Place]]:
    """Return the known lives of each agent, in the order in which they were met."""
    columns: Any = (MetLife.agent, MetLife.outbox, MetLife.life)
    rows = session.execute(select(*columns).where(MetLife.agent.in_(agents)).order_by(MetLife.met_at, MetLife.life))
    known: defaultdict[str, list[Place]] = defaultdict(list)
    for agent, outbox, life in rows:
        known[agent].append((outbox, life))
    return known
