"""The ledger's statements, one by one, on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.core.decide import decide_handed_back, error_text
from shared.core.outcomes import Decision
from shared.core.states import LIVE, TERMINAL, RunState
from shared.db import ledger, pauses
from shared.db.engine import Database, is_outage
from shared.db.ledger import Finished
from shared.ports import Message
from tests.wait import wait_until_async

SUCCEEDED = Decision(RunState.SUCCEEDED)
STATES = [state.value for state in RunState]
DUE = datetime(2030, 1, 31, tzinfo=UTC)


class Book:
    """The ledger as a test sees it: rows in any state, and each statement in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def add(self, state: str = "pending", **columns: Any) -> UUID:
        values = {"job": "ping", "queue": "maintenance", "state": state, **columns}
        if state == "running":
            values = {"lease_until": datetime.now(UTC) + timedelta(minutes=1), "worker": "w", **values}
        names = ", ".join(values)
        [row] = await self.database.rows(
            f"INSERT INTO job_runs ({names}) VALUES ({', '.join(f':{name}' for name in values)}) RETURNING id",
            **values,
        )
        run_id: UUID = row[0]
        return run_id

    async def row(self, run_id: UUID) -> Any:
        [row] = await self.database.rows("SELECT *, now() AS now FROM job_runs WHERE id = :id", id=run_id)
        return row

    async def state(self, run_id: UUID) -> tuple[str, int]:
        row = await self.row(run_id)
        return row.state, row.attempt

    async def claim(self, *runs: tuple[UUID, int]) -> list[ledger.ClaimedRun]:
        async with self.database.begin() as connection:
            messages = [Message(*run) for run in runs]
            return await ledger.claim(connection, messages, worker="me", lease_s=15)

    async def finish(self, *runs: tuple[UUID, int, Decision]) -> set[UUID]:
        async with self.database.begin() as connection:
            return await ledger.finish(connection, [Finished(*run) for run in runs])

    async def heartbeat(self, *runs: tuple[UUID, int]) -> dict[UUID, ledger.Beat]:
        async with self.database.begin() as connection:
            return {beat.run_id: beat for beat in await ledger.heartbeat(connection, runs, lease_s=15)}

    async def mark(self, *runs: tuple[UUID, int]) -> int:
        async with self.database.begin() as connection:
            return await ledger.mark_queued(connection, [Message(*run) for run in runs])

    async def pick(self, *queues: str, per_queue: int = 100) -> list[UUID]:
        async with self.database.begin() as connection:
            picked = await ledger.pick_due(connection, queues or ["maintenance"], per_queue=per_queue)
        return [each.message.run_id for each in picked]


@pytest.fixture
async def book(database_url: str) -> AsyncIterator[Book]:
    database = Database(database_url, application="test", bound_s=5)
    yield Book(database)
    await database.close()


# --------------------------------------------------------------------------------------------------------------- claim


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
        await _lock(other, runs[0])
        work: asyncio.Task[object] = asyncio.create_task(
            book.claim(*((run, 1) for run in backwards))
            if statement == "claim"
            else book.finish(*((run, 0, SUCCEEDED) for run in backwards))
        )
        await wait_until_async(lambda: _somebody_waits(book), what="the batch waits for the first row")

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


# -------------------------------------------------------------------------------------------------------------- finish


@pytest.mark.rule(6)
@pytest.mark.parametrize(
    ("decision", "error", "reason", "result"),
    [
        (Decision(RunState.SUCCEEDED, result={"sent": 3}), None, None, {"sent": 3}),
        (Decision(RunState.DEAD, error="E: no"), "E: no", None, None),
        (Decision(RunState.CANCELLED, error="not needed"), None, "not needed", None),
    ],
    ids=["succeeded", "dead", "cancelled"],
)
async def test_an_outcome_ends_the_run(
    book: Book, decision: Decision, error: str | None, reason: str | None, result: object
) -> None:
    run = await book.add("running", attempt=1, error="before")

    assert await book.finish((run, 1, decision)) == {run}

    row = await book.row(run)
    assert (row.state, row.error, row.reason, row.result) == (decision.state, error, reason, result)
    assert (row.lease_until, row.worker, row.attempt) == (None, None, 1)
    assert row.finished_at is not None


