"""The hub's MQTT session: persistent, acknowledged by hand after commit, reading whatever happens.

    broker ==> network thread -> Inbox -> take() -> ingest thread -> commit -> acknowledge()
    broker <== network thread <- publish() from any thread

MQTT 3.1.1 through paho, which is driven by a thread of our own: acknowledgements and messages of other threads are
handed over in groups, so that paho is only ever touched by one thread. Each connection has a generation number. An
unacknowledged message comes again after a reconnect, with a new message id that may have belonged to another message
before; an acknowledgement of an older generation is therefore thrown away and counted.
"""

from __future__ import annotations

import logging
import random
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from lamplighter_hub.uplink.address import BadBrokerUrl, BrokerAddress, parse_url
from lamplighter_hub.uplink.answers import Answers
from lamplighter_hub.uplink.inbox import Budget, Inbox, Waiting
from lamplighter_hub.uplink.lanes import Message
from lamplighter_hub.uplink.packets import Publish, publish
from lamplighter_hub.uplink.sockets import BufferedSocket
from lamplighter_protocols import topics
from lamplighter_protocols.records import Stream

__all__ = ["Budget", "Counters", "Message", "Session"]

KEEPALIVE_S: Final = 30
CONNECT_TIMEOUT_S: Final = 5.0
ANSWER_TIMEOUT_S: Final = 35.0
"""How long a broker may take to answer CONNECT and SUBSCRIBE: a storm of agents may be ahead of us."""
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
PACKETS_A_TURN: Final = 2_000
TICK_MS: Final = 500
LINGER_S: Final = 2.0
MAX_OUTGOING: Final = 50_000
MAX_OUTGOING_BYTES: Final = 32 * 1024 * 1024

_log = logging.getLogger(__name__)


@dataclass
class Counters:
    """Numbers of messages since the start, except `connections`."""

    received: int = 0
    retained: int = 0
    """Stale retained messages, acknowledged and not passed on: nothing we depend on is retained."""
    unreadable: int = 0
    """Topics that are not UTF-8, acknowledged and not passed on."""
    acknowledged: int = 0
    outdated: int = 0
    """Acknowledgements of an earlier connection, thrown away; those messages come again."""
    published: int = 0
    unsent: int = 0
    """Messages of ours dropped because there was no connection or no room; everything down is repeated."""
    connections: int = 0


class _Client(paho.Client):
    """paho on a buffered socket of ours. `buffered` is the connection's socket, once there is one."""

    address: BrokerAddress
    tls: ssl.SSLContext | None
    buffered: BufferedSocket

    def _create_socket(self) -> Any:
        stream = socket.create_connection((self.address.host, self.address.port), CONNECT_TIMEOUT_S)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls is not None:
            stream = self.tls.wrap_socket(stream, server_hostname=self.address.host)
        self.buffered = BufferedSocket(stream)
        return self.buffered


