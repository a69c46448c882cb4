"""Server-sent events: what just happened, as it happens."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from lamplighter_hub.access.dependencies import Hub, Viewer
from lamplighter_hub.errors import TooMany, invalid
from lamplighter_hub.live import TooManyListeners

router = APIRouter(tags=["stream"])

TOPICS: Final = ("presence", "command", "event", "configuration", "tick")
MOST_TOPICS: Final = 50
RETRY_MS: Final = 2_000
LONGEST_S: Final = 15 * 60.0
"""A stream ends after this time and the client comes again: a token that was taken back does not listen for ever."""
_READINGS: Final = re.compile(r"readings:([a-z0-9][a-z0-9-]{0,63}\*?|\*)\Z")


def asked_topics(
    topics: Annotated[
        str,
        Query(
            max_length=4_000,
            description="Separated by commas: presence, command, event, configuration, tick, readings:DEVICE.",
            examples=["presence,readings:air-1"],
        ),
    ] = "presence,command,event,configuration",
) -> list[str]:
    """Return the topics of a request. Raises Invalid."""
    asked = list(dict.fromkeys(topic.strip() for topic in topics.split(",") if topic.strip()))
    if not asked or len(asked) > MOST_TOPICS:
        raise invalid("topics", f"names 1 to {MOST_TOPICS} topics")
    for topic in asked:
        if topic not in TOPICS and not _READINGS.match(topic):
            raise invalid("topics", f"has {topic[:80]!r}: take {', '.join(TOPICS)} or readings:DEVICE")
    return asked


def room(hub: Hub) -> None:
    """Refuse a stream that there is no room for, while it can still be said."""
    if hub.live.full:
        raise TooMany("too many streams are open; close some, or come again", retry_after_s=10)


@router.get("/stream", response_class=EventSourceResponse, dependencies=[Depends(room)])
async def stream(
    hub: Hub,
    _: Viewer,
    topics: Annotated[list[str], Depends(asked_topics)],
    last_event_id: Annotated[str, Header(max_length=64)] = "",
) -> AsyncIterator[ServerSentEvent]:
    """Tell what happens, as server-sent events named for their topic.

    `ready` comes first: ask for the present state after it and nothing is missed. After a break `Last-Event-ID` goes on
    where it stopped; `dropped` says that some went by, so ask for the state again.
    """
    yield ServerSentEvent(comment="lamplighter", retry=RETRY_MS)
    try:
        async with asyncio.timeout(LONGEST_S), aclosing(hub.live.subscribe(topics, last_event_id)) as news:
            async for message in news:
                yield ServerSentEvent(data=message.data, event=message.topic, id=message.id or None)
    except (TimeoutError, TooManyListeners):
        return
