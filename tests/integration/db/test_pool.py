"""What the asynchronous side's pool hands out works."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.exc import DBAPIError

from shared.db import engine
from shared.db.engine import Database
from shared.db.errors import is_outage


@pytest.fixture
async def database(empty_database_url: str) -> AsyncIterator[Database]:
    database = Database(empty_database_url, application="pooled", bound_s=5, pool_size=1)
    yield database
    await database.close()


async def _end_backend(empty_database_url: str, database: Database) -> int:
    """Ends the one connection in the pool, as a restart of PostgreSQL does; its backend's number."""
    pid = int((await database.rows("SELECT pg_backend_pid() AS pid"))[0].pid)
    other = Database(empty_database_url, application="other", bound_s=5, pool_size=1)
    await other.rows("SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
    await other.close()
    return pid


async def test_a_connection_that_broke_while_it_rested_is_replaced_before_it_is_used(
    empty_database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PING_AFTER_S", 0.0)
    pid = await _end_backend(empty_database_url, database)
    assert (await database.rows("SELECT pg_backend_pid() AS pid"))[0].pid != pid


async def test_one_that_is_known_to_be_closed_is_replaced_though_it_was_used_a_moment_ago(
    empty_database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PING_AFTER_S", 60.0)
    pid = await _end_backend(empty_database_url, database)
    assert (await database.rows("SELECT pg_backend_pid() AS pid"))[0].pid != pid


async def test_one_that_breaks_while_it_is_used_is_an_outage_that_passes(database: Database) -> None:
    with pytest.raises(DBAPIError) as failed:
        await database.rows("SELECT pg_terminate_backend(pg_backend_pid())")
    assert is_outage(failed.value)
    await database.ping()
