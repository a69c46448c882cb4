"""What an answer may lack because a stored file is damaged: said with the answer, so that nobody takes less for all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel, Field

from lamplighter_hub.services import Services

HEADER: Final = "Lamplighter-Incomplete"
"""With an export: damaged files, as path and times (ms), separated by commas; `...` when there are more."""
MOST: Final = 20


class Incomplete(BaseModel):
    """Between these times a damaged file may hold something that is not in the answer. Restore it from a backup."""

    start: int = Field(alias="from")
    end: int = Field(alias="to")
    file: str = Field(description="Below the hub's data folder.", examples=["series/2026/11/24/day-2.parquet"])


def incomplete(hub: Services, devices: Sequence[str], metrics: Sequence[str], start: int, end: int) -> list[Incomplete]:
    """Return what an answer on a range may lack; nothing named means all. Raises SeriesError."""
    found = hub.series.damaged(devices, metrics, start, end)
    return [Incomplete.model_validate({"from": one.start, "to": one.end, "file": one.path}) for one in found]


def header(found: Sequence[Incomplete]) -> dict[str, str]:
    """Return the header of an export that lacks something; none of one that is whole."""
    if not found:
        return {}
    named = [f"{one.file} {one.start}-{one.end}" for one in found[:MOST]]
    return {HEADER: ", ".join([*named, "..."] if len(found) > MOST else named)}
