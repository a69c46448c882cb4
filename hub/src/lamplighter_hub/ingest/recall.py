"""What the store holds last of a device, for the checks of the first readings that come of it after a start.

It is asked when a device is first heard, so a hub takes data as soon as it runs, whatever the size of its city.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Final

from lamplighter_hub.series.store import SeriesError, TimeSeries
from lamplighter_protocols.readings import Reading

log = logging.getLogger(__name__)

PAUSE_S: Final = 10.0
"""A store that did not answer is not asked again before: data is taken meanwhile, and its checks begin afresh."""


class Recall:
    """Tells the newest stored readings of one device. Used in one thread."""

    def __init__(self, series: TimeSeries) -> None:
        self._series = series
        self._not_before = 0.0

    def __call__(self, device: str) -> Mapping[str, Reading]:
        """Return the newest reading of each metric; none when the store does not answer."""
        if time.monotonic() < self._not_before:
            return {}
        try:
            return self._series.latest([device]).get(device, {})
        except SeriesError as error:
            log.warning("the checks of readings begin afresh for devices that are heard now: %s", error)
            self._not_before = time.monotonic() + PAUSE_S
            return {}
