"""The command line as a program of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


class Said(NamedTuple):
    """What a run left behind."""

    code: int
    out: str
    error: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Program:
    """`lamplighter`, run in a folder, with options that every run gets."""

    folder: Path
    always: tuple[str, ...] = ()

    def __call__(self, *arguments: str, within_s: float = 60, env: dict[str, str] | None = None) -> Said:
        done = subprocess.run(
            [Path(sys.executable).parent / "lamplighter", *arguments, *self.always],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
            env={**os.environ, **(env or {})},
        )
        said = Said(done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in said.out + said.error, said.error
        return said
