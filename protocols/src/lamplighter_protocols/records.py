"""Everything that leaves through the outbox, and the batch that carries it.

One bad record never spoils its neighbours: a batch that does not pass as a whole is read record by record, and what
is wrong with one is said in its place.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import FailFast, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import to_json

from lamplighter_protocols import envelope
from lamplighter_protocols.commands import CommandState
from lamplighter_protocols.configuration import ConfigurationHash, ConfigurationState, FieldError
from lamplighter_protocols.errors import BadField, bad_field
from lamplighter_protocols.ids import DeviceId, Name, Ulid
from lamplighter_protocols.model import Count, Data, Millis, Reason, Sequence, WireModel, parse_json
from lamplighter_protocols.readings import ReadingsRecord, UnknownClock

MAX_RECORDS: Final = 2_000


class Stream(StrEnum):
    """The outbox's streams by urgency; each counts its records from 1 without gaps."""

    ALARM = "alarm"
    LIVE = "live"
    BACKLOG = "backlog"


Counted = Annotated[dict[Stream, Count], Field(max_length=3)]
"""A number for each stream; 0 where a stream is absent."""


class EventRecord(WireModel):
    """Something that happened at a time. `clock` as in readings."""

    kind: Literal["event"] = "event"
    device: DeviceId
    t: Millis
    name: Name
    data: Data = {}
    clock: UnknownClock = None


class ResultRecord(WireModel):
    """How far a command has come on the device."""

    kind: Literal["result"] = "result"
    device: DeviceId
    command: Ulid
    state: CommandState
    t: Millis
    data: Data = {}
    reason: Reason = ""


class ReportedRecord(WireModel):
    """What became of a configuration document on the device."""

    kind: Literal["reported"] = "reported"
    device: DeviceId
    version: Count
    hash: ConfigurationHash
    state: ConfigurationState
    t: Millis
    document: Data = {}
    errors: Annotated[list[FieldError], Field(max_length=100)] = []
    reason: Reason = ""


OUTBOX_FULL: Final = "outbox_full"
"""Given up for lack of room."""
NOT_HELD: Final = "not_held"
"""The hub asked for them, and they are not there any more: received once, or lost with the outbox."""


class DroppedRecord(WireModel):
    """Which records an agent cannot send any more: `first` to `last` of `stream`, which held `count` records, are gone.

    `outbox` names an earlier outbox of the agent, when the numbers are that one's. It holds as far as the records did
    not arrive: what the hub has, or still gets, is not lost.
    """

    kind: Literal["dropped"] = "dropped"
    outbox: Ulid | None = None
    stream: Stream
    first: Sequence
    last: Sequence
    count: Annotated[int, Field(ge=1)]
    from_t: Millis | None = None
    to_t: Millis | None = None
    reason: Reason = ""
    t: Millis

    @model_validator(mode="after")
    def _range_holds_the_count(self) -> DroppedRecord:
        if self.last < self.first:
            raise ValueError(f"last: is below first ({self.first})")
        if self.count > self.last - self.first + 1:
            raise ValueError(f"count: is more than the range {self.first} to {self.last} holds")
        return self


Record = Annotated[
    ReadingsRecord | EventRecord | ResultRecord | ReportedRecord | DroppedRecord, Field(discriminator="kind")
]
_RECORD: Final[TypeAdapter[Record]] = TypeAdapter(Record)


class Header(WireModel):
    """What a batch says of itself, beside its records.

    `sent` is the agent's clock in ms. `held` says how many records each stream still keeps (this batch included), and
    `freed` up to which number it keeps none: what the hub misses there is only found out by asking.
    """

    outbox: Ulid
    stream: Stream
    first: Sequence
    sent: Millis
    held: Counted = Field(default_factory=dict)  # pydantic copies a default `{}` for every message, slowly
    freed: Counted = Field(default_factory=dict)


class Batch(Header):
    """Consecutive records of one stream, all of them good; record i has the number `first + i`."""

    records: Annotated[list[Record], FailFast(), Field(min_length=1, max_length=MAX_RECORDS)]


class _RawBatch(Header):
    records: Annotated[list[Any], Field(min_length=1, max_length=MAX_RECORDS)]


HIGHEST_TOLD: Final = 2**52
"""An agent counts on behind what a receipt tells it, and receipts are not signed: half of all numbers stay left."""


MAX_LIVES: Final = 16
"""Lives of an agent that a birth may tell of."""


class Receipt(WireModel):
    """What is committed: everything `through` a number, and ranges `also` beyond it. `now` is the hub's clock.

    `retry_after_ms` asks the agent to hold its backlog for so long; `reason` says why.

    The answer to a birth says more: `session` is the birth's, or a higher one when that session is over for the hub,
    and `highest` is the highest number that it knows of each stream of this outbox. `met` are those of the birth's
    lives that the hub has met. It meets the present one unless one that it has not met begins at numbers that it knows.
    """

    outbox: Ulid
    through: dict[Stream, Count] = {}
    also: dict[Stream, list[tuple[Sequence, Sequence]]] = {}
    session: Annotated[int, Field(ge=0, le=HIGHEST_TOLD)] = 0
    highest: Annotated[dict[Stream, Annotated[int, Field(ge=0, le=HIGHEST_TOLD)]], Field(max_length=3)] = Field(
        default_factory=dict
    )
    met: Annotated[list[Ulid], Field(max_length=MAX_LIVES)] | None = None
    now: Millis
    retry_after_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 0
    reason: Reason = ""


class BadRecord(NamedTuple):
    """A record of a batch that the contract does not allow, as it came, and why."""

    raw: Any
    error: BadField


def parse_batch(payload: bytes) -> tuple[Header, list[Record | BadRecord]]:
    """Read a batch: its header, and in place of each record that is not allowed, what is wrong with it.

    Raises BadEnvelope or BadField only when the header itself cannot be read.
    """
    raw = envelope.unwrap(payload)
    try:
        whole = Batch.model_validate_json(raw)
    except ValidationError:
        return _parse_one_by_one(raw)
    return whole, [*whole.records]


def _parse_one_by_one(raw: bytes) -> tuple[Header, list[Record | BadRecord]]:
    batch = parse_json(_RawBatch, raw)
    return batch, [_parse_record(item, f"records.{index}") for index, item in enumerate(batch.records)]


def _parse_record(raw: Any, where: str) -> Record | BadRecord:
    try:
        # Strict models take enumerations and pairs from JSON only, and NaN must stay visible to be refused.
        return _RECORD.validate_json(to_json(raw, inf_nan_mode="constants"))
    except ValidationError as error:
        return BadRecord(raw, bad_field(error, where, tagged=True))
