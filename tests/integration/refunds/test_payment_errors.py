"""What refusals, unknown outcomes, 429, rejected keys and outages do to a refund and its run."""

import pytest

from shared.core.errors import PauseKind, PauseQueue, RateLimited
from shared.core.outcomes import Recorded, Retry
from shared.jobs import PROCESS_REFUND
from shared.ports import (
    CredentialsRejected,
    OutcomeUnknown,
    RefundRefused,
)
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk

CUT = OutcomeUnknown("the connection was cut")


async def test_a_refusal_is_failed_with_its_reason(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", RefundRefused("charge_disputed", "the charge was disputed"))

    await desk.pay(refund_id)

    refund = await desk.refund(refund_id)
    assert (refund.status, refund.failure_reason) == ("failed", "charge_disputed: the charge was disputed")


async def test_a_payment_that_does_not_exist_is_failed_without_a_call(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund("pi_nobody")

    await desk.pay(refund_id)

    refund = await desk.refund(refund_id)
    assert refund.status == "failed"
    assert "resource_missing" in (refund.failure_reason or "")
    assert "create" not in stripe.calls


async def test_a_refusal_after_an_unknown_attempt_is_believed_only_after_looking(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", CUT, after=True)
    await desk.pay(refund_id)
    stripe.fail_next("create", RefundRefused("charge_disputed", "disputed meanwhile"))

    await desk.pay(refund_id)

    assert (await desk.refund(refund_id)).status == "succeeded"


async def test_the_second_unknown_outcome_is_resolved_by_looking(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", CUT, after=True, times=2)
    assert isinstance(await desk.pay(refund_id), Retry)

    assert isinstance(await desk.pay(refund_id), Recorded)
    assert (await desk.refund(refund_id)).status == "succeeded"


@pytest.mark.parametrize(("after", "status"), [(False, "needs_review"), (True, "succeeded")])
async def test_the_last_attempt_never_leaves_money_unknown_behind_a_dead_run(
    desk: Desk, stripe: FakeGateway, after: bool, status: str
) -> None:
    refund_id = await desk.add_refund()
    await desk.sweep()
    run_id = (await desk.refund(refund_id)).run_id
    await desk.set_run(run_id, max_attempts=1)
    stripe.fail_next("create", CUT, after=after)

    await desk.pay(refund_id)

    assert (await desk.refund(refund_id)).status == status
    assert (await desk.run(run_id)).state == "succeeded"


async def test_a_reading_that_fails_on_the_last_attempt_leaves_no_money_unknown_either(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", CUT)
    await desk.pay(refund_id)
    await desk.set_run((await desk.refund(refund_id)).run_id, max_attempts=2)
    stripe.fail_next("create", CUT)
    stripe.fail_next("list_for", CUT)

    await desk.pay(refund_id)

    assert (await desk.refund(refund_id)).status == "needs_review"


async def test_a_429_slows_everybody_down_and_costs_no_attempt(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    await desk.sweep()
    before = await desk.run((await desk.refund(refund_id)).run_id)
    stripe.fail_next("create", RateLimited("429", retry_after_s=0.01))

    assert isinstance(await desk.pay(refund_id), RateLimited)

    after = await desk.run(before.id)
    assert after.max_attempts - after.attempt == before.max_attempts - before.attempt
    assert desk.limiter.slowed == [("stripe", 0.01)]


@pytest.mark.parametrize("call", ["payment_intent", "create"])
async def test_a_rejected_key_pauses_the_queue_and_costs_no_attempt(
    desk: Desk, stripe: FakeGateway, call: str
) -> None:
    refund_id = await desk.add_refund()
    for each in (call, "check"):
        stripe.fail_always(each, CredentialsRejected("401"))

    answer = await desk.pay(refund_id)

    assert isinstance(answer, PauseQueue)
    assert answer.kind is PauseKind.CREDENTIALS
    run = await desk.run((await desk.refund(refund_id)).run_id)
    assert (run.state, run.max_attempts) == ("pending", PROCESS_REFUND.retry.max_attempts + 1)
    for each in (call, "check"):
        stripe.fail_always(each, None)
    await desk.pay(refund_id)
    assert (await desk.refund(refund_id)).status == "succeeded"


@pytest.mark.parametrize("call", ["payment_intent", "create"])
async def test_an_outage_pauses_the_queue_and_costs_no_attempt(
    desk: Desk, stripe: FakeGateway, call: str
) -> None:
    refund_id = await desk.add_refund()
    for each in (call, "check"):
        stripe.fail_always(each, CUT)

    answer = await desk.pay(refund_id)

    assert isinstance(answer, PauseQueue)
    assert answer.kind is PauseKind.OUTAGE
    run = await desk.run((await desk.refund(refund_id)).run_id)
    assert (run.state, run.max_attempts) == ("pending", PROCESS_REFUND.retry.max_attempts + 1)


@pytest.mark.parametrize("call", ["payment_intent", "create"])
async def test_a_403_for_one_refund_alone_goes_to_a_person_and_pauses_nothing(
    desk: Desk, stripe: FakeGateway, call: str
) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next(call, CredentialsRejected("403: not for this one"))

    assert isinstance(await desk.pay(refund_id), Recorded)

    refund = await desk.refund(refund_id)
    assert refund.status == "needs_review"
    assert "not for this one" in (refund.review_reason or "")
