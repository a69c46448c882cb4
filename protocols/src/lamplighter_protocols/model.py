"""What every wire model shares: strict types, finite numbers, unknown fields ignored, bounds by type."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import to_json

from lamplighter_protocols.envelope import all_finite, too_deep, unwrap
from lamplighter_protocols.errors import BadEnvelope, bad_field

MAX_DATA: Final = 8 * 1024
MAX_DATA_DEPTH: Final = 4
EARLIEST: Final = -62135596800000
LATEST: Final = 253402300799999


class WireModel(BaseModel):
    """Base of all messages: `"1.5"` and `true` are not numbers, NaN is nothing, and what is read is not changed."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


def _bounded(value: dict[str, Any]) -> dict[str, Any]:
    if too_deep(value, MAX_DATA_DEPTH):
        raise ValueError(f"nested deeper than {MAX_DATA_DEPTH}")
    if not all_finite(value):
        raise ValueError("holds a number that is not finite or does not fit into 64 bits")
    if len(to_json(value)) > MAX_DATA:
        raise ValueError(f"larger than {MAX_DATA} bytes of JSON")
    return value


Data = Annotated[dict[str, Any], AfterValidator(_bounded)]
"""A small free JSON object: an event's payload, a command's result."""
Millis = Annotated[int, Field(ge=EARLIEST, le=LATEST)]
"""Milliseconds since 1970-01-01T00:00:00Z, years 1 to 9999."""
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""How many, or a version: exact in every JSON reader and in every store."""
Sequence = Annotated[int, Field(ge=1, le=2**53 - 1)]
"""A record's number in its stream, from 1 without gaps."""
Reason = Annotated[str, StringConstraints(max_length=500, strict=True)]


Model = TypeVar("Model", bound=WireModel)


def parse_model(model: type[Model], payload: bytes) -> Model:
    """Read one message of a known model from its payload, compressed or not.

    Raises BadEnvelope when it is no bounded JSON, BadField when a field is not as the model says.
    """
    return parse_json(model, unwrap(payload))


def parse_json(model: type[Model], raw: bytes) -> Model:
    """Read one message of a known model from JSON text. Errors as `parse_model`."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise BadEnvelope("not JSON: " + first["msg"].removeprefix("Invalid JSON: ")) from None
        raise bad_field(error) from None
