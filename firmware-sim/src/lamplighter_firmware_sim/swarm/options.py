"""What a swarm can be asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of `lamplighter-sim swarm`: their names, bounds, defaults and help. Durations are in seconds."""

    agents: Annotated[int, typer.Option(min=1, max=100_000, help="How many agents.")]
    rate: Annotated[float, typer.Option(min=0, help="Batches a second of each agent; 0: only births and presence.")]
    points: Annotated[int, typer.Option(min=1, max=10_000, help="Points in a batch.")]
    hub: Annotated[str, typer.Option(help="Hub to register the agents at, such as http://127.0.0.1:8080.")] = ""
    token: Annotated[str, typer.Option(help="API token of an administrator (with --hub).")] = ""
    credentials: Annotated[
        Path | None, typer.Option(help="File with credentials: written with --hub, read without.")
    ] = None
    mqtt_url: Annotated[str, typer.Option(help="Broker, mqtt://HOST:PORT; else the hub says.")] = ""
    seconds: Annotated[float, typer.Option(min=0, help="How long records are made.")] = 60.0
    processes: Annotated[int, typer.Option(min=0, max=64, help="0: one for every 8,000 agents.")] = 0
    connect_rate: Annotated[float, typer.Option(min=1, help="Connects a second, all processes together.")] = 2_000.0
    heard_within: Annotated[int, typer.Option(min=1, max=86_400, help="The agents' promise, in seconds.")] = 30
    window: Annotated[int, typer.Option(min=1, max=10_000, help="Records an agent may have without receipt.")] = 16
    drop_all_after: Annotated[
        float | None, typer.Option(min=0, help="Cut all connections at once, so many seconds after the first record.")
    ] = None
    back_after: Annotated[
        float | None, typer.Option(min=0, help="Come back so many seconds after the drop; else end there.")
    ] = None
    drain: Annotated[float, typer.Option(min=0, help="How long to wait for the last receipts, in seconds.")] = 60.0
    connect_within: Annotated[
        float | None, typer.Option(min=0.1, help="Begin although some are not connected after so many seconds.")
    ] = None
    backlog: Annotated[
        float,
        typer.Option(min=0, help="Seconds of samples that each agent kept from before and sends beside new ones."),
    ] = 0.0
    timeline: Annotated[
        Path | None, typer.Option(help="File that gets a line of JSON a second, with the latencies of that second.")
    ] = None
    prefix: Annotated[str, typer.Option(help="Agent ids are PREFIX-00001 and so on.")] = "swarm"
    seed: Annotated[int, typer.Option(help="Seed of the jitter.")] = 1
