"""A scheduler's parts on real servers."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from sqlalchemy import Engine

from scheduler_svc.firing import Firing
from scheduler_svc.outages import Outages
from scheduler_svc.schedules import Schedules
from shared.db.engine import Database, sync_engine
from shared.health import Readiness
from shared.jobs import JOBS
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport
from tests.integration.scheduler.books import Books


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = sync_engine(
        database_url, application="test", bound_s=10, by_index=True, planned_once=("fire", "fire_due")
    )
    yield engine
    engine.dispose()


@pytest.fixture
def books(engine: Engine) -> Books:
    return Books(engine)


@pytest.fixture
def schedules(engine: Engine) -> Schedules:
    return Schedules(engine)


@pytest.fixture
def outages() -> Outages:
    return Outages(Readiness("postgres", "redis"))


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, application="test", bound_s=10)
    yield database
    await database.close()


@pytest_asyncio.fixture
async def redis_client(redis_url: str) -> AsyncIterator[Redis]:
    client = connect(redis_url, client_name="test")
    yield client
    await client.aclose()


@pytest.fixture
def transport(redis_client: Redis) -> RedisTransport:
    return RedisTransport(redis_client)


@pytest.fixture
def firing(engine: Engine) -> Firing:
    return Firing(engine, JOBS, bound_s=5)
