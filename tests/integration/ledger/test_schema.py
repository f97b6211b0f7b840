"""What the table itself does not allow."""

from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from tests.integration.ledger.book import DUE, STATES, Book


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
