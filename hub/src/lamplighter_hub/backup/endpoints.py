"""Backups over HTTP. An archive holds the hub's keys and lets every agent in: only administrators may have it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from lamplighter_hub.access.dependencies import Administrator, Hub
from lamplighter_hub.backup import service
from lamplighter_hub.registry.paging import Cursor, Limit, Page, read_cursor, write_cursor
from lamplighter_protocols.ids import Ulid

router = APIRouter(tags=["backups"])

BackupPath = Annotated[Ulid, Path(description="A backup's id.")]
MEDIA_TYPE = "application/x-tar"


class Contents(BaseModel):
    """How much a backup holds, counted in the backup itself."""

    series: dict[str, int] = Field(examples=[{"points": 86400, "events": 12}])
    ledger: dict[str, int] = Field(description="Numbers of records.", examples=[{"stored": 8640, "missing": 0}])
    registry: dict[str, int] = Field(description="Rows by table.", examples=[{"agents": 3}])


class Backup(BaseModel):
    """A backup: no receipt given before `moment` is missing from it."""

    id: str
    state: Literal["running", "done", "failed"]
    step: Literal["", "series", "registry", "checksums"] = Field(description="What is being copied.")
    bytes: int = Field(description="How much is on the disk.")
    expected_bytes: int = Field(description="About how much it will be.")
    moment: int | None
    contents: Contents | None
    reason: str = Field(description="Why it failed.")


@router.post("/backups", status_code=202)
def begin_backup(hub: Hub, _: Administrator) -> Backup:
    """Begin a backup of the running hub; one is made at a time. Look at it again until it is done."""
    return _shown(hub.backups.begin())


@router.get("/backups")
def list_backups(hub: Hub, _: Administrator, limit: Limit = 100, cursor: Cursor = "") -> Page[Backup]:
    """List the backups that the hub keeps, the newest first."""
    before = read_cursor(cursor, str)
    found = hub.backups.page(before[0] if before else "", limit + 1)
    items = [_shown(backup) for backup in found[:limit]]
    return Page(items=items, next=write_cursor(items[-1].id) if len(found) > limit else None)


@router.get("/backups/{backup}")
def read_backup(hub: Hub, _: Administrator, backup: BackupPath) -> Backup:
    """Show how far a backup is."""
    return _shown(hub.backups.find(backup))


@router.get(
    "/backups/{backup}/archive", response_class=StreamingResponse, responses={200: {"content": {MEDIA_TYPE: {}}}}
)
def read_archive(hub: Hub, _: Administrator, backup: BackupPath) -> StreamingResponse:
    """Hand out a backup as a tar archive. It holds secrets: keep it where only you can read it."""
    headers = {
        "Content-Length": str(hub.backups.size(backup)),
        "Content-Disposition": f'attachment; filename="lamplighter-{backup}.tar"',
        "Cache-Control": "no-store",
    }
    return StreamingResponse(hub.backups.stream(backup), media_type=MEDIA_TYPE, headers=headers)


@router.delete("/backups/{backup}", status_code=204, response_class=Response)
def delete_backup(hub: Hub, _: Administrator, backup: BackupPath) -> None:
    """Delete a backup."""
    hub.backups.delete(backup)


def _shown(backup: service.Backup) -> Backup:
    contents = Contents(**backup.contents.model_dump()) if backup.contents else None
    fields = {name: getattr(backup, name) for name in Backup.model_fields if name != "contents"}
    return Backup(**fields, contents=contents)
