"""What pydantic finds wrong, as the end of a sentence that begins with the field's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, get_args

from lamplighter_protocols.ids import AgentId, Ulid

MOST: Final = 500
"""Characters of an explanation."""
_WORDS: Final[Mapping[str, str]] = {
    "missing": "is required",
    "extra_forbidden": "is not known here",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be above {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be below {lt}",
    "int_parsing": "is not an integer",
    "int_type": "is not an integer",
    "int_from_float": "is not an integer",
    "int_parsing_size": "is too large a number",
    "float_parsing": "is not a number",
    "float_type": "is not a number",
    "finite_number": "is not a finite number",
    "bool_parsing": "is neither true nor false",
    "bool_type": "is neither true nor false",
    "string_type": "is not a text",
    "string_too_short": "is too short: at least {min_length} characters",
    "string_too_long": "is too long: at most {max_length} characters",
    "too_short": "is too short: at least {min_length} items",
    "too_long": "is too long: at most {max_length} items",
    "enum": "is none of {expected}",
    "literal_error": "is none of {expected}",
    "list_type": "is not a list",
    "dict_type": "is not a JSON object",
    "model_type": "is not a JSON object",
    "model_attributes_type": "is not a JSON object",
}
_PATTERNS: Final[Mapping[str, str]] = {
    get_args(AgentId)[1].pattern: "is no id: 1 to 64 of a-z, 0-9 and -, a letter or digit first",
    get_args(Ulid)[1].pattern: "is no id such as the hub gives: 26 digits and capital letters",
}


def worded(item: Mapping[str, Any]) -> str:
    """Return one error of pydantic as people read it.

    >>> worded({"type": "greater_than_equal", "msg": "Input should be ...", "ctx": {"ge": 1}})
    'must be at least 1'
    >>> worded({"type": "string_pattern_mismatch", "msg": "String ...", "ctx": {"pattern": get_args(Ulid)[1].pattern}})
    'is no id such as the hub gives: 26 digits and capital letters'
    >>> worded({"type": "value_error", "msg": "Value error, is no time"})
    'is no time'
    """
    said = str(item["msg"]).removeprefix("Value error, ")
    told: Mapping[str, Any] = item.get("ctx") or {}
    if item["type"] == "string_pattern_mismatch":
        return _PATTERNS.get(str(told.get("pattern")), said)[:MOST]
    try:
        return _WORDS.get(item["type"], said.replace("{", "{{").replace("}", "}}")).format(**told)[:MOST]
    except KeyError:
        return said[:MOST]
