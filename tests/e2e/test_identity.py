"""Who may connect and what they may say: a wrong password, a stolen id, somebody else's topic."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from lamplighter_protocols.topics import Channel, agent_filter, build, hub_filter
from services.brokers import BrokerKind
from services.hub import Hub
from services.mqtt import plain
from services.wait import eventually

VICTIM, THIEF, DEVICE = "victim", "thief", "victim-air"
REFUSED = {"Not authorized", "Bad user name or password"}


@pytest.fixture(scope="module")
def passwords(shared_hub: Hub) -> dict[str, str]:
    made = shared_hub.post("agents", {"agents": [{"id": VICTIM}, {"id": THIEF}]})["items"]
    return {item["agent"]: item["password"] for item in made}


def seen(hub: Hub, who: str, why: str) -> dict[str, Any] | None:
    """Return what the hub remembers of a refusal."""
    return next((row for row in hub.get("refusals", why=why)["items"] if row["who"] == who), None)


def test_a_wrong_password_is_refused_and_seen(hub: Hub, broker_kind: BrokerKind, passwords: dict[str, str]) -> None:
    for password in ("", "guess", passwords[THIEF], passwords[VICTIM][:-1]):
        with plain(hub.mqtt_port, VICTIM, password) as client:
            assert client.connect() in REFUSED
    if broker_kind is BrokerKind.NATS:  # Mosquitto keeps its refusals in its own log
        found = eventually(lambda: seen(hub, VICTIM, "wrong_password"))
        assert found
        assert found["count"] >= 4
        assert passwords[THIEF] not in json.dumps(found)


def test_somebody_unknown_or_revoked_is_refused_and_seen(hub: Hub, broker_kind: BrokerKind) -> None:
    password = hub.post("agents", {"agents": [{"id": "dismissed"}]})["items"][0]["password"]
    with plain(hub.mqtt_port, "dismissed", password) as client:
        assert client.connect() == "Success"
        hub.api("DELETE", "agents/dismissed")
        assert client.gone.wait(20), "it is cut off at once"
    for who, why in (("dismissed", "revoked"), ("nobody", "unknown_agent")):
        with plain(hub.mqtt_port, who, password) as client:
            assert client.connect() in REFUSED
        if broker_kind is BrokerKind.NATS:
            eventually(lambda who=who, why=why: seen(hub, who, why))  # type: ignore[misc]


def test_a_stolen_id_does_not_take_the_session_over(
    hub: Hub, broker_kind: BrokerKind, passwords: dict[str, str]
) -> None:
    """Somebody with an identity of their own says the victim's id as client id, which would end its session."""
    with plain(hub.mqtt_port, VICTIM, passwords[VICTIM]) as victim:
        assert victim.connect() == "Success"
        victim.subscribe(agent_filter(VICTIM))
        with plain(hub.mqtt_port, THIEF, passwords[THIEF], client_id=VICTIM) as stolen:
            answer = stolen.connect()
            if broker_kind is BrokerKind.NATS:
                assert answer in REFUSED
                eventually(lambda: seen(hub, THIEF, "foreign_client_id"))
        assert victim.subscribe(agent_filter(VICTIM)) != 128
        assert not victim.gone.is_set()


def test_foreign_topics_are_closed(hub: Hub, broker_kind: BrokerKind, passwords: dict[str, str]) -> None:
    birth = {
        "session": 1,
        "boot": "01M80T5JNV0000000000000000",
        "heard_within_s": 3600,
        "sent": time.time_ns() // 1_000_000,
        "devices": [{"id": DEVICE, "profile": "air-station"}],
    }
    with plain(hub.mqtt_port, VICTIM, passwords[VICTIM]) as victim:
        assert victim.connect() == "Success"
        victim.subscribe(agent_filter(VICTIM))
        victim.publish(build(VICTIM, Channel.BIRTH), json.dumps(birth))
        eventually(lambda: hub.device(DEVICE).get("state") == "online")

        for topic in foreign_topics():
            with plain(hub.mqtt_port, THIEF, passwords[THIEF]) as thief:
                assert thief.connect() == "Success"
                thief.client.publish(topic, json.dumps(pack(99)), qos=1)
                eventually(lambda thief=thief: thief.gone.is_set() or thief.subscribe(agent_filter(THIEF)) >= 0)  # type: ignore[misc]
        with plain(hub.mqtt_port, THIEF, passwords[THIEF]) as thief:
            assert thief.connect() == "Success"
            for wanted in (agent_filter(VICTIM), hub_filter(), "#"):
                # nats-server says so; Mosquitto grants it and delivers nothing.
                assert thief.subscribe(wanted) == 128 or broker_kind is BrokerKind.MOSQUITTO
            victim.publish(build(VICTIM, Channel.SENML, DEVICE), json.dumps(pack(1)))
            victim.publish(build(VICTIM, Channel.BATCH), json.dumps(batch()))
            eventually(lambda: hub.latest(DEVICE) == {"temp": 1.0, "rh": 50.0})
            receipt = json.loads(victim.payloads(1)[0])
            assert receipt["through"] == {"live": 1}
            assert thief.subscribe(agent_filter(THIEF)) != 128
            assert thief.messages == []

        stored = hub.get(f"devices/{DEVICE}/readings", metric="temp")["items"]
        assert [row["value"] for row in stored] == [1.0]
        assert {message.topic for message in victim.messages} == {build(VICTIM, Channel.RECEIPT)}


def foreign_topics() -> list[str]:
    return [
        build(VICTIM, Channel.SENML, DEVICE),
        build(VICTIM, Channel.BIRTH),
        build(VICTIM, Channel.COMMAND, DEVICE),
        build(THIEF, Channel.COMMAND, DEVICE),
    ]


def pack(value: float) -> list[dict[str, Any]]:
    return [{"n": "temp", "u": "Cel", "v": value}]


def batch() -> dict[str, Any]:
    t = time.time_ns() // 1_000_000
    record = {"kind": "readings", "device": DEVICE, "t": t, "dt": [0], "m": {"rh": [50.0]}}
    return {"outbox": "01M80T5JNV0000000000000000", "stream": "live", "first": 1, "sent": t, "records": [record]}
