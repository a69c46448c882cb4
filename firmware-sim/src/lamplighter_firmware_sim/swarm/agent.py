"""One agent of a swarm: an asyncio protocol that connects, is born, sends batches and keeps them until receipted."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from lamplighter_firmware_sim.errors import ProtocolError
from lamplighter_firmware_sim.swarm import packets, words
from lamplighter_firmware_sim.swarm.backlog import Backlog, Past
from lamplighter_firmware_sim.swarm.figures import Figures
from lamplighter_protocols.errors import BadTopic
from lamplighter_protocols.presence import CONNECTION_LOST, HEARTBEAT, STOPPED
from lamplighter_protocols.topics import Channel, agent_filter, build, parse

FIRST_DEADLINE_S: Final = 5.0
"""How long a batch waits at least for its receipt before it is sent again; up to LAST_DEADLINE_S if the hub is slow."""
LAST_DEADLINE_S: Final = 30.0
BIRTH_DEADLINE_S: Final = 10.0
_BIRTH: Final = 1
_SUBSCRIBE: Final = 2
_HEARTBEAT: Final = 3


@dataclass(frozen=True)
class Shared:
    """What all agents of a process have in common. `now` is monotonic seconds, `wall_ms` the time of day."""

    load: words.Load
    profile: str
    version: str
    heard_within_s: int
    interval_s: float
    window: int
    boot: str
    now: Callable[[], float]
    wall_ms: Callable[[], int]
    figures: Figures
    dice: random.Random
    past: Past | None = None


class Watcher(Protocol):
    """Who wants to know when a session begins and ends."""

    def is_up(self, agent: SwarmAgent) -> None:
        """Take note of a session that is complete: connected, and subscribed."""

    def is_down(self, agent: SwarmAgent) -> None:
        """Take note of a connection that has ended."""


class Pending:
    """A record on its way: its number and time make its bytes again; when it was first and last sent."""

    __slots__ = ("first", "last", "sequence", "t")

    def __init__(self, sequence: int, t: int, now: float) -> None:
        self.sequence = sequence
        self.t = t
        self.first = now
        self.last = now


class SwarmAgent(asyncio.Protocol):
    """One session. Everything it has to do is done by `wake`, which one timer calls."""

    __slots__ = (
        "_answered_once",
        "_backlog",
        "_backoff_s",
        "_birth_due",
        "_heard_due",
        "_paused",
        "_pending",
        "_produce_due",
        "_reader",
        "_resend_due",
        "_sequence",
        "_shared",
        "_timer",
        "_transport",
        "_wall_at_0",
        "_watcher",
        "attempts",
        "id",
        "outbox",
        "password",
        "producing",
        "reporting",
        "session",
        "up",
    )

    def __init__(self, shared: Shared, watcher: Watcher, agent: str, password: str, outbox: str) -> None:
        self._shared = shared
        self._watcher = watcher
        self.id = agent
        self.password = password
        self.outbox = outbox
        self.session = 0
        self.attempts = 0
        self.up = False
        self.producing = False
        self.reporting = False
        self._sequence = 0
        self._pending: deque[Pending] = deque()
        self._backlog = Backlog(shared.past.records if shared.past else 0)
        self._backoff_s = FIRST_DEADLINE_S
        self._answered_once = True
        self._transport: asyncio.Transport | None = None
        self._reader = packets.Reader()
        self._paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._birth_due = self._resend_due = self._heard_due = self._produce_due = float("inf")
        self._wall_at_0 = 0.0

    @property
    def device(self) -> str:
        """The id of its only device."""
        return f"{self.id}-d1"

    # what the fleet asks for

    def produce(self, *, on: bool) -> None:
        """Begin (at a random phase of the interval) or end making records."""
        self.producing = on and self._shared.interval_s > 0
        self._produce_due = float("inf")
        if self.producing:
            now = self._shared.now()
            self._produce_due = now + self._shared.dice.random() * self._shared.interval_s
            self._wall_at_0 = self._wall() - now * 1000
        self.wake()

    def abort(self) -> None:
        """Cut the connection without a word, as a broken line does."""
        if self._transport:
            self._transport.abort()

    def leave(self) -> None:
        """Say goodbye and disconnect."""
        if self.up and self._transport:
            self._publish(
                Channel.PRESENCE, words.presence("offline", self.session, STOPPED, self._wall()), 1, _HEARTBEAT
            )
            self._transport.write(packets.DISCONNECT)
            self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say CONNECT, with a new session number and its will."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a TCP connection has no other kind
        self._transport = transport
        self._reader = packets.Reader()
        self._paused = False
        # Rises with each connect, also from one run to the next.
        self.session = max(self.session + 1, self._wall())
        will = packets.Will(build(self.id, Channel.PRESENCE), words.presence("offline", self.session, CONNECTION_LOST))
        transport.write(
            packets.connect(
                self.id,
                username=self.id if self.password else "",
                password=self.password,
                keepalive_s=2 * self._shared.heard_within_s,
                will=will,
            )
        )

    def data_received(self, data: bytes) -> None:
        """Take what came; an answer that MQTT does not allow ends the connection."""
        try:
            for packet in self._reader.feed(data):
                self._take(packet)
        except ProtocolError:
            self._shared.figures.failed["protocol error"] += 1
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Forget the connection; what has no receipt is kept."""
        self._transport = None
        self.reporting = False
        self._birth_due = self._resend_due = self._heard_due = float("inf")
        if self._timer:
            self._timer.cancel()
            self._timer = None
        self._watcher.is_down(self)

    def pause_writing(self) -> None:
        """Make no more records until the broker reads again."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on."""
        self._paused = False
        self.wake()

    # what the broker says

    def _take(self, packet: packets.Packet) -> None:
        match packet:
            case packets.Message():
                self._listen(packet)
            case packets.Connack(code):
                self._answered(code)
            case packets.Suback(_, codes):
                self._subscribed(codes)
            case packets.Puback(packet=1):  # the birth's
                self._birth_due = float("inf")
                self._shared.figures.births_acknowledged += 1
            case _:
                pass

    def _answered(self, code: int) -> None:
        if code:
            self._shared.figures.refused[packets.REFUSALS.get(code, str(code))] += 1
            self.abort()
        elif self._transport:
            self._transport.write(packets.subscribe(_SUBSCRIBE, agent_filter(self.id)))

    def _subscribed(self, codes: bytes) -> None:
        if codes != b"\x00":
            self._shared.figures.refused["subscription"] += 1
            self.abort()
            return
        self.up = True
        self.attempts = 0
        self._watcher.is_up(self)
        self._be_born()
        self._backoff_s = FIRST_DEADLINE_S
        for pending in self._pending:
            self._send(pending, again=True)
        self._backlog.reconnected()
        self.wake()

    def _listen(self, message: packets.Message) -> None:
        if message.qos and self._transport:
            self._transport.write(packets.puback(message.packet))
        try:
            channel = parse(message.topic).channel
        except BadTopic:
            channel = None
        self._shared.figures.downlinks[channel or "unknown"] += 1
        if channel is Channel.RECEIPT:
            self._receipt(message.payload)
        elif channel is Channel.FETCH and words.asks_for_birth(message.payload):
            self._be_born()
            self.wake()

    def _receipt(self, payload: bytes) -> None:
        said = words.receipt(payload, self.outbox)
        if said is None:
            return
        self._shared.figures.receipts += 1
        before = len(self._pending)
        now = self._shared.now()
        self._free(said, now)
        if len(self._pending) < before:
            self.reporting = self._answered_once = True
        self._shared.figures.throttled += said.wait_ms > 0
        self._shared.figures.backlog_confirmed += self._backlog.confirm(said.backlog, now, said.wait_ms / 1000)
        self._set_deadline(now + said.wait_ms / 1000 if said.wait_ms else 0.0)
        self.wake()

    def _free(self, said: words.Confirmed, now: float) -> None:
        kept: deque[Pending] = deque()
        while self._pending:
            pending = self._pending.popleft()
            number = pending.sequence
            if number <= said.through or any(first <= number <= last for first, last in said.also):
                self._shared.figures.confirmed += 1
                self._shared.figures.latencies.add((now - pending.first) * 1000)
                if pending.last == pending.first:
                    # Only what was sent once says how long the hub takes (Karn): a slow hub is not asked twice.
                    self._backoff_s = min(max(2 * (now - pending.first), FIRST_DEADLINE_S), LAST_DEADLINE_S)
            else:
                kept.append(pending)
                if not said.also and number > said.through:
                    kept.extend(self._pending)
                    break
        self._pending = kept

    # what it says

    def wake(self) -> None:
        """Do everything that is due, then set the timer for the next."""
        if not self.up or not self._transport:
            return
        now = self._shared.now()
        if now >= self._birth_due:
            self._be_born()
        if now >= self._resend_due:
            self._send_again(now)
        if not self._paused:
            self._make_due(now)
            if self.producing and now >= self._backlog.due:
                self._send_backlog(now)
        if now >= self._heard_due:
            message = words.presence("online", self.session, HEARTBEAT, self._wall())
            self._publish(Channel.PRESENCE, message, 1, _HEARTBEAT)
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        full = self._paused or len(self._pending) >= self._shared.window
        produce_due = float("inf") if full else self._produce_due
        backlog_due = self._backlog.due if self.producing and not self._paused else float("inf")
        due = min(self._birth_due, self._resend_due, self._heard_due, produce_due, backlog_due)
        self._timer = asyncio.get_running_loop().call_later(max(due - self._shared.now(), 0.0), self.wake)

    def _make_due(self, now: float) -> None:
        """Make the records that are due; more than the window holds must wait for receipts.

        A record's time is when it was due, as that of a device that keeps its pace whatever becomes of its batches.
        """
        while now >= self._produce_due and len(self._pending) < self._shared.window:
            self._sequence += 1
            pending = Pending(self._sequence, round(self._wall_at_0 + self._produce_due * 1000), now)
            self._pending.append(pending)
            figures = self._shared.figures
            figures.records += 1
            figures.points += self._shared.load.points
            self._send(pending, again=False)
            self._produce_due += self._shared.interval_s
        behind = int((now - self._produce_due) / self._shared.interval_s) if now > self._produce_due else 0
        if behind > self._shared.window:
            self._shared.figures.held_back += behind
            self._produce_due += behind * self._shared.interval_s

    def _send_again(self, now: float) -> None:
        """Send again what has waited for long; one probing batch only when nothing was answered since the last time."""
        probe = not self._answered_once
        for pending in list(self._pending)[: 1 if probe else None]:
            if now - pending.last >= self._backoff_s * 0.75:
                self._send(pending, again=True)
        self._answered_once = False
        self._backoff_s = min(self._backoff_s * 2, LAST_DEADLINE_S)
        self._set_deadline(0.0)

    def _set_deadline(self, earliest: float) -> None:
        """Wait for the oldest record's receipt from when it was last sent: receipts of others do not delay it."""
        self._resend_due = float("inf")
        if self._pending:
            wait = self._backoff_s * (0.75 + 0.5 * self._shared.dice.random())
            self._resend_due = max(self._pending[0].last + wait, earliest)

    def _send(self, pending: Pending, *, again: bool) -> None:
        pending.last = self._shared.now()
        self._shared.figures.resent += again
        payload = words.batch(self._shared.load, self.outbox, self.device, pending.sequence, pending.t)
        self._publish(Channel.BATCH, payload, 0, 0)
        if self._resend_due == float("inf"):
            self._set_deadline(0.0)

    def _send_backlog(self, now: float) -> None:
        past = self._shared.past
        if past is None:
            return
        (first, count), fresh = self._backlog.take(now)
        self._shared.figures.resent += not fresh
        numbers = range(first, first + count)
        records = [words.record(past.load, self.device, number, past.end_of(number)) for number in numbers]
        self._publish(Channel.BATCH, words.backlog(self.outbox, first, self._wall(), records), 0, 0)

    def _be_born(self) -> None:
        self._birth_due = self._shared.now() + BIRTH_DEADLINE_S
        self._shared.figures.births += 1
        message = words.birth(
            session=self.session,
            boot=self._shared.boot,
            outbox=self.outbox,
            heard_within_s=self._shared.heard_within_s,
            sent=self._wall(),
            device=self.device,
            profile=self._shared.profile,
            version=self._shared.version,
        )
        self._publish(Channel.BIRTH, message, 1, _BIRTH)

    def _publish(self, channel: Channel, payload: bytes, qos: int, packet: int) -> None:
        if not self._transport:
            return
        message = packets.publish(build(self.id, channel), payload, qos, packet)
        self._transport.write(message)
        self._shared.figures.bytes_sent += len(message)
        self._heard_due = self._shared.now() + self._shared.heard_within_s * 0.8

    def _wall(self) -> int:
        return self._shared.wall_ms()
