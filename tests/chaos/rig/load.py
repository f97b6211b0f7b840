"""A flow of work that comes in whatever happens: an outside program that repeats what was not accepted."""

import asyncio
import itertools
import threading
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

import structlog
from sqlalchemy import text

from shared import jobs
from shared.db.engine import Database
from shared.enqueue import Enqueuer
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport

log = structlog.get_logger(__name__)
BOUND_S = 3.0
JOIN_S = 30.0
#: How long what was refused is repeated after the end of the flow.
LAST_TRIES_S = 20.0


class Load:
    """A context manager: the flow ends with it, when all that it began has been accepted.

    Each step inserts a refund and enqueues three runs: a plain one, one with a key, and one in a transaction with a
    business row. A step that fails is repeated with the same key and ids, as a caller does that got no answer; a plain
    run that was not acknowledged is given up, for nobody can know of it.
    """

    def __init__(self, database_url: str, redis_url: str, every_s: float) -> None:
        self.accepted: set[UUID] = set()
        self.refund_ids: set[UUID] = set()
        #: Steps that have been accepted, and tries that failed.
        self.steps = self.failures = 0
        self._urls = database_url, redis_url
        self._every_s = every_s
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._flow()), name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join(JOIN_S)
        assert not self._thread.is_alive(), "the load's last step was not accepted"

    async def _flow(self) -> None:
        database = Database(self._urls[0], application="outsider", bound_s=BOUND_S, pool_size=2)
        redis = connect(self._urls[1], client_name="outsider")
        enqueuer = Enqueuer(database, RedisTransport(redis))
        try:
            for number in itertools.count():
                await self._until_accepted(database, enqueuer, number)
                if self._ending.is_set():
                    return
                await asyncio.sleep(self._every_s)
        finally:
            await enqueuer.close()
            await redis.aclose()
            await database.close()

    async def _until_accepted(self, database: Database, enqueuer: Enqueuer, number: int) -> None:
        refund_id, customer_id, key = uuid4(), uuid4(), f"load-{uuid4()}"
        for _ in range(int(LAST_TRIES_S / 0.1)):
            try:
                async with asyncio.timeout(BOUND_S + 2):
                    await self._step(database, enqueuer, number, refund_id, customer_id, key)
            except Exception as failure:
                self.failures += 1
                log.info("load_refused", error=type(failure).__name__)
                await asyncio.sleep(0.1)
            else:
                self.steps += 1
                return

    async def _step(
        self,
        database: Database,
        enqueuer: Enqueuer,
        number: int,
        refund_id: UUID,
        customer_id: UUID,
        key: str,
    ) -> None:
        intent = f"pi_usd_a{1000 + number % 100}_l{refund_id.hex}"
        async with database.session() as session:
            await session.execute(
                text(
                    "INSERT INTO refunds (id, payment_intent_id, amount, currency) VALUES (:id, :intent, :amount, 'usd')"
                    " ON CONFLICT (id) DO NOTHING"
                ),
                {"id": refund_id, "intent": intent, "amount": 1000 + number % 100},
            )
        self.refund_ids.add(refund_id)
        self.accepted.add((await enqueuer.enqueue(jobs.PING, jobs.PingArgs())).run_id)
        self.accepted.add((await enqueuer.enqueue(jobs.PING, jobs.PingArgs(), key=key)).run_id)
        async with database.session() as session:
            await session.execute(
                text(
                    "INSERT INTO customers (id, email) VALUES (:id, 'load@example.com') ON CONFLICT DO NOTHING"
                ),
                {"id": customer_id},
            )
            run = await enqueuer.enqueue(jobs.PING, jobs.PingArgs(), key=f"{key}-with-row", session=session)
        self.accepted.add(run.run_id)
