"""Talks to influxd; the only importer of influxdb_client, which costs 48 MB and is loaded only where it is used."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import urllib3
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException

from lamplighter_hub.series.store import SeriesError, StoreUnavailable, Unstorable

TIMEOUT_MS: Final = 60_000
CONNECTIONS: Final = 16
_HINTS: Final = {
    401: "the token is wrong; set LAMPLIGHTER_SERIES_TOKEN or --series-token-file",
    403: "the token may not do this; it needs to read and write the bucket",
}
MEASURE_EVERY_S: Final = 10.0
_SIZES: Final = r'^storage_(?:tsm_files_disk_bytes|wal_size){{[^}}]*bucket="{}"[^}}]*}} (\S+)$'
_MINUS_ZERO: Final = re.compile(rb"-0[,\]]")


class Where(NamedTuple):
    """What a series URL says: http://host:8086?org=city&bucket=lamplighter."""

    url: str
    org: str
    bucket: str


class Table(NamedTuple):
    """What one statement answers for one group of tags; `rows` have the time (ns) first."""

    tags: dict[str, str]
    columns: list[str]
    rows: list[list[Any]]


def read_url(url: str) -> Where:
    """Return the parts of a series URL, whose form the settings have checked.

    >>> read_url("http://influx:8086?org=city&bucket=lamps")
    Where(url='http://influx:8086', org='city', bucket='lamps')
    """
    parts = urlsplit(url)
    asked = parse_qs(parts.query)
    path = parts.path.rstrip("/")
    return Where(f"{parts.scheme}://{parts.netloc}{path}", asked["org"][0], asked["bucket"][0])


class Influx:
    """One bucket of one server. Safe to use from several threads; every call raises SeriesError or Unstorable."""

    def __init__(self, where: Where, token: str) -> None:
        self.where = where
        self._client: Any = InfluxDBClient(
            url=where.url, token=token, org=where.org, timeout=TIMEOUT_MS, connection_pool_maxsize=CONNECTIONS
        )
        self._write = self._client.write_api(write_options=SYNCHRONOUS)
        self._delete = self._client.delete_api()
        self._bucket_id = ""
        self._measuring = threading.Lock()
        self._measure_at = 0.0
        self._disk = 0

    def check(self) -> None:
        """Make sure that the bucket is there, keeps everything and answers. Raises StoreUnavailable."""
        with self._telling("could not be asked for its buckets"):
            bucket = self._client.buckets_api().find_bucket_by_name(self.where.bucket)
        if bucket is None:
            raise StoreUnavailable(f"{self._name} has no bucket {self.where.bucket}; make it, or correct --series-url")
        if any(rule.every_seconds for rule in bucket.retention_rules):
            raise StoreUnavailable(f"bucket {self.where.bucket} forgets; set its retention to 0: it holds the ledger")
        self._bucket_id = bucket.id

    def write(self, lines: bytes) -> None:
        """Write a blob of line protocol; durable when this returns."""
        with self._telling("did not take the data", storing=True):
            self._write.write(bucket=self._bucket_id, record=lines)

    def delete(self, measurement: str, first: int, last: int, **tags: str) -> None:
        """Delete the points of a measurement, with these tags, from `first` up to and including `last` (ns)."""
        # Names of devices and metrics need no quoting: those that would are refused (lines.py).
        chosen = " AND ".join(f'{name}="{value}"' for name, value in {"_measurement": measurement, **tags}.items())
        with self._telling("did not delete"):
            self._delete.delete(_rfc3339(first), _rfc3339(last), chosen, bucket=self._bucket_id)

    def query(self, *statements: str) -> list[list[Table]]:
        """Return what each InfluxQL statement answers, times in nanoseconds."""
        # InfluxQL sees a bucket as a database and, behind a slash, a retention policy.
        database, _, policy = self.where.bucket.partition("/")
        asked = {"db": database, "rp": policy or "autogen", "epoch": "ns", "q": ";".join(statements)}
        with self._telling("could not be read"):
            answer = self._client.api_client.call_api(
                "/query",
                "POST",
                query_params=[("org", self.where.org)],
                post_params=asked,
                header_params={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
                _preload_content=False,
                _return_http_data_only=True,
            )
            data = answer.data
        try:
            return read_answer(data)
        except SeriesError as error:
            raise SeriesError(f"{self._name} could not be read: {error}") from error

    def disk_bytes(self) -> int:
        """Return what the bucket takes on the server's disk, a few seconds old; 0 where its metrics are closed."""
        with self._measuring:
            if time.monotonic() >= self._measure_at:
                self._disk = self._measured()
                self._measure_at = time.monotonic() + MEASURE_EVERY_S
            return self._disk

    def _measured(self) -> int:
        try:
            answer = self._client.api_client.call_api(
                "/metrics", "GET", _preload_content=False, _return_http_data_only=True
            )
            text = answer.data.decode()
        except (ApiException, urllib3.exceptions.HTTPError, OSError, UnicodeDecodeError):
            return self._disk
        sizes = re.findall(_SIZES.format(re.escape(self._bucket_id)), text, re.MULTILINE)
        return int(sum(map(float, sizes)))

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    @property
    def _name(self) -> str:
        return f"InfluxDB at {self.where.url}"

    @contextmanager
    def _telling(self, what: str, *, storing: bool = False) -> Iterator[None]:
        try:
            yield
        except ApiException as error:
            reason = _HINTS.get(error.status) or _line(error.body or error.reason)
            if storing and error.status in {400, 413}:
                raise Unstorable(f"{self._name} {what}: {reason}") from error
            raise SeriesError(f"{self._name} {what}: {reason}") from error
        except ValueError as error:
            raise SeriesError(f"{self._name} {what}: its answer is no JSON") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise SeriesError(f"{self._name} {what}: it does not answer ({type(error).__name__})") from error


def read_answer(data: bytes) -> list[list[Table]]:
    """Return what each statement answers, from the JSON of `/query`. Raises SeriesError: it says no, or something else.

    Go writes -0.0 as -0, which json would read as the integer 0.
    """
    try:
        results = json.loads(data, parse_int=_number if _MINUS_ZERO.search(data) else None)["results"]
        said = [result["error"] for result in results if "error" in result]
        found = [[_table(series) for series in result.get("series", ())] for result in results]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise SeriesError("its answer is not what InfluxDB says") from None
    if said:
        raise SeriesError(_line(said[0]))
    return found


def _number(text: str) -> int | float:
    return -0.0 if text == "-0" else int(text)


def _table(series: dict[str, Any]) -> Table:
    return Table(series.get("tags", {}), series["columns"], series["values"])


def _line(text: Any) -> str:
    if isinstance(text, bytes):
        text = text.decode(errors="replace")
    with suppress(TypeError, ValueError, KeyError):
        text = json.loads(text)["message"]
    lines = [line for line in str(text).splitlines() if line.strip()]
    return (lines or ["no reason given"])[0][:300]


def _rfc3339(ns: int) -> str:
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
