"""Ed25519 signatures of the hub: the only module that knows a cryptography library."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from lamplighter_agent.errors import StateUnreadable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class TrustedKeys:
    """The hub's public keys by `kid`, each 32 bytes in base64url. Two may be valid at once, for rotation."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._encoded = dict(keys)

    @cached_property
    def _keys(self) -> dict[str, Ed25519PublicKey]:
        # OpenSSL costs 5 MB; an agent that is never commanded does not load it.
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        return {kid: Ed25519PublicKey.from_public_bytes(raw_key(kid, text)) for kid, text in self._encoded.items()}

    def verify(self, kid: str, signed: bytes, signature: bytes) -> bool:
        """True when the signature over `signed` is that of a trusted key with this `kid`."""
        from cryptography.exceptions import InvalidSignature

        key = self._keys.get(kid)
        if key is None:
            return False
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            return False
        return True


def raw_key(kid: str, text: str) -> bytes:
    """Return the 32 bytes of a public key. Raises StateUnreadable."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:
        raise StateUnreadable(f"hub key {kid!r} is not 32 bytes in base64url; enrol again")
    return raw


def check(keys: Iterable[tuple[str, str]]) -> None:
    """Raise StateUnreadable when one of the (kid, public key) pairs is not an Ed25519 public key."""
    for kid, text in keys:
        raw_key(kid, text)
