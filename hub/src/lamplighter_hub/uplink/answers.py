"""Acknowledgements in the order in which QoS 1 messages came (MQTT 3.1.1, 4.6), whatever was committed first.

Used by the network thread alone. Message ids are the broker's, and new with each connection.
"""

from __future__ import annotations


class Answers:
    """The QoS 1 messages of one connection that were taken in and are not acknowledged yet, the oldest first."""

    def __init__(self) -> None:
        self._committed: dict[int, bool] = {}

    def __len__(self) -> int:
        return len(self._committed)

    def expect(self, mid: int) -> None:
        """Note that a message came."""
        self._committed[mid] = False

    def commit(self, mid: int) -> list[int]:
        """Note that a message is committed; return which can be acknowledged now.

        >>> answers = Answers()
        >>> for mid in (7, 3, 5):
        ...     answers.expect(mid)
        >>> answers.commit(3), answers.commit(7), answers.commit(5)
        ([], [7, 3], [5])
        """
        self._committed[mid] = True
        due = []
        for first, committed in self._committed.items():
            if not committed:
                break
            due.append(first)
        for first in due:
            del self._committed[first]
        return due

    def forget(self) -> None:
        """Begin with a new connection: what is not acknowledged comes again."""
        self._committed.clear()
