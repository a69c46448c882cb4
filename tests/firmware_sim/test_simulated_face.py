"""JSON lines over a real socket: reads with events, commands by lease, refusals with their kind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from lamplighter_firmware_sim.devices.installed import Installed
from lamplighter_firmware_sim.devices.kiosk import Kiosk
from lamplighter_firmware_sim.devices.signal import SignalController
from lamplighter_firmware_sim.faces.simulated import MAX_LINE, SimulatedFace
from lamplighter_firmware_sim.world import FaultKind, Weather

NOW = 1_795_000_000_000


class Line:
    """A client that sends one object and reads one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, request: Any) -> dict[str, Any]:
        return await self.send(json.dumps(request).encode())

    async def send(self, raw: bytes) -> dict[str, Any]:
        self.writer.write(raw + b"\n")
        answer: dict[str, Any] = json.loads(await asyncio.wait_for(self.reader.readline(), 5))
        return answer


def talking(devices: dict[str, Installed], use: Callable[[Line], Awaitable[None]]) -> None:
    async def run() -> None:
        face = SimulatedFace(devices)
        port = await face.start("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await use(Line(reader, writer))
        finally:
            writer.close()
            await face.stop()

    asyncio.run(run())


def kiosk(state: Kiosk | None = None, faults: frozenset[FaultKind] = frozenset()) -> Installed:
    return Installed("kiosk-1", state or Kiosk(1), lambda: NOW, lambda: faults)


def signal() -> Installed:
    return Installed("signal-1", SignalController(1).step(20_000, Weather()), lambda: NOW, frozenset)


def test_events_come_until_a_read_has_seen_them() -> None:
    async def use(line: Line) -> None:
        assert (await line.ask({"op": "read"}))["events"] == []
        assert await line.ask({"op": "command", "name": "print_test_page", "args": {"copies": 2}}) == {
            "data": {"pages": 2, "paper_left": 15}
        }
        first = await line.ask({"op": "read", "seen": 0})
        assert first["t"] == NOW
        assert first["metrics"]["printer_paper"] == "low"
        assert first["events"] == [{"t": NOW, "name": "paper_low", "data": {"tray": "upper", "left": 15}}]
        again = await line.ask({"op": "read", "seen": 0})
        assert again["events"] == first["events"]
        after = await line.ask({"op": "read", "seen": first["next"]})
        assert after["events"] == []
        assert after["next"] == first["next"]

    talking({"kiosk-1": kiosk(Kiosk(1, sheets=39))}, use)


def test_a_lease_travels_with_the_command() -> None:
    async def use(line: Line) -> None:
        request = {"op": "command", "device": "signal-1", "name": "set_plan", "args": {"plan": 2}, "lease_s": 60}
        assert (await line.ask(request))["data"]["lease_s"] == 60
        assert (await line.ask({"op": "read", "device": "signal-1"}))["metrics"]["lease_left"] == 60
        refused = await line.ask({**request, "args": {"plan": 9}})
        assert refused["error"]["kind"] == "rejected"
        assert "no plan 9" in refused["error"]["detail"]
        shown = await line.ask({"op": "read", "device": "signal-1"})
        assert [event["name"] for event in shown["events"]][-1] == "request_refused"

    talking({"signal-1": signal(), "kiosk-1": kiosk()}, use)


def test_configuration_is_answered_with_what_is_in_force() -> None:
    async def use(line: Line) -> None:
        answer = await line.ask({"op": "configure", "document": {"volume": 5}})
        assert answer["document"]["volume"] == 5
        assert answer["document"]["language"] == "zh"
        refused = await line.ask({"op": "configure", "document": {"colour": "red"}})
        assert refused["error"]["kind"] == "rejected"
        assert "colour" in refused["error"]["detail"]

    talking({"kiosk-1": kiosk()}, use)


def test_what_is_wrong_has_a_kind() -> None:
    async def use(line: Line) -> None:
        for raw, kind in (
            (b"nonsense", "fatal"),
            (b"[]", "fatal"),
            (b'{"op": "dance"}', "fatal"),
            (b'{"op": "read", "device": "kiosk-9"}', "fatal"),
            (b'{"op": "command"}', "rejected"),
            (b'{"op": "command", "name": "dance"}', "rejected"),
            (b'{"op": "command", "name": "print_test_page", "args": {"copies": "many"}}', "rejected"),
            (b'{"op": "command", "name": "print_test_page", "args": 7}', "rejected"),
            (b'{"op": "command", "name": "print_test_page", "args": {}}', "fatal"),
            (b'{"op": "read", "seen": "all"}', "rejected"),
        ):
            assert (await line.send(raw)).get("error", {}).get("kind") == kind, raw

    talking({"kiosk-1": kiosk(Kiosk(1, sheets=0))}, use)


def test_a_silent_device_is_worth_another_try() -> None:
    async def use(line: Line) -> None:
        assert (await line.ask({"op": "read"}))["error"]["kind"] == "retriable"

    talking({"kiosk-1": kiosk(faults=frozenset({FaultKind.SILENT}))}, use)


def test_a_broken_sensor_has_no_value() -> None:
    async def use(line: Line) -> None:
        shown = await line.ask({"op": "read"})
        assert shown["quality"]["temp"] == "sensor_fault"
        assert "temp" not in shown["metrics"]

    talking({"kiosk-1": kiosk(faults=frozenset({FaultKind.SENSOR}))}, use)


def in_session() -> Kiosk:
    return Kiosk(1).step(1_000, Weather()).__class__(1, age_ms=10_000, session_from_ms=1, session_until_ms=30_000)


def test_a_reboot_is_refused_during_a_session() -> None:
    async def use(line: Line) -> None:
        answer = await line.ask({"op": "command", "name": "reboot", "args": {"grace_s": 0}})
        assert answer == {"error": {"kind": "rejected", "detail": "somebody is using the kiosk"}}

    talking({"kiosk-1": kiosk(in_session())}, use)


def test_a_reboot_waits_for_the_end_of_a_session_within_its_grace() -> None:
    device = kiosk(in_session())

    async def use(line: Line) -> None:
        asyncio.get_running_loop().call_later(0.3, device.advance, 25_000, Weather(traffic=0.0))
        answer = await line.ask({"op": "command", "name": "reboot", "args": {"grace_s": 4}})
        assert answer == {"data": {"for_s": 30.0}}
        assert (await line.ask({"op": "read"}))["error"]["kind"] == "retriable"

    talking({"kiosk-1": device}, use)


def test_a_line_without_end_is_cut_off() -> None:
    async def use(line: Line) -> None:
        line.writer.write(b"x" * (MAX_LINE + 10))
        assert await asyncio.wait_for(line.reader.read(), 5) == b""

    talking({"kiosk-1": kiosk()}, use)
