"""Import over HTTP, piece by piece: a file has any length, a request has not."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, Field

from lamplighter_hub.access.dependencies import Administrator, Hub
from lamplighter_hub.errors import NotFound, invalid_fields
from lamplighter_hub.series.access import answering
from lamplighter_hub.series.importing import read_rows
from lamplighter_hub.series.store import AHEAD_MS
from lamplighter_hub.services import Services
from lamplighter_protocols.configuration import FieldError
from lamplighter_protocols.readings import Reading

log = logging.getLogger(__name__)
router = APIRouter()

FirstRow = Annotated[int, Query(ge=1, description="Number of the piece's first row in its file, for messages.")]
Source = Annotated[str, Query(max_length=200, description="Name of the file, for the hub's log.")]
Piece = Annotated[bytes, Body(media_type="text/csv", description="CSV with the header of an export, UTF-8.")]


class Imported(BaseModel):
    """What became of a piece: every row was stored, or was there already."""

    stored: int = Field(examples=[9_990])
    already_there: int = Field(examples=[10])


@router.post("/import.csv")
def import_readings(
    hub: Hub, who: Administrator, body: Piece, first_row: FirstRow = 1, source: Source = ""
) -> Imported:
    """Store the readings of a piece of CSV as `export.csv` writes it, all or none; what is there is left out.

    Rows of one device, metric and time belong into one piece. The devices must be known.
    """
    readings = read_rows(body, first_row, hub.clock() + AHEAD_MS)
    _check_devices(hub, readings, first_row)
    with answering():
        taken = hub.importer.take(hub.series, readings)
    log.info(
        "%s imported rows %d to %d of %r: %d stored, %d were there",
        *(who.issuer, first_row, first_row + len(readings) - 1, source, *taken),
    )
    return Imported(**taken._asdict())


def _check_devices(hub: Services, readings: list[Reading], first_row: int) -> None:
    first: dict[str, int] = {}
    for row, reading in enumerate(readings, first_row):
        first.setdefault(reading.device, row)
    faults = [
        FieldError(field=f"row {row}, device", detail=_unknown(device))
        for device, row in first.items()
        if not _is_known(hub, device)
    ]
    if faults:
        raise invalid_fields(faults)


def _unknown(device: str) -> str:
    return f"{device[:64]!r} is not known; let its agent say its birth first, or leave it out"


def _is_known(hub: Services, device: str) -> bool:
    try:
        hub.devices.find(device)
    except NotFound:
        return False
    return True
