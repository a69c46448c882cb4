"""The broadcast: any thread may publish, nobody's slowness reaches it, and nothing goes by unsaid."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from lamplighter_hub.live import DROPPED, READY, Bounds, Broadcast, Message, TooManyListeners


def run(story: Callable[[], Any]) -> None:
    asyncio.run(asyncio.wait_for(story(), 30))


async def take(news: AsyncIterator[Message], count: int) -> list[Message]:
    return [await anext(news) for _ in range(count)]


def said(messages: list[Message]) -> list[tuple[str, Any]]:
    return [(message.topic, message.data.get("n", message.data.get("count"))) for message in messages]


def test_listeners_hear_their_topics_in_order() -> None:
    async def story() -> None:
        live = Broadcast()
        news, all_readings = live.subscribe(["presence", "event"]), live.subscribe(["readings:*"])
        assert [message.topic for message in await take(news, 1) + await take(all_readings, 1)] == [READY, READY]
        for n, topic in enumerate(["event", "command", "presence", "readings:a", "event", "readings:b"]):
            live.publish(topic, {"n": n})
        assert said(await take(news, 3)) == [("event", 0), ("presence", 2), ("event", 4)]
        assert said(await take(all_readings, 2)) == [("readings:a", 3), ("readings:b", 5)]
        assert live.wanted("readings:zz")
        assert not live.wanted("configuration")
        await news.aclose()
        await all_readings.aclose()
        assert live.listeners == 0

    run(story)


def test_threads_publish_while_listeners_listen() -> None:
    async def story() -> None:
        live = Broadcast(Bounds(waiting=10_000))
        streams = [live.subscribe(["event"]) for _ in range(5)]
        for news in streams:
            await take(news, 1)

        def publish(start: int) -> None:
            for n in range(start, start + 500):
                live.publish("event", {"n": n})

        threads = [threading.Thread(target=publish, args=(start,)) for start in (0, 500, 1000)]
        for thread in threads:
            thread.start()
        for news in streams:
            heard = [message.data["n"] for message in await take(news, 1500)]
            assert sorted(heard) == list(range(1500))
            for start in (0, 500, 1000):
                mine = [n for n in heard if start <= n < start + 500]
                assert mine == sorted(mine)
            await news.aclose()
        for thread in threads:
            thread.join()
        assert live.dropped == 0

    run(story)


def test_a_slow_listener_loses_the_oldest_and_is_told_so() -> None:
    async def story() -> None:
        live = Broadcast(Bounds(waiting=3))
        slow, quick = live.subscribe(["event"]), live.subscribe(["presence"])
        await take(slow, 1)
        await take(quick, 1)
        for n in range(10):
            live.publish("event", {"n": n})
        live.publish("presence", {"n": 1})
        assert said(await take(quick, 1)) == [("presence", 1)]
        assert said(await take(slow, 4)) == [(DROPPED, 7), ("event", 7), ("event", 8), ("event", 9)]
        assert live.dropped == 7
        live.publish("event", {"n": 10})
        assert said(await take(slow, 1)) == [("event", 10)]

    run(story)


def test_news_that_outdates_other_news_takes_its_place() -> None:
    async def story() -> None:
        live = Broadcast()
        news = live.subscribe(["tick", "presence"])
        await take(news, 1)
        for n in range(5):
            live.publish("tick", {"n": n})
            live.publish("presence", {"n": n, "agent": "a"}, key="a")
            live.publish("presence", {"n": n + 10, "agent": "b"}, key="b")
        assert said(await take(news, 3)) == [("tick", 4), ("presence", 4), ("presence", 14)]

    run(story)


def test_a_listener_goes_on_where_it_stopped() -> None:
    async def story() -> None:
        now = [0.0]
        live = Broadcast(Bounds(ring=5, linger_s=60), lambda: now[0])
        news = live.subscribe(["event"])
        await take(news, 1)
        live.publish("event", {"n": 0})
        live.publish("presence", {"n": 0})
        last = (await take(news, 1))[0].id
        await news.aclose()
        live.publish("event", {"n": 1})
        live.publish("presence", {"n": 1})
        live.publish("event", {"n": 2})
        for _ in range(2):
            again = live.subscribe(["event"], last)
            assert said(await take(again, 3)) == [("event", 1), ("event", 2), (READY, None)]
            await again.aclose()
        for n in range(3, 7):
            live.publish("event", {"n": n})
        again = live.subscribe(["event"], last)
        assert said(await take(again, 2)) == [(DROPPED, None), ("event", 2)]
        await again.aclose()

    run(story)


@pytest.mark.parametrize("strange", ["x", "-", "0-0", "00000000-5", "-" * 60, "٣-٣"])
def test_a_strange_id_means_that_something_may_be_missed(strange: str) -> None:
    async def story() -> None:
        live = Broadcast()
        news = live.subscribe(["event"], strange)
        assert said(await take(news, 2)) == [(DROPPED, None), (READY, None)]

    run(story)


def test_nothing_is_kept_when_nobody_listened_for_long() -> None:
    async def story() -> None:
        now = [0.0]
        live = Broadcast(clock=lambda: now[0])
        news = live.subscribe(["event"])
        last = (await take(news, 1))[0].id
        await news.aclose()
        now[0] = 1000.0
        live.publish("event", {"n": 1})
        again = live.subscribe(["event"], last)
        assert said(await take(again, 2)) == [(DROPPED, None), (READY, None)]
        live.publish("event", {"n": 2})
        assert said(await take(again, 1)) == [("event", 2)]

    run(story)


def test_listeners_are_bounded_and_end_with_the_broadcast() -> None:
    async def story() -> None:
        live = Broadcast(Bounds(listeners=2))
        streams = [live.subscribe(["event"]) for _ in range(3)]
        await take(streams[0], 1)
        await take(streams[1], 1)
        assert live.full
        with pytest.raises(TooManyListeners):
            await take(streams[2], 1)

        async def listen() -> list[Message]:
            return [message async for message in streams[0]]

        waiting = asyncio.create_task(listen())
        live.publish("event", {"n": 1})
        live.close()
        assert said(await waiting) in ([("event", 1)], [])
        await streams[1].aclose()
        assert live.listeners == 0

    run(story)


def test_a_listener_whose_loop_is_gone_is_forgotten() -> None:
    live = Broadcast()
    loop = asyncio.new_event_loop()
    news = live.subscribe(["event"])
    loop.run_until_complete(take(news, 1))
    assert live.listeners == 1
    loop.close()
    live.publish("event", {"n": 1})
    live.publish("event", {"n": 2})
    assert live.listeners == 0
