"""The selection against rule 30 as one would write it down: generated invoices around every edge, read page by page, on a
server that counts in a zone with summer time."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from shared import jobs
from shared.core.stages import Stage, parse_stages
from shared.db import reminders
from shared.db.reminders import Fence, Owed
from tests.fakes.mailer import FakeMailer
from tests.integration.reminders.world import World, open_world

HOUR, MOMENT = timedelta(hours=1), timedelta(microseconds=1)
#: A day after Berlin's clocks were put forward, and one after they were put back.
AS_OF = (datetime(2026, 3, 30, 0, 30, tzinfo=UTC), datetime(2026, 10, 26, 0, 30, tzinfo=UTC))
STAGES = ("-3d,0d,+3d,+7d,+14d", "0d", "-3d,-2d,-1d,0d,+1d")


@dataclass(frozen=True)
class Invoice:
    id: UUID
    due_at: datetime
    created_at: datetime
    status: str
    amount_due: int
    reminded: frozenset[str]


@pytest.fixture
async def berlin(database_url: str, fake: FakeMailer) -> AsyncIterator[World]:
    async with open_world(database_url, fake) as before:
        name = make_url(database_url).database
        await before.database.rows("SELECT 1")
        async with before.database.begin() as db:
            await db.execute(text(f"ALTER DATABASE \"{name}\" SET timezone = 'Europe/Berlin'"))
    async with open_world(database_url, FakeMailer()) as opened:
        yield opened


def by_the_rule(
    invoices: list[Invoice], stages: list[Stage], as_of: datetime, tolerance: timedelta
) -> tuple[set[tuple[UUID, str]], set[tuple[UUID, str]]]:
    """What is sent, and what is skipped."""
    sent, skipped = set[tuple[UUID, str]](), set[tuple[UUID, str]]()
    for invoice in invoices:
        if invoice.status != "open" or invoice.amount_due == 0:
            continue
        owed_since = {s.name: invoice.due_at + timedelta(hours=24 * s.days) for s in stages}
        begun = [s for s in stages if owed_since[s.name] <= as_of]
        latest = max(begun, key=lambda s: s.days, default=None)
        for stage in begun:
            since = owed_since[stage.name]
            if since < invoice.created_at or stage.name in invoice.reminded:
                continue
            goes_out = stage == latest and as_of - since <= tolerance
            (sent if goes_out else skipped).add((invoice.id, stage.name))
    return sent, skipped


def generated(dice: random.Random, stages: list[Stage], as_of: datetime, tolerance: timedelta) -> Invoice:
    stage, other = dice.choice(stages), dice.choice(stages)
    due_at = as_of - timedelta(hours=24 * stage.days)
    due_at -= dice.choice([timedelta(0), tolerance, tolerance / 2])
    due_at += dice.choice([timedelta(0), MOMENT, -MOMENT, HOUR / 2, -HOUR / 2])
    created_at = due_at + timedelta(hours=24 * other.days)
    created_at += dice.choice([timedelta(0), MOMENT, HOUR / 2, -HOUR / 2, -90 * 24 * HOUR])
    reminded = frozenset({stage.name} if dice.random() < 0.2 else ())
    status, amount = dice.choice(["open"] * 8 + ["paid", "void"]), dice.choice([100] * 9 + [0])
    return Invoice(uuid4(), due_at, created_at, status, amount, reminded)


async def stored(world: World, invoices: list[Invoice]) -> None:
    customer = await world.customer("ann@example.com")
    async with world.database.begin() as db:
        await db.execute(
            text(
                "INSERT INTO invoices (id, customer_id, amount_due, currency, due_at, created_at, status) VALUES"
                " (:id, :customer, :amount, 'USD', :due_at, :created_at, :status)"
            ),
            [
                {
                    "id": each.id,
                    "customer": customer,
                    "amount": each.amount_due,
                    "due_at": each.due_at,
                    "created_at": each.created_at,
                    "status": each.status,
                }
                for each in invoices
            ],
        )
        rows = [
            {"id": each.id, "customer": customer, "stage": stage}
            for each in invoices
            for stage in each.reminded
        ]
        if rows:
            await db.execute(
                text(
                    "INSERT INTO payment_reminders (invoice_id, customer_id, stage, status, email) VALUES"
                    " (:id, :customer, :stage, 'sent', 'ann@example.com')"
                ),
                rows,
            )


async def owed(world: World, stages: list[Stage], as_of: datetime, tolerance: timedelta) -> list[Owed]:
    found: list[Owed] = []
    while True:
        async with world.database.begin() as db:
            page = await reminders.owed(
                db,
                stages,
                as_of=as_of,
                tolerance=tolerance,
                most=7,
                after=found[-1].place if found else reminders.FIRST,
            )
        if not page:
            return found
        found += page


@pytest.mark.rule(30)
@pytest.mark.parametrize("as_of", AS_OF, ids=["forward", "back"])
@pytest.mark.parametrize("written", STAGES)
@pytest.mark.parametrize("tolerance", [HOUR, 24 * HOUR, 240 * HOUR], ids=["hour", "day", "ten-days"])
async def test_what_is_owed_is_sent_or_skipped_as_the_rule_says_in_any_zone(
    berlin: World, written: str, as_of: datetime, tolerance: timedelta
) -> None:
    stages = list(parse_stages(written))
    dice = random.Random(f"{written} {as_of} {tolerance}")
    invoices = [generated(dice, stages, as_of, tolerance) for _ in range(150)]
    await stored(berlin, invoices)
    sent, skipped = by_the_rule(invoices, stages, as_of, tolerance)

    found = await owed(berlin, stages, as_of, tolerance)

    assert len(found) == len({(each.invoice_id, each.stage) for each in found})
    assert {(each.invoice_id, each.stage) for each in found} == sent
    run = (await berlin.claim(await berlin.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS))).run
    async with berlin.database.begin() as db:
        await reminders.skip(
            db, stages, Fence(run.id, run.attempt), as_of=as_of, tolerance=tolerance, most=10_000
        )
    rows = [row for row in await berlin.reminders() if row.status == "skipped"]
    assert {(row.invoice_id, row.stage) for row in rows} == skipped
