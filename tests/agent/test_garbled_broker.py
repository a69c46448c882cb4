"""What a broker says that is no MQTT, or none of the contract, costs the session and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.garbled import garbled, linked
from services.wait import eventually_async


@pytest.mark.parametrize(
    "says",
    [
        pytest.param(b"\x30\x05\x00\x02\xff\xfea", id="topic is not UTF-8"),
        pytest.param(b"\x30\x05\x00\x01+bc", id="topic is a filter"),
        pytest.param(b"\x30\x05\x00\x09abc", id="topic beyond its packet"),
        pytest.param(b"\x30\xff\xff\xff\xff\xff", id="length of five bytes"),
    ],
)
def test_the_connection_is_closed(says: bytes, tmp_path: Path) -> None:
    async def play() -> None:
        async with garbled() as broker, linked(tmp_path, broker.port) as link:
            broker.says = says
            running = asyncio.create_task(link.run())
            await eventually_async(lambda: broker.left >= 1)
            assert not running.done()
            running.cancel()
            await asyncio.wait([running])

    asyncio.run(play())
