"""The same hub on either broker, and the powers of whoever owns that broker."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from lamplighter_hub.broker.mosquitto import Listen, write_configuration
from services.hub import Hub
from services.mosquitto import Mosquitto, configured_mosquitto
from services.ports import free_port
from services.process import Children
from services.wait import eventually

OWNER = "owner"


class BrokerKind(StrEnum):
    """Which broker carries the messages."""

    NATS = "nats-server"
    MOSQUITTO = "mosquitto"


class MosquittoHub(Hub):
    """A hub on a Mosquitto under the configuration that Lamplighter generates."""

    mosquitto: Mosquitto
    owner_password = ""


@contextlib.contextmanager
def brokered_hub(kind: BrokerKind, folder: Path, children: Children, *more: str) -> Iterator[Hub]:
    """Start a hub with its broker and `more` options. Profiles may be put into `folder`/profiles before."""
    profiles = folder / "profiles"
    profiles.mkdir(exist_ok=True)
    options = ("--profiles", str(profiles), *more)
    if kind is BrokerKind.NATS:
        yield Hub(folder / "data", children, options).start()
        return
    port = free_port()
    made = write_configuration(folder / "mosquitto", Listen(port=port), {})
    if os.geteuid() == 0:
        (folder / "mosquitto" / "local.d" / "user.conf").write_text("user root\n")
    with (folder / "mosquitto" / "acl").open("a") as acl:
        acl.write(f"user {OWNER}\ntopic readwrite #\n")
    with configured_mosquitto(made.configuration, port) as broker:
        options += ("--mqtt-url", made.url, "--mosquitto-dir", str(folder / "mosquitto"))
        hub = MosquittoHub(folder / "data", children, options, mqtt_port=port)
        hub.mosquitto = broker
        yield hub.start()


def kill_broker(hub: Hub) -> None:
    """kill -9 of the broker. The hub starts its own again; Mosquitto is started again here, as its init would."""
    if isinstance(hub, MosquittoHub):
        hub.mosquitto.kill()
        hub.mosquitto.start()
        return
    pid = hub.get("status")["parts"]["broker"]["pid"]
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: hub.get("status")["parts"]["broker"]["pid"] not in {0, pid}, within_s=30)


class BrokerOwner:
    """An MQTT client with the powers of whoever has taken the broker over: it hears and says anything."""

    def __init__(self, hub: Hub) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._subscribed = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=OWNER)
        self._client.username_pw_set(*_credentials(hub))
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect("127.0.0.1", hub.mqtt_port)
        self._client.loop_start()

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        self.heard.append((message.topic, bytes(message.payload)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def listen(self, topic: str) -> None:
        """Hear a topic from now on."""
        self._subscribed.clear()
        self._client.subscribe(topic)
        assert self._subscribed.wait(10)

    def say(self, topic: str, payload: bytes) -> None:
        """Publish and wait until it is out."""
        self._client.publish(topic, payload, qos=1).wait_for_publish(10)


def _credentials(hub: Hub) -> tuple[str, str]:
    """Return a user who may do everything on the broker."""
    if isinstance(hub, MosquittoHub):
        if not hub.owner_password:
            hub.owner_password = hub.post("agents", {"agents": [{"id": OWNER}]})["items"][0]["password"]
        return OWNER, hub.owner_password
    accounts = json.loads((hub.data / "broker" / "nats-server.conf").read_text())["accounts"]
    keeper = next(user for account in accounts.values() for user in account["users"] if user["user"] == "_keeper")
    return keeper["user"], keeper["password"]
