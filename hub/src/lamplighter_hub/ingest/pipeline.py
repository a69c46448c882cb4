"""Ingest as a table of contents: take -> sort -> births -> check -> commit -> acknowledge -> receipts -> live.

One thread runs it. A receipt and an MQTT acknowledgement are given only after the commit that they stand for.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from lamplighter_hub.errors import Unavailable
from lamplighter_hub.ingest.batches import OwnerProfile, take_batch
from lamplighter_hub.ingest.collector import uncollected
from lamplighter_hub.ingest.desk import Desk, Order
from lamplighter_hub.ingest.foreign import Foreign, Known, take_senml
from lamplighter_hub.ingest.group import Group
from lamplighter_hub.ingest.judge import Judge
from lamplighter_hub.ingest.newcomers import Newcomers
from lamplighter_hub.ingest.plain import take_plain
from lamplighter_hub.ledger.ledger import Ledger
from lamplighter_hub.presence.lives import Newborn
from lamplighter_hub.series.store import SeriesError, TimeSeries
from lamplighter_hub.uplink.session import Message
from lamplighter_protocols.envelope import wrap
from lamplighter_protocols.errors import WireError
from lamplighter_protocols.model import parse_model
from lamplighter_protocols.presence import Birth, Presence
from lamplighter_protocols.records import Receipt, ReportedRecord, ResultRecord
from lamplighter_protocols.topics import Address, Channel, build, parse, sender

log = logging.getLogger(__name__)

GROUP: Final = 4_000
"""Messages in one commit at most."""
WAIT_S: Final = 0.5
LINGER_S: Final = 0.03
"""Least time between two commits, so that a busy hub commits groups and not single messages."""
RETRY_S: Final = 1.0
_DATA: Final = frozenset({Channel.BATCH, Channel.SENML})


def _as_it_is(receipt: Receipt) -> Receipt:
    return receipt


class Source(Protocol):
    """Where messages come from and receipts go: the uplink session."""

    def take(self, limit: int, timeout_s: float) -> list[Message]:
        """Return waiting messages, none after the time-out."""

    def acknowledge(self, messages: list[Message]) -> None:
        """Tell the broker that these are committed."""

    def publish(self, topic: str, payload: bytes) -> None:
        """Send at QoS 0; never blocks."""


class Directory(Protocol):
    """Who owns which device, and who is there: the registry's view."""

    def births(self, births: list[tuple[str, Birth, int]]) -> None:
        """Register what agents say of themselves and their devices."""

    def meet(self, newborns: Sequence[Newborn]) -> dict[tuple[str, str], list[str]]:
        """Return which lives of births are known, by agent and outbox."""

    def told(self, agent: str, presence: Presence, arrived_ms: int) -> None:
        """Take a will, a farewell or a sign of life."""

    def session(self, agent: str) -> int:
        """Return the lowest session number of an agent that may still be there; 0 when nothing is known."""

    def heard(self, agents: dict[str, int]) -> None:
        """Note when agents were last heard."""

    def settle(self) -> None:
        """Make durable what was told."""

    def results(self, results: list[tuple[str, ResultRecord, int]]) -> None:
        """Book command results."""

    def reports(self, reports: list[tuple[str, ReportedRecord, int]]) -> None:
        """Book reported configurations."""


