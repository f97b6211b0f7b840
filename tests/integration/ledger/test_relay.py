"""What the relay picks, marks and reads again."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy.exc import IntegrityError

from shared.core.states import LIVE, TERMINAL, RunState
from shared.db import ledger
from shared.ports import Message
from tests.integration.ledger.book import DUE, STATES, SUCCEEDED, Book, lock


async def test_the_relay_picks_what_is_due_of_each_queue_oldest_first(book: Book) -> None:
    now = datetime.now(UTC)
    late = [await book.add(run_at=now - timedelta(seconds=n)) for n in (1, 3, 2)]
    refund = await book.add(queue="refunds", attempt=2)
    await book.add(run_at=now + timedelta(minutes=1))
    for state in sorted({*LIVE, *TERMINAL} - {RunState.PENDING}):
        await book.add(state.value)

    assert await book.pick("maintenance", "refunds") == [late[1], late[2], late[0], refund]
    assert await book.pick("maintenance", "refunds", per_queue=1) == [late[1], refund]
    async with book.database.begin() as connection:
        [message] = await ledger.pick_due(connection, ["refunds"], per_queue=9)
    assert message == ledger.QueuedMessage("refunds", Message(refund, 3, 5))


@pytest.mark.rule(5)
async def test_a_mark_notes_that_the_message_was_pushed(book: Book) -> None:
    run = await book.add(attempt=1)

    assert await book.mark((run, 2)) == 1
    assert await book.state(run) == ("queued", 1)
    assert (await book.row(run)).queued_at is not None
    assert await book.pick() == []


@pytest.mark.rule(5)
@pytest.mark.parametrize("state", sorted(set(STATES) - {"pending"}))
async def test_a_late_mark_moves_nothing(book: Book, state: str) -> None:
    run = await book.add(state)

    assert await book.mark((run, 1)) == 0
    assert (await book.state(run))[0] == state


@pytest.mark.rule(5)
async def test_a_mark_of_an_earlier_attempt_moves_nothing(book: Book) -> None:
    run = await book.add(attempt=1)  # claimed and handed back meanwhile

    assert await book.mark((run, 1)) == 0
    assert await book.state(run) == ("pending", 1)


@pytest.mark.rule(15)
async def test_a_mark_passes_over_a_row_that_is_being_claimed(book: Book) -> None:
    locked, free = await book.add(), await book.add()
    async with book.database.begin() as other:
        await lock(other, locked)

        assert await asyncio.wait_for(book.mark((locked, 1), (free, 1)), 2) == 1


@pytest.mark.rule(19)
async def test_of_a_schedule_whose_fires_queue_up_only_the_head_is_released(book: Book) -> None:
    first, second = [
        await book.add(
            schedule_id="s", schedule_generation=1, due_at=DUE + timedelta(hours=n), overlap="queue"
        )
        for n in range(2)
    ]

    assert await book.pick() == [first]
    await book.claim((first, 1))
    assert await book.pick() == []
    await book.finish((first, 1, SUCCEEDED))
    assert await book.pick() == [second]


@pytest.mark.rule(19)
async def test_two_runs_of_a_schedule_that_queues_cannot_run_side_by_side(book: Book) -> None:
    await book.add("running", schedule_id="s", overlap="queue")

    with pytest.raises(IntegrityError, match="job_runs_one_running"):
        await book.add("running", schedule_id="s", overlap="queue")


@pytest.mark.rule(14)
async def test_queued_runs_are_read_in_pages_by_id(book: Book) -> None:
    earlier = datetime.now(UTC) - timedelta(seconds=30)
    runs = sorted([await book.add("queued", queued_at=earlier) for _ in range(5)])
    await book.add("queued", queued_at=datetime.now(UTC))
    await book.add("pending")

    pages: list[Sequence[UUID]] = []
    after = UUID(int=0)
    async with book.database.begin() as connection:
        while page := await ledger.queued_page(connection, after=after, most=2, older_than_s=10):
            pages.append([each.message.run_id for each in page])
            after = pages[-1][-1]

    assert [len(page) for page in pages] == [2, 2, 1]
    assert [run for page in pages for run in page] == runs
