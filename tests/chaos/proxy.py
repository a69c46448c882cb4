"""A line between a client and its broker that can be cut, slowed, half open, shuffled and replayed into."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from chaos.wire import Packets, Pieces, Shuffler, batch

CHUNK: Final = 16 * 1024
LOOK_S: Final = 0.25
SLOW_BYTES: Final = 1_024
SLOW_S: Final = 0.25
REMEMBERED: Final = 60


class Line(StrEnum):
    """How the line is."""

    WHOLE = "whole"
    CUT = "cut"
    SLOW = "slow"
    SWALLOWS = "swallows"
    SWALLOWS_UP = "swallows-up"
    SWALLOWS_DOWN = "swallows-down"
    SHUFFLES = "shuffles"


_DEAF_UP: Final = {Line.SWALLOWS, Line.SWALLOWS_UP}
_DEAF_DOWN: Final = {Line.SWALLOWS, Line.SWALLOWS_DOWN}


class Proxy:
    """Listens on `port` and passes on to `target`. `heard` is told every batch that goes up."""

    def __init__(
        self,
        target: int,
        heard: Callable[[dict[str, Any]], None],
        seed: int = 0,
        cutter: type[Packets | Pieces] = Packets,
    ) -> None:
        self.target = target
        self.cutter = cutter
        self.state = Line.WHOLE
        self._heard = heard
        self._chance = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._seen: deque[bytes] = deque(maxlen=REMEMBERED)
        self._closing = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def become(self, state: Line) -> None:
        """Change the line. Connections that lost bytes, or are cut, end."""
        before, self.state = self.state, state
        if state is Line.CUT or before in _DEAF_UP | _DEAF_DOWN:
            self._end_all()

    def replay(self) -> int:
        """Send batches of before once more, in any order, on the connection of now; return how many."""
        with self._lock:
            again = list(self._seen)
            links = list(self._links)
        self._chance.shuffle(again)
        for link in links:
            with contextlib.suppress(OSError):
                link.up(b"".join(again))
        return len(again) if links else 0

    def close(self) -> None:
        """End everything."""
        self._closing.set()
        self._listener.close()
        self._end_all()

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        self._closing.wait(seconds)

    def remember(self, packet: bytes) -> None:
        """Look at a packet that goes up."""
        if self.cutter is Packets and (found := batch(packet)):
            self._seen.append(packet)
            self._heard(found)

    def shuffler(self) -> Shuffler:
        """Return one for a connection."""
        return Shuffler(self._chance)

    def forget(self, link: _Link) -> None:
        """Learn that a connection has ended."""
        with self._lock:
            self._links.discard(link)

    def _end_all(self) -> None:
        with self._lock:
            links = list(self._links)
        for link in links:
            link.end()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._join(client)

    def _join(self, client: socket.socket) -> None:
        if self.state is Line.CUT:
            client.close()
            return
        try:
            broker = socket.create_connection(("127.0.0.1", self.target), 2)
        except OSError:
            client.close()
            return
        link = _Link(self, client, broker)
        with self._lock:
            self._links.add(link)
        link.start()


class _Link:
    """One connection, a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, broker: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._broker = broker
        self._writing = threading.Lock()
        for end in (client, broker):
            end.settimeout(LOOK_S)

    def start(self) -> None:
        threading.Thread(target=self._run, args=(self._upwards,), daemon=True).start()
        threading.Thread(target=self._run, args=(self._downwards,), daemon=True).start()

    def end(self) -> None:
        for end in (self._client, self._broker):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def up(self, data: bytes) -> None:
        """Send whole packets to the broker."""
        with self._writing:
            self._send(self._broker, data)

    def _run(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(OSError):
            work()
        self.end()
        self._proxy.forget(self)
        for end in (self._client, self._broker):
            end.close()

    def _upwards(self) -> None:
        packets, shuffler = self._proxy.cutter(), self._proxy.shuffler()
        while (data := self._receive(self._client)) is not None:
            out = [] if data else shuffler.let_go()
            for packet in packets.feed(data):
                self._proxy.remember(packet)
                shuffles = self._proxy.state is Line.SHUFFLES
                out += shuffler.pass_on(packet) if shuffles else [*shuffler.let_go(), packet]
            if out and self._proxy.state not in _DEAF_UP:
                self.up(b"".join(out))

    def _downwards(self) -> None:
        while (data := self._receive(self._broker)) is not None:
            if data and self._proxy.state not in _DEAF_DOWN:
                self._send(self._client, data)

    def _receive(self, end: socket.socket) -> bytes | None:
        """Return what came, nothing after a while, None at the end."""
        try:
            return end.recv(CHUNK) or None
        except TimeoutError:
            return b""

    def _send(self, end: socket.socket, data: bytes) -> None:
        while data:
            slow = self._proxy.state is Line.SLOW
            if slow:
                self._proxy.pause(SLOW_S)
            part, data = (data[:SLOW_BYTES], data[SLOW_BYTES:]) if slow else (data, b"")
            self._send_all(end, part)

    def _send_all(self, end: socket.socket, data: bytes) -> None:
        view = memoryview(data)
        while view:
            with contextlib.suppress(TimeoutError):
                view = view[end.send(view) :]
