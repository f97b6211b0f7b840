"""What one test did to its database, no other test meets, although databases serve again."""

from contextlib import closing

import psycopg2
import pytest

from shared.db.revision import HEAD
from tests.databases import Databases


def _execute(url: str, *statements: str) -> None:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        for each in statements:
            cursor.execute(each)


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO job_runs (job, queue) VALUES ('ping', 'maintenance')",
        "UPDATE alembic_version SET version_num = '0000'",
        "DELETE FROM alembic_version",
        "DROP TABLE alembic_version",
        "ALTER TABLE job_runs ADD another int",
        "DROP INDEX job_runs_key",
        "CREATE TABLE kept (n int)",
    ],
)
def test_a_database_is_as_new_whatever_the_one_before_it_did(databases: Databases, change: str) -> None:
    url = databases.create_migrated()
    _execute(url, change)
    databases.drop(url)

    url = databases.create_migrated()
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT version_num, (SELECT count(*) FROM job_runs), (SELECT count(*) FROM pg_indexes WHERE indexname = 'job_runs_key'),"
            " to_regclass('kept'), (SELECT count(*) FROM information_schema.columns WHERE column_name = 'another')"
            " FROM alembic_version"
        )
        assert cursor.fetchall() == [(HEAD, 0, 1, None, 0)]
    databases.drop(url)
