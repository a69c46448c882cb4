"""What can be wrong with something that came over the wire, as types.

    LamplighterError
    └── WireError               a message, document or name that the contract does not allow
        ├── BadEnvelope         not JSON, not zlib, too large, too deep
        ├── BadField            one named field is missing, of the wrong type or out of its bounds
        ├── BadTopic            a topic or an id that the scheme does not know
        ├── BadProfile          a profile file that contradicts itself
        ├── BadSignature        unsigned, altered, or signed by a key that is not trusted
        ├── WrongAddress        well signed, for somebody else
        └── IllegalTransition   a command state that cannot follow the one it has

Every error says which field is meant (`field`, a path such as `records.3.m.pm25`) and what to do (`detail`).
"""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import ValidationError

_KINDS: Final = frozenset({"readings", "event", "result", "reported", "dropped"})


class LamplighterError(Exception):
    """Root of everything that Lamplighter raises on purpose."""


class WireError(LamplighterError):
    """A message that the contract does not allow. `code` is stable and machine-readable."""

    code: ClassVar[str] = "bad_message"

    def __init__(self, detail: str, field: str = "") -> None:
        self.detail = detail
        self.field = field
        super().__init__(f"{field}: {detail}" if field else detail)


class BadEnvelope(WireError):
    """Bytes that are not a bounded JSON document."""

    code = "bad_envelope"


class BadField(WireError):
    """One field is missing, of the wrong type, or out of bounds."""

    code = "bad_field"


class BadTopic(WireError):
    """A topic or an id outside the scheme."""

    code = "bad_topic"


class BadProfile(WireError):
    """A profile that contradicts itself."""

    code = "bad_profile"


class BadSignature(WireError):
    """Not signed by a key that is trusted here."""

    code = "bad_signature"


class WrongAddress(WireError):
    """Signed for another agent or device."""

    code = "wrong_address"


class IllegalTransition(WireError):
    """A command state that cannot follow the present one."""

    code = "illegal_transition"


def bad_field(error: ValidationError, prefix: str = "") -> BadField:
    """Name the first field that pydantic refused, in one line.

    Union branches are left out of the path: a reader looks for `m.pm25.0`, not for the branch that was tried.
    """
    first = min(error.errors(include_url=False, include_context=False), key=lambda item: -len(item["loc"]))
    parts = [str(part) for part in first["loc"] if not _is_branch(part)]
    path = ".".join([prefix, *parts] if prefix else parts)
    return BadField(first["msg"].lower().removeprefix("value error, "), path)


def _is_branch(part: int | str) -> bool:
    return isinstance(part, str) and ("[" in part or part in _KINDS)
