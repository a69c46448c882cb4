"""What the hub asks of a series store, and the values that cross that seam.

All times are integer milliseconds since the epoch; a range is half open: `start <= t < end`. A store keeps true
duplicates and equal timestamps, in the order of their arrival: a redelivery is recognised by the ledger, not here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from lamplighter_hub.series.ages import Policy
from lamplighter_protocols.errors import LamplighterError
from lamplighter_protocols.profile import Aggregation
from lamplighter_protocols.quality import Samples
from lamplighter_protocols.readings import Reading, Value

BEGINNING: Final = -(2**62)
"""A start before every possible time."""
END_OF_TIME: Final = 2**62
"""An end after every possible time."""
AHEAD_MS: Final = 10 * 60 * 1000
"""How far ahead of the hub's clock a time may lie: what is later would stay the newest value until then."""


class SeriesError(LamplighterError):
    """The store cannot do what was asked; the text is one line for people."""


class StoreUnavailable(SeriesError):
    """The store cannot be opened: in use, damaged, or not writable."""


class BadCursor(SeriesError):
    """A paging cursor that this store did not give."""


class Unstorable(LamplighterError):
    """A commit whose content no store can take; trying again does not help, its parts may."""


class StoredEvent(NamedTuple):
    """Something that happened to a device at `t` (ms)."""

    device: str
    t: int
    name: str
    data: dict[str, Any]


class Mark(NamedTuple):
    """Sequence numbers `first..last` of an agent's stream are dealt with; the rest are numbers of records.

    With `dropped` all of them are lost, and the other counts are 0. A record that is released from quarantine is stored
    once more and quarantined once less: -1.
    """

    agent: str
    outbox: str
    stream: str
    first: int
    last: int
    stored: int
    duplicate: int
    quarantined: int
    dropped: int


class Held(NamedTuple):
    """What a release needs to know of an entry that was set aside for its times only, and was kept whole.

    `number` is the record's in its stream of an outbox, 0 when a foreign device sent it; `counted` says that the ledger
    counts the record as quarantined, and not as stored for its other part. The times (ms) are the device's.
    """

    outbox: str
    stream: str
    number: int
    counted: bool
    earliest: int
    latest: int


class Release(NamedTuple):
    """An entry of quarantine was stored at `at` (ms) after all, its times moved by `shift` ms, because `by` said so."""

    entry: str
    at: int
    shift: int
    by: str


class Quarantined(NamedTuple):
    """A message or record that was set aside at `at` (ms), and why. `id` is a ULID.

    Only what is `held` can be released; `at` is then when it arrived. `release` says that it was.
    """

    id: str
    at: int
    agent: str
    device: str
    channel: str
    reason: str
    field: str
    detail: str
    payload: bytes
    held: Held | None = None
    release: Release | None = None


class Commit(NamedTuple):
    """What becomes durable together."""

    samples: Sequence[Samples] = ()
    events: Sequence[StoredEvent] = ()
    marks: Sequence[Mark] = ()
    quarantined: Sequence[Quarantined] = ()
    releases: Sequence[Release] = ()

    def again(self, other: Commit) -> bool:
        """Whether this is `other`, come again: what is set aside gets new ids each time."""
        return self[:3] == other[:3] and self.releases == other.releases


@dataclass(frozen=True, slots=True)
class Bucket:
    """The good values of a span that starts at `t`; `quality` counts the flagged ones, which are in no figure.

    `mean` is the value that the metric's aggregation gives (energy mean, circular mean, sum, last). Truth values count
    as 0 and 1; texts have only `count` and `last`.
    """

    t: int
    count: int
    min: float | None
    max: float | None
    mean: float | None
    last: Value | None
    quality: int


class Span(NamedTuple):
    """How much a series holds in a range: number of points, first and last time (ms); 0 points have no times.

    Where single points are gone, the finest roll-ups that are left say how many there were. `cut` of the points are in
    roll-ups that reach beyond the range: these count whole, and the range holds up to so many points less. Their times
    are then those of the range.
    """

    points: int
    first: int | None
    last: int | None
    cut: int = 0


class Counts(NamedTuple):
    """Sizes of the store since it was made; `quarantine_evicted` were set aside once and had to go.

    `quarantined` are set aside; those that were released since are still shown, and counted apart.
    """

    points: int
    events: int
    series: int
    marks: int
    quarantined: int
    quarantined_bytes: int
    quarantine_evicted: int
    quarantine_released: int
    disk_bytes: int


