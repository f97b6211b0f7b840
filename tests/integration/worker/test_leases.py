"""Leases while handlers work: renewed, lost, fenced (rules 6, 7, 11)."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from shared.core.errors import Fenced
from shared.core.outcomes import Cancel, Decision, Done, Outcome
from shared.core.states import RunState
from shared.db import ledger
from shared.db.ledger import Finished
from tests.integration.worker.behaviours import Held
from tests.integration.worker.rig import Rig
from tests.wait import wait_until_async
from worker_svc.context import JobContext


@pytest.mark.rule(11)
async def test_a_run_that_takes_longer_than_its_lease_keeps_it(rig: Rig) -> None:
    held = Held()
    async with rig.worker({"ping": held}, lease_s=1.0):
        run_id = await rig.enqueue()
        context = await held.started()
        first = (await rig.run(run_id)).lease_until

        async def renewed_thrice() -> bool:
            row = await rig.run(run_id)
            return bool((row.lease_until - first).total_seconds() > 1.2)

        await wait_until_async(renewed_thrice, what="a lease that outlives its first length")
        context.lease.check()
        held.go_on.set()
        row = await rig.in_state(run_id, "succeeded")
    assert row.attempt == 1


@pytest.mark.rule(6)
async def test_a_lost_run_is_cancelled_and_writes_nothing(rig: Rig) -> None:
    held = Held()
    async with rig.worker({"ping": held}, lease_s=1.0) as worker:
        run_id = await rig.enqueue()
        context = await held.started()
        sql = "UPDATE job_runs SET attempt = 2, worker = 'other', lease_until = now() + interval '1 min' RETURNING 1"
        await rig.database.rows(sql)
        before = await rig.run(run_id)
        await wait_until_async(lambda: held.cancelled, what="the cancellation of the handler")
        with pytest.raises(Fenced):
            context.lease.check()
        await wait_until_async(lambda: not len(worker.attempts), what="the end of the attempt")
    assert await rig.run(run_id) == before


@pytest.mark.rule(6)
async def test_an_outcome_for_a_run_that_was_lost_is_refused(rig: Rig) -> None:
    held = Held()
    async with rig.worker({"ping": held}):  # the heartbeat is five seconds away
        run_id = await rig.enqueue()
        await held.started()
        await rig.database.rows("UPDATE job_runs SET attempt = 2, worker = 'other' RETURNING 1")
        before = await rig.run(run_id)
        held.go_on.set()
    assert await rig.run(run_id) == before


@pytest.mark.rule(6)
async def test_a_run_that_comes_back_to_the_same_worker_has_one_winner(rig: Rig) -> None:
    held = Held()
    async with rig.worker({"ping": held}) as worker:
        run_id = await rig.enqueue()
        await held.started()
        await rig.sweep(run_id)
        await held.started(2)
        await wait_until_async(lambda: held.cancelled == 1, what="the end of the first attempt")
        held.go_on.set()
        row = await rig.in_state(run_id, "succeeded")
        await wait_until_async(lambda: not len(worker.attempts))
    assert (row.attempt, row.result) == (2, {"attempt": 2})


@pytest.mark.rule(6)
async def test_two_attempts_of_a_run_in_one_batch_of_outcomes_are_not_mixed_up(rig: Rig) -> None:
    """Both waited for the same outage, say."""
    stale = Decision(RunState.DEAD, error="stale")
    for order in (1, -1):
        run_id = await rig.enqueue_raw("ping")
        await rig.database.rows(
            "UPDATE job_runs SET state = 'running', attempt = 2, lease_until = now() WHERE id = :id RETURNING 1",
            id=run_id,
        )
        batch = [Finished(run_id, 1, stale), Finished(run_id, 2, Decision(RunState.SUCCEEDED, result={}))]
        async with rig.database.begin() as connection:
            await ledger.finish(connection, batch[::order])
        assert (await rig.run(run_id)).state == "succeeded"


@pytest.mark.rule(11)
@pytest.mark.rule(15)
async def test_the_heartbeat_passes_over_locked_rows_and_renews_the_others(rig: Rig) -> None:
    held = Held()
    async with rig.worker({"ping": held}, lease_s=3.0) as worker:
        locked, other = await rig.enqueue(), await rig.enqueue()
        await held.started(2)
        before = (await rig.run(other)).lease_until
        async with rig.database.begin() as connection:
            await connection.execute(text("SELECT FROM job_runs WHERE id = :id FOR UPDATE"), {"id": locked})
            async with asyncio.timeout(
                0.9
            ):  # a wait for the lock would end with lock_timeout, after a second
                await worker.heartbeat.beat()
            assert (await rig.run(other)).lease_until > before
        assert held.cancelled == 0
        held.go_on.set()
        for run_id in (locked, other):
            await rig.in_state(run_id, "succeeded")


async def _note(context: JobContext, note: str, outcome: Done | Cancel, fail: bool = False) -> Outcome:
    """Business writes and the run's end in one transaction."""
    async with context.services.database.session() as session:
        await session.execute(
            text("INSERT INTO suppressions (email, reason, source) VALUES (:e, 'x', 'test')"), {"e": note}
        )
        recorded = await context.complete(session, outcome)
        if fail:
            raise OSError("before the commit")
    return recorded


async def _notes(rig: Rig) -> list[str]:
    return [row.email for row in await rig.database.rows("SELECT email FROM suppressions ORDER BY 1")]


@pytest.mark.rule(6)
async def test_business_writes_and_the_end_of_the_run_commit_together(rig: Rig) -> None:
    async def handler(context: JobContext, _: Any) -> Outcome:
        return await _note(context, "a", Done({"n": 1, "bad": "\x00"}))

    async with rig.worker({"ping": handler}):
        row = await rig.in_state(await rig.enqueue(), "succeeded")
    assert await _notes(rig) == ["a"]
    assert "NUL" in row.result["result_not_kept"]


@pytest.mark.rule(6)
async def test_a_transaction_that_fails_after_completing_the_run_undoes_that_too(rig: Rig) -> None:
    async def handler(context: JobContext, _: Any) -> Outcome:
        return await _note(context, "a", Done(), fail=True)

    async with rig.worker({"ping": handler}):
        row = await rig.back(await rig.enqueue())
    assert row.error == "OSError: before the commit"
    assert await _notes(rig) == []


@pytest.mark.rule(6)
@pytest.mark.rule(7)
async def test_business_writes_of_a_run_that_was_lost_are_rolled_back(rig: Rig) -> None:
    fenced = asyncio.Event()

    async def handler(context: JobContext, _: Any) -> Outcome:
        await rig.database.rows("UPDATE job_runs SET attempt = 2, worker = 'other' RETURNING 1")
        try:
            return await _note(context, "a", Done())
        except Fenced:
            fenced.set()
            raise

    async with rig.worker({"ping": handler}) as worker:
        run_id = await rig.enqueue()
        await fenced.wait()
        await wait_until_async(lambda: not len(worker.attempts))
    assert await _notes(rig) == []
    row = await rig.run(run_id)
    assert (row.state, row.attempt, row.worker) == ("running", 2, "other")


@pytest.mark.rule(7)
async def test_a_run_that_is_fenced_by_its_business_row_does_not_hang_about_under_its_lease(rig: Rig) -> None:
    async def handler(_: JobContext, __: Any) -> Outcome:
        raise Fenced("the refund belongs to another run")

    async with rig.worker({"ping": handler}):
        row = await rig.back(await rig.enqueue())
    assert (row.attempt, row.lease_until) == (1, None)
