"""Databases for single tests, on one server."""

import itertools
from contextlib import closing
from typing import Any

import psycopg2

from local_stack.postgres import EmbeddedPostgres

TEMPLATE = "cuebx_template"

#: What a test may have changed beside rows, of what the template has (ids from 16384 on are not PostgreSQL's own),
#: and the one row that is not emptied.
#: TRUNCATE writes pg_class anew: of that only what a definition says counts.
DEFINITIONS = """
SELECT (SELECT md5(string_agg(concat_ws(' ', oid, relname, relnatts, relkind, reloptions), ',' ORDER BY oid))
          FROM pg_class WHERE relnamespace = 'public'::regnamespace),
       (SELECT concat_ws(' ', count(*), max(xmin::text::bigint)) FROM pg_attribute WHERE attrelid >= 16384),
       (SELECT concat_ws(' ', count(*), max(xmin::text::bigint)) FROM pg_constraint WHERE oid >= 16384),
       (SELECT concat_ws(' ', count(*), max(xmin::text::bigint)) FROM pg_index WHERE indexrelid >= 16384),
       (SELECT concat_ws(' ', count(*), max(xmin::text::bigint)) FROM pg_proc WHERE oid >= 16384),
       (SELECT concat_ws(' ', count(*), max(xmin::text::bigint)) FROM pg_trigger),
       (SELECT concat_ws(' ', count(*), max(xmin::text::bigint)) FROM pg_namespace),
       (SELECT count(*) FROM pg_db_role_setting),
       (SELECT count(*) FROM pg_statistic WHERE starelid >= 16384),
       (SELECT string_agg(version_num, ' ') FROM alembic_version)
"""
#: Whoever is still connected has left when this returns.
TERMINATE = """
SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
#: TRUNCATE, not DELETE: what is left of deleted rows would be planned for.
EMPTY = """
DO $$
DECLARE written text;
BEGIN
  SELECT string_agg(oid::regclass::text, ', ') INTO written FROM pg_class
  WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version' AND pg_relation_size(oid) > 0;
  IF written IS NOT NULL THEN
    EXECUTE format('TRUNCATE %s CASCADE', written);
  END IF;
  PERFORM setval(oid::regclass, 1, false) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S';
END $$
"""


class Databases:
    """Creates and drops databases; the migrated ones are copies of a template that is migrated once.

    A copy costs four times what emptying one costs: a migrated database that has the template's definitions still is
    emptied and serves again, under another name, so that nobody who knew the old one finds it.
    """

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._numbers = itertools.count(1)
        self._definitions: Any = None
        self._migrated: set[str] = set()
        self._emptied: list[str] = []

    def create_empty(self) -> str:
        """A new database without tables; returns its URL."""
        return self._server.url_of(self._copy("template0"))

    def create_migrated(self) -> str:
        """A database with the current schema and no rows; returns its URL."""
        if self._definitions is None:
            from shared.db.migrate import upgrade  # noqa: PLC0415 - tests of the servers need no schema

            self._execute("postgres", f"CREATE DATABASE {TEMPLATE} TEMPLATE template0")
            upgrade(self._server.url_of(TEMPLATE))
            self._definitions = self._execute(TEMPLATE, DEFINITIONS)
        if self._emptied:
            name = f"test_{next(self._numbers)}"
            self._execute("postgres", f"ALTER DATABASE {self._emptied.pop()} RENAME TO {name}")
        else:
            name = self._copy(TEMPLATE)
        self._migrated.add(name)
        return self._server.url_of(name)

    def drop(self, url: str) -> None:
        """End the use of a database of this class, whoever is still connected to it."""
        name = url.rpartition("/")[2]
        if name in self._migrated and self._empty(name):
            self._emptied.append(name)
        else:
            self._execute("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self._migrated.discard(name)

    def _empty(self, name: str) -> bool:
        """False: it cannot serve again."""
        try:
            with closing(self._connect(name)) as connection, connection.cursor() as cursor:
                cursor.execute(TERMINATE)
                cursor.execute(DEFINITIONS)
                if cursor.fetchone() != self._definitions:
                    return False
                cursor.execute(EMPTY)
                return True
        except psycopg2.Error:  # the test has dropped it, or forbids to connect
            return False

    def _copy(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        self._execute("postgres", f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return name

    def _execute(self, database: str, statement: str) -> Any:
        with closing(self._connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone() if cursor.description else None

    def _connect(self, database: str) -> Any:
        connection = psycopg2.connect(self._server.url_of(database), connect_timeout=10)
        connection.autocommit = True
        return connection
