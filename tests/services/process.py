"""Child processes of tests: output in files, ended with the test, whole groups, nothing left behind.

On Linux a child also ends when the test run is killed. The kernel ends it with the *thread* that started it: whoever
starts one from a thread of its own keeps that thread for as long.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

END_WITHIN_S = 10
_LEASH = ("setpriv", "--pdeathsig", "KILL") if sys.platform == "linux" and shutil.which("setpriv") else ()
"""It becomes the program, under the same process id."""


@dataclass
class Child:
    """One running program, leader of its own process group."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        """Return all that it printed so far, errors included."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def signal(self, number: int) -> None:
        """Send a signal to the program alone, not to its children."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9 of the program alone, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        self.process.wait(END_WITHIN_S)

    def stop(self) -> int:
        """Ask it to end, as Ctrl-C does; insist after a while. Returns the exit code."""
        self.signal(signal.SIGINT)
        try:
            return self.process.wait(END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not end within {END_WITHIN_S} s of Ctrl-C:\n{self.said()[-4000:]}") from None

    def end(self) -> None:
        """Kill whatever is left of the whole group."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(END_WITHIN_S)


@dataclass
class Children:
    """The programs of one test."""

    folder: Path
    started: list[Child] = field(default_factory=list)

    def start(
        self, argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Child:
        """Start a program with its output in a file; `env` is added to the present environment."""
        name = Path(argv[0]).name
        output = self.folder / f"{len(self.started):02d}-{name}.log"
        with output.open("wb") as sink:
            process = subprocess.Popen(
                [*_LEASH, *(str(part) for part in argv)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )
        self.started.append(Child(process, output))
        return self.started[-1]

    def end(self) -> None:
        """End all, the youngest first."""
        for child in reversed(self.started):
            child.end()
