"""Parts whose workers leave or lose them anywhere, that die, are replayed and pruned, beside other fires, by workers whose parts
are of other sizes or who know of none (a deploy is under way): everything that is owed is sent once in the end."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import pytest

from shared import jobs
from shared.core.errors import Fenced, LeaseExpired, PauseQueue, RateLimited
from shared.core.outcomes import Outcome
from shared.db import ledger
from tests.brevo_sandbox import BrevoSandbox
from tests.integration.reminders.held import HeldMailer
from tests.integration.reminders.world import HANDLERS, World, open_world
from worker_svc.context import JobContext
from worker_svc.reminder_parts import Part

JOB = jobs.SEND_PAYMENT_REMINDER_EMAILS
CUSTOMERS, EACH, STEPS = 4, 6, 10
#: After these the parts themselves send everything; after the others the next fire has to.
KIND = ("stop", "stop", "deaf", "attempt", "fault")
UNKIND = (*KIND, "attempt_of_old", "fire", "bury", "replay", "prune")
FAULTS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("drop_after", {}),
    ("status", {"status": 500}),
    ("status", {"status": 429}),
    ("status", {"status": 402}),
)
TERMINAL = "state IN ('succeeded', 'dead', 'cancelled', 'skipped')"


@pytest.fixture
async def other(database_url: str, brevo: BrevoSandbox) -> AsyncIterator[World]:
    async with open_world(database_url, HeldMailer(brevo.mailer())) as opened:
        yield opened


class Life:
    """Two workers, and what befalls them."""

    def __init__(
        self, worlds: list[World], brevo: BrevoSandbox, dice: random.Random, patch: pytest.MonkeyPatch
    ) -> None:
        self.worlds, self.dice, self._brevo, self._patch = worlds, dice, brevo, patch
        self._of = Part.of
        self.deaf: list[asyncio.Task[Outcome]] = []

    @property
    def world(self) -> World:
        return self.dice.choice(self.worlds)

    async def ids(self, where: str) -> list[UUID]:
        rows = await self.worlds[0].database.rows(
            f"SELECT id FROM job_runs WHERE job = :job AND {where}", job=JOB.name
        )
        return [row.id for row in rows]

    def choose_size(self) -> None:
        self._patch.setattr("worker_svc.reminder_parts.MAILS", self.dice.choice((2, 3, 7)))

    async def act(self, act: str) -> None:
        ids = await self.ids("state = 'dead'" if act == "replay" else "state = 'pending'")
        if act == "fault":
            name, settings = self.dice.choice(FAULTS)
            self._brevo.fault(name, **settings)
        elif act == "fire":
            await self.world.enqueue(JOB, due_at=await self.world.services.clock.now())
        elif act == "prune":
            await self.worlds[0].database.rows(f"DELETE FROM job_runs WHERE {TERMINAL} RETURNING 1")
        elif not ids:
            return
        elif act == "replay":
            async with self.world.database.begin() as db:
                await ledger.replay(db, self.dice.choice(ids), more_attempts=10)
        elif act == "bury":
            await self.world.bury(self.dice.choice(ids))
        elif act in ("stop", "deaf"):
            await self.stopped(self.dice.choice(ids), deaf=act == "deaf")
        else:
            await self.attempt(self.dice.choice(ids), old=act == "attempt_of_old")

    async def stopped(self, run_id: UUID, *, deaf: bool) -> None:
        world = self.world
        self.choose_size()
        context = await world.claim(run_id)
        task = asyncio.ensure_future(HANDLERS[JOB.name](context, JOB.decode(context.run.args)))
        await asyncio.wait({task}, timeout=self.dice.randrange(90) / 1000)
        if deaf:
            context.lease.lose()
            self.deaf.append(task)
        else:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await world.lose(run_id)

    async def attempt(self, run_id: UUID, *, old: bool = False) -> None:
        await asyncio.gather(*self.deaf, return_exceptions=True)
        self.deaf.clear()
        await self.worlds[0].age_batches(1)
        self.choose_size()
        if old:
            self._patch.setattr(Part, "of", self._of_old)
        with suppress(Fenced, LeaseExpired, RateLimited, PauseQueue):
            await self.world.attempt(run_id)
        self._patch.setattr(Part, "of", self._of)

    async def _of_old(self, context: JobContext, args: jobs.RemindersArgs) -> Part:
        """As a worker from before there were parts: what it does not know in the arguments it ignores."""
        self._patch.setattr("worker_svc.reminder_parts.MAILS", 10**6)
        as_of = context.run.due_at or await context.services.clock.now()
        return Part(context, jobs.RemindersArgs(tolerance=args.tolerance), as_of, None)


@pytest.mark.parametrize("acts", [KIND, UNKIND], ids=["kind", "unkind"])
@pytest.mark.parametrize("seed", range(2))
async def test_whatever_befalls_parts_all_that_is_owed_is_sent_once(
    world: World,
    other: World,
    brevo: BrevoSandbox,
    seed: int,
    acts: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dice = random.Random(seed)
    life = Life([world, other], brevo, dice, monkeypatch)
    invoices = []
    for number in range(CUSTOMERS):
        customer = await world.customer(f"{number}@example.com")
        made = await world.services.clock.now()
        invoices += [await world.invoice(customer, created_at=made) for _ in range(EACH)]
    await world.enqueue(JOB, due_at=await world.services.clock.now())
    for _ in range(STEPS):
        await life.act(dice.choice(acts))
    if acts is UNKIND:
        await world.enqueue(JOB)
    for _ in range(100):
        if not (waiting := await life.ids("state = 'pending'")):
            break
        await life.attempt(waiting[0])

    assert await life.ids("state <> 'succeeded' AND state <> 'dead'") == []
    assert Counter(brevo.addresses()) == {f"{number}@example.com": EACH for number in range(CUSTOMERS)}
    rows = await world.reminders()
    assert Counter(row.invoice_id for row in rows) == dict.fromkeys(invoices, 1)
    assert {row.status for row in rows} <= {"sent", "unconfirmed"}
