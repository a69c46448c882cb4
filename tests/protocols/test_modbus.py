"""Registers: which blocks are read, what the words mean, and what is written back."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamplighter_protocols.errors import BadField
from lamplighter_protocols.field.modbus import MAX_BITS, MAX_WORDS, Block, decode, encode_write, plan_reads, writes
from lamplighter_protocols.profile import ModbusMap, ModbusWrite, load_profiles
from lamplighter_protocols.readings import Quality


def device(registers: dict[str, dict[str, Any]], **rest: Any) -> ModbusMap:
    return ModbusMap.model_validate({"registers": registers, **rest})


def value_of(words: list[int], **register: Any) -> tuple[Any, Quality | None]:
    values, quality = decode(
        device({"x": {"address": 0, **register}}), {("holding", at): word for at, word in enumerate(words)}
    )
    return values.get("x"), quality.get("x")


SIMPLE: list[tuple[list[int], dict[str, Any], Any]] = [
    ([65535], {"type": "uint16"}, 65535.0),
    ([65535], {"type": "int16"}, -1.0),
    ([0x8000], {"type": "int16", "scale": 0.1}, -3276.8),
    ([123], {"scale": 0.1}, 12.3),
    ([3], {"scale": 0.1}, 0.3),
    ([1], {"scale": 0.005, "offset": -0.1}, -0.095),
    ([2981], {"scale": 0.1, "offset": -273.15}, 24.95),
    ([7], {"scale": 0.5}, 3.5),
    ([1, 0], {"type": "uint32"}, 65536.0),
    ([1, 0], {"type": "uint32", "word_order": "little"}, 1.0),
    ([0xFFFF, 0xFFFE], {"type": "int32"}, -2.0),
    ([0, 0, 1, 0], {"type": "uint64"}, 65536.0),
    ([0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF], {"type": "int64"}, -1.0),
    ([0x3DCC, 0xCCCD], {"type": "float32"}, 0.1),
    ([0xCCCD, 0x3DCC], {"type": "float32", "word_order": "little"}, 0.1),
    ([0x4009, 0x21FB, 0x5444, 0x2D18], {"type": "float64"}, math.pi),
    ([0b1000], {"type": "bit", "bit": 3}, True),
    ([0b0111], {"type": "bit", "bit": 3}, False),
    ([2], {"labels": {"2": "open"}}, "open"),
]


@pytest.mark.parametrize(("words", "register", "wanted"), SIMPLE)
def test_words_become_values(words: list[int], register: dict[str, Any], wanted: Any) -> None:
    value, quality = value_of(words, **register)
    assert (type(value), value, quality) == (type(wanted), wanted, None)


@pytest.mark.parametrize(
    ("words", "register", "wanted"),
    [
        ([0xFFFF], {"sentinels": {"0xffff": "sensor_fault"}}, (None, "sensor_fault")),
        ([0xFFFE], {"sentinels": {"65534": "warming_up"}}, (None, "warming_up")),
        ([0xFC19], {"type": "int16", "sentinels": {"-999": "no_data"}}, (None, "no_data")),
        ([0xC479, 0xC000], {"type": "float32", "sentinels": {"-999": "no_data"}}, (None, "no_data")),
        ([0x7FC0, 0], {"type": "float32"}, (None, "sensor_fault")),
        ([0x7F80, 0], {"type": "float32"}, (None, "sensor_fault")),
        ([9], {"labels": {"0": "off"}}, ("9", "suspect")),
        ([1], {"type": "uint32"}, (None, "no_data")),
        ([], {}, (None, "no_data")),
    ],
)
def test_what_is_no_reading(words: list[int], register: dict[str, Any], wanted: tuple[Any, str]) -> None:
    assert value_of(words, **register) == wanted


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float32_keeps_its_value_and_gains_no_digits(number: float) -> None:
    words = list(struct.unpack(">HH", struct.pack(">f", number)))
    value, _ = value_of(words, type="float32")
    assert struct.pack(">f", value) == struct.pack(">f", number)
    assert len(repr(value).partition("e")[0].replace(".", "").strip("-0")) <= 9


@given(st.integers(0, 65535), st.sampled_from([0.1, 0.01, 0.001, 0.5, 0.25, 10]))
def test_scaled_values_have_no_dust(word: int, scale: float) -> None:
    value, _ = value_of([word], scale=scale)
    assert len(repr(value).partition(".")[2]) <= 3


@given(
    st.dictionaries(
        st.integers(0, 3_000),
        st.tuples(st.sampled_from(["holding", "input", "coil"]), st.sampled_from(["uint16", "int32", "float64"])),
        min_size=1,
        max_size=60,
    ),
    st.integers(0, 100),
)
def test_blocks_cover_every_register_within_the_limits(places: dict[int, tuple[str, str]], gap: int) -> None:
    registers: dict[str, Any] = {
        f"r{at}": {"address": at, "table": table, "type": kind} for at, (table, kind) in places.items()
    }
    map_ = device(registers, max_gap=gap)
    blocks = plan_reads(map_)
    covered = {(block.table, block.address + nth) for block in blocks for nth in range(block.count)}
    wanted = {(r.table, r.address + nth) for r in map_.registers.values() for nth in range(r.words)}
    assert wanted <= covered
    assert all(block.count <= (MAX_BITS if block.table == "coil" else MAX_WORDS) for block in blocks)
    for block in blocks:  # a register is never read in two halves, and no block begins or ends with nothing
        ends = {(block.table, block.address), (block.table, block.address + block.count - 1)}
        assert ends <= wanted
    values, quality = decode(map_, dict.fromkeys(covered, 0))
    assert values.keys() == registers.keys()
    assert quality == {}


def test_gaps_are_read_over_only_when_they_are_small() -> None:
    registers: dict[str, Any] = {"a": {"address": 10}, "b": {"address": 14, "type": "float32"}, "c": {"address": 40}}
    assert plan_reads(device(registers, max_gap=3)) == [Block("holding", 10, 6), Block("holding", 40, 1)]
    assert plan_reads(device(registers, max_gap=2, base=1)) == [
        Block("holding", 9, 1),
        Block("holding", 13, 2),
        Block("holding", 39, 1),
    ]


@pytest.mark.parametrize(
    ("write", "value", "words"),
    [
        ({}, 300, [300]),
        ({"scale": 0.1}, 12.3, [123]),
        ({"scale": 0.1}, 0.29, [3]),
        ({"type": "int16", "scale": 0.1}, -0.5, [0xFFFB]),
        ({"type": "uint32"}, 65_537, [1, 1]),
        ({"type": "uint32", "word_order": "little"}, 65_538, [2, 1]),
        ({"type": "float32"}, 0.1, [0x3DCC, 0xCCCD]),
        ({"table": "coil", "type": "bit"}, True, True),
        ({"table": "coil", "type": "bit"}, 0, False),
    ],
)
def test_values_become_words(write: dict[str, Any], value: float, words: Any) -> None:
    assert encode_write(ModbusWrite.model_validate({"address": 0, **write}), value) == words


@pytest.mark.parametrize(
    ("write", "value"),
    [
        ({}, -1),
        ({}, 65_536),
        ({}, "1"),
        ({}, True),
        ({}, float("nan")),
        ({}, 10**400),
        ({"type": "int16"}, 40_000),
        ({"type": "float32"}, 1e39),
        ({"table": "coil", "type": "bit"}, 2),
        ({"table": "coil", "type": "bit"}, "true"),
    ],
)
def test_what_does_not_fit_is_refused(write: dict[str, Any], value: Any) -> None:
    with pytest.raises(BadField) as caught:
        encode_write(ModbusWrite.model_validate({"address": 0, "arg": "level", **write}), value)
    assert caught.value.field == "level"


@given(st.integers(-32_768, 32_767), st.sampled_from([1.0, 0.1, 0.01, 0.5]))
def test_what_is_written_is_read_back(raw: int, scale: float) -> None:
    value, _ = value_of([raw & 0xFFFF], type="int16", scale=scale)
    write = ModbusWrite.model_validate({"address": 0, "type": "int16", "scale": scale})
    assert encode_write(write, value) == [raw & 0xFFFF]


def test_the_writes_of_a_command() -> None:
    gauge = load_profiles()["flood-gauge"].modbus
    assert gauge is not None
    assert [*writes(gauge, "test_beacon", {"seconds": 10})] == [("holding", 40, [10]), ("coil", 1, True)]
    with pytest.raises(BadField, match="seconds: is required"):
        list(writes(gauge, "test_beacon", {}))
