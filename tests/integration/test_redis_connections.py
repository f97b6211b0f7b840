"""Connections to Redis: many who say the same share one, and those that only a busy moment needed are closed again."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from shared.queue import connection
from shared.queue.connection import connect
from shared.queue.limiter import RedisRateLimiter
from worker_svc.waking import relay_waker

AT_ONCE = 6


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    async with connect(redis_url, client_name="busy") as client:
        yield client


async def connections(client: Redis) -> int:
    return sum(each["name"] == "busy" for each in await client.client_list())


async def keep_busy(client: Redis) -> None:
    await asyncio.gather(*(client.blpop([f"nothing-{n}"], timeout=0.2) for n in range(AT_ONCE)))


async def test_what_a_busy_moment_needed_is_used_again(client: Redis) -> None:
    for _ in range(2):
        await keep_busy(client)

        assert await connections(client) == AT_ONCE


async def test_connections_that_nobody_needs_are_closed(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep_busy(client)
    monkeypatch.setattr(connection, "IDLE_S", 0.05)

    deadline = time.monotonic() + 10
    while await connections(client) > 1:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)

    assert await client.ping()


async def test_many_who_wake_the_relay_or_slow_down_at_once_share_their_commands(
    client: Redis,
) -> None:
    wake, limiter = relay_waker(client), RedisRateLimiter(client)

    await asyncio.gather(*(wake() for _ in range(50)), *(limiter.slow_down("stripe", 1) for _ in range(50)))

    assert await connections(client) <= 2


async def test_of_many_who_slow_down_at_once_the_longest_counts(client: Redis) -> None:
    limiter = RedisRateLimiter(client)

    await asyncio.gather(*(limiter.slow_down("stripe", seconds) for seconds in (1, 30, 2, 5)))

    assert 25_000 < await client.pttl("cuebx:limit:stop:stripe") <= 30_000


async def test_who_wakes_the_relay_during_a_wake_up_wakes_it_again(client: Redis) -> None:
    """What it has committed may be too late for the one that is under way."""
    heard = client.pubsub()
    await heard.subscribe("cuebx:notices")
    wake = relay_waker(client)

    first = asyncio.create_task(wake())
    await asyncio.sleep(0)
    await asyncio.gather(first, *(wake() for _ in range(5)))

    told = []
    while (message := await heard.get_message(timeout=0.5)) is not None:
        told += [message["data"]] if message["type"] == "message" else []
    assert told == [b"relay"] * 2
    await heard.aclose()
