"""Configuration documents: flat fields with dotted names, checked against a profile's schema on both sides.

The same field type describes a command's arguments.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import to_json

from lamplighter_protocols.ids import AgentId, DeviceId
from lamplighter_protocols.model import Count, Data, Millis, WireModel

ConfigurationHash = Annotated[str, StringConstraints(pattern=r"^(sha256:[0-9a-f]{64})?$", strict=True)]
Scalar = bool | int | float | str
MAX_FIELDS: Final = 128


class ConfigurationState(StrEnum):
    """What an agent reports of a document."""

    APPLIED = "applied"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"


class FieldError(WireModel):
    """One field that was refused, and why."""

    field: str
    detail: str


class FieldSpec(WireModel):
    """One configuration field or command argument: its type, bounds, default, unit and names for people."""

    model_config = ConfigDict(extra="forbid")  # it stands in profiles, where a misspelt key is a mistake

    type: Literal["integer", "number", "boolean", "string"]
    title: dict[str, str] = {}
    unit: str = ""
    min: float | None = None
    max: float | None = None
    max_length: Annotated[int, Field(ge=1, le=1024)] = 256
    choices: Annotated[list[Scalar], Field(max_length=64)] = []
    default: Scalar | None = None
    required: bool = False

    @model_validator(mode="after")
    def _default_fits(self) -> FieldSpec:
        if self.default is not None and (wrong := self.wrong_with(self.default)):
            raise ValueError(f"default: {self.default!r} {wrong}")
        return self

    def wrong_with(self, value: Any) -> str:
        """Return what is wrong with a value as the end of a sentence; empty when nothing is."""
        if not _TYPES[self.type](value):
            return f"is not {'an' if self.type == 'integer' else 'a'} {self.type}"
        if self.choices and value not in self.choices:
            return f"is not one of {', '.join(str(choice) for choice in self.choices)}"
        if isinstance(value, str):
            return f"is longer than {self.max_length}" if len(value) > self.max_length else ""
        if self.min is not None and value < self.min:
            return f"is below {self.min:g}"
        if self.max is not None and value > self.max:
            return f"is above {self.max:g}"
        return ""


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    # the comparison is false for NaN and for both infinities
    return _is_integer(value) or (isinstance(value, float) and abs(value) < float("inf"))


_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "integer": _is_integer,
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
}


def check_fields(specs: dict[str, FieldSpec], values: dict[str, Any], where: str = "") -> list[FieldError]:
    """Return every field that is unknown, missing or out of bounds, by name."""
    found = []
    for name, value in values.items():
        spec = specs.get(name)
        if spec is None:
            known = ", ".join(sorted(specs)) or "none"
            found.append(FieldError(field=where + (name[:80] or "''"), detail=f"is unknown; known fields: {known}"))
        elif wrong := spec.wrong_with(value):
            found.append(FieldError(field=where + name, detail=wrong))
    for name, spec in specs.items():
        if spec.required and name not in values and spec.default is None:
            found.append(FieldError(field=where + name, detail="is required"))
    return found


def merge(specs: dict[str, FieldSpec], *layers: dict[str, Any]) -> dict[str, Any]:
    """Return the document: the schema's defaults, overlaid by each layer in turn (null takes a field back)."""
    defaults = {name: spec.default for name, spec in specs.items()}
    document: dict[str, Any] = dict(defaults)
    for layer in layers:
        document |= {name: defaults.get(name) if value is None else value for name, value in layer.items()}
    return {name: value for name, value in document.items() if value is not None}


def document_hash(document: dict[str, Any]) -> str:
    """Return `sha256:` and the hash of the document as JSON with sorted keys and no blanks.

    >>> document_hash({"b": 1, "a": 2}) == document_hash({"a": 2, "b": 1})
    True
    """
    return "sha256:" + hashlib.sha256(to_json(dict(sorted(document.items())))).hexdigest()


RollbackAfter = Annotated[int, Field(ge=5, le=86_400)]
ROLLBACK_AFTER_S: Final = 300


class Desired(WireModel):
    """A signed configuration document. `rollback_after_s`: without word of the hub for so long, it is undone."""

    type: Literal["configuration"] = "configuration"
    agent: AgentId
    device: DeviceId
    version: Annotated[Count, Field(ge=1)]
    hash: ConfigurationHash
    document: Data
    issued_at: Millis
    rollback_after_s: RollbackAfter = ROLLBACK_AFTER_S
