"""An enqueuer on real servers."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from shared.db.engine import Database
from shared.enqueue import Enqueuer
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, application="test", bound_s=5)
    yield database
    await database.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url, client_name="test")
    yield client
    await client.aclose()


@pytest.fixture
def transport(redis: Redis) -> RedisTransport:
    return RedisTransport(redis)


@pytest.fixture
async def enqueuer(database: Database, transport: RedisTransport) -> AsyncIterator[Enqueuer]:
    enqueuer = Enqueuer(database, transport)
    yield enqueuer
    await enqueuer.close()
