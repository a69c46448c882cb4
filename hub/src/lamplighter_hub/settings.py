"""Every setting of the hub, its default and its meaning; the only module that reads the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import parse_qs, urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from lamplighter_hub.series.ages import read_ages
from lamplighter_protocols.errors import LamplighterError

REGISTRIES: Final = frozenset({"postgresql", "postgresql+psycopg", "postgres", "sqlite"})
"""Schemes of a registry's URL."""
_SERIES_TOKEN = "LAMPLIGHTER_SERIES_TOKEN"  # noqa: S105 - where the secret is, not what
Port = Annotated[int, Field(ge=0, le=65_535)]


class BadSettings(LamplighterError):
    """A setting cannot be used; the text names it in one line."""


class Settings(BaseModel):
    """What `lamplighter up` was told. Ports of 0 let the system choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Annotated[Path, Field(description="Folder for everything the hub keeps.")] = Path("data")
    host: Annotated[str, Field(description="Address to listen on; loopback unless told.")] = "127.0.0.1"
    port: Annotated[Port, Field(description="Port of the console and the API.")] = 8080
    mqtt_port: Annotated[Port, Field(description="Port of the embedded MQTT broker.")] = 1883
    mqtt_url: Annotated[
        str,
        Field(description="Use this MQTT broker, mqtt://user:password@host:port, not the embedded one.", repr=False),
    ] = ""
    mosquitto_dir: Annotated[
        Path | None, Field(description="Folder of a Mosquitto configuration that the hub keeps up to date.")
    ] = None
    series_url: Annotated[
        str,
        Field(
            description="Series store: http://host:8086?org=ORG&bucket=BUCKET; empty means DuckDB in the data folder."
        ),
    ] = ""
    series_token_file: Annotated[
        Path | None, Field(description="File with the token of the series store, else LAMPLIGHTER_SERIES_TOKEN.")
    ] = None
    registry_url: Annotated[
        str,
        Field(
            description="Registry in PostgreSQL, postgresql://user@host:port/database; empty means SQLite in the "
            "data folder. The password may stand there, or better in ~/.pgpass.",
            repr=False,
        ),
    ] = ""
    keep_short: Annotated[
        str,
        Field(
            description="Days that metrics and events of the class short are kept, as "
            "raw=30,minute=90,hour=730,day=3650,events=365; what is not named is kept for ever, finer roll-ups as long "
            "as the next coarser one that is named."
        ),
    ] = ""
    keep_standard: Annotated[
        str, Field(description="The same for the class standard, which everything has whose profile names no other.")
    ] = ""
    keep_long: Annotated[str, Field(description="The same for the class long.")] = ""
    keep_free_mb: Annotated[
        int, Field(ge=0, description="Free disk (MB) below which the oldest raw points go; with 0 none goes.")
    ] = 0
    verify_mb_s: Annotated[
        int,
        Field(
            ge=0, description="How fast stored files are read again to find damage (MB a second); with 0 not at all."
        ),
    ] = 4
    public_url: Annotated[str, Field(description="Address under which people and agents reach the hub.")] = ""
    profiles: Annotated[tuple[Path, ...], Field(description="Further folders with device profiles.")] = ()
    demo: Annotated[bool, Field(description="Start a simulated street and its agents.")] = False
    queue_bytes: Annotated[
        int,
        Field(ge=65_536, description="How much may wait to be stored; at a quarter of it agents hold their backlog."),
    ] = 64 * 1024 * 1024
    fetch_after_s: Annotated[
        float, Field(ge=1, le=86_400, description="Ask agents again for what has been missing for so long.")
    ] = 30.0
    log_level: Annotated[str, Field(description="debug, info, warning or error.")] = "info"

    @field_validator("keep_short", "keep_standard", "keep_long")
    @classmethod
    def _are_ages(cls, text: str) -> str:
        read_ages(text)
        return text

    @field_validator("mqtt_url")
    @classmethod
    def _is_mqtt(cls, url: str) -> str:
        if url and (urlsplit(url).scheme not in {"mqtt", "mqtts"} or not urlsplit(url).hostname):
            raise ValueError("must look like mqtt://user:password@host:1883 or mqtts://...")
        return url

    @field_validator("series_url")
    @classmethod
    def _known_store(cls, url: str) -> str:
        if url and not _is_influx(url):
            raise ValueError("must be empty, or look like http://host:8086?org=ORG&bucket=BUCKET")
        return url

    @field_validator("registry_url")
    @classmethod
    def _known_registry(cls, url: str) -> str:
        if url and urlsplit(url).scheme not in REGISTRIES:
            raise ValueError("must be empty or look like postgresql://user@host:5432/database")
        return url

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, level: str) -> str:
        if level not in {"debug", "info", "warning", "error"}:
            raise ValueError("must be debug, info, warning or error")
        return level


def _is_influx(url: str) -> bool:
    try:
        parts = urlsplit(url)
        asked = parse_qs(parts.query, strict_parsing=True)
        # Of a password in the URL nothing good comes: URLs are logged.
        return (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname and parts.port != 0)
            and "@" not in parts.netloc
            and set(asked) == {"org", "bucket"}
        )
    except ValueError:
        return False


def series_token(settings: Settings) -> str:
    """Return the secret for the series store, from its file or LAMPLIGHTER_SERIES_TOKEN. Raises BadSettings."""
    if settings.series_token_file is None:
        if not (token := os.environ.get(_SERIES_TOKEN, "").strip()):
            raise BadSettings("--series-url needs a token: set LAMPLIGHTER_SERIES_TOKEN, or give --series-token-file")
        return token
    try:
        token = settings.series_token_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"--series-token-file {settings.series_token_file}: {error}") from None
    if not token:
        raise BadSettings(f"--series-token-file {settings.series_token_file}: is empty")
    return token


class ClientSettings(BaseModel):
    """How the command line finds the hub: options before environment before DIR/cli.json."""

    url: str = ""
    token: str = ""


def client_environment() -> ClientSettings:
    """Return LAMPLIGHTER_URL and LAMPLIGHTER_TOKEN."""
    return ClientSettings(url=os.environ.get("LAMPLIGHTER_URL", ""), token=os.environ.get("LAMPLIGHTER_TOKEN", ""))


def child_environment() -> dict[str, str]:
    """Return what a child process needs of our environment: all of it but our secret."""
    return {name: value for name, value in os.environ.items() if name != _SERIES_TOKEN}
