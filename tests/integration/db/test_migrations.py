"""The schema comes into being once, whoever asks for it, and a process knows whether it is there."""

import subprocess
import sys
from contextlib import closing

import psycopg2
import pytest

from shared.db.engine import Database
from shared.db.migrate import _LOCK as LOCK
from shared.db.migrate import upgrade
from shared.db.revision import HEAD, SchemaBehind
from tests.wait import wait_until

UPGRADE = "import sys; from shared.db.migrate import upgrade; print(*upgrade(sys.argv[1]))"


def execute(url: str, statement: str) -> None:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement)


def waiting(url: str) -> int:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE NOT granted AND locktype = 'advisory' AND datname = current_database()"
        )
        [(count,)] = cursor.fetchall()
        return int(count)


async def check(url: str) -> None:
    database = Database(url, application="test", bound_s=5)
    try:
        await database.check_schema()
    finally:
        await database.close()


def test_several_at_once_migrate_once_and_all_succeed(empty_database_url: str) -> None:
    with closing(psycopg2.connect(empty_database_url)) as turn, turn.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", UPGRADE, empty_database_url],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for _ in range(4)
        ]
        # All of them have to wait for their turn before the first one may begin.
        wait_until(lambda: waiting(empty_database_url) == 4, timeout=30, what="all wait")
    answers = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [0] * 4, answers
    assert sorted(out.strip() for out, _ in answers) == sorted([f"None {HEAD}"] + [f"{HEAD} {HEAD}"] * 3)


def test_migrating_again_changes_nothing(database_url: str) -> None:
    assert upgrade(database_url) == (HEAD, HEAD)


def test_a_migration_that_fails_leaves_nothing_and_can_be_repeated(empty_database_url: str) -> None:
    execute(
        empty_database_url, "CREATE TABLE webhook_events ()"
    )  # the last table: everything before it worked

    with pytest.raises(Exception, match="webhook_events"):
        upgrade(empty_database_url)
    execute(empty_database_url, "DROP TABLE webhook_events")

    assert upgrade(empty_database_url) == (None, HEAD)


async def test_an_empty_database_is_refused_with_the_command_to_run(empty_database_url: str) -> None:
    with pytest.raises(SchemaBehind, match=f"at nothing, this version needs {HEAD}: run cuebx migrate"):
        await check(empty_database_url)


async def test_an_older_schema_is_refused_with_the_command_to_run(database_url: str) -> None:
    execute(database_url, "UPDATE alembic_version SET version_num = '0000'")

    with pytest.raises(SchemaBehind, match=f"at 0000, this version needs {HEAD}: run cuebx migrate"):
        await check(database_url)


@pytest.mark.parametrize("revision", [HEAD, "9999"])
async def test_this_schema_and_a_newer_one_are_served(database_url: str, revision: str) -> None:
    execute(database_url, f"UPDATE alembic_version SET version_num = '{revision}'")

    await check(database_url)


def test_tables_of_the_old_scheduler_step_aside_with_their_rows(empty_database_url: str) -> None:
    execute(
        empty_database_url,
        "CREATE TABLE scheduler_refunds_jobs (id varchar(191) PRIMARY KEY, next_run_time float8, job_state bytea NOT NULL);"
        "CREATE INDEX ix_scheduler_refunds_jobs_next_run_time ON scheduler_refunds_jobs (next_run_time);"
        "INSERT INTO scheduler_refunds_jobs VALUES ('process_pending_refunds_job', 1, '\\x80')",
    )
    upgrade(empty_database_url)
    with closing(psycopg2.connect(empty_database_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT id FROM old_scheduler_refunds_jobs")
        assert cursor.fetchall() == [("process_pending_refunds_job",)]
        cursor.execute("SELECT count(*) FROM scheduler_refunds_jobs")
        assert cursor.fetchall() == [(0,)]


@pytest.mark.parametrize("table", ["schedules", "scheduler_maintenance_jobs"])
def test_a_store_that_is_truncated_takes_its_ids_along(database_url: str, table: str) -> None:
    insert = "INSERT INTO scheduler_maintenance_jobs (id, job_state) VALUES ('nightly', '{}')"
    execute(database_url, insert)
    execute(database_url, f"TRUNCATE {table}")
    execute(database_url, insert)
