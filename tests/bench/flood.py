"""One client that publishes at QoS 0 as fast as the broker reads, or so many messages a second, until its time is over:

    PYTHONPATH=tests python -m bench.flood PORT USER PASSWORD POINTS SECONDS [--lines values|rows] [--rate MESSAGES]

Prints how many it sent. The batches are those of the swarm, so that a subscriber carries what the hub carries; with
`--lines` the same readings go out as InfluxDB line protocol, each time new and at QoS 1, for a subscriber that reads
no batches: a line for each value, or a line for each row of values of one time.
"""

from __future__ import annotations

import argparse
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from lamplighter_firmware_sim.swarm import packets, words
from lamplighter_firmware_sim.swarm.preparation import PROFILE
from lamplighter_protocols import envelope
from lamplighter_protocols.profile import load_profiles
from lamplighter_protocols.topics import Channel, build
from services.wait import eventually

OUTBOX = "01M80T5JNV0000000000000000"
PIECE = 50
"""Messages handed to the system at once; as lines, one from each of so many devices."""
PIECES = 20
"""Different pieces of lines, so that values change."""
SLOT_MS = 10_000
"""The times of a piece of lines lie in one slot, so that a new slot makes new points of them."""
VALUES, ROWS = FORMS = ("values", "rows")
_SLOT = b"@@@@@@@@@"
"""Stands for the digits of a slot in a piece."""


def lines(batch: bytes, form: str) -> list[str]:
    """Return the readings of a batch as line protocol, a line for each value or for each row."""
    said: dict[str, Any] = envelope.decode(batch)
    return [
        f"{PROFILE},device={record['device']} {fields} {record['t'] + dt}"
        for record in said["records"]
        for row, dt in enumerate(record["dt"])
        for fields in _fields({name: column[row] for name, column in record["m"].items()}, form)
    ]


def _fields(row: dict[str, Any], form: str) -> list[str]:
    there = [f"{name}={value}" for name, value in row.items() if value is not None]
    return there if form == VALUES else [",".join(there)]


def points_a_line(points: int, form: str) -> float:
    """Return how many of a batch's points one line of a form carries."""
    return points / words.load_of(load_profiles()[PROFILE], points).rows if form == ROWS else 1


def batches(user: str, points: int) -> Iterator[bytes]:
    """Yield the same packets of batches for ever."""
    load = words.load_of(load_profiles()[PROFILE], points)
    t = time.time_ns() // 1_000_000
    made = (words.batch(load, OUTBOX, f"{user}-air", number + 1, t) for number in range(PIECE))
    piece = b"".join(packets.publish(build(user, Channel.BATCH), batch) for batch in made)
    while True:
        yield piece


def new_lines(user: str, points: int, form: str) -> Iterator[bytes]:
    """Yield packets of lines for ever; no device tells of the same time twice."""
    slot = time.time_ns() // 1_000_000 // SLOT_MS
    pieces = [_piece_of_lines(user, points, form, first) for first in range(PIECES)]
    while True:
        for piece in pieces:
            yield piece.replace(_SLOT, b"%09d" % slot)
            slot += 1


def _piece_of_lines(user: str, points: int, form: str, first: int) -> bytes:
    load = words.load_of(load_profiles()[PROFILE], points)
    t = SLOT_MS * 10**8 + SLOT_MS - load.row_ms  # a slot of nine digits, and the last row at its end
    slot = b"%09d" % (t // SLOT_MS)
    topic = build(user, Channel.BATCH)
    made = (lines(words.batch(load, OUTBOX, f"{user}-{number}", first + number, t), form) for number in range(PIECE))
    texts = ("\n".join(text).encode().replace(b" " + slot, b" " + _SLOT) for text in made)
    return b"".join(packets.publish(topic, text, 1, number) for number, text in enumerate(texts, 1))


def main(port: int, user: str, password: str, pieces: Iterator[bytes], seconds: float, rate: float) -> int:
    """Publish; return how many messages were sent. `rate` is messages a second, 0 for as many as the broker reads."""
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(packets.connect(user, username=user, password=password, keepalive_s=600, will=None))
        if stream.recv(4) != b"\x20\x02\x00\x00":
            raise ConnectionError("the broker refuses the flood")
        sent, begun = 0, time.monotonic()
        while (passed := time.monotonic() - begun) < seconds:
            due = passed * rate if rate else sent + PIECE
            _discard(stream)
            for _ in range(sent, int(due), PIECE):
                stream.sendall(next(pieces))
                sent += PIECE
            if rate:
                eventually(lambda: time.monotonic() - begun > sent / rate)  # noqa: B023 - asked at once
    return sent


def _discard(stream: socket.socket) -> None:
    """Take the broker's acknowledgements off the connection."""
    with suppress(BlockingIOError):
        while stream.recv(65_536, socket.MSG_DONTWAIT):
            pass


def command(port: int, user: str, password: str, points: int, seconds: float, *options: str) -> list[str]:
    """Return the arguments of this program. A password may begin with a dash, and is no option then."""
    return [*options, "--", str(port), user, password, str(points), f"{seconds:g}"]


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the arguments of this program."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("port", type=int)
    options.add_argument("user")
    options.add_argument("password")
    options.add_argument("points", type=int)
    options.add_argument("seconds", type=float)
    options.add_argument("--lines", choices=FORMS, help="line protocol in place of batches")
    options.add_argument("--rate", type=float, default=0, help="messages a second; as many as are read when not given")
    return options.parse_args(arguments)


if __name__ == "__main__":
    given = parsed(sys.argv[1:])
    made = new_lines(given.user, given.points, given.lines) if given.lines else batches(given.user, given.points)
    print(main(given.port, given.user, given.password, made, given.seconds, given.rate))
