"""The pages of docs/ that are written from the code: command line, settings, profiles."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import typer.main
from pydantic import BaseModel

from docs.api_page import api
from lamplighter_agent.settings import EXAMPLE, DeviceSettings
from lamplighter_agent.settings import Settings as AgentSettings
from lamplighter_hub import cli
from lamplighter_hub.cli.connect import CONNECTION
from lamplighter_hub.settings import Settings as HubSettings
from lamplighter_protocols.profile import AtMost, Metric, Never, Profile, load_profiles
from services.need import REPOSITORY

DOCS = REPOSITORY / "docs"
WRITTEN = "<!-- Written by `make docs` from the code; do not edit. -->"
OPTIONS_HEAD = "| option | what | default |\n|---|---|---|"
FIELDS_HEAD = "| name | type | default | what |\n|---|---|---|---|"
CLI_HEAD = f"""# Command line

{WRITTEN}

`lamplighter` starts the hub (`up`) and talks to a running one through its public API, which anybody else can use too.
Every command has `--help`. Exit codes: 0 done, 1 not done (one line says why and what next), 2 wrong usage.

All commands but `up` and `mosquitto-conf` also take:

{OPTIONS_HEAD}"""
INDEX_HEAD = "## Index"
CLI_TIMES = """
Options come before the environment (`LAMPLIGHTER_URL`, `LAMPLIGHTER_TOKEN`), and that before `DIR/cli.json`, which the
hub writes for its own user when it starts. Times are `2h` (ago), ISO 8601, or milliseconds since 1970; spans are
`30s`, `5m`, `2h`, `1d`. They are shown, and taken where they name no zone, in the zone of the machine
that runs the command (`TZ=Asia/Shanghai lamplighter devices`)."""
SETTINGS_HEAD = f"""# Settings

{WRITTEN}

## Hub

Given as options of `lamplighter up` (`mqtt_port` is `--mqtt-port`). Of the hub the environment sets
the secret of the series store alone, `LAMPLIGHTER_SERIES_TOKEN`; the command line reads `LAMPLIGHTER_URL` and
`LAMPLIGHTER_TOKEN`.

{FIELDS_HEAD}"""
AGENT_HEAD = f"""
## Agent

`agent.toml`, as a new agent gets it:

```toml
{{example}}
```

{FIELDS_HEAD}"""
PROFILES_HEAD = f"""# Profiles

{WRITTEN}

Device models that come with Lamplighter. A profile is a TOML file: your own needs a file in a folder and no release
([guide](guides/add-a-profile.md)).

| profile | what | class | spoken to by |
|---|---|---|---|"""


class Command(NamedTuple):
    """One command of the command line: its words, and what Typer knows of it."""

    words: str
    info: Any


def commands() -> Iterator[Command]:
    """Return every command, groups opened, in the order of the help."""
    root: Any = typer.main.get_command(cli.build())
    for name, command in root.commands.items():
        if hasattr(command, "commands"):
            yield from (Command(f"{name} {inner}", info) for inner, info in command.commands.items())
        else:
            yield Command(name, command)


def is_connection(option: Any) -> bool:
    """Whether an option is one of those that every command takes."""
    return getattr(option, "rich_help_panel", None) == CONNECTION


def options(command: Command) -> list[Any]:
    """Return a command's own options and arguments."""
    return [one for one in command.info.params if not is_connection(one) and one.name != "help"]


def _plain(markup: str) -> tuple[str, list[str]]:
    """Return help text without markup, and its examples."""
    lines = textwrap.dedent(markup).strip().splitlines()
    examples = [re.sub(r"\[/?bold\]", "", line).strip() for line in lines if line.strip().startswith("[bold]")]
    text = " ".join(line.strip() for line in lines if not line.strip().startswith("[bold]"))
    return text.strip(), examples


def _row(option: Any) -> str:
    names = option.opts if option.param_type_name == "option" else [str(option.metavar or option.name)]
    given = isinstance(option.default, str | int | Path) and not isinstance(option.default, bool)
    default = f"`{option.default}`" if given and str(option.default) else ""
    return f"| {', '.join(f'`{name}`' for name in names)} | {option.help or ''} | {default} |"


def command_line() -> str:
    """Write docs/cli.md."""
    connection = next(info for words, info in commands() if words == "status").params
    lines = [CLI_HEAD, *(_row(one) for one in connection if is_connection(one)), CLI_TIMES]
    for command in commands():
        lines += _section(command)
    return "\n".join(lines) + "\n"


def _section(command: Command) -> list[str]:
    text, examples = _plain(command.info.help or "")
    lines = ["", f"## lamplighter {command.words}", "", text]
    if examples:
        lines += ["", "```sh", *examples, "```"]
    if rows := [_row(one) for one in options(command)]:
        lines += ["", OPTIONS_HEAD, *rows]
    return lines


