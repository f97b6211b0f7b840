"""Waiting refunds get one run each, whoever gives it to them (rule 28)."""

import asyncio
from uuid import UUID

import pytest

from shared.core.errors import BadInput, Fenced
from shared.db import refunds
from shared.db.engine import Database
from shared.jobs import PROCESS_PENDING_REFUNDS
from tests.integration.refunds.desk import Desk
from worker_svc.handlers import refunds as handlers

pytestmark = pytest.mark.rule(28)


@pytest.fixture(params=[2, 20, 1000])
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(handlers, "SWEEP_PAGE", request.param)
    return int(request.param)


async def give_run(desk: Desk, refund_id: UUID) -> refunds.Enqueued:
    async with desk.database.session() as session:
        return await refunds.enqueue_for_refund(session, desk.enqueuer, refund_id)


async def many(desk: Desk, count: int) -> None:
    await desk.database.rows(
        "INSERT INTO refunds (payment_intent_id, amount, currency)"
        " SELECT 'pi_' || n, 100, 'usd' FROM generate_series(1, CAST(:count AS int)) AS n RETURNING 1",
        count=count,
    )


async def doubled(database: Database) -> list[object]:
    """Refunds with more than one run alive."""
    rows = await database.rows(
        "SELECT args->>'refund_id', count(*) FROM job_runs WHERE job = 'process_refund'"
        " AND state IN ('pending', 'queued', 'running') GROUP BY 1 HAVING count(*) > 1"
    )
    return list(rows)


async def test_every_waiting_refund_gets_one_run_and_is_pushed(desk: Desk, page: int) -> None:
    ids = [await desk.add_refund(f"pi_{n}") for n in range(5)]
    settled = await desk.add_refund(status="succeeded")

    assert await desk.sweep() == {"enqueued": 5, "parked": 0}

    runs = await desk.runs()
    named = {(await desk.refund(refund_id)).run_id for refund_id in ids}
    assert {run.id for run in runs} == named == {message.run_id for message in desk.transport.messages[1:]}
    assert {run.args["refund_id"] for run in runs} == {str(refund_id) for refund_id in ids}
    assert (await desk.refund(settled)).run_id is None


async def test_a_second_sweep_finds_nothing_to_do(desk: Desk, page: int) -> None:
    await many(desk, 5)
    await desk.sweep()

    assert await desk.sweep() == {"enqueued": 0, "parked": 0}
    assert await desk.live_runs() == 5


@pytest.mark.parametrize("state", ["pending", "queued", "running"])
async def test_a_refund_whose_run_lives_is_left_to_it(desk: Desk, state: str) -> None:
    refund_id = await desk.add_refund()
    await desk.sweep()
    run_id = (await desk.refund(refund_id)).run_id
    if state == "running":
        await desk.claim(run_id)
    else:
        await desk.set_run(run_id, state=state)

    assert (await desk.sweep())["enqueued"] == 0
    assert (await desk.refund(refund_id)).run_id == run_id


@pytest.mark.parametrize("state", ["succeeded", "dead", "cancelled", None])
@pytest.mark.parametrize("status", ["pending", "processing"])
async def test_a_refund_whose_run_has_ended_or_was_pruned_gets_another(
    desk: Desk, state: str | None, status: str
) -> None:
    refund_id = await desk.add_refund()
    await desk.sweep()
    first = (await desk.refund(refund_id)).run_id
    await desk.set_refund(refund_id, status=status)
    if state is None:
        await desk.database.rows("DELETE FROM job_runs WHERE id = :id RETURNING 1", id=first)
    else:
        await desk.set_run(first, state=state)

    assert (await desk.sweep())["enqueued"] == 1
    assert (await desk.refund(refund_id)).run_id != first


async def test_a_refund_whose_runs_keep_dying_goes_to_a_person(desk: Desk) -> None:
    refund_id = await desk.add_refund()
    for deaths in (1, 2):
        await desk.sweep()
        await desk.set_run((await desk.refund(refund_id)).run_id, state="dead", error="Boom: no")
        assert (await desk.sweep())["enqueued"] == 1
        assert (await desk.refund(refund_id)).dead_runs == deaths
    await desk.set_run((await desk.refund(refund_id)).run_id, state="dead", error="Boom: no")

    assert await desk.sweep() == {"enqueued": 0, "parked": 1}
    refund = await desk.refund(refund_id)
    assert refund.status == "needs_review"
    assert "Boom: no" in (refund.review_reason or "")
    assert desk.logged("refund_parked")


async def test_sweeps_and_enqueues_at_the_same_time_never_double_a_run(desk: Desk, page: int) -> None:
    for _ in range(6):
        await many(desk, 60)
        waiting = [row.id for row in await desk.database.rows("SELECT id FROM refunds ORDER BY random()")]

        async def by_hand(ids: list[UUID]) -> None:
            for refund_id in ids[:20]:
                await give_run(desk, refund_id)

        await asyncio.gather(
            desk.sweep(), desk.sweep(), desk.sweep(), by_hand(waiting), by_hand(waiting[::-1])
        )

    assert await doubled(desk.database) == []
    assert await desk.live_runs() == 360


async def test_a_sweep_that_lost_its_run_enqueues_nothing(desk: Desk) -> None:
    await desk.add_refund()
    run = await desk.enqueuer.enqueue(PROCESS_PENDING_REFUNDS, PROCESS_PENDING_REFUNDS.args())
    ctx = await desk.claim(run.run_id)
    await desk.claim(run.run_id)

    assert isinstance(await desk.handle(ctx), Fenced)
    assert await desk.runs() == []


async def test_a_refund_and_its_run_are_inserted_together_or_not_at_all(desk: Desk) -> None:
    async def accept(fail: bool) -> UUID:
        async with desk.database.session() as session:
            refund_id = await refunds.create_refund(
                session, payment_intent_id="pi_1", amount=5, currency="USD", reason="duplicate"
            )
            run = await refunds.enqueue_for_refund(session, desk.enqueuer, refund_id)
            assert not run.existing
            if fail:
                raise RuntimeError("the caller's own trouble")
        return refund_id

    with pytest.raises(RuntimeError, match="trouble"):
        await accept(fail=True)
    assert await desk.runs() == []

    refund = await desk.refund(await accept(fail=False))
    [run] = await desk.runs()
    assert (refund.run_id, refund.currency, refund.reason) == (run.id, "usd", "duplicate")


async def test_enqueueing_a_refund_twice_returns_its_living_run(desk: Desk) -> None:
    refund_id = await desk.add_refund()

    first, second = await give_run(desk, refund_id), await give_run(desk, refund_id)

    assert (second.run_id, second.existing) == (first.run_id, True)
    assert (await desk.sweep())["enqueued"] == 0


@pytest.mark.parametrize("status", ["submitted", "succeeded", "failed", "needs_review"])
async def test_a_refund_that_does_not_wait_cannot_be_enqueued(desk: Desk, status: str) -> None:
    refund_id = await desk.add_refund(status=status)

    with pytest.raises(BadInput, match=status):
        await give_run(desk, refund_id)


async def test_an_unknown_refund_cannot_be_enqueued(desk: Desk) -> None:
    with pytest.raises(BadInput, match="there is no refund"):
        await give_run(desk, UUID(int=1))
