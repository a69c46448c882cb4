"""Child processes that the hub keeps alive: started again with back-off, ended with the hub, never orphaned."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from lamplighter_hub.broker.leash import leashed
from lamplighter_hub.settings import child_environment

log = logging.getLogger(__name__)

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
STEADY_S: Final = 20.0
"""A child that ran for so long starts again at once."""
END_WITHIN_S: Final = 8.0
MAX_LOG: Final = 4 * 1024 * 1024


class Supervised:
    """One child process. Its output goes into a file, cut off when it has grown too large."""

    def __init__(self, name: str, command: Sequence[str], output: Path) -> None:
        self.name = name
        self.restarts = 0
        self._command = list(command)
        self._output = output
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The running process, None between two runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    def start(self) -> None:
        """Begin to keep it alive."""
        self._task = asyncio.create_task(self._keep_alive(), name=f"supervise {self.name}")

    async def stop(self) -> None:
        """End it: politely, then firmly."""
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), END_WITHIN_S)
        except TimeoutError:
            log.warning("%s did not end within %g s and was killed", self.name, END_WITHIN_S)
            process.kill()
            await process.wait()

    async def _keep_alive(self) -> None:
        pause = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            code = await self._run_once()
            pause = FIRST_PAUSE_S if time.monotonic() - began > STEADY_S else min(pause * 2, LONGEST_PAUSE_S)
            self.restarts += 1
            log.warning("%s ended with %s; again in %.1f s (its output: %s)", self.name, code, pause, self._output)
            await asyncio.sleep(pause)

    async def _run_once(self) -> int:
        with _log_file(self._output) as sink:
            self._process = await asyncio.create_subprocess_exec(
                *leashed(self._command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                # A session of its own: Ctrl-C is for the hub, which ends its children in order.
                start_new_session=True,
                env=child_environment(),
            )
        return await self._process.wait()


def _log_file(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    too_large = path.exists() and path.stat().st_size > MAX_LOG
    return path.open("wb" if too_large else "ab")
