"""The table at the end, for people and for docs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from chaos.compare import CALM, Tally

COLUMNS: Final[Mapping[str, str]] = {
    "struck": "struck",
    "sent": "sent",
    "stored": "stored",
    "duplicate": "duplicate*",
    "quarantined": "quarantined*",
    "declared": "dropped+declared",
    "gone": "gone with broker",
    "unkept": "not kept",
    "lost": "LOST",
    "twice": "TWICE",
    "invented": "INVENTED",
    "issued": "commands",
    "unreached": "not reached",
    "executed": "executed",
    "late": "LATE",
    "done_twice": "DONE TWICE",
    "false": "UNTRUE",
    "open": "OPEN",
}
EXPLAINED: Final = """\
sent, stored: readings and events, by the world's count and by the hub's export; duplicate*, quarantined*: records and
messages, by the ledger. dropped+declared: given up by a full outbox, inside a range that a `dropped` record names.
gone with broker: QoS 1 packs of foreign devices that a broker had confirmed when its store was destroyed (or when
Mosquitto, which keeps them in memory, was killed), or confirmed afterwards before the hub had subscribed again.
not kept: polled readings that the device gave while its agent was killed or could not write; a poll is no promise.
commands: those that the hub accepted; not reached: it was down. Everything belongs to the fault that struck last."""


def table(tally: Tally, struck: Mapping[str, int]) -> str:
    """Return the counts, a line for each fault and one for all."""
    rows = {name: Counter(counts) for name, counts in tally.by_fault.items()}
    for name, times in struck.items():
        rows.setdefault(name, Counter())["struck"] = times
    total: Counter[str] = Counter()
    for counts in rows.values():
        total.update(counts)
    names = sorted(rows, key=lambda name: (name != CALM, name))
    lines = [["fault", *COLUMNS.values()]]
    lines += [[name, *(str(rows[name][column]) for column in COLUMNS)] for name in names]
    lines.append(["all", *(str(total[column]) for column in COLUMNS)])
    return _aligned(lines)


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        " | ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
