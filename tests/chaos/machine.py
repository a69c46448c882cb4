"""What only the owner of a machine can do: disks that are full or slow, writes that fail, a clock that jumps."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Final

MIB: Final = 1024 * 1024
THROTTLE: Final = Path("/sys/fs/cgroup/blkio")
SLOW_BYTES_S: Final = 100_000
"""What a slow disk takes in a second: a commit that writes so much lasts a second."""


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
        with self._ballast.open("wb") as ballast, contextlib.suppress(OSError):
            os.posix_fallocate(ballast.fileno(), 0, shutil.disk_usage(self.folder).free - 64 * 1024)
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


class SlowDisk(SmallDisk):
    """A disk of blocks, ext4 on a loop device: what a program writes there can be slowed down by the kernel.

    Not `slowable`, and a tmpfs, where there is no blkio controller of cgroup 1, or no right to use it.
    """

    def __init__(self, folder: Path, mib: int) -> None:
        self._device = ""
        self.slowable = os.geteuid() == 0 and THROTTLE.joinpath("blkio.throttle.write_bps_device").exists()
        self.slowable = self.slowable and self._make(folder, mib)
        if not self.slowable:
            super().__init__(folder, mib)

    def _make(self, folder: Path, mib: int) -> bool:
        image = folder.with_name(folder.name + ".img")
        folder.mkdir(parents=True, exist_ok=True)
        with image.open("wb") as disk:
            disk.truncate(mib * MIB)
        if _run("mkfs.ext4", "-q", "-F", "-m", "0", image) is None:
            return False
        self._device = (_run("losetup", "--find", "--show", image) or "").strip()
        if not self._device or _run("mount", self._device, folder) is None:
            return False
        self.folder, self._ballast, self.real = folder, folder / "ballast", True
        self._group = THROTTLE / f"lamplighter-{os.getpid()}"
        self._group.mkdir()
        return True

    def slow(self, pid: int) -> None:
        """Let the disk take little of what this program writes."""
        self._limit(SLOW_BYTES_S)
        self._group.joinpath("cgroup.procs").write_text(str(pid))

    def quick(self) -> None:
        """Take the limit away."""
        self._limit(0)

    def close(self) -> None:
        """Take the disk away."""
        super().close()
        if self._device:
            _run("losetup", "--detach", self._device)
        if self.slowable:
            with contextlib.suppress(OSError):
                self._group.rmdir()

    def _limit(self, bytes_s: int) -> None:
        number = Path("/sys/block", Path(self._device).name, "dev").read_text().strip()
        self._group.joinpath("blkio.throttle.write_bps_device").write_text(f"{number} {bytes_s}")


def _run(*argv: str | Path) -> str | None:
    """Run a program of the system; return what it says, None when it fails or is not there."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None


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
