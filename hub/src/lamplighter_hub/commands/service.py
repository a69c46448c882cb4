"""Commands from acceptance to result.

A command is sent only while its agent is believed to be there, and repeated until answered - also after its expiry,
when the agent answers `expired` without acting. What never left the hub is expired or cancelled by the hub alone; the
agent is told of such an expiry once, at its next birth. Results may come twice, late and in any order.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy.orm import Session

from lamplighter_hub.access.roles import Principal, Role
from lamplighter_hub.commands import repository
from lamplighter_hub.commands.repeats import Repeats
from lamplighter_hub.commands.waiters import Waiters
from lamplighter_hub.devices.service import DeviceService, Taken
from lamplighter_hub.errors import Conflict, Forbidden, NotFound, TooMany, invalid, invalid_fields
from lamplighter_hub.keys import HubKeys
from lamplighter_hub.presence.service import PresenceService
from lamplighter_hub.registry import models
from lamplighter_hub.registry.database import Database
from lamplighter_hub.services import Clock, Downlink, Live
from lamplighter_protocols import commands as contract
from lamplighter_protocols import configuration
from lamplighter_protocols.commands import CommandState, Hazard
from lamplighter_protocols.errors import IllegalTransition
from lamplighter_protocols.ids import new_ulid
from lamplighter_protocols.profile import CommandSpec
from lamplighter_protocols.records import ResultRecord
from lamplighter_protocols.topics import Channel, build

log = logging.getLogger(__name__)

DEFAULT_EXPIRY_S: Final = 60
TELL_WITHIN_MS: Final = 86_400_000
"""How long an agent is told of what expired before it could be sent, and how long past expiry we repeat."""
MAX_OPEN: Final = 100
"""Unfinished commands per device."""
KEEP: Final = 200_000
"""Commands that are kept; beyond it the oldest finished ones go."""
FORGET_EVERY_MS: Final = 60_000
SENDS_PER_TICK: Final = 2_000
OVERDUE_MS: Final = 5_000
SLOW_MS: Final = 60_000
"""After how long we ask again for the result of a command that the agent has received."""


class Request(NamedTuple):
    """What somebody asks for. `purpose` is why; required for what is dangerous."""

    device: str
    name: str
    args: dict[str, Any]
    expires_in_s: int | None = None
    lease_s: int | None = None
    configuration_version: int | None = None
    purpose: str = ""


class CommandService:
    """Any thread may call."""

    def __init__(
        self,
        registry: Database,
        clock: Clock,
        devices: DeviceService,
        presence: PresenceService,
        keys: HubKeys,
        downlink: Downlink,
        live: Live,
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._devices = devices
        self._presence = presence
        self._keys = keys
        self._downlink = downlink
        self._live = live
        self._lock = threading.Lock()
        self._repeats = Repeats()
        self._expiries: dict[str, int] = {}
        self._untold: dict[str, dict[str, int]] = {}
        self._forgot_at = 0
        self.waiters = Waiters()
        self.counts: Counter[str] = Counter()
        """What agents reported that cannot be: `illegal_transition`, `unknown_command`, `foreign_command`."""

    def load(self) -> None:
        """Read what is not finished, and go on with it."""
        now = self._clock()
        with self._registry.read() as session:
            rows = repository.unfinished(session, now - TELL_WITHIN_MS)
        for row in rows:
            if row.state == CommandState.EXPIRED:
                self._untold.setdefault(row.agent, {})[row.id] = row.finished_at or now
            else:
                self._watch(row, now)

    # What people want

    def create(self, request: Request, who: Principal, key: str = "") -> models.Command:
        """Accept a command, and send it at once when its agent is there.

        The same `key` of the same caller with the same request returns the command of the first time. Raises NotFound,
        Invalid (each wrong field by name), Forbidden, Conflict (same key, another request) or TooMany.
        """
        known = self._devices.find(request.device)
        spec = self._devices.profile(request.device).commands.get(request.name)
        if spec is None:
            names = ", ".join(sorted(self._devices.profile(request.device).commands)) or "none"
            raise invalid("name", f"is unknown to profile {known.profile!r}; known commands: {names}")
        now = self._clock()
        row = _row(request, spec, known.agent, who, now)
        row.key = _key_hash(who, key) if key else None
        with self._registry.write() as session:
            before = repository.by_key(session, row.key) if row.key else None
            if before is not None:
                return _same(before, row)
            if repository.count_open(session, request.device) >= MAX_OPEN:
                raise TooMany(
                    f"device {request.device!r} has {MAX_OPEN} unfinished commands; wait for them or cancel some",
                    code="too_many_commands",
                    retry_after_s=10,
                )
            session.add(row)
            send = self._presence.online(row.agent)
            if send:
                _mark_sent(row, now)
        self._watch(row, now)
        self._tell(row)
        if send:
            self._publish(row, now)
        return row

    def cancel(self, command: str) -> models.Command:
        """Cancel a command: at once while it never left the hub, else by asking the agent not to begin it.

        Raises NotFound, or Conflict when it is finished.
        """
        now = self._clock()
        with self._registry.write() as session:
            row = self._get(session, command)
            state = CommandState(row.state)
            if state is CommandState.CANCELLED:
                return row
            if state.final:
                raise Conflict(f"command {command} is finished: {state}", code="command_finished")
            row.cancel_at = row.cancel_at or now
            if state is CommandState.QUEUED:
                _finish(row, CommandState.CANCELLED, now, "cancelled before it was sent")
        if row.state == CommandState.CANCELLED:
            self._forget([row.id])
        else:
            self._repeats.add(row.id, row.agent, now)
            if self._presence.online(row.agent):
                self._publish(row, now)
        self._tell(row)
        return row

    def find(self, command: str) -> models.Command:
        """Return a command. Raises NotFound."""
        with self._registry.read() as session:
            return self._get(session, command)

    def page(
        self, device: str | None, agent: str | None, state: str | None, before: str, limit: int
    ) -> list[models.Command]:
        """Return commands, the newest first, those with ids before `before`."""
        with self._registry.read() as session:
            return repository.page(session, device, agent, state, before, limit)

    def overdue(self, row: models.Command) -> bool:
        """True when an answer should be here by now: it has not begun in time, or has not ended in time."""
        if CommandState(row.state).final:
            return False
        begun = row.started_at
        end = row.expires_at if begun is None else begun + int(row.timeout_s * 1000)
        return self._clock() > end + OVERDUE_MS

    def totals(self) -> dict[str, int]:
        """Return how many commands there are, by state."""
        with self._registry.read() as session:
            found = repository.counts(session)
        return {state.value: found.get(state.value, 0) for state in CommandState}

    # What agents say

    def born(self, births: Sequence[Taken]) -> None:
        """Go on with the commands of agents that have just been born."""
        now = self._clock()
        for agent, _ in births:
            self._repeats.wake(agent, now)
        self._tell_expired([agent for agent, _ in births], now)
        self.tick(now)

    def results(self, results: Sequence[tuple[str, ResultRecord, int]]) -> None:
        """Book results (agent, record, arrival in ms) in one transaction. They may come twice, late, in any order."""
        ids = list({result.command for _, result, _ in results})
        changed: dict[str, models.Command] = {}
        with self._registry.write() as session:
            rows = repository.many(session, ids)
            for agent, result, _ in results:
                row = rows.get(result.command)
                if self._book(row, agent, result) and row is not None:
                    changed[row.id] = row
        now = self._clock()
        self._forget([row.id for row in changed.values() if CommandState(row.state).final])
        for row in changed.values():
            if not CommandState(row.state).final and row.cancel_at is None:
                self._repeats.add(row.id, row.agent, self._ask_again_at(row, now))
            self._tell(row)

    def tick(self, now_ms: int) -> None:
        """Send, repeat and expire what is due. Each second."""
        late = [command for command, at in list(self._expiries.items()) if at <= now_ms]
        if late:
            self._expire(late, now_ms)
        due = self._repeats.due(now_ms, SENDS_PER_TICK, self._presence.online)
        if due:
            self._send(due, now_ms)
        if not 0 <= now_ms - self._forgot_at < FORGET_EVERY_MS:
            self._forgot_at = now_ms
            with self._registry.write() as session:
                repository.forget_oldest(session, KEEP, 5_000)

    # Steps

    def _get(self, session: Session, command: str) -> models.Command:
        row = repository.get(session, command)
        if row is None:
            raise NotFound(f"command {command} is not known", code="command_unknown")
        return row

    def _watch(self, row: models.Command, now: int) -> None:
        at = self._ask_again_at(row, now) if row.received_at is not None else now
        self._repeats.add(row.id, row.agent, at)
        if row.state == CommandState.QUEUED:
            self._expiries[row.id] = row.expires_at

    def _forget(self, commands: Sequence[str]) -> None:
        self._repeats.drop(commands)
        for command in commands:
            self._expiries.pop(command, None)

    def _ask_again_at(self, row: models.Command, now: int) -> int:
        """When to ask for the result of a command that was received; its record may have been given up for room."""
        return max(row.expires_at, now) + int(row.timeout_s * 1000) + SLOW_MS

    def _expire(self, late: list[str], now: int) -> None:
        """End what could not be sent in time. What was sent meanwhile is the agent's to answer."""
        with self._registry.write() as session:
            rows = [row for row in repository.many(session, late).values() if row.state == CommandState.QUEUED]
            for row in rows:
                _finish(row, CommandState.EXPIRED, now, "its agent was not there in time")
        self._forget([row.id for row in rows])
        for command in late:
            self._expiries.pop(command, None)
        for row in rows:
            with self._lock:
                self._untold.setdefault(row.agent, {})[row.id] = now
            self._tell(row)

    def _send(self, due: list[str], now: int) -> None:
        """Send what is due, for the first time or again. It is marked first: what is marked is never expired here."""
        with self._registry.write() as session:
            rows = repository.many(session, due)
            first = [row for row in rows.values() if row.state == CommandState.QUEUED and row.expires_at > now]
            for row in first:
                _mark_sent(row, now)
        ended = [command for command in due if command not in rows or _over(rows[command], now)]
        self._forget(ended)
        for row in first:
            self._expiries.pop(row.id, None)
            self._tell(row)
        for command in due:
            if command not in ended and rows[command].state != CommandState.QUEUED:
                self._publish(rows[command], now)

    def _publish(self, row: models.Command, now: int) -> None:
        document = _cancel(row) if row.cancel_at is not None else _command(row)
        self._downlink(build(row.agent, Channel.COMMAND, row.device), self._keys.sign(document))
        self._repeats.sent(row.id, now)

    def _tell_expired(self, agents: Sequence[str], now: int) -> None:
        """Send once what expired before it could be sent: the agent writes it down and answers `expired`."""
        with self._lock:
            waiting = [self._untold.pop(agent, {}) for agent in agents]
        ids = [command for some in waiting for command, at in some.items() if now - at < TELL_WITHIN_MS]
        if not ids:
            return
        with self._registry.write() as session:
            rows = list(repository.many(session, ids).values())
            for row in rows:
                row.told_at = now
        for row in rows:
            self._downlink(build(row.agent, Channel.COMMAND, row.device), self._keys.sign(_command(row)))

    def _book(self, row: models.Command | None, agent: str, result: ResultRecord) -> bool:
        """Write a result into its row; False when it says nothing new."""
        if row is None or (row.agent, row.device) != (agent, result.device):
            self._odd("unknown_command" if row is None else "foreign_command", agent, result, "is not that agent's")
            return False
        before = _facts(row)
        try:
            state = contract.transition(CommandState(row.state), result.state)
        except IllegalTransition as error:
            self._odd("illegal_transition", agent, result, str(error))
            return False
        _note_fact(row, result)
        if state != row.state:
            row.state = state.value
            row.data, row.reason = result.data, result.reason
        return _facts(row) != before

    def _odd(self, kind: str, agent: str, result: ResultRecord, detail: str) -> None:
        self.counts[kind] += 1
        level = logging.WARNING if self.counts[kind] == 1 else logging.DEBUG
        log.log(level, "%s: agent %s reports command %s %s: %s", kind, agent, result.command, result.state, detail)

    def _tell(self, row: models.Command) -> None:
        news = {"id": row.id, "device": row.device, "agent": row.agent, "name": row.name, "state": row.state}
        self._live.publish("command", news)
        self.waiters.wake(row.id)


