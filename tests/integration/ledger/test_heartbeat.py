"""Heartbeats: leases of many runs in one statement."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.integration.ledger.book import Book, lock


@pytest.mark.rule(11)
async def test_a_heartbeat_renews_all_of_a_workers_leases_at_once_and_tells_of_each(book: Book) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    mine = [await book.add("running", attempt=1, lease_until=soon) for _ in range(3)]
    taken = await book.add("running", attempt=2, lease_until=soon)
    ended, asked = (
        await book.add("dead", attempt=1),
        await book.add("running", attempt=1, cancel_requested=True),
    )
    gone = uuid4()

    beats = await book.heartbeat(*[(run, 1) for run in (*mine, taken, ended, asked, gone)])

    assert {run for run, beat in beats.items() if beat.renewed} == {*mine, asked}
    assert {run for run, beat in beats.items() if beat.lost} == {taken, ended, gone}
    assert {run for run, beat in beats.items() if beat.cancel_requested} == {asked}
    for run in mine:
        row = await book.row(run)
        assert timedelta(seconds=10) < row.lease_until - row.now <= timedelta(seconds=15)
    assert (await book.row(taken)).lease_until == soon


@pytest.mark.rule(15)
async def test_a_heartbeat_passes_over_a_row_that_somebody_is_writing(book: Book) -> None:
    locked, free = [await book.add("running", attempt=1) for _ in range(2)]
    async with book.database.begin() as other:
        await lock(other, locked)

        beats = await asyncio.wait_for(book.heartbeat((locked, 1), (free, 1)), 2)

    assert (beats[free].renewed, beats[free].lost) == (True, False)
    # Not renewed is not lost: whoever holds the row is about to end the run.
    assert (beats[locked].renewed, beats[locked].lost) == (False, False)
