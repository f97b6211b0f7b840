"""PostgreSQL and Valkey of a benchmark's own, with databases for ours and for each peer."""

import itertools
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import create_engine, text

from local_stack.postgres import EmbeddedPostgres
from local_stack.valkey import EmbeddedValkey
from shared.db.engine import sync_engine
from shared.db.migrate import upgrade
from shared.queue.connection import connect_blocking


class Servers:
    """Durable, as both are by default: what is measured has been written."""

    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        directory.mkdir(parents=True)
        directory.chmod(0o755)  # as root the servers are somebody else
        self._postgres = EmbeddedPostgres(directory / "postgres", settings=settings)
        self._valkey = EmbeddedValkey(directory / "valkey")
        self._started = ExitStack()
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        try:
            for server in (self._postgres, self._valkey):
                self._started.enter_context(server)
        except BaseException:
            self._started.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._started.close()

    @property
    def postgres_pid(self) -> int:
        return self._postgres.pid

    @property
    def valkey_pid(self) -> int:
        return self._valkey.pid

    def new_database(self, *, migrated: bool = False) -> str:
        """The URL of an empty database, or of one with our schema."""
        name = f"bench_{next(self._numbers)}"
        # CREATE DATABASE takes no transaction.
        engine = create_engine(self._postgres.url.replace("postgresql://", "postgresql+psycopg2://"))
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text(f"CREATE DATABASE {name}"))
        finally:
            engine.dispose()
        url = self._postgres.url_of(name)
        if migrated:
            upgrade(url)
        return url

    def redis_url(self, database: int = 0) -> str:
        """Valkey's, with one of its 16 databases."""
        return self._valkey.url.removesuffix("/0") + f"/{database}"

    def empty_redis(self, database: int = 0) -> None:
        with connect_blocking(self.redis_url(database), timeout_s=10) as redis:
            redis.flushdb()

    def vacuum(self, url: str) -> None:
        """VACUUM ANALYZE of all tables, which takes no transaction."""
        engine = sync_engine(url, application="benchmark", bound_s=600, pool_size=1)
        try:
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("VACUUM ANALYZE"))
        finally:
            engine.dispose()

    def rows(self, url: str, sql: str, **params: Any) -> list[Any]:
        """One statement, looked at from outside."""
        engine = sync_engine(url, application="benchmark", bound_s=600, pool_size=1)
        try:
            with engine.begin() as connection:
                result = connection.execute(text(sql), params)
                return list(result.all()) if result.returns_rows else []
        finally:
            engine.dispose()
