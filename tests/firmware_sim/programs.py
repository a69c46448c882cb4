"""`lamplighter-sim` run to its end."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

import pytest

from lamplighter_firmware_sim.cli import main
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


def mistake(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run the command line here; return the one line that it ends with. Anything else fails the test."""
    with patch.object(sys, "argv", ["lamplighter-sim", *map(str, arguments)]), pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2, (arguments, said)
    assert len(said.strip().splitlines()) == 1, said
    return said
