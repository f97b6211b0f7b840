"""dramatiq on Redis: one process, 8 threads, no results."""

import threading
from collections.abc import Sequence

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from tally import Enqueue, main, tally


def actor_of(url: str) -> "dramatiq.Actor[..., None]":
    dramatiq.set_broker(RedisBroker(url=url))

    @dramatiq.actor(actor_name="noop")
    def noop(number: int, sent_at: float = 0.0) -> None:
        tally.begins(number, sent_at)

    return noop


async def connect(url: str) -> Enqueue:
    noop = actor_of(url)

    async def enqueue(numbers: Sequence[int], sent_at: float) -> None:
        for number in numbers:
            noop.send(number, sent_at)

    return enqueue


def work(url: str) -> None:
    dramatiq.Worker(actor_of(url).broker, worker_threads=8).start()
    threading.Event().wait()


if __name__ == "__main__":
    main(connect, work)
