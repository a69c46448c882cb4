"""The built-in drivers against real devices: a Modbus server, a serial line, files, and a JSON face."""

from __future__ import annotations

import asyncio
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lamplighter_agent import registry
from lamplighter_agent.driver import Context, Driver, Fatal, Output, Partial, Refused, Retriable
from lamplighter_agent.drivers.modbus import ModbusDriver
from lamplighter_agent.drivers.simulated import SimulatedDriver
from lamplighter_agent.drivers.tail import TailDriver
from lamplighter_agent.outputs import flaw
from lamplighter_agent.testing import Bench, DriverSuite
from lamplighter_protocols.profile import Profile
from services.modbus import ModbusDevice, modbus_rtu, modbus_tcp
from services.need import need, recordings
from services.ports import free_port

METERS = Profile.model_validate(
    {
        "id": "meters",
        "device_class": "test",
        "title": {"en": "meters"},
        "metrics": {name: {"title": {"en": name}} for name in ("a", "b", "far")}
        | {"on": {"type": "boolean", "title": {"en": "on"}}},
        "configuration": {"limit": {"type": "number"}, "lamp": {"type": "boolean"}},
        "commands": {"set": {"title": {"en": "set"}, "args": {"v": {"type": "number", "required": True}}}},
        "modbus": {
            "registers": {
                "a": {"address": 0, "scale": 0.1},
                "b": {"address": 1, "type": "int32"},
                "far": {"address": 40, "table": "input"},
                "on": {"address": 2, "table": "coil", "type": "bit"},
            },
            "commands": {"set": [{"address": 10, "arg": "v", "scale": 0.5}]},
            "configuration": {
                "limit": {"address": 20, "type": "float32"},
                "lamp": {"address": 3, "table": "coil", "type": "bit"},
            },
        },
    }
)
LOG = Profile.model_validate(
    {
        "id": "log",
        "device_class": "test",
        "title": {"en": "log"},
        "metrics": {"v": {"title": {"en": "v"}}},
        "tail": {
            "header": True,
            "time": ["time"],
            "time_format": "%Y-%m-%d %H:%M:%S",
            "columns": {"v": {"column": "value"}},
        },
    }
)
FACE = Profile.model_validate(
    {
        "id": "face",
        "device_class": "test",
        "title": {"en": "face"},
        "metrics": {"v": {"title": {"en": "v"}}},
        "events": {"paper_out": {"title": {"en": "paper out"}}},
        "simulated": {"metrics": {"v": "value"}},
    }
)


class TestModbusSuite(DriverSuite):
    @contextmanager
    def bench(self) -> Iterator[Bench]:
        with modbus_tcp() as device:
            settings = {"host": "127.0.0.1", "port": device.port}
            yield Bench(ModbusDriver, METERS, settings, settings | {"port": free_port()})


class TestTailSuite(DriverSuite):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    @contextmanager
    def bench(self) -> Iterator[Bench]:
        (self.folder / "log.csv").write_text("time,value\n2026-01-01 00:00:00,1\n")
        yield Bench(TailDriver, LOG, {"path": "log.csv"}, {"path": "none.csv"}, self.folder)


class TestSimulatedSuite(DriverSuite):
    @contextmanager
    def bench(self) -> Iterator[Bench]:
        with face() as port:
            settings = {"port": port, "device": "kiosk-1"}
            yield Bench(SimulatedDriver, FACE, settings, settings | {"port": free_port()})


def test_every_installed_driver_has_a_suite() -> None:
    assert registry.names() == ["modbus", "simulated", "tail"]
    tested = {ModbusDriver, SimulatedDriver, TailDriver}
    assert {registry.load(name) for name in registry.names()} == tested


def test_a_driver_that_is_not_installed_is_named_with_those_that_are() -> None:
    with pytest.raises(Fatal, match="modbus, simulated, tail"):
        registry.load("modbuss")


# modbus


async def opened(driver: Driver, position: dict[str, Any] | None = None) -> Driver:
    await driver.open(position)
    return driver


def modbus(device: ModbusDevice, **over: Any) -> Driver:
    return Bench(ModbusDriver, METERS, device.settings | over, {}).driver()