def _fields(model: type[BaseModel], *, prefix: str = "", skip: tuple[str, ...] = ()) -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind, default = field.annotation, field.get_default(call_default_factory=True)
        if name in skip:
            continue
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _fields(kind, prefix=f"{prefix}{name}.")
            continue
        shown = "" if field.is_required() or default in (None, "", [], (), {}) else f"`{default}`"
        yield f"| `{prefix}{name}` | {_type(kind)} | {shown} | {field.description or ''} |"


def _type(kind: Any) -> str:
    """Return a type without its bounds: `Annotated[int, ...] | None` is `int`."""
    parts = [part for part in get_args(kind) if part not in (type(None), ...)]
    if get_origin(kind) is Annotated:
        return _type(parts[0])
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_type(part) for part in parts)
    name = getattr(get_origin(kind) or kind, "__name__", str(kind)).lower()
    return f"{name} of {', '.join(_type(part) for part in parts)}" if parts and name in {"list", "tuple"} else name


def settings() -> str:
    """Write docs/settings.md."""
    lines = [
        SETTINGS_HEAD,
        *_fields(HubSettings),
        AGENT_HEAD.format(example=EXAMPLE.strip()),
        *_fields(AgentSettings, skip=("file", "devices")),
        *_fields(DeviceSettings, prefix="devices."),
    ]
    return "\n".join(lines) + "\n"


def profiles() -> str:
    """Write docs/profiles.md."""
    found = sorted(load_profiles().values(), key=lambda profile: (profile.device_class, profile.id))
    lines = [
        PROFILES_HEAD,
        *(f"| [`{one.id}`](#{one.id}) | {one.title['en']} | {one.device_class} | {_doors(one)} |" for one in found),
    ]
    for one in found:
        lines += _profile(one)
    return "\n".join(lines) + "\n"


def _doors(profile: Profile) -> str:
    doors = ("modbus", "tail", "simulated")
    return ", ".join(door for door in doors if getattr(profile, door) is not None)


def _profile(one: Profile) -> list[str]:
    lines = ["", f"## {one.id}", "", f"{one.title['en']} · {one.title['zh']}. {one.source}"]
    if one.metrics:
        lines += ["", "| metric | what | unit | possible | checked |", "|---|---|---|---|---|"]
        for name, metric in one.metrics.items():
            bounds = f"{metric.range[0]:g} to {metric.range[1]:g}" if metric.range else ", ".join(metric.choices)
            lines.append(
                f"| `{name}` | {metric.title['en']} | {metric.unit or metric.type} | {bounds} | {_checked(metric)} |"
            )
    if one.checks:
        lines += ["", "Rules: " + "; ".join(_rule(check) for check in one.checks) + "."]
    if one.commands:
        lines += ["", "| command | what | arguments | hazard |", "|---|---|---|---|"]
        for name, spec in one.commands.items():
            arguments = ", ".join(f"`{argument}`" for argument in spec.args)
            lines.append(f"| `{name}` | {spec.title['en']} | {arguments} | {spec.hazard} |")
    for title, names in (("Configuration", one.configuration), ("Events", one.events)):
        if names:
            lines += ["", f"{title}: " + ", ".join(f"`{name}`" for name in names) + "."]
    return lines


def _checked(metric: Metric) -> str:
    asked = {
        "rate": metric.max_rate and f"{metric.max_rate:g}/s",
        "spike": metric.spike and f"{metric.spike:g}",
        "stuck": metric.stuck_after_s and f"{metric.stuck_after_s:g} s",
        "gap": metric.max_gap_s and f"{metric.max_gap_s:g} s",
    }
    return ", ".join(f"{name} {limit}" for name, limit in asked.items() if limit)


def _rule(check: AtMost | Never) -> str:
    if isinstance(check, AtMost):
        allowed = f" + {check.tolerance:g}" if check.tolerance else ""
        return f"`{check.metric}` at most `{check.other}`{allowed}"
    return "never " + " with ".join(f"`{name}` {low:g} to {high:g}" for name, (low, high) in check.ranges.items())


def decisions() -> str:
    """Write the index at the end of docs/decisions/README.md; what stands before it is kept."""
    page = DOCS / "decisions" / "README.md"
    before = page.read_text(encoding="utf-8").partition(INDEX_HEAD)[0]
    lines = [before + INDEX_HEAD, ""]
    for decision in sorted(page.parent.glob("[0-9]*.md")):
        title = decision.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        lines.append(f"- [{title}]({decision.name})")
    return "\n".join(lines) + "\n"


PAGES: dict[Path, Callable[[], str]] = {
    DOCS / "api.md": lambda: api(WRITTEN),
    DOCS / "cli.md": command_line,
    DOCS / "settings.md": settings,
    DOCS / "profiles.md": profiles,
    DOCS / "decisions" / "README.md": decisions,
}
