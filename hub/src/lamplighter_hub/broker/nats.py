"""nats-server as a supervised child: started, probed, restarted with back-off, gone when the hub is gone.

One thread holds everything that belongs to the server: the child (whose leash is tied to the thread that forked it),
the connection that answers who may connect, and the watch over both. A server that dies or no longer answers pings
closes that connection; this is how its end is noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import re
import socket
import subprocess
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from lamplighter_hub.broker import configuration, probe
from lamplighter_hub.broker.callout import Callout, Decide, Refused, Tally, new_secrets
from lamplighter_hub.broker.configuration import HUB_USER, NatsOptions
from lamplighter_hub.broker.leash import leashed
from lamplighter_hub.broker.program import BrokerFailed, Program, find_server
from lamplighter_hub.broker.stuck import StuckStore
from lamplighter_hub.settings import child_environment

__all__ = ["BrokerFailed", "NatsOptions", "NatsServer"]

PORT_WITHIN_S: Final = 5.0
"""How long the port may still belong to the server of a hub that was killed a moment ago."""
READY_WITHIN_S: Final = 60.0
"""A large store of messages is read again before the server answers."""
PROBE_TIMEOUT_S: Final = 5.0
STOP_WITHIN_S: Final = 10.0
KICK_WITHIN_S: Final = 10.0
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 10.0
LOOK_EVERY_S: Final = 0.02
LOOK_AT_STORE_S: Final = 10.0
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what to connect to when it listens everywhere

_log = logging.getLogger(__name__)


class NatsServer:
    """The embedded broker. `start` returns when it serves; afterwards it is kept running until `stop`.

    `decide` and `refused` are called in the broker's thread and must answer from memory.
    """

    def __init__(self, options: NatsOptions, decide: Decide, refused: Refused) -> None:
        self._options = options
        self._decide = decide
        self._refused = refused
        self._secret = new_secrets()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._callout: Callout | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._settled = threading.Event()
        self._failure: BrokerFailed | None = None
        self.port = options.mqtt_port
        """The MQTT port; known after `start` when the system was to choose it."""
        self.ready = threading.Event()
        """Set while the broker serves."""
        self.trouble = "not started"
        """Why it does not serve, for people; empty while it does."""
        self.version = ""
        self.restarts = 0
        self.tally = Tally()

    @property
    def url(self) -> str:
        """Where the hub connects to, without credentials."""
        host = _LOOPBACK.get(self._options.host, self._options.host)
        return f"mqtt://[{host}]:{self.port}" if ":" in host else f"mqtt://{host}:{self.port}"

    @property
    def username(self) -> str:
        """The hub's MQTT user, which may read everything agents say and speak to all of them."""
        return HUB_USER

    @property
    def password(self) -> str:
        """The hub's MQTT password, another one in each process."""
        return self._secret.hub

    @property
    def pid(self) -> int:
        """Process id of the server, 0 while there is none."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> None:
        """Start the server and wait until it serves. Raises BrokerFailed with one line when it cannot."""
        program = find_server()
        self.version = program.version
        self._options.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._thread = threading.Thread(
            target=asyncio.run, args=(self._supervise(program),), name="broker", daemon=True
        )
        self._thread.start()
        self._settled.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure

    def stop(self) -> None:
        """End the server and wait until it is gone; its store stays."""
        if self._thread is not None and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended by itself
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = None

    def kick(self, agent: str) -> bool:
        """Disconnect an agent that may no longer be here; false when it is not connected."""
        callout, loop = self._callout, self._loop
        if callout is None or loop is None or not self.ready.is_set():
            return False
        return asyncio.run_coroutine_threadsafe(callout.kick(agent), loop).result(KICK_WITHIN_S)

    # Everything below runs in the broker's thread.

    async def _supervise(self, program: Program) -> None:
        self._loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_S
        while not self._stop.is_set():
            served = await self._live(program)
            if not self._settled.is_set():
                self._failure = BrokerFailed(self.trouble)
                self._settled.set()
                return
            pause = FIRST_PAUSE_S if served else min(pause * 2, LONGEST_PAUSE_S)
            if not self._stop.is_set():
                self.restarts += 1
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), pause)
        self.trouble = "stopped"

    async def _live(self, program: Program) -> bool:
        """One life of the server. Returns whether it ever served; `trouble` says why it ended."""
        served = False
        try:
            async with self._serving(program) as callout:
                served = True
                self._settle()
                await self._watch(callout)
            self._note("nats-server ended")
        except (BrokerFailed, ConnectionError) as error:
            self._note(str(error))
        except Exception as error:  # noqa: BLE001 - supervision: a defect here must not end the broker
            _log.warning("broker: a defect ended the watch over nats-server", exc_info=True)
            self._note(f"{type(error).__name__} while watching nats-server")
        return served

    async def _watch(self, callout: Callout) -> None:
        """Return when the server shall end, or has ended. Raises BrokerFailed when it must be started again."""
        store = StuckStore(self._options.folder / configuration.LOG_FILE)
        while not await _either(self._stop, callout.lost, LOOK_AT_STORE_S):
            if store.look():
                raise BrokerFailed("nats-server stores nothing since its disk was full; it is started again")

    @contextlib.asynccontextmanager
    async def _serving(self, program: Program) -> AsyncIterator[Callout]:
        """One life of the server, from a free port to its end."""
        self.port = await _free_port(self._options.host, self.port)
        process = self._process = self._spawn(program)
        callout = Callout(self._secret, self._decide, self._refused, self.tally)
        try:
            await callout.open(await self._client_url(process))
            await self._probe(process)
            await callout.bound_store(self._options.max_store, self._options.max_retained)
            self._callout = callout
            yield callout
        finally:
            self.ready.clear()
            self._callout = None
            # One that hangs would not hear a polite word, and what it has confirmed survives kill -9.
            _end(process, politely=self._stop.is_set())
            await callout.close()

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        folder = self._options.folder
        for stale in folder.glob("*.ports"):
            stale.unlink()
        path = configuration.write(self._options, self._secret, self.port)
        with (folder / "nats-server.err").open("wb") as errors:
            # A session of its own: Ctrl-C is for the hub, which ends the server when it has said goodbye.
            return subprocess.Popen(
                leashed([program.path, "-c", str(path)]),
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
                env=child_environment(),
            )

    async def _client_url(self, process: subprocess.Popen[bytes]) -> str:
        """Wait for the file in which the server says which port it was given."""
        path = self._options.folder / f"nats-server_{process.pid}.ports"
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise BrokerFailed(f"nats-server ended at once: {_last_words(self._options.folder)}")
            with contextlib.suppress(OSError, ValueError):  # not there yet, or half written
                return str(json.loads(path.read_bytes())["nats"][0])
            await asyncio.sleep(LOOK_EVERY_S)
        raise BrokerFailed(f"nats-server was not ready within {READY_WITHIN_S:g} s")

    async def _probe(self, process: subprocess.Popen[bytes]) -> None:
        host = _LOOPBACK.get(self._options.host, self._options.host)
        deadline = time.monotonic() + READY_WITHIN_S
        while not await probe.serves(host, self.port, HUB_USER, self._secret.hub, PROBE_TIMEOUT_S):
            if process.poll() is not None or time.monotonic() > deadline:
                raise BrokerFailed(f"nats-server does not serve MQTT: {_last_words(self._options.folder)}")
            await asyncio.sleep(LOOK_EVERY_S)

    def _settle(self) -> None:
        if self._settled.is_set():
            _log.info("broker: nats-server serves again")
        self.trouble = ""
        self.ready.set()
        self._settled.set()

    def _note(self, trouble: str) -> None:
        if trouble != self.trouble and self._settled.is_set() and not self._stop.is_set():
            _log.warning("broker: %s", trouble)
        self.trouble = trouble


async def _either(first: asyncio.Event, second: asyncio.Event, within_s: float) -> bool:
    waits = [asyncio.ensure_future(event.wait()) for event in (first, second)]
    await asyncio.wait(waits, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    return first.is_set() or second.is_set()


async def _free_port(host: str, port: int) -> int:
    """Return the port as soon as it can be listened on; a port of 0 is chosen by the system. Raises BrokerFailed."""
    deadline = time.monotonic() + PORT_WITHIN_S
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        try:
            with socket.create_server((host, port), family=family) as listener:
                return int(listener.getsockname()[1])
        except OSError as error:
            if time.monotonic() > deadline:
                busy = error.errno == errno.EADDRINUSE
                reason = "is in use" if busy else f"cannot be used ({error.strerror})"
                raise BrokerFailed(f"MQTT port {port} on {host} {reason}: choose another with --mqtt-port") from None
        await asyncio.sleep(LOOK_EVERY_S)


def _end(process: subprocess.Popen[bytes], *, politely: bool) -> None:
    if politely:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_WITHIN_S)
    process.kill()
    process.wait()


def _last_words(folder: Path) -> str:
    """The last line that the server wrote, from its log or its standard error."""
    lines: list[str] = []
    for name in (configuration.LOG_FILE, "nats-server.err"):
        with contextlib.suppress(OSError):
            lines += (folder / name).read_text("utf-8", "replace").splitlines()[-1:]
    return re.sub(r"^\[\d+\] \S+ \S+ ", "", lines[-1])[-300:] if lines else "it said nothing"
