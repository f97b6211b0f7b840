"""taskiq on a Redis list or, with `stream` as the last argument, on a Redis stream: 200 jobs at once, no results, uvloop.

taskiq-redis 1.0.9 imports two names that taskiq 0.13 has dropped; they are pydantic's own methods.
"""

import sys
from typing import Any

import taskiq.compat
import uvloop

taskiq.compat.model_dump = lambda model, **options: model.model_dump(**options)
taskiq.compat.model_validate = lambda kind, value: kind.model_validate(value)

from tally import Enqueue, enqueue_each, main, tally  # noqa: E402  # after the names are there
from taskiq.api import run_receiver_task  # noqa: E402
from taskiq_redis import ListQueueBroker, RedisStreamBroker  # noqa: E402

STREAM = sys.argv[-1] == "stream"
if STREAM:
    sys.argv.pop()


def broker_of(url: str) -> Any:
    broker = RedisStreamBroker(url) if STREAM else ListQueueBroker(url)

    @broker.task(task_name="noop")
    async def noop(number: int, sent_at: float = 0.0) -> None:
        tally.begins(number, sent_at)

    return broker


async def connect(url: str) -> Enqueue:
    broker = broker_of(url)
    await broker.startup()
    noop = broker.find_task("noop")
    return enqueue_each(lambda number, sent_at: noop.kiq(number, sent_at))


def work(url: str) -> None:
    async def run() -> None:
        broker = broker_of(url)
        broker.is_worker_process = True
        await broker.startup()
        await run_receiver_task(broker, max_async_tasks=200, max_prefetch=200)

    uvloop.run(run())


if __name__ == "__main__":
    main(connect, work)
