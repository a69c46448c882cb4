"""The agent's one MQTT session: the only module that knows an MQTT library.

A session has a number, stored before the connection is made; the will and the birth carry it, and no batch is sent
before the hub has answered the birth. Batches go at QoS 0 and the receipt is their acknowledgement; birth and presence
go at QoS 1; nothing is retained. A lost connection, a refused one too, is made again for ever, with jittered back-off,
and logged once per change.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import socket
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol
from urllib.parse import urlsplit

from lamplighter_agent.clock import Clock
from lamplighter_agent.disk import Disk
from lamplighter_agent.entries import Inventory
from lamplighter_agent.flow import Flow
from lamplighter_agent.metering import Meter
from lamplighter_agent.outbox import Outbox
from lamplighter_agent.pace import LONGEST_WAIT_S, Patience, Share
from lamplighter_agent.recorder import Committed
from lamplighter_agent.settings import Habits
from lamplighter_agent.state import Broker
from lamplighter_protocols import topics
from lamplighter_protocols.envelope import encode, wrap
from lamplighter_protocols.errors import WireError
from lamplighter_protocols.model import parse_model
from lamplighter_protocols.presence import CONNECTION_LOST, HEARTBEAT, STOPPED, Birth, Presence
from lamplighter_protocols.records import Receipt, Stream
from lamplighter_protocols.topics import Address, Channel

if TYPE_CHECKING:
    import aiomqtt

IDLE_S: Final = 60.0
INCOMING: Final = 1_000
IN_FLIGHT: Final = {Stream.ALARM: 8, Stream.LIVE: 8, Stream.BACKLOG: 4}
ANSWER_S: Final = 4.0
"""How long the answer to a birth may take before it is asked for again."""
HEARTBEAT_AT: Final = 0.8
"""A heartbeat goes out after this part of the promise, so that it arrives within it."""
LOOK_S: Final = 5.0
"""How often it is looked whether the hub should be told of the link's use."""
_ORDER: Final = (Stream.ALARM, Stream.LIVE, Stream.BACKLOG)


class OutdatedSession(Exception):
    """For the hub this session is over: it knows a later one."""


class Control(Protocol):
    """Who is told what comes down."""

    async def receive(self, address: Address, payload: bytes) -> None:
        """Take a signed message; returns soon."""
        ...

    async def receipt(self, receipt: Receipt) -> None:
        """Take the hub's word of what is committed."""
        ...

    def renumbered(self, by: int) -> None:
        """Learn that reports which were not sent yet have numbers that are higher by so much."""
        ...


@dataclass(frozen=True, slots=True)
class LinkPlan:
    """Where to connect and as whom; what is promised; how batches are made; what backlog may take of the link."""

    agent: str
    broker: Broker
    heard_within_s: int
    habits: Habits
    batch_bytes: int
    backlog_share: float = 1.0


