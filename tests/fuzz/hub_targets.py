"""What the hub reads beside the wire contract: questions of nats-server, answers of InfluxDB, backups, imports."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import math
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from fuzz.kinds import Feed, Target
from lamplighter_hub.backup import archive
from lamplighter_hub.broker.callout import Callout, Tally, new_secrets
from lamplighter_hub.ingest.plain import read_plain
from lamplighter_hub.quarantine.endpoints import shown
from lamplighter_hub.series.importing import read_rows
from lamplighter_hub.series.influx.client import read_answer
from lamplighter_hub.series.parquet import parquet_rows, readings_parquet
from lamplighter_hub.series.thrift import Reader, written
from lamplighter_protocols.errors import BadField
from lamplighter_protocols.ids import NAME_PATTERN
from lamplighter_protocols.readings import Quality, Reading, ReadingsRecord
from lamplighter_protocols.records import BadRecord, parse_batch

NAME: Final = re.compile(f"(?=.{{1,64}}$){NAME_PATTERN}")
QUESTION: Final = {
    "aud": "nats-authorization-request",
    "exp": 1_795_476_602,
    "iss": "NABC",
    "nats": {
        "server_id": {"name": "lamplighter", "host": "127.0.0.1", "id": "NABC", "version": "2.15.1"},
        "user_nkey": "UABC",
        "client_info": {"host": "127.0.0.1", "id": 7, "kind": "Client", "type": "mqtt", "mqtt_id": "air-1"},
        "connect_opts": {"user": "air-1", "pass": "secret", "protocol": 4},
        "type": "authorization_request",
        "version": 2,
    },
}
ANSWER: Final = {
    "results": [
        {
            "statement_id": 0,
            "series": [
                {
                    "name": "readings",
                    "tags": {"device": "air-1"},
                    "columns": ["time", "value_f", "value_b", "value_s", "stamp"],
                    "values": [[1_795_476_600_000_000_000, 12.5, None, None, 16], [2, -0.0, True, "on", 0]],
                }
            ],
        },
        {"statement_id": 1},
        {"statement_id": 2, "error": "timeout"},
    ]
}
ROWS: Final = (
    b"device,metric,time,t,value,quality,type\nair-1,pm25,2026-11-24T08:00:00.000Z,1795507200000,12.5,good,number\n",
    b"device,metric,t,value,quality\nair-1,door,1,open,\nair-1,ok,2,true,good\nair-1,pm25,3,,no_data\n",
    b'device,metric,time,value\nair-1,note,2026-11-24 08:00:00+08:00,"a ""quoted"", one"\n',
)


def hub_targets(folder: Path, batches: tuple[bytes, ...]) -> Iterator[Target]:
    """Yield all of them; `folder` is for what is read from files, `batches` are good ones."""
    yield Target("plain-batch", (*batches, *map(_plain_batch, range(3))), _as_the_models)
    yield Target("nats-question", (json.dumps(QUESTION).encode(),), _question())
    yield Target("influx-answer", (json.dumps(ANSWER).encode(),), read_answer)
    yield Target("backup", (_backup(),), _archive(folder / "backup.tar"))
    yield Target("quarantined", (*batches, b"\x00\xff", "größe 温度".encode()), shown)
    yield Target("import-csv", ROWS, lambda payload: read_rows(payload, 1))
    parquet = _parquet()
    yield Target("parquet-footer", (parquet[-8 - int.from_bytes(parquet[-8:-4], "little") : -8],), _footer)
    yield Target("import-parquet", (parquet,), _file(folder / "import.parquet"), slow=50)


def _plain_batch(number: int) -> bytes:
    records = [
        {"kind": "readings", "device": "air-1", "t": 1_795_476_600_000, "dt": [0, 10], "m": {"pm25": [12.5, number]}},
        {"kind": "readings", "device": "air-2", "t": 1_795_476_600_000, "dt": [0], "m": {"no2": [None]}},
    ]
    head = {"outbox": "01M80T5JNV0000000000000000", "stream": "live", "first": 1 + number, "sent": 1_795_476_672_123}
    return json.dumps({**head, "held": {"live": 2}, "records": records[: 1 + number]}).encode()


def _as_the_models(payload: bytes) -> None:
    """The typed decoder takes less than the models and never more, but for names, which ingest knows."""
    plain = read_plain(payload)
    if plain and any(len(column) != len(one.dt) for one in plain.records for column in one.m.values()):
        plain = None  # ingest leaves it alone
    try:
        _, records = parse_batch(payload)
    except BadField as error:
        if plain and error.field != "outbox":
            raise AssertionError(f"only the typed decoder takes it: {error}") from error
        raise
    for mine, model in zip(plain.records if plain else (), records, strict=plain is not None):
        if isinstance(model, BadRecord):
            assert _is_name(model.error.field), f"only the typed decoder takes it: {model.error}"
        else:
            assert isinstance(model, ReadingsRecord)
            assert (mine.device, mine.t, mine.dt, mine.m.keys()) == (model.device, model.t, model.dt, model.m.keys())
            assert all(_same(mine.m[name], model.m[name]) for name in mine.m)


def _is_name(field: str) -> bool:
    """Whether a device or a metric is spelled as none is: ingest knows neither."""
    within = field.removeprefix("records.").partition(".")[2]
    return within in {"device", "m"} or (within.startswith("m.") and not NAME.fullmatch(within[2:]))


def _same(mine: Sequence[float | None], model: Sequence[object]) -> bool:
    return len(mine) == len(model) and all(
        one is None if other is None else isinstance(other, int | float) and math.isclose(one or 0, other)
        for one, other in zip(mine, model, strict=True)
    )


class _Asked:
    """A question as nats-py hands it over."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def respond(self, answer: bytes) -> None:
        assert answer.count(b".") == 2


