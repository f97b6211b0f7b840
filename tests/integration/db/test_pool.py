"""What the asynchronous side's pool hands out works, and single statements commit by themselves."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.db import engine, single
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
    with pytest.raises((asyncpg.DivisionByZeroError, TimeoutError)):
        async with asyncio.timeout(0.2), database.single() as connection:
            await connection.execute(text("SELECT 1/0" if how == "refused" else "SELECT pg_sleep(5)"))
    async with database.begin() as connection:
        await connection.execute(text("INSERT INTO kept VALUES (1)"))
        await connection.rollback()
    assert await database.rows("SELECT n FROM kept") == []


async def test_what_was_broken_off_in_the_middle_of_a_statement_is_not_used_again(database: Database) -> None:
    async with database.single() as connection:
        [first] = (await connection.execute(text("SELECT pg_backend_pid() AS pid"))).all()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), database.single() as connection:
            await connection.execute(text("SELECT pg_sleep(5)"))
    async with database.single() as connection:
        [second] = (await connection.execute(text("SELECT pg_backend_pid() AS pid"))).all()
    assert first.pid != second.pid


async def test_a_statement_is_planned_anew_when_its_table_has_changed(database: Database) -> None:
    every = text("SELECT * FROM kept")
    async with database.single() as connection:
        await connection.execute(text("CREATE TABLE kept AS SELECT 1 AS n"))
        assert len((await connection.execute(every)).all()[0]) == 1
    async with database.begin() as other:
        await other.execute(text("ALTER TABLE kept ADD m int DEFAULT 2"))
    async with database.single() as connection:
        [row] = (await connection.execute(every)).all()
    assert (row.n, row.m) == (1, 2)
    with pytest.raises(AttributeError, match="other"):
        _ = row.other


@pytest.mark.parametrize("rested", [True, False])
async def test_a_connection_at_hand_that_broke_while_it_rested_is_replaced_before_it_is_used(
    empty_database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch, rested: bool
) -> None:
    monkeypatch.setattr(engine, "PING_AFTER_S", 0.0 if rested else 60.0)
    monkeypatch.setattr(single, "REST_S", 0.0 if rested else 60.0)
    who = text("SELECT pg_backend_pid() AS pid")
    async with database.single() as connection:
        [first] = (await connection.execute(who)).all()
    other = Database(empty_database_url, application="other", bound_s=5, pool_size=1)
    await other.rows("SELECT pg_terminate_backend(:pid, 5000)", pid=first.pid)
    await other.close()
    await asyncio.sleep(0)  # that it is closed is read
    async with database.single() as connection:
        [second] = (await connection.execute(who)).all()
    assert first.pid != second.pid


async def test_one_connection_stays_at_hand_and_all_can_be_used_by_others(database: Database) -> None:
    who = text("SELECT pg_backend_pid() AS pid")
    async with database.single() as one, database.single() as two:
        pids = {(await each.execute(who)).all()[0].pid for each in (one, two)}
    async with database.single() as one:
        assert (await one.execute(who)).all()[0].pid in pids
        async with database.begin() as two:
            assert {(await two.execute(who)).scalar_one()} < pids
    await database.close()
    assert "Connections in pool: 0" in database.engine.pool.status()
