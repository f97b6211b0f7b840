"""The model is worth believing: random days, lived by the same handlers in the simulated world and on PostgreSQL with the
sandbox of Stripe, come to the same rows and the same books after each step."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from shared import refund_review
from shared.core.errors import BadInput
from shared.core.refund_review import Decision
from shared.db.engine import Database
from shared.ports import ProviderRefund
from shared.providers.stripe_gateway import StripeGateway
from tests.integration.refunds.desk import Desk
from tests.model.money.refund_sql import WAITING
from tests.model.money.refund_world import RefundWorld
from tests.model.money.stage import BUSY, CONFLICT, FORBIDDEN, GO, LOST_AFTER, LOST_BEFORE, SERVER_ERROR
from tests.stripe_sandbox import StripeSandbox, stripe_sandbox

DIES_BEFORE, DIES_AFTER = "dies before", "dies after"
FAULTS: Mapping[str, dict[str, Any]] = {
    LOST_BEFORE: {"mode": "drop_before"},
    LOST_AFTER: {"mode": "drop_after"},
    SERVER_ERROR: {"mode": "status", "status": 500, "commit": True},
    CONFLICT: {"mode": "status", "status": 409},
    FORBIDDEN: {"mode": "status", "status": 403},
    BUSY: {"mode": "rate_limit"},
}
VERBS = ("pay",) * 5 + ("age",) * 2 + ("settle", "reconcile", "decide", "decide")
STEPS = 14
AMOUNTS = (60, 30, 20)  # of 100, so that one may find too little left
AGE = (
    "UPDATE refund_attempts SET started_at = started_at - CAST(:by AS interval) RETURNING 1",
    "UPDATE refunds SET reconciled_at = reconciled_at - CAST(:by AS interval), succeeded_at = succeeded_at - CAST(:by AS interval) RETURNING 1",
)


class Died(BaseException):
    """The worker, at this point."""


class Mortal:
    """A gateway whose user dies before or after a call to create."""

    def __init__(self, inner: StripeGateway) -> None:
        self._inner = inner
        self.dies = ""

    async def create(self, **order: Any) -> ProviderRefund:
        dies, self.dies = self.dies, ""
        if dies == DIES_BEFORE:
            raise Died
        try:
            return await self._inner.create(**order)
        finally:
            if dies == DIES_AFTER:
                raise Died

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Real:
    """PostgreSQL, and Stripe's sandbox behind HTTP."""

    def __init__(self, desk: Desk, gateway: Mortal, sandbox: StripeSandbox) -> None:
        self.desk, self.gateway, self.sandbox = desk, gateway, sandbox
        self.ids: list[UUID] = []

    async def pay(self, number: int, word: str) -> None:
        if word in FAULTS:
            self.sandbox.fault(**FAULTS[word])
        self.gateway.dies = word
        with suppress(Died):
            await self.desk.pay(self.ids[number])
        self.sandbox.clear_faults()
        self.gateway.dies = ""

    async def age(self, hours: float) -> None:
        self.sandbox.advance(hours * 3600)
        for sql in AGE:
            await self.desk.database.rows(sql, by=timedelta(hours=hours))

    async def settle(self, number: int, status: str) -> None:
        if found := [
            r for r in self.sandbox.refunds() if r["metadata"]["refund_id"] == str(self.ids[number])
        ]:
            self.sandbox.settle(found[-1]["id"], status)

    async def reconcile(self) -> None:
        await self.desk.reconcile()

    async def decide(self, number: int, decision: Decision) -> str:
        try:
            await refund_review.resolve(
                self.desk.database, self.desk.enqueuer, self.desk.gateway, self.ids[number], decision,
                actor="ann", note="by cheque",
            )  # fmt: skip
        except BadInput:
            return "refused"
        return "done"

    async def told(self) -> Any:
        """Rows, attempts and Stripe's book, without ids."""
        rows = [await self.desk.refund(each) for each in self.ids]
        tries = [await self.desk.attempts(each) for each in self.ids]
        book = [(r["metadata"], r["amount"], r["status"]) for r in self.sandbox.refunds()]
        return _told(self.ids, rows, tries, book)


