"""The SQL of the embedded store. `wanted` is a small relation (key, rank) that a query is given beside its parameters.

`{points}` stands for hot and sealed points as one relation (manifest.py); its `place` is the order of arrival within
equal times of a series. Hot points have no key: rows are appended as they arrive, so `t` is nearly sorted and row
groups that lie outside of a range are skipped.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from lamplighter_protocols.profile import Aggregation

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (name VARCHAR NOT NULL, value BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS series (id INTEGER NOT NULL, device VARCHAR NOT NULL, metric VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    n BIGINT NOT NULL, device VARCHAR NOT NULL, t BIGINT NOT NULL, name VARCHAR NOT NULL, data VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS marks (
    agent VARCHAR NOT NULL, outbox VARCHAR NOT NULL, stream VARCHAR NOT NULL, first BIGINT NOT NULL,
    last BIGINT NOT NULL, stored BIGINT NOT NULL, duplicate BIGINT NOT NULL, quarantined BIGINT NOT NULL,
    dropped BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS quarantine (
    n BIGINT NOT NULL, size BIGINT NOT NULL, id VARCHAR NOT NULL, set_aside BIGINT NOT NULL, agent VARCHAR NOT NULL,
    device VARCHAR NOT NULL, channel VARCHAR NOT NULL, reason VARCHAR NOT NULL, field VARCHAR NOT NULL,
    detail VARCHAR NOT NULL, payload BLOB NOT NULL, held VARCHAR DEFAULT '', release VARCHAR DEFAULT '');
"""
VERSION: Final = 5

_RANGE: Final = "p.t >= $start AND p.t < $end"

NEWEST: Final = """
WITH known AS NOT MATERIALIZED (
    SELECT * FROM {points} UNION ALL SELECT series, t, number, truth, text, quality, -1 FROM newest),
top AS (SELECT p.series, max(p.t) AS t FROM known p JOIN wanted w ON p.series = w.key WHERE p.t >= $since GROUP BY 1)
SELECT p.series, p.t, p.number, p.truth, p.text, p.quality
FROM known p JOIN top n ON p.series = n.series AND p.t = n.t WHERE p.t >= $since ORDER BY p.series, p.place DESC
"""
READINGS: Final = f"""
SELECT w.rank, p.t, p.number, p.truth, p.text, p.quality
FROM {{points}} p JOIN wanted w ON p.series = w.key
WHERE {_RANGE} AND (p.t > $after OR (p.t = $after AND w.rank >= $rank))
ORDER BY p.t, w.rank, p.place LIMIT $limit OFFSET $skip
"""  # noqa: S608

_EVENTS: Final = """
SELECT n, device, t, name, data FROM events
WHERE ($device IS NULL OR device = $device) AND ($name IS NULL OR name = $name) AND t >= $start AND t < $end
"""
NEWEST_EVENTS: Final = _EVENTS + "AND (t < $t OR (t = $t AND n < $n)) ORDER BY t DESC, n DESC LIMIT $limit"
OLDEST_EVENTS: Final = _EVENTS + "AND (t > $t OR (t = $t AND n > $n)) ORDER BY t, n LIMIT $limit"

JOINED_MARKS: Final = """
SELECT agent, outbox, stream, min(first) AS first, max(last) AS last, sum(stored)::BIGINT, sum(duplicate)::BIGINT,
       sum(quarantined)::BIGINT, sum(dropped)::BIGINT
FROM (
    SELECT *, sum((reach IS NULL OR first > reach + 1)::INTEGER) OVER ordered AS island FROM (
        SELECT *, max(last) OVER (PARTITION BY agent, outbox, stream, lost ORDER BY first, last, place
                                  ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reach
        FROM (SELECT *, rowid AS place, dropped > 0 AS lost FROM marks))
    WINDOW ordered AS (PARTITION BY agent, outbox, stream, lost ORDER BY first, last, place ROWS UNBOUNDED PRECEDING))
GROUP BY agent, outbox, stream, lost, island
ORDER BY agent, outbox, stream, first, last, lost DESC
"""

