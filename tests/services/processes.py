"""Children of a test: started on free ports, ready when a probe says so, gone at the end."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

POLL_S: Final = 0.02


def free_port() -> int:
    """A loopback TCP port that nobody holds at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(condition: Callable[[], object], timeout_s: float = 10.0, what: str = "condition") -> None:
    """Return as soon as the condition holds; raise AssertionError naming it when it does not in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not become true within {timeout_s:g} s")
        time.sleep(POLL_S)


def find_program(name: str) -> str | None:
    """Where a program is; Debian keeps daemons in /usr/sbin, which is not on everybody's PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def speaks_mqtt(port: int, host: str = "127.0.0.1") -> bool:
    """Whether something answers an MQTT CONNECT there, be it with a refusal."""
    connect = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x0a\x00\x05probe"
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1) as stream:
        stream.sendall(connect)
        return stream.recv(1) == b"\x20"
    return False


class Child:
    """A process with its log; `kill` is kill -9."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.command = list(command)
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self._wait()

    def stop(self) -> None:
        self.signal(signal.SIGTERM)
        self._wait()

    def _wait(self) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
