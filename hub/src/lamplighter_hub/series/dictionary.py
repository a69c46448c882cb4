"""Which number a device's metric has in the points table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Dictionary:
    """Series numbers by device and metric. Written under the writer's lock; new ones count after their commit."""

    def __init__(self, rows: Iterable[tuple[int, str, str]] = ()) -> None:
        self._devices: dict[str, dict[str, int]] = {}
        self._staged: dict[tuple[str, str], int] = {}
        self._next = 0
        for number, device, metric in rows:
            self._devices.setdefault(device, {})[metric] = number
            self._next = max(self._next, number + 1)

    def __len__(self) -> int:
        return self._next

    def numbers(self, names: Sequence[tuple[str, str]]) -> list[int]:
        """Return the numbers of series named (device, metric), staging new ones where there are none."""
        try:
            return [self._devices[device][metric] for device, metric in names]
        except KeyError:  # some are new
            known = [self._devices.get(device, {}).get(metric) for device, metric in names]
        return [
            self._staged.setdefault(name, self._next + len(self._staged)) if number is None else number
            for name, number in zip(names, known, strict=True)
        ]

    @property
    def staged(self) -> list[tuple[int, str, str]]:
        """The series that the commit in hand makes: number, device, metric."""
        return [(number, *name) for name, number in self._staged.items()]

    def forget(self) -> None:
        """Drop what is staged: its commit failed."""
        self._staged = {}

    def settle(self) -> list[int]:
        """Take up what is staged, and return its numbers: its commit is durable."""
        staged = self.staged
        for number, device, metric in staged:
            # A new dict, so that a reader in another thread never sees one that changes size.
            self._devices[device] = self._devices.get(device, {}) | {metric: number}
        self._next += len(staged)
        self._staged = {}
        return [number for number, _, _ in staged]

    def metrics(self, device: str) -> dict[str, int]:
        """Return the numbers of a device's metrics by name, sorted by name."""
        return dict(sorted(self._devices.get(device, {}).items()))

    def select(self, devices: Sequence[str], metrics: Sequence[str]) -> list[tuple[str, str, int]]:
        """Return (device, metric, number) of series in order of their names; nothing named means all."""
        chosen = sorted(set(devices) or list(self._devices))
        wanted = set(metrics)
        return [
            (device, metric, number)
            for device in chosen
            for metric, number in self.metrics(device).items()
            if not wanted or metric in wanted
        ]
