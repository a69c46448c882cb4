"""`lamplighter up`: the hub itself."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from lamplighter_hub.cli.client import Failed
from lamplighter_hub.settings import Settings
from lamplighter_protocols.wording import worded

app = typer.Typer(rich_markup_mode="rich")


def settings(given: dict[str, Any]) -> Settings:
    """Return checked settings. Raises Failed with a line that names the option and what it may be."""
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        option = _name(str(first["loc"][0]))
        raise Failed(
            f"{option} {_hidden(str(first['input']))} {worded(first)}", "see `lamplighter up --help`"
        ) from None


def _hidden(value: str) -> str:
    """Return a value to be shown: an address without what may be a password."""
    return f"***@{value.rpartition('@')[2]}" if "@" in value else value


def option(setting: str) -> Any:
    """Return the option of a setting: they share their name and their meaning."""
    return typer.Option(_name(setting), help=Settings.model_fields[setting].description)


def _name(setting: str) -> str:
    return "--" + setting.replace("_", "-")


def _with_settings(function: Callable[[Settings], None]) -> Callable[..., None]:
    """Turn a function of settings into a command that has an option for each of them."""
    parameters = [_parameter(name, field) for name, field in Settings.model_fields.items()]

    @functools.wraps(function)
    def command(**given: Any) -> None:
        function(settings(given))

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _parameter(setting: str, field: FieldInfo) -> inspect.Parameter:
    # Typer takes a tuple for so many values after one option; ours is an option that may be given again.
    kind = list[Path] if field.annotation == tuple[Path, ...] else field.annotation
    annotation = Annotated[kind, option(setting)]  # type: ignore[valid-type]
    return inspect.Parameter(setting, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=annotation)


@app.command("up")
@_with_settings
def up(checked: Settings) -> None:
    """Start the hub: API, console, ingest and, unless --mqtt-url names another, an MQTT broker. Ctrl-C ends it.

    [bold]lamplighter up --demo[/bold]                        a small simulated street to look at
    [bold]lamplighter up --data /var/lib/lamplighter[/bold]   keep everything there
    [bold]lamplighter up --port 8090 --mqtt-port 1884[/bold]  beside another one
    """
    from lamplighter_hub.app import run

    raise typer.Exit(run(checked))
