"""A real hub releases what a clock left, by itself: `PYTHONPATH=tests python -m hub.quarantine.measure_settling`.

It takes three minutes: a device sends each ten seconds, first three days ahead, then on a right clock.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from pathlib import Path

from e2e.test_foreign import AGENT, publish
from lamplighter_protocols.topics import Channel, build
from services.hub import Hub
from services.process import Children
from services.wait import eventually

DEVICE = "clock-1"
AHEAD_S = 3 * 86_400 + 1_234.5
EACH_S = 10.0
WRONG, RIGHT = 8, 9


def main() -> None:
    """Print how far the times of all readings are from those at which they were taken."""
    with tempfile.TemporaryDirectory() as folder:
        children = Children(Path(folder))
        try:
            run(Hub(Path(folder) / "data", children).start())
        finally:
            children.end()


def run(hub: Hub) -> None:
    password = hub.post("agents", {"agents": [{"id": AGENT}]})["items"][0]["password"]
    birth = {"session": 1, "boot": "01M80T5JNV0000000000000000", "heard_within_s": 3600, "sent": 1}
    birth |= {"devices": [{"id": DEVICE, "profile": "air-station"}]}
    publish(hub, password, build(AGENT, Channel.BIRTH), json.dumps(birth), qos=1)
    eventually(lambda: hub.device(DEVICE).get("state") == "online", within_s=20)
    pace, taken = threading.Event(), []
    for number in range(WRONG + RIGHT):
        taken.append(time.time())
        shown = taken[-1] + (AHEAD_S if number < WRONG else 0)
        pack = [{"bn": f"{DEVICE}:", "bt": shown, "n": "temp", "u": "Cel", "v": number}]
        publish(hub, password, build(AGENT, Channel.SENML, DEVICE), json.dumps(pack), qos=1)
        pace.wait(EACH_S)
    found = eventually(lambda: all_of(hub), within_s=30)
    off = [round(t - 1000 * truth) for t, truth in zip(found, taken, strict=True)]
    print(f"{len(found)} readings; released ones are off by {min(off[:WRONG])} to {max(off[:WRONG])} ms")


def all_of(hub: Hub) -> list[int]:
    """Return the times of all readings, once they are there."""
    items = hub.get(f"devices/{DEVICE}/readings", metric="temp")["items"]
    return [one["t"] for one in items] if len(items) == WRONG + RIGHT else []


if __name__ == "__main__":
    main()
