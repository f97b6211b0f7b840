"""Work for a cluster: schedules, runs, refunds, invoices, put in as outsiders do; and looks at what became of it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID

from sqlalchemy import text

from local_stack.auditor import Accepted
from scheduler_svc.notices import schedules_changed
from scheduler_svc.schedules import Schedules
from shared import jobs
from shared.core.jobspec import JobArgs, JobSpec
from shared.core.schedule import IntervalTrigger, ScheduleSpec
from shared.db.engine import Database, sync_engine
from shared.db.refunds import enqueue_for_refund
from shared.enqueue import Enqueuer
from shared.queue.connection import connect
from shared.queue.transport import RedisTransport
from tests.chaos.rig.load import Load
from tests.wait import wait_until

T = TypeVar("T")
BOUND_S = 10.0


class Work:
    """A context manager, on the servers themselves: no link is in the way, but for what flows (`flow_from`: the URLs of
    PostgreSQL and Redis that it uses)."""

    def __init__(self, database_url: str, redis_url: str, flow_from: tuple[str, str]) -> None:
        self.database_url, self.redis_url = database_url, redis_url
        self._flow_from = flow_from
        self.engine = sync_engine(database_url, application="outsider", bound_s=BOUND_S)
        self.schedules = Schedules(self.engine, schedules_changed(redis_url))
        #: Enqueues that were answered: their runs may never be missing. Those rolled back may never be there.
        self.accepted: list[Accepted] = []
        self.rolled_back: set[UUID] = set()
        #: Refunds and invoices that an outside program committed.
        self.refund_ids: set[UUID] = set()
        self.owed: set[UUID] = set()
        self._numbers = itertools.count(1)

    # --------------------------------------------------------------------------------------------------------- put in

    def ping_every(
        self, seconds: float = 1.0, schedule_id: str = "tick", *, replace: bool = False, **policy: Any
    ) -> str:
        """A schedule that runs `ping`; `policy` are fields of ScheduleSpec. Its id. `replace`: an edit of what has it."""
        spec = ScheduleSpec(
            id=schedule_id, job=jobs.PING.name, trigger=IntervalTrigger(every_s=seconds), **policy
        )
        return self.schedules.add(spec, actor="chaos", replace=replace).id

    def ping(self, n: int = 1, *, sleep_s: float = 0.0) -> list[UUID]:
        """Enqueues pings, as `shared.enqueue` does for our own code; their run ids."""
        return self.enqueue(jobs.PING, [jobs.PingArgs(sleep_s=sleep_s)] * n)

    def enqueue(
        self, job: JobSpec[Any], args: Sequence[JobArgs], *, keys: Sequence[str | None] | None = None
    ) -> list[UUID]:
        """Runs of one job; their ids."""

        async def enqueue(enqueuer: Enqueuer) -> list[UUID]:
            return [each.run_id for each in await enqueuer.enqueue_many(job, args, keys=keys)]

        run_ids = self.with_enqueuer(enqueue)
        for run_id, each, key in zip(run_ids, args, keys or [None] * len(args), strict=True):
            key = job.key(each) if key is None and job.key else key
            self.accepted.append(Accepted(job.name, run_id, key))
        return run_ids

    def with_enqueuer(self, use: Callable[[Enqueuer], Awaitable[T]]) -> T:
        """Calls it with an Enqueuer, in an event loop of its own."""

        async def run() -> T:
            async with self._services() as (_, enqueuer):
                return await use(enqueuer)

        return asyncio.run(run())

    def pay_now(self, refund_id: UUID) -> None:
        """Enqueues the run of a refund, as the API does: no sweep comes before it."""

        async def run() -> None:
            async with self._services() as (database, enqueuer), database.session() as session:
                await enqueue_for_refund(session, enqueuer, refund_id)

        asyncio.run(run())

    @asynccontextmanager
    async def _services(self) -> AsyncIterator[tuple[Database, Enqueuer]]:
        database = Database(self.database_url, application="outsider", bound_s=BOUND_S, pool_size=2)
        redis = connect(self.redis_url, client_name="outsider")
        enqueuer = Enqueuer(database, RedisTransport(redis))
        try:
            yield database, enqueuer
        finally:
            await enqueuer.close()
            await redis.aclose()
            await database.close()

    def refunds(
        self, n: int = 1, *, amount: int = 1_000, currency: str = "usd", behaviour: str = "succeed"
    ) -> list[UUID]:
        """Refunds of as many payment intents, as an outside program inserts them; `behaviour` is the sandbox's."""
        rows = [
            {
                "intent": f"pi_{currency}_a{amount}_{behaviour}_n{next(self._numbers)}",
                "amount": amount,
                "currency": currency,
            }
            for _ in range(n)
        ]
        sql = text(
            "INSERT INTO refunds (payment_intent_id, amount, currency) VALUES (:intent, :amount, :currency) RETURNING id"
        )
        with self.engine.begin() as connection:
            refund_ids: list[UUID] = [connection.execute(sql, row).scalar_one() for row in rows]
        self.refund_ids.update(refund_ids)
        return refund_ids

    def invoices(self, n: int = 1, *, local: str = "customer", overdue_s: float = 60.0) -> list[UUID]:
        """Invoices of as many customers that owe the reminder of their due date; `local` begins the addresses, which tell
        the sandbox how to behave."""
        sql = text(
            "WITH c AS (INSERT INTO customers (email, name) VALUES (:email, 'Ada') RETURNING id)"
            " INSERT INTO invoices (customer_id, amount_due, currency, due_at, created_at)"
            " SELECT id, 4200, 'EUR', now() - make_interval(secs => :overdue), now() - interval '30 days' FROM c RETURNING id"
        )
        with self.engine.begin() as connection:
            invoice_ids: list[UUID] = [
                connection.execute(
                    sql, {"email": f"{local}+{next(self._numbers)}@example.com", "overdue": overdue_s}
                ).scalar_one()
                for _ in range(n)
            ]
        self.owed.update(invoice_ids)
        return invoice_ids

    @contextmanager
    def flowing(self, *, every_s: float = 0.2) -> Iterator[Load]:
        """Runs (plain, with a key, in a transaction, rolled back) and refunds come in all the while, from a thread; none is given up
        before it has been accepted. Its links are those of a member called `load`."""
        with Load(*self._flow_from, every_s) as load:
            yield load
        self.accepted += load.accepted
        self.rolled_back |= load.rolled_back
        self.refund_ids |= load.refund_ids

    # ----------------------------------------------------------------------------------------------------------- look

    def rows(self, sql: str, **params: Any) -> Sequence[Any]:
        """One statement in a transaction of its own; its rows, if it has any."""
        with self.engine.begin() as connection:
            result = connection.execute(text(sql), params)
            return result.all() if result.returns_rows else []

    def run(self, run_id: UUID) -> Any:
        return self.rows("SELECT * FROM job_runs WHERE id = :id", id=run_id)[0]

    def refund(self, refund_id: UUID) -> Any:
        return self.rows("SELECT * FROM refunds WHERE id = :id", id=refund_id)[0]

    def in_state(self, run_id: UUID, *states: str, within_s: float = 20.0) -> Any:
        """The run's row, once it is in one of the states."""
        return wait_until(
            lambda: row if (row := self.run(run_id)).state in states else None,
            within_s,
            f"{run_id} {' or '.join(states)}",
        )

    def refund_in(self, refund_id: UUID, *statuses: str, within_s: float = 20.0) -> Any:
        """The refund's row, once it has one of the statuses."""
        return wait_until(
            lambda: row if (row := self.refund(refund_id)).status in statuses else None,
            within_s,
            f"refund {refund_id} {' or '.join(statuses)}",
        )

    def fired_since(self, schedule_id: str, after: Any) -> bool:
        """Whether a fire that came due after this time (timestamptz) has succeeded."""
        sql = (
            "SELECT FROM job_runs WHERE schedule_id = :id AND due_at > :after AND state = 'succeeded' LIMIT 1"
        )
        return bool(self.rows(sql, id=schedule_id, after=after))

    def now(self) -> Any:
        """PostgreSQL's clock."""
        return self.rows("SELECT clock_timestamp() AS now")[0].now

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.dispose()
