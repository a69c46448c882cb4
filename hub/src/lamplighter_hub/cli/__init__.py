"""`lamplighter`: starts the hub, and asks or tells a running one through its public API.

Exit codes: 0 done, 1 not done (the line on the error channel says why and what next), 2 wrong usage.
"""

from __future__ import annotations

import sys
import traceback
from importlib.metadata import version
from typing import Annotated

import typer

from lamplighter_hub.cli import up
from lamplighter_hub.cli.client import Failed
from lamplighter_hub.cli.show import console, plain

HELP = """Lamplighter's hub and its command line.

[bold]lamplighter up --demo[/bold]               start the hub with a small simulated street
[bold]lamplighter devices[/bold]                 what is there, and how it is
[bold]lamplighter query air-1 pm25[/bold]       a metric over the last hour
[bold]lamplighter command send kiosk-1 print_test_page copies=2 --wait[/bold]

On the hub's own machine no address and no token is needed: both stand in DIR/cli.json (--data DIR).
"""


def build() -> typer.Typer:
    """Return the whole command line."""
    from lamplighter_hub.cli import client_commands

    app = build_hub()
    client_commands.add_to(app)
    return app


def build_hub() -> typer.Typer:
    """Return the command line with `up` alone: a hub keeps in memory what its command line has loaded."""
    app = typer.Typer(
        name="lamplighter",
        help=HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.registered_commands += up.app.registered_commands
    app.callback()(_options)  # without one a command alone has no name
    return app


def _tell_version(asked: bool) -> None:
    if asked:
        console().print(f"lamplighter {version('lamplighter-hub')}")
        raise typer.Exit


def _options(
    _: Annotated[
        bool, typer.Option("--version", help="Show the version.", is_eager=True, callback=_tell_version)
    ] = False,
) -> None:
    """Take what is said before a command."""


def main() -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(run(build_hub() if sys.argv[1:2] == ["up"] else build()))


def run(app: typer.Typer) -> int:
    """Run `app` on the process's arguments; every failure is one line. Returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        app()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Failed as failed:
        return _tell(failed.what, failed.then)
    except BrokenPipeError:
        sys.stdout = None  # whoever read us has enough; do not flush into it at exit
        return 0
    except Exception as error:  # noqa: BLE001 - supervision: nobody is shown a traceback
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
        return _tell(f"unexpected {type(error).__name__} at {where}: {error}", "please report this line")
    return 0


def _tell(what: str, then: str) -> int:
    line = f"lamplighter: {what.rstrip('.')}" + (f" - {then}" if then else "")
    console(error=True).print(plain(line).replace("\n", " "), markup=False)
    return 1
