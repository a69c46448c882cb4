"""`lamplighter-agent`: enroll, run, check, status. Imports nothing heavy until a command needs it."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

EXAMPLES: Final = """\
examples:
  lamplighter-agent enroll http://hub:8080 K7QF-2M9D     become an agent of this hub
  lamplighter-agent check --config agent.toml            is everything in order?
  lamplighter-agent run --config agent.toml              work until Ctrl-C
  lamplighter-agent status --config agent.toml --json    what waits, what is in force, what was commanded
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0 well, 1 failed, 2 a mistake in a file or an option."""
    options = _parser().parse_args(argv)

    from lamplighter_protocols.errors import LamplighterError

    _set_up_logging(options.verbose)
    try:
        return _COMMANDS[options.command](options)
    except LamplighterError as error:
        sys.stderr.writelines(f"lamplighter-agent: {line}\n" for line in (error, *getattr(error, "more", ())))
        return int(getattr(error, "exit_code", 1))
    except BrokenPipeError:
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lamplighter-agent",
        description="Reads field devices, keeps every sample until the hub has it, acts safely when the hub asks.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lamplighter-agent {version('lamplighter-agent')}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", type=Path, default=Path("agent.toml"), metavar="FILE", help="default: agent.toml in this folder"
    )
    common.add_argument("--verbose", action="store_true", help="say more")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    enroll = commands.add_parser("enroll", parents=[common], help="become an agent of a hub, with a code from it")
    enroll.add_argument("hub_url", metavar="HUB_URL", help="such as http://hub:8080")
    enroll.add_argument("code", metavar="CODE", help="from `lamplighter enroll-code` or the console")
    enroll.add_argument("--agent", default="", metavar="ID", help="wanted id, where the code leaves it open")
    enroll.add_argument("--again", action="store_true", help="replace the identity that is there")
    commands.add_parser("run", parents=[common], help="work until Ctrl-C or SIGTERM")
    commands.add_parser("check", parents=[common], help="say whether agent.toml, profiles and drivers are in order")
    status = commands.add_parser(
        "status", parents=[common], help="show link, outbox, configuration and commands from disk"
    )
    status.add_argument("--json", action="store_true", help="for programs")
    return parser


def _set_up_logging(verbose: bool) -> None:
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s"
    )
    logging.getLogger("lamplighter").setLevel(logging.DEBUG if verbose else logging.INFO)
    # The runner says once what pymodbus would say at each attempt.
    logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _enroll(options: argparse.Namespace) -> int:
    from lamplighter_agent.enroll import enroll

    identity = enroll(
        options.hub_url,
        options.code,
        options.config,
        agent=options.agent,
        version=version("lamplighter-agent"),
        again=options.again,
    )
    _say(f"enrolled as {identity.agent}; next: lamplighter-agent run --config {options.config}")
    return 0


def _run(options: argparse.Namespace) -> int:
    from lamplighter_agent.app import run

    run(options.config)
    return 0


def _check(options: argparse.Namespace) -> int:
    from lamplighter_agent.app import make_drivers
    from lamplighter_agent.settings import load, used_profiles
    from lamplighter_agent.state import State

    chosen = load(options.config)
    profiles = used_profiles(chosen)
    make_drivers(chosen, profiles)
    for device in chosen.devices:
        every = device.interval_s or profiles[device.id].interval_s
        _say(f"{device.id}: profile {device.profile}, driver {device.driver}, every {every:g} s")
    state = State(chosen.data_folder)
    who = f"enrolled as {state.identity().agent}" if state.exists() else "not enrolled yet"
    _say(f"{options.config}: in order, {len(chosen.devices)} device(s); {who}")
    return 0


def _status(options: argparse.Namespace) -> int:
    from lamplighter_agent.app import OUTBOX
    from lamplighter_agent.clock import system_ms
    from lamplighter_agent.settings import load
    from lamplighter_agent.status import collect, lines

    chosen = load(options.config)
    found = collect(chosen, chosen.data_folder / OUTBOX, system_ms())
    _say(json.dumps(found, ensure_ascii=False, indent=2) if options.json else "\n".join(lines(found)))
    return 0


_COMMANDS: Final = {"enroll": _enroll, "run": _run, "check": _check, "status": _status}

if __name__ == "__main__":
    sys.exit(main())
