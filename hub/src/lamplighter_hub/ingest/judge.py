"""Readings against those before them, while a group is gathered: nothing counts as seen before it is committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from lamplighter_protocols import checks
from lamplighter_protocols.checks import Plan, State
from lamplighter_protocols.profile import Profile
from lamplighter_protocols.quality import Samples
from lamplighter_protocols.readings import Reading

MOST_DEVICES: Final = 200_000
"""How many devices are remembered; beyond it the one that was taken up first is forgotten."""


def _nothing(device: str) -> Mapping[str, Reading]:  # noqa: ARG001
    return {}


class Judge:
    """What is known of every device that a profile asks to watch, as far as it is committed.

    `newest` tells the newest stored readings of a device of which nothing is known yet.
    """

    def __init__(self, newest: Callable[[str], Mapping[str, Reading]] = _nothing, most: int = MOST_DEVICES) -> None:
        self._newest = newest
        self._most = most
        self._plans: dict[str, tuple[Profile, Plan | None]] = {}
        self._known: dict[str, State] = {}

    def plan(self, profile: Profile) -> Plan | None:
        """Return what a profile asks for, None when that is nothing."""
        made = self._plans.get(profile.id)
        if made is None or made[0] is not profile:
            made = self._plans[profile.id] = (profile, checks.plan(profile))
        return made[1]

    def begin(self) -> Judgement:
        """Return what a group begins with."""
        return Judgement(self)

    def keep(self, judgement: Judgement) -> None:
        """Take up what a group saw, now that it is committed."""
        self._remember(judgement.seen)

    def state(self, plan: Plan, device: str) -> State:
        """Return a copy of what is known of a device; under another profile nothing is."""
        known = self._known.get(device)
        if known is None:
            # Kept at once: a group that is repeated must not find itself in the store.
            known = checks.resumed(plan, self._newest(device)) if plan.limits else checks.beginning(plan)
            self._remember({device: known})
        if known.profile != plan.profile:
            return checks.beginning(plan)
        return known.copy()

    def _remember(self, states: Mapping[str, State]) -> None:
        self._known.update(states)
        while len(self._known) > self._most:
            del self._known[next(iter(self._known))]


class Judgement:
    """What a group of messages has seen so far."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.seen: dict[str, State] = {}

    def of(self, profile: Profile, device: str, columns: list[Samples], *, filling: bool = False) -> list[Samples]:
        """Return the columns of one record of a device with the flags that they deserve.

        `filling` says that its agent still holds a backlog.
        """
        plan = self._judge.plan(profile)
        if plan is None or not columns:
            return columns
        state = self.seen.get(device)
        if state is None or state.profile != plan.profile:
            state = self.seen[device] = self._judge.state(plan, device)
        return checks.check_columns(plan, state, columns, filling=filling)