class Session:
    """One persistent session that receives everything agents say. All methods may be called from any thread.

    `url` is mqtt:// or mqtts://, `username` and `password` win over those in it. `shared` names a group of workers
    that divide the load ($share; not for a lone hub). `max_queue_bytes` and `max_queue_messages` bound what waits.
    Raises BadBrokerUrl.
    """

    def __init__(
        self,
        url: str,
        client_id: str,
        username: str = "",
        password: str = "",
        *,
        shared: str = "",
        max_queue_bytes: int = Budget.size,
        max_queue_messages: int = Budget.messages,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._address = parse_url(url)
        self._filter = topics.hub_filter(shared)
        self._client = _client(self._address, client_id, username, password)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._clock = clock
        self._inbox = Inbox(Budget(max_queue_messages, max_queue_bytes))
        self._committed: deque[tuple[int, int]] = deque()
        self._answers = Answers()
        self._outgoing: deque[tuple[str, bytes]] = deque()
        self._outgoing_bytes = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._bell: Bell | None = None
        self._generation = 0
        self._refusal = ""
        self._left_out_before = 0
        self.connected = threading.Event()
        """Set while the broker has confirmed our subscription."""
        self.trouble = "not started"
        """Why there is no connection, for people; empty while there is one."""
        self.counters = Counters()

    @property
    def where(self) -> str:
        """The broker's URL without credentials."""
        return self._address.shown

    @property
    def queued(self) -> int:
        """Messages that wait to be taken."""
        return len(self._inbox)

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait to be taken."""
        return self._inbox.size

    @property
    def fill(self) -> float:
        """How full the queue of what waits to be taken is, from 0 to 1 (beyond with alarms and QoS 1)."""
        return self._inbox.fill

    def waiting(self) -> dict[Stream, Waiting]:
        """Return what waits to be taken, by urgency."""
        return self._inbox.waiting()

    def arrivals(self) -> dict[Stream, int | None]:
        """Return when the messages arrived (ms) that are next to be taken, by urgency; None where none waits."""
        return self._inbox.arrivals()

    @property
    def shed(self) -> int:
        """QoS 0 messages dropped unread since the start, because the inbox was full."""
        return self._inbox.shed

    @property
    def left_out(self) -> int:
        """QoS 1 messages left with the broker since the start, because the inbox was full."""
        return self._inbox.left_out

    def start(self) -> None:
        """Start the network thread; it connects and keeps trying. Use `connected.wait(seconds)` to know."""
        self._bell = Bell()
        self._thread = threading.Thread(target=self._run, args=(self._bell,), name="uplink", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send what is waiting, say goodbye and end the thread. The broker keeps the session and its messages."""
        self._stopping.set()
        self._inbox.close()
        self._ring()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def take(self, limit: int, timeout_s: float) -> list[Message]:
        """Return up to `limit` messages as soon as there is one; empty after `timeout_s` seconds or `stop`."""
        return self._inbox.take(limit, timeout_s)

    def acknowledge(self, messages: Iterable[Message]) -> None:
        """Tell the broker that these are committed. QoS 0 needs no word; those of an old connection come again."""
        committed = [(message.generation, message.mid) for message in messages if message.qos]
        if committed:
            self._committed.extend(committed)
            self._ring()

    def publish(self, topic: str, payload: bytes) -> None:
        """Send at QoS 0 without waiting. Dropped and counted when there is no connection or too much is waiting."""
        with self._lock:
            full = len(self._outgoing) >= MAX_OUTGOING or self._outgoing_bytes + len(payload) > MAX_OUTGOING_BYTES
            if full or not self.connected.is_set():
                self.counters.unsent += 1
                return
            self._outgoing.append((topic, payload))
            self._outgoing_bytes += len(payload)
        self._ring()

    def _ring(self) -> None:
        if self._bell is not None:
            self._bell.ring()

    # Everything below runs in the network thread.

    def _run(self, bell: Bell) -> None:
        pause = FIRST_PAUSE_S
        while not self._stopping.is_set():
            try:
                reached = self._connection(bell)
            except Exception:  # noqa: BLE001 - supervision: a malformed packet must not end the hub
                _log.exception("uplink: the connection to %s ended by a defect", self.where)
                reached = False
            self._lost()
            pause = FIRST_PAUSE_S if reached else min(pause * 2, LONGEST_PAUSE_S)
            if not self._stopping.is_set():
                self._stopping.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, keeps no secret
        bell.close()

    def _connection(self, bell: Bell) -> bool:
        """One connection from CONNECT to its end. Returns whether we got as far as a subscription."""
        self._generation += 1
        self._answers.forget()
        self._refusal = ""
        try:
            self._client.reconnect()
        except (OSError, ValueError) as error:
            self._troubled(f"cannot reach {self.where}: {getattr(error, 'strerror', None) or error}")
            return False
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        reached = False
        while self._client.socket() is not None and not self._stopping.is_set() and not self._owed():
            self._turn(bell)
            reached = reached or self.connected.is_set()
            if not reached and time.monotonic() > deadline:
                self._refusal = f"{self.where} does not answer"
                break
        if self._client.socket() is None or self._refusal:
            self._troubled(self._refusal or f"{self.where} closed the connection")
        self._goodbye()
        return reached

    def _turn(self, bell: Bell) -> None:
        """Wait for something to do, then read, answer and send once."""
        stream = self._client.buffered
        poll = select.poll()
        poll.register(bell, select.POLLIN)
        poll.register(stream, select.POLLIN | (select.POLLOUT if stream.unsent else 0))
        ready = dict(poll.poll(0 if stream.pending() or stream.hidden else TICK_MS))
        if bell.fileno() in ready:
            bell.hush()
        if (ready.get(stream.fileno(), 0) & ~select.POLLOUT or stream.hidden) and not stream.pending():
            stream.fetch()
        self._read(stream)
        self._answer()
        self._send(stream)
        self._client.loop_misc()
        self._flush(stream)

    def _read(self, stream: BufferedSocket) -> None:
        """Take what was fetched: QoS 0 messages as they lie, everything else through paho, in the order of arrival."""
        for _ in range(PACKETS_A_TURN):
            self._receive(stream.publishes())
            self._client.loop_read()
            if self._client.socket() is None or not stream.pending():
                return

    def _receive(self, publishes: list[Publish]) -> None:
        """Pass on QoS 0 messages that were taken off the stream."""
        if not publishes:
            return
        now, generation, messages = self._clock(), self._generation, list[Message]()
        self.counters.received += len(publishes)
        for topic, payload, retain in publishes:
            name = _text(topic)
            if name and not retain:
                messages.append(Message(name, payload, 0, False, 0, now, generation))
            else:
                self.counters.retained += retain
                self.counters.unreadable += not name
        self._inbox.put_all(messages)

    def _answer(self) -> None:
        while self._committed and self._client.socket() is not None:
            generation, mid = self._committed.popleft()
            if generation != self._generation:
                self.counters.outdated += 1
                continue
            for due in self._answers.commit(mid):
                self._client.ack(due, 1)
                self.counters.acknowledged += 1

    def _send(self, stream: BufferedSocket) -> None:
        """Put our own messages behind what paho has written, which is whole packets unless it waits to write more."""
        if not self._outgoing or self._client.want_write() or not stream.takes:
            return  # the broker is slow: what waits here is bounded
        with self._lock:
            outgoing = list(self._outgoing)
            self._outgoing.clear()
            self._outgoing_bytes = 0
        stream.send(b"".join(publish(topic, payload) for topic, payload in outgoing))
        self.counters.published += len(outgoing)

    def _flush(self, stream: BufferedSocket) -> bool:
        """Send what the broker takes now; whether something is left."""
        if self._client.want_write():
            self._client.loop_write()
        try:
            stream.flush()
        except OSError:
            return False  # the next read finds the end of the connection, and what the broker said before it
        return stream.unsent > 0

    def _owed(self) -> bool:
        """Whether the broker must be asked again for what was left out, now that there is room."""
        return self._inbox.left_out > self._left_out_before and not len(self._inbox)

    def _goodbye(self) -> None:
        if self._client.socket() is None:
            return
        stream = self._client.buffered
        self._answer()
        self._send(stream)
        self._client.disconnect()
        end = time.monotonic() + LINGER_S
        while self._flush(stream) and time.monotonic() < end:
            poll = select.poll()
            poll.register(stream, select.POLLOUT)
            poll.poll(TICK_MS)
        stream.close()

    def _lost(self) -> None:
        self._left_out_before = self._inbox.left_out
        with self._lock:
            self.connected.clear()
            self.counters.unsent += len(self._outgoing)
            self._outgoing.clear()
            self._outgoing_bytes = 0

    def _troubled(self, why: str) -> None:
        if why != self.trouble:
            _log.warning("uplink: %s", why)
        self.trouble = why

    def _on_connect(self, client: paho.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._refusal = f"{self.where} refuses the hub: {reason}"
        else:
            client.subscribe(self._filter, qos=1)

    def _on_subscribe(self, client: paho.Client, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            self._refusal = f"{self.where} refuses the subscription {self._filter}"
            client.disconnect()
            return
        self.counters.connections += 1
        if self.trouble:
            _log.info("uplink: connected to %s", self.where)
        self.trouble = ""
        self.connected.set()

    def _on_message(self, _client: paho.Client, _data: Any, received: paho.MQTTMessage) -> None:
        self.counters.received += 1
        try:
            topic = received.topic
        except UnicodeDecodeError:
            topic = ""
        message = Message(
            topic,
            bytes(received.payload),
            received.qos,
            received.retain,
            received.mid,
            self._clock(),
            self._generation,
            bool(received.dup),
        )
        taken_in = not topic or message.retain or self._inbox.put(message)
        if taken_in and message.qos:
            self._answers.expect(message.mid)
        if topic and not message.retain:
            return
        self.counters.retained += message.retain
        self.counters.unreadable += not topic
        self.acknowledge([message])


class Bell:
    """Wakes a `select` from any thread; ringing twice before it is heard costs nothing."""

    def __init__(self) -> None:
        self._hear, self._pull = socket.socketpair()
        self._hear.setblocking(False)
        self._rung = threading.Event()

    def fileno(self) -> int:
        """The descriptor that becomes readable."""
        return self._hear.fileno()

    def ring(self) -> None:
        """Make it readable."""
        if not self._rung.is_set():
            self._rung.set()
            with suppress(OSError):  # closed at the end, or full of rings already
                self._pull.send(b"!")

    def hush(self) -> None:
        """Take the ring. Whatever was put down before a ring that found the bell rung is seen after this."""
        self._rung.clear()
        with suppress(BlockingIOError):
            self._hear.recv(64)

    def close(self) -> None:
        """Free both ends."""
        self._hear.close()
        self._pull.close()


def _text(topic: bytes) -> str:
    """Return a topic; empty when it is not UTF-8."""
    try:
        return topic.decode()
    except UnicodeDecodeError:
        return ""


def _client(address: BrokerAddress, client_id: str, username: str, password: str) -> _Client:
    client = _Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=False,
        protocol=paho.MQTTv311,
        reconnect_on_failure=False,
        manual_ack=True,
    )
    name = username or address.username
    if name:
        client.username_pw_set(name, password or address.password)
    client.address = address
    client.tls = _trust(address) if address.tls else None
    client.connect_async(address.host, address.port, KEEPALIVE_S)
    return client


def _trust(address: BrokerAddress) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=address.ca or None)
    except OSError as error:
        raise BadBrokerUrl(f"mqtt-url: ca={address.ca} is not a file with certificates: {error.strerror}") from None