def test_modbus_reads_writes_and_configures() -> None:
    async def play(device: ModbusDevice) -> None:
        driver = await opened(modbus(device))
        (row,) = (await driver.read()).rows
        assert row.values == {"a": 12.3, "b": 65_538, "far": 7, "on": True}
        assert await driver.command("set", {"v": 2.5}, None) == {"written": 1}
        assert device.holding(10) == 5
        wanted = {"limit": 1.5, "lamp": True, "interval_s": 3}
        assert await driver.configure(wanted) == wanted
        assert (device.holding(20), device.holding(21)) == (0x3FC0, 0)
        with pytest.raises(Refused, match="lease"):
            await driver.command("set", {"v": 1}, 10)
        with pytest.raises(Refused, match="v"):
            await driver.command("set", {"v": 1e9}, None)
        await driver.close()

    with modbus_tcp() as device:
        asyncio.run(play(device))


def test_modbus_rtu_two_units_share_a_line(tmp_path: Path) -> None:
    need("socat")

    async def play(device: ModbusDevice) -> None:
        shared: dict[Any, Any] = {}
        settings = ModbusDriver.Settings.model_validate(device.settings)
        log = Bench(ModbusDriver, METERS, device.settings, {}).driver().context.log
        drivers = [ModbusDriver(Context(f"d{n}", METERS, tmp_path, log, shared), settings) for n in (1, 2)]
        for driver in drivers:
            await driver.open(None)
        rows = [output.rows[0] for output in await asyncio.gather(*(driver.read() for driver in drivers))]
        assert rows[0].values == rows[1].values == {"a": 12.3, "b": 65_538, "far": 7, "on": True}
        await drivers[0].close()
        assert (await drivers[1].read()).rows[0].values["a"] == 12.3, "one leaving does not close the line"
        await drivers[1].close()

    with modbus_rtu() as device:
        asyncio.run(play(device))


def test_modbus_a_refused_block_costs_only_its_metrics() -> None:
    async def play(device: ModbusDevice) -> None:
        profile = METERS.model_copy(deep=True)
        assert profile.modbus is not None
        profile.modbus.registers["far"] = profile.modbus.registers["far"].model_copy(update={"address": 9_000})
        driver = await opened(Bench(ModbusDriver, profile, device.settings, {}).driver())
        with pytest.raises(Partial, match="exception 2") as caught:
            await driver.read()
        (row,) = caught.value.output.rows
        assert (row.values["a"], row.quality) == (12.3, {"far": "no_data"})
        await driver.close()

    with modbus_tcp() as device:
        asyncio.run(play(device))


def test_modbus_a_unit_that_is_silent_is_retriable() -> None:
    async def play() -> None:
        writers: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        settings = {"host": "127.0.0.1", "port": port, "request_timeout_s": 0.2}
        driver = await opened(Bench(ModbusDriver, METERS, settings, {}).driver())
        with pytest.raises(Retriable, match="no answer"):
            await driver.read()
        await driver.close()
        for writer in writers:
            writer.close()
            await writer.wait_closed()
        server.close()
        await server.wait_closed()

    asyncio.run(play())


# tail


