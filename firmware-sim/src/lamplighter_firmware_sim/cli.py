"""`lamplighter-sim`: the simulator's command line."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from lamplighter_firmware_sim.errors import SimulatorError, UsageError
from lamplighter_protocols.errors import WireError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Devices that are not there: a street behind real field protocols, recordings played again, swarms of agents.",
)

STREET_HELP = """Run a small street until Ctrl-C.

Air station, sound level meter and flood gauge answer Modbus TCP; a stream gauge writes a log file; a kiosk and a signal
controller answer JSON lines. DIR gets an agent.toml for each agent, and street.json once everything listens.

\b
Examples:
  lamplighter-sim street --dir /tmp/street
  lamplighter-sim street --dir /tmp/street --seed 7 --speed 60
  lamplighter-sim street --dir /tmp/street --fault air-1:sensor:30:20 --fault flood-1:silent:60:30
"""

REPLAY_HELP = """Replay a recording through a face.

The log face writes the recorded lines, byte for byte, into a growing file; the modbus_tcp face steps the profile's
registers through the rows. --speed is a multiple of real time; 0 is as fast as possible.

\b
Examples:
  lamplighter-sim replay Log00017.txt --profile trout-creek-logger --speed 0 --out /tmp/creek.txt
  lamplighter-sim replay events.csv --profile signal-hires-log --speed 60 --out /tmp/hires.csv --count 1000
"""

SWARM_HELP = """Load a hub with many agents over MQTT and count what it confirmed.

Every agent has its own session, will, birth and one air station; a batch is sent again until its receipt. A line a
second goes to the error output, the summary as JSON to the output. Exit code 1 when a record stayed unconfirmed.

\b
Examples:
  lamplighter-sim swarm --agents 1000 --rate 0.1 --points 10 --hub http://127.0.0.1:8080 --token "$TOKEN"
  lamplighter-sim swarm --agents 15000 --rate 0.03 --points 10 --credentials city.json
      --seconds 200 --drop-all-after 30 --back-after 100
  lamplighter-sim swarm --agents 500 --rate 1 --points 60 --mqtt-url mqtt://127.0.0.1:1883 --seconds 20
