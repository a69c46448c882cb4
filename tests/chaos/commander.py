"""Somebody who issues commands all the time, with little patience, and sometimes takes one back."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import httpx

from chaos.compare import Asked
from chaos.peer import now_ms
from services.hub import Hub

PAUSE_S: Final = 0.4
LONGEST_S: Final = 6
CANCELLED: Final = 0.1
TIMEOUT_S: Final = 5.0


class _Issued(NamedTuple):
    n: int
    at: float
    latest_ms: int


class Commander(threading.Thread):
    """Issues numbered `mark` commands to devices by the hub's API."""

    def __init__(self, hub: Hub, devices: Sequence[str], seed: int) -> None:
        super().__init__(daemon=True, name="commander")
        self._hub = hub
        self._devices = devices
        self._chance = random.Random(seed)
        self._issued: list[_Issued] = []
        self._enough = threading.Event()
        self.unanswered = 0

    def run(self) -> None:
        while not self._enough.wait(PAUSE_S):
            try:
                self._issue(len(self._issued))
            except (httpx.HTTPError, OSError, ValueError):
                self.unanswered += 1

    def stop(self) -> None:
        self._enough.set()
        self.join()

    def all(self) -> Iterator[Asked]:
        """Yield each command as the hub knows it now; one whose acceptance was not heard may be unknown there."""
        known = {int(row["args"]["n"]): row for device in self._devices for row in self._rows(device)}
        for one in self._issued:
            row = known.get(one.n)
            expires, state = (row["expires_at"], row["state"]) if row else (one.latest_ms, "unknown")
            yield Asked(one.n, one.at, expires, state, known=row is not None)

    def _rows(self, device: str) -> Iterator[dict[str, Any]]:
        cursor = ""
        while cursor is not None:
            page = self._hub.get("commands", device=device, limit=1000, **({"cursor": cursor} if cursor else {}))
            yield from page["items"]
            cursor = page["next"]

    def _issue(self, n: int) -> None:
        expires_in_s = self._chance.randint(1, LONGEST_S)
        device, cancel = self._chance.choice(self._devices), self._chance.random() < CANCELLED
        latest = now_ms() + int((expires_in_s + TIMEOUT_S) * 1000)
        self._issued.append(_Issued(n, time.monotonic(), latest))
        body = {"name": "mark", "args": {"n": n}, "expires_in_s": expires_in_s}
        made = self._post(f"devices/{device}/commands", body, {"Idempotency-Key": f"chaos-{n}"})
        if cancel and "id" in made:
            with contextlib.suppress(httpx.HTTPError):
                self._post(f"commands/{made['id']}/cancel", None, {})

    def _post(self, path: str, body: Any, headers: dict[str, str]) -> dict[str, Any]:
        headers |= {"Authorization": f"Bearer {self._hub.token}"}
        answer = httpx.post(f"{self._hub.url}/api/v1/{path}", json=body, headers=headers, timeout=TIMEOUT_S)
        found: dict[str, Any] = answer.json()
        return found
