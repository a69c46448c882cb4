"""Signatures with real Ed25519 keys: what is altered, foreign or of another algorithm is never parsed."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from lamplighter_protocols.commands import Cancel
from lamplighter_protocols.errors import BadField, BadSignature
from lamplighter_protocols.signing import MAX_TOKEN, open_signed, read_signed, sign

OLD, NEW, FOREIGN = (Ed25519PrivateKey.from_private_bytes(bytes([n] * 32)) for n in (1, 2, 3))
TRUSTED = {"old": OLD.public_key(), "new": NEW.public_key()}
CANCEL = Cancel(id="01M85BZKKV0000000000000000", agent="kiosk-3", device="printer-1", issued_at=1_795_476_600_000)


def trusted(kid: str, signing_input: bytes, signature: bytes) -> bool:
    if kid not in TRUSTED:
        return False
    try:
        TRUSTED[kid].verify(signature, signing_input)
    except InvalidSignature:
        return False
    return True


def b64(value: Any) -> bytes:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def token(header: Any, payload: Any, key: Ed25519PrivateKey = NEW) -> bytes:
    signing_input = b64(header) + b"." + b64(payload)
    return signing_input + b"." + b64(key.sign(signing_input))


@pytest.mark.parametrize(("kid", "key"), [("old", OLD), ("new", NEW)])
def test_two_keys_may_be_valid_at_once(kid: str, key: Ed25519PrivateKey) -> None:
    assert read_signed(Cancel, sign(CANCEL, kid, key.sign), trusted) == CANCEL


GOOD = {"alg": "EdDSA", "kid": "new"}
FORGED = {
    "foreign key": token(GOOD, {}, FOREIGN),
    "other kid": token(GOOD | {"kid": "old"}, {}),
    "unknown kid": token(GOOD | {"kid": "x"}, {}),
    "no kid": token({"alg": "EdDSA"}, {}),
    "kid is a list": token(GOOD | {"kid": ["new"]}, {}),
    "alg none": token(GOOD | {"alg": "none"}, {}),
    "alg HS256 with the public key as secret": token(GOOD | {"alg": "HS256"}, {}),
    "alg ES256": token(GOOD | {"alg": "ES256"}, {}),
    "alg in lower case": token(GOOD | {"alg": "eddsa"}, {}),
    "critical extension": token(GOOD | {"crit": ["exp"]}, {}),
    "header is a list": token([], {}),
    "header is no JSON": token(b"{", {}),
    "empty signature": token(GOOD, {}).rpartition(b".")[0] + b".",
    "two parts": b"a.b",
    "four parts": token(GOOD, {}) + b".x",
    "plain JSON": CANCEL.model_dump_json().encode(),
    "padded": token(GOOD, {}) + b"=",
    "not base64": b"!.!.!",
    "standard alphabet": b"+/+/." + b"e30." + b"AAAA",
    "too long": b"x" * (MAX_TOKEN + 1),
    "empty": b"",
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_forgeries_are_refused(forged: bytes) -> None:
    with pytest.raises(BadSignature) as caught:
        open_signed(forged, trusted)
    assert caught.value.detail


@given(st.data())
def test_one_changed_character_is_enough(data: st.DataObject) -> None:
    good = sign(CANCEL, "new", NEW.sign)
    at = data.draw(st.integers(0, len(good) - 2))  # the last character carries two unused bits
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != good[at]))
    with pytest.raises(BadSignature):
        open_signed(good[:at] + bytes([other]) + good[at + 1 :], trusted)


def test_well_signed_nonsense_is_still_checked() -> None:
    with pytest.raises(BadField) as caught:
        read_signed(Cancel, token(GOOD, CANCEL.model_dump() | {"device": "Printer 1"}), trusted)
    assert caught.value.field == "device"


def test_a_document_is_not_taken_for_another_type() -> None:
    with pytest.raises(BadField) as caught:
        read_signed(Cancel, token(GOOD, CANCEL.model_dump() | {"type": "command"}), trusted)
    assert caught.value.field == "type"
