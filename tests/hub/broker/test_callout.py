"""Who may connect to the embedded broker, and what they may do there: seen from outside, over real MQTT."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lamplighter_hub.broker.callout import BadQuestion, Callout, ConnectRequest, Tally, new_secrets
from lamplighter_hub.uplink.session import Message, Session
from lamplighter_protocols import topics
from lamplighter_protocols.topics import Channel
from services.mqtt import plain
from services.nats import Embedded, nats_server, secret_of
from services.storm import storm
from services.wait import eventually

pytestmark = pytest.mark.services

BATCH = topics.build("air-1", Channel.BATCH)
RECEIPT = topics.build("air-1", Channel.RECEIPT)


class Asked:
    """A question as nats-py hands it over."""

    def __init__(self, claims: object) -> None:
        self.data = b"e30." + base64.urlsafe_b64encode(json.dumps(claims).encode()) + b".e30"
        self.answers: list[bytes] = []

    async def respond(self, data: bytes) -> None:
        self.answers.append(data)


@pytest.mark.parametrize(
    ("claims", "field"),
    [
        ([], "no JSON"),
        ({}, "nats"),
        ({"nats": {"user_nkey": "U", "client_info": {"id": 1}, "connect_opts": {}}}, "nats.server_id"),
        (
            {"nats": {"server_id": {"id": "N"}, "user_nkey": "U", "client_info": {"id": "x"}, "connect_opts": {}}},
            "nats.client_info.id",
        ),
    ],
)
def test_what_is_no_question_is_named_and_not_answered(claims: object, field: str) -> None:
    asked = Asked(claims)
    callout = Callout(new_secrets(), lambda _: None, lambda _request, _why: None, Tally())
    with pytest.raises(BadQuestion, match=field):
        asyncio.run(callout.answer(asked))
    assert not asked.answers


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Embedded]:
    with nats_server(tmp_path / "broker") as embedded:
        yield embedded


@pytest.fixture
def hub(broker: Embedded) -> Iterator[Session]:
    session = Session(broker.server.url, "_hub", broker.server.username, broker.server.password)
    session.start()
    assert session.connected.wait(10), session.trouble
    yield session
    session.stop()


def taken(session: Session, count: int) -> list[Message]:
    """Wait for `count` messages and acknowledge them."""
    found: list[Message] = []

    def enough() -> bool:
        found.extend(session.take(1000, 0.1))
        return len(found) >= count

    eventually(enough)
    session.acknowledge(found)
    return found


@pytest.mark.parametrize(
    ("username", "password", "client_id", "reason"),
    [
        ("air-1", "wrong", "air-1", "wrong password"),
        ("air-1", "", "air-1", "wrong password"),
        ("air-1", secret_of("air-1"), "air-2", "foreign_client_id"),
        ("air-1", secret_of("air-1"), "_hub", "foreign_client_id"),
        ("", "", "air-1", "foreign_client_id"),
        ("Air_1", secret_of("Air_1"), "Air_1", "unknown_agent"),
        ("a+b", secret_of("a+b"), "a+b", "unknown_agent"),
        ("_callout", "guessed", "_callout", "unknown_agent"),
    ],
)
def test_a_wrong_or_stolen_identity_is_refused_and_seen(
    broker: Embedded, username: str, password: str, client_id: str, reason: str
) -> None:
    with plain(broker.port, username, password, client_id=client_id) as client:
        assert client.connect() == "Not authorized"
    if not username.startswith("_"):
        request, why = eventually(lambda: broker.refused)[-1]
        assert (request.username, request.client_id, request.kind) == (username, client_id, "mqtt")
        assert request.host == "127.0.0.1"
        assert why.startswith(reason)
        assert password not in repr(request) or not password
        assert broker.server.tally.refused == 1


def test_the_hubs_own_name_is_of_no_use_without_its_password(broker: Embedded) -> None:
    with plain(broker.port, "_hub", "guessed") as client:
        assert client.connect() == "Not authorized"


def test_an_agent_speaks_and_hears_below_its_own_topics(broker: Embedded, hub: Session) -> None:
    with plain(broker.port, "air-1", secret_of("air-1")) as agent:
        assert agent.connect() == "Success"
        assert agent.subscribe(topics.agent_filter("air-1")) == 0
        agent.publish(BATCH, "at 0", qos=0)
        agent.publish(BATCH, "at 1", qos=1)
        assert [(m.topic, m.payload, m.qos) for m in taken(hub, 2)] == [(BATCH, b"at 0", 0), (BATCH, b"at 1", 1)]
        hub.publish(RECEIPT, b"stored")
        assert agent.payloads(1) == [b"stored"]
        assert broker.server.tally.allowed == 1


def test_what_an_agent_says_in_anothers_name_arrives_nowhere(broker: Embedded, hub: Session) -> None:
    with plain(broker.port, "air-1", secret_of("air-1")) as thief:
        thief.connect()
        for qos in (0, 1):
            thief.publish(topics.build("air-2", Channel.BATCH), "forged", qos=qos)
            thief.publish(topics.build("air-1", Channel.COMMAND, "pump"), "forged", qos=qos)
            thief.publish("$SYS/forged", "forged", qos=qos)
        thief.publish(BATCH, "honest")
        assert [message.payload for message in taken(hub, 1)] == [b"honest"]
        assert hub.take(10, 0.2) == []


@pytest.mark.parametrize(
    "wanted", [topics.agent_filter("air-2"), topics.hub_filter(), "#", "+/+/+/down/#", topics.publish_filter("air-1")]
)
def test_an_agent_cannot_listen_elsewhere(broker: Embedded, wanted: str) -> None:
    with plain(broker.port, "air-1", secret_of("air-1")) as thief:
        thief.connect()
        assert thief.subscribe(wanted) == 128


def test_the_will_of_a_vanished_agent_is_delivered(broker: Embedded, hub: Session) -> None:
    with plain(broker.port, "air-1", secret_of("air-1"), will="offline") as agent:
        agent.connect()
        agent.vanish()
        (message,) = taken(hub, 1)
    assert (message.topic, message.payload, message.qos) == (topics.build("air-1", Channel.PRESENCE), b"offline", 1)


def test_a_second_session_of_an_agent_ends_the_first(broker: Embedded, hub: Session) -> None:
    with (
        plain(broker.port, "air-1", secret_of("air-1")) as first,
        plain(broker.port, "air-1", secret_of("air-1")) as second,
    ):
        first.connect()
        assert second.connect() == "Success"
        assert first.gone.wait(10)
        second.publish(BATCH, "still here")
        assert [message.payload for message in taken(hub, 1)] == [b"still here"]


def test_retained_messages_of_agents_reach_nobody_later(broker: Embedded, hub: Session) -> None:
    with plain(broker.port, "air-1", secret_of("air-1")) as agent:
        agent.connect()
        agent.publish(BATCH, "kept", retain=True)
        assert [message.payload for message in taken(hub, 1)] == [b"kept"]
    hub.stop()
    again = Session(broker.server.url, "_hub", broker.server.username, broker.server.password)
    again.start()
    try:
        assert again.connected.wait(10)
        eventually(lambda: again.counters.retained == 1)
        assert again.take(10, 0.2) == []
        eventually(lambda: again.counters.acknowledged == 1)
    finally:
        again.stop()


def test_a_revoked_agent_is_disconnected(broker: Embedded) -> None:
    with plain(broker.port, "air-1", secret_of("air-1")) as agent:
        agent.connect()
        assert broker.server.kick("air-1")
        assert agent.gone.wait(10)
    assert not broker.server.kick("air-1")
    assert not broker.server.kick("never-seen")


def test_a_payload_larger_than_an_envelope_still_arrives(broker: Embedded, hub: Session) -> None:
    with plain(broker.port, "air-1", secret_of("air-1")) as agent:
        agent.connect()
        agent.publish(BATCH, b"x" * 600_000)
        assert [len(message.payload) for message in taken(hub, 1)] == [600_000]


def test_a_defect_in_a_decision_refuses_one_and_not_the_next(tmp_path: Path) -> None:
    def decide(request: ConnectRequest) -> str | None:
        if request.username == "unlucky":
            raise KeyError(request.username)
        return None

    with nats_server(tmp_path / "broker", decide) as broker:
        with plain(broker.port, "unlucky", "x") as client:
            assert client.connect() == "Not authorized"
        with plain(broker.port, "lucky", "x") as client:
            assert client.connect() == "Success"
        assert [why for _, why in broker.refused] == ["undecided"]


def test_an_endless_name_is_refused_and_not_kept(broker: Embedded) -> None:
    with plain(broker.port, "a" * 30_000, "x") as client:
        assert client.connect() in {"Not authorized", "Unspecified error"}
    (request, why) = eventually(lambda: broker.refused)[-1]
    assert len(request.username) == len(request.client_id) == 128
    assert why.startswith("unknown_agent")


def test_two_thousand_agents_at_once(broker: Embedded, hub: Session) -> None:
    agents = [f"agent-{number:04d}" for number in range(2_000)]
    with_thief = [*agents[:-1], "thief"]
    result = storm(broker.port, with_thief, lambda agent: "wrong" if agent == "thief" else secret_of(agent))
    try:
        assert len(result.accepted) == 1_999
        assert result.refused == [5]
        assert hub.connected.is_set()
    finally:
        result.close()
