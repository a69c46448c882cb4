"""`lamplighter enroll-code`, `token`, `sign-in-link`: who may come in."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lamplighter_hub.cli.connect import Session, connected
from lamplighter_hub.cli.group import group
from lamplighter_hub.cli.show import Column, clock
from lamplighter_hub.cli.words import Limit, span_s

enroll_code = group("create", "Codes with which agents enrol.")
token = group("list", "Tokens of the API.")
app = typer.Typer(rich_markup_mode="rich")

Agent = Annotated[str, typer.Option("--agent", help="Only for this agent id; else the agent chooses.")]
CodeExpires = Annotated[
    int, typer.Option("--expires", parser=span_s, metavar="SPAN", show_default="24h", help="Valid so long.")
]
Uses = Annotated[int, typer.Option("--uses", min=1, max=1000, help="How many agents may use it.")]
Note = Annotated[str, typer.Option("--note", help="What it is for.")]
CodeId = Annotated[str, typer.Argument(metavar="ID", help="Id of the code, from `enroll-code list`.")]
Role = Annotated[str, typer.Option("--role", help="viewer, operator or administrator.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Who or what will use it.")]
Expires = Annotated[int | None, typer.Option("--expires", parser=span_s, metavar="SPAN", help="Valid so long.")]
TokenId = Annotated[str, typer.Argument(metavar="ID", help="Id of the token, from `token list`.")]

LinkName = Annotated[str, typer.Option("--name", help="Who signs in with it; stands beside what that person does.")]

CODE_COLUMNS = (
    Column("id", "id"),
    Column("agent", "agent"),
    Column("uses left", "uses_left", "number"),
    Column("created by", "created_by"),
    Column("expires", "expires_at", "time"),
    Column("note", "note"),
)
TOKEN_COLUMNS = (
    Column("id", "id"),
    Column("name", "name"),
    Column("role", "role"),
    Column("created", "created_at", "time"),
    Column("last used", "last_used_at", "time"),
    Column("expires", "expires_at", "time"),
)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "")}


@enroll_code.command("create")
@connected
def create_code(at: Session, agent: Agent = "", expires: CodeExpires = 86_400, uses: Uses = 1, note: Note = "") -> None:
    """Make a code and print the command to run beside the devices.

    [bold]lamplighter enroll-code --agent pole-17[/bold]
    """
    body = _given(agent=agent, expires_in_s=expires, uses=uses, note=note)
    made = at.hub.send("POST", "/enrolment-codes", body)
    if at.show.as_json:
        at.show.json(made)
        return
    at.show.say(f"lamplighter-agent enroll {at.hub.address.url} {made['code']}", "bold")
    at.show.note(f"run that beside the devices, before {clock(made.get('expires_at'))}; the code is shown only now")


@enroll_code.command("list")
@connected
def list_codes(at: Session, limit: Limit = 100) -> None:
    """List codes that are still valid (never the code itself)."""
    at.show.table(list(at.hub.items("/enrolment-codes", limit=limit)), CODE_COLUMNS, "no code is valid now")


@enroll_code.command("revoke")
@connected
def revoke_code(at: Session, code: CodeId) -> None:
    """Make a code worthless before its time."""
    at.hub.send("DELETE", f"/enrolment-codes/{code}")
    at.show.say(f"code {code} is revoked")


@token.command("create")
@connected
def create_token(at: Session, name: Name, role: Role = "viewer", expires: Expires = None) -> None:
    """Make a token; it is shown only now.

    [bold]lamplighter token create grafana --role viewer --expires 365d[/bold]
    """
    made = at.hub.send("POST", "/tokens", _given(name=name, role=role, expires_in_s=expires))
    if at.show.as_json:
        at.show.json(made)
        return
    at.show.say(made["token"], "bold")
    at.show.note("keep it safe, it is shown only now; use it with --token or LAMPLIGHTER_TOKEN")


@token.command("list")
@connected
def list_tokens(at: Session, limit: Limit = 100) -> None:
    """List tokens (never the token itself)."""
    at.show.table(list(at.hub.items("/tokens", limit=limit)), TOKEN_COLUMNS, "no token")


@token.command("revoke")
@connected
def revoke_token(at: Session, token_id: TokenId) -> None:
    """Make a token worthless from now on."""
    at.hub.send("DELETE", f"/tokens/{token_id}")
    at.show.say(f"token {token_id} is revoked")


@app.command("sign-in-link")
@connected
def sign_in_link(at: Session, name: LinkName = "administrator", role: Role = "administrator") -> None:
    """Print a link that signs one person in to the console, once.

    [bold]lamplighter sign-in-link --name "Ms Li" --role operator[/bold]
    """
    made = at.hub.send("POST", "/sign-in-links", {"name": name, "role": role})
    if at.show.as_json:
        at.show.json(made)
        return
    at.show.say(made["url"], "bold")
    at.show.note(f"works once, before {clock(made.get('expires_at'))}")
