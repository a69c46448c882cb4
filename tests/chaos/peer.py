"""Devices behind the `simulated` protocol that count what they gave and write down every command they carried out."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final

from chaos.compare import Given, Item

EVENT_S: Final = 0.25
MOST_EVENTS: Final = 200
SLOW_EVERY: Final = 5
SLOW_S: Final = 0.3
EVENTS: Final = ("tick", "alert")
PROFILE: Final = """
id = "chaos-peer"
device_class = "test"
interval_s = 0.5
title = { en = "Counting device", zh = "计数设备" }
[metrics.count]
title = { en = "Count", zh = "计数" }
[events.tick]
title = { en = "Tick", zh = "滴答" }
[events.alert]
title = { en = "Alert", zh = "警报" }
severity = "warning"
[commands.mark]
title = { en = "Mark", zh = "标记" }
timeout_s = 3.0
[commands.mark.args.n]
type = "integer"
required = true
"""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Device:
    """One device: readings that are numbered, events that repeat until they are seen, commands."""

    def __init__(self, name: str, poisoned: Callable[[], bool]) -> None:
        self.name = name
        self.executed: dict[int, list[int]] = defaultdict(list)
        self.bad_readings = 0
        self._poisoned = poisoned
        self._readings: dict[Item, float] = {}
        self._events: list[Item] = []
        self._event_times: list[float] = []
        self._reads = 0
        self._last_t = 0
        self._first_ms = now_ms()
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._quiet = False
        self.seen = 0

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to one request of the driver."""
        if request["op"] == "read":
            with self._lock:
                return self._read(int(request.get("seen", 0)))
        if request["op"] == "command":
            n = int(request["args"]["n"])
            with self._lock:
                self.executed[n].append(now_ms())
            if n % SLOW_EVERY == 0:
                threading.Event().wait(SLOW_S)
            return {"data": {"n": n}}
        return {"document": request.get("document", {})}

    def quiet(self) -> None:
        """Give nothing new any more."""
        self._happen()
        self._quiet = True

    @property
    def all_seen(self) -> bool:
        """True when the agent has every event."""
        return self.seen == len(self._events)

    def readings(self) -> Given:
        """Return what was given; a poll is no promise, so each is stored once or not at all."""
        return Given(f"readings {self.name}", self.name, dict(self._readings), owed=False)

    def events(self) -> Given:
        """Return what happened; each must be stored once."""
        return Given(f"events {self.name}", self.name, dict(zip(self._events, self._event_times, strict=True)))

    def _read(self, seen: int) -> dict[str, Any]:
        self._happen()
        self.seen = max(self.seen, seen)
        if self._quiet:
            return {"metrics": {}, "events": self._unseen(seen), "next": min(seen + MOST_EVENTS, len(self._events))}
        t = self._last_t = max(now_ms(), self._last_t + 1)
        n, self._reads = self._reads, self._reads + 1
        events = self._unseen(seen)
        value: int | str = n
        if self._poisoned() and n % 2:
            value = "rubbish"
            self.bad_readings += 1
        else:
            self._readings[Item(t, n)] = time.monotonic()
        return {"t": t, "metrics": {"count": value}, "events": events, "next": seen + len(events)}

    def _unseen(self, seen: int) -> list[dict[str, Any]]:
        return [
            {"t": item.t, "name": EVENTS[item.n % 2], "data": {"n": item.n}}
            for item in self._events[seen : seen + MOST_EVENTS]
        ]

    def _happen(self) -> None:
        now = time.monotonic()
        while not self._quiet and len(self._events) < (now - self._began) / EVENT_S:
            n = len(self._events)
            self._events.append(Item(self._first_ms + int(n * EVENT_S * 1000), n))
            self._event_times.append(now)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    devices: dict[str, Device]


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            for line in self.rfile:
                request = json.loads(line)
                answer = self.server.devices[request["device"]].answer(request)
                self.wfile.write(json.dumps(answer).encode() + b"\n")


class Peer:
    """Serves devices on `port`."""

    def __init__(self, devices: dict[str, Device]) -> None:
        self.devices = devices
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.devices = devices
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True, name="peer").start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
