"""Engines with every time-out set: no connection waits for ever, no stopped process keeps a lock for long (rule 15)."""

import json
import math
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from sqlalchemy import Engine, Row, create_engine, event, text
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import (
    AsyncConnection,
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import ConnectionPoolEntry

from shared.db.arrays import send_lists_as_literals
from shared.db.prepared import plan_once
from shared.db.revision import refuse_older
from shared.db.single import UNUSED_SINCE, Record, Single, Singles
from shared.db.urls import for_asyncpg, for_psycopg2, may_prepare

CONNECT_TIMEOUT_S = 5.0
#: A connection that has rested for so long is asked whether it lives before it is used.
PING_AFTER_S = 1.0

#: With one way to do it, planning anew each time costs as much as a small batch itself.
_BY_ID = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}


def session_settings(bound_s: float, lock_s: float | None = None) -> dict[str, str]:
    """PostgreSQL settings that bound each transaction to `bound_s` seconds, and a day to 24 hours: drivers send a duration as
    days and seconds, and a day of a server's own zone may have 23.

    The options of a database URL cannot change them. `transaction_timeout` exists from version 17 on; it is set per
    transaction where it does (`bounded`).
    """
    ms = str(max(1, int(bound_s * 1000)))
    return {
        "timezone": "UTC",
        "statement_timeout": ms,
        "lock_timeout": ms if lock_s is None else str(int(lock_s * 1000)),
        "idle_in_transaction_session_timeout": ms,
    }


def lenient_json(raw: str) -> Any:
    """A JSON value; the text itself where Python cannot hold it (too deep, a number of thousands of digits), which no
    schema accepts: the row is parked by itself, instead of failing the whole statement with its neighbours (rule 9)."""
    if raw == "{}":  # as most are
        return {}
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return raw


