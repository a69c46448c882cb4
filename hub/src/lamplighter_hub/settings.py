"""Every setting of the hub, its default and its meaning; the only module that reads the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

Port = Annotated[int, Field(ge=0, le=65_535)]


class Settings(BaseModel):
    """What `lamplighter up` was told. Ports of 0 let the system choose."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Annotated[Path, Field(description="Folder for everything the hub keeps.")] = Path("data")
    host: Annotated[str, Field(description="Address to listen on; loopback unless told.")] = "127.0.0.1"
    port: Annotated[Port, Field(description="Port of the console and the API.")] = 8080
    mqtt_port: Annotated[Port, Field(description="Port of the embedded MQTT broker.")] = 1883
    mqtt_url: Annotated[
        str, Field(description="Use this MQTT broker, mqtt://user:password@host:port, not the embedded one.")
    ] = ""
    mosquitto_dir: Annotated[
        Path | None, Field(description="Folder of a Mosquitto configuration that the hub keeps up to date.")
    ] = None
    series_url: Annotated[str, Field(description="Series store; empty means DuckDB in the data folder.")] = ""
    registry_url: Annotated[str, Field(description="Registry database; empty means SQLite in the data folder.")] = ""
    keep_raw_days: Annotated[
        int | None, Field(ge=1, description="Days that raw points of sealed hours are kept; for ever when not given.")
    ] = None
    keep_rollup_days: Annotated[
        int | None, Field(ge=1, description="Days that minutes, hours and days are kept; for ever when not given.")
    ] = None
    keep_free_mb: Annotated[
        int, Field(ge=0, description="Free disk (MB) below which the oldest raw points go; with 0 none goes.")
    ] = 0
    public_url: Annotated[str, Field(description="Address under which people and agents reach the hub.")] = ""
    profiles: Annotated[tuple[Path, ...], Field(description="Further folders with device profiles.")] = ()
    demo: Annotated[bool, Field(description="Start a simulated street and its agents.")] = False
    log_level: Annotated[str, Field(description="debug, info, warning or error.")] = "info"

    @field_validator("mqtt_url")
    @classmethod
    def _is_mqtt(cls, url: str) -> str:
        if url and (urlsplit(url).scheme not in {"mqtt", "mqtts"} or not urlsplit(url).hostname):
            raise ValueError("must look like mqtt://user:password@host:1883 or mqtts://...")
        return url

    @field_validator("series_url")
    @classmethod
    def _known_store(cls, url: str) -> str:
        if url and urlsplit(url).scheme != "duckdb":
            raise ValueError("must be empty or duckdb:///path/to/file")
        return url

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, level: str) -> str:
        if level not in {"debug", "info", "warning", "error"}:
            raise ValueError("must be debug, info, warning or error")
        return level


class ClientSettings(BaseModel):
    """How the command line finds the hub: options before environment before DIR/cli.json."""

    url: str = ""
    token: str = ""


def client_environment() -> ClientSettings:
    """Return LAMPLIGHTER_URL and LAMPLIGHTER_TOKEN."""
    return ClientSettings(url=os.environ.get("LAMPLIGHTER_URL", ""), token=os.environ.get("LAMPLIGHTER_TOKEN", ""))


def child_environment() -> dict[str, str]:
    """Return what a child process needs of our environment."""
    return dict(os.environ)
