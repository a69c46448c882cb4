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

import re
from typing import ClassVar, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails


class LamplighterError(Exception):
    """Root of everything that Lamplighter raises on purpose."""


class WireError(LamplighterError):
    """A message that the contract does not allow. `code` is stable and machine-readable.

    Field and detail may quote what somebody sent: control characters are escaped, so that each stays one line.
    """

    code: ClassVar[str] = "bad_message"

    def __init__(self, detail: str, field: str = "") -> None:
        self.detail = one_line(detail)
        self.field = one_line(field)
        super().__init__(f"{self.field}: {self.detail}" if field else self.detail)


def one_line(text: str) -> str:
    """Return a text with its line breaks and control characters escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


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


def bad_field(error: ValidationError, prefix: str = "", *, tagged: bool = False) -> BadField:
    """Name one field that pydantic refused, in one line.

    Union branches are left out of the path: a reader looks for `m.pm25.0`, not for the branch that was tried. With
    `tagged` the path begins with a discriminator's value, which is left out too.
    """
    first = _telling(error.errors(include_url=False))
    loc = first["loc"][1:] if tagged and first["type"] not in _ABOUT_THE_TAG else first["loc"]
    detail, deeper = _detail(first)
    named = [str(part)[:80] for at, part in enumerate(loc) if not _is_branch(part, last=at == len(loc) - 1)]
    parts = [prefix, *named, deeper]
    return BadField(detail, ".".join(part for part in parts if part))


_ABOUT_THE_TAG: Final = frozenset({"union_tag_invalid", "union_tag_not_found"})
_PATH: Final = re.compile(r"(?P<path>[a-z_]\w*(\.[\w-]+)*): (?P<detail>.+)", re.DOTALL | re.ASCII)
_DETAILS: Final = {
    "missing": "is required",
    "extra_forbidden": "is not a known key; check its spelling",
    "string_type": "is not a text",
    "float_type": "is not a number",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "bool_type": "is not true or false",
    "list_type": "is not a list",
    "tuple_type": "is not a list",
    "dict_type": "is not an object",
    "model_type": "is not an object",
    "model_attributes_type": "is not an object",
    "finite_number": "is not a finite number",
    "string_pattern_mismatch": "does not have the form {pattern}",
    "string_too_long": "is longer than {max_length} characters",
    "string_too_short": "is shorter than {min_length} characters",
    "too_long": "has {actual_length} entries; at most {max_length} are taken",
    "too_short": "has {actual_length} entries; at least {min_length} are needed",
    "greater_than_equal": "is below {ge}",
    "greater_than": "is not above {gt}",
    "less_than_equal": "is above {le}",
    "less_than": "is not below {lt}",
    "literal_error": "is not {expected}",
    "enum": "is not {expected}",
    "union_tag_invalid": "is of kind {tag!r:.40}, which is not one of {expected_tags}",
    "union_tag_not_found": "has no {discriminator}",
}


def _detail(item: ErrorDetails) -> tuple[str, str]:
    """Return what is wrong, as the end of a sentence, and the path that a validator put before it."""
    text = _DETAILS.get(item["type"])
    if text is not None:
        return text.format(**item.get("ctx", {})), ""
    message = item["msg"].removeprefix("Value error, ")
    match = _PATH.fullmatch(message) if item["type"] == "value_error" else None
    if match:
        return match["detail"], match["path"]
    return message[:1].lower() + message[1:], ""


def _telling(found: list[ErrorDetails]) -> ErrorDetails:
    """Return the first error; of the branches of a union that were tried there, the one that came furthest."""
    first = found[0]
    end = len(first["loc"]) - 1
    depth = next((at for at, part in enumerate(first["loc"]) if _is_branch(part, last=at == end)), None)
    if depth is None:
        return first
    tried = [item for item in found if item["loc"][:depth] == first["loc"][:depth]]
    return max(tried, key=lambda item: [part for part in item["loc"][depth + 1 :] if isinstance(part, int)])


def _is_branch(part: int | str, *, last: bool) -> bool:
    return isinstance(part, str) and ("[" in part or (last and part in _SCALARS))


_SCALARS: Final = frozenset({"bool", "int", "float", "str"})
