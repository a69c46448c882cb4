"""`lamplighter-sim` run to its end."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from services.sim import PROGRAM


def run(*arguments: str | Path, within_s: float = 60) -> subprocess.CompletedProcess[str]:
    """Run the program in an empty folder and return what it said."""
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [PROGRAM, *map(str, arguments)],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
