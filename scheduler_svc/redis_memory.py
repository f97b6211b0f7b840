"""Whether Redis still remembers what it was told (rule 14).

Redis has an identity, and keeps a counter of ours that PostgreSQL has a copy of. Another identity means a restart or another
primary; a counter that is missing or older than the copy means an old snapshot, or that somebody cleared it.
"""

from dataclasses import dataclass
from typing import Any

import structlog
from redis.asyncio import Redis

from scheduler_svc.outages import Outages
from shared.db.engine import Database
from shared.queue import keys
from shared.queue.strangers import set_aside

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Mark:
    identity: str
    counter: int


class RedisMemory:
    """One per term: what PostgreSQL knew at its beginning is read once, later changes are this leader's own."""

    def __init__(self, redis: Redis, database: Database, outages: Outages) -> None:
        self._redis = redis
        self._database = database
        self._outages = outages
        self._known: Mark | None = None
        self._seen: Mark | None = None

    async def lost(self) -> bool:
        """True as well where nothing was ever noted, and where a key was somebody else's: what Redis has then is not known."""
        async with self._outages.watch_redis():
            strangers = await set_aside(self._redis)
        if strangers:
            log.error("redis_keys_set_aside", keys=strangers)
        if self._known is None:
            async with self._outages.watch_postgres():
                rows = await self._database.rows("SELECT redis_run_id, counter FROM redis_marks")
            if not rows:
                return True
            self._known = Mark(rows[0].redis_run_id, rows[0].counter)
        self._seen = await self._look()
        forgot = self._seen.identity != self._known.identity or self._seen.counter < self._known.counter
        return forgot or bool(strangers)

    async def note(self) -> None:
        """Moves the counter on, in Redis first: the copy is ahead of it only if Redis forgot."""
        async with self._outages.watch_redis():
            counter = int(await self._redis.incr(keys.MARKER))
            if self._known is not None and counter <= self._known.counter:
                counter = self._known.counter + 1
                await self._redis.set(keys.MARKER, counter)
        # As seen before anything was pushed again: a restart meanwhile shows at the next look.
        seen = self._seen or await self._look()
        mark = Mark(seen.identity, counter)
        async with self._outages.watch_postgres():
            await self._database.rows(
                "INSERT INTO redis_marks (redis_run_id, counter) VALUES (:identity, :counter) ON CONFLICT (one) DO UPDATE"
                " SET redis_run_id = excluded.redis_run_id, counter = excluded.counter, seen_at = now()"
                " RETURNING counter",
                identity=mark.identity,
                counter=mark.counter,
            )
        self._known = mark

    async def _look(self) -> Mark:
        async with self._outages.watch_redis(), self._redis.pipeline(transaction=False) as pipe:
            pipe.info("server")
            pipe.info("replication")
            pipe.get(keys.MARKER)
            server, replication, marker = await pipe.execute()
        return Mark(_identity(server, replication), int(marker or 0))


def _identity(server: dict[str, Any], replication: dict[str, Any]) -> str:
    return f"{server.get('run_id', '')}/{replication.get('master_replid', '')}"
