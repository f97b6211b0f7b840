"""Whether PostgreSQL and Redis answer, asked once in a while: `/readyz` itself touches nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from redis.asyncio import Redis

from shared.db.engine import Database
from shared.db.revision import SchemaBehind
from shared.health import Readiness

EVERY_S = 1.0
TIMEOUT_S = 2.0
DATABASE = "postgresql"
REDIS = "redis"


class Probe:
    """Keeps `readiness` up to date. The first time PostgreSQL answers, the schema is checked; `behind` is what was wrong
    with it, and `on_behind` is told."""

    def __init__(self, database: Database, redis: Redis, *, every_s: float = EVERY_S) -> None:
        self.readiness = Readiness(DATABASE, REDIS)
        self.behind: SchemaBehind | None = None
        self.on_behind: Callable[[], None] = lambda: None
        self._database = database
        self._redis = redis
        self._every_s = every_s
        self._schema_checked = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._run(), name="probe")
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def once(self) -> None:
        """Asks both, within TIMEOUT_S each. An outage is told by `readiness`, never raised."""
        await asyncio.gather(self._ask(DATABASE, self._ask_database), self._ask(REDIS, self._ask_redis))

    async def _run(self) -> None:
        while True:
            await self.once()
            await asyncio.sleep(self._every_s)

    async def _ask(self, name: str, ask: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await ask()
        except Exception as error:
            # The type says it: a message may hold an address or a whole statement.
            self.readiness.failed(
                name, str(error) if isinstance(error, SchemaBehind) else type(error).__name__
            )
        else:
            self.readiness.ok(name)

    async def _ask_database(self) -> None:
        if self._schema_checked:
            return await self._database.ping()
        try:
            await self._database.check_schema()
        except SchemaBehind as error:
            self.behind = error
            self.on_behind()
            raise
        self._schema_checked = True

    async def _ask_redis(self) -> None:
        await self._redis.ping()
