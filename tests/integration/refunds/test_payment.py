"""One refund, one run: what its row and Stripe's books become."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy.exc import IntegrityError

from shared.core.errors import Fenced, LeaseExpired, PauseKind, PauseQueue, PermanentError, RateLimited
from shared.core.outcomes import Cancel, Recorded, Retry, Snooze
from shared.db import ledger
from shared.jobs import PROCESS_REFUND, RefundArgs
from shared.ports import (
    AlreadyRefunded,
    CredentialsRejected,
    KeyConflict,
    OutcomeUnknown,
    RefundRefused,
)
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk

PROBE = UUID(int=1)
CUT = OutcomeUnknown("the connection was cut")


def ours(refund_id: object, generation: int = 1) -> dict[str, str]:
    return {"refund_id": str(refund_id), "generation": str(generation)}


async def test_a_refund_is_paid_and_the_run_ends_with_it(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund(currency="USD")

    assert isinstance(await desk.pay(refund_id), Recorded)

    refund = await desk.refund(refund_id)
    [made] = stripe.refunds.values()
    assert (refund.status, refund.provider_refund_id) == ("succeeded", made.id)
    assert made.amount == 4_000
    assert refund.submitted_at is not None
    assert refund.succeeded_at is not None
    run = await desk.run(refund.run_id)
    assert (run.state, run.result) == ("succeeded", {"status": "succeeded", "provider_refund_id": made.id})
    [attempt] = await desk.attempts(refund_id)
    assert (attempt.outcome, attempt.provider_refund_id) == ("succeeded", made.id)


@pytest.mark.parametrize(
    ("told", "status", "reason"),
    [
        ("pending", "submitted", None),
        ("requires_action", "submitted", None),
        ("failed", "failed", "failed"),
        ("canceled", "failed", "canceled"),
        ("on_the_moon", "needs_review", None),
    ],
)
async def test_what_stripe_answers_decides_the_status(
    desk: Desk, stripe: FakeGateway, told: str, status: str, reason: str | None
) -> None:
    stripe.first_status = told
    refund_id = await desk.add_refund()

    await desk.pay(refund_id)

    refund = await desk.refund(refund_id)
    assert (refund.status, refund.failure_reason) == (status, reason)
    assert refund.provider_refund_id is not None


@pytest.mark.rule(24)
async def test_all_automatic_attempts_share_one_key_over_runs_that_die(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", CUT, times=3)
    assert isinstance(await desk.pay(refund_id), Retry)
    assert isinstance(await desk.pay(refund_id), Retry)
    await desk.set_run((await desk.refund(refund_id)).run_id, state="dead")
    assert isinstance(await desk.pay(refund_id), Retry)
    await desk.pay(refund_id)

    assert stripe.keys_sent == [f"refund-{refund_id}-1"] * 4
    assert [attempt.idempotency_key for attempt in await desk.attempts(refund_id)] == stripe.keys_sent
    [made] = stripe.refunds.values()
    assert dict(made.metadata) == ours(refund_id)
    assert (await desk.refund(refund_id)).status == "succeeded"


@pytest.mark.rule(24)
async def test_the_reason_is_sent_only_as_the_row_has_it(desk: Desk, stripe: FakeGateway) -> None:
    sent: list[str | None] = []
    create = stripe.create

    async def spy(**params: object) -> object:
        sent.append(params["reason"])  # type: ignore[arg-type]  # the port's own type
        return await create(**params)  # type: ignore[arg-type]  # the port's own types

    stripe.create = spy  # type: ignore[assignment,method-assign]  # watched, not changed
    for reason in (None, "fraudulent", "duplicate"):
        await desk.pay(await desk.add_refund(amount=10, reason=reason))

    assert sent == [None, "fraudulent", "duplicate"]


@pytest.mark.rule(7)
async def test_a_worker_that_wakes_after_its_lease_makes_no_call(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    await desk.sweep()
    ctx = await desk.claim((await desk.refund(refund_id)).run_id)
    ctx.lease.lose()

    assert isinstance(await desk.handle(ctx), LeaseExpired)
    assert stripe.calls == []


@pytest.mark.rule(7)
async def test_a_lease_that_is_lost_while_waiting_for_its_turn_stops_the_call(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    await desk.sweep()
    ctx = await desk.claim((await desk.refund(refund_id)).run_id)
    acquire = desk.limiter.acquire

    async def slow(name: str, **limits: float) -> None:
        await acquire(name, **limits)  # type: ignore[arg-type]  # the port's own types
        if len(desk.limiter.turns) == 2:  # the first was for reading the payment
            ctx.lease.lose()

    desk.limiter.acquire = slow  # type: ignore[assignment,method-assign]  # watched, not changed

    assert isinstance(await desk.handle(ctx), LeaseExpired)
    assert stripe.calls == ["payment_intent"]
    assert (await desk.refund(refund_id)).status == "processing"


@pytest.mark.rule(25)
async def test_a_wrong_currency_is_found_before_anything_is_sent(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund(currency="eur")

    await desk.pay(refund_id)

    refund = await desk.refund(refund_id)
    assert refund.status == "needs_review"
    assert "usd" in (refund.review_reason or "")
    assert "create" not in stripe.calls
    assert await desk.attempts(refund_id) == []


@pytest.mark.rule(25)
@pytest.mark.parametrize("change", [{"amount": 1}, {"currency": "eur"}, {"payment_intent_id": "pi_2"}])
async def test_what_a_key_stands_for_is_frozen_once_there_is_an_attempt(
    desk: Desk, stripe: FakeGateway, change: dict[str, object]
) -> None:
    refund_id = await desk.add_refund()
    await desk.set_refund(refund_id, **change)  # before: free
    await desk.set_refund(refund_id, amount=4_000, currency="usd", payment_intent_id="pi_1")
    stripe.fail_next("create", CUT)
    await desk.pay(refund_id)

    with pytest.raises(IntegrityError, match="frozen"):
        await desk.set_refund(refund_id, **change)


@pytest.mark.rule(25)
@pytest.mark.parametrize("answer", [{"amount": 4_001}, {"currency": "eur"}, {"payment_intent_id": "pi_2"}])
async def test_an_answer_that_is_not_what_was_asked_for_goes_to_a_person(
    desk: Desk, stripe: FakeGateway, answer: dict[str, object]
) -> None:
    create = stripe.create

    async def wrong(**params: object) -> object:
        return replace(await create(**params), **answer)  # type: ignore[arg-type]  # a parameter's

    stripe.create = wrong  # type: ignore[assignment,method-assign]  # a Stripe that errs
    refund_id = await desk.add_refund()
    await desk.pay(refund_id)

    refund = await desk.refund(refund_id)
    assert refund.status == "needs_review"
    assert refund.provider_refund_id in stripe.refunds
    assert desk.logged("refund_mismatch")[0]["log_level"] == "error"


@pytest.mark.rule(25)
async def test_a_key_conflict_is_reconciled_first(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    made = stripe.add_refund("pi_1", 4_000, ours(refund_id))
    stripe.fail_next("create", KeyConflict("other parameters"))

    await desk.pay(refund_id)

    refund = await desk.refund(refund_id)
    assert (refund.status, refund.provider_refund_id) == ("succeeded", made.id)


@pytest.mark.rule(25)
async def test_a_key_conflict_of_which_stripe_shows_nothing_goes_to_a_person(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    stripe.add_refund("pi_1", 10)  # somebody else's
    stripe.fail_next("create", KeyConflict("other parameters"))

    await desk.pay(refund_id)

    assert (await desk.refund(refund_id)).status == "needs_review"


@pytest.mark.rule(26)
async def test_already_refunded_by_somebody_else_is_failed(desk: Desk, stripe: FakeGateway) -> None:
    stripe.add_refund("pi_1", 10_000)
    refund_id = await desk.add_refund()

    await desk.pay(refund_id)

    refund = await desk.refund(refund_id)
    assert refund.status == "failed"
    assert "charge_already_refunded" in (refund.failure_reason or "")


@pytest.mark.rule(26)
async def test_already_refunded_by_an_earlier_attempt_of_ours_is_that_refund(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund(amount=10_000)
    made = stripe.add_refund("pi_1", 10_000, ours(refund_id))
    stripe.fail_next("create", AlreadyRefunded("charge_already_refunded", "nothing left"))

    await desk.pay(refund_id)

    refund = await desk.refund(refund_id)
    assert (refund.status, refund.provider_refund_id) == ("succeeded", made.id)


@pytest.mark.rule(26)
async def test_already_refunded_by_an_earlier_generation_goes_to_a_person(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund(amount=10_000, generation=2)
    stripe.add_refund("pi_1", 10_000, ours(refund_id, 1))

    await desk.pay(refund_id)

    assert (await desk.refund(refund_id)).status == "needs_review"
    assert desk.logged("refund_unexpected_at_stripe")


@pytest.mark.rule(26)
async def test_two_refunds_of_one_payment_are_paid_one_after_the_other(
    desk: Desk, stripe: FakeGateway
) -> None:
    first, second = await desk.add_refund(amount=6_000), await desk.add_refund(amount=6_000)
    stripe.fail_next("create", CUT)
    assert isinstance(await desk.pay(first), Retry)

    before = await desk.run((await desk.refund(second)).run_id)
    assert isinstance(await desk.pay(second), Snooze)
    after = await desk.run(before.id)
    assert after.max_attempts - after.attempt == before.max_attempts - before.attempt
    assert (await desk.refund(second)).status == "pending"

    await desk.pay(first)
    await desk.pay(second)
    assert (await desk.refund(first)).status == "succeeded"
    assert (await desk.refund(second)).status == "failed"
    assert stripe.paid("pi_1") == 6_000


@pytest.mark.rule(27)
async def test_a_key_is_sent_again_until_it_is_23_hours_old(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", CUT)
    await desk.pay(refund_id)
    await desk.age_attempts(refund_id, timedelta(hours=22, minutes=59))

    await desk.pay(refund_id)

    assert len(stripe.keys_sent) == 2
    assert (await desk.refund(refund_id)).status == "succeeded"


@pytest.mark.rule(27)
async def test_an_older_key_is_never_sent_again_and_a_person_decides(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", CUT, times=2)
    await desk.pay(refund_id)
    await desk.age_attempts(refund_id, timedelta(hours=23))
    stripe.forget_keys()

    await desk.pay(refund_id)

    assert len(stripe.keys_sent) == 1
    assert (await desk.refund(refund_id)).status == "needs_review"
    assert stripe.paid("pi_1") == 0


@pytest.mark.rule(27)
async def test_an_older_key_whose_refund_stripe_shows_is_resolved_by_that(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", CUT, after=True)
    await desk.pay(refund_id)
    await desk.age_attempts(refund_id, timedelta(hours=30))
    stripe.forget_keys()

    await desk.pay(refund_id)

    assert len(stripe.keys_sent) == 1
    assert (await desk.refund(refund_id)).status == "succeeded"
    assert stripe.paid("pi_1") == 4_000


@pytest.mark.rule(27)
async def test_the_hours_count_from_the_first_attempt_not_the_last(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", CUT, times=2)
    await desk.pay(refund_id)
    await desk.age_attempts(refund_id, timedelta(hours=23))
    await desk.age_attempts(refund_id, -timedelta(hours=1))
    await desk.pay(refund_id)  # at 22 hours
    await desk.age_attempts(refund_id, timedelta(hours=1))

    await desk.pay(refund_id)

    assert len(stripe.keys_sent) == 2
    assert (await desk.refund(refund_id)).status == "needs_review"


async def test_attempts_that_had_no_effect_do_not_age_the_key(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", RateLimited("429"))
    await desk.pay(refund_id)
    await desk.age_attempts(refund_id, timedelta(hours=48))

    await desk.pay(refund_id)

    assert (await desk.refund(refund_id)).status == "succeeded"


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


async def test_a_refund_that_is_settled_has_nothing_left_to_do(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    await desk.pay(refund_id)
    extra = await desk.enqueuer.enqueue(PROCESS_REFUND, RefundArgs(refund_id=refund_id))

    await desk.handle(await desk.claim(extra.run_id))

    assert (await desk.run(extra.run_id)).state == "cancelled"
    assert len(stripe.keys_sent) == 1


async def test_an_id_that_is_no_refund_is_dead_at_once(desk: Desk) -> None:
    run = await desk.enqueuer.enqueue(PROCESS_REFUND, RefundArgs(refund_id=PROBE))

    assert isinstance(await desk.handle(await desk.claim(run.run_id)), PermanentError)
    assert (await desk.run(run.run_id)).state == "dead"


@pytest.mark.rule(28)
async def test_cancelling_before_an_attempt_sends_nothing_and_leaves_the_refund_waiting(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    await desk.sweep()
    run_id = (await desk.refund(refund_id)).run_id
    assert run_id is not None
    ctx = await desk.claim(run_id)
    async with desk.database.begin() as db:
        assert await ledger.cancel(db, run_id, reason="a mistake") == "running"

    await desk.handle(ctx)

    assert (await desk.run(run_id)).state == "cancelled"
    assert (await desk.refund(refund_id)).status == "pending"
    assert "create" not in stripe.calls
    assert (await desk.sweep())["enqueued"] == 1  # a cancelled run is not a cancelled refund


@pytest.mark.rule(28)
async def test_cancelling_while_the_payment_is_read_is_still_before_the_attempt(
    desk: Desk, stripe: FakeGateway
) -> None:
    refund_id = await desk.add_refund()
    await desk.sweep()
    run_id = (await desk.refund(refund_id)).run_id
    assert run_id is not None
    ctx = await desk.claim(run_id)
    read = stripe.payment_intent

    async def cancelled_meanwhile(intent_id: str) -> object:
        async with desk.database.begin() as db:
            await ledger.cancel(db, run_id, reason="a mistake")
        return await read(intent_id)

    stripe.payment_intent = cancelled_meanwhile  # type: ignore[assignment,method-assign]  # watched, not changed
    await desk.handle(ctx)

    assert (await desk.run(run_id)).state == "cancelled"
    assert await desk.attempts(refund_id) == []


@pytest.mark.rule(28)
async def test_cancelling_after_an_attempt_resolves_the_refund_first(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    stripe.fail_next("create", CUT, after=True)
    await desk.pay(refund_id)
    run_id = (await desk.refund(refund_id)).run_id
    assert run_id is not None
    ctx = await desk.claim(run_id)
    async with desk.database.begin() as db:
        assert await ledger.cancel(db, run_id, reason="a mistake") == "running"

    await desk.handle(ctx)

    assert (await desk.refund(refund_id)).status == "succeeded"
    assert (await desk.run(run_id)).state == "succeeded"


@pytest.mark.rule(28)
async def test_a_run_made_by_hand_leaves_a_refund_to_its_living_run(desk: Desk, stripe: FakeGateway) -> None:
    refund_id = await desk.add_refund()
    await desk.sweep()
    by_hand = await desk.enqueuer.enqueue(PROCESS_REFUND, RefundArgs(refund_id=refund_id))

    answer = await desk.handle(await desk.claim(by_hand.run_id))

    assert isinstance(answer, Recorded | Cancel)
    assert (await desk.run(by_hand.run_id)).state == "cancelled"
    assert stripe.calls == []
    await desk.pay(refund_id)
    assert (await desk.refund(refund_id)).status == "succeeded"


@pytest.mark.rule(28)
@pytest.mark.parametrize("state", [None, "dead", "cancelled"])
async def test_a_run_made_by_hand_adopts_a_refund_whose_run_is_gone(
    desk: Desk, stripe: FakeGateway, state: str | None
) -> None:
    refund_id = await desk.add_refund()
    if state is not None:
        await desk.sweep()
        await desk.set_run((await desk.refund(refund_id)).run_id, state=state)
    by_hand = await desk.enqueuer.enqueue(PROCESS_REFUND, RefundArgs(refund_id=refund_id))
    ctx = await desk.claim(by_hand.run_id)
    await desk.handle(ctx)

    refund = await desk.refund(refund_id)
    assert (refund.status, refund.run_id) == ("succeeded", by_hand.run_id)
    assert (await desk.sweep())["enqueued"] == 0


@pytest.mark.rule(7)
@pytest.mark.parametrize("error", [None, CUT, RefundRefused("no", "no")])
async def test_a_refund_that_names_another_run_meanwhile_is_not_written_to(
    desk: Desk, stripe: FakeGateway, error: Exception | None
) -> None:
    refund_id = await desk.add_refund()
    create = stripe.create

    async def taken_over(**params: object) -> object:
        made = await create(**params)  # type: ignore[arg-type]  # the port's own types
        await desk.set_refund(refund_id, run_id=PROBE)
        if error is not None:
            raise error
        return made

    stripe.create = taken_over  # type: ignore[assignment,method-assign]  # watched, not changed

    assert isinstance(await desk.pay(refund_id), Fenced)
    refund = await desk.refund(refund_id)
    assert (refund.status, refund.provider_refund_id, refund.run_id) == ("processing", None, PROBE)
    [attempt] = await desk.attempts(refund_id)
    assert (attempt.outcome, attempt.finished_at) == (None, None)
