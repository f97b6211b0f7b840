"""What the asynchronous side's pool hands out works, and single statements commit by themselves."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.db import engine
from shared.db.engine import Database, is_outage


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


async def test_one_that_was_used_a_moment_ago_is_not_asked_and_its_failure_is_an_outage_that_passes(
    empty_database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PING_AFTER_S", 60.0)
    pid = await _end_backend(empty_database_url, database)
    with pytest.raises(DBAPIError) as failed:
        await database.ping()
    assert is_outage(failed.value)
    assert (await database.rows("SELECT pg_backend_pid() AS pid"))[0].pid != pid


async def test_a_single_statement_is_committed_when_it_returns(
    empty_database_url: str, database: Database
) -> None:
    other = Database(empty_database_url, application="other", bound_s=5, pool_size=1)
    async with database.single() as connection:
        await connection.execute(text("CREATE TABLE kept AS SELECT 1 AS n"))
        assert (await other.rows("SELECT n FROM kept"))[0].n == 1
    await other.close()
    async with database.begin() as connection:  # the same connection, in a transaction again
        began = [(await connection.execute(text("SELECT now()"))).scalar_one() for _ in range(2)]
    assert began[0] == began[1]


@pytest.mark.parametrize("how", ["refused", "cancelled"])
async def test_after_a_single_statement_that_failed_a_transaction_can_be_rolled_back(
    database: Database, how: str
) -> None:
    async with database.single() as connection:
        await connection.execute(text("CREATE TABLE kept (n int)"))
    with pytest.raises((DBAPIError, TimeoutError)):
        async with asyncio.timeout(0.2), database.single() as connection:
            await connection.execute(text("SELECT 1/0" if how == "refused" else "SELECT pg_sleep(5)"))
    async with database.begin() as connection:
        await connection.execute(text("INSERT INTO kept VALUES (1)"))
        await connection.rollback()
    assert await database.rows("SELECT n FROM kept") == []