"""


@app.command(help=STREET_HELP)
def street(
    folder: Annotated[Path, typer.Option("--dir", help="Folder for the agents' configurations and log files.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same weather and the same people.")] = 1,
    speed: Annotated[float, typer.Option(help="How much faster time runs inside.")] = 1.0,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    fault: Annotated[
        list[str] | None, typer.Option(help="DEVICE:sensor|silent:AFTER_S:FOR_S; may be given again.")
    ] = None,
    stay: Annotated[bool, typer.Option("--stay", help="Go on when the process that started this one ends.")] = False,
) -> None:
    """Run the street."""
    asyncio.run(_street(folder, seed, speed, host, fault or [], stay=stay))


async def _street(folder: Path, seed: int, speed: float, host: str, faults: list[str], *, stay: bool) -> None:
    from lamplighter_firmware_sim.process import orphan_watch, stop_on_signals
    from lamplighter_firmware_sim.street.run import Street, make_world

    orphaned, stopped = orphan_watch(stay=stay), stop_on_signals()
    running = Street(folder, host, make_world(seed, speed, faults))
    try:
        await running.start()
        _say(f"The street is up (seed {seed}, speed {speed:g}); agents' configurations are in {folder / 'agents'}")
        for line in running.listing():
            _say(line)
        await running.live(stopped, orphaned)
    finally:
        await running.stop()
    _say("The street is closed.")


@app.command(help=REPLAY_HELP)
def replay(
    file: Annotated[Path, typer.Argument(help="The recording; .gz is unpacked on the way.")],
    profile: Annotated[str, typer.Option(help="Profile whose [tail] part describes the recording.")],
    speed: Annotated[float, typer.Option(min=0, help="Multiple of real time; 0: as fast as possible.")] = 1.0,
    face: Annotated[str, typer.Option(help="log or modbus_tcp.")] = "log",
    out: Annotated[Path | None, typer.Option(help="File that grows (face log).")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many lines with a time.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen at (face modbus_tcp).")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port (face modbus_tcp); 0 takes any.")] = 0,
    profiles: Annotated[list[Path] | None, typer.Option(help="Extra folder with profiles; may be given again.")] = None,
) -> None:
    """Replay a recording."""
    from lamplighter_firmware_sim import replay as room
    from lamplighter_firmware_sim.faces.log import LogFace
    from lamplighter_protocols.profile import load_profiles

    known = load_profiles(*(profiles or []))
    if profile not in known:
        raise UsageError(f"--profile {profile}: unknown; known profiles: {', '.join(sorted(known))}")
    tail = known[profile].tail
    if tail is None:
        raise UsageError(f"--profile {profile}: has no [tail] part that describes a recording")
    recording, pace = room.Recording(file, tail), room.Pace(speed)
    if face == "log":
        if out is None:
            raise UsageError("--out is missing: the file that grows")
        shown = asyncio.run(room.replay_log(recording, LogFace(out), pace, count))
    elif face == "modbus_tcp":
        place = (host, port)

        def listening(bound: int) -> None:
            _say(f"modbus-tcp://{host}:{bound} unit 1")

        shown = asyncio.run(room.replay_modbus(recording, known[profile], pace, count, listening, place))
    else:
        raise UsageError(f"--face {face}: log or modbus_tcp")
    _say(f"{shown} lines replayed")


@app.command(help=SWARM_HELP)
def swarm(
    agents: Annotated[int, typer.Option(min=1, max=100_000, help="How many agents.")],
    rate: Annotated[float, typer.Option(min=0, help="Batches a second of each agent; 0: only births and presence.")],
    points: Annotated[int, typer.Option(min=1, max=10_000, help="Points in a batch.")],
    hub: Annotated[str, typer.Option(help="Hub to register the agents at, such as http://127.0.0.1:8080.")] = "",
    token: Annotated[str, typer.Option(help="API token of an administrator (with --hub).")] = "",
    credentials: Annotated[
        Path | None, typer.Option(help="File with credentials: written with --hub, read without.")
    ] = None,
    mqtt_url: Annotated[str, typer.Option(help="Broker, mqtt://HOST:PORT; else the hub says.")] = "",
    seconds: Annotated[float, typer.Option(min=0, help="How long records are made.")] = 60.0,
    processes: Annotated[int, typer.Option(min=0, max=64, help="0: one for every 8,000 agents.")] = 0,
    connect_rate: Annotated[float, typer.Option(min=1, help="Connects a second, all processes together.")] = 2_000.0,
    heard_within: Annotated[int, typer.Option(min=1, max=86_400, help="The agents' promise, in seconds.")] = 30,
    window: Annotated[int, typer.Option(min=1, max=10_000, help="Records an agent may have without receipt.")] = 16,
    drop_all_after: Annotated[
        float | None, typer.Option(min=0, help="Cut all connections at once, so many seconds after the first record.")
    ] = None,
    back_after: Annotated[
        float | None, typer.Option(min=0, help="Come back so many seconds after the drop; else end there.")
    ] = None,
    drain: Annotated[float, typer.Option(min=0, help="How long to wait for the last receipts, in seconds.")] = 60.0,
    connect_within: Annotated[
        float | None, typer.Option(min=0.1, help="Begin although some are not connected after so many seconds.")
    ] = None,
    backlog: Annotated[
        float,
        typer.Option(min=0, help="Seconds of samples that each agent kept from before and sends beside new ones."),
    ] = 0.0,
    timeline: Annotated[
        Path | None, typer.Option(help="File that gets a line of JSON a second, with the latencies of that second.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Agent ids are PREFIX-00001 and so on.")] = "swarm",
    seed: Annotated[int, typer.Option(help="Seed of the jitter.")] = 1,
) -> None:
    """Run a swarm."""
    from lamplighter_firmware_sim.swarm.options import Options, prepare
    from lamplighter_firmware_sim.swarm.run import Swarm

    options = Options(
        agents=agents,
        rate=rate,
        points=points,
        hub=hub,
        token=token,
        credentials=credentials,
        mqtt_url=mqtt_url,
        seconds=seconds,
        processes=processes,
        connect_rate=connect_rate,
        heard_within_s=heard_within,
        window=window,
        drop_all_after=drop_all_after,
        back_after=back_after,
        drain_s=drain,
        connect_within=connect_within,
        prefix=prefix,
        seed=seed,
        backlog_s=backlog,
    )
    shares, phases = prepare(options, _note)
    asked: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, _frame: asked.append(caught))
    with _lines(timeline) as watch:
        summary = Swarm(shares, phases, _note, lambda: bool(asked), watch).run()
    _say(json.dumps(summary))
    if summary["lost"] or summary["connected_s"] is None:
        raise typer.Exit(1)


@contextmanager
def _lines(path: Path | None) -> Iterator[Callable[[dict[str, Any]], object]]:
    """Yield what writes a line of JSON to a file, at once; without a file it writes nothing."""
    if path is None:
        yield lambda _said: None
        return
    try:
        file = path.open("w", encoding="utf-8", buffering=1)
    except OSError as error:
        raise UsageError(f"--timeline {path}: {error.strerror}") from None
    with file:
        yield lambda said: file.write(f"{json.dumps(said)}\n")


def main() -> None:
    """Run the command line; a mistake is one line, not a traceback."""
    try:
        app()
    except (SimulatorError, WireError) as error:
        _fail(str(error))
    except BrokenPipeError:
        _fail("the output was closed")
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _fail(text: str) -> NoReturn:
    _note(f"lamplighter-sim: {text}")
    raise SystemExit(2)


def _say(text: Any) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _note(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
