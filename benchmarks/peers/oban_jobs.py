"""Oban for Python on PostgreSQL: 200 jobs at once, woken by LISTEN/NOTIFY; `fill` inserts a thousand in one call."""

import asyncio
from collections.abc import Sequence

from oban import Oban, worker
from oban.schema import install
from tally import Enqueue, main, tally


@worker(queue="default")
class Noop:
    async def process(self, job):
        tally.begins(job.args["number"], job.args["sent_at"])


async def connect(url: str) -> Enqueue:
    pool = await Oban.create_pool(url, min_size=1, max_size=4)
    async with pool.connection() as connection:
        found = await (await connection.execute("SELECT to_regclass('oban_jobs')")).fetchone()
    if found is None or found[0] is None:
        await install(pool)
    oban = Oban(pool=pool)

    async def enqueue(numbers: Sequence[int], sent_at: float) -> None:
        await oban.enqueue_many([Noop.new({"number": number, "sent_at": sent_at}) for number in numbers])

    return enqueue


def work(url: str) -> None:
    async def run() -> None:
        pool = await Oban.create_pool(url, min_size=4, max_size=20)
        async with Oban(pool=pool, queues={"default": 200}):
            await asyncio.Event().wait()

    asyncio.run(run())


if __name__ == "__main__":
    main(connect, work)
