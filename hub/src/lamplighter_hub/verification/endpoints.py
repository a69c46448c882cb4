"""Verification over HTTP: whether everything is what was written."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from lamplighter_hub.access.dependencies import Hub, Operator, Viewer
from lamplighter_hub.series.access import answering
from lamplighter_hub.verification.service import Round

router = APIRouter(tags=["verification"])


class DamagedFile(BaseModel):
    """A file that is not what was written; what it holds is left out of answers, unless it was made anew."""

    path: str = Field(description="Below the hub's data folder.", examples=["series/2026/11/24/day-2.parquet"])
    what: Literal["readings", "minutes", "hours", "backup"]
    start: int | None = Field(alias="from", description="Of the readings that it stands for (ms).")
    end: int | None = Field(alias="to")
    points: int | None
    rebuilt: bool = Field(description="It was made anew of its readings, and is whole.")


class Verification(BaseModel):
    """One look at every file of the series store and of the kept backups."""

    state: Literal["running", "done", "failed"]
    began: int
    ended: int | None
    files: int = Field(description="Read so far.")
    of_files: int
    bytes: int
    of_bytes: int
    damaged: list[DamagedFile]
    reason: str = Field(description="Why it failed.")


@router.post("/verification", status_code=202)
def begin_verification(hub: Hub, _: Operator) -> Verification:
    """Read everything and compare checksums, as fast as it goes; look at it again until it is done."""
    with answering():
        return _shown(hub.verification.begin())


@router.get("/verification")
def read_verification(hub: Hub, _: Viewer) -> Verification:
    """Show how far the last one is, and what it found."""
    return _shown(hub.verification.last())


def _shown(found: Round) -> Verification:
    damaged = [DamagedFile.model_validate({"from": one.start, "to": one.end, **one._asdict()}) for one in found.faults]
    return Verification(
        state=found.state,
        began=found.began,
        ended=found.ended,
        files=found.files,
        of_files=found.of_files,
        bytes=found.bytes,
        of_bytes=found.of_bytes,
        damaged=damaged,
        reason=found.reason,
    )
