"""Runs whose lease ran out."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.core.outcomes import Decision
from shared.core.states import RunState
from shared.db import ledger
from shared.db.ledger import Finished
from tests.integration.ledger.book import Book, lock


async def _pick_lost(connection: AsyncConnection) -> set[UUID]:
    return {lost.id for lost in await ledger.pick_lost(connection, most=100)}


async def test_the_sweep_picks_runs_whose_lease_ran_out_and_counts_the_loss(book: Book) -> None:
    over = datetime.now(UTC) - timedelta(seconds=1)
    lost = await book.add("running", attempt=2, max_attempts=7, losses=1, lease_until=over)
    await book.add("running", attempt=1)
    async with book.database.begin() as connection:
        [picked] = await ledger.pick_lost(connection, most=100)
        await ledger.finish(connection, [Finished(lost, 2, Decision(RunState.PENDING, error="lost"))])
        await ledger.note_losses(connection, [lost])

    assert picked == ledger.LostRun(lost, "ping", 2, 7, 2)
    row = await book.row(lost)
    assert (row.state, row.attempt, row.losses, row.error) == ("pending", 2, 2, "lost")


@pytest.mark.rule(15)
async def test_the_sweep_passes_over_a_row_that_its_worker_is_writing(book: Book) -> None:
    over = datetime.now(UTC) - timedelta(seconds=1)
    locked, free = [await book.add("running", attempt=1, lease_until=over) for _ in range(2)]
    async with book.database.begin() as worker, book.database.begin() as sweeper:
        await lock(worker, locked)

        assert await asyncio.wait_for(_pick_lost(sweeper), 2) == {free}
