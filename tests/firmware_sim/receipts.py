"""The smallest hub there is: takes batches and answers receipts. Also run as a program, for swarms by hand:

python tests/firmware_sim/receipts.py PORT [USER PASSWORD]
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from lamplighter_protocols import envelope
from lamplighter_protocols.model import parse_model
from lamplighter_protocols.presence import Birth, Presence
from lamplighter_protocols.readings import ReadingsRecord
from lamplighter_protocols.records import BadRecord, parse_batch
from lamplighter_protocols.topics import Channel, build, hub_filter, parse


class Receipts:
    """Takes everything agents say. `ignore` names batches (by running number) that it pretends not to have got."""

    def __init__(
        self,
        port: int,
        username: str = "",
        password: str = "",
        ignore: Callable[[int], bool] = lambda _: False,
        *,
        strict: bool = True,
    ) -> None:
        self.births: dict[str, Birth] = {}
        self.presence: list[tuple[str, Presence]] = []
        self.stored: dict[str, set[int]] = defaultdict(set)
        self.sessions: dict[str, list[int]] = defaultdict(list)
        self.backlog: dict[str, list[int]] = defaultdict(list)
        self.points = 0
        self.overlaps = 0
        """Records that begin before the newest one of their device has ended."""
        self.bad: Counter[str] = Counter()
        self.batches = 0
        self.silent = False
        self._ignore = ignore
        self._strict = strict
        self._through: Counter[str] = Counter()
        self._newest: dict[str, int] = {}
        self._subscribed = threading.Event()
        self._port = port
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "receipts")
        if username:
            self.client.username_pw_set(username, password)
        self.client.on_connect = lambda client, *_: client.subscribe(hub_filter(), qos=1)
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = self._on_message

    def __enter__(self) -> Self:
        self.client.connect("127.0.0.1", self._port)
        self.client.loop_start()
        assert self._subscribed.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _on_message(self, _client: Any, _data: Any, message: paho.MQTTMessage) -> None:
        address, payload = parse(message.topic), bytes(message.payload)
        match address.channel:
            case Channel.BIRTH:
                self.births[address.agent] = parse_model(Birth, payload)
                self.sessions[address.agent].append(self.births[address.agent].session)
            case Channel.PRESENCE:
                self.presence.append((address.agent, parse_model(Presence, payload)))
            case Channel.BATCH:
                self.batches += 1
                if not self.silent and not self._ignore(self.batches):
                    self._batch(address.agent, payload)

    def _batch(self, agent: str, payload: bytes) -> None:
        if self._strict:
            header, records = parse_batch(payload)
            outbox, stream, first, count = header.outbox, header.stream, header.first, len(records)
            for record in records:
                if isinstance(record, BadRecord):
                    self.bad[str(record.error)] += 1
                elif record.kind == "readings":
                    self.points += len(record.points())
                    self._follow(record)
        else:
            said = envelope.decode(payload)
            outbox, stream, first, count = said["outbox"], said["stream"], said["first"], len(said["records"])
        if stream == "backlog":
            self.backlog[outbox] += range(first, first + count)
            self._answer(agent, {"outbox": outbox, "through": {"backlog": first + count - 1}})
            return
        numbers = self.stored[outbox]
        numbers.update(range(first, first + count))
        while self._through[outbox] + 1 in numbers:
            self._through[outbox] += 1
        through = self._through[outbox]
        beyond = [] if first <= through else [[first, first + count - 1]]
        self._answer(agent, {"outbox": outbox, "through": {"live": through}, "also": {"live": beyond}})

    def _answer(self, agent: str, receipt: dict[str, Any]) -> None:
        now = time.time_ns() // 1_000_000
        self.client.publish(build(agent, Channel.RECEIPT), envelope.encode({**receipt, "now": now}))

    def _follow(self, record: ReadingsRecord) -> None:
        self.overlaps += record.t + min(record.dt) <= self._newest.get(record.device, 0)
        self._newest[record.device] = record.t + max(record.dt)


if __name__ == "__main__":
    port, username, password = (*sys.argv[1:4], "", "")[:3]
    with Receipts(int(port), username, password, strict=False) as receipts:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()
        sys.stdout.write(f"births {len(receipts.births)} wills {len(receipts.presence)} batches {receipts.batches}\n")
