"""Both sides of the contracts that more than one file is about."""

from collections.abc import AsyncIterator

import pytest
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis

from shared.ports import Transport
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport


@pytest.fixture(params=["valkey", "fakeredis"])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    if request.param == "fakeredis":
        client: Redis = FakeAsyncRedis()
    else:
        client = connect(request.getfixturevalue("redis_url"), client_name="test")
    yield client
    await client.aclose()


@pytest.fixture
def transport(redis: Redis) -> Transport:
    return RedisTransport(redis)