class Log:
    """A logger's file and the driver that follows it; `position` is what became durable."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.csv"
        self.position: dict[str, Any] | None = None
        self.values: list[float] = []
        self.events: list[Any] = []
        self.driver: Driver = Bench(TailDriver, LOG, {"path": "log.csv"}, {}, folder).driver()

    def write(self, text: str, mode: str = "a") -> None:
        with self.path.open(mode) as file:
            file.write(text)

    async def reopen(self) -> None:
        """What a crash leaves: only the durable position."""
        await self.driver.close()
        await self.driver.open(self.position)

    async def drain(self) -> list[float]:
        """Read until there is nothing more; return the new values."""
        start = len(self.values)
        while True:
            output: Output = await self.driver.read()
            self.values += [row.values["v"] for row in output.rows]  # type: ignore[misc]
            self.events += output.events
            self.position = output.position or self.position
            if not output.more:
                return self.values[start:]


def lines(*values: int) -> str:
    return "".join(f"2026-01-01 00:00:{value:02d},{value}\n" for value in values)


def tail(tmp_path: Path, play: Any) -> None:
    asyncio.run(play(Log(tmp_path)))


def test_tail_leaves_a_partial_last_line(tmp_path: Path) -> None:
    async def play(log: Log) -> None:
        log.write("time,value\n" + lines(1) + "2026-01-01 00:00:02,")
        await log.driver.open(None)
        assert await log.drain() == [1]
        log.write("2\n")
        assert await log.drain() == [2]
        await log.driver.close()

    tail(tmp_path, play)


def test_tail_goes_on_after_a_crash_where_it_was(tmp_path: Path) -> None:
    async def play(log: Log) -> None:
        log.write("time,value\n" + lines(1, 2))
        await log.driver.open(None)
        assert await log.drain() == [1, 2]
        log.write(lines(3))
        await log.reopen()
        assert await log.drain() == [3]
        await log.driver.close()

    tail(tmp_path, play)


@pytest.mark.parametrize("down", [False, True])
def test_tail_follows_a_rotation(tmp_path: Path, *, down: bool) -> None:
    async def play(log: Log) -> None:
        log.write("time,value\n" + lines(1))
        await log.driver.open(None)
        assert await log.drain() == [1]
        log.write(lines(2) + lines(3).strip())
        log.path.rename(tmp_path / "log.csv.1")
        log.write("value,time\n4,2026-01-01 00:00:04\n")
        if down:
            await log.reopen()
        assert await log.drain() == [2, 3, 4]
        await log.driver.close()

    tail(tmp_path, play)


@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("text", [lines(5), lines(5, 6, 7, 8, 9)])
def test_tail_notices_a_file_written_anew(tmp_path: Path, *, down: bool, text: str) -> None:
    async def play(log: Log) -> None:
        log.write("time,value\n" + lines(1, 2, 3))
        await log.driver.open(None)
        assert await log.drain() == [1, 2, 3]
        log.write("time,value\n" + text, "w")
        if down:
            await log.reopen()
        assert await log.drain() == [int(line[-1]) for line in text.split()[1::2]]
        await log.driver.close()

    tail(tmp_path, play)


def test_tail_waits_while_the_file_is_away(tmp_path: Path) -> None:
    async def play(log: Log) -> None:
        log.write("time,value\n" + lines(1))
        await log.driver.open(None)
        assert await log.drain() == [1]
        log.path.unlink()
        assert await log.drain() == []
        log.write("time,value\n" + lines(2))
        assert await log.drain() == [2]
        await log.driver.close()

    tail(tmp_path, play)


def test_tail_passes_over_bad_lines_and_says_so_at_a_bounded_rate(tmp_path: Path) -> None:
    async def play(log: Log) -> None:
        log.write("time,value\n")
        await log.driver.open(None)
        for nth in range(40):
            log.write("rubbish\n" + lines(nth % 60))
            assert await log.drain() == [nth]
        assert [event.data["count"] for event in log.events] == [1, 2, 4, 8, 16, 32]
        log.write("x" * 600_000)
        assert await log.drain() == []
        log.write("\n" + lines(1))
        assert await log.drain() == [1]
        await log.driver.close()

    tail(tmp_path, play)


def test_tail_reads_a_real_recording_exactly(tmp_path: Path) -> None:
    source = recordings() / "water" / "trout_creek_Log00017.txt"
    profile = Profile.model_validate(
        {
            "id": "gauge",
            "device_class": "water",
            "title": {"en": "gauge"},
            "metrics": {name: {"title": {"en": name}} for name in ("battery", "range")},
            "tail": {
                "skip": ["Lib"],
                "header": True,
                "time": ["Time [UTC]"],
                "time_format": "%Y/%m/%d %H:%M:%S",
                "columns": {"battery": {"column": "Bat [V]"}, "range": {"column": "Range [cm]"}},
            },
        }
    )

    async def play() -> list[Any]:
        settings = {"path": str(source)}
        driver = await opened(Bench(TailDriver, profile, settings, {}, tmp_path).driver())
        rows: list[Any] = []
        more = True
        while more:
            output = await driver.read()
            assert len(output.rows) <= 1_000
            assert not output.events
            rows += output.rows
            more = output.more
        await driver.close()
        return rows

    rows = asyncio.run(play())
    assert len(rows) == 15_780
    assert (rows[0].t, rows[0].values) == (1_629_320_154_000, {"battery": 4.74, "range": 367})
    assert min(row.values["battery"] for row in rows) == 4.36
    assert max(row.values["range"] for row in rows) == 382


def test_tail_a_very_wide_header_is_a_position_that_can_be_kept(tmp_path: Path) -> None:
    columns = ",".join(f"другое-{n}" for n in range(3_000))
    (tmp_path / "log.csv").write_text(f"time,value,{columns}\n2026-01-01 00:00:00,1\n")

    async def play() -> Output:
        driver = await opened(Bench(TailDriver, LOG, {"path": "log.csv"}, {}, tmp_path).driver())
        output = await driver.read()
        await driver.close()
        return output

    output = asyncio.run(play())
    assert [row.values for row in output.rows] == [{"v": 1}]
    assert len(json.dumps(output.position)) > 64 * 1024
    assert flaw(output) == ""


# simulated


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Answer as a device does that happened to have two events."""
    if request["device"] != "kiosk-1":
        return {"error": {"kind": "fatal", "detail": "no such device"}}
    match request["op"]:
        case "read":
            events = [{"t": n, "name": "paper_out", "data": {"n": n}} for n in (1, 2) if n > request["seen"]]
            return {"t": 5, "metrics": {"value": 1.5}, "quality": {}, "events": events, "next": 2}
        case "command" if request["name"] == "lend":
            return {"data": {"lease": request.get("lease_s")}}
        case "configure":
            return {"document": request["document"]}
        case _:
            return {"error": {"kind": "rejected", "detail": "no such command"}}


