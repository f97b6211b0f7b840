"""What every RateLimiter does: the fake, and the real one on fakeredis and on a Valkey server."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis

from local_stack.ports import free_port
from shared.core.errors import RateLimited
from shared.ports import RateLimiter
from shared.queue import keys
from shared.queue.connection import connect
from shared.queue.limiter import PACE, RedisRateLimiter
from tests.fakes.limiter import FakeRateLimiter


@pytest.fixture(params=["fake", "fakeredis", "valkey"])
async def limiter(request: pytest.FixtureRequest) -> AsyncIterator[RateLimiter]:
    if request.param == "fake":
        yield FakeRateLimiter()
        return
    if request.param == "fakeredis":
        redis: Redis = FakeAsyncRedis()
    else:
        redis = connect(request.getfixturevalue("redis_url"), client_name="test")
    yield RedisRateLimiter(redis)
    await redis.aclose()


async def turns(limiter: RateLimiter, count: int, *, rate_per_s: int) -> float:
    """Seconds that it takes to get so many turns."""
    began = time.monotonic()
    await asyncio.gather(
        *(limiter.acquire("stripe", rate_per_s=rate_per_s, timeout_s=10) for _ in range(count))
    )
    return time.monotonic() - began


async def test_turns_come_at_the_rate(limiter: RateLimiter) -> None:
    # One turn is free at once, with a tenth of a second's worth of others: 15 of 25 wait for theirs.
    assert await turns(limiter, 25, rate_per_s=50) >= (25 - 1 - 5) / 50


async def test_the_rate_is_used(limiter: RateLimiter) -> None:
    assert await turns(limiter, 40, rate_per_s=100) < 3 * 40 / 100


async def test_more_callers_at_once_than_there_are_connections_all_get_turns(limiter: RateLimiter) -> None:
    for _ in range(3):  # connections are made one at a time: in the beginning there are enough
        assert await turns(limiter, 200, rate_per_s=100_000) < 5


async def test_names_do_not_share_a_rate(limiter: RateLimiter) -> None:
    await limiter.acquire("stripe", rate_per_s=1, timeout_s=0.5)
    await limiter.acquire("brevo", rate_per_s=1, timeout_s=0.5)


async def test_who_gets_no_turn_in_time_is_told_when_to_come_back(limiter: RateLimiter) -> None:
    await limiter.acquire("stripe", rate_per_s=1, timeout_s=1)

    with pytest.raises(RateLimited) as refused:
        await limiter.acquire("stripe", rate_per_s=1, timeout_s=0.05)
    assert 0 < refused.value.retry_after_s <= 1 / PACE


async def test_who_stands_in_line_too_long_is_turned_away_in_time(limiter: RateLimiter) -> None:
    began = time.monotonic()
    answers = await asyncio.gather(
        *(limiter.acquire("stripe", rate_per_s=5, timeout_s=0.5) for _ in range(10)), return_exceptions=True
    )

    assert sum(isinstance(answer, RateLimited) for answer in answers) >= 5
    assert sum(answer is None for answer in answers) >= 2
    assert time.monotonic() - began < 5


async def test_slowing_down_stops_everybody_for_that_long(limiter: RateLimiter) -> None:
    await limiter.slow_down("stripe", 0.4)

    with pytest.raises(RateLimited):
        await limiter.acquire("stripe", rate_per_s=1000, timeout_s=0.05)
    assert await turns(limiter, 1, rate_per_s=1000) >= 0.2


async def test_a_short_stop_does_not_cut_a_longer_one(limiter: RateLimiter) -> None:
    await limiter.slow_down("stripe", 30)
    await limiter.slow_down("stripe", 0.001)

    with pytest.raises(RateLimited):
        await limiter.acquire("stripe", rate_per_s=1000, timeout_s=0.3)


async def test_two_processes_share_one_rate_and_one_stop(redis_url: str) -> None:
    clients = [connect(redis_url, client_name="one"), connect(redis_url, client_name="two")]
    one, two = map(RedisRateLimiter, clients)
    began = time.monotonic()
    await asyncio.gather(turns(one, 12, rate_per_s=50), turns(two, 12, rate_per_s=50))
    assert time.monotonic() - began >= (24 - 1 - 5) / 50

    await one.slow_down("stripe", 30)
    with pytest.raises(RateLimited):
        await two.acquire("stripe", rate_per_s=1000, timeout_s=0.05)
    for client in clients:
        await client.aclose()


async def test_all_its_keys_are_under_the_documented_prefix_and_expire(redis_url: str) -> None:
    redis = connect(redis_url, client_name="test")
    limiter = RedisRateLimiter(redis)
    await limiter.acquire("stripe", rate_per_s=1, timeout_s=1)
    await limiter.slow_down("stripe", 5)

    found = [key.decode() for key in await redis.keys("*")]
    assert len(found) == 2
    assert all(key.startswith(keys.LIMIT) for key in found)
    assert all([await redis.pttl(key) > 0 for key in found])
    await redis.aclose()


async def test_without_redis_nobody_gets_a_turn_and_no_attempt_is_lost() -> None:
    redis = connect(f"redis://127.0.0.1:{free_port()}", client_name="test")
    limiter = RedisRateLimiter(redis)

    with pytest.raises(RateLimited):
        await limiter.acquire("stripe", rate_per_s=10, timeout_s=2)
    await limiter.slow_down("stripe", 1)
    await redis.aclose()


async def test_who_wakes_up_late_costs_the_others_nothing(redis_url: str) -> None:
    """Turns are reserved before they are waited for: with a stall at every turn the rate is used all the same."""
    redis = connect(redis_url, client_name="test")
    limiter = RedisRateLimiter(redis)
    began = time.monotonic()

    async def late() -> None:
        await limiter.acquire("stripe", rate_per_s=100, timeout_s=10)
        time.sleep(0.005)  # noqa: ASYNC251  # the event loop stands still for half of a turn

    await asyncio.gather(*(late() for _ in range(50)))
    assert time.monotonic() - began < 50 / 100 * 1.5
    await redis.aclose()


async def test_a_stop_holds_for_those_who_wait_already(redis_url: str) -> None:
    redis = connect(redis_url, client_name="test")
    limiter = RedisRateLimiter(redis)
    await limiter.acquire("stripe", rate_per_s=10, timeout_s=1)
    waiting = asyncio.create_task(limiter.acquire("stripe", rate_per_s=10, timeout_s=5))
    await asyncio.sleep(0)
    began = time.monotonic()
    await limiter.slow_down("stripe", 0.5)

    await waiting
    assert time.monotonic() - began >= 0.4
    await redis.aclose()
