"""The Modbus face over real sockets: read with pymodbus' client, unpacked with the protocols' own codec."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pymodbus.client import AsyncModbusTcpClient

from lamplighter_firmware_sim.devices.air import AirStation
from lamplighter_firmware_sim.devices.device import Device, Observation
from lamplighter_firmware_sim.devices.flood import FloodGauge
from lamplighter_firmware_sim.devices.installed import Installed
from lamplighter_firmware_sim.devices.noise import SoundLevelMeter
from lamplighter_firmware_sim.faces.modbus_tcp import ModbusTcpFace
from lamplighter_firmware_sim.faces.registers import image, meaning, written
from lamplighter_firmware_sim.faces.standing import StandingRegisters
from lamplighter_firmware_sim.world import FaultKind, Weather
from lamplighter_protocols.field import modbus as codec
from lamplighter_protocols.profile import ModbusMap, ModbusWrite, load_profiles

PROFILES = load_profiles()
DEVICES = pytest.mark.parametrize(
    ("state", "profile"),
    [
        (AirStation(1), "air-station"),
        (AirStation(1).step(20_000, Weather(temperature_c=-12.5)), "air-station"),
        (SoundLevelMeter(1).step(20_000, Weather()), "sound-level-meter"),
        (FloodGauge(1, rain_mm=13_107.6).step(1_000, Weather()), "flood-gauge"),
        (FloodGauge(1, water_m=4.1).step(1_000, Weather()), "flood-gauge"),
    ],
    ids=["air-warming-up", "air-in-frost", "noise", "flood", "flood-submerged"],
)

Client = AsyncModbusTcpClient


class Stand:
    """A device behind a face, and a client."""

    def __init__(self, state: Device, profile: str) -> None:
        self.faults: frozenset[FaultKind] = frozenset()
        self.map = registers_of(profile)
        self.device = Installed("d", state, lambda: 0, lambda: self.faults)
        self.face = ModbusTcpFace(self.map, StandingRegisters(self.device, self.map))


def registers_of(profile: str) -> ModbusMap:
    registers = PROFILES[profile].modbus
    assert registers is not None
    return registers


def standing(state: Device, profile: str, use: Callable[[Stand, Client], Awaitable[None]]) -> None:
    async def run() -> None:
        stand = Stand(state, profile)
        port = await stand.face.start("127.0.0.1", 0)
        client = Client("127.0.0.1", port=port, timeout=2, retries=0, reconnect_delay=0)
        try:
            assert await client.connect()
            await use(stand, client)
        finally:
            client.close()
            await stand.face.stop()

    asyncio.run(run())


async def read_all(client: Client, registers: ModbusMap) -> dict[tuple[str, int], int]:
    raw: dict[tuple[str, int], int] = {}
    for table, address, count in ((block.table, block.address, block.count) for block in codec.plan_reads(registers)):
        call: Any = {
            "holding": client.read_holding_registers,
            "input": client.read_input_registers,
            "coil": client.read_coils,
            "discrete": client.read_discrete_inputs,
        }[table]
        answer = await call(address, count=count, device_id=1)
        assert not answer.isError(), answer
        values = answer.bits if table in ("coil", "discrete") else answer.registers
        raw |= {(table, address + nth): int(value) for nth, value in enumerate(values[:count])}
    return raw


@DEVICES
def test_what_is_read_is_what_the_device_shows(state: Device, profile: str) -> None:
    async def use(stand: Stand, client: Client) -> None:
        values, quality = codec.decode(stand.map, await read_all(client, stand.map))
        shown = stand.device.observe()
        assert {name: str(flag) for name, flag in quality.items()} == dict(shown.quality)
        for name, value in values.items():
            expected = shown.metrics[name]
            register = stand.map.registers[name]
            if isinstance(expected, bool | str):
                assert value == expected
            else:
                near = 1e-6 if register.type == "float32" else register.scale / 2 + 1e-9
                assert value == pytest.approx(expected, abs=near), name
        assert values.keys() | quality.keys() == stand.map.registers.keys()

    standing(state, profile, use)


@pytest.mark.parametrize("name", ["air-station", "sound-level-meter", "flood-gauge"])
def test_the_profiles_examples_come_out_of_our_packing(name: str) -> None:
    profile = PROFILES[name]
    registers = registers_of(name)
    for example in profile.examples:
        if example.modbus:
            known = {key: value for key, value in example.readings.items() if key not in example.quality}
            packed = image(registers, Observation(known, dict(example.quality)), {})
            wanted = {(table, int(at)): word for table, words in example.modbus.items() for at, word in words.items()}
            unlike = {
                place: (hex(word), packed.get(place))
                for place, word in wanted.items()
                if packed.get(place) != word and not _free(registers, place, example.quality)
            }
            assert unlike == {}, example.title


def _free(registers: ModbusMap, place: tuple[str, int], quality: dict[str, str]) -> bool:
    """Whether a word is one of several that mean the same: a quality without a sentinel of its own, an unknown code."""
    for name, register in registers.registers.items():
        first = register.address - registers.base
        if register.table == place[0] and first <= place[1] < first + register.words:
            return name in quality and quality[name] not in register.sentinels.values()
    return False


def test_commands_and_configuration_of_an_air_station() -> None:
    async def use(stand: Stand, client: Client) -> None:
        assert not (await client.write_coil(0, True, device_id=1)).isError()
        assert stand.device.observe().metrics["heater"] is True
        assert (await client.read_coils(0, count=1, device_id=1)).bits[0] is True
        assert not (await client.write_coil(1, True, device_id=1)).isError()
        assert stand.device.observe().quality["pm25"] == "warming_up"
        assert not (await client.write_registers(32, [1_250, 99], device_id=1)).isError()
        assert stand.device.state.configuration() == {"pm25_slope": 1.25, "pm25_alarm": 99.0}
        assert (await client.read_holding_registers(32, count=2, device_id=1)).registers == [1_250, 99]

    standing(AirStation(1), "air-station", use)


def test_a_command_with_an_argument_and_a_trigger() -> None:
    async def use(stand: Stand, client: Client) -> None:
        state = stand.device.state
        assert isinstance(state, FloodGauge)
        assert not (await client.write_register(40, 25, device_id=1)).isError()
        assert stand.device.state == state, "an argument alone does nothing"
        assert not (await client.write_coil(1, True, device_id=1)).isError()
        assert isinstance(stand.device.state, FloodGauge)
        assert stand.device.state.beacon_until_ms == 25_000
        low, high = struct.unpack(">HH", struct.pack(">f", 0.5))[::-1]
        assert not (await client.write_registers(20, [low, high], device_id=1)).isError()
        assert stand.device.state.configuration()["warning_level"] == 0.5

    standing(FloodGauge(1), "flood-gauge", use)


def test_addresses_that_count_from_one() -> None:
    async def use(stand: Stand, client: Client) -> None:
        assert not (await client.write_register(101, 1, device_id=1)).isError()
        assert stand.device.observe().metrics["state"] == "self_test"
        first = (await client.read_input_registers(0, count=1, device_id=1)).registers
        assert first == [0xFFFF], "the microphone hears only itself"
        assert (await client.read_input_registers(0, count=9, device_id=1)).isError(), "beyond the last"

    standing(SoundLevelMeter(1).step(20_000, Weather()), "sound-level-meter", use)


def test_what_is_not_there_is_an_exception_of_the_protocol() -> None:
    async def use(_: Stand, client: Client) -> None:
        assert (await client.read_holding_registers(200, count=1, device_id=1)).exception_code == 2
        assert (await client.read_input_registers(0, count=1, device_id=1)).exception_code == 2
        assert (await client.read_discrete_inputs(0, count=1, device_id=1)).exception_code == 2
        assert (await client.write_register(7, 1, device_id=1)).exception_code == 2, "a measured value"
        assert (await client.write_coil(40, True, device_id=1)).exception_code == 2

    standing(AirStation(1), "air-station", use)


def test_what_the_device_refuses_is_an_illegal_value() -> None:
    async def use(_: Stand, client: Client) -> None:
        await client.write_register(40, 600, device_id=1)
        assert (await client.write_coil(1, True, device_id=1)).exception_code == 3

    standing(FloodGauge(1), "flood-gauge", use)


def test_a_silent_device_does_not_answer_and_comes_back() -> None:
    async def use(stand: Stand, client: Client) -> None:
        from pymodbus.exceptions import ModbusException

        stand.faults = frozenset({FaultKind.SILENT})
        impatient = Client("127.0.0.1", port=client.comm_params.port, timeout=0.3, retries=0, reconnect_delay=0)
        assert await impatient.connect()
        with pytest.raises(ModbusException):
            await impatient.read_holding_registers(3, count=1, device_id=1)
        impatient.close()
        stand.faults = frozenset({FaultKind.SENSOR})
        assert (await client.read_holding_registers(7, count=1, device_id=1)).registers == [0xFFFF]

    standing(AirStation(1).step(20_000, Weather()), "air-station", use)


def test_a_taken_port_is_an_error() -> None:
    async def use(stand: Stand, client: Client) -> None:
        second = ModbusTcpFace(stand.map, StandingRegisters(stand.device, stand.map))
        with pytest.raises(OSError, match="not free"):
            await second.start("127.0.0.1", client.comm_params.port)

    standing(AirStation(1), "air-station", use)


@pytest.mark.parametrize("kind", ["int16", "uint16", "int32", "uint32", "float32"])
@pytest.mark.parametrize("order", ["big", "little"])
def test_writable_registers_pack_both_ways(kind: str, order: str) -> None:
    target = ModbusWrite.model_validate(
        {"address": 1, "type": kind, "word_order": order, "scale": 0.5, "offset": 2.0, "arg": "x"}
    )
    assert meaning(target, written(target, 63.5)) == 63.5
    if kind.startswith("int"):
        assert meaning(target, written(target, -20.0)) == -20.0
