"""`lamplighter-sim`: the simulator's command line."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from lamplighter_firmware_sim.errors import SimulatorError, UsageError
from lamplighter_firmware_sim.swarm.options import Options
from lamplighter_protocols.errors import WireError

if TYPE_CHECKING:  # each command imports what it alone needs
    from lamplighter_firmware_sim.replay import Pace, Recording
    from lamplighter_protocols.profile import Profile, TailMap

Asked = TypeVar("Asked")

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
    from lamplighter_firmware_sim.replay import Pace, Recording

    model, tail = _described(profile, profiles or [])
    recording, pace = Recording(file, tail), Pace(speed)
    match face:
        case "log":
            shown = asyncio.run(_replay_log(recording, out, pace, count))
        case "modbus_tcp":
            shown = asyncio.run(_replay_modbus(recording, model, pace, count, (host, port)))
        case _:
            raise UsageError(f"--face {face}: log or modbus_tcp")
    _say(f"{shown} lines replayed")


def _described(profile: str, folders: list[Path]) -> tuple[Profile, TailMap]:
    """Return a profile and its description of recordings."""
    from lamplighter_protocols.profile import load_profiles

    known = load_profiles(*folders)
    if profile not in known:
        raise UsageError(f"--profile {profile}: unknown; known profiles: {', '.join(sorted(known))}")
    tail = known[profile].tail
    if tail is None:
        raise UsageError(f"--profile {profile}: has no [tail] part that describes a recording")
    return known[profile], tail


async def _replay_log(recording: Recording, out: Path | None, pace: Pace, count: int | None) -> int:
    from lamplighter_firmware_sim.faces.log import LogFace
    from lamplighter_firmware_sim.replay import replay_log

    if out is None:
        raise UsageError("--out is missing: the file that grows")
    return await replay_log(recording, LogFace(out), pace, count)


async def _replay_modbus(
    recording: Recording, model: Profile, pace: Pace, count: int | None, place: tuple[str, int]
) -> int:
    from lamplighter_firmware_sim.replay import replay_modbus

    def listening(port: int) -> None:
        _say(f"modbus-tcp://{place[0]}:{port} unit 1")

    return await replay_modbus(recording, model, pace, count, listening, place)


def _taking(kind: type[Asked]) -> Callable[[Callable[[Asked], None]], Callable[..., None]]:
    """Turn a function of `kind` into a command whose options are the fields of `kind`."""
    signature = inspect.signature(kind, eval_str=True)

    def decorate(function: Callable[[Asked], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(**given: Any) -> None:
            function(kind(**given))

        command.__signature__ = signature  # type: ignore[attr-defined]
        command.__annotations__ = {name: one.annotation for name, one in signature.parameters.items()}
        return command

    return decorate


@app.command(help=SWARM_HELP)
@_taking(Options)
def swarm(options: Options) -> None:
    """Run a swarm."""
    from lamplighter_firmware_sim.swarm.preparation import prepare
    from lamplighter_firmware_sim.swarm.run import Swarm

    shares, phases = prepare(options, _note)
    with _lines(options.timeline) as watch:
        summary = Swarm(shares, phases, _note, _asked_to_stop(), watch).run()
    _say(json.dumps(summary))
    if summary["lost"] or summary["connected_s"] is None:
        raise typer.Exit(1)


def _asked_to_stop() -> Callable[[], bool]:
    """Return what tells whether SIGINT or SIGTERM has come since."""
    caught: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda came, _frame: caught.append(came))
    return lambda: bool(caught)


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
