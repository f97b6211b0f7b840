"""APScheduler 3.11: N one-shots in its PostgreSQL store, due at once; each pushes its id to Redis.

`apscheduler_storm.py POSTGRES REDIS N` → {"seconds", "stall_s"}: from the due time until all N are in Redis and out of
the store, and the longest time for which the event loop ran nothing else.

AsyncIOScheduler with SQLAlchemyJobStore and misfire_grace_time=None, as its user guide says for jobs that must not be
lost. A push is the cheapest one there is: RPUSH by the job's own coroutine. The store is filled with rows of its own
making, in bulk, since add_job takes minutes for this many; that is not measured.
"""

import asyncio
import json
import pickle
import sys
import time
from datetime import UTC, datetime

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.util import datetime_to_utc_timestamp
from redis.asyncio import BlockingConnectionPool, Redis

QUEUE = "apscheduler"
LEAD_S = 2.0
LIMIT_S = 120.0
redis: Redis


async def push(number: int) -> None:
    await redis.rpush(QUEUE, number)


def fill(store: SQLAlchemyJobStore, due: datetime, n: int) -> None:
    maker = AsyncIOScheduler(timezone=UTC)
    maker.start(paused=True)  # a job is complete only in a scheduler that runs
    rows = []
    for number in range(n):
        job = maker.add_job(
            push, "date", run_date=due, args=[number], id=f"job-{number}", misfire_grace_time=None
        )
        rows.append(
            {
                "id": job.id,
                "next_run_time": datetime_to_utc_timestamp(due),
                "job_state": pickle.dumps(job.__getstate__(), pickle.HIGHEST_PROTOCOL),
            }
        )
    maker.shutdown(wait=False)
    store.jobs_t.create(store.engine, checkfirst=True)
    with store.engine.begin() as connection:
        connection.execute(store.jobs_t.delete())
        connection.execute(store.jobs_t.insert(), rows)


async def main(postgres: str, redis_url: str, n: int) -> dict[str, float]:
    global redis
    # One that waits for a free connection: the other kind refuses, and the job would be lost.
    redis = Redis.from_pool(BlockingConnectionPool.from_url(redis_url, max_connections=50, timeout=None))
    await redis.delete(QUEUE)
    url = postgres.replace("postgresql://", "postgresql+psycopg2://")
    store = SQLAlchemyJobStore(url=url)
    due = datetime.fromtimestamp(time.time() + LEAD_S + n / 4000, UTC)
    fill(store, due, n)
    scheduler = AsyncIOScheduler(timezone=UTC, jobstores={"default": store})
    scheduler.start()
    stall, ticked = 0.0, time.monotonic()
    while True:
        await asyncio.sleep(0.005)
        now = time.monotonic()
        stall, ticked = max(stall, now - ticked - 0.005), now
        if time.time() > due.timestamp() and await redis.llen(QUEUE) >= n:
            break
        if time.time() > due.timestamp() + LIMIT_S:
            raise RuntimeError(f"{await redis.llen(QUEUE)} of {n} after {LIMIT_S:g} s")
    seconds = time.time() - due.timestamp()
    with store.engine.connect() as connection:
        left = len(connection.execute(store.jobs_t.select()).all())
    scheduler.shutdown(wait=False)
    distinct = len(set(await redis.lrange(QUEUE, 0, -1)))
    await redis.delete(QUEUE)
    await redis.aclose()
    return {"seconds": seconds, "stall_s": stall, "left": left, "distinct": distinct}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))))  # noqa: T201  # the answer
