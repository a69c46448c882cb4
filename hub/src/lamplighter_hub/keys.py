"""The hub's signing keys: Ed25519, one that signs and perhaps a second that is still (or already) valid.

`DIR/keys/KID.pem` holds each, readable by its owner only. The newest signs. `rotate` makes the next one and keeps the
present one valid, so that agents that have not met the new key yet still obey.
"""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from lamplighter_protocols import signing
from lamplighter_protocols.model import WireModel

MAX_KEYS: Final = 2


class PublicKey(NamedTuple):
    """A key that agents shall trust; `public_key` is the raw 32 bytes in base64url without padding."""

    kid: str
    public_key: str


class HubKeys:
    """Signs what goes down. Call `load` before anything else."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "keys"
        self._keys: list[tuple[str, Ed25519PrivateKey]] = []

    def load(self) -> None:
        """Read the keys, newest first; make the first one when there is none."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = sorted((path.stem for path in self._folder.glob("*.pem")), reverse=True)[:MAX_KEYS]
        self._keys = [(name, self._read(name)) for name in names]
        if not self._keys:
            self.rotate()

    def rotate(self) -> None:
        """Make a new key that signs from now on; the one before stays valid, older ones are removed."""
        number = 1 + max((int(kid.split("-")[0]) for kid, _ in self._keys), default=0)
        kid = f"{number:06d}-{secrets.token_hex(3)}"
        key = Ed25519PrivateKey.generate()
        self._write(kid, key)
        kept, gone = self._keys[: MAX_KEYS - 1], self._keys[MAX_KEYS - 1 :]
        self._keys = [(kid, key), *kept]
        for old, _ in gone:
            self._path(old).unlink()

    def backup(self, folder: Path) -> None:
        """Write copies of all keys into a data folder, readable by their owner only."""
        copies = HubKeys(folder)
        copies._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for kid, key in self._keys:
            copies._write(kid, key)

    def sign(self, document: WireModel) -> bytes:
        """Return the document as a JWS under the newest key."""
        kid, key = self._keys[0]
        return signing.sign(document, kid, key.sign)

    def public(self) -> list[PublicKey]:
        """Return every key that is valid now, the signing one first."""
        return [PublicKey(kid, _base64url(key)) for kid, key in self._keys]

    def _path(self, kid: str) -> Path:
        return self._folder / f"{kid}.pem"

    def _read(self, kid: str) -> Ed25519PrivateKey:
        key = load_pem_private_key(self._path(kid).read_bytes(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError(f"{self._path(kid)} holds no Ed25519 key; move it away, and a new one is made")
        return key

    def _write(self, kid: str, key: Ed25519PrivateKey) -> None:
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(self._path(kid), text)


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _base64url(key: Ed25519PrivateKey) -> str:
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
