"""One client that publishes batches at QoS 0 as fast as the broker reads them, until its time is over:

    PYTHONPATH=tests python -m bench.flood PORT USER PASSWORD POINTS SECONDS

Prints how many it sent. The batches are those of the swarm, so that a subscriber carries what the hub carries.
"""

from __future__ import annotations

import socket
import sys
import time

from lamplighter_firmware_sim.swarm import packets, words
from lamplighter_firmware_sim.swarm.options import PROFILE
from lamplighter_protocols.profile import load_profiles
from lamplighter_protocols.topics import Channel, build

OUTBOX = "01M80T5JNV0000000000000000"
PIECE = 50
"""Messages handed to the system at once."""


def main(port: int, user: str, password: str, points: int, seconds: float) -> int:
    """Publish; return how many messages were sent."""
    load = words.load_of(load_profiles()[PROFILE], points)
    t = time.time_ns() // 1_000_000
    topic = build(user, Channel.BATCH)
    batches = (words.batch(load, OUTBOX, f"{user}-air", number + 1, t) for number in range(PIECE))
    piece = b"".join(packets.publish(topic, batch) for batch in batches)
    with socket.create_connection(("127.0.0.1", port)) as stream:
        stream.sendall(packets.connect(user, username=user, password=password, keepalive_s=600, will=None))
        if stream.recv(4) != b"\x20\x02\x00\x00":
            raise ConnectionError("the broker refuses the flood")
        sent, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            stream.sendall(piece)
            sent += PIECE
    return sent


if __name__ == "__main__":
    _, port, user, password, points, seconds = sys.argv
    print(main(int(port), user, password, int(points), float(seconds)))
