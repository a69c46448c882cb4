"""At the start of a hub: what the newest stored readings say of the devices that are watched."""

from __future__ import annotations

import logging
from typing import Final

from lamplighter_hub.devices.service import Filter
from lamplighter_hub.ingest.judge import Judge
from lamplighter_hub.series.store import SeriesError
from lamplighter_hub.services import Services

log = logging.getLogger(__name__)

PAGE: Final = 500
"""Devices that are asked for at once, so that a city's newest readings are never in memory together."""


def recalled(services: Services) -> Judge:
    """Return a judge that goes on where the store ends; when the store does not answer, one that begins afresh."""
    judge = Judge()
    try:
        _recall(services, judge)
    except SeriesError as error:
        log.warning("the checks of readings begin afresh: %s", error)
    return judge


def _recall(services: Services, judge: Judge) -> None:
    after = ""
    while page := services.devices.page(Filter(), "", after, PAGE):
        after = page[-1].id
        watched = [known for known in page if known.profile in services.profiles]
        watched = [known for known in watched if judge.plan(services.profiles[known.profile]) is not None]
        newest = services.series.latest([known.id for known in watched]) if watched else {}
        for known in watched:
            judge.recall(services.profiles[known.profile], known.id, newest.get(known.id, {}))
