"""A small hub for the agent's tests: an MQTT client that keeps what it hears and answers as the wire contract says.

It shares no code with the real hub, and none with the agent beyond the names of topics.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import time
import zlib
from collections import defaultdict
from typing import Any, Self

import paho.mqtt.client as mqtt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from paho.mqtt.enums import CallbackAPIVersion

from lamplighter_protocols import topics
from lamplighter_protocols.configuration import document_hash
from lamplighter_protocols.ids import new_ulid
from lamplighter_protocols.topics import Channel

KID = "test-1"


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def ulid() -> str:
    return new_ulid(now_ms(), os.urandom(10))


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Peer:
    """`answers` false: batches are heard, and no receipt is sent."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.key = Ed25519PrivateKey.generate()
        self.answers = True
        self.now_offset_ms = 0
        self.retry_after_ms = 0
        self.births: list[dict[str, Any]] = []
        self.presences: list[dict[str, Any]] = []
        self.batches: list[dict[str, Any]] = []
        self.batch_sizes: list[int] = []
        self.records: dict[tuple[str, str], dict[int, dict[str, Any]]] = defaultdict(dict)
        self.changed: list[str] = []
        self.met: set[str] = set()
        self.retained = 0
        self._lock = threading.Lock()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"peer-{os.urandom(4).hex()}")
        self._client.on_message = self._heard
        self._client.on_connect = self._subscribe
        self._subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: self._subscribed.set()

    def __enter__(self) -> Self:
        self._client.connect("127.0.0.1", self.port)
        self._client.loop_start()
        assert self._subscribed.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def identity(self, agent: str) -> dict[str, Any]:
        """What enrolment answers, for this broker."""
        public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {
            "agent": agent,
            "mqtt": {"url": f"mqtt://127.0.0.1:{self.port}", "username": agent, "password": "secret"},
            "hub_keys": [{"kid": KID, "public_key": b64(public)}],
            "heard_within_s": 30,
        }

    def all(self, kind: str) -> list[dict[str, Any]]:
        """Every record of a kind, each number once, in the order of streams and numbers."""
        with self._lock:
            return [
                record
                for _, numbered in sorted(self.records.items())
                for _, record in sorted(numbered.items())
                if record["kind"] == kind
            ]

    def points(self) -> list[tuple[str, str, int, Any]]:
        """Every value as (device, metric, time, value)."""
        return [
            (record["device"], metric, record["t"] + dt, value)
            for record in self.all("readings")
            for metric, column in record["m"].items()
            for dt, value in zip(record["dt"], column, strict=True)
            if value is not None
        ]

    def results(self, command: str) -> list[str]:
        """The states that were reported of a command."""
        return [record["state"] for record in self.all("result") if record["command"] == command]

    def command(self, agent: str, device: str, name: str, **over: Any) -> dict[str, Any]:
        """Return a command document; `send` signs and publishes it."""
        t = now_ms()
        document = {
            "type": "command",
            "id": ulid(),
            "agent": agent,
            "device": device,
            "name": name,
            "args": {},
            "issued_at": t,
            "expires_at": t + 30_000,
            "issuer": "test",
            "hazard": "none",
        }
        return document | over

    def desired(self, agent: str, device: str, version: int, document: dict[str, Any], **over: Any) -> dict[str, Any]:
        """Return a configuration document."""
        base = {
            "type": "configuration",
            "agent": agent,
            "device": device,
            "version": version,
            "hash": document_hash(document),
            "document": document,
            "issued_at": now_ms(),
        }
        return base | over

    def signed(self, document: dict[str, Any], kid: str = KID) -> bytes:
        head = b64(json.dumps({"alg": "EdDSA", "kid": kid}).encode())
        text = f"{head}.{b64(json.dumps(document).encode())}"
        return f"{text}.{b64(self.key.sign(text.encode()))}".encode()

    def send(self, channel: Channel, document: dict[str, Any], agent: str = "", device: str = "") -> None:
        self.say(channel, self.signed(document), agent or document["agent"], device or document.get("device", ""))

    def say(self, channel: Channel, payload: bytes, agent: str, device: str = "") -> None:
        self._client.publish(topics.build(agent, channel, device), payload).wait_for_publish(5)

    def _subscribe(self, client: mqtt.Client, *_: object) -> None:
        client.subscribe(topics.hub_filter(), qos=1)

    def _heard(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        address = topics.parse(message.topic)
        self.retained += message.retain
        raw = zlib.decompress(message.payload) if message.payload[:1] == b"\x78" else message.payload
        found = json.loads(raw)
        if address.channel is Channel.BIRTH:
            self._answer(address.agent, found)
            self.births.append(found)
        elif address.channel is Channel.PRESENCE:
            self.presences.append(found)
        elif address.channel is Channel.BATCH:
            self.batches.append(found)
            self.batch_sizes.append(len(message.payload) + len(message.topic) + 4)
            if self.answers:
                self._take(address.agent, found)

    def _answer(self, agent: str, birth: dict[str, Any]) -> None:
        """Say what is known of the agent's outbox, whether or not batches are answered."""
        with self._lock:
            streams = {stream: kept for (outbox, stream), kept in self.records.items() if outbox == birth["outbox"]}
            highest = {stream: max(numbered) for stream, numbered in streams.items() if numbered}
        ended = [said["session"] + 1 for said in self.presences if said["state"] == "offline"]
        session = max([birth["session"], *(earlier["session"] for earlier in self.births), *ended])
        answer = {
            "outbox": birth["outbox"],
            "session": session,
            "highest": highest,
            "met": self._meet(birth["lives"], highest),
            "now": now_ms() + self.now_offset_ms,
        }
        self._client.publish(topics.build(agent, Channel.RECEIPT), json.dumps(answer))

    def _meet(self, lives: list[dict[str, Any]], highest: dict[str, int]) -> list[str]:
        """Meet the present life, unless one that is not known begins at numbers that are."""
        ids = [life["id"] for life in lives]
        latest = max((place for place, life in enumerate(ids) if life in self.met), default=-1)
        if all(n < lives[latest + 1]["first"][stream] for stream, n in highest.items() if latest + 1 < len(lives)):
            self.met |= set(ids[-1:])
        return [life for life in ids if life in self.met]

    def _take(self, agent: str, batch: dict[str, Any]) -> None:
        with self._lock:
            kept = self.records[batch["outbox"], batch["stream"]]
            for nth, record in enumerate(batch["records"]):
                number = batch["first"] + nth
                if number in kept and kept[number] != record:
                    self.changed.append(f"{batch['stream']} {number}: {kept[number]} became {record}")
                kept[number] = record
            # A dropped record accounts for numbers that will never come.
            gone = {
                (record["stream"], number)
                for numbered in self.records.values()
                for record in numbered.values()
                if record["kind"] == "dropped"
                for number in range(record["first"], record["last"] + 1)
            }
            through = {}
            for (outbox, stream), numbered in self.records.items():
                if outbox == batch["outbox"]:
                    number = 0
                    while number + 1 in numbered or (stream, number + 1) in gone:
                        number += 1
                    through[stream] = number
        receipt = {
            "outbox": batch["outbox"],
            "through": through,
            "now": now_ms() + self.now_offset_ms,
            "retry_after_ms": self.retry_after_ms,
        }
        self._client.publish(topics.build(agent, Channel.RECEIPT), json.dumps(receipt))
