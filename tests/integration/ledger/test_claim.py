"""Claims: what a message may take, and what it may not."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from shared.db import pauses
from tests.integration.ledger.book import DUE, STATES, SUCCEEDED, Book, lock, somebody_waits
from tests.wait import wait_until_async


@pytest.mark.rule(5)
async def test_a_claim_takes_the_run_under_a_lease_and_raises_the_attempt(book: Book) -> None:
    run = await book.add("queued", attempt=2, args='{"sleep_s": 1}', schedule_id="s", queued_at=DUE)

    [claimed] = await book.claim((run, 3))

    assert (claimed.id, claimed.attempt, claimed.args, claimed.schedule_id) == (run, 3, {"sleep_s": 1}, "s")
    row = await book.row(run)
    assert (row.state, row.attempt, row.worker, row.queued_at) == ("running", 3, "me", None)
    assert row.started_at == claimed.started_at <= row.now
    assert timedelta(seconds=10) < row.lease_until - row.now <= timedelta(seconds=15)


@pytest.mark.rule(5)
@pytest.mark.parametrize("state", STATES)
async def test_only_what_is_pending_or_queued_can_be_claimed(book: Book, state: str) -> None:
    run = await book.add(state)

    claimed = await book.claim((run, 1))

    assert [each.id for each in claimed] == ([run] if state in ("pending", "queued") else [])
    assert (await book.state(run))[0] == ("running" if state in ("pending", "queued") else state)


@pytest.mark.rule(5)
@pytest.mark.parametrize("attempt", [0, 2, 4, 5])
async def test_a_message_of_another_attempt_is_refused(book: Book, attempt: int) -> None:
    run = await book.add("queued", attempt=2)

    assert await book.claim((run, attempt)) == []
    assert await book.state(run) == ("queued", 2)


@pytest.mark.rule(5)
async def test_a_run_that_is_not_due_is_refused(book: Book) -> None:
    run = await book.add(run_at=datetime.now(UTC) + timedelta(minutes=1))

    assert await book.claim((run, 1)) == []


@pytest.mark.rule(5)
async def test_a_message_delivered_to_many_workers_is_one_attempt(book: Book) -> None:
    run = await book.add("queued")

    answers = await asyncio.gather(*(book.claim((run, 1)) for _ in range(8)))

    assert sum(len(claimed) for claimed in answers) == 1
    assert await book.state(run) == ("running", 1)


@pytest.mark.rule(5)
async def test_of_a_batch_everything_that_can_be_claimed_is(book: Book) -> None:
    good = [await book.add("queued") for _ in range(3)]
    stale, over = await book.add("queued", attempt=4), await book.add("succeeded")

    claimed = await book.claim((uuid4(), 1), (stale, 1), (over, 1), *[(run, 1) for run in good], (good[0], 1))

    assert {each.id for each in claimed} == set(good)
    assert len(claimed) == 3


@pytest.mark.rule(5)
async def test_batches_that_overlap_in_any_order_never_deadlock(book: Book) -> None:
    runs = [await book.add("queued") for _ in range(60)]
    messages = [(run, 1) for run in runs]

    answers = await asyncio.gather(
        *(book.claim(*(messages if n % 2 else reversed(messages))) for n in range(6))
    )

    assert sum(len(claimed) for claimed in answers) == 60


@pytest.mark.rule(5)
@pytest.mark.parametrize("statement", ["claim", "finish"])
async def test_rows_are_locked_in_the_order_of_their_ids_whatever_the_order_of_the_batch(
    book: Book, statement: str
) -> None:
    runs = sorted([await book.add("queued" if statement == "claim" else "running") for _ in range(30)])
    backwards = runs[::-1]
    async with book.database.begin() as other:
        await lock(other, runs[0])
        work: asyncio.Task[object] = asyncio.create_task(
            book.claim(*((run, 1) for run in backwards))
            if statement == "claim"
            else book.finish(*((run, 0, SUCCEEDED) for run in backwards))
        )
        await wait_until_async(lambda: somebody_waits(book), what="the batch waits for the first row")

        # It waits without holding what others might wait for.
        free = await book.database.rows("SELECT id FROM job_runs ORDER BY id FOR UPDATE SKIP LOCKED")
        assert [row.id for row in free] == runs[1:]
    await work
    assert {(await book.row(run)).state for run in runs} <= {"running", "succeeded"}


@pytest.mark.rule(23)
@pytest.mark.parametrize(
    ("kind", "name"), [("queue", "maintenance"), ("job", "ping"), ("schedule", "nightly")]
)
async def test_what_a_pause_holds_goes_back_unclaimed(book: Book, kind: pauses.Kind, name: str) -> None:
    held = await book.add("queued", schedule_id="nightly", queued_at=DUE)
    free = await book.add("queued", job="other", queue="refunds", schedule_id="hourly")
    async with book.database.begin() as connection:
        await pauses.pause(connection, kind, name, actor="test")

    claimed = await book.claim((held, 1), (free, 1))

    assert [each.id for each in claimed] == [free]
    assert await book.state(held) == ("pending", 0)
    assert (await book.row(held)).queued_at is None
    assert await book.pick() == []
