"""A real Mosquitto on a free loopback port."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from services.processes import Child, find_program, free_port, speaks_mqtt, wait_until

ANONYMOUS: Final = """\
allow_anonymous true
max_inflight_messages 5000
max_queued_messages 200000
"""


class Mosquitto:
    """One broker: `port` and `url` stay the same over `kill` and `start`, and so does its persistence file."""

    def __init__(self, folder: Path, configuration: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self.url = f"mqtt://127.0.0.1:{port}"
        self.child = Child([program("mosquitto"), "-c", str(configuration)], folder / "mosquitto.log")

    def start(self) -> None:
        self.child.start()
        wait_until(lambda: speaks_mqtt(self.port) or not self.child.running(), what="mosquitto answers")
        assert self.child.running(), f"mosquitto ended: {self.child.log.read_text()[-800:]}"

    def kill(self) -> None:
        self.child.kill()

    def stop(self) -> None:
        self.child.stop()


def program(name: str) -> str:
    """Path of a Mosquitto program; skips the test where it is not installed, fails it in CI."""
    found = find_program(name)
    if found is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing(f"{name} is not installed (apt install mosquitto mosquitto-clients)")
        raise AssertionError
    return found


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
    broker = Mosquitto(folder, configuration, port)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@contextlib.contextmanager
def configured_mosquitto(configuration: Path, port: int) -> Iterator[Mosquitto]:
    """Start Mosquitto with a complete mosquitto.conf that listens at this port, such as the generated one."""
    broker = Mosquitto(configuration.parent, configuration, port)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()
