"""Planted violations of M, and of L by refunds and reminders, are found: that one, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.integration.auditor.clean import paid
from tests.integration.auditor.world import World

Plant = Callable[[World], None]
STRANGER = uuid4()


def a_refund_paid_twice(world: World) -> None:
    again = paid(world, "refund", "re_2", "pi_payer")
    world.stripe["refunds"].append({**again, "metadata": {**again["metadata"], "generation": "2"}})


def a_refund_created_twice(world: World) -> None:
    world.stripe["refunds"].append(paid(world, "refund", "re_2", "pi_payer", status="failed"))


def a_refund_that_was_not_paid(world: World) -> None:
    del world.stripe["refunds"][0]
    world.sql("UPDATE refunds SET provider_refund_id = NULL")


def a_refund_that_failed_at_stripe(world: World) -> None:
    world.stripe["refunds"][0]["status"] = "failed"


def a_failed_refund_that_was_paid(world: World) -> None:
    world.stripe["refunds"].append(paid(world, "failed refund", "re_2", "pi_refuser"))


def a_refund_that_nobody_knows(world: World) -> None:
    world.stripe["refunds"].append(
        {**paid(world, "refund", "re_2", "pi_x"), "metadata": {"refund_id": str(STRANGER), "generation": "1"}}
    )


def a_refund_of_ours_without_a_name(world: World) -> None:
    world.stripe["refunds"].append({**paid(world, "refund", "re_2", "pi_x"), "metadata": {}})


def a_cent_too_much(world: World) -> None:
    world.stripe["refunds"][0]["amount"] = 501


def another_currency(world: World) -> None:
    world.stripe["refunds"][0]["currency"] = "usd"


def another_payment(world: World) -> None:
    world.stripe["refunds"][0]["payment_intent"] = "pi_other"


def a_call_without_an_attempt(world: World) -> None:
    world.sql("DELETE FROM refund_attempts WHERE refund_id = :id", id=world.id("refund"))


def a_call_with_another_key(world: World) -> None:
    world.stripe["refunds"][0]["idempotency_key"] = "another"


def a_provider_id_that_stripe_does_not_have(world: World) -> None:
    world.sql("UPDATE refunds SET provider_refund_id = 're_9' WHERE id = :id", id=world.id("failed refund"))


def a_refund_that_ended_otherwise(world: World) -> None:
    world.known = replace(world.known, refunds={world.id("failed refund"): {"succeeded", "needs_review"}})


def an_accepted_refund_without_a_row(world: World) -> None:
    world.known = replace(world.known, refunds={STRANGER: ()})


def a_refund_that_nobody_pays(world: World) -> None:
    world.sql(
        "INSERT INTO refunds (id, payment_intent_id, amount, currency) VALUES (:id, 'pi_new', 5, 'EUR')",
        id=world.id("waiting"),
    )


def a_mail_that_went_out_twice(world: World) -> None:
    world.brevo["mails"].append({**world.brevo["mails"][0], "messageId": "<2@test>"})


def a_mail_that_nobody_knows(world: World) -> None:
    world.brevo["mails"].append({**world.brevo["mails"][0], "messageId": "<2@test>", "tags": ["other"]})


def a_mail_to_somebody_else(world: World) -> None:
    world.brevo["mails"].append(
        {**world.brevo["mails"][0], "messageId": "<2@test>", "email": "eve@example.com"}
    )


def a_mail_beyond_its_batch(world: World) -> None:
    world.brevo["mails"].append({**world.brevo["mails"][0], "messageId": "<2@test>", "version": 7})


def a_mail_under_another_key(world: World) -> None:
    world.brevo["mails"][0]["key"] = "another"


def a_mail_that_was_not_sent(world: World) -> None:
    world.brevo["mails"].clear()
    world.sql("UPDATE payment_reminders SET message_id = NULL")


def a_message_that_brevo_does_not_have(world: World) -> None:
    world.sql("UPDATE payment_reminders SET message_id = '<9@test>'")


def a_skipped_reminder_that_was_sent(world: World) -> None:
    world.sql("UPDATE payment_reminders SET status = 'skipped'")
    world.known = replace(world.known, reminders={})


def a_mail_whose_reminder_is_gone(world: World) -> None:
    world.sql("DELETE FROM payment_reminders")
    world.known = replace(world.known, reminders={}, stages=None)


def two_reminders_of_a_stage(world: World) -> None:
    world.sql("SET CONSTRAINTS ALL IMMEDIATE")
    world.sql("ALTER TABLE payment_reminders DROP CONSTRAINT payment_reminders_invoice_id_stage_key")
    world.sql(
        "INSERT INTO payment_reminders (invoice_id, stage, status) VALUES (:id, '0d', 'skipped')",
        id=world.id("invoice"),
    )
    world.known = replace(world.known, reminders={})


def a_reminder_that_is_still_open(world: World) -> None:
    world.sql("UPDATE payment_reminders SET status = 'sending'")
    world.known = replace(world.known, reminders={})


def an_expected_reminder_that_is_missing(world: World) -> None:
    world.known = replace(world.known, reminders={(world.id("invoice"), "+3d"): {"sent"}})


def an_expected_reminder_that_was_skipped(world: World) -> None:
    world.known = replace(world.known, reminders={(world.id("invoice"), "0d"): {"skipped"}})


def a_stage_that_is_owed_without_a_row(world: World) -> None:
    world.sql("UPDATE invoices SET due_at = due_at - :days", days=timedelta(days=3))
    world.sql("UPDATE invoices SET created_at = due_at")


def a_new_invoice_that_nobody_saw(world: World) -> None:
    world.sql(
        "INSERT INTO invoices (id, customer_id, amount_due, currency, due_at, created_at)"
        " VALUES (:id, :customer, 1, 'EUR', :t0, :t0)",
        id=world.id("unseen"),
        customer=world.id("customer"),
        t0=world.t0,
    )


PLANTED: list[tuple[Plant, str, str, str]] = [
    (a_refund_paid_twice, "M", "refund", "is paid 2 times: re_payer, re_2"),
    (a_refund_created_twice, "M", "refund", "more than once for one generation"),
    (a_refund_that_was_not_paid, "M", "refund", "Stripe has nothing"),
    (a_refund_that_failed_at_stripe, "M", "refund", "Stripe has re_payer failed"),
    (a_refund_that_nobody_knows, "M", f"refund {STRANGER}", "does not know it"),
    (a_refund_of_ours_without_a_name, "M", "refund None", "does not know it"),
    (a_failed_refund_that_was_paid, "M", "failed refund", "re_2 is in force"),
    (a_cent_too_much, "M", "refund", "501"),
    (another_currency, "M", "refund", "usd"),
    (another_payment, "M", "refund", "pi_other"),
    (a_call_without_an_attempt, "M", "refund", "without an attempt on record"),
    (a_call_with_another_key, "M", "refund", "without an attempt on record"),
    (a_provider_id_that_stripe_does_not_have, "M", "failed refund", "names re_9"),
    (a_refund_that_ended_otherwise, "M", "failed refund", "is failed, not needs_review or succeeded"),
    (an_accepted_refund_without_a_row, "L", f"refund {STRANGER}", "has no row"),
    (a_refund_that_nobody_pays, "L", "waiting", "still pending at rest, and no run has it"),
    (a_mail_that_went_out_twice, "M", "reminder", "went out 2 times"),
    (a_mail_that_nobody_knows, "M", "mail <2@test>", "no batch has it"),
    (a_mail_to_somebody_else, "M", "mail <2@test>", "went to eve@example.com"),
    (a_mail_beyond_its_batch, "M", "mail <2@test>", "no batch has it"),
    (a_mail_under_another_key, "M", "mail <1@test>", "another key"),
    (a_mail_that_was_not_sent, "M", "reminder", "Brevo has no such mail"),
    (a_message_that_brevo_does_not_have, "M", "reminder", "names the message <9@test>"),
    (a_skipped_reminder_that_was_sent, "M", "reminder", "is skipped here, and Brevo has sent <1@test>"),
    (a_mail_whose_reminder_is_gone, "M", "reminder", "does not know it"),
    (two_reminders_of_a_stage, "M", "invoice", "has 2 reminders 0d"),
    (a_reminder_that_is_still_open, "L", "reminder", "still sending at rest"),
    (an_expected_reminder_that_is_missing, "L", "invoice", "is missing, not sent"),
    (an_expected_reminder_that_was_skipped, "L", "invoice", "is sent, not skipped"),
    (a_stage_that_is_owed_without_a_row, "L", "invoice", "+3d is owed"),
    (a_new_invoice_that_nobody_saw, "L", "unseen", "0d is owed"),
]


@pytest.mark.parametrize(
    ("plant", "invariant", "subject", "says"), PLANTED, ids=[plant.__name__ for plant, *_ in PLANTED]
)
def test_a_planted_violation_is_found(
    world: World, plant: Plant, invariant: str, subject: str, says: str
) -> None:
    plant(world)
    [finding] = world.findings()
    assert finding.invariant == invariant
    assert finding.subject.endswith(str(world.ids.get(subject, subject)))
    assert says in finding.says
