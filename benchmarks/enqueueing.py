"""Runs put into the ledger and pushed, as an enqueuer does it, from outside."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from benchmarks.ours import Ours
from shared.core.jobspec import JobSpec
from shared.db import ledger
from shared.db.engine import Database
from shared.ports import Message
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport


def enqueue(ours: Ours, job: JobSpec[Any], args: Sequence[dict[str, Any]]) -> list[UUID]:
    """All in one transaction, then one push; their ids."""
    return asyncio.run(_enqueue(ours, job, args))


async def _enqueue(ours: Ours, job: JobSpec[Any], args: Sequence[dict[str, Any]]) -> list[UUID]:
    database = Database(ours.database_url, application="benchmark", bound_s=120, pool_size=1)
    redis = connect(ours.redis_url, client_name="benchmark")
    try:
        async with database.begin() as connection:
            rows = await ledger.enqueue(connection, job, args)
        ids = [row.id for row in rows if row.id is not None]
        await RedisTransport(redis).push(job.queue, [Message(each, 1, job.priority) for each in ids])
        return ids
    finally:
        await redis.aclose()
        await database.close()
