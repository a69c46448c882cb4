"""What a hub says of itself while it works."""

from __future__ import annotations

import httpx

from lamplighter_protocols.records import Stream
from services.hub import Hub, plain


def test_what_waits_to_be_stored_is_told_by_urgency(hub: Hub) -> None:
    queue = hub.get("status")["parts"]["queue"]
    assert queue == {stream: {"queued": 0, "waited_s": 0, "shed": 0} for stream in Stream}
    metrics = httpx.get(f"{hub.url}/metrics", verify=plain()).text
    for stream in Stream:
        for name in ("queued", "waited_seconds", "shed_total"):
            assert f'lamplighter_ingest_{name}{{stream="{stream}"}} 0.0' in metrics
