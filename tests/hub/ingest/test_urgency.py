"""What is urgent is stored first, with the hub's own session between a broker and ingest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.ingest.test_pipeline import AGENT, DEVICE, batch, birth, reading
from hub.registry.rig import START, Rig, rig
from lamplighter_hub.ingest.directory import ServicesDirectory, birth_asker
from lamplighter_hub.ingest.foreign import known_in
from lamplighter_hub.ingest.pipeline import GROUP, Pipeline
from lamplighter_hub.uplink.lanes import BACKLOG_SIZE, weight
from lamplighter_hub.uplink.session import Message, Session
from lamplighter_protocols.envelope import decode
from lamplighter_protocols.topics import agent_filter
from services.mosquitto import mosquitto
from services.mqtt import Plain, plain
from services.wait import eventually

pytestmark = pytest.mark.services

ROWS = 1_000
ALARM = batch(1, {"kind": "event", "device": DEVICE, "t": START, "name": "switched", "data": {}}, stream="alarm")


class Ground:
    """A rig, its agent at a broker, and ingest behind the hub's session at that broker."""

    def __init__(self, made: Rig, session: Session, agent: Plain) -> None:
        self.series, self.session, self.agent = made.hub.series, session, agent
        self._pipeline = Pipeline(
            session,
            made.hub.series,
            made.hub.ledger,
            ServicesDirectory(made.hub, birth_asker(made.hub.keys, session.publish, made.clock)),
            made.hub.devices.owner_profile,
            known_in(made.hub.series),
            made.clock,
            lambda _: None,
        )

    def say(self, *messages: Message) -> None:
        """Let the agent say something, and wait until it is in the hub's queue."""
        before = self.session.queued
        for one in messages:
            self.agent.publish(one.topic, one.payload, one.qos)
        eventually(lambda: self.session.queued == before + len(messages))

    def commit(self) -> dict[str, Any]:
        """Take one group all the way; return the receipt."""
        told = len(self.agent.messages)
        self._pipeline.process(self.session.take(GROUP, 0))
        receipt: dict[str, Any] = decode(self.agent.payloads(told + 1)[-1])
        return receipt


@contextmanager
def ground(folder: Path) -> Iterator[Ground]:
    with rig(folder) as made, mosquitto(folder / "broker") as broker:
        made.street(DEVICE)
        session = Session(broker.url, "_hub")
        session.start()
        with plain(broker.port, AGENT, "") as agent:
            agent.connect()
            agent.subscribe(agent_filter(AGENT))
            assert session.connected.wait(10), session.trouble
            yield Ground(made, session, agent)
        session.stop()


def kept(first: int) -> Message:
    """Word a large batch of the backlog."""
    t = START - 10_000_000 + first * ROWS
    record = {"kind": "readings", "device": DEVICE, "dt": list(range(ROWS))}
    records = [record | {"t": t + number * ROWS, "m": {"power": [number % 7] * ROWS}} for number in range(10)]
    return batch(first, *records, stream="backlog")


def test_alarms_and_live_data_are_stored_before_a_deep_backlog(tmp_path: Path) -> None:
    with ground(tmp_path) as hub:
        deep = [kept(1 + 10 * number) for number in range(40)]
        assert sum(map(weight, deep)) > 3 * BACKLOG_SIZE
        hub.say(*deep)
        hub.say(batch(1, reading(40)), ALARM)

        first = hub.commit()["through"]
        assert (first["live"], first["alarm"]) == (1, 1)
        assert 0 < first["backlog"] < 400, "backlog goes on beside them, as much as a group takes"
        assert hub.series.counts().points == 1 + first["backlog"] * ROWS

        while hub.session.queued:
            last = hub.commit()["through"]
        assert last == {"live": 1, "alarm": 1, "backlog": 400}
        assert hub.series.counts().points == 1 + 400 * ROWS


def test_an_alarm_is_stored_before_more_live_data_than_the_hub_takes(tmp_path: Path) -> None:
    with ground(tmp_path) as hub:
        hub.say(*(batch(number, reading(40, START + number)) for number in range(1, GROUP + 500)))
        hub.say(ALARM)
        assert hub.commit()["through"] == {"alarm": 1, "live": GROUP - 1}


def test_who_connects_is_answered_before_more_live_data_than_the_hub_takes(tmp_path: Path) -> None:
    with ground(tmp_path) as hub:
        live = [batch(number, reading(40, START + number)) for number in range(1, GROUP + 500)]
        hub.say(*(one._replace(topic=one.topic.replace(AGENT, "agent-2")) for one in live))
        hub.say(birth(session=2)._replace(qos=1))
        assert hub.commit()["session"] == 2
        assert hub.session.queued == 500


def test_the_answer_to_a_birth_knows_the_live_data_that_waits(tmp_path: Path) -> None:
    with ground(tmp_path) as hub:
        hub.say(*(batch(number, reading(40, START + number)) for number in range(1, GROUP + 500)))
        hub.say(birth(session=2)._replace(qos=1))
        receipt = hub.commit()
        while "session" not in receipt:
            receipt = hub.commit()
        assert receipt["highest"] == {"live": GROUP + 499}


def test_the_answer_to_a_birth_knows_what_its_agent_said_before(tmp_path: Path) -> None:
    """Else an older copy of an outbox would give numbers again that are on their way into the store."""
    with ground(tmp_path) as hub:
        hub.say(*(kept(1 + 10 * number) for number in range(40)), ALARM, birth(session=2)._replace(qos=1))
        receipt = hub.commit()
        while "session" not in receipt:
            receipt = hub.commit()
        assert receipt["highest"] == {"alarm": 1, "backlog": 400}
