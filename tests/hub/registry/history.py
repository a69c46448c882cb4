"""Registries as earlier versions left them, as SQL; `python -m hub.registry.history` in tests/ adds one of today.

`NAME.sqlite.sql` and `NAME.postgresql.sql`; a name is the revision, `unversioned` is from before there were revisions.
Files are added and never changed.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from hub.registry.rig import OPERATOR, Rig, rig
from lamplighter_hub.commands.service import Request
from lamplighter_hub.presence.lives import Newborn
from lamplighter_hub.registry.database import sqlite_url
from lamplighter_hub.registry.migrations import HEAD
from lamplighter_protocols.presence import Life
from lamplighter_protocols.records import ReportedRecord, Stream
from services.postgres import Postgres, postgres

FOLDER = Path(__file__).parent / "history"
SQLITE = ".sqlite.sql"
POSTGRESQL = ".postgresql.sql"
DEVICES = [f"lamp-{number}" for number in range(1, 6)]


def live_a_little(made: Rig) -> None:
    """Leave something in every table."""
    hub = made.hub
    made.street(*DEVICES)
    hub.enrolment.provision(["agent-2"], "test")
    hub.enrolment.revoke("agent-2")
    hub.enrolment.new_code("test", agent="agent-3")
    hub.refusals.record("stranger", "unknown_agent", "MQTT from 127.0.0.1")
    hub.refusals.flush()
    made.token()
    hub.access.new_link("Wang Wei", OPERATOR.role, "test", "http://hub.invalid")
    link = hub.access.new_link("Li Na", OPERATOR.role, "test", "http://hub.invalid")
    hub.access.sign_in(link.url.partition("code=")[2], "127.0.0.1")
    view = hub.configuration.put("lamp-1", {"interval_s": 5, "label": "路灯"}, "test")
    said = {"version": 1, "hash": view.desired.hash, "state": "applied", "document": view.desired.document}
    report = ReportedRecord.model_validate_json(
        json.dumps({"kind": "reported", "device": "lamp-1", "t": made.clock(), **said})
    )
    hub.configuration.reported([("agent-1", report, made.clock())])
    life = Life(id="01M80T5JNV0000000000000000", first=dict.fromkeys(Stream, 1))
    hub.presence.lives.meet([Newborn("agent-1", "01M80T5JNV0000000000000001", [life], {})])
    hub.commands.create(Request("lamp-1", "switch", {"on": True}), OPERATOR, "key-1")
    hub.presence.flush()


def load(text: str, url: str, server: Postgres | None = None) -> None:
    """Fill an empty database with a registry of the past."""
    if server is None:
        with closing(sqlite3.connect(urlsplit(url).path[1:])) as connection:
            connection.executescript(text)
        return
    with server.connect(urlsplit(url).path[1:]) as connection:
        plain = "\n".join(line for line in text.splitlines() if not line.startswith("\\"))  # commands of psql
        connection.execute(plain)


def main() -> int:
    """Write the dumps of the present revision. Returns the exit code."""
    with tempfile.TemporaryDirectory() as folder, postgres() as server:
        name = server.create()
        places = {SQLITE: Path(folder) / "sqlite", POSTGRESQL: Path(folder) / "postgresql"}
        for kind, place in places.items():
            place.mkdir()
            with rig(place, server.url(name) if kind == POSTGRESQL else "") as made:
                live_a_little(made)
        with closing(sqlite3.connect(urlsplit(sqlite_url(places[SQLITE])).path[1:])) as connection:
            texts = {SQLITE: "\n".join(connection.iterdump()) + "\n"}
        dump = server.dump(name, "--inserts", "--no-owner", "--no-privileges", "--no-comments")
        texts[POSTGRESQL] = "".join(f"{line}\n" for line in dump.splitlines() if not line.startswith(("\\", "--")))
    for kind, text in texts.items():
        (FOLDER / f"{HEAD}{kind}").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
