"""The hub's keys as files that other programs make and read."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed448
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from lamplighter_hub.keys import BadKey, HubKeys
from lamplighter_protocols.commands import Fetch


def written(key: Ed25519PrivateKey | ed448.Ed448PrivateKey, how: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how or NoEncryption())


def public(key: Ed25519PrivateKey) -> str:
    return base64.urlsafe_b64encode(key.public_key().public_bytes_raw()).rstrip(b"=").decode()


def keys_with(data: Path, content: bytes) -> HubKeys:
    (data / "keys").mkdir()
    (data / "keys" / "000001-abcdef.pem").write_bytes(content)
    return HubKeys(data)


def test_a_key_that_openssl_wrote_signs(tmp_path: Path) -> None:
    theirs = Ed25519PrivateKey.generate()
    ours = keys_with(tmp_path, written(theirs))
    ours.load()
    assert [key.public_key for key in ours.public()] == [public(theirs)]
    signed, _, signature = ours.sign(Fetch(agent="agent-1", issued_at=1)).rpartition(b".")
    theirs.public_key().verify(base64.urlsafe_b64decode(signature + b"=="), signed)


def test_openssl_reads_a_key_that_the_hub_wrote(tmp_path: Path) -> None:
    ours = HubKeys(tmp_path)
    ours.load()
    (path,) = (tmp_path / "keys").glob("*.pem")
    theirs = load_pem_private_key(path.read_bytes(), None)
    assert isinstance(theirs, Ed25519PrivateKey)
    assert [key.public_key for key in ours.public()] == [public(theirs)]
    assert path.read_bytes() == written(theirs)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no key",
        written(Ed25519PrivateKey.generate())[:-40],
        written(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"secret")),
        written(ed448.Ed448PrivateKey.generate()),
        written(Ed25519PrivateKey.generate()).replace(b"MC4C", b"MC4D"),
    ],
    ids=["empty", "text", "cut", "encrypted", "another curve", "another document"],
)
def test_a_file_that_holds_no_key_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadKey, match=r"000001-abcdef\.pem holds no Ed25519 key; move it away"):
        keys_with(tmp_path, content).load()
