"""What the product takes for SQLAlchemy's engines and connections, and for its own `Database`: each process has its own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any

from sqlalchemy import TextClause

from tests.model.database import Database, Result, Tx


class Connection:
    """What the product takes for a connection of SQLAlchemy's."""

    dialect = SimpleNamespace(server_version_info=(16,))

    def __init__(self, database: Database, tx: Tx) -> None:
        self.database, self.tx = database, tx

    def execute(self, sql: TextClause, params: dict[str, Any] | None = None) -> Result:
        return self.database.run(self.tx, sql, params or {})


class Engine:
    """What the product takes for an engine of SQLAlchemy's: each process has its own."""

    def __init__(self, database: Database, who: str, bound_s: float) -> None:
        self.database, self.who, self.bound_s = database, who, bound_s

    def execution_options(self, *, isolation_level: str) -> "Engine":
        """A single statement that commits by itself is a transaction here, too."""
        return self

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        tx = Tx(self.database, self.who, self.bound_s)
        try:
            yield Connection(self.database, tx)
            self.database.world.ask(self.database, "commit", tx.commit, tx=tx)
        except BaseException:
            tx.abort()
            raise


class AsyncConnection:
    def __init__(self, connection: Connection) -> None:
        self.sync = connection

    async def execute(self, sql: TextClause, params: dict[str, Any] | None = None) -> Result:
        return self.sync.execute(sql, params)

    async def scalar(self, sql: TextClause, params: dict[str, Any]) -> Any:
        return self.sync.execute(sql, params).scalar_one()


class AsyncDatabase:
    """What the product takes for its `Database`."""

    def __init__(self, engine: Engine) -> None:
        self.sync = engine

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        with self.sync.begin() as connection:
            yield AsyncConnection(connection)

    single = begin

    async def rows(self, sql: str, **params: Any) -> Result:
        with self.sync.begin() as connection:
            return connection.execute(TextClause(sql), params)

    async def ping(self) -> None:
        server = self.sync.database
        server.world.ask(server, "ping", lambda: None)