@contextmanager
def face(says: Callable[[dict[str, Any]], object] = answer) -> Iterator[int]:
    """A device behind the JSON face."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for line in self.rfile:
                request = json.loads(line)
                self.wfile.write(json.dumps(says(request)).encode() + b"\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_simulated_repeats_events_until_they_are_durable() -> None:
    async def play(port: int) -> None:
        driver = Bench(SimulatedDriver, FACE, {"port": port, "device": "kiosk-1"}, {}).driver()
        await driver.open(None)
        first = await driver.read()
        assert [event.t for event in first.events] == [1, 2]
        assert (first.rows[0].values, first.rows[0].t) == ({"v": 1.5}, 5)
        await driver.close()
        await driver.open(None)
        assert len((await driver.read()).events) == 2, "not durable: told again"
        await driver.close()
        await driver.open(first.position)
        assert (await driver.read()).events == []
        assert await driver.command("lend", {}, 9) == {"lease": 9}
        assert await driver.configure({"a": 1}) == {"a": 1}
        await driver.close()

    with face() as port:
        asyncio.run(play(port))


def test_simulated_a_device_that_is_not_there_is_fatal() -> None:
    async def play(port: int) -> None:
        driver = await opened(Bench(SimulatedDriver, FACE, {"port": port, "device": "kiosk-2"}, {}).driver())
        with pytest.raises(Fatal, match="no such device"):
            await driver.read()
        await driver.close()

    with face() as port:
        asyncio.run(play(port))


@pytest.mark.parametrize(
    "said",
    [
        {"metrics": {"v": 1}, "t": "soon"},
        {"metrics": {"v": 1}, "t": 10**30},
        {"metrics": {"PM2.5": 1}},
        {"metrics": {"v": 1}, "quality": {"v": "fine"}},
        {"events": [{"name": "paper_out", "t": -(10**30)}]},
        {"events": 5},
        {"next": float("inf")},
        {"error": {"detail": "two\nlines"}},
        {"error": {"detail": " "}},
        [],
    ],
)
def test_simulated_what_is_no_answer_is_said_in_one_line(said: object) -> None:
    async def play(port: int) -> None:
        driver = await opened(Bench(SimulatedDriver, FACE, {"port": port, "device": "kiosk-1"}, {}).driver())
        with pytest.raises(Retriable) as caught:
            await driver.read()
        assert str(caught.value).isprintable()
        assert str(caught.value).strip()
        await driver.close()

    with face(lambda _: said) as port:
        asyncio.run(play(port))