class Pipeline:
    """Moves messages from the broker into the stores, for as long as `run` is not stopped.

    `worded` gives receipts their last word: what a busy hub asks of its agents. `desk` is where others leave orders.
    """

    def __init__(
        self,
        source: Source,
        series: TimeSeries,
        ledger: Ledger,
        directory: Directory,
        owner: OwnerProfile,
        known: Known,
        clock: Callable[[], int],
        announce: Callable[[Group], None],
        worded: Callable[[Receipt], Receipt] = _as_it_is,
        judge: Judge | None = None,
        desk: Desk | None = None,
    ) -> None:
        self._source = source
        self._series = series
        self._ledger = ledger
        self._directory = directory
        self._owner = owner
        self._known = known
        self._clock = clock
        self._announce = announce
        self._worded = worded
        self._judge = judge or Judge()
        self._desk = desk or Desk()
        self._newcomers = Newcomers()
        self.counts: Counter[str] = Counter()

    def run(self, stop: threading.Event) -> None:
        """Work until told to stop; the group in hand is finished first."""
        while not stop.is_set():
            began = time.monotonic()
            self.attend(stop)
            messages = self._source.take(GROUP, WAIT_S)
            if messages:
                self._finish(messages, stop)
                stop.wait(max(0.0, LINGER_S - (time.monotonic() - began)))

    def attend(self, stop: threading.Event) -> None:
        """Do what others ask of the ingest thread, each order with a commit of its own."""
        self._desk.serve(lambda order: self._do(order, stop))

    @uncollected()
    def process(self, messages: list[Message]) -> None:
        """Take a group of messages all the way, or raise and leave no trace of it."""
        group = self._begin()
        data = [(message, address) for message in messages if (address := self._sort(group, message))]
        self._hear(group)
        for message, address in data:
            self._check(group, message, address)
        self._directory.results(group.results)
        self._directory.reports(group.reports)
        self._commit(group)
        self._source.acknowledge(messages)
        self._send_receipts(group)
        self._count(group, len(messages))
        self._announce(group)

    def _do(self, order: Order, stop: threading.Event) -> None:
        """Commit what an order brings. While the store is away it is repeated: whether it is there only that tells."""
        group = self._begin()
        order(group)
        while (error := self._refused(group)) is not None:
            if self._fails_anew():
                log.error("a store does not take what was asked of it; it is asked again", exc_info=error)
            if stop.wait(RETRY_S):
                raise error
        self._recover()
        self._count(group, 0)
        self._announce(group)

    def _refused(self, group: Group) -> SeriesError | None:
        try:
            self._commit(group)
        except SeriesError as error:
            return error
        return None

    def _begin(self) -> Group:
        now = self._clock()
        return Group(self._ledger.draft(now), os.urandom(10), now, judgement=self._judge.begin())

    def _sort(self, group: Group, message: Message) -> Address | None:
        """Note who was heard and what was said; return the address of data, which waits for the births before it."""
        try:
            address = parse(message.topic)
            if address.channel in _DATA:
                group.heard[address.agent] = message.arrived_ms
                return address
            self._listen(group, address, message)
        except WireError as error:
            group.refuse(sender(message.topic), _channel(message.topic), error.code, message.payload, error)
        return None

    @staticmethod
    def _listen(group: Group, address: Address, message: Message) -> None:
        said: Birth | Presence
        if address.channel is Channel.BIRTH:
            said = parse_model(Birth, message.payload)
        else:
            said = parse_model(Presence, message.payload)
        group.draft.heed_inventory(address.agent, said)
        group.said.append((address.agent, said, message.arrived_ms))
        if not (isinstance(said, Presence) and said.state == "offline"):
            group.heard[address.agent] = message.arrived_ms

    def _hear(self, group: Group) -> None:
        turns = group.turns()
        for turn in turns:
            self._directory.births(turn.births)
            for agent, presence, at in turn.presences:
                self._directory.told(agent, presence, at)
        self._directory.heard(group.heard)
        if any(turn.presences for turn in turns):
            self._directory.settle()

    def _check(self, group: Group, message: Message, address: Address) -> None:
        try:
            if address.channel is Channel.BATCH:
                if take_plain(group, address.agent, message.payload, self._owner):
                    return
                take_batch(group, address.agent, message.payload, self._owner, self._newcomers, message.arrived_ms)
            else:
                pack = Foreign(address.agent, address.device, message.payload, message.qos > 0, message.arrived_ms)
                take_senml(group, pack, self._owner, self._known)
        except WireError as error:
            group.refuse(address.agent, address.channel, error.code, message.payload, error, address.device)

    def _commit(self, group: Group) -> None:
        commit = group.commit()
        if any(commit):
            self._series.commit(commit)
        self._ledger.take(group.draft)
        self._judge.keep(group.judgement)

    def _send_receipts(self, group: Group) -> None:
        births = group.births()
        for (agent, _), answer in self._answers(births).items():
            self._send_receipt(agent, answer)
        for agent, outbox in group.receipts - births.keys():
            self._send_receipt(agent, self._ledger.receipt(agent, outbox, self._clock()))

    def _answers(self, births: Mapping[tuple[str, str], Birth]) -> dict[tuple[str, str], Receipt]:
        """Return the answer to each birth: its session or a later one, and whether its numbers can be taken for new."""
        answers = {}
        for (agent, outbox), birth in births.items():
            session = max(birth.session, self._directory.session(agent))
            answers[agent, outbox] = self._ledger.answer(agent, outbox, session, self._clock())
        newborns = [Newborn(*key, birth.lives, answers[key].highest) for key, birth in births.items() if birth.lives]
        met = self._directory.meet(newborns) if newborns else {}
        told = {(one.agent, one.outbox): met.get((one.agent, one.outbox), []) for one in newborns}
        return answers | {key: answers[key].model_copy(update={"met": lives}) for key, lives in told.items()}

    def _send_receipt(self, agent: str, receipt: Receipt) -> None:
        said = self._worded(receipt).model_dump_json(exclude_defaults=True)
        self._source.publish(build(agent, Channel.RECEIPT), wrap(said.encode()))

    def _count(self, group: Group, messages: int) -> None:
        self.counts.update(group.counts)
        self.counts["messages"] += messages
        self.counts["records"] += group.records
        self.counts["points"] += group.points
        self.counts["commits"] += 1
        self.counts["quarantined"] += len(group.quarantined)
        self.counts["events"] += len(group.events)

    def _finish(self, messages: list[Message], stop: threading.Event) -> None:
        """Take a group; when it breaks us, take its messages one by one and set the guilty ones aside."""
        if (error := self._try(messages, stop)) is None:
            return
        log.error("a group of %d messages could not be taken as a whole", len(messages), exc_info=error)
        for message in messages:
            if (wrong := self._try([message], stop)) is not None:
                log.error("a message on %s breaks ingest and is set aside", message.topic, exc_info=wrong)
                self._set_aside(message, wrong)

    def _try(self, messages: list[Message], stop: threading.Event) -> Exception | None:
        """Repeat for as long as the store is away: nothing is acknowledged before. Return what else is wrong."""
        while not stop.is_set():
            try:
                self.process(messages)
            except (SeriesError, Unavailable):
                if self._fails_anew():
                    log.exception("a store does not take data; nothing is confirmed until it does")
                stop.wait(RETRY_S)
            except Exception as error:  # noqa: BLE001 - supervision: one message must not stop all others
                self.counts["failures"] += 1
                return error
            else:
                self._recover()
                return None
        return None

    def _set_aside(self, message: Message, error: Exception) -> None:
        group = self._begin()
        reason = WireError(f"{type(error).__name__} in the hub; please report it")
        group.refuse(sender(message.topic), _channel(message.topic), "internal_error", message.payload, reason)
        self._commit(group)
        self._source.acknowledge([message])
        self._count(group, 1)

    def _fails_anew(self) -> bool:
        """Count a failure; True for the first in a row, which is the one to log."""
        self.counts["failures"] += 1
        anew = not self.counts["failing"]
        self.counts["failing"] = 1
        return anew

    def _recover(self) -> None:
        if self.counts["failing"]:
            log.info("ingest works again")
        self.counts["failing"] = 0


def _channel(topic: str) -> str:
    parts = topic.split("/")
    return parts[4][:32] if len(parts) > 4 else ""
