"""`lamplighter mosquitto-conf`: everything that a Mosquitto of your own needs to serve a hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lamplighter_hub.broker.configuration import HUB_USER
from lamplighter_hub.broker.mosquitto import Generated, Listen, write_configuration
from lamplighter_hub.cli.client import Failed
from lamplighter_hub.cli.show import Show

app = typer.Typer(rich_markup_mode="rich")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder that the hub then keeps up to date.")]
Host = Annotated[str, typer.Option("--host", help="Address that Mosquitto listens on.")]
Port = Annotated[int, typer.Option("--port", min=1, max=65_535, help="Port that Mosquitto listens on.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@app.command("mosquitto-conf")
def mosquitto_conf(folder: Folder, host: Host = "127.0.0.1", port: Port = 1883, as_json: AsJson = False) -> None:
    """Write access rules, limits and passwords for a Mosquitto, and print how to start both. No hub needs to run.

    [bold]lamplighter mosquitto-conf mosquitto --port 1884[/bold]
    """
    show = Show(as_json)
    made = _write(folder, Listen(host, port))
    if as_json:
        show.json({"configuration": str(made.configuration), "url": made.url})
        return
    show.say(f"mosquitto -c {made.configuration}", "bold")
    show.say(f"lamplighter up --mosquitto-dir {folder} --mqtt-url {made.url}", "bold")
    show.note("the address holds the hub's own password: keep it to yourself")


def _write(folder: Path, listen: Listen) -> Generated:
    try:
        return write_configuration(folder, listen, _known(folder / "passwords"))
    except OSError as error:
        raise Failed(f"{folder} cannot be written: {error.strerror or error}", "name another folder") from None


def _known(path: Path) -> dict[str, str]:
    """Return the agents that the folder lets in already, so that writing it again shuts nobody out."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    known = dict(line.split(":", 1) for line in lines if ":" in line)
    known.pop(HUB_USER, None)
    return known
