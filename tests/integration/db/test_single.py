"""Single statements on the driver's own connection: committed when they return, and no trace of those that were broken off."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import text

from shared.db import engine, single
from shared.db.engine import Database
from shared.db.errors import is_conflict, is_outage
from tests.wait import wait_until_async

WHO = text("SELECT pg_backend_pid() AS pid")


@pytest.fixture
async def database(empty_database_url: str) -> AsyncIterator[Database]:
    database = Database(empty_database_url, application="singles", bound_s=5, pool_size=1)
    yield database
    await database.close()


@pytest.fixture
async def other(empty_database_url: str) -> AsyncIterator[Database]:
    database = Database(empty_database_url, application="other", bound_s=5, pool_size=1)
    yield database
    await database.close()


async def _execute(database: Database, sql: str, **params: object) -> single.Rows:
    async with database.single() as connection:
        return await connection.execute(text(sql), params)


async def _pid(database: Database) -> int:
    [row] = (await _execute(database, "SELECT pg_backend_pid() AS pid")).all()
    return int(row.pid)


async def _backends(other: Database) -> list[int]:
    sql = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'singles' AND datname = current_database()"
    )
    return [row.pid for row in await other.rows(sql)]


async def _nobody_there(other: Database) -> bool:
    return not await _backends(other)


async def test_a_statement_is_committed_when_it_returns(database: Database, other: Database) -> None:
    async with database.single() as connection:
        await connection.execute(text("CREATE TABLE kept AS SELECT 1 AS n"))
        assert (await other.rows("SELECT n FROM kept"))[0].n == 1
    async with database.begin() as begun:  # a connection of the same pool, in a transaction
        times = [(await begun.execute(text("SELECT now()"))).scalar_one() for _ in range(2)]
    assert times[0] == times[1]


@pytest.mark.parametrize("how", ["refused", "cancelled"])
async def test_after_a_statement_that_failed_a_transaction_can_be_rolled_back(
    database: Database, how: str
) -> None:
    await _execute(database, "CREATE TABLE kept (n int)")
    with pytest.raises((asyncpg.DivisionByZeroError, TimeoutError)):
        async with asyncio.timeout(0.2):
            await _execute(database, "SELECT 1/0" if how == "refused" else "SELECT pg_sleep(5)")
    async with database.begin() as connection:
        await connection.execute(text("INSERT INTO kept VALUES (1)"))
        await connection.rollback()
    assert await database.rows("SELECT n FROM kept") == []


async def test_a_statement_is_planned_anew_when_its_table_has_changed(database: Database) -> None:
    await _execute(database, "CREATE TABLE kept AS SELECT 1 AS n")
    assert len((await _execute(database, "SELECT * FROM kept"))[0]) == 1
    async with database.begin() as connection:
        await connection.execute(text("ALTER TABLE kept ADD m int DEFAULT 2"))
    [row] = (await _execute(database, "SELECT * FROM kept")).all()
    assert (row.n, row.m) == (1, 2)
    with pytest.raises(AttributeError, match="other"):
        _ = row.other


# ------------------------------------------------------------------------------------------------------------ broken off


async def test_what_was_broken_off_is_cancelled_and_its_connection_is_not_used_again(
    database: Database, other: Database
) -> None:
    await _execute(database, "CREATE TABLE kept (n int)")
    first = await _pid(database)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await _execute(database, "INSERT INTO kept SELECT 1 FROM pg_sleep(4)")
    assert await _pid(database) != first

    async def gone() -> bool:
        return first not in await _backends(other)

    await wait_until_async(gone, 3, "PostgreSQL to be told that nobody waits for it any more")
    assert await other.rows("SELECT n FROM kept") == []


async def test_many_that_are_broken_off_leave_no_connections_behind(
    database: Database, other: Database
) -> None:
    await _execute(database, "CREATE TABLE kept (n int)")
    async with other.begin() as connection:
        await connection.execute(text("LOCK TABLE kept"))
        for _ in range(12):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await _execute(database, "INSERT INTO kept VALUES (1)")
        # The limits of the pool hold, and those that are just being left.
        assert len(await _backends(other)) <= 6


async def test_a_statement_under_way_when_all_is_closed_takes_its_connection_along(
    database: Database, other: Database
) -> None:
    waiting = asyncio.create_task(_execute(database, "SELECT pg_sleep(0.3)"))
    await wait_until_async(lambda: _backends(other), 5, "the statement has begun")
    await database.close()
    await waiting
    await wait_until_async(lambda: _nobody_there(other), 3, "its connection to be closed")


# --------------------------------------------------------------------------------------------------- connections at hand


@pytest.mark.parametrize("rested", [True, False])
async def test_one_that_broke_while_it_rested_is_replaced_before_it_is_used(
    database: Database, other: Database, monkeypatch: pytest.MonkeyPatch, rested: bool
) -> None:
    monkeypatch.setattr(engine, "PING_AFTER_S", 0.0 if rested else 60.0)
    monkeypatch.setattr(single, "REST_S", 0.0 if rested else 60.0)
    first = await _pid(database)
    await other.rows("SELECT pg_terminate_backend(:pid, 5000)", pid=first)
    assert await _pid(database) != first


async def test_none_that_is_known_to_be_closed_is_handed_out(
    empty_database_url: str, other: Database
) -> None:
    database = Database(empty_database_url, application="singles", bound_s=5, pool_size=4, pre_ping=False)
    together = asyncio.Barrier(4)

    async def use() -> None:
        async with database.single() as connection:
            await together.wait()
            await connection.execute(WHO)

    for _ in range(2):
        await asyncio.gather(*(use() for _ in range(4)))
        for pid in await _backends(other):
            await other.rows("SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
    await database.close()


async def test_one_stays_at_hand_and_all_can_be_used_by_others(database: Database) -> None:
    async with database.single() as one, database.single() as two:
        pids = {(await each.execute(WHO)).all()[0].pid for each in (one, two)}
    assert await _pid(database) in pids
    async with database.begin() as connection:
        assert (await connection.execute(WHO)).scalar_one() in pids
    await database.close()
    assert "Connections in pool: 0" in database.engine.pool.status()


# ---------------------------------------------------------------------------------------------------------------- errors


async def test_a_key_that_exists_is_a_conflict_and_the_rows_values_are_not_told(database: Database) -> None:
    await _execute(database, "CREATE TABLE kept (mail text PRIMARY KEY)")
    await _execute(database, "INSERT INTO kept VALUES (CAST(:mail AS text))", mail="ada@example.com")
    with pytest.raises(asyncpg.UniqueViolationError) as refused:
        await _execute(database, "INSERT INTO kept VALUES (CAST(:mail AS text))", mail="ada@example.com")
    assert is_conflict(refused.value)
    assert not is_outage(refused.value)
    assert "ada" not in str(refused.value)


async def test_one_that_breaks_while_it_is_used_is_an_outage_that_passes(database: Database) -> None:
    with pytest.raises(asyncpg.PostgresError) as failed:
        await _execute(database, "SELECT pg_terminate_backend(pg_backend_pid())")
    assert is_outage(failed.value)
    await _pid(database)


async def test_a_server_that_does_not_lead_is_an_outage(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the middle of a fail-over; SQLAlchemy has a stand-in of its own for that error."""
    database = Database(empty_database_url, application="singles", bound_s=5)
    monkeypatch.setenv("PGTARGETSESSIONATTRS", "standby")
    with pytest.raises(asyncpg.TargetServerAttributeNotMatched) as failed:
        await _pid(database)
    monkeypatch.undo()  # what cleans up after the test shall find its server
    assert is_outage(failed.value)
    await database.close()
