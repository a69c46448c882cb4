"""What goes into the outbox, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic import BaseModel
from pydantic_core import to_json

from lamplighter_agent.packing import Sample
from lamplighter_protocols.envelope import wrap
from lamplighter_protocols.records import Stream


class Samples(NamedTuple):
    """Rows of one device for one stream. `apart` is that of the `Moment` that their times are of (clock.py)."""

    stream: Stream
    device: str
    rows: Sequence[Sample]
    apart: int | None = None


class Single(NamedTuple):
    """One record that stands for itself: an event, a result, a report. `t` is its time in ms, `apart` its Moment's."""

    stream: Stream
    t: int
    body: bytes
    apart: int | None = None


def single(stream: Stream, record: BaseModel, t: int, apart: int | None = None) -> Single:
    """Return a record ready to be appended."""
    text = record.model_dump_json(exclude_defaults=True).replace("{", _kind_of(record), 1)
    return Single(stream, t, text.encode(), apart)


def _kind_of(record: BaseModel) -> str:
    # `kind` has a default, and defaults are left out to save bytes.
    return '{"kind":"' + str(record.kind) + '",'  # type: ignore[attr-defined]


class Inventory(NamedTuple):
    """What an outbox holds, by stream: up to which number nothing is kept, how many records are kept.

    `last` is the number that was given last, of the streams that keep something.
    """

    freed: dict[Stream, int]
    held: dict[Stream, int]
    last: dict[Stream, int]


@dataclass(frozen=True, slots=True)
class Window:
    """Consecutive records of one stream, `first` to `last`. `whole` is false when more records follow.

    `held` and `freed` are by stream: how many records are kept, and up to which number none is.
    """

    outbox: str
    stream: Stream
    first: int
    bodies: Sequence[bytes]
    held: Mapping[Stream, int]
    freed: Mapping[Stream, int]
    whole: bool

    @property
    def last(self) -> int:
        """Number of the last record."""
        return self.first + len(self.bodies) - 1

    def payload(self, sent: int, pack: Callable[[bytes], bytes] = wrap) -> bytes:
        """Return the batch as it travels; `sent` is the agent's clock in ms, `pack` compresses."""
        head = {"outbox": self.outbox, "stream": self.stream, "first": self.first, "sent": sent, "held": self.held}
        head["freed"] = {stream: number for stream, number in self.freed.items() if number}
        return pack(to_json(head)[:-1] + b',"records":[' + b",".join(self.bodies) + b"]}")
