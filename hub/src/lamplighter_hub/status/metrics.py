"""What Prometheus reads: asked for at each scrape, from the services themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from lamplighter_hub.services import Services

MEDIA_TYPE: Final = CONTENT_TYPE_LATEST
"""Of what `exposition` returns."""


def exposition(services: Services) -> bytes:
    """Return all metrics as they are now, in Prometheus's text format."""
    metrics = CollectorRegistry()
    metrics.register(ControlCollector(services))
    return generate_latest(metrics)


class ControlCollector(Collector):
    """Agents, devices, commands, configuration, refusals, ledger, throttle and what waits for ingest."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def describe(self) -> list[Metric]:
        """Return nothing: metrics are named at the scrape, not when the collector is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics as they are now."""
        hub = self._services
        yield _gauge("lamplighter_agents", "Agents by state.", "state", hub.presence.summary())
        yield _gauge("lamplighter_devices", "Devices by state.", "state", hub.devices.counts())
        yield _gauge("lamplighter_commands", "Commands kept, by state.", "state", hub.commands.totals())
        pending = GaugeMetricFamily("lamplighter_configuration_pending", "Devices that have not answered.")
        pending.add_metric([], hub.configuration.pending())
        yield pending
        yield _counter("lamplighter_refused", "Who was refused, by reason.", "reason", hub.refusals.totals())
        yield _counter("lamplighter_results_odd", "Results that cannot be.", "reason", hub.commands.counts)
        yield from self._ledger()
        yield from self._queue()
        yield from self._store()
        ignored = CounterMetricFamily("lamplighter_presence_ignored", "Wills and births of sessions that were over.")
        ignored.add_metric([], hub.presence.ignored)
        yield ignored

    def _ledger(self) -> Iterator[Metric]:
        """Yield what is sent, stored and lost; the violations must stay 0."""
        totals = dict(self._services.facts.get("ledger", self._services.ledger.totals)())
        fates = ("stored", "duplicate", "quarantined", "dropped", "held", "missing", "unaccounted")
        yield _gauge("lamplighter_ledger_records", "Records by fate.", "fate", {fate: totals[fate] for fate in fates})
        throttle = dict(self._services.facts["throttle"]()) if "throttle" in self._services.facts else {}
        for name, text, value in (
            ("ledger_received", "Records received, repetitions included.", totals["received"]),
            ("ledger_violations", "received = stored + duplicate + quarantined did not hold.", totals["violations"]),
            ("ledger_fetches", "Fetches of missing records.", totals.get("fetches", 0)),
            ("ledger_fetched_records", "Missing records settled by a fetch.", totals.get("fetched_records", 0)),
            ("throttle_receipts", "Receipts that asked to hold the backlog.", throttle.get("receipts", 0)),
        ):
            yield CounterMetricFamily(f"lamplighter_{name}", text, value)
        for name, text, value in (
            ("ledger_holes", "Missing ranges of records.", totals["holes"]),
            ("ledger_oldest_hole_seconds", "Age of the oldest missing range.", totals.get("oldest_hole_s", 0)),
            ("samples_lost_per_million", "Dropped or missing.", totals["samples_lost_per_million"]),
            ("throttle_active", "1 while agents are asked to hold their backlog.", int(throttle.get("active", False))),
            ("ingest_queue_fill", "How full the ingest queue is, 0 to 1.", throttle.get("fill_percent", 0) / 100),
        ):
            yield GaugeMetricFamily(f"lamplighter_{name}", text, value)

    def _queue(self) -> Iterator[Metric]:
        """Yield what waits to be stored, by urgency; nothing without an uplink."""
        if "queue" not in self._services.facts:
            return
        lanes = self._services.facts["queue"]()
        queued, waited, shed = (
            {stream: lane[name] for stream, lane in lanes.items()} for name in ("queued", "waited_s", "shed")
        )
        yield _gauge("lamplighter_ingest_queued", "Messages that wait to be stored, by stream.", "stream", queued)
        text = "How long the next of them has waited, by stream."
        yield _gauge("lamplighter_ingest_waited_seconds", text, "stream", waited)
        yield _counter("lamplighter_ingest_shed", "Messages dropped unread, to come again.", "stream", shed)

    def _store(self) -> Iterator[Metric]:
        """Yield what an operator of the embedded store must see; nothing for another store."""
        facts = self._services.facts.get("sealing")
        if facts is None:
            return
        told = facts()
        refusing = GaugeMetricFamily("lamplighter_store_refusing", "1 while the store takes no data.")
        refusing.add_metric([], int(bool(told["refusing"])))
        yield refusing
        damaged = GaugeMetricFamily("lamplighter_store_damaged_files", "Stored files that are left out of answers.")
        damaged.add_metric([], len(told["damaged"] or ()))
        yield damaged
        look = self._services.verification.facts()
        if look["ended"] is not None:
            seen = GaugeMetricFamily(
                "lamplighter_store_verified_seconds", "When every file was last seen whole or not."
            )
            seen.add_metric([], look["ended"] / 1000)
            yield seen
        yield CounterMetricFamily("lamplighter_store_rebuilt_files", "Damaged roll-ups made anew.", look["rebuilt"])
        gone = told["gone"]
        for name, text, value in (
            ("files", "Raw files let go for want of room.", gone["for_room"]),
            ("bytes", "Their size.", gone["for_room_bytes"]),
        ):
            yield CounterMetricFamily(f"lamplighter_store_released_{name}", text, value)


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counter(name: str, text: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
