"""How the loop of one queue ends."""

import asyncio
from contextlib import suppress
from typing import cast

from arq.connections import ArqRedis

from shared.health import Readiness
from worker_svc.arq_worker import QueueLoop, QueueWorker


class Deaf:
    """Stands for an arq worker: its first cancellation gets lost, as one that comes when a write to Redis has just ended."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.over = self.settled = False

    async def check(self) -> None:
        """Redis is there."""

    async def main(self) -> None:
        self.began.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        try:
            await asyncio.Event().wait()
        finally:
            self.over = True

    async def settle(self) -> None:
        self.settled = self.over


class Pool:
    async def aclose(self, *, close_connection_pool: bool) -> None:
        """Nothing to close."""


async def test_a_cancellation_that_gets_lost_is_repeated_before_claims_are_settled() -> None:
    worker = Deaf()
    loop = QueueLoop(cast(QueueWorker, worker), "refunds", Readiness("redis"), cast(ArqRedis, Pool()))
    running = asyncio.create_task(loop.run())
    await worker.began.wait()

    await loop.stop()

    assert worker.settled, "the main loop went on after `stop`"
    await running
