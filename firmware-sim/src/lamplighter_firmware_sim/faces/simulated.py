"""JSON lines over TCP: the stand-in for kiosks and signal controllers until their own protocols are spoken.

One request a line, one answer a line:

    {"op": "read", "seen": 7}                  -> {"t", "metrics", "quality", "events": [{"t", "name", "data"}], "next"}
    {"op": "command", "name": .., "args": {}}  -> {"data": {}}
    {"op": "configure", "document": {}}        -> {"document": {}}
    otherwise                                  -> {"error": {"kind": "retriable|fatal|rejected", "detail": ".."}}

`device` chooses among several; `lease_s` bounds a command. Events are repeated until a later read has `seen` them.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from lamplighter_firmware_sim.devices.device import Failed, NotReady, Occupied, Refused
from lamplighter_firmware_sim.devices.installed import Installed

MAX_LINE: Final = 64 * 1024
TRY_AGAIN_S: Final = 0.1
VALUELESS: Final = ("sensor_fault", "no_data", "warming_up")
"""Qualities that say that there is no value."""
MOST_EVENTS: Final = 200
"""How many events one answer carries; the rest comes with the next."""


class SimulatedFace:
    """Serves some devices on one port."""

    def __init__(self, devices: Mapping[str, Installed]) -> None:
        self._devices = devices
        self._server: asyncio.Server | None = None
        self._peers: set[asyncio.StreamWriter] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port; port 0 takes any. Raises OSError when the port is taken."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_LINE)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Close the port and all connections."""
        if self._server:
            self._server.close()
            for peer in list(self._peers):
                peer.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peers.add(writer)
        try:
            with suppress(ConnectionError, asyncio.CancelledError):
                while line := await _line(reader):
                    writer.write(json.dumps(await self._answer(line), separators=(",", ":")).encode() + b"\n")
                    await writer.drain()
        finally:
            self._peers.discard(writer)
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = _request(line)
            return await _patiently(self._find(request.get("device")), request)
        except NotReady as error:
            return _error("retriable", str(error))
        except Failed as error:
            return _error("fatal", str(error))
        except (Refused, KeyError, TypeError, ValueError) as error:
            detail = str(error) if isinstance(error, Refused) else f"an argument is missing or wrong: {error}"
            return _error("rejected", detail)

    def _find(self, name: Any) -> Installed:
        if name is None and len(self._devices) == 1:
            return next(iter(self._devices.values()))
        if isinstance(name, str) and name in self._devices:
            return self._devices[name]
        raise Failed(f"no such device; there are {', '.join(sorted(self._devices))}")


async def _patiently(device: Installed, request: Mapping[str, Any]) -> dict[str, Any]:
    """Obey; while somebody is using the device, try again for as long as the request allows."""
    until: float | None = None
    while True:
        try:
            return _obey(device, request)
        except Occupied as error:
            now = asyncio.get_running_loop().time()
            until = now + error.wait_s if until is None else until
            if now >= until:
                raise
            await asyncio.sleep(TRY_AGAIN_S)


def _obey(device: Installed, request: Mapping[str, Any]) -> dict[str, Any]:
    match request.get("op"):
        case "read":
            return _read(device, int(request.get("seen") or 0))
        case "command":
            args = dict(request.get("args") or {})
            lease_s = request.get("lease_s")
            return {"data": device.command(str(request["name"]), args, None if lease_s is None else float(lease_s))}
        case "configure":
            return {"document": device.configure(dict(request.get("document") or {}))}
        case other:
            return _error("fatal", f"no such op: {other}; there are read, command, configure")


def _read(device: Installed, seen: int) -> dict[str, Any]:
    shown = device.observe()
    events = device.events_after(seen)[:MOST_EVENTS]
    return {
        "t": device.wall_ms(),
        "metrics": {name: value for name, value in shown.metrics.items() if shown.quality.get(name) not in VALUELESS},
        "quality": dict(shown.quality),
        "events": [{"t": event.t, "name": event.name, "data": dict(event.data)} for event in events],
        "next": events[-1].number if events else seen,
    }


def _request(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError as error:
        raise Failed(f"not JSON: {error}") from None
    if not isinstance(said, dict):
        raise Failed("not a JSON object")
    return said


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Return one line; nothing at the end of the connection, or when a line is too long to be one."""
    with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
        return await reader.readuntil(b"\n")
    return b""


def _error(kind: str, detail: str) -> dict[str, Any]:
    return {"error": {"kind": kind, "detail": detail[:500]}}