class Database:
    """The asynchronous side: a small pool, bounded statements, sessions that expire nothing on commit.

    Cheap to construct; connections are made when first needed. `bound_s` limits every statement, every wait for a lock
    and every idle moment inside a transaction. `pre_ping` costs a transaction at each use after a moment of rest; who
    tries again anyway, and looks every second, does without. `by_id` is for statements that look up a batch of rows by
    their ids: they shall do so whatever the planner thinks of the table, which it may have seen last when it was empty.
    `lock_s` bounds waits for locks alone: what one row of a batch waits for shall not hold up the others.
    """

    def __init__(
        self,
        url: str,
        *,
        application: str,
        bound_s: float,
        pool_size: int = 5,
        pre_ping: bool = True,
        by_id: bool = False,
        lock_s: float | None = None,
    ) -> None:
        driver = for_asyncpg(url)
        args: dict[str, Any] = {
            "timeout": CONNECT_TIMEOUT_S,
            "command_timeout": bound_s + 1.0,
            "record_class": Record,
            **driver.connect_args,
        }
        args["server_settings"] = {
            "application_name": application,
            "jit": "off",
            # asyncpg asks for none itself: what lies between may forget a connection that rests.
            "tcp_keepalives_idle": "30",
            **(_BY_ID if by_id else {}),
            **args.get("server_settings", {}),
            **session_settings(bound_s, lock_s),  # whatever the URL's options say
        }
        self.engine: AsyncEngine = create_async_engine(
            driver.url,
            connect_args=args,
            json_deserializer=lenient_json,
            # Errors go to logs and into the ledger: the parameters, addresses among them, stay out of their texts.
            hide_parameters=True,
            pool_size=pool_size,
            max_overflow=pool_size,
            # Used last, used next: its statements are prepared, its caches warm.
            pool_use_lifo=True,
            pool_timeout=CONNECT_TIMEOUT_S,
            pool_recycle=1800,
        )
        _look_before_use(self.engine.sync_engine, ping=pre_ping)
        self._singles = Singles(self.engine)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A connection inside a transaction that commits at the end."""
        async with self.engine.begin() as connection:
            yield connection

    def single(self) -> AbstractAsyncContextManager[Single]:
        """A connection for single statements, each of which commits by itself: one round trip instead of three, and the
        driver's own rows and errors."""
        return self._singles.single()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session inside a transaction that commits at the end."""
        async with self._sessions.begin() as session:
            yield session

    async def rows(self, sql: str, **params: Any) -> list[Row[Any]]:
        """One statement in a transaction of its own; its rows."""
        async with self.engine.begin() as connection:
            return list((await connection.execute(text(sql), params)).all())

    async def ping(self) -> None:
        """Raises when PostgreSQL does not answer."""
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def check_schema(self) -> None:
        """Raises SchemaBehind when `cuebx migrate` has to run first."""
        async with self.engine.connect() as connection:
            exists = (await connection.execute(text("SELECT to_regclass('alembic_version')"))).scalar()
            found = None
            if exists is not None:
                found = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar()
        refuse_older(found)

    async def close(self) -> None:
        await self._singles.close()
        await self.engine.dispose()


def _look_before_use(engine: Engine, *, ping: bool) -> None:
    """SQLAlchemy's own pre-ping costs three round trips at every use. A connection that was used a moment ago is as likely
    to be gone as one is to break while it is used; one that has rested is asked first. One that is known to be closed
    is replaced in any case."""

    def rests(_: Any, record: ConnectionPoolEntry) -> None:
        record.info["rests_since"] = record.info.pop(UNUSED_SINCE, None) or time.monotonic()

    def leaves(connection: Any, record: ConnectionPoolEntry, _: object) -> None:
        if connection.driver_connection.is_closed():
            raise DisconnectionError
        if not ping or time.monotonic() - record.info.get("rests_since", math.inf) < PING_AFTER_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except Exception as error:
            raise DisconnectionError from error  # the pool replaces it

    event.listen(engine, "checkin", rests)
    event.listen(engine, "checkout", leaves)


def sync_engine(
    url: str,
    *,
    application: str,
    bound_s: float,
    pool_size: int = 3,
    pre_ping: bool = True,
    by_index: bool = False,
    planned_once: Sequence[str] = (),
) -> Engine:
    """The synchronous side, for APScheduler's stores and the firing path, which runs in a thread. See `Database`.

    `by_index`: no table is read whole, whatever the planner thinks of it; joins are its own choice, unlike with `by_id`.
    `planned_once`: statements of `sql/` that come often, with a row or two each. A URL that says there shall be no cache of
    prepared statements (for a pooler's sake) is heard here too.
    """
    driver = for_psycopg2(url)
    # Compiling a batch statement takes longer than it. Doubles come as text: all their digits, or none is what it was.
    settings = {**session_settings(bound_s), "jit": "off", "extra_float_digits": "1"}
    if by_index:
        settings["enable_seqscan"] = "off"
    if planned_once:
        settings["plan_cache_mode"] = "force_generic_plan"
    query = dict(driver.url.query)
    options = [str(query.pop("options", "")), *(f"-c {name}={value}" for name, value in settings.items())]
    engine = create_engine(
        driver.url.set(query=query),
        connect_args={
            "application_name": query.get("application_name", application),
            "connect_timeout": int(CONNECT_TIMEOUT_S),
            "options": " ".join(options).lstrip(),
            "keepalives": 1,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": int(bound_s * 1000) + 5000,
        },
        json_deserializer=lenient_json,
        hide_parameters=True,
        pool_pre_ping=pre_ping,
        pool_size=pool_size,
        max_overflow=2,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_recycle=1800,
    )
    if "PGTZ" in os.environ:
        event.listen(engine, "connect", _be_in_utc)
    if planned_once and may_prepare(url):
        plan_once(engine, *planned_once)
    send_lists_as_literals(engine)
    return engine


def _be_in_utc(connection: Any, _: object) -> None:
    """libpq sends the zone of that variable, which counts for more than our options."""
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
    connection.commit()
