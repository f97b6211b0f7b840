"""streaQ on Redis streams: 200 jobs at once, results not kept."""

from collections.abc import Sequence
from typing import Any

from streaq import Worker
from tally import Enqueue, main, tally


def worker_of(url: str) -> "tuple[Worker[Any], Any]":
    worker: Worker[Any] = Worker(redis_url=url, concurrency=200, prefetch=200)

    @worker.task(name="noop", ttl=0)
    async def noop(number: int, sent_at: float = 0.0) -> None:
        tally.begins(number, sent_at)

    return worker, noop


async def connect(url: str) -> Enqueue:
    worker, noop = worker_of(url)
    await worker.__aenter__()

    async def enqueue(numbers: Sequence[int], sent_at: float) -> None:
        await worker.enqueue_many([noop.enqueue(number, sent_at) for number in numbers])

    return enqueue


def work(url: str) -> None:
    worker_of(url)[0].run_sync()


if __name__ == "__main__":
    main(connect, work)
