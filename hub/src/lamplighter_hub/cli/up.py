"""`lamplighter up`: the hub itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from lamplighter_hub.cli.client import Failed
from lamplighter_hub.settings import Settings

app = typer.Typer(rich_markup_mode="rich")


def _help(name: str) -> str:
    return Settings.model_fields[name].description or ""


DataFolder = Annotated[Path, typer.Option("--data", help=_help("data"))]
Host = Annotated[str, typer.Option("--host", help=_help("host"))]
Port = Annotated[int, typer.Option("--port", help=_help("port"))]
MqttPort = Annotated[int, typer.Option("--mqtt-port", help=_help("mqtt_port"))]
MqttUrl = Annotated[str, typer.Option("--mqtt-url", help=_help("mqtt_url"))]
MosquittoDir = Annotated[Path | None, typer.Option("--mosquitto-dir", help=_help("mosquitto_dir"))]
SeriesUrl = Annotated[str, typer.Option("--series-url", help=_help("series_url"))]
SeriesTokenFile = Annotated[Path | None, typer.Option("--series-token-file", help=_help("series_token_file"))]
RegistryUrl = Annotated[str, typer.Option("--registry-url", help=_help("registry_url"))]
KeepShort = Annotated[str, typer.Option("--keep-short", help=_help("keep_short"))]
KeepStandard = Annotated[str, typer.Option("--keep-standard", help=_help("keep_standard"))]
KeepLong = Annotated[str, typer.Option("--keep-long", help=_help("keep_long"))]
KeepFreeMb = Annotated[int, typer.Option("--keep-free-mb", help=_help("keep_free_mb"))]
VerifyMbS = Annotated[int, typer.Option("--verify-mb-s", help=_help("verify_mb_s"))]
PublicUrl = Annotated[str, typer.Option("--public-url", help=_help("public_url"))]
Profiles = Annotated[list[Path] | None, typer.Option("--profiles", help=_help("profiles"))]
Demo = Annotated[bool, typer.Option("--demo", help=_help("demo"))]
QueueBytes = Annotated[int, typer.Option("--queue-bytes", help=_help("queue_bytes"))]
FetchAfter = Annotated[float, typer.Option("--fetch-after-s", help=_help("fetch_after_s"))]
LogLevel = Annotated[str, typer.Option("--log-level", help=_help("log_level"))]


def settings(given: dict[str, Any]) -> Settings:
    """Return checked settings. Raises Failed with a line that names the option and what it may be."""
    try:
        return Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-")
        raise Failed(
            f"{option} {_hidden(str(first['input']))}: {first['msg']}", "see `lamplighter up --help`"
        ) from None


def _hidden(value: str) -> str:
    """Return a value to be shown: an address without what may be a password."""
    return f"***@{value.rpartition('@')[2]}" if "@" in value else value


@app.command("up")
def up(
    data: DataFolder = Path("data"),
    host: Host = "127.0.0.1",
    port: Port = 8080,
    mqtt_port: MqttPort = 1883,
    mqtt_url: MqttUrl = "",
    mosquitto_dir: MosquittoDir = None,
    series_url: SeriesUrl = "",
    series_token_file: SeriesTokenFile = None,
    registry_url: RegistryUrl = "",
    keep_short: KeepShort = "",
    keep_standard: KeepStandard = "",
    keep_long: KeepLong = "",
    keep_free_mb: KeepFreeMb = 0,
    verify_mb_s: VerifyMbS = 4,
    public_url: PublicUrl = "",
    profiles: Profiles = None,
    demo: Demo = False,
    queue_bytes: QueueBytes = 64 * 1024 * 1024,
    fetch_after_s: FetchAfter = 30.0,
    log_level: LogLevel = "info",
) -> None:
    """Start the hub: API, console, ingest and, unless --mqtt-url names another, an MQTT broker. Ctrl-C ends it.

    [bold]lamplighter up --demo[/bold]                        a small simulated street to look at
    [bold]lamplighter up --data /var/lib/lamplighter[/bold]   keep everything there
    [bold]lamplighter up --port 8090 --mqtt-port 1884[/bold]  beside another one
    """
    checked = settings(
        {
            "data": data,
            "host": host,
            "port": port,
            "mqtt_port": mqtt_port,
            "mqtt_url": mqtt_url,
            "mosquitto_dir": mosquitto_dir,
            "series_url": series_url,
            "series_token_file": series_token_file,
            "registry_url": registry_url,
            "keep_short": keep_short,
            "keep_standard": keep_standard,
            "keep_long": keep_long,
            "keep_free_mb": keep_free_mb,
            "verify_mb_s": verify_mb_s,
            "public_url": public_url,
            "profiles": tuple(profiles or ()),
            "demo": demo,
            "queue_bytes": queue_bytes,
            "fetch_after_s": fetch_after_s,
            "log_level": log_level,
        }
    )
    from lamplighter_hub.app import run

    raise typer.Exit(run(checked))
