"""What Prometheus reads: asked for at each scrape, from the services themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from lamplighter_hub.services import Services


class ControlCollector(Collector):
    """Agents, devices, commands, configuration and refusals."""

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
        ignored = CounterMetricFamily("lamplighter_presence_ignored", "Wills and births of sessions that were over.")
        ignored.add_metric([], hub.presence.ignored)
        yield ignored


def _gauge(name: str, text: str, label: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _counter(name: str, text: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
