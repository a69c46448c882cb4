"""The hub's signing keys: Ed25519, one that signs and perhaps a second that is still (or already) valid.

`DIR/keys/KID.pem` holds each, readable by its owner only. The newest signs. `rotate` makes the next one and keeps the
present one valid, so that agents that have not met the new key yet still obey. The files are PKCS #8 in PEM, as
`openssl genpkey -algorithm ed25519` makes them (RFC 8410, section 7).

libsodium signs, because the broker's callout has it in memory anyway; a second library for it took 9 MB more.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
from pathlib import Path
from typing import Final, NamedTuple

from nacl.signing import SigningKey

from lamplighter_protocols import signing
from lamplighter_protocols.errors import LamplighterError
from lamplighter_protocols.model import WireModel

MAX_KEYS: Final = 2
_BEGIN, _END = (b"-----%b PRIVATE KEY-----" % word for word in (b"BEGIN", b"END"))
_PEM: Final = re.compile(_BEGIN + rb"\s+([A-Za-z0-9+/]{64})\s+" + _END)
_BEFORE_SEED: Final = bytes.fromhex("302e020100300506032b657004220420")
"""What stands in PKCS #8 before the 32 bytes of an Ed25519 key: version 0, the algorithm, two lengths."""


class BadKey(LamplighterError):
    """A file among the hub's keys is none; the text names it."""


class PublicKey(NamedTuple):
    """A key that agents shall trust; `public_key` is the raw 32 bytes in base64url without padding."""

    kid: str
    public_key: str


class HubKeys:
    """Signs what goes down. Call `load` before anything else."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "keys"
        self._keys: list[tuple[str, SigningKey]] = []

    def load(self) -> None:
        """Read the keys, newest first; make the first one when there is none. Raises BadKey."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = sorted((path.stem for path in self._folder.glob("*.pem")), reverse=True)[:MAX_KEYS]
        self._keys = [(name, self._read(name)) for name in names]
        if not self._keys:
            self.rotate()

    def rotate(self) -> None:
        """Make a new key that signs from now on; the one before stays valid, older ones are removed."""
        number = 1 + max((int(kid.split("-")[0]) for kid, _ in self._keys), default=0)
        kid = f"{number:06d}-{secrets.token_hex(3)}"
        key = SigningKey.generate()
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
        return signing.sign(document, kid, lambda text: key.sign(text).signature)

    def public(self) -> list[PublicKey]:
        """Return every key that is valid now, the signing one first."""
        return [PublicKey(kid, _base64url(key)) for kid, key in self._keys]

    def _path(self, kid: str) -> Path:
        return self._folder / f"{kid}.pem"

    def _read(self, kid: str) -> SigningKey:
        seed = _seed(self._path(kid).read_bytes())
        if seed is None:
            raise BadKey(f"{self._path(kid)} holds no Ed25519 key; move it away, and a new one is made")
        return SigningKey(seed)

    def _write(self, kid: str, key: SigningKey) -> None:
        write_private(self._path(kid), _pem(bytes(key)))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def _seed(pem: bytes) -> bytes | None:
    """Return the 32 bytes of a key in a file; None when it holds no Ed25519 key."""
    found = _PEM.search(pem)
    content = base64.b64decode(found[1]) if found else b""
    return content.removeprefix(_BEFORE_SEED) if content.startswith(_BEFORE_SEED) else None


def _pem(seed: bytes) -> bytes:
    return b"\n".join((_BEGIN, base64.b64encode(_BEFORE_SEED + seed), _END, b""))


def _base64url(key: SigningKey) -> str:
    return base64.urlsafe_b64encode(bytes(key.verify_key)).rstrip(b"=").decode()
