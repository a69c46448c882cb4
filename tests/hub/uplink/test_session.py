"""The hub's session, at both brokers that are tested."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lamplighter_hub.uplink.session import Message, Session
from lamplighter_protocols import topics
from lamplighter_protocols.topics import Channel
from services.mosquitto import ANONYMOUS, mosquitto
from services.mqtt import plain
from services.nats import nats_server, secret_of
from services.wait import eventually

pytestmark = pytest.mark.services

BATCH = topics.build("air-1", Channel.BATCH)
RECEIPT = topics.build("air-1", Channel.RECEIPT)
SILENT_S = 2.0
"""Who says nothing for so long has nothing: nats-server gives again what is open within a second."""


@dataclass
class Broker:
    """A broker that can be killed and comes back."""

    name: str
    url: str
    port: int
    password: str
    restart: Callable[[], None]

    @contextlib.contextmanager
    def session(self, **options: int) -> Iterator[Session]:
        """A session of the hub that has subscribed."""
        session = Session(self.url, "_hub", "_hub", self.password, **options)  # type: ignore[arg-type]
        session.start()
        try:
            assert session.connected.wait(10), session.trouble
            yield session
        finally:
            session.stop()

    def say(self, *payloads: str, qos: int = 1, retain: bool = False) -> None:
        """An agent connects, publishes, and goes."""
        with plain(self.port, "air-1", secret_of("air-1")) as agent:
            assert agent.connect() == "Success"
            for payload in payloads:
                agent.publish(BATCH, payload, qos=qos, retain=retain)


@contextlib.contextmanager
def embedded(folder: Path) -> Iterator[Broker]:
    with nats_server(folder) as broker:
        server = broker.server

        def restart() -> None:
            killed = server.pid
            os.kill(killed, signal.SIGKILL)
            eventually(lambda: server.pid != killed and server.ready.is_set(), 30)

        yield Broker("nats", server.url, server.port, server.password, restart)


@contextlib.contextmanager
def foreign(folder: Path) -> Iterator[Broker]:
    with mosquitto(folder) as broker:

        def restart() -> None:
            broker.stop()
            broker.start()

        yield Broker("mosquitto", broker.url, broker.port, "", restart)


@pytest.fixture(params=[embedded, foreign], ids=["nats", "mosquitto"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    with request.param(tmp_path / "broker") as found:
        yield found


def take(session: Session, count: int) -> list[Message]:
    found: list[Message] = []

    def enough() -> bool:
        found.extend(session.take(1_000, 0.1))
        return len(found) >= count

    eventually(enough, 20)
    return found


def is_given_nothing(broker: Broker) -> bool:
    """Whether a new session has nothing to take; what it has to is acknowledged."""
    with broker.session() as hub:
        found = hub.take(1_000, SILENT_S)
        hub.acknowledge(found)
        eventually(lambda: hub.counters.acknowledged == len(found))
    return not found


def take_until(session: Session, wanted: set[str]) -> list[Message]:
    """Take until every payload of `wanted` has come; others may come too."""
    found: list[Message] = []

    def complete() -> bool:
        found.extend(session.take(1_000, 0.1))
        return wanted <= set(payloads(found))

    eventually(complete, 20)
    return found


def payloads(messages: list[Message]) -> list[str]:
    return [message.payload.decode() for message in messages]


def test_what_agents_say_is_taken_in_groups(broker: Broker) -> None:
    with broker.session() as hub:
        before = time.time_ns() // 1_000_000
        broker.say("a", "b", qos=1)
        broker.say("c", qos=0)
        messages = take(hub, 3)
        assert [(m.topic, m.payload, m.qos, m.retain) for m in messages] == [
            (BATCH, b"a", 1, False),
            (BATCH, b"b", 1, False),
            (BATCH, b"c", 0, False),
        ]
        assert before <= messages[0].arrived_ms <= time.time_ns() // 1_000_000
        assert (hub.counters.received, hub.queued, hub.queued_bytes, hub.shed) == (3, 0, 0, 0)


def test_what_is_not_acknowledged_comes_again_and_the_rest_does_not(broker: Broker) -> None:
    with broker.session() as hub:
        broker.say("kept", "kept too", "lost")
        kept, kept_too, lost = take(hub, 3)
        assert lost.payload == b"lost"
        hub.acknowledge([kept, kept_too])
        eventually(lambda: hub.counters.acknowledged == 2)
    with broker.session() as hub:
        again = take_until(hub, {"lost"})
        hub.acknowledge(again)
        eventually(lambda: hub.counters.acknowledged == len(again))
    # nats-server books an acknowledgement some time after it has read it: until then the message comes again.
    eventually(lambda: is_given_nothing(broker), 20)


def test_it_acknowledges_in_the_order_of_arrival_whatever_is_committed_first(broker: Broker) -> None:
    with broker.session() as hub:
        broker.say("first", "second", "third")
        first, second, third = take(hub, 3)
        hub.acknowledge([third])
        hub.acknowledge([first])
        eventually(lambda: hub.counters.acknowledged == 1)
        hub.acknowledge([second])
        eventually(lambda: hub.counters.acknowledged == 3)
    eventually(lambda: is_given_nothing(broker), 20)


def test_what_is_said_at_qos_1_while_the_hub_is_away_is_waiting_for_it(broker: Broker) -> None:
    with broker.session():
        pass
    broker.say("while away", qos=1)
    with broker.session() as hub:
        assert payloads(take(hub, 1)) == ["while away"]


def test_a_broker_that_restarts_is_found_again_and_gives_again_what_was_not_acknowledged(broker: Broker) -> None:
    with broker.session() as hub:
        broker.say(*(str(number) for number in range(50)))
        before = take(hub, 50)
        hub.acknowledge(before[:20])
        eventually(lambda: hub.counters.acknowledged == 20)
        # An acknowledgement that was still on its way when the broker was killed is lost: its message comes again too.
        broker.restart()
        eventually(lambda: hub.counters.connections == 2 and hub.connected.is_set(), 20)
        again = take_until(hub, {str(number) for number in range(20, 50)})
        assert {message.generation for message in again}.isdisjoint({before[0].generation})
        broker.say("afterwards")
        take_until(hub, {"afterwards"})
        assert hub.counters.connections == 2


def test_an_acknowledgement_of_an_old_connection_acknowledges_nothing(broker: Broker) -> None:
    """The trap: after a reconnect the same message ids stand for other messages."""
    with broker.session() as hub:
        broker.say("first", "second")
        old = take(hub, 2)
        broker.restart()
        eventually(lambda: hub.counters.connections == 2 and hub.connected.is_set(), 20)
        new = take(hub, 2)
        assert sorted(payloads(new)) == ["first", "second"]
        hub.acknowledge(old)
        eventually(lambda: hub.counters.outdated == 2)
        assert hub.counters.acknowledged == 0
    with broker.session() as hub:
        last = take(hub, 2)
        assert sorted(payloads(last)) == ["first", "second"]
        hub.acknowledge(last)
        eventually(lambda: hub.counters.acknowledged == 2)


def test_over_its_budget_it_sheds_qos_0_and_goes_on_reading(broker: Broker) -> None:
    with broker.session(max_queue_messages=10) as hub:
        broker.say(*(str(number) for number in range(50)), qos=0)
        eventually(lambda: hub.counters.received == 50)
        assert (hub.queued, hub.shed) == (10, 40)
        assert payloads(take(hub, 10)) == [str(number) for number in range(10)]
        broker.say("after")
        assert payloads(take(hub, 1)) == ["after"]


def test_over_its_budget_qos_1_stays_with_the_broker_and_comes_later(broker: Broker) -> None:
    with broker.session(max_queue_messages=10) as hub:
        broker.say(*(str(number) for number in range(50)))
        eventually(lambda: hub.left_out == 30)
        assert hub.queued == 20
        found: set[str] = set()

        def everything() -> bool:
            messages = hub.take(5, 0.1)
            hub.acknowledge(messages)
            found.update(payloads(messages))
            return len(found) == 50

        eventually(everything, 30)
        assert hub.shed == 0
        assert hub.counters.connections > 1


def test_it_speaks_to_agents_in_order(broker: Broker) -> None:
    with broker.session() as hub, plain(broker.port, "air-1", secret_of("air-1")) as agent:
        agent.connect()
        agent.subscribe(topics.agent_filter("air-1"))
        for number in range(200):
            hub.publish(RECEIPT, str(number).encode())
        assert agent.payloads(200) == [str(number).encode() for number in range(200)]
        assert hub.counters.published == 200


def test_many_threads_may_speak_and_acknowledge(broker: Broker) -> None:
    with broker.session() as hub, plain(broker.port, "air-1", secret_of("air-1")) as agent:
        agent.connect()
        agent.subscribe(topics.agent_filter("air-1"))

        def chat() -> None:
            for number in range(200):
                agent.publish(BATCH, str(number))

        def speak() -> None:
            for _ in range(100):
                hub.publish(RECEIPT, b"x")

        talk = threading.Thread(target=chat)
        speakers = [threading.Thread(target=speak) for _ in range(4)]
        for thread in (talk, *speakers):
            thread.start()
        found = 0
        while found < 200:
            messages = hub.take(7, 5)
            assert messages
            found += len(messages)
            hub.acknowledge(messages)
        for thread in (talk, *speakers):
            thread.join(10)
        assert len(agent.payloads(400)) == 400
        eventually(lambda: hub.counters.acknowledged == 200)


def test_without_a_connection_what_goes_down_is_dropped_and_counted_at_once(free_port: Callable[[], int]) -> None:
    session = Session(f"mqtt://127.0.0.1:{free_port()}", "_hub")
    session.publish(RECEIPT, b"before the start")
    session.start()
    eventually(lambda: session.trouble.startswith("cannot reach"))
    session.publish(RECEIPT, b"nobody there")
    assert session.counters.unsent == 2
    assert not session.connected.is_set()
    assert session.take(10, 0.05) == []
    session.stop()


def test_a_refusal_is_told_once_without_the_password(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with nats_server(tmp_path) as broker, caplog.at_level(logging.DEBUG):
        session = Session(f"mqtt://_hub:guessed@127.0.0.1:{broker.port}", "_hub")
        session.start()
        try:
            eventually(lambda: "refuses the hub: Not authorized" in session.trouble)
            eventually(lambda: session._generation > 2)
        finally:
            session.stop()
    told = [record for record in caplog.records if "refuses the hub" in record.message]
    assert len(told) == 1
    assert "guessed" not in caplog.text


def test_a_refused_subscription_is_told(tmp_path: Path) -> None:
    with nats_server(tmp_path) as broker:
        session = Session(broker.server.url, "air-1", "air-1", secret_of("air-1"))
        session.start()
        try:
            eventually(lambda: "refuses the subscription" in session.trouble)
            assert not session.connected.is_set()
        finally:
            session.stop()


def test_something_else_than_a_broker_is_survived(tmp_path: Path) -> None:
    """A peer that answers CONNECT with something that is no MQTT at all."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        session = Session(f"mqtt://127.0.0.1:{listener.getsockname()[1]}", "_hub")
        session.start()
        try:
            for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x00", b"\x20\xff\xff\xff\xff\xff", b""):
                stream, _ = listener.accept()
                with stream:
                    stream.recv(100)
                    stream.sendall(answer)
            eventually(lambda: session._generation > 4)
            assert not session.connected.is_set()
            assert session.trouble
        finally:
            session.stop()


