"""The commands that ask or tell a running hub."""

from __future__ import annotations

import typer

from lamplighter_hub.cli import (
    access,
    backup,
    command,
    configuration,
    data,
    devices,
    ledger,
    mosquitto,
    quarantine,
    status,
    verify,
)


def add_to(app: typer.Typer) -> None:
    """Add all of them to a command line."""
    for part in (devices, status, data, ledger, access, mosquitto, backup, verify):
        app.registered_commands += part.app.registered_commands
    groups = {
        "devices": devices.devices,
        "agents": devices.agents,
        "command": command.app,
        "config": configuration.app,
        "quarantine": quarantine.app,
        "enroll-code": access.enroll_code,
        "token": access.token,
    }
    for name, group in groups.items():
        app.add_typer(group, name=name)
