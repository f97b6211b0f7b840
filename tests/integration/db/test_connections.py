"""A database URL in any spelling connects with both drivers, its parameters included."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.db.engine import Database, sync_engine

QUERIES = [
    ("", {"application_name": "cuebx-test"}),
    ("?application_name=mine", {"application_name": "mine"}),
    ("?sslmode=prefer", {"ssl": "off"}),
    ("?ssl=disable", {"ssl": "off"}),
    (
        "?options=-c%20search_path%3Dpg_catalog%20-c%20work_mem%3D5MB",
        {"search_path": "pg_catalog", "work_mem": "5MB"},
    ),
    ("?connect_timeout=3&keepalives=1&keepalives_idle=9&target_session_attrs=any", {}),
    ("?sslmode=disable&application_name=mine&connect_timeout=3", {"application_name": "mine"}),
]
SPELLINGS = ["postgresql", "postgresql+asyncpg", "postgresql+psycopg2"]


@pytest.fixture(params=SPELLINGS)
def spelt(request: pytest.FixtureRequest, empty_database_url: str) -> str:
    return empty_database_url.replace("postgresql", request.param, 1)


@pytest.mark.parametrize(("query", "shown"), QUERIES)
async def test_the_asynchronous_side_connects(spelt: str, query: str, shown: dict[str, str]) -> None:
    database = Database(spelt + query, application="cuebx-test", bound_s=2)
    try:
        seen = {name: (await database.rows(f"SHOW {name}"))[0][0] for name in [*shown, "statement_timeout"]}
    finally:
        await database.close()

    assert seen == {**shown, "statement_timeout": "2s"}


@pytest.mark.parametrize(("query", "shown"), QUERIES)
def test_the_synchronous_side_connects(spelt: str, query: str, shown: dict[str, str]) -> None:
    engine = sync_engine(spelt + query, application="cuebx-test", bound_s=2)
    with engine.connect() as connection:
        seen = {
            name: connection.execute(text(f"SHOW {name}")).scalar() for name in [*shown, "statement_timeout"]
        }
    engine.dispose()

    assert seen == {**shown, "statement_timeout": "2s"}


async def test_encryption_that_is_required_is_not_done_without(empty_database_url: str) -> None:
    database = Database(f"{empty_database_url}?sslmode=require", application="test", bound_s=2)
    engine = sync_engine(f"{empty_database_url}?ssl=require", application="test", bound_s=2)
    try:
        with pytest.raises(Exception, match="SSL"):
            await database.ping()
        with pytest.raises(Exception, match="SSL"):
            engine.connect()
    finally:
        engine.dispose()
        await database.close()


@pytest.mark.rule(15)
@pytest.mark.parametrize(
    "setting", ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
)
async def test_every_connection_of_both_sides_is_bounded(database_url: str, setting: str) -> None:
    database = Database(database_url, application="test", bound_s=1.5)
    engine = sync_engine(database_url, application="test", bound_s=1.5)
    try:
        assert await database.rows(f"SHOW {setting}") == [("1500ms",)]
        with engine.connect() as connection:
            assert connection.execute(text(f"SHOW {setting}")).scalar() == "1500ms"
    finally:
        engine.dispose()
        await database.close()


@pytest.mark.parametrize(
    "options",
    ["-c%20timezone%3DAsia/Kolkata", "-cTimeZone%3DAsia/Kolkata", "--timezone%3DAsia/Kolkata%20-c%20lock_timeout%3D0"],
)  # fmt: skip
async def test_sessions_of_both_sides_are_in_utc_and_bounded_whatever_url_and_environment_say(
    database_url: str, options: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGTZ", "Asia/Kolkata")
    url = f"{database_url}?options={options}"
    database = Database(url, application="test", bound_s=1.5)
    engine = sync_engine(url, application="test", bound_s=1.5)
    try:
        for setting, shown in (("timezone", "UTC"), ("lock_timeout", "1500ms")):
            assert await database.rows(f"SHOW {setting}") == [(shown,)]
            with engine.connect() as connection:
                assert connection.execute(text(f"SHOW {setting}")).scalar() == shown
    finally:
        engine.dispose()
        await database.close()


@pytest.mark.rule(15)
async def test_a_process_that_stops_inside_a_transaction_loses_its_locks(database_url: str) -> None:
    stopped = Database(database_url, application="test", bound_s=0.2)
    successor = Database(database_url, application="test", bound_s=10)
    try:
        await successor.rows(
            "INSERT INTO suppressions (email, reason, source) VALUES ('a', '', '') RETURNING email"
        )
        connection = await stopped.engine.connect()
        await connection.execute(text("SELECT FROM suppressions FOR UPDATE"))

        # Waits until the server has ended the other transaction, which does nothing meanwhile.
        assert await successor.rows("UPDATE suppressions SET reason = 'x' RETURNING reason") == [("x",)]

        with pytest.raises(DBAPIError):
            await connection.execute(text("SELECT 1"))
        await connection.close()
    finally:
        await stopped.close()
        await successor.close()


async def test_the_parameters_of_a_statement_stay_out_of_the_texts_of_errors(database_url: str) -> None:
    database = Database(database_url, application="test", bound_s=5)
    engine = sync_engine(database_url, application="test", bound_s=5)
    sql = "INSERT INTO invoices (currency) VALUES (:value)"
    try:
        with pytest.raises(DBAPIError) as asynchronous:
            await database.rows(sql, value="a-secret")
        with engine.connect() as connection, pytest.raises(DBAPIError) as synchronous:
            connection.execute(text(sql), {"value": "a-secret"})
    finally:
        engine.dispose()
        await database.close()

    for error in (asynchronous.value, synchronous.value):
        assert "[parameters:" not in str(error)
        assert "hidden due to hide_parameters" in str(error)
