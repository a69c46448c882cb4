"""What only the owner of a machine can do: small disks that fill up, writes that fail, a clock that jumps."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from pathlib import Path
from typing import Final

MIB: Final = 1024 * 1024


class SmallDisk:
    """A tmpfs of its own that can be filled. `real` is false where this user may not mount one."""

    def __init__(self, folder: Path, mib: int) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        folder.mkdir(parents=True, exist_ok=True)
        argv = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)]
        self.real = os.geteuid() == 0 and subprocess.run(argv, capture_output=True, check=False).returncode == 0

    def fill(self) -> None:
        """Leave no room."""
        with contextlib.suppress(OSError), self._ballast.open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(64 * 1024))
        with contextlib.suppress(OSError), self._ballast.open("ab", buffering=0) as ballast:
            while True:
                ballast.write(bytes(512))

    def drain(self) -> None:
        """Make room again."""
        self._ballast.unlink(missing_ok=True)

    def close(self) -> None:
        """Take the disk away, also when somebody still looks at it."""
        if self.real:
            subprocess.run(["umount", "-l", str(self.folder)], capture_output=True, check=False)


def forbid_writing(pid: int) -> None:
    """Make every write of a program to a file fail, as a failing disk does (EFBIG)."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))


def allow_writing(pid: int) -> None:
    """Let it write again; nothing when it has ended."""
    with contextlib.suppress(ProcessLookupError):
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))


class WrongClock:
    """The clock of one Python program: `environment` for its start; it stands right until `jump`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.jump(0)

    @property
    def environment(self) -> dict[str, str]:
        return {"WRONG_CLOCK": str(self._file), "PYTHONPATH": str(Path(__file__).parent / "wrong_clock")}

    def jump(self, seconds: int) -> None:
        """Let the clock be wrong by so much from now on."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{seconds}\n")
        fresh.replace(self._file)


def child_named(pid: int, name: str) -> int:
    """Return the pid of a program's child of that name (first 15 characters); 0 when there is none."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = stat.read_text(encoding="ascii", errors="replace")
            comm, _, rest = text.partition("(")[2].rpartition(")")
            if comm == name[:15] and int(rest.split()[1]) == pid:
                return int(stat.parent.name)
    return 0
