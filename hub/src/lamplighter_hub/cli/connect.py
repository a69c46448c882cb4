"""How a command finds its hub: options before environment before DIR/cli.json, which `lamplighter up` writes."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Concatenate, Final, ParamSpec, cast

import typer

from lamplighter_hub.cli.client import Address, Failed, Hub
from lamplighter_hub.cli.show import Show
from lamplighter_hub.settings import ClientSettings, client_environment

P = ParamSpec("P")
CONNECTION: Final = "Connection and output"
ACCESS_FILE: Final = "cli.json"

Url = Annotated[
    str, typer.Option("--url", help="Address of the hub, else LAMPLIGHTER_URL.", rich_help_panel=CONNECTION)
]
Token = Annotated[
    str, typer.Option("--token", help="Token of the API, else LAMPLIGHTER_TOKEN.", rich_help_panel=CONNECTION)
]
Data = Annotated[
    Path,
    typer.Option("--data", help="The hub's data folder on this machine; knows both.", rich_help_panel=CONNECTION),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.", rich_help_panel=CONNECTION)]


@dataclass(frozen=True)
class Session:
    """What a command works with: the hub's API, and a way to show answers."""

    hub: Hub
    show: Show


def find(options: ClientSettings, data: Path) -> Address:
    """Return address and token. A token from the folder is only ever sent to the address that stands beside it.

    Raises Failed when there is no way to find out.
    """
    environment = client_environment()
    url, token = options.url or environment.url, options.token or environment.token
    if url and token:
        return Address(url.rstrip("/"), token)
    known = _known(data / ACCESS_FILE, needed=not url)
    if not url or (known and url.rstrip("/") == known.url):
        return Address(known.url if known else url, token or (known.token if known else ""))
    return Address(url.rstrip("/"), token)


def _known(path: Path, *, needed: bool) -> Address | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Address(str(found["url"]).rstrip("/"), str(found["token"]))
    except FileNotFoundError:
        if not needed:
            return None
        raise Failed(
            f"no hub is known here: {path} is not there",
            "start one with `lamplighter up`, name its folder with --data, or use --url and --token",
        ) from None
    except PermissionError:
        raise Failed(f"{path} belongs to another user", "run as the hub's user, or use --url and --token") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Failed(f"{path} cannot be read: {error}", "start the hub again, it writes the file anew") from None


def _session(*, url: Url = "", token: Token = "", data: Data = Path("data"), as_json: AsJson = False) -> Session:
    """Return the session that a command's options ask for; its parameters are those options."""
    return Session(Hub(find(ClientSettings(url=url, token=token), data)), Show(as_json))


def connected(function: Callable[Concatenate[Session, P], None]) -> Callable[P, None]:
    """Turn a function of a session into a command that also takes the connection's options."""
    added = inspect.signature(_session, eval_str=True).parameters
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

    @functools.wraps(function)
    def command(**given: Any) -> None:
        session = _session(**{name: given.pop(name) for name in given.keys() & added.keys()})
        try:
            cast(Any, function)(session, **given)
        finally:
            session.hub.close()

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own] + list(added.values())
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return cast(Callable[P, None], command)
