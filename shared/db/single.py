"""Statements that commit by themselves, on the driver's own connection.

SQLAlchemy's way through one (transaction, context, result, a switch of greenlets at each await) takes a worker more time
than the statement, and claim, outcome and enqueue are most of what it asks for. Pool, settings, and what a connection
reads JSON with, stay SQLAlchemy's; errors are the driver's own, which `is_outage` and its like know as well.
"""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

import asyncpg
from sqlalchemy import PoolProxiedConnection, TextClause
from sqlalchemy.dialects.postgresql.asyncpg import dialect
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.util import greenlet_spawn

#: A connection that has rested for so long goes through the pool, which asks whether it lives.
REST_S = 1.0
#: When a connection at hand was used last, on the monotonic clock, among what the pool knows of it.
UNUSED_SINCE = "unused_since"


class Record(asyncpg.Record):  # type: ignore[misc]  # compiled, without types
    """A row whose columns are attributes, as SQLAlchemy's are. To be named where the connection is made."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Rows(list[Record]):
    def all(self) -> Sequence[Record]:
        return self


class Single:
    """See `Database.single`. One statement after the other."""

    def __init__(self, pooled: PoolProxiedConnection) -> None:
        self.pooled = pooled
        self.driver: Any = pooled.driver_connection

    async def execute(self, sql: TextClause, params: Mapping[str, Any] | None = None) -> Rows:
        """Committed when it returns. Raises asyncpg's errors, OSError and TimeoutError."""
        spelled, names = _spelled(sql)
        try:
            return Rows(await self.driver.fetch(spelled, *[(params or {})[name] for name in names]))
        except asyncpg.PostgresError as error:
            # A row's values, addresses among them: texts of errors go to logs and into the ledger.
            error.detail = None
            raise


class Singles:
    """Connections for `Single`, out of an engine's pool. The one used last stays at hand: fetching one and bringing it back
    takes half as long as a short statement."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._at_hand: Single | None = None
        self._closed = False

    @asynccontextmanager
    async def single(self) -> AsyncIterator[Single]:
        single = await self._out()
        try:
            yield single
        except BaseException as error:
            # What PostgreSQL itself refused leaves a connection as it was. After all else nobody knows what it will hear next.
            await self._back(single, broken=not isinstance(error, asyncpg.PostgresError))
            raise
        if self._closed:
            await self._back(single, broken=True)
        elif self._at_hand is None:
            single.pooled.info[UNUSED_SINCE] = time.monotonic()
            self._at_hand = single
        else:
            await self._back(single)

    async def close(self) -> None:
        """Before the pool's own: what is in use now is closed when its statement has ended."""
        self._closed = True
        single, self._at_hand = self._at_hand, None
        if single is not None:
            await self._back(single)

    async def _out(self) -> Single:
        single, self._at_hand = self._at_hand, None
        if single is not None:
            known = single.pooled.info
            if time.monotonic() - known[UNUSED_SINCE] < REST_S and not single.driver.is_closed():
                del known[UNUSED_SINCE]
                return single
            await self._back(single)
        try:
            return Single(await self._engine.raw_connection())
        except self._engine.dialect.loaded_dbapi.Error as error:
            # SQLAlchemy's stand-in for the driver's error, which nobody else wraps here.
            raise (error.__cause__ or error) from None

    async def _back(self, single: Single, *, broken: bool = False) -> None:
        try:
            if broken:
                # In a greenlet: only there does the driver ask PostgreSQL to cancel what it is doing, before it leaves.
                await greenlet_spawn(single.pooled.invalidate)
        finally:
            await greenlet_spawn(single.pooled.close)


@lru_cache(maxsize=100)
def _spelled(sql: TextClause) -> tuple[str, Sequence[str]]:
    """With asyncpg's `$1`, and the names of what goes there."""
    compiled = sql.compile(dialect=dialect())  # type: ignore[no-untyped-call]  # SQLAlchemy has no types for it
    return str(compiled), tuple(compiled.positiontup or ())