@pytest.mark.rule(6)
async def test_a_run_to_try_again_waits_for_its_time(book: Book) -> None:
    after, at = await book.add("running", attempt=1), await book.add("running", attempt=1)

    await book.finish(
        (after, 1, Decision(RunState.PENDING, delay_s=60, error="E")),
        (at, 1, Decision(RunState.PENDING, run_at=DUE)),
    )

    row = await book.row(after)
    assert (row.state, row.error, row.finished_at, row.lease_until) == ("pending", "E", None, None)
    assert timedelta(seconds=55) < row.run_at - row.now <= timedelta(seconds=60)
    assert (await book.row(at)).run_at == DUE


@pytest.mark.rule(6)
@pytest.mark.parametrize("state", STATES)
async def test_an_outcome_counts_only_while_the_run_is_running(book: Book, state: str) -> None:
    run = await book.add(state, attempt=1)

    finished = await book.finish((run, 1, Decision(RunState.DEAD, error="late")))

    assert finished == ({run} if state == "running" else set())
    assert (await book.state(run))[0] == ("dead" if state == "running" else state)


@pytest.mark.rule(6)
@pytest.mark.parametrize("attempt", [0, 1, 3])
async def test_an_outcome_of_another_attempt_changes_nothing(book: Book, attempt: int) -> None:
    run = await book.add("running", attempt=2)

    assert await book.finish((run, attempt, SUCCEEDED)) == set()
    assert await book.state(run) == ("running", 2)


@pytest.mark.rule(6)
async def test_of_two_attempts_in_one_batch_the_owner_decides(book: Book) -> None:
    run = await book.add("running", attempt=2)

    await book.finish((run, 1, Decision(RunState.DEAD, error="stale")), (run, 2, SUCCEEDED))

    assert await book.state(run) == ("succeeded", 2)


@pytest.mark.rule(6)
async def test_what_a_loser_wrote_is_rolled_back_with_its_outcome(book: Book) -> None:
    run = await book.add("running", attempt=2)
    connection = await book.database.engine.connect()
    await connection.execute(text("INSERT INTO suppressions VALUES ('a', '', '')"))

    assert await ledger.finish(connection, [Finished(run, 1, SUCCEEDED)]) == set()
    await connection.rollback()
    await connection.close()

    assert await book.database.rows("SELECT email FROM suppressions") == []


@pytest.mark.rule(4)
async def test_the_fence_never_falls_whatever_happens_to_a_run(book: Book) -> None:
    run = await book.add(max_attempts=2)
    seen = [0]

    async def note() -> None:
        seen.append((await book.row(run)).attempt)

    async def attempt(number: int, decision: Decision) -> None:
        assert await book.claim((run, number))
        await note()
        assert await book.finish((run, number, decision))
        await note()

    await attempt(1, decide_handed_back())
    await attempt(2, Decision(RunState.PENDING, free=True, error="not now"))
    await attempt(3, Decision(RunState.DEAD, error="no"))
    async with book.database.begin() as connection:
        message = await ledger.replay(connection, run, more_attempts=2)
    assert message is not None
    assert message.message.attempt == 4
    await attempt(4, SUCCEEDED)

    assert seen == sorted(seen)
    assert seen[-1] == 4


@pytest.mark.rule(4)
async def test_what_must_not_cost_an_attempt_raises_the_number_allowed(book: Book) -> None:
    free, paid = [await book.add("running", attempt=1, max_attempts=3) for _ in range(2)]

    await book.finish(
        (free, 1, Decision(RunState.PENDING, free=True)), (paid, 1, Decision(RunState.PENDING, error="E"))
    )

    assert ((await book.row(free)).attempt, (await book.row(free)).max_attempts) == (1, 4)
    assert ((await book.row(paid)).attempt, (await book.row(paid)).max_attempts) == (1, 3)


@pytest.mark.rule(9)
async def test_an_error_text_with_characters_postgresql_refuses_is_recorded_readably(book: Book) -> None:
    run, neighbour = [await book.add("running", attempt=1) for _ in range(2)]
    error = error_text(ValueError("a\x00b \ud800 c"))

    assert await book.finish((run, 1, Decision(RunState.DEAD, error=error)), (neighbour, 1, SUCCEEDED)) == {
        run,
        neighbour,
    }

    assert (await book.row(run)).error == r"ValueError: a\x00b \ud800 c"