class Simulated:
    def __init__(self, world: RefundWorld) -> None:
        self.world = world
        self.ids: list[UUID] = []

    def pay(self, number: int, word: str) -> None:
        world = self.world
        if not word.startswith("dies"):
            world.pay(self.ids[number], word)
            return
        process = world.attempt(self.ids[number])
        if world.goes_to(process, "Stripe create"):
            if word == DIES_AFTER:
                world.stage.play(process, [GO])
            world.stage.kill(process)
            world.stage.under_way.clear()

    def age(self, hours: float) -> None:
        self.world.workers.pass_time(timedelta(hours=hours))

    def settle(self, number: int, status: str) -> None:
        mine = str(self.ids[number])
        if found := [r for r in self.world.stripe.refunds.values() if r.metadata["refund_id"] == mine]:
            self.world.stripe.settle(found[-1].id, status)

    def reconcile(self) -> None:
        self.world.stage.finish(self.world.reconcile())

    def decide(self, number: int, decision: Decision) -> str:
        process = self.world.decide(self.ids[number], decision)
        self.world.stage.finish(process)
        return "refused" if isinstance(process.answer, BadInput) else "done"

    def told(self) -> Any:
        rows = [self.world.refund(each) for each in self.ids]
        tries = [self.world.database.rows("refund_attempts", refund_id=each) for each in self.ids]
        book = [(r.metadata, r.amount, r.status) for r in self.world.stripe.refunds.values()]
        return _told(self.ids, rows, tries, book)


def _told(ids: list[UUID], rows: list[Any], tries: list[Any], book: list[Any]) -> Any:
    numbers = {str(each): number for number, each in enumerate(ids)}
    return (
        [(r.status, r.generation, r.provider_refund_id is not None, r.dead_runs) for r in rows],
        [[(t.generation, t.outcome) for t in each] for each in tries],
        sorted((numbers[m["refund_id"]], m["generation"], amount, status) for m, amount, status in book),
    )


@pytest.fixture
async def real(database_url: str) -> AsyncIterator[Real]:
    database = Database(database_url, application="test", bound_s=20)
    with stripe_sandbox() as sandbox:
        sandbox.add_intent("pi_1", 100, behaviour="late")
        gateway = Mortal(sandbox.gateway())
        desk = Desk(database, gateway)
        yield Real(desk, gateway, sandbox)
        await desk.enqueuer.close()
        await gateway.close()
    await database.close()


class Step(NamedTuple):
    """One thing that happens, by the name of a method, and what the simulated world came to by it."""

    verb: str
    args: tuple[Any, ...]
    answer: Any
    told: Any


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_a_random_day_ends_alike_in_both_worlds(real: Real, seed: int) -> None:
    # In a thread: the stage has an event loop of its own.
    steps, trace = await asyncio.to_thread(_simulate, random.Random(seed))
    real.ids = [await real.desk.add_refund("pi_1", amount) for amount in AMOUNTS]
    for number, step in enumerate(steps):
        answer = await getattr(real, step.verb)(*step.args)
        lived = "\n".join([f"{each.verb} {each.args}" for each in steps[: number + 1]])
        assert (answer, await real.told()) == (step.answer, step.told), f"{lived}\n{trace}"


def _simulate(dice: random.Random) -> tuple[list[Step], str]:
    steps: list[Step] = []
    with RefundWorld() as world:
        world.stripe.first_status = "pending"
        side = Simulated(world)
        side.ids = [world.add(amount) for amount in AMOUNTS]
        while len(steps) < STEPS:
            verb, args = _draw(dice, [row[0] for row in side.told()[0]])
            if verb:
                steps.append(Step(verb, args, getattr(side, verb)(*args), side.told()))
        return steps, "\n".join(world.stage.trace)


def _draw(dice: random.Random, statuses: list[str]) -> tuple[str, tuple[Any, ...]]:
    """What happens next; no verb: nothing to do it to."""
    verb, number = dice.choice(VERBS), dice.randrange(len(AMOUNTS))
    match verb:
        case "pay" if statuses[number] in WAITING:
            return verb, (number, dice.choice((GO, *FAULTS, DIES_BEFORE, DIES_AFTER)))
        case "age":
            return verb, (dice.choice((1.1, 22.0, 25.0)),)
        case "settle":
            return verb, (number, dice.choice(("succeeded", "failed", "canceled")))
        case "reconcile":
            return verb, ()
        case "decide" if statuses[number] in ("needs_review", "failed"):
            return verb, (number, dice.choice(list(Decision)))
    return "", ()
