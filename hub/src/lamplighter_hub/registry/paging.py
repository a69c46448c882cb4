"""Cursor paging: a page carries an opaque mark of where the next one begins.

>>> read_cursor(write_cursor("air-1", 5), str, int)
['air-1', 5]
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BaseModel, Field
from pydantic_core import from_json, to_json

from lamplighter_hub.errors import invalid

Item = TypeVar("Item")
Limit = Annotated[int, Query(ge=1, le=1000, description="Items on a page.")]
Cursor = Annotated[str, Query(max_length=1000, description="`next` of the page before; absent for the first page.")]


class Page(BaseModel, Generic[Item]):
    """Some items of a list, and the cursor of the next page; null at the end."""

    items: list[Item]
    next: str | None = Field(default=None, examples=["WyJhaXItOSJd"])


def write_cursor(*place: str | int) -> str:
    """Return an opaque text for a place in a list."""
    return base64.urlsafe_b64encode(to_json(place)).rstrip(b"=").decode()


def read_cursor(cursor: str, *kinds: type) -> list[Any]:
    """Return the place that `write_cursor` was given, of these types; empty for an empty cursor. Raises Invalid."""
    if not cursor:
        return []
    try:
        raw = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = from_json(raw, allow_inf_nan=False)
    except (binascii.Error, ValueError):
        raise invalid("cursor", "is not one of ours; take `next` of the page before") from None
    if not isinstance(place, list) or [type(part) for part in place] != [*kinds] or not all(map(_bounded, place)):
        raise invalid("cursor", "belongs to another list; take `next` of the page before")
    return place


def _bounded(part: str | int) -> bool:
    return isinstance(part, str) or abs(part) < 2**63
