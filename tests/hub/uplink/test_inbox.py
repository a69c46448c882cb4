"""The bounded queue between network and ingest."""

from __future__ import annotations

import threading

from lamplighter_hub.uplink.inbox import Budget, Inbox
from lamplighter_hub.uplink.lanes import Message


def message(number: int, qos: int = 0, size: int = 10) -> Message:
    return Message("t", b"x" * size, qos, retain=False, mid=number, arrived_ms=0)


def test_the_oldest_come_first_and_no_more_than_asked() -> None:
    inbox = Inbox(Budget())
    for number in range(5):
        assert inbox.put(message(number))
    assert [m.mid for m in inbox.take(3, 0)] == [0, 1, 2]
    assert [m.mid for m in inbox.take(3, 0)] == [3, 4]
    assert inbox.take(3, 0) == []
    assert (len(inbox), inbox.size) == (0, 0)


def test_over_budget_qos_0_is_shed_and_qos_1_has_as_much_again() -> None:
    inbox = Inbox(Budget(messages=10))
    assert [inbox.put(message(n)) for n in range(12)] == [True] * 10 + [False] * 2
    assert [inbox.put(message(n, qos=1)) for n in range(12)] == [True] * 10 + [False] * 2
    assert (len(inbox), inbox.shed, inbox.left_out) == (20, 2, 2)
    inbox.take(15, 0)
    assert inbox.put(message(99))


def test_many_at_once_are_taken_in_as_long_as_there_is_room() -> None:
    inbox = Inbox(Budget(messages=3))
    inbox.put_all([message(n) for n in range(5)])
    assert inbox.shed == 2
    assert [m.mid for m in inbox.take(10, 0)] == [0, 1, 2]


def test_bytes_count_too() -> None:
    inbox = Inbox(Budget(size=5_000))
    assert [inbox.put(message(n, size=2_000)) for n in range(3)] == [True, True, False]
    assert inbox.size <= 5_000
    assert inbox.shed == 1


def test_who_waits_is_woken_by_a_message_and_by_the_end() -> None:
    inbox = Inbox(Budget())
    found: list[list[Message]] = []
    waiter = threading.Thread(target=lambda: found.append(inbox.take(10, 30)))
    waiter.start()
    inbox.put(message(1))
    waiter.join(10)
    assert [m.mid for m in found[0]] == [1]
    waiter = threading.Thread(target=lambda: found.append(inbox.take(10, 30)))
    waiter.start()
    inbox.close()
    waiter.join(10)
    assert found[1] == []