@pytest.mark.rule(9)
@pytest.mark.parametrize(
    "bad", [Decision(RunState.DEAD, error="a\x00b"), Decision(RunState.SUCCEEDED, result={"a": "\x00"})]
)
async def test_a_batch_refused_over_one_rows_data_is_no_outage_and_can_be_repeated(
    book: Book, bad: Decision
) -> None:
    run, neighbour = [await book.add("running", attempt=1) for _ in range(2)]

    with pytest.raises(DBAPIError) as error:
        await book.finish((neighbour, 1, SUCCEEDED), (run, 1, bad))

    assert not is_outage(error.value)
    assert await book.state(neighbour) == ("running", 1)
    assert await book.finish((neighbour, 1, SUCCEEDED)) == {neighbour}


# ----------------------------------------------------------------------------------------------------------- heartbeat


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
        await _lock(other, locked)

        beats = await asyncio.wait_for(book.heartbeat((locked, 1), (free, 1)), 2)

    assert (beats[free].renewed, beats[free].lost) == (True, False)
    # Not renewed is not lost: whoever holds the row is about to end the run.
    assert (beats[locked].renewed, beats[locked].lost) == (False, False)


# ---------------------------------------------------------------------------------------------------------------- relay


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
        await _lock(other, locked)

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


# ---------------------------------------------------------------------------------------------------------------- sweep


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
        await _lock(worker, locked)

        assert await asyncio.wait_for(_pick_lost(sweeper), 2) == {free}


# ----------------------------------------------------------------------------------------------------- cancel and replay


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


# --------------------------------------------------------------------------------------------------------------- schema


@pytest.mark.rule(18)
async def test_a_fire_has_one_run_and_a_schedule_made_again_starts_anew(book: Book) -> None:
    fire: dict[str, Any] = {"schedule_id": "s", "schedule_generation": 1, "due_at": DUE}
    await book.add("succeeded", **fire)

    with pytest.raises(IntegrityError, match="job_runs_fire"):
        await book.add(**fire)
    await book.add(**{**fire, "schedule_generation": 2})
    await book.add(schedule_id="s")  # manual runs have no due time, and there may be many
    await book.add(schedule_id="s")


@pytest.mark.rule(22)
async def test_the_ledger_is_one_table_and_its_rows_can_go_without_what_must_stay(book: Book) -> None:
    rows = book.database.rows
    run = await book.add("succeeded")
    [(refund,)] = await rows(
        "INSERT INTO refunds (payment_intent_id, amount, currency, run_id) VALUES ('pi', 1, 'eur', :run) RETURNING id",
        run=run,
    )
    await rows(
        "INSERT INTO refund_attempts (refund_id, generation, idempotency_key, run_id, run_attempt)"
        " VALUES (:refund, 1, 'k', :run, 1) RETURNING id",
        refund=refund,
        run=run,
    )
    await rows(
        "INSERT INTO reminder_batches (tag, content, run_id) VALUES ('t', '{}', :run) RETURNING id", run=run
    )

    await rows("DELETE FROM job_runs RETURNING id")

    assert await rows("SELECT relkind FROM pg_class WHERE relname = 'job_runs'") == [(b"r",)]
    for table in ("refunds", "refund_attempts", "reminder_batches"):
        assert await rows(f"SELECT run_id FROM {table}") == [(run,)]
    with pytest.raises(IntegrityError):
        await rows("DELETE FROM refunds RETURNING id")


@pytest.mark.parametrize("state", sorted(set(STATES) - {"running"}))
async def test_a_lease_and_only_a_lease_means_running(book: Book, state: str) -> None:
    with pytest.raises(IntegrityError, match="check"):
        await book.add(state, lease_until=DUE)
    with pytest.raises(IntegrityError, match="check"):
        await book.add("running", lease_until=None)


async def _somebody_waits(book: Book) -> bool:
    rows = await book.database.rows(
        "SELECT pid FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())"
    )
    return bool(rows)


async def _lock(connection: AsyncConnection, run_id: UUID) -> None:
    await connection.execute(text("SELECT FROM job_runs WHERE id = :id FOR UPDATE"), {"id": run_id})
