"""Which run may work on a refund, and what cancelling it means (rules 7 and 28)."""

from uuid import UUID

import pytest

from shared.core.errors import Fenced, PermanentError
from shared.core.outcomes import Cancel, Recorded
from shared.db import ledger
from shared.jobs import PROCESS_REFUND, RefundArgs
from shared.ports import (
    OutcomeUnknown,
    RefundRefused,
)
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk

PROBE = UUID(int=1)
CUT = OutcomeUnknown("the connection was cut")


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
