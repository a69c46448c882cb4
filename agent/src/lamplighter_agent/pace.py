"""How fast the other side is: when to give up waiting for it, and how much of its time to ask for. Arithmetic only."""

from __future__ import annotations

from typing import Final

FIRST_DEADLINE_S: Final = 5.0
LONGEST_DEADLINE_S: Final = 30.0
FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 30.0
STABLE_S: Final = 60.0
LARGEST: Final = 64 * 1024
SMALLEST: Final = 8 * 1024
SLOW_S: Final = 2.0
QUICK_S: Final = 0.5
LONGEST_REST_S: Final = 30.0


class Deadline:
    """When a batch without a receipt counts as lost: mean and deviation of the times to a receipt (RFC 6298).

    A miss doubles it, and it stays so until a batch that was sent once is receipted (Karn's rule): otherwise a hub that
    needs longer than the first deadline would be sent everything twice, for ever.
    """

    def __init__(self) -> None:
        self.seconds = FIRST_DEADLINE_S
        self._mean: float | None = None
        self._deviation = 0.0

    def learn(self, took_s: float) -> None:
        """Take the time that one batch took."""
        if self._mean is None:
            self._mean, self._deviation = took_s, took_s / 2
        else:
            self._deviation += (abs(took_s - self._mean) - self._deviation) / 4
            self._mean += (took_s - self._mean) / 8
        self.reset()

    def missed(self) -> None:
        """Wait twice as long from now on."""
        self.seconds = min(LONGEST_DEADLINE_S, 2 * self.seconds)

    def reset(self) -> None:
        """Forget misses, not what was learnt."""
        wanted = FIRST_DEADLINE_S if self._mean is None else self._mean + 4 * self._deviation
        self.seconds = min(LONGEST_DEADLINE_S, max(FIRST_DEADLINE_S, wanted))


class Share:
    """Part of a link: after what took T seconds come T * (1 / part - 1) seconds of rest for the others.

    It needs to know neither the link nor the hub: both are slower when they are busy, and then asked for less.
    `room` is how many bytes the next batch may have: on a thin line a large one would stand in the way of live data.
    """

    def __init__(self, part: float) -> None:
        self.rests_until = 0.0
        self.room = LARGEST // 4
        self._part = part

    def taken(self, seconds: float, now: float) -> None:
        """Note that a batch went all the way in so many seconds."""
        self.rests_until = now + min(LONGEST_REST_S, seconds * (1 / self._part - 1))
        if seconds > SLOW_S:
            self.room = max(SMALLEST, self.room // 2)
        elif seconds < QUICK_S:
            self.room = min(LARGEST, self.room * 2)


class Patience:
    """How long to wait before the next connection, at most; whoever waits takes a random part of it.

    Twice as long after one that led to nothing. Half as long after a session in which the hub answered the birth: it is
    there and keeps up, also when sessions are short. As at first after a session that lasted for STABLE_S.
    """

    def __init__(self) -> None:
        self.seconds = FIRST_WAIT_S

    def after(self, lasted_s: float, *, answered: bool) -> float:
        """Return the wait after a session that lasted so long."""
        if lasted_s > STABLE_S:
            self.seconds = FIRST_WAIT_S
        else:
            self.seconds = min(LONGEST_WAIT_S, max(FIRST_WAIT_S, self.seconds * (0.5 if answered else 2)))
        return self.seconds
