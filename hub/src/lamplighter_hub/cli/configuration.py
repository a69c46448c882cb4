"""`lamplighter config`: what a device shall be, what it is, and the difference."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from lamplighter_hub.cli.client import Failed
from lamplighter_hub.cli.connect import Session, connected
from lamplighter_hub.cli.group import group
from lamplighter_hub.cli.show import Column
from lamplighter_hub.cli.words import Device, Limit, json_object, pairs, span_s

app = group("show", "Configuration: desired, reported, and the difference.")

LOOK_EVERY_S: Final = 0.5
FIELD_COLUMNS = (
    Column("field", "field"),
    Column("desired", "desired"),
    Column("reported", "reported"),
    Column("unit", "unit"),
    Column("", "mark"),
)
HISTORY_COLUMNS = (
    Column("version", "version", "number"),
    Column("at", "at", "time"),
    Column("what", "kind"),
    Column("who", "who"),
    Column("state", "state"),
    Column("reason", "reason"),
    Column("document", "document"),
)

Words = Annotated[list[str] | None, typer.Argument(metavar="FIELD=VALUE", help="Fields to change.")]
File = Annotated[Path | None, typer.Option("--file", help="The whole document of this device as JSON.")]
Unset = Annotated[list[str] | None, typer.Option("--unset", help="Back to the default; may be repeated.")]
Wait = Annotated[
    int | None, typer.Option("--wait", parser=span_s, metavar="SPAN", help="Wait so long for the device's report.")
]
RollbackAfter = Annotated[
    int | None,
    typer.Option(
        "--rollback-after", parser=span_s, metavar="SPAN", help="Undone without word of the hub for so long (5m)."
    ),
]


@app.command("show")
@connected
def show(at: Session, device: Device) -> None:
    """Show each field as desired and as the device reports it.

    [bold]lamplighter config show air-1[/bold]
    """
    _present(at, at.hub.get(f"/devices/{device}/configuration"))


@app.command("set")
@connected
def set_fields(
    at: Session,
    device: Device,
    words: Words = None,
    file: File = None,
    unset: Unset = None,
    wait: Wait = None,
    rollback_after: RollbackAfter = None,
) -> None:
    """Change fields of a device. A wrong value is refused here by its field's name, before anything is sent.

    [bold]lamplighter config set air-1 interval_s=5 --wait 30s[/bold]
    [bold]lamplighter config set air-1 --file air-1.json[/bold]
    """
    path = f"/devices/{device}/configuration"
    if not (words or file or unset):
        raise Failed("nothing to change", "give FIELD=VALUE, --unset FIELD, or --file")
    document = _file(file) if file else dict(at.hub.get(path).get("set") or {})
    document |= pairs(words or [])
    for name in unset or ():
        if name not in document:
            raise Failed(f"{name} is not set for {device}", f"see what is: lamplighter config show {device}")
        del document[name]
    rollback = {} if rollback_after is None else {"rollback_after_s": rollback_after}
    answer = at.hub.send("PUT", path, {"document": document, **rollback})
    _present(at, answer if wait is None else _reported(at, path, wait))


@app.command("history")
@connected
def history(at: Session, device: Device, limit: Limit = 50) -> None:
    """List what was set and what the device said of it, the newest first."""
    found = list(at.hub.items(f"/devices/{device}/configuration/history", limit=limit))
    at.show.table(found, HISTORY_COLUMNS, "never changed: the profile's defaults are in force")


def _file(path: Path) -> dict[str, Any]:
    try:
        return json_object(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Failed(f"{path} cannot be read: {error}", "name a JSON file with --file") from None


def _reported(at: Session, path: str, wait_s: int) -> dict[str, Any]:
    deadline = time.monotonic() + wait_s
    with at.show.busy("waiting for the device's report"):
        while True:
            body: dict[str, Any] = at.hub.get(path)
            desired, reported = body["desired"], body.get("reported") or {}
            if reported.get("version") == desired["version"]:
                return body
            if time.monotonic() > deadline:
                _present(at, body)
                raise Failed(
                    f"no report of version {desired['version']} within {wait_s} s", "see `lamplighter devices`"
                )
            time.sleep(LOOK_EVERY_S)


def _present(at: Session, body: dict[str, Any]) -> None:
    if at.show.as_json:
        at.show.json(body)
        return
    desired, reported = body.get("desired") or {}, body.get("reported") or {}
    at.show.say(_summary(desired, reported), "bold")
    for error in reported.get("errors") or ():
        at.show.say(f"  {error.get('field', '')}: {error.get('detail', '')}", "red")
    at.show.table(_rows(body, desired, reported), FIELD_COLUMNS, "this device has nothing to configure")


def _summary(desired: dict[str, Any], reported: dict[str, Any]) -> str:
    if not (desired.get("version") or reported):
        return "never changed: the profile's defaults are in force"
    told = f"version {reported['version']} {reported.get('state') or ''}".strip() if reported else "nothing yet"
    reason = f" ({reported['reason']})" if reported.get("reason") else ""
    return f"desired version {desired.get('version', 0)}, reported {told}{reason}"


def _rows(body: dict[str, Any], desired: dict[str, Any], reported: dict[str, Any]) -> list[dict[str, Any]]:
    wanted, present = desired.get("document") or {}, reported.get("document") or {}
    fields = body.get("fields") or {}
    names = list(fields) + [name for name in (*wanted, *present) if name not in fields]
    return [
        {
            "field": name,
            "desired": wanted.get(name),
            "reported": present.get(name),
            "unit": _unit(fields, name),
            "mark": "differs" if reported and json.dumps(wanted.get(name)) != json.dumps(present.get(name)) else "",
        }
        for name in dict.fromkeys(names)
    ]


def _unit(fields: Any, name: str) -> str:
    spec = fields.get(name) if isinstance(fields, dict) else None
    return str(spec.get("unit") or "") if isinstance(spec, dict) else ""
