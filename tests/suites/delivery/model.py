"""What the agent gave, and what must hold of it: on the agent's disk, in the hub's books, in the hub's stores."""

from __future__ import annotations

from collections import Counter
from typing import Final

from lamplighter_hub.ledger.account import Account, Key
from lamplighter_protocols.commands import CommandState
from lamplighter_protocols.records import Stream
from suites.delivery.agent import AgentSide
from suites.delivery.hub import AGENT, HubSide

Numbers = dict[int, set[int]]
"""By sequence number what is in that record: numbers of ours; a record of readings has several."""
NOTHING: Final[Numbers] = {}


class Model:
    """`given`: which of our numbers has which sequence number, per outbox and stream.

    `bad` are those that belong into quarantine, `results` those that answer a command. `forgotten` are sequence numbers
    that an older hub, or an older image of the agent, does not know any more: only they may be nowhere until both have
    talked it out.
    """

    def __init__(self, hub: HubSide) -> None:
        self.given: dict[tuple[str, Stream], Numbers] = {}
        self.bad: set[int] = set()
        self.results: dict[int, str] = {}
        self.forgotten: set[tuple[str, Stream, int]] = set()
        self._hub = hub
        self._checked = 0

    def give(self, outbox: str, stream: Stream, numbers: dict[int, int]) -> None:
        """Note the sequence number of each number of ours."""
        known = self.given.setdefault((outbox, stream), {})
        for n, number in numbers.items():
            known.setdefault(number, set()).add(n)

    def account(self, agent: AgentSide, stream: Stream) -> Account:
        return self._hub.ledger.snapshot(Key(AGENT, agent.outbox.id, stream))

    def books_add_up_and_nothing_is_there_twice(self) -> None:
        if self._checked == self._hub.version:
            return
        assert self._hub.ledger.violations == 0
        stored, aside = self._hub.stored(), self._hub.quarantined()
        assert max((stored + aside).values(), default=1) == 1
        assert aside.keys() <= self.bad
        for row in self._hub.ledger.rows():
            assert row.received == row.stored + row.duplicate + row.quarantined
            key = Key(row.agent, row.outbox, row.stream)
            account = self._hub.ledger.snapshot(key)
            assert account.seen.count() == row.stored + row.quarantined + row.dropped
            self._what_is_taken_is_there(key, account, stored + aside)
        self._checked = self._hub.version

    def _what_is_taken_is_there(self, key: Key, account: Account, there: Counter[int]) -> None:
        """A number that the ledger has is in the store, in quarantine or in the registry, and no other is."""
        for number, ours in self.given.get((key.outbox, Stream(key.stream)), NOTHING).items():
            taken = number in account.seen and number not in account.gone
            for n in ours - self.results.keys():
                assert taken == (n in there), f"{key} {number}: taken {taken}, {n} there {n in there}"
            for n in ours & self.results.keys():
                row = self._hub.result(self.results[n])
                assert not (taken and row) or (row.state, row.data) == (CommandState.SUCCEEDED, {"n": n})

    def nowhere(self, agent: AgentSide) -> set[tuple[str, Stream, int]]:
        """Return what the hub does not have, and is neither held nor told to be gone by a record that is held."""
        known = {stream: set[int]() for stream in Stream}
        for item in agent.held():
            known[item.stream].add(item.number)
            if item.told:
                stream, first, last = item.told
                known[stream].update(range(first, last + 1))
        found = set()
        for stream, last in agent.outbox.last().items():
            seen = self.account(agent, stream).seen
            absent = {number for number in range(1, last + 1) if number not in seen and number not in known[stream]}
            found |= {(agent.outbox.id, stream, number) for number in absent}
        return found

    def everything_is_stored_or_declared(self, agent: AgentSide) -> None:
        there = self._hub.stored() + self._hub.quarantined()
        for (outbox, stream), numbers in self.given.items():
            account = self._hub.ledger.snapshot(Key(AGENT, outbox, stream))
            if outbox == agent.outbox.id and (last := agent.outbox.last()[stream]):
                assert account.seen.ranges() == [(1, last)]
            here = {i for i, ours in numbers.items() if ours <= there.keys() | self.results.keys()}
            lost = {i for i in numbers if i in account.seen and i not in here}
            declared = {i for i, ours in numbers.items() if i in account.gone and not ours <= self.results.keys()}
            assert lost == declared, f"{outbox} {stream}"

    def sent_is_stored_or_dropped_or_held(self, agent: AgentSide) -> None:
        """Beside what an older hub forgot behind records that are still held. After a birth the hub's books say so."""
        nowhere = Counter(stream for outbox, stream, _ in self.nowhere(agent) if outbox == agent.outbox.id)
        for stream, sent in agent.outbox.last().items():
            account = self.account(agent, stream)
            assert account.balance() == (sent, agent.outbox.held()[stream], nowhere[stream]), f"{stream}: {account}"

    def what_outlives_the_disk(self, agent: AgentSide) -> dict[Stream, Numbers]:
        """Return what a copy of the disk holds, and what the hub has of the time after it; the rest is gone."""
        found = {}
        for stream, last in agent.outbox.last().items():
            account = self.account(agent, stream)
            numbers = self.given.pop((agent.outbox.id, stream), NOTHING)
            found[stream] = {i: n for i, n in numbers.items() if i <= last or i in account.seen}
        held = {(item.stream, item.number): set(item.ours) for item in agent.held() if item.ours}
        for (stream, number), ours in held.items():
            if number not in self.account(agent, stream).seen:
                found[stream][number] = ours  # the copy may be of a moment when this record was still growing
        return found

    def shift(self, outbox: str, stream: Stream, above: int, by: int) -> None:
        """Numbers above one have become higher by so much."""
        numbers = self.given.get((outbox, stream), NOTHING)
        moved = {number + by: ours for number, ours in numbers.items() if number > above}
        self.given[outbox, stream] = {number: ours for number, ours in numbers.items() if number <= above} | moved
