"""Everybody at once, on the real wire: workers that die, sleep or lose their run, sweeps, runs by hand, replays, cancellations,
people who decide, webhooks, Stripe's faults, and days that pass in between. Stripe's book is the judge."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import pytest

from shared import refund_review
from shared.core.errors import BadInput
from shared.core.refund_review import Decision
from shared.core.states import LIVE
from shared.db import ledger
from shared.jobs import PROCESS_REFUND, RefundArgs
from shared.ports import OutcomeUnknown, PaymentIntent, ProviderRefund, RefundGateway
from tests.integration.refunds.desk import Desk
from tests.integration.refunds.wire.interrupted import WorkerDied
from tests.stripe_sandbox import StripeSandbox

VOID = ("failed", "canceled")
ROUNDS, AT_ONCE = 8, 24
FAULTS: tuple[dict[str, object], ...] = (
    {"mode": "drop_before"},
    {"mode": "drop_after"},
    {"mode": "status", "status": 500, "commit": True, "saved": True},
    {"mode": "status", "status": 500, "commit": False, "saved": True},
    {"mode": "status", "status": 503, "commit": True, "saved": False},
    {"mode": "status", "status": 409},
    {"mode": "rate_limit"},
    {"mode": "status", "status": 403},
)


class Unruly(RefundGateway):
    """The real gateway. Its callers die before the call or after it, or sleep with the answer until `morning`."""

    def __init__(self, inner: RefundGateway, chance: random.Random, morning: asyncio.Event) -> None:
        self._inner, self._chance, self._morning = inner, chance, morning
        self.asleep = False

    async def create(
        self,
        *,
        payment_intent_id: str,
        amount: int,
        reason: str | None,
        metadata: Mapping[str, str],
        idempotency_key: str,
    ) -> ProviderRefund:
        fate = self._chance.random()
        if fate < 0.1:
            raise WorkerDied
        made = await self._inner.create(
            payment_intent_id=payment_intent_id,
            amount=amount,
            reason=reason,
            metadata=metadata,
            idempotency_key=idempotency_key,
        )
        if fate < 0.2:
            raise WorkerDied
        if fate < 0.3:
            self.asleep = True
            await self._morning.wait()
        return made

    async def retrieve(self, refund_id: str) -> ProviderRefund | None:
        return await self._inner.retrieve(refund_id)

    async def list_for(self, payment_intent_id: str) -> AsyncIterator[ProviderRefund]:
        if self._chance.random() < 0.1:
            raise OutcomeUnknown("the list was cut")
        async for each in self._inner.list_for(payment_intent_id):
            yield each

    async def payment_intent(self, payment_intent_id: str) -> PaymentIntent | None:
        return await self._inner.payment_intent(payment_intent_id)

    async def check(self) -> None:
        await self._inner.check()

    async def close(self) -> None:
        await self._inner.close()


class Storm:
    def __init__(self, desk: Desk, sandbox: StripeSandbox, seed: int) -> None:
        self.desk, self.sandbox, self.chance = desk, sandbox, random.Random(seed)
        self.morning = asyncio.Event()
        self.ids: list[UUID] = []
        self._gateways: list[Unruly] = []
        self._sleepers: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------------------------------------ what happens

    async def work(self) -> None:
        """Claims some run of a refund, from another worker if need be, and goes on with it."""
        gateway = Unruly(self.desk.gateway, self.chance, self.morning)
        self._gateways.append(gateway)
        worker = self.desk.with_gateway(gateway)
        live = [run for run in await self.desk.runs() if run.state in LIVE]
        if not live:
            await self.desk.sweep()
            return
        run = self.chance.choice(live)
        try:
            ctx = await worker.claim(run.id)
        except ValueError:
            return  # somebody else has claimed it
        with suppress(WorkerDied, AssertionError):  # the latter: its outcome came too late
            await worker.handle(ctx)

    async def sweep(self) -> None:
        await self.desk.sweep()

    async def reconcile(self) -> None:
        await self.desk.database.rows("UPDATE refunds SET reconciled_at = NULL RETURNING 1")
        await self.desk.reconcile()

    async def run_by_hand(self) -> None:
        await self.desk.enqueuer.enqueue(PROCESS_REFUND, RefundArgs(refund_id=self.chance.choice(self.ids)))

    async def cancel_or_replay(self) -> None:
        runs = await self.desk.runs()
        if not runs:
            return
        run = self.chance.choice(runs)
        async with self.desk.database.begin() as db:
            if run.state == "dead":
                await ledger.replay(db, run.id, more_attempts=3)
            else:
                await ledger.cancel(db, run.id, reason="storm")

    async def kill_run(self) -> None:
        """As if its attempts were used up by workers that died."""
        live = [run for run in await self.desk.runs() if run.state in LIVE]
        if live:
            await self.desk.set_run(self.chance.choice(live).id, state="dead", lease_until=None)

    async def decide(self) -> None:
        decision = self.chance.choice([Decision.RETRY, Decision.RETRY, Decision.ACCEPT, Decision.MARK_FAILED])
        await self.resolve(self.chance.choice(self.ids), decision)

    async def resolve(self, refund_id: UUID, decision: Decision) -> None:
        with suppress(BadInput):
            await refund_review.resolve(
                self.desk.database,
                self.desk.enqueuer,
                self.desk.gateway,
                refund_id,
                decision,
                actor="storm",
                note="storm",
            )

    async def hint(self) -> None:
        made = self.sandbox.refunds()
        if made:
            refund = self.chance.choice(made)
            if self.chance.random() < 0.3 and refund["status"] == "succeeded":
                self.sandbox.settle(refund["id"], "failed", "declined")
            await self.desk.tell(
                await self.desk.event(
                    "refund.updated", refund, age=timedelta(minutes=self.chance.randint(0, 9))
                )
            )

    async def fault(self) -> None:
        self.sandbox.fault(**self.chance.choice(FAULTS))  # type: ignore[arg-type]  # a table's

    # ------------------------------------------------------------------------------------------------ one after the other

    async def blow(self) -> None:
        doings: list[Callable[[], Awaitable[None]]] = [
            *[self.work] * 12,
            *[self.decide, self.hint, self.fault] * 2,
            *[self.sweep, self.reconcile, self.run_by_hand, self.cancel_or_replay, self.kill_run],
        ]
        tasks = {asyncio.create_task(self._do(self.chance.choice(doings))) for _ in range(AT_ONCE)}
        tasks |= self._sleepers
        async with asyncio.timeout(60):
            while len(tasks) > sum(gateway.asleep for gateway in self._gateways):
                done, tasks = await asyncio.wait(tasks, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)
                await asyncio.gather(*done)
        self._sleepers = tasks

    async def _do(self, doing: Callable[[], Awaitable[None]]) -> None:
        await doing()

    async def a_day_passes(self) -> None:
        """Keys are forgotten. Who had not sent by then does not send any more: no lease lasts so long."""
        self.sandbox.clear_faults()
        for refund_id in self.ids:
            await self.desk.age_attempts(refund_id, timedelta(hours=25))
        self.sandbox.advance(25 * 3600)

    async def calm(self) -> None:
        """Nobody interferes any more: workers work, and people decide what is left to them."""
        self.sandbox.clear_faults()
        self.morning.set()
        await asyncio.gather(*self._sleepers)
        for turn in itertools.count():
            assert turn < 40, "it never comes to rest"
            rows = [await self.desk.refund(refund_id) for refund_id in self.ids]
            waiting = [row for row in rows if row.status in ("pending", "processing")]
            review = [row.id for row in rows if row.status == "needs_review"]
            if not waiting and not review:
                return
            await self.desk.sweep()
            for run in await self.desk.runs():
                if run.state in LIVE:
                    await self.desk.handle(await self.desk.claim(run.id))
            for refund_id in review:
                await self.resolve(refund_id, Decision.ACCEPT)
                await self.resolve(refund_id, Decision.RETRY)
            if review:
                await self.a_day_passes()

    async def judge(self) -> None:
        await self.reconcile()
        book = self.sandbox.refunds()
        assert self.sandbox.books()["doubled"] == []
        for refund_id in self.ids:
            row = await self.desk.refund(refund_id)
            pays = [
                each
                for each in book
                if each["metadata"]["refund_id"] == str(refund_id) and each["status"] not in VOID
            ]
            if row.status == "succeeded":
                assert [(each["id"], each["amount"]) for each in pays] == [
                    (row.provider_refund_id, row.amount)
                ]
            else:
                assert row.status in ("failed", "needs_review")
                assert pays == []


@pytest.mark.rule(24, 26, 27, 28)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_in_a_storm_of_everything_no_refund_is_paid_twice_lost_or_belied(
    desk: Desk, sandbox: StripeSandbox, http_gateway: RefundGateway, seed: int
) -> None:
    storm = Storm(desk.with_gateway(http_gateway), sandbox, seed)
    for n in range(4):
        sandbox.add_intent(f"pi_{seed}_{n}", amount=1_000)
    storm.ids = [await desk.add_refund(f"pi_{seed}_{n % 4}", amount=200) for n in range(12)]
    await desk.sweep()

    for number in range(ROUNDS):
        await storm.blow()
        if number % 3 == 2:
            await storm.a_day_passes()
    await storm.calm()

    await storm.judge()
