"""Pauses: met by the claim, begun by a handler, ended by a probe (rule 23)."""

import asyncio
from typing import Any, Literal
from uuid import UUID

import pytest
from sqlalchemy import text

from shared.core.errors import PauseKind, PauseQueue
from shared.core.jobspec import Queue
from shared.core.outcomes import Done, Outcome
from shared.db import pauses
from shared.db.pauses import Pause
from tests.integration.worker.rig import Rig
from tests.wait import wait_until_async
from worker_svc.context import JobContext

pytestmark = pytest.mark.rule(23)


async def pause(rig: Rig, kind: Literal["queue", "job", "schedule"], name: str) -> None:
    async with rig.database.begin() as connection:
        assert await pauses.pause(connection, kind, name, actor="test", reason="maintenance window")


async def all_pauses(rig: Rig) -> list[Pause]:
    async with rig.database.begin() as connection:
        return await pauses.list_pauses(connection)


@pytest.mark.parametrize(
    ("kind", "name"), [("queue", "maintenance"), ("job", "ping"), ("schedule", "nightly")]
)
@pytest.mark.parametrize("state", ["pending", "queued"])
async def test_a_paused_run_met_by_the_claim_goes_back_unclaimed(
    rig: Rig, kind: Literal["queue", "job", "schedule"], name: str, state: str
) -> None:
    run_id = await rig.enqueue_raw("ping", state=state, schedule_id="nightly")
    await pause(rig, kind, name)
    async with rig.worker():
        await wait_until_async(lambda: _no_messages(rig), what="a message that was answered")
    row = await rig.run(run_id)
    assert (row.state, row.attempt, row.max_attempts) == ("pending", 0, 10)
    assert row.lease_until is None


async def _no_messages(rig: Rig) -> bool:
    return await rig.messages() == 0


async def test_a_paused_job_holds_up_nobody_else(rig: Rig) -> None:
    await pause(rig, "job", "daily_cleanup")

    async def cleanup(_: JobContext, __: Any) -> Outcome:
        return Done()

    async with rig.worker({"daily_cleanup": cleanup}):
        held = await rig.enqueue_raw("daily_cleanup")
        await rig.in_state(await rig.enqueue(), "succeeded")
        assert (await rig.run(held)).attempt == 0


async def test_a_queue_whose_provider_is_away_pauses_itself_at_no_cost_until_a_probe_succeeds(
    rig: Rig,
) -> None:
    provider = {"up": False}
    probes: list[bool] = []

    async def handler(_: JobContext, __: Any) -> Outcome:
        if not provider["up"]:
            raise PauseQueue(PauseKind.OUTAGE, "no answer\x00 from it", probe_after_s=0.0)
        return Done()

    async def probe() -> None:
        probes.append(provider["up"])
        if not provider["up"]:
            raise OSError("still away")

    async with rig.worker({"ping": handler}, probes={Queue.MAINTENANCE: probe}) as worker:
        run_id = await rig.enqueue()
        row = await rig.back(run_id)
        assert (row.attempt, row.max_attempts) == (1, 11)
        (began,) = await all_pauses(rig)
        assert (began.kind, began.name, began.cause) == ("queue", "maintenance", PauseKind.OUTAGE)
        assert "no answer" in began.reason
        await wait_until_async(lambda: probes, what="a probe")
        assert await all_pauses(rig)  # one that fails ends nothing
        provider["up"] = True
        await rig.database.rows("UPDATE pauses SET probe_at = now() RETURNING 1")
        await wait_until_async(lambda: _no_pauses(rig), what="the end of the pause")
        await wait_until_async(lambda: worker.relay_woken, what="a word to the relay")
        await rig.due_now(run_id)
        await rig.in_state(run_id, "succeeded")
    actions = await rig.database.rows("SELECT actor, action FROM audit_log ORDER BY id")
    assert [tuple(row) for row in actions] == [("worker", "paused"), ("probe", "resumed")]


async def _no_pauses(rig: Rig) -> bool:
    return not await all_pauses(rig)


async def test_a_pause_for_a_rate_ends_without_asking_anybody(rig: Rig) -> None:
    async def probe() -> None:
        raise AssertionError("nobody is to be asked")

    async with rig.database.begin() as connection:
        await pauses.pause_queue_for(
            connection, "maintenance", PauseKind.RATE, reason="429", probe_after_s=0.0
        )
    async with rig.worker(probes={Queue.MAINTENANCE: probe}):
        await wait_until_async(lambda: _no_pauses(rig), what="the end of the pause")


async def test_a_persons_pause_is_ended_by_no_probe_even_one_that_was_under_way(rig: Rig) -> None:
    async with rig.database.begin() as connection:
        await pauses.pause_queue_for(connection, "maintenance", PauseKind.OUTAGE, reason="x", probe_after_s=0)
    probed: list[UUID | None] = []

    async def probe() -> None:
        await pause(rig, "queue", "maintenance")  # a person takes it over while the probe runs
        probed.append(None)

    async with rig.worker(probes={Queue.MAINTENANCE: probe}) as worker:
        await wait_until_async(lambda: probed, what="a probe")
        while await worker.prober.probe_once():
            pass
    (still,) = await all_pauses(rig)
    assert (still.cause, still.actor) == (None, "test")


async def test_a_pause_that_cannot_be_written_still_costs_the_run_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(_: JobContext, __: Any) -> Outcome:
        raise PauseQueue(PauseKind.OUTAGE, "down", probe_after_s=60)

    async def away(*_: Any, **__: Any) -> bool:
        raise OSError("away")

    monkeypatch.setattr(pauses, "pause_queue_for", away)
    async with rig.worker({"ping": handler}):
        row = await rig.back(await rig.enqueue())
    assert (row.attempt, row.max_attempts) == (1, 11)
    assert (row.run_at - row.started_at).total_seconds() > 50


async def test_a_time_out_that_the_handler_did_not_leave_strikes_while_it_pauses_and_keeps_no_slot(
    rig: Rig,
) -> None:
    left: list[asyncio.Timeout] = []

    async def handler(_: JobContext, __: Any) -> Outcome:
        left.append(limit := asyncio.timeout(0.05))
        await limit.__aenter__()
        raise PauseQueue(PauseKind.OUTAGE, "nobody answers", 60)

    async with rig.worker({"ping": handler}) as worker:
        async with rig.database.begin() as connection:
            await connection.execute(text("LOCK TABLE pauses IN EXCLUSIVE MODE"))
            run_id = await rig.enqueue()
            await wait_until_async(lambda: not len(worker.attempts) and left, what="the attempt has ended")
        row = await rig.back(run_id)
    assert (row.attempt, row.max_attempts) == (1, 11)


async def test_a_pause_is_probed_only_by_workers_that_serve_its_queue(rig: Rig) -> None:
    async def probe() -> None:
        pass

    async with rig.database.begin() as connection:
        await pauses.pause_queue_for(
            connection, "refunds", PauseKind.CREDENTIALS, reason="x", probe_after_s=0
        )
        await pauses.pause_queue_for(connection, "maintenance", PauseKind.OUTAGE, reason="x", probe_after_s=0)

    async def paused() -> list[str]:
        async with rig.database.begin() as connection:
            return [pause.name for pause in await pauses.list_pauses(connection)]

    async def only_the_other() -> bool:
        return await paused() == ["refunds"]

    async with rig.worker(probes={Queue.MAINTENANCE: probe}) as worker:
        # The worker's own prober may have taken this probe: the pause ends when that is through.
        await wait_until_async(only_the_other, 10, "the served queue goes on")
        assert not await worker.prober.probe_once()
    assert await paused() == ["refunds"]
