"""What one commit will hold, gathered from a group of messages before anything is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from lamplighter_hub.ingest.judge import Judge, Judgement
from lamplighter_hub.ledger.ledger import Draft
from lamplighter_hub.series.store import Commit, Quarantined, Release, StoredEvent
from lamplighter_protocols.errors import WireError
from lamplighter_protocols.ids import new_ulid
from lamplighter_protocols.presence import Birth, Presence
from lamplighter_protocols.quality import Samples
from lamplighter_protocols.readings import Value
from lamplighter_protocols.records import ReportedRecord, ResultRecord

MAX_KEPT_PAYLOAD: Final = 16 * 1024


class Turn(NamedTuple):
    """Births, and the presences that come after them, with their agent and arrival (ms)."""

    births: list[tuple[str, Birth, int]]
    presences: list[tuple[str, Presence, int]]


@dataclass(slots=True)
class Group:
    """Everything that a group of messages brings. `said` keeps births and presences in their order of arrival."""

    draft: Draft
    randomness: bytes
    now_ms: int
    samples: list[Samples] = field(default_factory=list)
    events: list[StoredEvent] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    releases: list[Release] = field(default_factory=list)
    results: list[tuple[str, ResultRecord, int]] = field(default_factory=list)
    reports: list[tuple[str, ReportedRecord, int]] = field(default_factory=list)
    said: list[tuple[str, Birth | Presence, int]] = field(default_factory=list)
    heard: dict[str, int] = field(default_factory=dict)
    receipts: set[tuple[str, str]] = field(default_factory=set)
    foreign: dict[str, set[tuple[str, int, Value | None]]] = field(default_factory=dict)
    """What foreign devices said in this group that might come again: metric, time and value, by device."""
    judgement: Judgement = field(default_factory=lambda: Judge().begin())
    records: int = 0
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def points(self) -> int:
        """How many samples there are."""
        return sum([len(column.times) for column in self.samples])

    def turns(self) -> list[Turn]:
        """Return what was said as few turns: in each the births go first, and every agent keeps its own order.

        Births are stored in one transaction a turn, so a storm of wills and births shall not cut them into single ones.
        """
        turns: list[Turn] = []
        place: dict[str, tuple[int, bool]] = {}
        for agent, said, at in self.said:
            number, told = place.get(agent, (0, False))
            is_birth = isinstance(said, Birth)
            number += is_birth and told
            place[agent] = number, not is_birth
            if number == len(turns):
                turns.append(Turn([], []))
            if isinstance(said, Birth):
                turns[number].births.append((agent, said, at))
            else:
                turns[number].presences.append((agent, said, at))
        return turns

    def births(self) -> dict[tuple[str, str], Birth]:
        """Return the births that wait for an answer, by agent and outbox."""
        said = [(agent, birth) for agent, birth, _ in self.said if isinstance(birth, Birth)]
        return {(agent, birth.outbox): birth for agent, birth in said if birth.outbox}

    def commit(self) -> Commit:
        """Return what the series store shall write, all or nothing."""
        return Commit(self.samples, self.events, self.draft.marks, self.quarantined, self.releases)

    def new_id(self) -> str:
        """Return the id of the next entry of quarantine."""
        number = len(self.quarantined)
        return new_ulid(self.now_ms, self.randomness[:7] + number.to_bytes(3, "big"))

    def refuse(
        self, agent: str, channel: str, reason: str, payload: bytes, error: WireError | None = None, device: str = ""
    ) -> None:
        """Put a payload, or the part of one, into quarantine with its reason."""
        self.quarantined.append(
            Quarantined(
                id=self.new_id(),
                at=self.now_ms,
                agent=agent,
                device=device,
                channel=channel,
                reason=reason,
                field=error.field if error else "",
                detail=error.detail if error else "",
                payload=payload[:MAX_KEPT_PAYLOAD],
            )
        )
