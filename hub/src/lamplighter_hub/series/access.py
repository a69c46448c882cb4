"""How the store's errors reach a caller of the API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lamplighter_hub.errors import Unavailable, invalid
from lamplighter_hub.series.store import BadCursor, SeriesError


@contextmanager
def answering() -> Iterator[None]:
    """Word errors of the store for the API."""
    try:
        yield
    except BadCursor:
        raise invalid("cursor", "is not one of this list; take `next` of the page before") from None
    except SeriesError as error:
        raise Unavailable(str(error), code="series_unavailable", retry_after_s=2) from error
