"""The wire contract as files: what must be understood, and what must be refused with which word about which field.

Each file under v1/ says a topic and a payload: `payload` (sent as JSON), `text` or `base64` (sent as it stands). Valid
ones say what is understood (`expect`), invalid ones the error's `code` and `field`. Files are frozen: what was once
said on the wire must be understood for ever. A new file is added to FROZEN with `sha256sum`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lamplighter_protocols import envelope
from lamplighter_protocols.commands import Cancel, Command, Fetch
from lamplighter_protocols.configuration import Desired
from lamplighter_protocols.errors import WireError
from lamplighter_protocols.field.senml import decode_pack
from lamplighter_protocols.model import WireModel, parse_model
from lamplighter_protocols.presence import Birth, Presence
from lamplighter_protocols.records import BadRecord, Header, Receipt, parse_batch
from lamplighter_protocols.signing import open_signed, read_signed, sign
from lamplighter_protocols.topics import Channel, build, parse

V1 = Path(__file__).parent / "v1"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KID = "contract-1"
NOW_MS = 1_795_476_673_001
SIGNED: dict[str, type[WireModel]] = {"command": Command, "cancel": Cancel, "fetch": Fetch, "configuration": Desired}
PLAIN: dict[Channel, type[WireModel]] = {
    Channel.BIRTH: Birth,
    Channel.PRESENCE: Presence,
    Channel.RECEIPT: Receipt,
}


def vectors(kind: str) -> list[Any]:
    paths = sorted((V1 / kind).glob("*.json"))
    return [pytest.param(json.loads(path.read_text("utf-8")), id=path.stem) for path in paths]


def raw(vector: dict[str, Any]) -> bytes:
    if "base64" in vector:
        return base64.b64decode(vector["base64"])
    return vector["text"].encode() if "text" in vector else json.dumps(vector["payload"]).encode()


def trusted(kid: str, signing_input: bytes, signature: bytes) -> bool:
    try:
        KEY.public_key().verify(signature, signing_input)
    except InvalidSignature:
        return False
    return kid == KID


def understand(topic: str, payload: bytes) -> Any:
    """Read a message as its receiver does, and check that it can be said again."""
    channel = parse(topic).channel
    if channel is Channel.BATCH:
        return understand_batch(payload)
    if channel is Channel.SENML:
        return [list(record) for record in decode_pack(payload, NOW_MS)]
    if channel in PLAIN:
        message = parse_model(PLAIN[channel], payload)
        assert parse_model(PLAIN[channel], envelope.encode(message)) == message
        return message.model_dump(mode="json")
    model = SIGNED[json.loads(open_signed(payload, trusted))["type"]]
    document = read_signed(model, payload, trusted)
    assert read_signed(model, sign(document, KID, KEY.sign), trusted) == document
    return document.model_dump(mode="json")


def understand_batch(payload: bytes) -> dict[str, Any]:
    header, records = parse_batch(payload)
    bad = [record.error for record in records if isinstance(record, BadRecord)]
    if bad:
        raise bad[0]
    fields = {name: getattr(header, name) for name in Header.model_fields}
    again = parse_batch(envelope.encode(fields | {"records": records}))
    assert again[1] == records
    dumped = Header.model_validate(fields).model_dump(mode="json")
    return dumped | {"records": [r.model_dump(mode="json") for r in records if not isinstance(r, BadRecord)]}


def known_then(found: Any, expect: Any) -> Any:
    """Leave out fields that the contract was given after the vector was frozen: empty, because nobody said them."""
    if isinstance(found, dict) and isinstance(expect, dict):
        return {name: known_then(value, expect.get(name)) for name, value in found.items() if value or name in expect}
    if isinstance(found, list) and isinstance(expect, list) and len(found) == len(expect):
        return [known_then(*pair) for pair in zip(found, expect, strict=True)]
    return found


@pytest.mark.parametrize("vector", vectors("valid"))
def test_valid_is_understood(vector: dict[str, Any]) -> None:
    assert known_then(understand(vector["topic"], raw(vector)), vector["expect"]) == vector["expect"]
    assert build(*parse(vector["topic"])) == vector["topic"]


@pytest.mark.parametrize("vector", vectors("invalid"))
def test_invalid_is_refused_by_name(vector: dict[str, Any]) -> None:
    with pytest.raises(WireError) as caught:
        understand(vector["topic"], raw(vector))
    assert {"code": caught.value.code, "field": caught.value.field} == vector["error"]
    assert caught.value.detail
    assert "\n" not in str(caught.value)


def test_vectors_are_frozen() -> None:
    lines = (V1 / "FROZEN").read_text("ascii").splitlines()
    frozen = {name: digest for digest, name in (line.split("  ") for line in lines)}
    present = {
        path.relative_to(V1).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in V1.rglob("*.json")
    }
    assert present == frozen, "a vector was changed or is not in FROZEN: add a new file instead of changing an old one"
    assert len(frozen) >= 60
