"""A process that ends between two statements: what its disk held at that moment is all there is afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Crash(BaseException):
    """The process ends here: nothing that follows reaches a disk that counts."""


class Fuse:
    """Burns down by one with every step of a process; at the end `image` copies its disk, and the process ends."""

    def __init__(self, image: Callable[[], None]) -> None:
        self._image = image
        self._left: int | None = None

    def burn(self, deed: Callable[[], Any], steps: int | None) -> bool:
        """Do something that may be cut short before its step number `steps`, from 0; False when the process ended.

        Whoever does it in fewer steps ends right behind the last one. None lets it live.
        """
        self._left = steps
        try:
            deed()
            if steps is not None:
                self._blow()
        except Crash:
            return False
        finally:
            self._left = None
        return True

    def step(self) -> None:
        """Call before each statement, and before each word that leaves the process."""
        if self._left is None:
            return
        if self._left == 0:
            self._blow()
        self._left -= 1

    def _blow(self) -> None:
        self._left = None  # what the unwinding still does is done by nobody
        self._image()
        raise Crash


class Watched:
    """A connection to a database or a cursor of one, each statement of which is a step."""

    def __init__(self, real: Any, step: Callable[[], None]) -> None:
        self._real = real
        self._step = step

    def execute(self, *given: Any, **named: Any) -> Any:
        self._step()
        return self._real.execute(*given, **named)

    def executemany(self, *given: Any) -> Any:
        self._step()
        return self._real.executemany(*given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class Disk:
    """The folder that a process works in; an image is a new folder, and the one before goes away."""

    def __init__(self, root: Path, name: str) -> None:
        self._root = root
        self._name = name
        self._number = 0
        self.folder = self.fresh()
        self._next: Path | None = None

    def fresh(self) -> Path:
        """Return an empty folder."""
        self._number += 1
        folder = self._root / f"{self._name}-{self._number}"
        folder.mkdir()
        return folder

    def image(self) -> Path:
        """Return a copy of everything as it is now; shared memory goes with its process."""
        copy = self.fresh()
        shutil.copytree(self.folder, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*-shm"))
        return copy

    def freeze(self) -> None:
        """Keep what the disk holds at this moment for `thaw`."""
        self._next = self.image()

    def thaw(self) -> None:
        """Go on with what was frozen."""
        assert self._next is not None
        self.become(self._next)
        self._next = None

    def become(self, folder: Path) -> None:
        """Go on with this folder."""
        shutil.rmtree(self.folder)
        self.folder = folder
