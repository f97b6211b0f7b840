"""The same for reminders: random days on PostgreSQL with the sandbox of Brevo, and in the simulated world."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from shared.jobs import CONFIRM_REMINDERS, SEND_PAYMENT_REMINDER_EMAILS
from tests.brevo_sandbox import BrevoSandbox, brevo_sandbox
from tests.integration.reminders.held import HeldMailer, ended_or_killed
from tests.integration.reminders.world import World, open_world
from tests.model.money.database import Row
from tests.model.money.ledger_sql import LIVE
from tests.model.money.reminder_sql import OPEN
from tests.model.money.reminder_world import ReminderWorld
from tests.model.money.stage import BUSY, FORBIDDEN, GO, LOST_AFTER, LOST_BEFORE

DIES_BEFORE, DIES_AFTER = "hold_before", "hold_after"
FAULTS: Mapping[str, dict[str, Any]] = {
    LOST_BEFORE: {"mode": "drop_before"},
    LOST_AFTER: {"mode": "drop_after"},
    FORBIDDEN: {"mode": "status", "status": 402},
    BUSY: {"mode": "rate_limit"},
}
ADDRESSES = ("ann@example.com", "reject@example.com", "bounce@example.com", "dan@example.com")
STEPS = 9


class Real:
    """PostgreSQL, and Brevo's sandbox behind HTTP."""

    def __init__(self, world: World, mailer: HeldMailer, sandbox: BrevoSandbox) -> None:
        self.world, self.mailer, self.sandbox = world, mailer, sandbox
        self.run_id: UUID | None = None
        self.invoices = 0

    async def owing(self, address: str) -> None:
        # Members of a batch are in the order of their invoices' ids.
        self.invoices += 1
        await self.world.owing(address, id=UUID(int=self.invoices))

    async def start(self, confirm: bool, word: str) -> None:
        self.run_id = await self.world.enqueue(CONFIRM_REMINDERS if confirm else SEND_PAYMENT_REMINDER_EMAILS)
        await self.again(word)

    async def again(self, word: str) -> None:
        """The run's next attempt; who had it has lost it."""
        assert self.run_id is not None
        await self.world.lose(self.run_id)
        if word in FAULTS:
            self.sandbox.fault(**FAULTS[word])
        self.mailer.reached.clear()
        for hold in (DIES_BEFORE, DIES_AFTER):
            setattr(self.mailer, hold, word == hold)
        with suppress(Exception):  # recorded with the run
            await ended_or_killed(self.mailer.reached, self.world.attempt(self.run_id))
        self.mailer.hold_before = self.mailer.hold_after = False
        self.sandbox.clear_faults()

    async def bury(self) -> None:
        assert self.run_id is not None
        await self.world.bury(self.run_id)

    async def age(self, minutes: int) -> None:
        self.sandbox.advance(minutes * 60)
        await self.world.age_batches(minutes)

    async def told(self) -> Any:
        """Reminders, batches and Brevo's book, without ids."""
        reminders = [(r.email, r.status) for r in await self.world.reminders()]
        batches = [(b.status, b.calls, len(b.content["members"])) for b in await self.world.batches()]
        live = self.run_id is not None and await self.world.state(self.run_id) in LIVE
        return sorted(reminders), sorted(batches), self.sandbox.addresses(), live


class Simulated:
    def __init__(self, world: ReminderWorld) -> None:
        self.world = world
        world.brevo.refuses, world.brevo.bounces = {ADDRESSES[1]}, {ADDRESSES[2]}
        self.run: Row | None = None

    def owing(self, address: str) -> None:
        self.world.owing(address)

    def start(self, confirm: bool, word: str) -> None:
        self.run = self.world.enqueue(CONFIRM_REMINDERS if confirm else SEND_PAYMENT_REMINDER_EMAILS)
        self.run.due_at = None  # what is owed is asked for at the time of each attempt
        self.again(word)

    def again(self, word: str) -> None:
        assert self.run is not None
        stage, process, mails = self.world.stage, self.world.workers.claim(self.run), self.world.brevo.mails
        while self.world.goes_to(process, "Brevo send"):
            before = len(mails)
            if word != DIES_BEFORE:
                stage.play(process, [word if word in FAULTS else GO])
            if word == DIES_BEFORE or (word == DIES_AFTER and len(mails) > before):
                stage.kill(process)
                stage.under_way.clear()
                return
            word = word if word == DIES_AFTER else GO

    def bury(self) -> None:
        assert self.run is not None
        self.run.state = "dead"

    def age(self, minutes: int) -> None:
        self.world.workers.pass_time(timedelta(minutes=minutes))

    def several(self) -> bool:
        """Whether more than one batch is open."""
        batches = self.world.database.tables["reminder_batches"].values()
        return len([each for each in batches if each.status in OPEN]) > 1

    def told(self) -> Any:
        reminders = [(r.email, r.status) for r in self.world.reminders()]
        batches = self.world.database.tables["reminder_batches"].values()
        told = [(b.status, b.calls, len(b.content["members"])) for b in batches]
        mails = sorted(mail.email for mail in self.world.brevo.mails)
        return sorted(reminders), sorted(told), mails, self.run is not None and self.run.state in LIVE


class Step(NamedTuple):
    """One thing that happens, by the name of a method, and what the simulated world came to by it."""

    verb: str
    args: tuple[Any, ...]
    told: Any


@pytest.fixture
async def real(database_url: str) -> AsyncIterator[Real]:
    with brevo_sandbox() as sandbox:
        mailer = HeldMailer(sandbox.mailer())
        async with open_world(database_url, mailer, "0d") as world:
            yield Real(world, mailer, sandbox)


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
async def test_a_random_day_ends_alike_in_both_worlds(real: Real, seed: int) -> None:
    # In a thread: the stage has an event loop of its own.
    steps, trace = await asyncio.to_thread(_simulate, random.Random(seed))
    for number, step in enumerate(steps):
        await getattr(real, step.verb)(*step.args)
        lived = "\n".join([f"{each.verb} {each.args}" for each in steps[: number + 1]])
        assert await real.told() == step.told, f"{lived}\n{trace}"


def _simulate(dice: random.Random) -> tuple[list[Step], str]:
    with ReminderWorld(stages="0d") as world:
        side = Simulated(world)
        steps = []
        for verb, args in [("owing", (each,)) for each in ADDRESSES] + [_draw(dice) for _ in range(STEPS)]:
            live = side.run is not None and side.run.state in LIVE
            if live == (verb == "start"):  # one run at a time: the next begins when it has ended
                verb, args = ("again", args[1:]) if live else (verb, args)
            if verb in ("again", "bury") and not live:
                continue
            if verb in ("again", "start") and side.several():
                args = (*args[:-1], GO)  # they go out at once: whom a fault would meet is not said
            getattr(side, verb)(*args)
            steps.append(Step(verb, args, side.told()))
        return steps, "\n".join(world.stage.trace)


def _draw(dice: random.Random) -> tuple[str, tuple[Any, ...]]:
    verb = dice.choice(("start", "start", "start", "age", "age", "bury", "owing"))
    match verb:
        case "start":
            return verb, (dice.random() < 0.4, dice.choice((GO, *FAULTS, DIES_BEFORE, DIES_AFTER)))
        case "age":
            return verb, (dice.choice((1, 1, 26, 130)),)
        case "owing":
            return verb, (f"new{dice.randrange(1000)}@example.com",)
    return verb, ()
