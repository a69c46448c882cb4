"""`lamplighter command`: ask a device to act, and watch the request to its end."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

import typer

from lamplighter_hub.cli.connect import Session, connected
from lamplighter_hub.cli.group import group
from lamplighter_hub.cli.show import COLOURS, Column, clock, plain
from lamplighter_hub.cli.words import Device, Limit, json_object, pairs, span_s
from lamplighter_protocols.commands import CommandState

app = group("list", "Commands: ask a device to act, and see what became of it.")

WAIT_S: Final = 0.5
"""How long one question waits for the end; what happens before it is shown at most so much later."""
COLUMNS = (
    Column("command", "id"),
    Column("device", "device"),
    Column("name", "name"),
    Column("state", "state"),
    Column("reason", "reason"),
    Column("accepted by hub", "accepted_at", "time"),
    Column("received by agent", "received_at", "time"),
    Column("started", "started_at", "time"),
    Column("finished", "finished_at", "time"),
    Column("issuer", "issuer"),
)
DETAILS = (
    *COLUMNS,
    Column("sent", "sent_at", "time"),
    Column("expires", "expires_at", "time"),
    Column("hazard", "hazard"),
    Column("purpose", "purpose"),
    Column("overdue", "overdue"),
    Column("arguments", "args"),
    Column("result", "data"),
)
FACTS: Final = (
    ("accepted_at", "accepted by hub"),
    ("sent_at", "sent to agent"),
    ("received_at", "received by agent"),
    ("started_at", "started"),
    ("finished_at", "finished"),
)
"""The facts that the hub keeps apart, in their order."""

CommandId = Annotated[str, typer.Argument(metavar="COMMAND", help="Id of the command.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the command, as the device's profile has it.")]
Words = Annotated[list[str] | None, typer.Argument(metavar="ARG=VALUE", help="Arguments; a value may be JSON.")]
Args = Annotated[str, typer.Option("--args", help="All arguments as one JSON object.")]
Expires = Annotated[
    int, typer.Option("--expires", parser=span_s, metavar="SPAN", show_default="60s", help="Not begun later.")
]
Lease = Annotated[int | None, typer.Option("--lease", parser=span_s, metavar="SPAN", help="How long its effect lasts.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with the command.")]
Key = Annotated[str, typer.Option("--key", help="Idempotency key: the same key never makes a second command.")]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Show each state as it comes, until the end.")]
State = Annotated[str, typer.Option("--state", help="Only in this state: " + ", ".join(CommandState) + ".")]
OfDevice = Annotated[str, typer.Option("--device", help="Only of this device.")]


@app.command("send")
@connected
def send(
    at: Session,
    device: Device,
    name: Name,
    words: Words = None,
    args: Args = "",
    expires: Expires = 60,
    lease: Lease = None,
    reason: Reason = "",
    key: Key = "",
    wait: Wait = False,
) -> None:
    """Send a command. With --wait the exit code is 0 only when the device did it.

    [bold]lamplighter command send kiosk-1 print_test_page copies=2 --wait[/bold]
    [bold]lamplighter command send signal-1 set_plan plan=3 --lease 15m --expires 10s --reason parade[/bold]
    """
    body: dict[str, Any] = {
        "name": name,
        "args": {**(json_object(args) if args else {}), **pairs(words or [])},
        "expires_in_s": expires,
    }
    if lease is not None:
        body["lease_s"] = lease
    if reason:
        body["reason"] = reason
    sent = at.hub.send(
        "POST", f"/devices/{device}/commands", body, headers={"Idempotency-Key": key or secrets.token_hex(16)}
    )
    if wait:
        _watch(at, sent)
    else:
        at.show.facts(sent, DETAILS)
        at.show.note(f"see what becomes of it: lamplighter command wait {sent['id']}")


@app.command("wait")
@connected
def wait(at: Session, command: CommandId) -> None:
    """Show each state of a command as it comes, until the end. Exit code 0 only when the device did it."""
    _watch(at, at.hub.get(f"/commands/{command}"))


@app.command("show")
@connected
def show(at: Session, command: CommandId) -> None:
    """Show one command with its four facts and its result."""
    at.show.facts(at.hub.get(f"/commands/{command}"), DETAILS)


@app.command("list")
@connected
def list_commands(at: Session, device: OfDevice = "", state: State = "", limit: Limit = 50) -> None:
    """List commands, the newest first.

    [bold]lamplighter command list --device kiosk-1 --state failed[/bold]
    """
    found = list(at.hub.items("/commands", {"device": device, "state": state}, limit=limit))
    at.show.table(found, COLUMNS, "no command: send one with `lamplighter command send DEVICE NAME`")


@app.command("cancel")
@connected
def cancel(at: Session, command: CommandId) -> None:
    """Cancel a command that has not begun; else it goes on and says so."""
    at.show.facts(at.hub.send("POST", f"/commands/{command}/cancel"), DETAILS)


def _final(command: Mapping[str, Any]) -> bool:
    return CommandState(command["state"]).final


def _states(at: Session, command: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the command as it goes on; the hub holds back each answer a little, or until the end."""
    while True:
        yield command
        if _final(command):
            return
        command = at.hub.get(f"/commands/{command['id']}", {"wait_s": WAIT_S})


def _watch(at: Session, command: dict[str, Any]) -> None:
    shown: set[str] = set()
    last = command
    with at.show.busy(f"waiting for {command['device']}"):
        for last in _states(at, command):
            _tell(at, last, shown)
    if at.show.as_json:
        at.show.json(last)
    else:
        _ending(at, last)
    raise typer.Exit(0 if last["state"] == CommandState.SUCCEEDED else 1)


def _ending(at: Session, command: Mapping[str, Any]) -> None:
    state = plain(command["state"])
    at.show.say(": ".join(plain(part) for part in (state, command.get("reason")) if part), COLOURS.get(state, ""))
    if command.get("data"):
        at.show.say(plain(command["data"]))


def _tell(at: Session, command: Mapping[str, Any], shown: set[str]) -> None:
    for key, text in FACTS:
        if command.get(key) and key not in shown:
            shown.add(key)
            at.show.say(f"{clock(command[key])}  {text}")