class Link:
    """One agent's way to its hub. `birth` makes the birth of a session."""

    def __init__(
        self,
        plan: LinkPlan,
        outbox: Outbox,
        disk: Disk,
        clock: Clock,
        next_session: Callable[[int], int],
        birth: Callable[[int, Inventory], Birth],
        meter: Meter,
    ) -> None:
        self._plan = plan
        self._meter = meter
        self._pack = partial(wrap, above=plan.habits.compress_above, level=plan.habits.compress_level)
        self._outbox = outbox
        self._disk = disk
        self._clock = clock
        self._next_session = next_session
        self._birth = birth
        share = Share(plan.backlog_share) if plan.backlog_share < 1 else None
        self._flows = {stream: Flow(limit, random.random) for stream, limit in IN_FLIGHT.items()}
        self._flows[Stream.BACKLOG] = Flow(IN_FLIGHT[Stream.BACKLOG], random.random, share)
        self._due: dict[Stream, float | None] = dict.fromkeys(Stream)
        self._fresh: dict[Stream, int] = dict.fromkeys(Stream, 0)
        self._wait_s = plan.habits.linger_s
        self._wake = asyncio.Event()
        self._client: aiomqtt.Client | None = None
        self._session = 0
        self._known_session = 0
        self._answered = asyncio.Event()
        self._born_at = 0.0
        self._sent_at = 0.0
        self._heard_at = asyncio.get_running_loop().time()
        self._said = ""
        self._log = logging.getLogger("lamplighter.link")
        self.control: Control | None = None
        self.bad_messages = 0
        self.throttled = 0
        """Receipts that asked to hold the backlog."""
        self._throttled = False
        self._unreleased = False

    def committed(self, committed: Committed) -> None:
        """Learn that records became durable: alarms go at once, others wait a moment for company."""
        if committed.max_wait_s is not None:
            self._wait_s = min(self._wait_s, committed.max_wait_s)
        for stream, size in committed.sizes.items():
            self._fresh[stream] += size
            full = self._fresh[stream] >= self._plan.batch_bytes
            self._make_due(stream, _now() + (0.0 if full else self._linger(stream)))

    def away_s(self) -> float:
        """Return for how long the hub has not answered, in seconds; 0 while it does, or has nothing to answer."""
        answered = self._client is not None and self._answered.is_set()
        quiet = answered and all(f.attempt == 0 or not self._meter.lets(s) for s, f in self._flows.items())
        return 0.0 if quiet else _now() - self._heard_at

    @property
    def connected(self) -> bool:
        """True while there is a session."""
        return self._client is not None

    async def run(self) -> None:
        """Keep a session, for ever."""
        import aiomqtt

        patience = Patience()
        while True:
            begun = _now()
            self._answered.clear()
            try:
                await self._one_session()
            except* (aiomqtt.MqttError, OSError, sqlite3.Error, OutdatedSession) as group:
                self._lost(_reason(group))
            seconds = patience.after(_now() - begun, answered=self._answered.is_set())
            await asyncio.sleep(seconds * random.uniform(0.3, 1.0))  # noqa: S311 - spreads the connects of many agents

    async def close(self) -> None:
        """Say that the end is on purpose; `run` is cancelled afterwards. What is held waits for the next start."""
        import aiomqtt

        if self._client is None:
            return
        with suppress(aiomqtt.MqttError):
            await self._say_presence(self._client, "offline", STOPPED)

    async def say_birth(self) -> None:
        """Say the birth again: the hub asked for it."""
        if self._client is not None:
            await self._say_birth(self._client)

    async def answer(self, outbox: str | None, stream: Stream, ranges: Sequence[tuple[int, int]]) -> None:
        """Send these numbers again, and declare dropped which of them are not held. The hub asks again for the rest."""
        if not self._answered.is_set() or self.control is None:
            return
        try:
            asked = max((last for _, last in ranges), default=0)
            if outbox in (None, self._outbox.id) and asked > self._outbox.last()[stream]:
                moved = await self._disk.run(self._outbox.go_beyond, {stream: asked})  # an earlier life gave them
                self._tell_of_moves(moved, self.control)
            held = await self._disk.run(self._outbox.answer, outbox, stream, ranges)
        except sqlite3.Error as error:
            self._log.warning("what the hub asks for cannot be looked up now (%s)", error)
            return
        self._flows[stream].asked(held)
        for touched in {stream, Stream.ALARM}:
            self._make_due(touched, _now())

    async def _one_session(self) -> None:
        self._session = await self._disk.run(self._next_session, self._known_session)
        async with _connected(self._make_client()) as client:
            await client.subscribe(topics.agent_filter(self._plan.agent), qos=0)
            self._client = client
            try:
                self._born_at = _now()
                await self._say_birth(client)
                self._connected()
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._receiving(client))
                    tasks.create_task(self._sending(client))
                    tasks.create_task(self._heartbeats(client))
                    tasks.create_task(self._meter.watch(partial(_socket, client), self._wake.set))
            finally:
                self._client = None

    def _make_client(self) -> aiomqtt.Client:
        import aiomqtt

        plan = self._plan
        where = urlsplit(plan.broker.url)
        secure = where.scheme in ("mqtts", "ssl")
        lost = Presence(state="offline", session=self._session, reason=CONNECTION_LOST)
        return aiomqtt.Client(
            where.hostname or "127.0.0.1",
            where.port or (8883 if secure else 1883),
            username=plan.broker.username,
            password=plan.broker.password,
            identifier=plan.agent,
            clean_session=True,
            keepalive=plan.habits.keepalive_s,
            will=aiomqtt.Will(topics.build(plan.agent, Channel.PRESENCE), encode(lost), qos=1, retain=False),
            tls_params=aiomqtt.TLSParameters() if secure else None,
            max_queued_incoming_messages=INCOMING,
            max_queued_outgoing_messages=INCOMING,
            logger=_quiet(),
        )

    def _connected(self) -> None:
        self._log.info("connected to %s as %s, session %d", self._plan.broker.url, self._plan.agent, self._session)
        self._said = ""
        now = _now()
        self._heard_at = now
        for stream, flow in self._flows.items():
            flow.connected()
            self._make_due(stream, now)

    def _lost(self, reason: str) -> None:
        if reason != self._said:
            self._log.warning("no session with %s: %s; trying again", self._plan.broker.url, reason)
            self._said = reason

    async def _receiving(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = bytes(message.payload)
            try:
                await self._receive(topics.parse(str(message.topic)), payload)
            except WireError as error:
                self.bad_messages += 1
                if self.bad_messages & (self.bad_messages - 1) == 0:  # 1, 2, 4, 8 ...
                    self._log.warning("%d message(s) could not be read; the last: %s", self.bad_messages, error)

    async def _receive(self, address: Address, payload: bytes) -> None:
        if self.control is None:
            return
        if address.channel is not Channel.RECEIPT:
            await self.control.receive(address, payload)
            return
        receipt = parse_model(Receipt, payload)
        if receipt.outbox != self._outbox.id:
            return
        answers = receipt.session >= self._session
        # The answer to a birth cannot be older than the birth; of another receipt nobody knows how old it is.
        first = answers and not self._answered.is_set()
        self._clock.hub_said(receipt.now, 1000 * (_now() - self._born_at) if first else math.inf)
        if answers:
            await self._take_answer(receipt, self.control)
        await self._release(receipt)
        if self._answered.is_set():
            self._take_receipt(receipt)
            await self.control.receipt(receipt)

    async def _release(self, receipt: Receipt) -> None:
        """Forget what is committed; on a disk that takes nothing at all that is for a later receipt to do."""
        try:
            await self._disk.run(self._outbox.release, receipt)
        except sqlite3.Error as error:
            if not self._unreleased:
                self._log.warning("what the hub confirms cannot be forgotten now (%s); going on", error)
            self._unreleased = True
        else:
            self._unreleased = False

    async def _take_answer(self, receipt: Receipt, control: Control) -> None:
        """Learn from the answer to this session's birth whether what is here is an older copy of itself."""
        if receipt.session > self._session:
            self._known_session = receipt.session
            raise OutdatedSession(f"session {self._session} is over for the hub; connecting with a higher number")
        settled = await self._disk.run(self._outbox.settle, receipt.highest, receipt.met)
        self._tell_of_moves(settled.moved, control)
        await self._settle_times()
        if settled.met:
            self._answered.set()
        elif settled.moved:
            await self.say_birth()  # with the new numbers the hub can meet this life

    async def _settle_times(self) -> None:
        """Correct the times of records that were made before the hub had said what time it is."""
        if (true_apart := self._clock.true_apart) is None:
            return
        try:
            for said in await self._disk.run(self._outbox.settle_times, true_apart):
                self._log.warning("%s", said)
        except sqlite3.Error as error:
            self._log.warning("corrected times cannot be written down now (%s)", error)

    def _tell_of_moves(self, moved: Mapping[Stream, int], control: Control) -> None:
        if moved:
            text = (
                "this outbox is an older copy: what it has not sent goes on beyond the numbers that the hub knows (%s)"
            )
            self._log.warning(text, ", ".join(f"{stream} +{by}" for stream, by in moved.items()))
            control.renumbered(moved.get(Stream.ALARM, 0))

    def _take_receipt(self, receipt: Receipt) -> None:
        now = _now()
        self._heard_at = now
        last = self._outbox.last()
        for stream, flow in self._flows.items():
            through = min(receipt.through.get(stream, 0), last[stream])
            flow.received(through, receipt.also.get(stream, []), now)
        self._take_throttle(receipt, now)
        self._wake.set()

    def _take_throttle(self, receipt: Receipt, now: float) -> None:
        """Hold the backlog when the hub asks for it; jittered, so that not all agents begin again at once."""
        if receipt.retry_after_ms:
            pause = receipt.retry_after_ms / 1000 * random.uniform(1.0, 1.25)  # noqa: S311 - spreads load
            self._flows[Stream.BACKLOG].hold(now + pause)
            self.throttled += 1
        if bool(receipt.retry_after_ms) != self._throttled:
            self._throttled = bool(receipt.retry_after_ms)
            said = f"the hub asks to hold the backlog: {receipt.reason or 'no reason given'}"
            self._log.info(said if self._throttled else "the hub takes the backlog again")

    async def _until_answered(self) -> None:
        """Wait for the answer to the birth; ask again for it, less and less often, while it does not come.

        Nothing is sent before: numbers that an older copy gives again would be taken for repetitions.
        """
        patience = ANSWER_S
        while not self._answered.is_set():
            await _wait(self._answered, patience * random.uniform(0.75, 1.0))  # noqa: S311 - spreads load
            if not self._answered.is_set():
                await self.say_birth()
                patience = min(LONGEST_WAIT_S, 2 * patience)

    async def _sending(self, client: aiomqtt.Client) -> None:
        await self._until_answered()
        while True:
            now = _now()
            for stream, flow in self._flows.items():
                if flow.overdue(now):
                    self._make_due(stream, now)
            self._wake.clear()
            if not await self._send_one(client):
                await _wait(self._wake, self._next_wake())

    async def _send_one(self, client: aiomqtt.Client) -> bool:
        """Send the most urgent batch that may go; False when there is none."""
        for stream in _ORDER:
            due, now = self._due[stream], _now()
            if due is None or due > now or not self._may_send(stream, now):
                continue
            if await self._send_of(client, stream, due):
                return True
        return False

    async def _send_of(self, client: aiomqtt.Client, stream: Stream, due: float) -> bool:
        """Send a stream's next batch; False when it has none."""
        flow = self._flows[stream]
        wanted = flow.wanted()
        again = wanted.upto is not None
        if not again:
            self._fresh[stream] = 0
            self._wait_s = self._plan.habits.linger_s if stream is Stream.LIVE else self._wait_s
        room = self._plan.batch_bytes if flow.share is None else min(flow.share.room, self._plan.batch_bytes)
        window = await self._disk.run(self._outbox.window, stream, wanted.after, wanted.upto, max_bytes=room)
        if again:
            # What lies before the window, or in its place, is not there any more.
            flow.strike(wanted.after + 1, window.first - 1 if window else wanted.upto or 0)
        if window is None:
            if not again:
                self._caught_up(stream, due)
            return again
        flow.sent(window.first, window.last, _now(), again=again)
        if window.whole and not again:
            self._caught_up(stream, due)
        await self._publish(client, Channel.BATCH, window.payload(self._clock.own(), self._pack), qos=0)
        return True

    def _caught_up(self, stream: Stream, due: float) -> None:
        # Unless something was committed meanwhile, there is nothing more to send.
        if self._due[stream] == due:
            self._due[stream] = None
        if self._fresh[stream]:
            self._make_due(stream, _now() + (self._linger(stream) if stream is Stream.LIVE else 0.0))

    def _linger(self, stream: Stream) -> float:
        """Return how long fresh records of a stream wait for company."""
        if stream is Stream.ALARM:
            return 0.0
        return self._plan.habits.backlog_linger_s if stream is Stream.BACKLOG else self._meter.patience(self._wait_s)

    def _may_send(self, stream: Stream, now: float) -> bool:
        return self._flows[stream].may_send(now) and self._meter.lets(stream)

    def _make_due(self, stream: Stream, at: float) -> None:
        due = self._due[stream]
        self._due[stream] = at if due is None else min(due, at)
        self._wake.set()

    def _next_wake(self) -> float:
        now = _now()
        times = [flow.wake_at(now) for flow in self._flows.values()]
        times += [due for stream, due in self._due.items() if due is not None and self._may_send(stream, now)]
        return min((t for t in times if t is not None), default=now + IDLE_S) - now

    async def _heartbeats(self, client: aiomqtt.Client) -> None:
        within = self._plan.heard_within_s * HEARTBEAT_AT
        while True:
            await asyncio.sleep(min(LOOK_S, max(0.05, self._sent_at + within - _now())))
            if _now() >= min(self._sent_at + within, self._meter.tells_at()):
                await self._say_presence(client, "online", HEARTBEAT)

    async def _say_birth(self, client: aiomqtt.Client) -> None:
        birth = self._birth(self._session, await self._disk.run(self._outbox.inventory))
        await self._publish(client, Channel.BIRTH, encode(birth), qos=1)

    async def _say_presence(self, client: aiomqtt.Client, state: Literal["online", "offline"], reason: str) -> None:
        inventory = await self._disk.run(self._outbox.inventory)
        presence = Presence(
            state=state,
            session=self._session,
            reason=reason,
            sent=self._clock.own(),
            outbox=self._outbox.id,
            link=self._meter.use(),
            **inventory._asdict(),
        )
        await self._publish(client, Channel.PRESENCE, encode(presence), qos=1)

    async def _publish(self, client: aiomqtt.Client, channel: Channel, payload: bytes, qos: int) -> None:
        self._sent_at = _now()
        await client.publish(topics.build(self._plan.agent, channel), payload, qos=qos, retain=False)


@asynccontextmanager
async def _connected(client: aiomqtt.Client) -> AsyncIterator[aiomqtt.Client]:
    """Connect for as long as the block, and close the connection whatever came on it."""
    try:
        async with client:
            yield client
    finally:
        # The library leaves it open when it could not read what came, and reads there again and again.
        client._client._sock_close()  # noqa: SLF001


def _socket(client: aiomqtt.Client) -> socket.socket | None:
    # The library has no name for it; its own connection, also under TLS, is a socket.
    found = client._client.socket()  # noqa: SLF001
    return found if isinstance(found, socket.socket) else None


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _wait(event: asyncio.Event, within_s: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, within_s)):
            await event.wait()
    except TimeoutError:
        return


def _reason(group: BaseExceptionGroup[Any]) -> str:
    first: BaseException = group
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return (str(first) or type(first).__name__)[:200]


def _quiet() -> logging.Logger:
    logger = logging.getLogger("lamplighter.mqtt")
    logger.setLevel(logging.CRITICAL)
    return logger