def _question() -> Feed:
    callout = Callout(new_secrets(), lambda _: None, lambda _request, _why: None, Tally())

    def feed(payload: bytes) -> None:
        body = base64.urlsafe_b64encode(payload) if payload[:1] == b"{" else payload
        with contextlib.suppress(StopIteration):  # it waits for nothing
            callout.answer(_Asked(b"e30." + body + b".e30")).send(None)

    return feed


def _backup() -> bytes:
    files = {"keys/000001-abc.pem": b"a key", "registry.sqlite": b"SQLite format 3\0" * 40}
    contents = archive.Contents(series={"points": 1}, ledger={}, registry={"agents": 1})
    listed = [archive.File(name=name, bytes=len(data), sha256=_sha256(data)) for name, data in files.items()]
    manifest = archive.Manifest(format=1, made_by="0.1.0", moment=1, contents=contents, files=listed)
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name, data in {archive.MANIFEST: manifest.model_dump_json().encode(), **files}.items():
            head = tarfile.TarInfo(name)
            head.size = len(data)
            tar.addfile(head, io.BytesIO(data))
    return sink.getvalue()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _archive(file: Path) -> Feed:
    def feed(payload: bytes) -> None:
        file.write_bytes(payload)
        archive.check(file)

    return feed


def _parquet() -> bytes:
    values = (12.5, True, "open", None)
    readings = [
        Reading("air-1", f"m{n}", n, value, Quality.GOOD if value is not None else Quality.NO_DATA)
        for n, value in enumerate(values)
    ]
    return b"".join(readings_parquet([readings]))


def _footer(payload: bytes) -> None:
    """The footer of a file that DuckDB wrote a moment ago; what is no struct is said by these errors."""
    try:
        written(Reader(payload).struct())
    except (ValueError, IndexError) as error:
        raise BadField(f"no struct: {type(error).__name__}") from None


def _file(file: Path) -> Feed:
    def feed(payload: bytes) -> None:
        file.write_bytes(payload)
        for _ in parquet_rows(file):
            pass

    return feed
