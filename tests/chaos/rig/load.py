"""A flow of work that comes in whatever happens: an outside program that repeats what was not accepted."""

import asyncio
import itertools
import threading
from types import TracebackType
from typing import Self
from uuid import UUID, uuid4

import structlog
from sqlalchemy import text

from local_stack.auditor import Accepted
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
_INSERT_REFUND = text(
    "INSERT INTO refunds (id, payment_intent_id, amount, currency) VALUES (:id, :intent, :amount, 'usd')"
    " ON CONFLICT (id) DO NOTHING"
)
_INSERT_CUSTOMER = text(
    "INSERT INTO customers (id, email) VALUES (:id, 'load@example.com') ON CONFLICT (id) DO NOTHING"
)


class Load:
    """A context manager: the flow ends with it, when all that it began has been accepted.

    Each step inserts a refund and enqueues three runs: a plain one, one with a key, and one in a transaction with a
    business row; some roll a fourth back. A step that fails is repeated with the same key and ids, as a caller does that got no answer; a plain
    run that was not acknowledged is given up, for nobody can know of it.
    """

    def __init__(self, database_url: str, redis_url: str, every_s: float) -> None:
        self.accepted: list[Accepted] = []
        self.rolled_back: set[UUID] = set()
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
        amount = 1000 + number % 100
        async with database.session() as session:
            refund = {"id": refund_id, "intent": f"pi_usd_a{amount}_l{refund_id.hex}", "amount": amount}
            await session.execute(_INSERT_REFUND, refund)
        self.refund_ids.add(refund_id)
        await self._enqueue(enqueuer, None)
        await self._enqueue(enqueuer, key)
        async with database.session() as session:
            await session.execute(_INSERT_CUSTOMER, {"id": customer_id})
            run = await enqueuer.enqueue(jobs.PING, jobs.PingArgs(), key=f"{key}-with-row", session=session)
        self.accepted.append(Accepted(jobs.PING.name, run.run_id, f"{key}-with-row"))
        if number % 5 == 0:
            async with database.session() as session:
                run = await enqueuer.enqueue(jobs.PING, jobs.PingArgs(), session=session)
                await session.rollback()
            self.rolled_back.add(run.run_id)

    async def _enqueue(self, enqueuer: Enqueuer, key: str | None) -> None:
        run = await enqueuer.enqueue(jobs.PING, jobs.PingArgs(), key=key)
        self.accepted.append(Accepted(jobs.PING.name, run.run_id, key))
