"""procrastinate on PostgreSQL: 200 jobs at once, woken by LISTEN/NOTIFY; `fill` defers a thousand in one call."""

import asyncio
from collections.abc import Sequence

from procrastinate import App, PsycopgConnector
from tally import Enqueue, main, tally


def app_of(url: str) -> App:
    app = App(connector=PsycopgConnector(conninfo=url, min_size=4, max_size=20))

    @app.task(name="noop")
    async def noop(number: int, sent_at: float = 0.0) -> None:
        tally.begins(number, sent_at)

    return app


async def connect(url: str) -> Enqueue:
    app = app_of(url)
    await app.open_async()
    if not await app.check_connection_async():
        await app.schema_manager.apply_schema_async()
    noop = app.tasks["noop"]

    async def enqueue(numbers: Sequence[int], sent_at: float) -> None:
        if len(numbers) == 1:
            await noop.defer_async(number=numbers[0], sent_at=sent_at)
        else:
            await noop.batch_defer_async(*({"number": number, "sent_at": sent_at} for number in numbers))

    return enqueue


def work(url: str) -> None:
    async def run() -> None:
        async with app_of(url).open_async() as app:
            await app.run_worker_async(concurrency=200)

    asyncio.run(run())


if __name__ == "__main__":
    main(connect, work)
