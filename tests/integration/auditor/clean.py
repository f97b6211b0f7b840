"""The clean history, row by row."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, text

from local_stack.auditor import Accepted, Known, Rest
from tests.integration.auditor.world import EVERY_S, World


def build(connection: Connection, t0: datetime) -> World:
    world = World(connection, t0)
    _schedules(world)
    _runs(world)
    _refunds(world)
    _reminders(world)
    world.known = Known(
        accepted=[
            Accepted("ping", world.id("plain")),
            Accepted("ping", world.id("keyed"), "k1"),
            Accepted("ping", key="k1"),
        ],
        rolled_back=[uuid4()],
        fires={"tick": 4},
        refunds={world.id("refund"): {"succeeded"}, world.id("failed refund"): ()},
        reminders={(world.id("invoice"), "0d"): {"sent"}},
        stages="0d,+3d",
    )
    world.rest = Rest(world.after(60), within_s=60)
    return world


def _schedules(world: World) -> None:
    interval = {"type": "interval", "every_s": EVERY_S, "start": world.after(-EVERY_S).isoformat()}
    world.schedule("tick", interval, world.t0)
    world.fire("tick 0", "tick", world.t0)
    world.fire("tick 1 and 2", "tick", world.after(2 * EVERY_S), coalesced=1)
    world.run(
        "tick 3",
        schedule_id="tick",
        schedule_generation=1,
        due_at=world.after(3 * EVERY_S),
        state="skipped",
        reason="overlap",
        finished_at=world.after(3 * EVERY_S),
    )
    world.advance("tick", world.after(4 * EVERY_S))
    world.schedule("nightly", {"type": "cron", "expression": "*/5 2,14 * * mon-fri", "zone": "UTC"}, MONDAY)
    world.fire("nightly 0", "nightly", MONDAY)
    world.advance("nightly", MONDAY + timedelta(minutes=5))
    world.schedule("once", {"type": "date", "at": world.t0.isoformat()}, world.t0)
    world.fire("once 0", "once", world.t0)
    world.sql("DELETE FROM schedules WHERE id = 'once'")


MONDAY = datetime.fromisoformat("2030-02-04T02:10:00+00:00")


def _runs(world: World) -> None:
    world.done("plain")
    world.done("keyed", key="k1")
    world.run("retried")
    world.claim("retried")
    world.finish("retried", "pending", error="first", max_attempts=11)
    world.claim("retried")
    world.finish("retried", "dead", error="second")
    world.run("cancelled")
    world.finish("cancelled", "cancelled", reason="asked")
    world.run("later", run_at=world.after(86_400))


def _refunds(world: World) -> None:
    for name, run, status in (("refund", "payer", "succeeded"), ("failed refund", "refuser", "failed")):
        world.sql(
            "INSERT INTO refunds (id, payment_intent_id, amount, currency) VALUES (:id, :intent, 500, 'EUR')",
            id=world.id(name),
            intent=f"pi_{run}",
        )
        world.run(run, "process_refund", {"refund_id": str(world.id(name))}, queue="refunds")
        world.claim(run)
        world.sql(
            "UPDATE refunds SET status = 'processing', run_id = :run, run_attempt = 1 WHERE id = :id",
            id=world.id(name),
            run=world.id(run),
        )
        attempt(world, name, run, 1)
        entry = f"re_{run}" if status == "succeeded" else None
        world.sql(
            "UPDATE refunds SET status = :status, provider_refund_id = :entry WHERE id = :id",
            id=world.id(name),
            status=status,
            entry=entry,
        )
        world.finish(run)
    world.stripe["refunds"].append(paid(world, "refund", "re_payer", "pi_payer"))
    world.stripe["refunds"].append(
        {**paid(world, "refund", "re_foreign", "pi_other"), "metadata": {}, "idempotency_key": None}
    )


def attempt(world: World, refund: str, run: str, run_attempt: int) -> None:
    world.sql(
        "INSERT INTO refund_attempts (refund_id, generation, idempotency_key, run_id, run_attempt, started_at)"
        " VALUES (:refund, 1, :key, :run, :attempt, :at)",
        refund=world.id(refund),
        key=f"refund-{world.id(refund)}-1",
        run=world.id(run),
        attempt=run_attempt,
        at=world.after(run_attempt),
    )


def paid(world: World, refund: str, entry: str, intent: str, **changed: Any) -> dict[str, Any]:
    """A refund as Stripe's books have it."""
    return {
        "id": entry,
        "payment_intent": intent,
        "amount": 500,
        "currency": "eur",
        "status": "succeeded",
        "metadata": {"refund_id": str(world.id(refund)), "generation": "1"},
        "idempotency_key": f"refund-{world.id(refund)}-1",
        **changed,
    }


def _reminders(world: World) -> None:
    world.sql("INSERT INTO customers (id, email) VALUES (:id, 'Ada@Example.com ')", id=world.id("customer"))
    world.sql(
        "INSERT INTO invoices (id, customer_id, amount_due, currency, due_at, created_at)"
        " VALUES (:id, :customer, 700, 'EUR', :due, :made)",
        id=world.id("invoice"),
        customer=world.id("customer"),
        due=world.after(-60),
        made=world.after(-86_400),
    )
    world.run("sender", "send_payment_reminder_emails", queue="payment_reminders")
    world.claim("sender")
    member = {"id": str(world.id("reminder")), "email": "Ada@Example.com "}
    world.sql(
        "INSERT INTO reminder_batches (id, tag, content, status, run_id, run_attempt, calls)"
        " VALUES (:id, 'reminders-1', CAST(:content AS jsonb), 'sending', :run, 1, 1)",
        id=world.id("batch"),
        content=json.dumps({"members": [member]}),
        run=world.id("sender"),
    )
    world.sql(
        "INSERT INTO payment_reminders (id, invoice_id, stage, status, batch_id, email, message_id, run_id, run_attempt)"
        " VALUES (:id, :invoice, '0d', 'sent', :batch, 'ada@example.com', '<1@test>', :run, 1)",
        id=world.id("reminder"),
        invoice=world.id("invoice"),
        batch=world.id("batch"),
        run=world.id("sender"),
    )
    world.sql("UPDATE reminder_batches SET status = 'sent' WHERE id = :id", id=world.id("batch"))
    world.finish("sender")
    key = world.connection.execute(text("SELECT idempotency_key FROM reminder_batches")).scalar_one()
    world.brevo["mails"].append(
        {
            "email": "ada@example.com",
            "messageId": "<1@test>",
            "tags": ["reminders-1"],
            "key": str(key),
            "version": 0,
        }
    )
