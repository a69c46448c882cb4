"""A real Mosquitto on a free loopback port."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from services.need import need
from services.ports import free_port
from services.process import Child, Children
from services.wait import eventually

ANONYMOUS: Final = """\
allow_anonymous true
max_inflight_messages 5000
max_queued_messages 200000
"""


class Mosquitto:
    """One broker: `port` and `url` stay the same over `kill` and `start`, and so does its persistence file."""

    def __init__(self, configuration: Path, port: int) -> None:
        self.configuration = configuration
        self.port = port
        self.url = f"mqtt://127.0.0.1:{port}"
        self._children = Children(configuration.parent)

    @property
    def child(self) -> Child:
        """The process that runs, or ran last."""
        return self._children.started[-1]

    def start(self) -> None:
        """Start it and wait until it answers."""
        child = self._children.start([need("mosquitto"), "-c", self.configuration])
        eventually(lambda: speaks_mqtt(self.port) or not child.running)
        assert child.running, f"mosquitto ended: {child.said()[-800:]}"

    def kill(self) -> None:
        """Kill -9."""
        self.child.kill()

    def stop(self) -> None:
        """End it as an operator does: what is in memory is saved."""
        self.child.stop()

    def end(self) -> None:
        self._children.end()


def speaks_mqtt(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something answers an MQTT CONNECT there, be it with a refusal."""
    connect = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x0a\x00\x05probe"
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1) as stream:
        stream.sendall(connect)
        return stream.recv(1) == b"\x20"
    return False


@contextlib.contextmanager
def mosquitto(folder: Path, settings: str = ANONYMOUS) -> Iterator[Mosquitto]:
    """Start Mosquitto with lines of mosquitto.conf (without listener); everybody may do everything by default."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    configuration = folder / "mosquitto-under-test.conf"
    # Started by root, Mosquitto becomes another user who may not read a private temporary folder.
    user = "user root\n" if os.geteuid() == 0 else ""
    place = f"persistence true\npersistence_location {folder}/\n"
    configuration.write_text(f"listener {port} 127.0.0.1\n{user}{place}{settings}")
    with configured_mosquitto(configuration, port) as broker:
        yield broker


@contextlib.contextmanager
def configured_mosquitto(configuration: Path, port: int) -> Iterator[Mosquitto]:
    """Start Mosquitto with a complete mosquitto.conf that listens at this port, such as the generated one."""
    broker = Mosquitto(configuration, port)
    broker.start()
    try:
        yield broker
    finally:
        broker.end()
