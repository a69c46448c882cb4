"""A real PostgreSQL cluster on a free loopback port, in a folder of its own, run by a user without rights."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

import psycopg

from services.need import missing, need
from services.ports import free_port
from services.process import Child, Children
from services.wait import eventually

USER: Final = "lamp"
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",  # kill -9 is survived without; only a power cut is not
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "log_statement": "none",
}


class Postgres:
    """One cluster: `port` and what it holds stay the same over `kill` and `start`. The user's password is random."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.password = secrets.token_urlsafe(12)
        self._children = Children(folder)
        self._numbers = count(1)

    @property
    def child(self) -> Child:
        """The server that runs, or ran last."""
        return self._children.started[-1]

    def make(self) -> None:
        """Make the cluster."""
        password = self.folder / "password"
        password.write_text(self.password)
        _hand_over(self.folder)
        argv: list[str | Path] = [
            need("initdb"),
            "-D",
            self.folder / "data",
            "-U",
            USER,
            "--pwfile",
            password,
            "-A",
            "scram-sha-256",
        ]
        argv += ["-E", "UTF8", "--locale", "C.UTF-8", "--no-sync"]
        done = subprocess.run(_as_nobody(*argv), capture_output=True, text=True, check=False, cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Start it and wait until it answers."""
        given = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        argv: list[str | Path] = [need("postgres"), "-D", self.folder / "data", "-p", str(self.port), *given]
        child = self._children.start(_as_nobody(*argv), cwd=Path("/"))
        eventually(lambda: self.answers() or not child.running, within_s=30)
        assert child.running, f"postgres ended: {child.said()[-800:]}"

    def answers(self) -> bool:
        """Whether it takes connections."""
        with contextlib.suppress(psycopg.OperationalError), self.connect():
            return True
        return False

    def kill(self) -> None:
        """Kill -9 the server with all its processes, which are leaders of groups of their own."""
        mine = self.signal(signal.SIGKILL)
        self.child.process.wait(10)
        eventually(lambda: not any(map(_runs, mine)))

    def signal(self, number: int) -> list[int]:
        """Send a signal to the server with all its processes; return the ids of these."""
        mine = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split()
        pids = [self.child.pid, *map(int, mine)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return pids[1:]

    def end(self) -> None:
        """Leave nothing behind."""
        if self._children.started and self.child.running:
            self.kill()

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Open a connection for statements of their own."""
        given = {"host": "127.0.0.1", "port": self.port, "user": USER, "password": self.password}
        return psycopg.connect(dbname=database, autocommit=True, connect_timeout=5, **given)  # type: ignore[arg-type]

    def url(self, database: str) -> str:
        """Return the URL of a database as an operator writes it."""
        return f"postgresql+psycopg://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def create(self, template: str = "template0", encoding: str = "UTF8") -> str:
        """Make a database, perhaps as the copy of another; return its name."""
        name = f"registry_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} ENCODING '{encoding}' LOCALE 'C'")
        return name

    def write(self, database: str, *, allowed: bool) -> None:
        """Let every new transaction of a database be read-only, or writable again; present connections end."""
        state = "off" if allowed else "on"
        with self.connect() as connection:
            connection.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = {state}")
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database,))

    def dump(self, database: str, *options: str) -> str:
        """Return a database as SQL."""
        argv: list[str | Path] = [
            need("pg_dump"),
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            USER,
            *options,
            database,
        ]
        env = {**os.environ, "PGPASSWORD": self.password}
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=True).stdout


@contextlib.contextmanager
def postgres(given: Path | None = None) -> Iterator[Postgres]:
    """Start a new cluster, in a folder of its own, or in an empty one that stays."""
    need("initdb")
    # Not below the test's own folder: root's folders are closed to the user that PostgreSQL runs as.
    folder = given or Path(tempfile.mkdtemp(prefix="lamplighter-postgres-"))
    server = Postgres(folder)
    try:
        server.make()
        server.start()
        yield server
    finally:
        server.end()
        if given is None:
            shutil.rmtree(folder)


def _runs(pid: int) -> bool:
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _as_nobody(*argv: str | Path) -> list[str | Path]:
    """Return a command line that runs without root's rights: PostgreSQL refuses those."""
    if os.geteuid() != 0:
        return list(argv)
    who = ["--reuid", _user().pw_name, "--regid", str(_user().pw_gid), "--clear-groups"]
    return ["setpriv", *who, "--pdeathsig", "KILL", *argv]  # ends with a test run that is killed


def _hand_over(folder: Path) -> None:
    if os.geteuid() == 0:
        for path in (folder, *folder.iterdir()):
            os.chown(path, _user().pw_uid, _user().pw_gid)


def _user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        missing("needs the user postgres: apt install postgresql")
