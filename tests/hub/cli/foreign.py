"""A device that speaks MQTT itself: nothing but paho and the wire contract, so that the hub has something to tell."""

from __future__ import annotations

import base64
import json
import time
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from lamplighter_protocols import topics
from lamplighter_protocols.ids import new_ulid
from lamplighter_protocols.topics import Channel


def now() -> int:
    return round(time.time() * 1000)


class Foreign:
    """One agent with a kiosk and an air station. It does every command at once and applies every document."""

    def __init__(self, agent: str, password: str, url: str) -> None:
        self.agent = agent
        self.outbox = new_ulid(now(), b"outbox-one")
        self.next = 1
        self._last: dict[str, Any] = {}
        self.devices = {"kiosk-1": "kiosk", "air-1": "air-station"}
        self._where = urlsplit(url)
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, agent, clean_session=True)
        self._client.username_pw_set(agent, password)
        self._client.on_connect = self._connected
        self._client.on_message = self._asked

    def start(self) -> None:
        self._client.connect(self._where.hostname or "", self._where.port or 1883)
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def say(self, channel: Channel, document: dict[str, Any], qos: int = 0) -> None:
        self._client.publish(topics.build(self.agent, channel), json.dumps(document), qos)

    def send(self, *records: dict[str, Any], skip: int = 0) -> None:
        """Send records as the next of the live stream; `skip` numbers are used up and never sent."""
        self.next += skip
        batch = {"outbox": self.outbox, "stream": "live", "first": self.next, "sent": now(), "records": list(records)}
        self.next += len(records)
        self._last = batch
        self.again()

    def again(self) -> None:
        """Send the last batch again, as every device does until the hub confirms it."""
        self.say(Channel.BATCH, self._last)

    def _connected(self, client: mqtt.Client, *_: object) -> None:
        client.subscribe(topics.agent_filter(self.agent))
        devices = [{"id": device, "profile": profile} for device, profile in self.devices.items()]
        birth = {"session": 1, "boot": self.outbox, "heard_within_s": 600, "outbox": self.outbox, "sent": now()}
        self.say(Channel.BIRTH, {**birth, "devices": devices, "clock": "synced"}, qos=1)

    def _asked(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        address = topics.parse(message.topic)
        if address.channel is Channel.COMMAND:
            self._do(_unsigned(message.payload))
        elif address.channel is Channel.DESIRED:
            self._apply(_unsigned(message.payload))

    def _do(self, command: dict[str, Any]) -> None:
        said = {"kind": "result", "device": command["device"], "command": command["id"], "t": now()}
        if command["type"] == "command":
            self.send({**said, "state": "received"}, {**said, "state": "running"})
            self.send({**said, "state": "succeeded", "data": {"pages": 1}})

    def _apply(self, desired: dict[str, Any]) -> None:
        told = {name: desired[name] for name in ("device", "version", "hash", "document")}
        self.send({"kind": "reported", **told, "state": "applied", "t": now()})


def _unsigned(token: bytes | bytearray) -> dict[str, Any]:
    """Return what a JWS says; who checks signatures is tested elsewhere."""
    body = bytes(token).split(b".")[1]
    document: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + b"=" * (-len(body) % 4)))
    return document
