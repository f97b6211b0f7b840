"""Rules 24 to 29, each switched off in turn: one short story that ends well with the rule, and badly without it."""

from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest

from shared.core import refund_review as review
from shared.core import refunds as core
from shared.core.refund_review import Decision, Plan
from shared.core.refunds import RefundStatus, Verdict
from shared.db import refund_work
from tests.model.money.refund_world import RefundWorld
from tests.model.money.stage import GO, LATE, LOST_AFTER, Violation
from tests.model.money.switches import Patches, Switch, both, ends_well_and_badly, patched, sql, without
from worker_svc.handlers import refund_settling
from worker_svc.handlers.refund_payment import Payment

DAY = timedelta(hours=25)


def an_answer_is_lost(world: RefundWorld) -> None:
    refund = world.add()
    world.pay(refund, LOST_AFTER)
    world.pay(refund)


def an_answer_is_lost_for_a_day(world: RefundWorld) -> None:
    refund = world.add()
    world.pay(refund, LOST_AFTER)
    world.workers.pass_time(DAY)
    world.pay(refund)


def a_person_retries_while_a_call_is_under_way(world: RefundWorld) -> None:
    refund = world.add()
    world.run_of(refund).max_attempts = 1  # so that the first unclear answer goes to a person
    world.pay(refund, LATE)
    world.stage.finish(world.decide(refund, Decision.RETRY))
    world.pay(refund)
    world.stage.arrive(world.stage.under_way[0])


def a_refund_in_a_currency_that_was_not_paid(world: RefundWorld) -> None:
    world.pay(world.add(currency="eur", paid_in="usd"))


def an_edit_after_the_call(world: RefundWorld) -> None:
    refund = world.add()
    world.pay(refund, LOST_AFTER)
    world.edit(world.refund(refund), amount=30)
    world.pay(refund)


def somebody_else_has_refunded_it_all(world: RefundWorld) -> None:
    refund = world.add()
    world.stripe.add("pi_1", 100, {})
    world.pay(refund)


def two_refunds_of_one_payment(world: RefundWorld) -> None:
    first, second = world.add(), world.add()
    world.go_to(world.attempt(first), "Stripe create")
    world.stage.play(world.attempt(second), [GO] * 4)
    world.check()


def a_sweep_and_an_enqueue_at_once(world: RefundWorld) -> None:
    refund = world.add()
    sweep = world.sweep()
    world.go_to(sweep, "the sweep's locks")
    world.stage.finish(world.enqueue(refund))
    world.stage.finish(sweep)
    world.check()


def a_worker_dies_and_its_run_with_it(world: RefundWorld) -> None:
    refund = world.add()
    world.stage.finish(world.enqueue(refund))
    world.run_of(refund).max_attempts = 1
    process = world.attempt(refund)
    world.go_to(process, "Stripe create")
    world.stage.kill(process)


def a_refund_fails_days_later_and_its_webhook_is_lost(world: RefundWorld) -> None:
    world.pay(world.add())
    world.workers.pass_time(3 * DAY)
    world.stripe.settle("re_1", "failed")


def webhooks_in_the_wrong_order(world: RefundWorld) -> None:
    world.stripe.first_status = "pending"
    refund = world.add()
    world.pay(refund)
    world.stripe.settle("re_1", "succeeded")
    told_success = world.stripe.webhooks[-1]
    world.stripe.settle("re_1", "failed")
    world.stage.finish(world.workers.claim(world.deliver(told_success)))
    assert world.refund(refund).status != "succeeded" or _violated(
        "the books say succeeded, Stripe says failed"
    )


def _violated(what: str) -> bool:
    raise Violation(what)


def _a_key_for_each_attempt(world: RefundWorld) -> Patches:
    def key(refund_id: Any, generation: int) -> str:
        return f"{refund_id}-{generation}-{world.refund(refund_id).run_attempt}"

    return [patch.object(core, "idempotency_key", key)]


async def _unchecked(*_: object) -> None: ...


NO_COMPARISON = both(
    patched(Payment, "_check_payment", _unchecked), patched(refund_settling, "mismatch", lambda *_: None)
)


async def _take_it_for_paid(payment: Payment, *_: object) -> object:
    return await payment._settling.decide(Verdict(RefundStatus.SUCCEEDED))


def _webhook_as_fact(world: RefundWorld) -> Patches:
    async def told(_: object, refund_id: str) -> object:
        body = next(iter(world.database.tables["webhook_events"].values())).body["data"]["object"]
        found = world.stripe.refunds[refund_id]
        return type(found)(**{name: body.get(name, getattr(found, name)) for name in found.__slots__})

    return [patch("worker_svc.handlers.stripe_events.StripeCalls.retrieve", told)]


def _open_the_next_generation(facts: review.Facts) -> Plan:
    return Plan(RefundStatus.PENDING, facts.generation + 1)


SWITCHES = [
    Switch(24, "a key for each attempt", an_answer_is_lost, _a_key_for_each_attempt),
    Switch(24, "a person's retry always has a new key", a_person_retries_while_a_call_is_under_way,
           patched(review, "_retry", _open_the_next_generation)),
    Switch(25, "nothing is compared", a_refund_in_a_currency_that_was_not_paid, NO_COMPARISON),
    Switch(25, "nothing is frozen or compared", an_edit_after_the_call, both(without(frozen=False), NO_COMPARISON)),
    Switch(26, "already refunded is paid", somebody_else_has_refunded_it_all,
           patched(Payment, "_otherwise", _take_it_for_paid)),
    Switch(26, "both at once", two_refunds_of_one_payment,
           both(without(one_at_a_time=False), patched(refund_work, "is_busy", _unchecked))),
    Switch(27, "no age limit", an_answer_is_lost_for_a_day, patched(core, "may_send", lambda _: True)),
    Switch(28, "no compare-and-set", a_sweep_and_an_enqueue_at_once, without(compare_and_set=False)),
    Switch(28, "no sweep", a_worker_dies_and_its_run_with_it, sql("refund_enqueue", lambda *_: [])),
    Switch(29, "what succeeded is not read again", a_refund_fails_days_later_and_its_webhook_is_lost,
           sql("refund_reconcile", lambda all_of_them, s, p: [] if p.status == "succeeded" else all_of_them(s, p))),
    Switch(29, "a webhook is a fact", webhooks_in_the_wrong_order, _webhook_as_fact),
]  # fmt: skip


@pytest.mark.parametrize("switch", SWITCHES, ids=[each.name for each in SWITCHES])
def test_a_refund_ends_well_with_the_rule_and_badly_without_it(switch: Switch) -> None:
    ends_well_and_badly(RefundWorld, switch)
