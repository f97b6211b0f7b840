"""The clock of Redis goes back: by hand, or because a replica that counts differently took over. Turns and stops that were
written by the other clock must hold nobody up for as long as the clocks differ (rule 1)."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from typing import cast

import pytest
from redis.asyncio import Redis

from shared.core.errors import RateLimited
from shared.queue import keys
from shared.queue.connection import connect
from shared.queue.limiter import RedisRateLimiter
from tests.wait import wait_until_async

HOUR_MS = 3_600_000


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url, client_name="test")
    yield client
    await client.aclose()


async def turned_back(redis: Redis) -> None:
    """What this Redis shows an hour before it wrote what it has: times and ends of keys are an hour further away."""
    for key in await redis.keys(f"{keys.LIMIT}*"):
        left, value = await redis.pttl(key), await redis.get(key)
        if b":stop:" not in (key if isinstance(key, bytes) else key.encode()):
            value = str(int(value) + HOUR_MS * 1000)
        await redis.set(key, value, px=left + HOUR_MS)


async def test_turns_of_an_hour_ahead_are_no_turns(redis: Redis) -> None:
    limiter = RedisRateLimiter(redis)
    await limiter.acquire("stripe", rate_per_s=1, timeout_s=1)
    await turned_back(redis)

    began = time.monotonic()
    await asyncio.gather(*(limiter.acquire("stripe", rate_per_s=10, timeout_s=5) for _ in range(6)))

    assert 0.4 < time.monotonic() - began < 5, "they are spaced as ever"


async def test_a_stop_lasts_no_longer_than_the_provider_asked_for(redis: Redis) -> None:
    limiter = RedisRateLimiter(redis)
    await limiter.slow_down("stripe", 0.5)
    await turned_back(redis)

    await limiter.acquire("stripe", rate_per_s=1000, timeout_s=2)


async def test_who_waited_while_the_clock_went_back_is_not_stopped_for_an_hour(redis: Redis) -> None:
    limiter = RedisRateLimiter(redis)
    await limiter.acquire("stripe", rate_per_s=2, timeout_s=1)
    turn = f"{keys.LIMIT}stripe"
    first = bytes(await redis.get(turn))
    waiting = asyncio.create_task(limiter.acquire("stripe", rate_per_s=2, timeout_s=3))

    async def reserved() -> bool:
        return bytes(await redis.get(turn)) != first

    await wait_until_async(reserved)
    await limiter.slow_down("stripe", 0.2)
    await turned_back(redis)

    await waiting


async def test_a_stop_that_is_in_force_still_stops(redis: Redis) -> None:
    limiter = RedisRateLimiter(redis)
    await limiter.slow_down("stripe", 30)
    await limiter.slow_down("stripe", 0.01)

    with pytest.raises(RateLimited) as refused:
        await limiter.acquire("stripe", rate_per_s=1000, timeout_s=0.05)
    assert 29 < refused.value.retry_after_s <= 30


@pytest.mark.parametrize("kind", ["word", "nan", "list", "list that ends"])
async def test_what_somebody_else_left_under_the_limiters_keys_stops_nobody(redis: Redis, kind: str) -> None:
    for name in (f"{keys.LIMIT}stripe", f"{keys.LIMIT}stop:stripe"):
        if kind.startswith("list"):
            await cast(Awaitable[int], redis.rpush(name, "1"))
        else:
            await redis.set(name, kind)
        if kind.endswith("ends"):
            await redis.pexpire(name, HOUR_MS)
    limiter = RedisRateLimiter(redis)

    await asyncio.gather(*(limiter.acquire("stripe", rate_per_s=50, timeout_s=3) for _ in range(3)))
    await limiter.slow_down("stripe", 20)
    with pytest.raises(RateLimited):
        await limiter.acquire("stripe", rate_per_s=50, timeout_s=1)
