"""A plain MQTT client, as a foreign device would use it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from lamplighter_protocols import topics
from services.wait import eventually

PATIENCE_S = 10.0


class Plain:
    """One connection. Whatever it is told fails the test when the broker does not answer in time."""

    def __init__(self, port: int, client_id: str, username: str, password: str, *, clean: bool = True) -> None:
        self.port = port
        self.messages: list[paho.MQTTMessage] = []
        self.answer = ""
        self.granted: list[int] = []
        self.gone = threading.Event()
        self._answered = threading.Event()
        self._subscribed = threading.Event()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id, clean_session=clean, reconnect_on_failure=False
        )
        if username:
            self.client.username_pw_set(username, password)
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = self._on_subscribe
        self.client.on_message = self._on_message
        self.client.on_disconnect = self._on_disconnect

    def connect(self) -> str:
        """Connect and return the broker's answer: `Success` or why not."""
        self.client.connect("127.0.0.1", self.port)
        self.client.loop_start()
        assert self._answered.wait(PATIENCE_S), "no CONNACK"
        return self.answer

    def publish(self, topic: str, payload: bytes | str, qos: int = 1, *, retain: bool = False) -> None:
        """Publish and wait until the broker confirms it (QoS 1) or it is sent."""
        self.client.publish(topic, payload, qos, retain).wait_for_publish(PATIENCE_S)

    def subscribe(self, topic: str, qos: int = 0) -> int:
        """Subscribe and return what was granted; 128 is a refusal."""
        self._subscribed.clear()
        self.client.subscribe(topic, qos)
        assert self._subscribed.wait(PATIENCE_S), "no SUBACK"
        return self.granted[-1]

    def payloads(self, at_least: int) -> list[bytes]:
        """Wait for messages and return what they carry."""
        eventually(lambda: len(self.messages) >= at_least)
        return [bytes(message.payload) for message in self.messages]

    def vanish(self) -> None:
        """End without a goodbye, as a power cut does."""
        stream = self.client.socket()
        assert isinstance(stream, socket.socket)
        with contextlib.suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)
        assert self.gone.wait(PATIENCE_S)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self.answer = str(reason)
        self._answered.set()

    def _on_subscribe(self, _client: Any, _data: Any, _mid: Any, reasons: Any, _properties: Any) -> None:
        self.granted.extend(reason.value for reason in reasons)
        self._subscribed.set()

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        self.messages.append(message)

    def _on_disconnect(self, *_arguments: Any) -> None:
        self.gone.set()


@contextlib.contextmanager
def plain(
    port: int, agent: str, password: str, *, client_id: str | None = None, clean: bool = True, will: str = ""
) -> Iterator[Plain]:
    """Give a client that is not connected yet; `will` is the payload of a presence will at QoS 1."""
    client = Plain(port, agent if client_id is None else client_id, agent, password, clean=clean)
    if will:
        client.client.will_set(topics.build(agent, topics.Channel.PRESENCE), will, qos=1)
    try:
        yield client
    finally:
        client.close()
