"""Outcomes: compare-and-set on state and attempt."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.core.decide import decide_handed_back, error_text
from shared.core.outcomes import Decision
from shared.core.states import RunState
from shared.db import ledger
from shared.db.errors import is_outage
from shared.db.ledger import Finished
from tests.integration.ledger.book import DUE, STATES, SUCCEEDED, Book


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
async def test_plain_successes_and_others_of_one_batch_each_get_their_own_outcome(book: Book) -> None:
    decisions = [
        Decision(RunState.SUCCEEDED, result={}),
        Decision(RunState.DEAD, error="E: no"),
        Decision(RunState.SUCCEEDED, result={}),
        Decision(RunState.SUCCEEDED, result={"sent": 3}),
        Decision(RunState.SUCCEEDED),
        Decision(RunState.PENDING, delay_s=60, free=True),
    ]
    runs = [await book.add("running", attempt=1, max_attempts=10, error="before") for _ in decisions]

    await book.finish(*((run, 1, decision) for run, decision in zip(runs, decisions, strict=True)))

    rows = [await book.row(run) for run in runs]
    assert [(row.state, row.error, row.result, row.max_attempts) for row in rows] == [
        ("succeeded", None, {}, 10),
        ("dead", "E: no", None, 10),
        ("succeeded", None, {}, 10),
        ("succeeded", None, {"sent": 3}, 10),
        ("succeeded", None, None, 10),
        ("pending", "before", None, 11),
    ]
    assert [row.finished_at is None for row in rows] == [False] * 5 + [True]
    assert rows[0].run_at < rows[0].finished_at


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
