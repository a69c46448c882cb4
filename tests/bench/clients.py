"""Which client reads QoS 0 messages for how much CPU, all on one nats-server without accounts:

    PYTHONPATH=tests python -m bench.clients [--messages N] [--runs N]

Each takes the same batches of one point into a list, in turns. gmqtt is measured when it is installed (`uv pip install
gmqtt`); Lamplighter does not use it. The publisher is a process of its own, and all share the machine's processors.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import importlib.util
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import nats
import paho.mqtt.client as paho
from nats.aio.msg import Msg
from paho.mqtt.enums import CallbackAPIVersion

from hub.uplink.bench_session import publisher
from lamplighter_firmware_sim.swarm import packets
from lamplighter_hub.broker.program import find_server
from lamplighter_hub.uplink.packets import read_publishes
from lamplighter_hub.uplink.session import Session
from lamplighter_protocols import topics
from services.mosquitto import speaks_mqtt
from services.ports import free_port
from services.process import Children
from services.wait import eventually

PAYLOAD = 191
"""Bytes of a batch of one point."""


class Broker(NamedTuple):
    mqtt: int
    nats: int


Found = list[tuple[str | bytes, bytes | bytearray]]


class Job(NamedTuple):
    """What a client shall read: call `ready` when subscribed, fill `found` up to `wanted`."""

    broker: Broker
    wanted: int
    found: Found
    ready: Callable[[], None]


def with_session(job: Job) -> None:
    session = Session(f"mqtt://127.0.0.1:{job.broker.mqtt}", "session")
    session.start()
    assert session.connected.wait(10), session.trouble
    job.ready()
    while len(job.found) < job.wanted:
        job.found.extend((one.topic, one.payload) for one in session.take(2_000, 10))
    session.stop()


def with_bare_reader(job: Job) -> None:
    with socket.create_connection(("127.0.0.1", job.broker.mqtt)) as stream:
        stream.sendall(packets.connect("bare", username="", password="", keepalive_s=600, will=None))
        assert len(stream.recv(4)) == 4
        stream.sendall(packets.subscribe(1, topics.hub_filter()))
        assert len(stream.recv(5)) == 5
        job.ready()
        data, place = b"", 0
        while len(job.found) < job.wanted:
            data, place = data[place:] + stream.recv(256 * 1024), 0
            read, place = read_publishes(data, place)
            job.found.extend((one.topic, one.payload) for one in read)


def with_paho(job: Job) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, "paho")
    client.on_connect = lambda who, *_: who.subscribe(topics.hub_filter())
    client.on_subscribe = lambda *_: job.ready()

    def take(who: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        job.found.append((message.topic, message.payload))
        if len(job.found) == job.wanted:
            who.disconnect()

    client.on_message = take
    client.connect("127.0.0.1", job.broker.mqtt)
    client.loop_forever()


def with_gmqtt(job: Job) -> None:
    asyncio.run(_gmqtt(job))


async def _gmqtt(job: Job) -> None:
    client = importlib.import_module("gmqtt").Client("gmqtt")
    done = asyncio.Event()

    def take(_client: object, topic: str, payload: bytes, _qos: int, _properties: object) -> int:
        job.found.append((topic, payload))
        if len(job.found) == job.wanted:
            done.set()
        return 0

    client.on_message = take
    client.on_subscribe = lambda *_: job.ready()
    await client.connect("127.0.0.1", job.broker.mqtt, version=4)
    client.subscribe(topics.hub_filter())
    await done.wait()
    await client.disconnect()


def with_nats(job: Job) -> None:
    asyncio.run(_nats(job))


async def _nats(job: Job) -> None:
    client = await nats.connect(f"nats://127.0.0.1:{job.broker.nats}")
    done = asyncio.Event()

    async def take(message: Msg) -> None:
        job.found.append((message.subject, message.data))
        if len(job.found) == job.wanted:
            done.set()

    await client.subscribe(topics.nats_subjects(topics.hub_filter())[1], cb=take, pending_msgs_limit=-1)
    await client.flush()
    job.ready()
    await done.wait()
    await client.close()


CLIENTS: dict[str, Callable[[Job], None]] = {
    "bare reader on a socket": with_bare_reader,
    "Session": with_session,
    "paho": with_paho,
    "gmqtt": with_gmqtt,
    "nats-py, core": with_nats,
}


@contextmanager
def server(folder: Path) -> Iterator[Broker]:
    """A nats-server that lets everybody in."""
    broker, children = Broker(free_port(), free_port()), Children(folder)
    configuration = folder / "nats.conf"
    configuration.write_text(
        f'listen: "127.0.0.1:{broker.nats}"\nserver_name: clients\n'
        f'jetstream {{ store_dir: "{folder}" }}\nmqtt {{ listen: "127.0.0.1:{broker.mqtt}" }}\n'
    )
    children.start([find_server().path, "-c", configuration])
    try:
        eventually(lambda: speaks_mqtt(broker.mqtt))
        yield broker
    finally:
        children.end()


def measure(broker: Broker, client: Callable[[Job], None], count: int) -> tuple[float, float]:
    """Return messages a second, and microseconds of this process's CPU a message."""
    subscribed, found = threading.Event(), Found()
    job = Job(broker, count, found, subscribed.set)
    worker = threading.Thread(target=client, args=(job,))
    worker.start()
    assert subscribed.wait(10)
    began, used = time.monotonic(), time.process_time()
    child = publisher(broker.mqtt, count, 0, PAYLOAD)
    worker.join(120)
    result = len(found) / (time.monotonic() - began), (time.process_time() - used) / count * 1e6
    child.wait()
    assert len(found) == count, f"{len(found)} of {count}"
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3, help="of which the median counts")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lamplighter-clients-") as folder, server(Path(folder)) as broker:
        taken: dict[str, list[tuple[float, float]]] = {}
        for _ in range(given.runs):
            for name, client in CLIENTS.items():
                if name != "gmqtt" or importlib.util.find_spec("gmqtt"):
                    taken.setdefault(name, []).append(measure(broker, client, given.messages))
        for name, figures in taken.items():
            rate, cpu = (statistics.median(column) for column in zip(*figures, strict=True))
            print(f"{name:24} {rate:9,.0f} messages/s {cpu:6.1f} us CPU a message {1e6 / cpu:9,.0f} a CPU-second")


if __name__ == "__main__":
    main()
