"""A Redis that takes connections and says nothing (stopped, or behind a dead link) must not hold a payment's lease for ever."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from shared.core.errors import RateLimited
from shared.queue.connection import connect
from shared.queue.limiter import RedisRateLimiter


@pytest.fixture
async def silent_redis() -> AsyncIterator[Redis]:
    open_connections: list[asyncio.StreamWriter] = []

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_connections.append(writer)

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = connect(f"redis://127.0.0.1:{port}/0", client_name="test", command_timeout_s=0.2)
    yield client
    await client.aclose()
    for writer in open_connections:
        writer.close()
    server.close()
    await server.wait_closed()


@pytest.mark.rule(15)
async def test_a_command_to_a_silent_redis_ends_within_its_time_outs(silent_redis: Redis) -> None:
    for _ in range(2):
        with pytest.raises(RedisError):
            await asyncio.wait_for(silent_redis.ping(), 5)


async def test_nobody_gets_a_turn_from_a_silent_redis_and_nobody_waits_for_ever(silent_redis: Redis) -> None:
    limiter = RedisRateLimiter(silent_redis)
    began = time.monotonic()

    answers = await asyncio.gather(
        *(limiter.acquire("stripe", rate_per_s=25, timeout_s=1) for _ in range(20)), return_exceptions=True
    )

    assert all(isinstance(answer, RateLimited) for answer in answers)
    assert time.monotonic() - began < 5


async def test_a_429_beside_a_silent_redis_does_not_hold_its_run(silent_redis: Redis) -> None:
    limiter = RedisRateLimiter(silent_redis)

    await asyncio.wait_for(asyncio.gather(*(limiter.slow_down("stripe", 1) for _ in range(50))), 5)
