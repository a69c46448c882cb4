"""What the recorder tells the link: everything that has become durable, also what the outbox itself had to say."""

from __future__ import annotations

import asyncio
from pathlib import Path

from lamplighter_agent.clock import Clock, Moment
from lamplighter_agent.disk import Disk
from lamplighter_agent.driver import Output, Row
from lamplighter_agent.outbox import Outbox
from lamplighter_agent.recorder import Committed, Recorder
from lamplighter_protocols.profile import Profile
from lamplighter_protocols.records import Stream

T0 = 1_795_476_600_000
LEAST_ROOM = 64 * 1024
PROFILE = Profile.model_validate({"id": "p", "device_class": "test", "title": {"en": "p"}})


def rows(nth: int) -> Output:
    return Output(rows=[Row({"text": f"{nth}-{row}-".ljust(100, "x")}, t=T0 + nth * 1000 + row) for row in range(100)])


def test_the_link_is_told_at_once_when_records_had_to_be_given_up(tmp_path: Path) -> None:
    told: list[Committed] = []

    async def life() -> dict[Stream, int]:
        outbox, disk = Outbox(tmp_path / "outbox.sqlite", LEAST_ROOM, lambda: T0), Disk()
        await disk.run(outbox.open)
        recorder = Recorder(outbox, disk, Clock(lambda: T0), lambda: 0.0, told.append)
        for nth in range(10):
            await recorder.put("d", PROFILE, rows(nth), Moment(T0))
            assert await recorder.flush()
        held = outbox.held()
        await disk.run(outbox.close)
        disk.close()
        return held

    held = asyncio.run(life())

    assert held[Stream.ALARM] == 1, "one record says what is gone"
    assert Stream.ALARM not in told[0].sizes
    assert told[-1].sizes[Stream.ALARM] > 0
