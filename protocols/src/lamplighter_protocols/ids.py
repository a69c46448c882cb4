"""Identifiers: agents, devices, metrics, and ULIDs for everything that happens once.

>>> agent_id("kiosk-3")
'kiosk-3'
>>> new_ulid(1795476672123, bytes(10))
'01M85BZKKV0000000000000000'
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import StringConstraints

from lamplighter_protocols.errors import BadTopic

ID_PATTERN: Final = r"^[a-z0-9][a-z0-9-]{0,63}\Z"
NAME_PATTERN: Final = r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*\Z"

# pydantic's own regex engine knows `$` as the end of the text and has no `\Z`.
AgentId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", strict=True)]
DeviceId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", strict=True)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$", max_length=64, strict=True)]
Ulid = Annotated[str, StringConstraints(pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$", strict=True)]

_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID: Final = re.compile(ID_PATTERN)


def agent_id(text: str) -> str:
    """Return the text if it is a valid agent or device id; raise BadTopic otherwise."""
    if not _ID.match(text):
        raise BadTopic(f"{text[:80]!r} is not an id: 1 to 64 of a-z 0-9 -, starting with a letter or digit", "id")
    return text


def new_ulid(now_ms: int, randomness: bytes) -> str:
    """Build a ULID: 48 bits of milliseconds and 80 random bits in Crockford's base 32 (ulid/spec).

    `randomness` holds ten bytes, so that the function stays pure; callers pass `os.urandom(10)`.
    """
    number = (now_ms << 80) | int.from_bytes(randomness[:10], "big")
    return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))
