"""arq: as it comes, or with `tuned` as the last argument: 200 jobs at once, a poll every 10 ms, no results kept, on uvloop."""

import asyncio
import sys
from typing import Any

import uvloop
from arq.connections import RedisSettings, create_pool
from arq.worker import Worker
from tally import Enqueue, enqueue_each, main, tally

TUNED: dict[str, Any] = {"max_jobs": 200, "poll_delay": 0.01, "keep_result": 0, "queue_read_limit": 1000}


async def noop(_: Any, number: int, sent_at: float = 0.0) -> None:
    tally.begins(number, sent_at)


async def connect(url: str) -> Enqueue:
    redis = await create_pool(RedisSettings.from_dsn(url))
    return enqueue_each(lambda number, sent_at: redis.enqueue_job("noop", number, sent_at))


def work(url: str, **options: Any) -> None:
    asyncio.set_event_loop(asyncio.new_event_loop())
    Worker([noop], redis_settings=RedisSettings.from_dsn(url), **options).run()


def work_tuned(url: str) -> None:
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    work(url, **TUNED)


if __name__ == "__main__":
    tuned = sys.argv[-1] == "tuned"
    if tuned:
        sys.argv.pop()
    main(connect, work_tuned if tuned else work)
