"""Which processes of this machine have to do with a folder."""

from __future__ import annotations

from pathlib import Path


def processes_of(folder: Path) -> dict[int, str]:
    """Return the command lines, by process id, of all living processes that name the folder."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (line := _command_line(entry)) and str(folder) in line:
            found[int(entry.name)] = line
    return found


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""  # it ended while we looked
