"""pydocket on Redis streams: 200 jobs at once, results and states not kept, on uvloop."""

from datetime import timedelta

import uvloop
from docket import Docket, Worker
from tally import Enqueue, enqueue_each, main, tally


async def noop(number: int, sent_at: float = 0.0) -> None:
    tally.begins(number, sent_at)


def docket_of(url: str) -> Docket:
    docket = Docket(name="jobs", url=url, execution_ttl=timedelta(0))
    docket.register(noop)
    return docket


async def connect(url: str) -> Enqueue:
    docket = await docket_of(url).__aenter__()
    return enqueue_each(lambda number, sent_at: docket.add(noop)(number, sent_at))


def work(url: str) -> None:
    async def run() -> None:
        async with (
            docket_of(url) as docket,
            Worker(
                docket,
                concurrency=200,
                minimum_check_interval=timedelta(milliseconds=10),
                scheduling_resolution=timedelta(milliseconds=250),
            ) as worker,
        ):
            await worker.run_forever()

    uvloop.run(run())


if __name__ == "__main__":
    main(connect, work)