def _row(request: Request, spec: CommandSpec, agent: str, who: Principal, now: int) -> models.Command:
    """Check a request against its profile and the caller's role, and word its row."""
    expires_in_s = request.expires_in_s or min(DEFAULT_EXPIRY_S, spec.max_expiry_s)
    if expires_in_s > spec.max_expiry_s:
        raise invalid("expires_in_s", f"is above {spec.max_expiry_s}, the longest that this command may wait")
    args = configuration.merge(spec.args, request.args)
    unknown = {name: value for name, value in request.args.items() if name not in spec.args}
    wrong = configuration.check_fields(spec.args, unknown | args, "args.")
    if wrong:
        raise invalid_fields(wrong)
    _may(spec.hazard, who, request.purpose)
    return models.Command(
        id=new_ulid(now, os.urandom(10)),
        body_hash=_body_hash(request),
        agent=agent,
        device=request.device,
        name=request.name,
        args=args,
        hazard=spec.hazard.value,
        issuer=who.issuer,
        purpose=request.purpose,
        lease_s=request.lease_s,
        configuration_version=request.configuration_version,
        timeout_s=spec.timeout_s,
        state=CommandState.QUEUED.value,
        issued_at=now,
        accepted_at=now,
        expires_at=now + expires_in_s * 1000,
        data={},
        reason="",
    )


