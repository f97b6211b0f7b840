"""Databases for single tests, on one server."""

import itertools
from contextlib import closing

import psycopg2

from local_stack.postgres import EmbeddedPostgres

TEMPLATE = "cuebx_template"


class Databases:
    """Creates and drops databases; the migrated ones are copies of a template that is migrated once."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._numbers = itertools.count(1)
        self._has_template = False

    def create_empty(self) -> str:
        """A new database without tables; returns its URL."""
        return self._create("template0")

    def create_migrated(self) -> str:
        """A new database with the current schema; returns its URL."""
        if not self._has_template:
            from shared.db.migrate import upgrade  # noqa: PLC0415 - tests of the servers need no schema

            self._execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0")
            upgrade(self._server.url_of(TEMPLATE))
            self._has_template = True
        return self._create(TEMPLATE)

    def drop(self, url: str) -> None:
        """Drop a database of this class, whoever is still connected to it."""
        self._execute(f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]} WITH (FORCE)")

    def _create(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        return self._server.url_of(name)

    def _execute(self, statement: str) -> None:
        with closing(psycopg2.connect(self._server.url_of("postgres"), connect_timeout=10)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
