"""Carries out the work of a plan, and keeps what was answered: that must hold. What was not answered may, or may not."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text

from local_stack.auditor import Accepted, Known
from shared import jobs
from shared.core.errors import BadInput
from shared.db.engine import Database
from shared.enqueue import Enqueued, Enqueuer
from tests.chaos.storm.diary import Diary
from tests.chaos.storm.operators import Operators
from tests.chaos.storm.plan import Step

TIMEOUT_S = 8.0
_INSERT_INVOICE = text(
    "WITH c AS (INSERT INTO customers (id, email) VALUES (:customer, :email) RETURNING id)"
    " INSERT INTO invoices (id, customer_id, amount_due, currency, due_at, created_at)"
    " SELECT :id, id, 4200, 'EUR', now() - make_interval(secs => :owed_s), now() - interval '30 days' FROM c"
)
_INSERT_REFUND = text(
    "INSERT INTO refunds (id, payment_intent_id, amount, currency)"
    " VALUES (:id, :payment_intent_id, :amount, :currency)"
)
_INSERT_POISON = text(
    "INSERT INTO job_runs (id, job, queue, args, max_attempts)"
    " VALUES (:id, 'ping', 'maintenance', CAST(:args AS jsonb), :max_attempts)"
)


class Work:
    """For one event loop. `apis` are base URLs; a call goes to one after the other."""

    def __init__(
        self,
        database: Database,
        enqueuer: Enqueuer,
        operators: Operators,
        http: httpx.AsyncClient,
        apis: Callable[[], list[str]],
        diary: Diary,
    ) -> None:
        self._database = database
        self._enqueuer = enqueuer
        self._http = http
        self._apis = apis
        self._diary = diary
        self._calls = 0
        self._accepted: list[Accepted] = []
        self._rolled_back: set[UUID] = set()
        self._refunds: set[UUID] = set()
        self._acts: Mapping[str, Callable[..., Awaitable[object]]] = {
            "enqueue by API": self._enqueue_by_api,
            "enqueue": self._enqueue,
            "enqueue in transaction": self._enqueue_in_transaction,
            "insert refund": self._insert_refund,
            "refund by API": self._refund_by_api,
            "insert invoice": self._insert_invoice,
            "pay an invoice": self._pay_an_invoice,
            "remind a customer": self._remind_a_customer,
            "insert poison": self._insert_poison,
            "enqueue many": self._enqueue_many,
            "insert many refunds": self._insert_many_refunds,
            **operators.acts,
        }

    @property
    def known(self) -> Known:
        """What an outsider may rely on."""
        return Known(
            accepted=tuple(self._accepted),
            rolled_back=frozenset(self._rolled_back),
            refunds=dict.fromkeys(self._refunds, ()),
        )

    async def do(self, step: Step) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                said = await self._acts[step.kind](**step.params)
        except BadInput as refusal:
            self._diary.note("work", f"{step.kind}: refused", str(refusal))
        except Exception as error:
            self._diary.note("work", step.kind, f"{type(error).__name__}: {error}", failed=True)
        else:
            self._diary.note("work", step.kind, str(said or ""))

    # ------------------------------------------------------------------------------------------------------------ runs

    async def _enqueue_by_api(self, key: str | None, in_s: float | None, sleep_s: float) -> object:
        run_at = _in(in_s)
        asked = {"job": "ping", "args": {"sleep_s": sleep_s}, "key": key}
        if run_at is not None:
            asked["run_at"] = run_at.isoformat()
        answer = await self._post("/v1/runs", asked)
        return self._holds(Enqueued(UUID(answer["id"])), key)

    async def _enqueue(self, key: str | None, in_s: float | None, sleep_s: float) -> object:
        args = jobs.PingArgs(sleep_s=sleep_s)
        return self._holds(await self._enqueuer.enqueue(jobs.PING, args, run_at=_in(in_s), key=key), key)

    async def _enqueue_in_transaction(
        self, key: str | None, in_s: float | None, sleep_s: float, commit: bool
    ) -> object:
        args = jobs.PingArgs(sleep_s=sleep_s)
        async with self._database.session() as session:
            run = await self._enqueuer.enqueue(jobs.PING, args, run_at=_in(in_s), key=key, session=session)
            if not commit:
                await session.rollback()
                if not run.existing:
                    self._rolled_back.add(run.run_id)
                return f"rolled back {run.run_id}"
        return self._holds(run, key)

    def _holds(self, run: Enqueued, key: str | None) -> object:
        self._accepted.append(Accepted("ping", run.run_id, key))
        return run.run_id

    async def _insert_poison(self, ids: list[str], args: dict[str, Any], max_attempts: int) -> object:
        rows = [{"id": id, "args": json.dumps(args), "max_attempts": max_attempts} for id in ids]
        await self._execute(_INSERT_POISON, rows)
        self._accepted += [Accepted("ping", UUID(id)) for id in ids]
        return ids

    async def _enqueue_many(self, count: int, sleep_s: float) -> object:
        args = [jobs.PingArgs(sleep_s=sleep_s)] * count
        runs = await self._enqueuer.enqueue_many(jobs.PING, args)
        self._accepted += [Accepted("ping", run.run_id) for run in runs]
        return count

    # ----------------------------------------------------------------------------------------------------- money, mail

    async def _insert_refund(self, id: str, **refund: Any) -> object:
        return await self._insert_many_refunds([{"id": id, **refund}])

    async def _insert_many_refunds(self, refunds: list[dict[str, Any]]) -> object:
        await self._execute(_INSERT_REFUND, refunds)
        self._refunds |= {UUID(refund["id"]) for refund in refunds}
        return [refund["id"] for refund in refunds]

    async def _refund_by_api(self, times: int, **refund: Any) -> object:
        """Sent twice with one key: both answers must name the same refund."""
        ids = {UUID((await self._post("/v1/refunds", refund))["id"]) for _ in range(times)}
        self._refunds |= ids
        if len(ids) != 1:
            self._diary.note("answers", f"refund key {refund['key']}", f"was answered with {ids}")
        return ids

    async def _insert_invoice(self, id: str, customer: str, email: str, owed_s: float) -> object:
        row = {"id": id, "customer": customer, "email": email, "owed_s": owed_s}
        await self._execute(_INSERT_INVOICE, [row])
        return id

    async def _pay_an_invoice(self, nth: int) -> object:
        sql = (
            "UPDATE invoices SET status = 'paid' WHERE id = (SELECT id FROM invoices WHERE status = 'open'"
            " ORDER BY due_at DESC, id OFFSET :nth LIMIT 1) RETURNING id"
        )
        async with self._database.session() as session:
            return await session.scalar(text(sql), {"nth": nth})

    async def _remind_a_customer(self, nth: int, in_s: float | None) -> object:
        async with self._database.session() as session:
            customer = await session.scalar(
                text(
                    "SELECT customer_id FROM invoices WHERE status = 'open' ORDER BY id OFFSET :nth LIMIT 1"
                ),
                {"nth": nth},
            )
        if customer is None:
            return "nobody owes anything"
        args = jobs.ReminderArgs(user_id=customer)
        run = await self._enqueuer.enqueue(jobs.SEND_REMINDER, args, run_at=_in(in_s))
        self._accepted.append(Accepted(jobs.SEND_REMINDER.name, run.run_id))
        return run.run_id

    # --------------------------------------------------------------------------------------------------------- bottom

    async def _execute(self, sql: Any, rows: list[dict[str, Any]]) -> None:
        async with self._database.session() as session:
            await session.execute(sql, rows)

    async def _post(self, path: str, content: Mapping[str, Any]) -> Any:
        apis = self._apis()
        self._calls += 1
        answer = await self._http.post(apis[self._calls % len(apis)] + path, json=content)
        return answer.raise_for_status().json()


def _in(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)