class Damaged(NamedTuple):
    """A file that is not what was written: of points from `start` up to `end` (ms). `level` is 0 for raw points.

    Else it holds what they come to by so many ms. `path` is relative to the data folder.
    """

    path: str
    start: int
    end: int
    points: int
    level: int = 0


class Checked(NamedTuple):
    """A file that was read: `place` tells where to go on behind it, `fault` what is wrong with it.

    What was `rebuilt` is whole again.
    """

    place: str
    path: str
    size: int
    fault: Damaged | None
    rebuilt: bool = False


class TimeSeries(Protocol):
    """A series store. Every method may be called from any thread; reading never waits for writing."""

    def commit(self, commit: Commit) -> None:
        """Make all of it durable, or nothing: when this returns it survives kill -9.

        Raises SeriesError when the store does not take data now, Unstorable when it never takes these.
        """

    def marks(self) -> Iterator[Mark]:
        """Return the marks by agent, outbox, stream and first number; neighbouring and overlapping ones are joined.

        Marks of losses (`dropped` above 0) are joined among themselves only: which numbers are lost must stay known.
        """

    def latest(self, devices: Sequence[str]) -> dict[str, dict[str, Reading]]:
        """Return the newest reading of each metric by device; of equal times the one that arrived last."""

    def metrics(self, device: str) -> list[str]:
        """Return the names of the metrics that a device ever had, sorted."""

    def span(self, device: str, metric: str, start: int, end: int) -> Span:
        """Return how many points a series holds in a range, between which times, and how far that is certain."""

    def readings(
        self, device: str, metrics: Sequence[str], start: int, end: int, *, limit: int, cursor: str | None = None
    ) -> tuple[list[Reading], str | None]:
        """Return at most `limit` readings by time, metric and arrival, and the cursor of the next page.

        No metrics means all of them. Raises BadCursor.
        """

    def buckets(
        self, device: str, metric: str, start: int, end: int, *, width_ms: int, aggregation: Aggregation
    ) -> list[Bucket]:
        """Return the buckets of a range, aligned to the epoch. An empty bucket is absent: a gap stays a gap.

        Where single points are gone, roll-ups that the range cuts count whole, if they fit into a bucket: `span`.
        """

    def damaged(self, devices: Sequence[str], metrics: Sequence[str], start: int, end: int) -> list[Damaged]:
        """Return the damaged files that may hold something of a range, so that an answer on it may be incomplete.

        Nothing named means all. Raises SeriesError.
        """

    def export_readings(
        self, devices: Sequence[str], metrics: Sequence[str], start: int, end: int
    ) -> Iterator[list[Reading]]:
        """Yield chunks of readings by device, metric, time and arrival, in constant memory. Nothing named means all."""

    def events(
        self,
        device: str | None,
        name: str | None,
        start: int,
        end: int,
        *,
        limit: int,
        cursor: str | None = None,
        oldest_first: bool = False,
    ) -> tuple[list[StoredEvent], str | None]:
        """Return at most `limit` events, newest first, and the next cursor; equal times keep the order of arrival."""

    def export_events(
        self, devices: Sequence[str], names: Sequence[str], start: int, end: int
    ) -> Iterator[list[StoredEvent]]:
        """Yield chunks of events by device, time and arrival, in constant memory. Nothing named means all."""

    def quarantine(
        self,
        agent: str | None,
        reason: str | None,
        *,
        limit: int,
        cursor: str | None = None,
        device: str | None = None,
        oldest_first: bool = False,
    ) -> tuple[list[Quarantined], str | None]:
        """Return at most `limit` entries, newest first, with their payloads, and the next cursor."""

    def quarantined(self, entry: str) -> Quarantined | None:
        """Return one quarantined entry by its id."""

    def counts(self) -> Counts:
        """Return the store's sizes, without reading through it."""

    def expire(self, policy: Policy, now: int) -> None:
        """Let go what is older at `now` (ms) than its class is kept, by whole days in UTC.

        What points come to by minute, hour and day stays for days of its own, and `buckets` and `span` are made of it.
        The newest reading of a series stays. Reading and writing go on. Raises SeriesError.
        """

    def backup(self, folder: Path) -> None:
        """Write all of one moment, not before the call, into an empty data folder; reading and writing go on.

        A store that is opened on that folder answers as this one did at that moment.
        """

    def close(self) -> None:
        """Make the file tidy and let go of it; no method may be called afterwards."""