COUNT_JOINED: Final = f"SELECT count(*) FROM ({JOINED_MARKS})"  # noqa: S608
COUNTS: Final = """
SELECT (SELECT count(*) FROM {points}) + (SELECT coalesce(sum(rows), 0)::BIGINT FROM files)
           + (SELECT coalesce(sum(value), 0)::BIGINT FROM meta WHERE name = 'forgotten'),
       (SELECT count(*) FROM events)
           + (SELECT coalesce(sum(value), 0)::BIGINT FROM meta WHERE name = 'forgotten_events'),
       (SELECT coalesce(max(n), 0) FROM events),
       (SELECT count(*) FROM marks), (SELECT count(*) FROM quarantine), (SELECT coalesce(sum(size), 0) FROM quarantine),
       (SELECT coalesce(max(n), 0) FROM quarantine),
       (SELECT coalesce(sum(value), 0) FROM meta WHERE name = 'quarantine_evicted'),
       (SELECT count(*) FROM quarantine WHERE release <> '')
"""

_AGGREGATES: Final = {
    Aggregation.MEAN: "avg(x)",
    # Clamped, so that 10^(x/10) stays a finite double whatever a device says.
    Aggregation.ENERGY: """10 * log10(avg(CASE WHEN x IS NOT NULL
        THEN pow(10, greatest(-3000, least(3000, x)) / 10) END))""",
    Aggregation.CIRCULAR: """CASE WHEN sqrt(pow(avg(sin(radians(x))), 2) + pow(avg(cos(radians(x))), 2)) > 1e-9
        THEN fmod(degrees(atan2(avg(sin(radians(x))), avg(cos(radians(x))))) + 360, 360) END""",
    Aggregation.SUM: "sum(x)",
    Aggregation.LAST: "arg_max(x, struct_pack(t := t, place := place))",
}


def buckets(aggregation: Aggregation) -> str:
    """Return the query for the buckets of one series; parameters series, start, end, width."""
    return f"""
SELECT bucket, count(*) FILTER (good), min(x), max(x), {_AGGREGATES[aggregation]},
       arg_max(struct_pack(a := number, b := truth, c := text), struct_pack(t := t, place := place)) FILTER (good),
       count(*) FILTER (NOT good)
FROM (
    SELECT p.t - ((p.t % $width) + $width) % $width AS bucket, p.t, p.place, p.number, p.truth, p.text,
           p.quality = 0 AS good, CASE WHEN good THEN coalesce(p.number, p.truth::INTEGER::DOUBLE) END AS x
    FROM {{points}} p WHERE p.series = $series AND {_RANGE})
GROUP BY bucket ORDER BY bucket
"""  # noqa: S608


EVENT_COLUMNS: Final = ("n", "device", "t", "name", "data")
MARK_COLUMNS: Final = ("agent", "outbox", "stream", "first", "last", "stored", "duplicate", "quarantined", "dropped")


class Export(NamedTuple):
    """How to walk through a table in slices: how much each key has, where to cut a large one, and a slice itself."""

    plan: str
    cuts: str
    rows: str


_POINTS: Final = f"FROM {{points}} p JOIN wanted w ON p.series = w.key WHERE {_RANGE}"
_NAMED: Final = f"""FROM events p JOIN wanted w ON p.device = w.key
WHERE {_RANGE} AND (len($names) = 0 OR list_contains($names, p.name))"""


def _export(columns: str, source: str, arrival: str) -> Export:
    return Export(
        f"SELECT w.rank, count(*) {source} GROUP BY w.rank ORDER BY w.rank",
        f"SELECT approx_quantile(p.t, $cuts::FLOAT[]) {source}",
        f"SELECT w.rank, {columns} {source} ORDER BY w.rank, p.t, {arrival}",
    )


EXPORT_POINTS: Final = _export("p.t, p.number, p.truth, p.text, p.quality", _POINTS, "p.place")
EXPORT_EVENTS: Final = _export("p.t, p.name, p.data", _NAMED, "p.n")
EVENT_DEVICES: Final = "SELECT DISTINCT device FROM events ORDER BY device"
