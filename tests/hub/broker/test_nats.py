"""The embedded broker as a child: started, restarted, and never left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTErrorCode

from chaos.machine import SmallDisk
from lamplighter_hub.broker import nats
from lamplighter_hub.broker.nats import BrokerFailed, NatsOptions, NatsServer
from lamplighter_hub.uplink.session import Session
from lamplighter_protocols import topics
from lamplighter_protocols.topics import Channel
from services.mqtt import plain
from services.nats import knows_everybody, nats_server, secret_of
from services.ports import listens
from services.process import Children
from services.wait import eventually

pytestmark = pytest.mark.services

HUB = """\
import sys, threading
from pathlib import Path
from lamplighter_hub.broker.nats import NatsOptions, NatsServer
server = NatsServer(NatsOptions(Path(sys.argv[1]), mqtt_port=int(sys.argv[2])), lambda request: None, lambda *_: None)
server.start()
print(server.pid, flush=True)
threading.Event().wait()
"""


def new(folder: Path, port: int) -> NatsServer:
    return NatsServer(NatsOptions(folder, mqtt_port=port), knows_everybody, lambda _request, _why: None)


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def test_it_is_not_told_the_secret_of_the_series_store(
    tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAMPLIGHTER_SERIES_TOKEN", "of-the-hub-alone")
    with nats_server(tmp_path / "broker", port=free_port()) as broker:
        told = Path(f"/proc/{broker.server.pid}/environ").read_bytes()
    assert b"PATH=" in told
    assert b"of-the-hub-alone" not in told


def test_it_serves_when_start_returns_and_is_gone_after_stop(tmp_path: Path, free_port: Callable[[], int]) -> None:
    port = free_port()
    with nats_server(tmp_path / "broker", port=port) as broker:
        pid = broker.server.pid
        assert broker.server.ready.is_set()
        assert broker.server.trouble == ""
        assert broker.server.version >= "2.1"
        assert broker.server.url == f"mqtt://127.0.0.1:{port}"
        with plain(port, "air-1", secret_of("air-1")) as agent:
            assert agent.connect() == "Success"
    assert not alive(pid)
    assert not listens(port)
    assert not broker.server.ready.is_set()
    broker.server.stop()


def test_only_its_owner_can_read_the_secrets(tmp_path: Path) -> None:
    with nats_server(tmp_path / "broker"):
        folder = tmp_path / "broker"
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / "nats-server.conf").stat().st_mode) == 0o600


def test_a_busy_port_is_one_line_with_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats, "PORT_WITHIN_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BrokerFailed) as failed:
            new(tmp_path / "broker", port).start()
    assert str(failed.value) == f"MQTT port {port} on 127.0.0.1 is in use: choose another with --mqtt-port"


def test_a_port_that_is_freed_in_a_moment_is_waited_for(tmp_path: Path) -> None:
    dying = socket.create_server(("127.0.0.1", 0))
    server = new(tmp_path / "broker", dying.getsockname()[1])
    timer = threading.Timer(0.3, dying.close)
    timer.start()
    try:
        server.start()
        assert server.ready.is_set()
    finally:
        server.stop()
        timer.join()


def test_an_address_that_is_not_ours_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats, "PORT_WITHIN_S", 0.0)
    options = NatsOptions(tmp_path / "broker", host="192.0.2.1", mqtt_port=0)
    with pytest.raises(BrokerFailed, match="--mqtt-port"):
        NatsServer(options, knows_everybody, lambda _request, _why: None).start()


def test_a_store_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / "jetstream").write_text("not a folder")
    with pytest.raises(BrokerFailed) as failed:
        new(folder, 0).start()
    assert "nats-server ended at once" in str(failed.value)
    assert "\n" not in str(failed.value)


def test_killed_it_comes_back_with_what_it_had_confirmed(tmp_path: Path) -> None:
    """The persistent session of the hub is still there, and every confirmed message with it."""
    topic = topics.build("air-1", Channel.PRESENCE)
    with nats_server(tmp_path / "broker") as broker:
        session = Session(broker.server.url, "_hub", broker.server.username, broker.server.password)
        session.start()
        assert session.connected.wait(10)
        session.stop()
        with plain(broker.port, "air-1", secret_of("air-1")) as agent:
            agent.connect()
            for number in range(100):
                agent.publish(topic, str(number))
            first = broker.server.pid
            os.kill(first, signal.SIGKILL)
            assert agent.gone.wait(10)
        eventually(lambda: broker.server.pid != first and broker.server.ready.is_set(), 20)
        assert broker.server.restarts == 1
        again = Session(broker.server.url, "_hub", broker.server.username, broker.server.password)
        again.start()
        got: list[bytes] = []

        def enough() -> bool:
            got.extend(message.payload for message in again.take(1000, 0.1))
            return len(got) >= 100

        try:
            eventually(enough, 20)
        finally:
            again.stop()
        assert sorted(got, key=int) == [str(number).encode() for number in range(100)]


def test_a_full_store_confirms_no_more_and_serves_again_when_it_is_read(tmp_path: Path) -> None:
    topic = topics.build("air-1", Channel.BATCH)
    options = NatsOptions(tmp_path / "broker", mqtt_port=0, max_store=4 * 1024 * 1024, redeliver_after_s=1)
    server = NatsServer(options, knows_everybody, lambda _request, _why: None)
    server.start()
    try:
        away = Session(server.url, "_hub", server.username, server.password)
        away.start()
        assert away.connected.wait(10)
        away.stop()
        with plain(server.port, "air-1", secret_of("air-1")) as agent:
            agent.connect()
            confirmed = 0
            while not agent.gone.is_set():
                sent = agent.client.publish(topic, b"x" * 500_000, 1)
                if sent.rc == MQTTErrorCode.MQTT_ERR_NO_CONN:
                    break
                eventually(lambda message=sent: message.is_published() or agent.gone.is_set())  # type: ignore[misc]
                confirmed += sent.is_published()
        assert 4 <= confirmed <= 8
        back = Session(server.url, "_hub", server.username, server.password)
        back.start()
        try:
            assert back.connected.wait(10), back.trouble
            found = 0
            while found < confirmed:
                messages = back.take(100, 10)
                assert messages
                back.acknowledge(messages)
                found += len(messages)
            eventually(lambda: back.counters.acknowledged == confirmed)
            with plain(server.port, "air-1", secret_of("air-1")) as agent:
                assert agent.connect() == "Success"
                agent.publish(topic, "room again")
                eventually(lambda: b"room again" in [message.payload for message in back.take(100, 0.1)])
        finally:
            back.stop()
    finally:
        server.stop()


def test_a_disk_that_was_full_leaves_no_server_that_stores_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SmallDisk(tmp_path / "disk", 64)
    if not disk.real:
        pytest.skip("needs root: a disk of its own")
    monkeypatch.setattr(nats, "LOOK_AT_STORE_S", 1.0)
    topic = topics.build("air-1", Channel.BIRTH)
    try:
        with nats_server(disk.folder / "broker") as broker:
            server = broker.server
            with plain(broker.port, server.username, server.password, clean=False) as hub:
                hub.connect()
                hub.subscribe(topics.hub_filter(), 1)
            assert confirms(broker.port, topic, b"small")
            disk.fill()
            eventually(lambda: not confirms(broker.port, topic, bytes(100_000)), within_s=30)
            assert server.restarts == 0
            disk.drain()
            eventually(lambda: confirms(broker.port, topic, b"small"), within_s=60)
            assert server.restarts == 1
    finally:
        disk.close()


def confirms(port: int, topic: str, payload: bytes) -> bool:
    """Whether a message of an agent at QoS 1 is confirmed; the broker ends the connection of one that is not."""
    with contextlib.suppress(AssertionError, OSError), plain(port, "air-1", secret_of("air-1")) as agent:
        agent.connect()
        waits = agent.client.publish(topic, payload, 1)
        with contextlib.suppress(RuntimeError, ValueError):
            waits.wait_for_publish(3)
        return waits.is_published()
    return False


def test_it_is_restarted_every_time(tmp_path: Path) -> None:
    with nats_server(tmp_path / "broker") as broker:
        for round_number in range(1, 4):
            pid = broker.server.pid
            os.kill(pid, signal.SIGKILL)
            eventually(lambda last=pid: broker.server.pid != last and broker.server.ready.is_set(), 20)  # type: ignore[misc]
            assert broker.server.restarts == round_number
        with plain(broker.port, "air-1", secret_of("air-1")) as agent:
            assert agent.connect() == "Success"


def test_a_server_that_hangs_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamplighter_hub.broker.callout.PING_EVERY_S", 0.2)
    with nats_server(tmp_path / "broker") as broker:
        pid = broker.server.pid
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: broker.server.pid != pid and broker.server.ready.is_set(), 30)


def test_it_dies_with_a_hub_that_is_killed_and_the_next_hub_gets_the_port(
    tmp_path: Path, children: Children, free_port: Callable[[], int]
) -> None:
    port = free_port()
    hub = children.start([sys.executable, "-c", HUB, tmp_path / "broker", str(port)])
    pid = int(eventually(hub.said))
    assert alive(pid)
    hub.kill()
    with nats_server(tmp_path / "broker", port=port) as broker:
        assert not alive(pid)
        assert broker.server.ready.is_set()


def test_a_child_whose_parent_is_gone_before_the_leash_holds_does_not_start(tmp_path: Path) -> None:
    from lamplighter_hub.broker.leash import leashed

    command = leashed(["/bin/echo", "ran"])
    somebody_else = [*command[:5], "1", *command[6:]]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"ran\n"
    ended = subprocess.run(somebody_else, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")
