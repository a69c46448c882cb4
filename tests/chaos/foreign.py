"""Somebody else's device: SenML over MQTT at QoS 1, a client that repeats what was not confirmed; and a rude one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from chaos.compare import Given, Item
from chaos.peer import now_ms
from lamplighter_protocols.topics import Channel, build

PAUSE_S: Final = 0.2
WAITING: Final = 400
IN_BROKER_S: Final = 30.0
"""How long a confirmed message may still be the broker's: it gives it again 10 s after a hub that died."""
BAD_PACKS: Final = (b'[{"n":"count","v":"warm"}]', b"[{", b"\x78\x9c\x00rubbish", b'[{"n":"nobody-knows","v":1}]', b"")
STOLEN: Final = (
    b'{"outbox":"01JD0000000000000000000000","stream":"live","first":9,"sent":1,"records":['
    b'{"kind":"readings","device":"log-1","t":1795476600000,"dt":[0],"m":{"count":[666]}}]}'
)
BAD_BATCHES: Final = (
    STOLEN,
    b"",
    b"{",
    b"\x78\x9cxxxx",
    b'{"outbox":1}',
    b'{"outbox":"01JD0000000000000000000000","stream":"live","first":0,"sent":1,"records":[]}',
    b'{"outbox":"01JD0000000000000000000000","stream":"live","first":1,"sent":1,"records":[{"kind":"readings"},7]}',
)
"""What is no batch, or claims another agent's device."""


class Client:
    """An MQTT client with an agent's credentials that connects again by itself."""

    def __init__(self, agent: str, password: str, port: int) -> None:
        self.agent = agent
        self.paho = paho.Client(CallbackAPIVersion.VERSION2, agent, clean_session=False)
        self.paho.username_pw_set(agent, password)
        self.paho.reconnect_delay_set(1, 3)
        self.paho.max_inflight_messages_set(20)
        self.paho.on_publish = self._confirmed
        self.confirmed: dict[int, float] = {}
        self.paho.connect_async("127.0.0.1", port, keepalive=5)
        self.paho.loop_start()

    def publish(self, topic: str, payload: bytes | str, qos: int) -> int:
        return self.paho.publish(topic, payload, qos).mid

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()

    def _confirmed(self, _client: paho.Client, _data: Any, mid: int, _reason: Any, _properties: Any) -> None:
        self.confirmed[mid] = time.monotonic()


class ForeignDevice(threading.Thread):
    """Publishes a numbered pack five times a second; while poisoned, a bad one beside each."""

    def __init__(self, device: str, client: Client, poisoned: Callable[[], bool]) -> None:
        super().__init__(daemon=True, name=device)
        self.device = device
        self.bad_packs = 0
        self._client = client
        self._poisoned = poisoned
        self._given: dict[Item, float] = {}
        self._mids: dict[Item, int] = {}
        self._enough = threading.Event()

    def birth(self) -> None:
        """Say who is there."""
        document = {
            "session": 1,
            "boot": "01M80T5JNV0000000000000000",
            "heard_within_s": 3600,
            "sent": now_ms(),
            "devices": [{"id": self.device, "profile": "chaos-log"}],
        }
        self._client.publish(build(self._client.agent, Channel.BIRTH), json.dumps(document), 1)

    def run(self) -> None:
        topic = build(self._client.agent, Channel.SENML, self.device)
        while not self._enough.wait(PAUSE_S):
            if self.waiting > WAITING:
                continue
            item = Item(now_ms(), len(self._given))
            pack = [{"bn": f"{self.device}:", "bt": item.t / 1000, "n": "count", "v": item.n}]
            self._given[item] = time.monotonic()
            self._mids[item] = self._client.publish(topic, json.dumps(pack), 1)
            if self._poisoned():
                self._client.publish(topic, BAD_PACKS[item.n % len(BAD_PACKS)], 1)
                self.bad_packs += 1

    def stop(self) -> None:
        self._enough.set()
        self.join()

    @property
    def waiting(self) -> int:
        """Packs that the broker has not confirmed."""
        return sum(mid not in self._client.confirmed for mid in list(self._mids.values())[-2 * WAITING :])

    def given(self) -> Given:
        return Given(f"foreign {self.device}", self.device, dict(self._given))

    def gone(self, destroyed: Sequence[tuple[float, float]]) -> set[Item]:
        """Return what a broker may have confirmed before its store was destroyed, or for nobody until the hub was back.

        `destroyed` holds from when to when, on the harness's clock.
        """
        confirmed = self._client.confirmed
        return {
            item
            for item, mid in self._mids.items()
            if mid in confirmed and any(lost - IN_BROKER_S <= confirmed[mid] <= back for lost, back in destroyed)
        }


class RudeClient(threading.Thread):
    """While poisoned, publishes rubbish as batches of its own agent."""

    def __init__(self, client: Client, poisoned: Callable[[], bool]) -> None:
        super().__init__(daemon=True, name="rude")
        self.sent = 0
        self._client = client
        self._poisoned = poisoned
        self._enough = threading.Event()

    def run(self) -> None:
        topic = build(self._client.agent, Channel.BATCH)
        while not self._enough.wait(PAUSE_S / 2):
            if self._poisoned():
                self._client.publish(topic, BAD_BATCHES[self.sent % len(BAD_BATCHES)], self.sent % 2)
                self.sent += 1

    def stop(self) -> None:
        self._enough.set()
        self.join()
