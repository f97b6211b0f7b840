"""A rig per test: a database of its own, an empty Redis."""

from collections.abc import AsyncIterator, Iterator

import pytest
import structlog

from shared.db.engine import Database
from shared.queue.connection import connect
from tests.integration.worker.rig import Rig


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """One line an event: the coloured tracebacks of a developer's console take seconds."""
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["level", "event"]),
        ]
    )
    yield
    structlog.reset_defaults()


@pytest.fixture
async def rig(database_url: str, redis_url: str) -> AsyncIterator[Rig]:
    database = Database(database_url, application="test", bound_s=10)
    redis = connect(redis_url, client_name="test")
    yield Rig(database_url, redis_url, database, redis)
    await redis.aclose()
    await database.close()
