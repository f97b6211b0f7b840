"""From messages to claimed runs: what is stale, garbage, in the future or busy."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.core.outcomes import Done
from shared.ports import Message
from shared.queue import keys
from tests.integration.worker.rig import Rig
from tests.wait import wait_until_async
from worker_svc.attempts import Attempt
from worker_svc.context import Handler, JobContext
from worker_svc.intake import Intake

QUEUE = keys.queue("maintenance")


def counting(seen: list[tuple[UUID, int]]) -> dict[str, Handler]:
    async def handler(context: JobContext, _: Any) -> Done:
        seen.append((context.run.id, context.run.attempt))
        return Done()

    return {"ping": handler}


@pytest.mark.rule(5)
async def test_messages_that_are_stale_early_or_of_nobody_are_dropped_and_change_nothing(rig: Rig) -> None:
    seen: list[tuple[UUID, int]] = []
    states = ["succeeded", "dead", "cancelled", "skipped"]
    terminal = [await rig.enqueue_raw("ping", state=state) for state in states]
    later = (
        await rig.database.rows(
            "INSERT INTO job_runs (job, queue, run_at) VALUES ('ping', 'maintenance', now() + interval '1 hour')"
            " RETURNING id"
        )
    )[0].id
    third = await rig.enqueue_raw("ping", attempt=2)  # its message is for attempt 1
    await rig.push(third, 2)
    await rig.push(third, 4)
    await rig.push(later, 1)
    await rig.push(uuid4(), 1)
    async with rig.worker(counting(seen)):
        good = await rig.enqueue()
        await rig.in_state(good, "succeeded")
        await wait_until_async(lambda: _drained(rig), what="an empty queue")
    assert seen == [(good, 1)]
    assert [(await rig.run(run_id)).state for run_id in terminal] == states
    for run_id, attempt in ((later, 0), (third, 2)):
        row = await rig.run(run_id)
        assert (row.state, row.attempt) == ("pending", attempt)


async def _drained(rig: Rig) -> bool:
    return await rig.messages() == 0


@pytest.mark.rule(5)
async def test_a_run_whose_message_was_pushed_by_many_runs_once(rig: Rig) -> None:
    seen: list[tuple[UUID, int]] = []
    async with rig.worker(counting(seen), name="one"), rig.worker(counting(seen), name="two"):
        run_ids = [await rig.enqueue() for _ in range(30)]
        for _ in range(5):
            for run_id in run_ids:
                await rig.push(run_id, 1)
        for run_id in run_ids:
            await rig.in_state(run_id, "succeeded")
        await wait_until_async(lambda: _drained(rig), what="an empty queue")
    assert sorted(seen) == sorted((run_id, 1) for run_id in run_ids)


async def test_what_is_no_message_is_parked_and_the_rest_goes_on(rig: Rig) -> None:
    run_id = uuid4()
    garbage = [
        b"\xff\xfe\x00garbage",
        b"",
        b"no-uuid:1",
        f"{run_id}:1:1".encode(),
        f"{run_id}:0".encode(),
        f"{run_id}:-1".encode(),
        f"{run_id}:+1".encode(),
        f"{run_id}: 1".encode(),
        f"{run_id}:1_0".encode(),
        f"{run_id}:{2**31}".encode(),  # more than PostgreSQL's integer: it would refuse the whole batch
        f"{str(run_id).upper()}:1".encode(),
        f"{{{run_id}}}:1".encode(),
    ]
    await rig.redis.zadd(QUEUE, dict.fromkeys(garbage, 1))
    behind = [await rig.enqueue() for _ in range(3)]
    async with rig.worker():
        for each in behind:
            await rig.in_state(each, "succeeded")
        await wait_until_async(lambda: _drained(rig), what="an empty queue")
    parked = await rig.redis.lrange(keys.PARKED, 0, -1)  # type: ignore[misc]  # redis-py's union with its sync half
    assert sorted(parked) == sorted(garbage)


async def test_a_flood_is_worked_off_within_the_limit_of_runs_at_once(rig: Rig) -> None:
    at_once, most = 0, 0

    async def handler(_: JobContext, __: Any) -> Done:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.02)
        at_once -= 1
        return Done()

    run_ids = [await rig.enqueue() for _ in range(60)]
    async with rig.worker({"ping": handler}, max_jobs=7):
        for run_id in run_ids:
            await rig.in_state(run_id, "succeeded")
    assert most == 7


async def test_a_claim_begins_while_the_answer_to_another_is_awaited(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("intake", "arq_worker"):
        monkeypatch.setattr(f"worker_svc.{module}.MAX_BATCH", 10)
    claim, under_way, most = Intake.claim, 0, 0

    async def counted(intake: Intake, messages: Sequence[Message]) -> list[Attempt]:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        attempts = await claim(intake, messages)
        under_way -= 1
        return attempts

    monkeypatch.setattr(Intake, "claim", counted)
    run_ids = [await rig.enqueue() for _ in range(60)]
    async with rig.worker(max_jobs=30):
        for run_id in run_ids:
            assert (await rig.in_state(run_id, "succeeded")).attempt == 1
    assert most == 2


async def test_a_push_wakes_an_idle_worker_at_once(rig: Rig) -> None:
    async with rig.worker():
        for _ in range(5):
            row = await rig.in_state(await rig.enqueue(), "succeeded")
            assert (
                row.started_at - row.enqueued_at
            ).total_seconds() < 1.0  # its own look is every two seconds


async def _of_one_schedule(rig: Rig, due: str) -> UUID:
    sql = (
        "INSERT INTO job_runs (job, queue, schedule_id, schedule_generation, due_at, overlap)"
        " VALUES ('ping', 'maintenance', 'catching-up', 1, CAST(:due AS timestamptz), 'queue') RETURNING id"
    )
    run_id: UUID = (await rig.database.rows(sql, due=datetime.fromisoformat(due)))[0].id
    return run_id


@pytest.mark.rule(19)
async def test_two_runs_of_a_schedule_that_runs_one_at_a_time_meet_in_one_batch(rig: Rig) -> None:
    go_on = asyncio.Event()

    async def handler(context: JobContext, _: Any) -> Done:
        if context.run.schedule_id is not None:
            await go_on.wait()
        return Done()

    one = await _of_one_schedule(rig, "2030-01-01T00:00:00+00:00")
    two = await _of_one_schedule(rig, "2030-01-01T00:05:00+00:00")
    neighbours = [await rig.enqueue_raw("ping") for _ in range(3)]
    for run_id in (one, two):
        await rig.push(run_id, 1)
    async with rig.worker({"ping": handler}) as worker:
        for run_id in neighbours:
            await rig.in_state(run_id, "succeeded")
        states = sorted([(await rig.run(one)).state, (await rig.run(two)).state])
        assert states == ["pending", "running"]
        first, second = (one, two) if (await rig.run(one)).state == "running" else (two, one)
        waiting = await rig.run(second)
        assert (waiting.attempt, waiting.max_attempts) == (0, 10)
        go_on.set()
        await rig.in_state(first, "succeeded")
        assert worker.relay_woken >= 1  # the next fire need not wait for the relay's own look
        await rig.due_now(second)
        await rig.in_state(second, "succeeded")


@pytest.mark.rule(3)
async def test_the_score_in_redis_is_the_priority_and_never_a_time(rig: Rig) -> None:
    run_id = await rig.enqueue()
    assert await rig.redis.zrange(QUEUE, 0, -1, withscores=True) == [(f"{run_id}:1".encode(), 3.0)]