def test_the_end_is_quick_and_wakes_who_waits(broker: Broker) -> None:
    with broker.session() as hub:
        taken: list[list[Message]] = []
        waiter = threading.Thread(target=lambda: taken.append(hub.take(10, 60)))
        waiter.start()
        started = time.monotonic()
        hub.stop()
        waiter.join(10)
        assert time.monotonic() - started < 5
        assert taken == [[]]
        hub.publish(RECEIPT, b"too late")
        assert hub.counters.unsent == 1


def test_workers_share_the_load(tmp_path: Path) -> None:
    with mosquitto(tmp_path, ANONYMOUS) as broker:
        workers = [Session(broker.url, f"_hub-{number}", shared="workers") for number in range(2)]
        for worker in workers:
            worker.start()
        try:
            assert all(worker.connected.wait(10) for worker in workers)
            with plain(broker.port, "air-1", "") as agent:
                agent.connect()
                for number in range(100):
                    agent.publish(BATCH, str(number))
            eventually(lambda: sum(worker.queued for worker in workers) == 100)
            found = [payload for worker in workers for payload in payloads(worker.take(100, 1))]
            assert sorted(found, key=int) == [str(number) for number in range(100)]
            assert all(worker.counters.received for worker in workers)
        finally:
            for worker in workers:
                worker.stop()
