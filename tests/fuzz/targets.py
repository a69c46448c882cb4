"""What takes bytes from outside: a corpus of good inputs each, and a function that raises only what is documented."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

from contract.test_vectors import KEY, KID, NOW_MS, PLAIN, SIGNED, V1, raw, trusted
from fuzz.agent_targets import agent_targets
from fuzz.device_targets import device_targets
from fuzz.hub_sides import hub_sides
from fuzz.hub_targets import hub_targets
from fuzz.kinds import Feed, Target
from lamplighter_agent.errors import AgentError
from lamplighter_agent.settings import load
from lamplighter_protocols import envelope, topics
from lamplighter_protocols.errors import BadField, LamplighterError
from lamplighter_protocols.field.modbus import decode
from lamplighter_protocols.field.senml import decode_pack, to_readings
from lamplighter_protocols.field.tail import LineCodec
from lamplighter_protocols.model import WireModel, parse_model
from lamplighter_protocols.profile import Profile, load_profiles, parse_profile
from lamplighter_protocols.quality import check_record
from lamplighter_protocols.readings import ReadingsRecord
from lamplighter_protocols.records import parse_batch
from lamplighter_protocols.signing import open_signed, sign
from lamplighter_protocols.topics import Channel

DOCUMENTED: Final = (LamplighterError, AgentError)
"""The only errors that input may cause."""
AGENT: Final = """data = "state"
heard_within_s = 5
[link]
linger_s = 0.5
backlog_share = 0.5
[outbox]
max_bytes = 65536
[[devices]]
id = "air-1"
profile = "air-station"
driver = "modbus"
interval_s = 1.0
timeout_s = 3.0
[devices.settings]
host = "127.0.0.1"
port = 502
unit = 1
"""


def targets(folder: Path) -> Iterator[Target]:
    """Yield all of them; `folder` is for what is read from files."""
    profiles = load_profiles()
    messages = list(_vectors())
    plain = tuple(payload for _, payload in messages)
    yield Target("envelope", plain, envelope.decode)
    yield Target("topic", tuple(topic.encode() for topic, _ in messages), _topic)
    yield Target("batch", _of(messages, Channel.BATCH), _batch(profiles))
    for channel, model in PLAIN.items():
        yield Target(str(channel), _of(messages, channel), _model(model))
    signed, bodies = tuple(_signed(messages)), tuple(_bodies(messages))
    yield Target("signed", signed, _open)
    yield Target("signed-body", bodies, _body)
    yield Target("senml", _of(messages, Channel.SENML), _senml(profiles))
    yield Target("modbus-registers", (bytes(range(256)), b"\xff" * 64, bytes(512)), _modbus(profiles))
    yield Target("tail-lines", tuple(_lines(profiles)), _tail(profiles))
    yield Target("profile", tuple(_texts()), _profile)
    yield Target("agent-settings", (AGENT.encode(),), _settings(folder / "agent.toml"))
    yield from hub_targets(folder, _of(messages, Channel.BATCH))
    yield from hub_sides(folder, messages)
    yield from agent_targets(folder, _of(messages, Channel.RECEIPT) + signed, bodies)
    yield from device_targets(folder)


def _vectors() -> Iterator[tuple[str, bytes]]:
    for path in sorted(V1.rglob("*.json")):
        vector = json.loads(path.read_text("utf-8"))
        yield vector["topic"], raw(vector)


def _of(messages: list[tuple[str, bytes]], channel: Channel) -> tuple[bytes, ...]:
    return tuple(payload for topic, payload in messages if f"/{channel}" in topic)


def _topic(payload: bytes) -> object:
    return topics.parse(payload.decode("utf-8", "replace"))


def _batch(profiles: dict[str, Profile]) -> Feed:
    chosen = list(profiles.values())

    def feed(payload: bytes) -> None:
        _, records = parse_batch(payload)
        for number, record in enumerate(records):
            if isinstance(record, ReadingsRecord):
                check_record(chosen[number % len(chosen)], record)

    return feed


def _model(model: type[WireModel]) -> Feed:
    return lambda payload: parse_model(model, payload)


def _signed(messages: list[tuple[str, bytes]]) -> Iterator[bytes]:
    return (payload for _, payload in messages if payload.count(b".") >= 2 and payload[:1] not in b"{[x")


def _open(payload: bytes) -> object:
    return open_signed(payload, trusted)


def _bodies(messages: list[tuple[str, bytes]]) -> Iterator[bytes]:
    for payload in _signed(messages):
        try:
            yield open_signed(payload, trusted)
        except LamplighterError:
            continue


def _body(payload: bytes) -> None:
    """What a hub might sign whose own input was not what it should be."""
    refused: LamplighterError | None = None
    for model in SIGNED.values():
        try:
            document = parse_model(model, payload)
        except LamplighterError as error:
            refused = error
            continue
        open_signed(sign(document, KID, KEY.sign), trusted)
        return
    if refused:
        raise refused


def _senml(profiles: dict[str, Profile]) -> Feed:
    air = profiles["air-station"]

    def feed(payload: bytes) -> None:
        decode_pack(payload, NOW_MS)
        to_readings(air, "air-1", payload, NOW_MS)

    return feed


def _modbus(profiles: dict[str, Profile]) -> Feed:
    maps = [profile.modbus for profile in profiles.values() if profile.modbus]

    def feed(payload: bytes) -> None:
        words = [int.from_bytes(payload[at : at + 2], "big") for at in range(0, len(payload), 2)]
        for device in maps:
            registers = device.registers.values()
            places = {(r.table, r.address - device.base + nth) for r in registers for nth in range(r.words)}
            decode(device, dict(zip(sorted(places), words, strict=False)))

    return feed


def _lines(profiles: dict[str, Profile]) -> Iterator[bytes]:
    for profile in profiles.values():
        for example in profile.examples:
            if example.line:
                yield f"{example.header}\n{example.line}".encode()


def _tail(profiles: dict[str, Profile]) -> Feed:
    logged = [profile for profile in profiles.values() if profile.tail]

    def feed(payload: bytes) -> None:
        header, _, rest = payload.decode("utf-8", "replace").partition("\n")
        for profile in logged:
            assert profile.tail is not None
            codec = LineCodec(profile.tail, profile.metrics, header)
            found = [codec.feed(line) for line in rest.split("\n")[:50]]
            if found and isinstance(found[-1], BadField):
                raise found[-1]

    return feed


def _texts() -> Iterator[bytes]:
    with resources.as_file(resources.files("lamplighter_protocols") / "profiles") as folder:
        for path in sorted(folder.rglob("*.toml")):
            yield path.read_bytes()


def _profile(payload: bytes) -> object:
    return parse_profile(payload.decode("utf-8", "replace"), "profile.toml")


def _settings(file: Path) -> Feed:
    def feed(payload: bytes) -> None:
        file.write_bytes(payload)
        load(file)

    return feed
