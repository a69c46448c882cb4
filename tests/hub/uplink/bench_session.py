"""Messages a second from publish to take and acknowledgement, beside mosquitto_sub on the same broker.

    PYTHONPATH=tests python tests/hub/uplink/bench_session.py [MESSAGES [BYTES]]
    PYTHONPATH=tests python tests/hub/uplink/bench_session.py storm [SESSIONS]

The publisher is a process of its own that writes to a bare socket; the machine's cores are shared by all of them.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from lamplighter_hub.uplink.session import Session
from lamplighter_protocols import topics
from lamplighter_protocols.topics import Channel
from services.mosquitto import mosquitto
from services.nats import nats_server, secret_of
from services.need import need
from services.storm import connect_packet, storm

AGENT = "air-1"
LIVE = b'{"outbox":"01M80T5JNV0000000000000000","stream":"live","first":'
"""How a batch begins, which is all that the session looks at."""
WINDOW = 2_000
CHUNK = 16_384


class Target(NamedTuple):
    name: str
    url: str
    port: int
    username: str
    password: str


@contextmanager
def brokers(folder: Path) -> Iterator[list[Target]]:
    with mosquitto(folder / "mosquitto") as theirs, nats_server(folder / "nats", redeliver_after_s=60) as ours:
        server = ours.server
        yield [
            Target("mosquitto", theirs.url, theirs.port, "", ""),
            Target("nats-server", server.url, server.port, server.username, server.password),
        ]


def flood(port: int, count: int, qos: int, size: int) -> None:
    """Publish as fast as the broker takes it, at QoS 1 with a window."""
    topic = topics.build(AGENT, Channel.BATCH).encode()
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(connect_packet(AGENT, secret_of(AGENT)))
        assert stream.recv(4)[3] == 0
        confirmed = Confirmed(stream)
        if qos:
            threading.Thread(target=confirmed.read, daemon=True).start()
        buffer = bytearray()
        for number in range(count):
            mid = (number % 65_535 + 1).to_bytes(2, "big") if qos else b""
            body = len(topic).to_bytes(2, "big") + topic + mid + LIVE.ljust(size, b"x")
            buffer += bytes([0x30 | qos << 1, len(body) & 127 | 128, len(body) >> 7]) + body
            if len(buffer) > CHUNK or number == count - 1:
                stream.sendall(buffer)
                buffer.clear()
                while qos and number - confirmed.count > WINDOW:
                    time.sleep(0.001)
        while qos and confirmed.count < count:
            time.sleep(0.001)
        stream.sendall(b"\xe0\x00")


class Confirmed:
    """Counts PUBACKs."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self.count = 0

    def read(self) -> None:
        received = 0
        while data := self._stream.recv(65_536):
            received += len(data)
            self.count = received // 4


def publisher(port: int, count: int, qos: int, size: int) -> subprocess.Popen[bytes]:
    numbers = (str(number) for number in (port, count, qos, size))
    return subprocess.Popen([sys.executable, __file__, "flood", *numbers])


def measure_session(target: Target, count: int, qos: int, size: int) -> tuple[float, float]:
    """Messages a second, and microseconds of this process's CPU a message."""
    session = Session(target.url, "_hub-bench", target.username, target.password)
    session.start()
    assert session.connected.wait(10), session.trouble
    started, cpu = time.monotonic(), time.process_time()
    child, found = publisher(target.port, count, qos, size), 0
    while found < count:
        messages = session.take(5_000, 10)
        assert messages, f"only {found} of {count}"
        session.acknowledge(messages)
        found += len(messages)
    result = found / (time.monotonic() - started), (time.process_time() - cpu) / found * 1e6
    child.wait()
    session.stop()
    return result


def measure_mosquitto_sub(target: Target, count: int, qos: int, size: int) -> float:
    command: list[str | Path] = [need("mosquitto_sub"), "-p", str(target.port), "-i", "_sub-bench"]
    command += ["-t", topics.hub_filter(), "-q", "1", "-F", "%l", "-C", str(count)]
    if target.username:
        command += ["-u", target.username, "-P", target.password]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as reader:
        time.sleep(0.5)
        started = time.monotonic()
        child = publisher(target.port, count, qos, size)
        assert reader.stdout is not None
        found = sum(1 for _ in reader.stdout)
        seconds = time.monotonic() - started
        child.wait()
    assert found == count
    return count / seconds


def compare(count: int, size: int) -> None:
    with tempfile.TemporaryDirectory() as folder, brokers(Path(folder)) as targets:
        for target in targets:
            for qos in (0, 1):
                rate, cpu = measure_session(target, count, qos, size)
                print(f"{target.name:12} QoS {qos}  Session       {rate:8.0f} messages/s  {cpu:5.1f} us CPU a message")
            # Afterwards, because a persistent session that is away would collect what the other one measures.
            for qos in (0, 1):
                rate = measure_mosquitto_sub(target, count, qos, size)
                print(f"{target.name:12} QoS {qos}  mosquitto_sub {rate:8.0f} messages/s")


def connect_all(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder, nats_server(Path(folder)) as broker:
        command = [sys.executable, __file__, "storm-client", str(broker.port), str(count)]
        cpu = time.process_time()
        subprocess.run(command, check=True)
        print(f"{(time.process_time() - cpu) / count * 1e6:.0f} us of the hub's CPU for each decision")


def main(words: list[str]) -> None:
    if words[:1] == ["flood"]:
        flood(*(int(word) for word in words[1:]))
    elif words[:1] == ["storm"]:
        connect_all(int(words[1]) if len(words) > 1 else 15_000)
    elif words[:1] == ["storm-client"]:
        agents = [f"agent-{number:05d}" for number in range(int(words[2]))]
        result = storm(int(words[1]), agents, secret_of, at_once=len(agents))
        print(f"{len(result.accepted)} accepted, {len(result.refused)} refused in {result.seconds:.2f} s")
    else:
        count, size = [*(int(word) for word in words), 100_000, 600][:2] if len(words) != 1 else (int(words[0]), 600)
        compare(count, size)


if __name__ == "__main__":
    main(sys.argv[1:])
