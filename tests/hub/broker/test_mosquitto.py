"""The configuration for Mosquitto, obeyed by a real one."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from lamplighter_hub.broker.mosquitto import Listen, mosquitto_hash, refresh_passwords, write_configuration
from lamplighter_hub.uplink.session import Session
from lamplighter_protocols import topics
from lamplighter_protocols.errors import BadTopic
from lamplighter_protocols.topics import Channel
from services.mosquitto import Mosquitto, configured_mosquitto
from services.mqtt import plain
from services.need import need
from services.ports import free_port
from services.wait import eventually

pytestmark = pytest.mark.services

BATCH = topics.build("air-1", Channel.BATCH)


class Street(NamedTuple):
    """A running Mosquitto with its folder, and the hub's session at it."""

    folder: Path
    broker: Mosquitto
    hub: Session


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    folder, port = tmp_path / "mosquitto", free_port()
    agents = {"air-1": mosquitto_hash("secret-1"), "air-2": mosquitto_hash("secret-2")}
    generated = write_configuration(folder, Listen(port=port), agents)
    if os.geteuid() == 0:
        # Started by root, Mosquitto becomes another user who may not read a private temporary folder.
        (folder / "local.d" / "user.conf").write_text("user root\n")
    with configured_mosquitto(generated.configuration, port) as broker:
        session = Session(generated.url, "_hub")
        session.start()
        assert session.connected.wait(10), session.trouble
        yield Street(folder, broker, session)
        session.stop()


def heard(session: Session, count: int) -> list[tuple[str, bytes]]:
    found: list[tuple[str, bytes]] = []

    def enough() -> bool:
        messages = session.take(100, 0.1)
        session.acknowledge(messages)
        found.extend((message.topic, message.payload) for message in messages)
        return len(found) >= count

    eventually(enough)
    return found


def test_the_verifier_is_what_mosquitto_documents() -> None:
    empty, kind, iterations, salt, digest = mosquitto_hash("secret").split("$")
    assert (empty, kind) == ("", "7")
    expected = hashlib.pbkdf2_hmac("sha512", b"secret", b64decode(salt), int(iterations), 64)
    assert b64decode(digest) == expected
    assert mosquitto_hash("secret") != mosquitto_hash("secret")


def test_mosquittos_own_tool_makes_the_same_shape(tmp_path: Path) -> None:
    theirs = tmp_path / "passwords"
    subprocess.run([need("mosquitto_passwd"), "-c", "-b", theirs, "air-1", "secret"], check=True, capture_output=True)
    _, _, line = theirs.read_text().strip().partition(":")
    shape = re.compile(r"\$7\$\d+\$[A-Za-z0-9+/=]{16,}\$[A-Za-z0-9+/]{86}==")
    assert shape.fullmatch(line)
    assert shape.fullmatch(mosquitto_hash("secret"))


@pytest.mark.parametrize(
    ("agent", "password"), [("air-1", "secret-2"), ("air-1", ""), ("nobody", "secret-1"), ("", "")]
)
def test_a_wrong_identity_is_refused(street: Street, agent: str, password: str) -> None:
    with plain(street.broker.port, agent, password, client_id="somebody") as client:
        assert client.connect() == "Not authorized"


def test_an_agent_speaks_and_hears_below_its_own_topics_only(street: Street) -> None:
    with plain(street.broker.port, "air-1", "secret-1") as agent:
        assert agent.connect() == "Success"
        agent.subscribe(topics.agent_filter("air-1"))
        agent.subscribe(topics.agent_filter("air-2"))
        agent.subscribe(topics.hub_filter())
        agent.publish(topics.build("air-2", Channel.BATCH), "forged")
        agent.publish(topics.build("air-1", Channel.COMMAND, "pump"), "forged")
        agent.publish(BATCH, "honest")
        assert heard(street.hub, 1) == [(BATCH, b"honest")]
        street.hub.publish(topics.build("air-2", Channel.RECEIPT), b"for another")
        street.hub.publish(topics.build("air-1", Channel.RECEIPT), b"for me")
        assert agent.payloads(1) == [b"for me"]


