"""SAQ on Redis, tuned: 200 jobs at once, no results kept, its own connection pool as large as that."""

import asyncio
from typing import Any

from saq import Queue, Worker
from tally import Enqueue, enqueue_each, main, tally


async def noop(_: Any, *, number: int, sent_at: float = 0.0) -> None:
    tally.begins(number, sent_at)


async def connect(url: str) -> Enqueue:
    queue = Queue.from_url(url)
    await queue.connect()
    return enqueue_each(lambda number, sent_at: queue.enqueue("noop", number=number, sent_at=sent_at, ttl=-1))


def work(url: str) -> None:
    async def run() -> None:
        await Worker(Queue.from_url(url), functions=[noop], concurrency=200).start()

    asyncio.run(run())


if __name__ == "__main__":
    main(connect, work)
