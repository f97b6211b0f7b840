"""A flood of no-op runs for workers that are ready, and what came of them."""

import asyncio
import time
from dataclasses import dataclass

from sqlalchemy import text

from benchmarks.ours import Ours
from shared.db import ledger
from shared.db.engine import Database
from shared.jobs import PING
from shared.ports import Message
from shared.queue import keys
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport

BULK = 1000
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Flood:
    """`rate` counts from the first push to the last outcome's commit. `wrong`: what the audit found, empty if nothing."""

    rate: float
    wrong: str


def flood(ours: Ours, runs: int) -> Flood:
    """Commits so many pings, then pushes all their messages, and waits for the workers' last outcome."""
    return asyncio.run(_flood(ours, runs))


async def _flood(ours: Ours, runs: int) -> Flood:
    database = Database(ours.database_url, application="benchmark", bound_s=120, pool_size=1)
    redis = connect(ours.redis_url, client_name="benchmark")
    transport = RedisTransport(redis)
    try:
        ids = []
        for first in range(0, runs, BULK):
            async with database.begin() as connection:
                rows = await ledger.enqueue(connection, PING, [{}] * min(BULK, runs - first))
            ids += [row.id for row in rows if row.id is not None]
        began = time.time()
        await transport.push(PING.queue, [Message(each, 1, PING.priority) for each in ids])
        while await redis.zcard(keys.queue(PING.queue)) or await _live(database):
            if time.time() - began > LIMIT_S:
                raise RuntimeError(f"{await _live(database)} of {runs} runs have not ended")
            await asyncio.sleep(0.05)
        found = (await database.rows(_AUDIT, ids=ids))[0]
        wrong = (
            "" if found.right == runs else f"{runs} in, {found.right} of {found.all} with one success each"
        )
        return Flood(runs / (found.last - began), wrong)
    finally:
        await redis.aclose()
        await database.close()


async def _live(database: Database) -> int:
    async with database.begin() as connection:
        # The indexes of live runs, even where nobody has analysed the table yet: a look must cost next to nothing.
        await connection.execute(text("SET LOCAL enable_seqscan = off"))
        return int(await connection.scalar(text(_LIVE)) or 0)


_LIVE = """
SELECT (SELECT count(*) FROM job_runs WHERE state = 'pending') + (SELECT count(*) FROM job_runs WHERE state = 'queued')
  + (SELECT count(*) FROM job_runs WHERE state = 'running')
"""
_AUDIT = """
SELECT count(*) AS "all", count(*) FILTER (WHERE state = 'succeeded' AND attempt = 1 AND finished_at >= started_at) AS "right",
  extract(epoch FROM max(finished_at))::float8 AS last
FROM job_runs WHERE id = ANY (CAST(:ids AS uuid[]))
"""