def test_a_stolen_client_id_takes_nothing_over(street: Street) -> None:
    with plain(street.broker.port, "air-1", "secret-1", client_id="_hub") as thief:
        assert thief.connect() == "Success"
        thief.publish(BATCH, "under my own name")
        assert heard(street.hub, 1) == [(BATCH, b"under my own name")]
        assert street.hub.counters.connections == 1
    with (
        plain(street.broker.port, "air-2", "secret-2") as owner,
        plain(street.broker.port, "air-1", "secret-1", client_id="air-2") as thief,
    ):
        owner.connect()
        assert thief.connect() == "Success"
        owner.publish(topics.build("air-2", Channel.BATCH), "still here")
        assert heard(street.hub, 1) == [(topics.build("air-2", Channel.BATCH), b"still here")]
        assert not owner.gone.is_set()


def test_the_will_of_a_vanished_agent_is_delivered(street: Street) -> None:
    with plain(street.broker.port, "air-1", "secret-1", will="offline") as agent:
        agent.connect()
        agent.vanish()
        assert heard(street.hub, 1) == [(topics.build("air-1", Channel.PRESENCE), b"offline")]


def test_who_retains_is_disconnected_and_nothing_is_kept(street: Street) -> None:
    with plain(street.broker.port, "air-1", "secret-1") as agent:
        agent.connect()
        agent.client.publish(BATCH, "kept", qos=1, retain=True)
        assert agent.gone.wait(10)
    assert street.hub.take(1, 0.2) == []


def test_a_payload_beyond_the_limit_is_refused(street: Street) -> None:
    with plain(street.broker.port, "air-1", "secret-1") as agent:
        agent.connect()
        agent.client.publish(BATCH, b"x" * 1_100_000, qos=1)
        assert agent.gone.wait(10)


def test_an_enrolment_is_known_at_once_and_a_revocation_disconnects(street: Street) -> None:
    with (
        plain(street.broker.port, "air-1", "secret-1") as staying,
        plain(street.broker.port, "air-2", "secret-2") as leaving,
    ):
        staying.connect()
        leaving.connect()
        agents = {"air-1": mosquitto_hash("secret-1"), "air-3": mosquitto_hash("secret-3")}
        assert refresh_passwords(street.folder, agents)
        assert leaving.gone.wait(10)
        with plain(street.broker.port, "air-3", "secret-3") as fresh:
            assert fresh.connect() == "Success"
        assert not staying.gone.is_set()
        assert street.hub.counters.connections == 1


def test_files_are_whole_and_private(street: Street) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in street.folder.iterdir() if path.is_file()}
    assert modes["hub.password"] == 0o600
    assert modes["passwords"] == modes["acl"] == modes["mosquitto.conf"] == 0o640
    assert not [name for name in modes if name.endswith(".new")]


def test_writing_again_keeps_the_hubs_secret_and_own_lines(tmp_path: Path) -> None:
    first = write_configuration(tmp_path, Listen(), {})
    (tmp_path / "local.d" / "tls.conf").write_text("# mine\n")
    second = write_configuration(tmp_path, Listen(host="0.0.0.0", port=1884), {})  # noqa: S104 - nobody listens
    assert first.url.replace(":1883", ":1884") == second.url
    assert (tmp_path / "local.d" / "tls.conf").read_text() == "# mine\n"
    assert "listener 1884 0.0.0.0" in second.configuration.read_text()


def test_nobody_running_is_told_nothing(tmp_path: Path) -> None:
    write_configuration(tmp_path, Listen(), {})
    assert not refresh_passwords(tmp_path, {})
    (tmp_path / "mosquitto.pid").write_text(f"{os.getpid()}\n")
    assert not refresh_passwords(tmp_path, {}), "a process id that belongs to somebody else by now"
    (tmp_path / "mosquitto.pid").write_text("not a number\n")
    assert not refresh_passwords(tmp_path, {})


@pytest.mark.parametrize("agent", ["a:b", "a\nb", "A", "", "_hub"])
def test_a_name_that_would_break_the_file_is_refused(tmp_path: Path, agent: str) -> None:
    with pytest.raises(BadTopic):
        write_configuration(tmp_path, Listen(), {agent: "x"})
