"""JWS compact serialisation (RFC 7515) with EdDSA (RFC 8037), without the arithmetic.

Keys stay where they are: the hub passes a function that signs, the agent one that verifies.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

from pydantic_core import from_json, to_json

from lamplighter_protocols.errors import BadSignature
from lamplighter_protocols.model import WireModel, parse_json

MAX_TOKEN: Final = 64 * 1024

Sign = Callable[[bytes], bytes]
"""Signs the JWS signing input with Ed25519; returns 64 bytes."""
Verify = Callable[[str, bytes, bytes], bool]
"""Says whether (kid, signing input, signature) is good under a key that is trusted now."""

Document = TypeVar("Document", bound=WireModel)


def sign(document: WireModel, kid: str, signer: Sign) -> bytes:
    """Return the JWS of a document: header with `alg` EdDSA and `kid`, payload as JSON."""
    header = to_json({"alg": "EdDSA", "kid": kid})
    signing_input = _b64(header) + b"." + _b64(document.model_dump_json().encode())
    return signing_input + b"." + _b64(signer(signing_input))


def open_signed(token: bytes, verifier: Verify) -> bytes:
    """Return the payload of a JWS whose signature is good. Raises BadSignature for everything else."""
    if len(token) > MAX_TOKEN:
        raise BadSignature(f"{len(token)} bytes; at most {MAX_TOKEN} are taken")
    parts = token.split(b".")
    if len(parts) != 3:
        raise BadSignature("not signed: a JWS has three parts")
    header = _header(_unb64(parts[0]))
    kid = header.get("kid")
    if header.get("alg") != "EdDSA" or not isinstance(kid, str) or "crit" in header:
        raise BadSignature("the header is not that of an EdDSA signature with a key id")
    if not verifier(kid, parts[0] + b"." + parts[1], _unb64(parts[2])):
        raise BadSignature(f"not signed by a key that is trusted here (kid {kid[:40]!r})")
    return _unb64(parts[1])


def read_signed(model: type[Document], token: bytes, verifier: Verify) -> Document:
    """Return the document in a JWS, verified first and parsed after. Raises BadSignature or BadField."""
    return parse_json(model, open_signed(token, verifier))


def _header(raw: bytes) -> dict[str, Any]:
    try:
        header = from_json(raw)
    except ValueError:
        raise BadSignature("the header is not JSON") from None
    if not isinstance(header, dict):
        raise BadSignature("the header is not an object")
    return header


def _b64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _unb64(text: bytes) -> bytes:
    if not _BASE64URL.match(text) or len(text) % 4 == 1:
        raise BadSignature("not base64url without padding")
    return base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


_BASE64URL: Final = re.compile(rb"[A-Za-z0-9_-]*\Z")
