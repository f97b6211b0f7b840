"""What a person may do to a run."""

import pytest

from shared.db import ledger
from shared.ports import Message
from tests.integration.ledger.book import STATES, Book


@pytest.mark.parametrize("state", STATES)
async def test_cancelling_ends_what_waits_and_asks_what_runs(book: Book, state: str) -> None:
    run = await book.add(state)
    async with book.database.begin() as connection:
        answer = await ledger.cancel(connection, run, reason="not needed")

    row = await book.row(run)
    if state in ("pending", "queued"):
        assert (answer, row.state, row.reason) == ("cancelled", "cancelled", "not needed")
        assert row.finished_at is not None
    elif state == "running":
        assert (answer, row.state, row.cancel_requested, row.finished_at) == (
            "running",
            "running",
            True,
            None,
        )
    else:
        assert (answer, row.state, row.cancel_requested) == (None, state, False)


@pytest.mark.rule(4)
@pytest.mark.parametrize("state", STATES)
async def test_only_a_dead_run_is_replayed_and_its_fence_stays(book: Book, state: str) -> None:
    run = await book.add(state, attempt=10, max_attempts=10, losses=4, priority=2)
    async with book.database.begin() as connection:
        message = await ledger.replay(connection, run, more_attempts=3)

    row = await book.row(run)
    if state == "dead":
        assert message == ledger.QueuedMessage("maintenance", Message(run, 11, 2))
        assert (row.state, row.attempt, row.max_attempts, row.losses) == ("pending", 10, 13, 0)
        assert row.finished_at is None
        assert row.run_at <= row.now
    else:
        assert message is None
        assert (row.state, row.max_attempts) == (state, 10)