def _may(hazard: Hazard, who: Principal, purpose: str) -> None:
    if not who.role.reaches(Role.OPERATOR):
        raise Forbidden(f"commands need the role operator; {who.name!r} is {who.role}", code="role_too_low")
    if hazard is Hazard.DANGEROUS and not purpose.strip():
        raise invalid("reason", "is required: this command is dangerous; say why you send it")


def _key_hash(who: Principal, key: str) -> str:
    return hashlib.sha256(f"{who.kind} {who.id}\n{key}".encode(errors="surrogatepass")).hexdigest()


def _body_hash(request: Request) -> str:
    return configuration.document_hash(request._asdict())


def _same(before: models.Command, row: models.Command) -> models.Command:
    if before.body_hash != row.body_hash:
        raise Conflict(
            f"this Idempotency-Key stands for command {before.id}, which asked for something else",
            code="idempotency_conflict",
        )
    return before


def _mark_sent(row: models.Command, now: int) -> None:
    row.state, row.sent_at = CommandState.SENT.value, now


def _finish(row: models.Command, state: CommandState, now: int, reason: str) -> None:
    row.state, row.finished_at, row.reason = state.value, now, reason


def _over(row: models.Command, now: int) -> bool:
    """True when repeating makes no sense any more."""
    return CommandState(row.state).final or now > row.expires_at + TELL_WITHIN_MS


def _note_fact(row: models.Command, result: ResultRecord) -> None:
    """Keep when something happened on the device; the first word counts."""
    if result.state is CommandState.RECEIVED and row.received_at is None:
        row.received_at = result.t
    elif result.state is CommandState.RUNNING and row.started_at is None:
        row.started_at = result.t
    elif result.state.final and row.finished_at is None:
        row.finished_at = result.t


def _facts(row: models.Command) -> tuple[Any, ...]:
    return row.state, row.received_at, row.started_at, row.finished_at


def _command(row: models.Command) -> contract.Command:
    return contract.Command(
        id=row.id,
        agent=row.agent,
        device=row.device,
        name=row.name,
        args=row.args,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        issuer=row.issuer,
        hazard=Hazard(row.hazard),
        lease_s=row.lease_s,
        configuration_version=row.configuration_version,
    )


def _cancel(row: models.Command) -> contract.Cancel:
    return contract.Cancel(id=row.id, agent=row.agent, device=row.device, issued_at=row.cancel_at or row.issued_at)
