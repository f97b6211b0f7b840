"""daily_cleanup: what has aged goes, in small batches; what must stay stays (rule 22)."""

import pytest

from shared import jobs
from shared.core.jobspec import NoArgs
from tests.integration.worker.rig import Rig
from worker_svc.handlers import cleanup

OLD, YOUNG = "now() - interval '91 days'", "now() - interval '89 days'"


async def clean(rig: Rig) -> dict[str, int]:
    """Runs the job; what it says it has pruned."""
    run_id = await rig.enqueue(jobs.DAILY_CLEANUP, NoArgs())
    async with rig.worker({"daily_cleanup": cleanup.daily_cleanup}):
        row = await rig.in_state(run_id, "succeeded")
    pruned: dict[str, int] = row.result
    return pruned


async def add_run(rig: Rig, state: str, at: str) -> None:
    key = f"{state} {'old' if at == OLD else 'young'}"
    finished = at if state in ("succeeded", "dead", "cancelled", "skipped") else "NULL"
    await rig.database.rows(
        "INSERT INTO job_runs (job, queue, state, key, run_at, enqueued_at, finished_at)"
        f" VALUES ('ping', 'refunds', '{state}', '{key}', now() + interval '1 day', {at}, {finished}) RETURNING id"
    )


@pytest.mark.rule(22)
async def test_runs_that_ended_before_the_retention_go_and_all_others_stay(rig: Rig) -> None:
    for state in ("succeeded", "dead", "cancelled", "skipped"):
        await add_run(rig, state, OLD)
        await add_run(rig, state, YOUNG)
    await add_run(rig, "pending", OLD)
    await add_run(rig, "queued", OLD)

    assert (await clean(rig))["job_runs"] == 4

    left = {row.key for row in await rig.database.rows("SELECT key FROM job_runs WHERE job = 'ping'")}
    young = {f"{state} young" for state in ("succeeded", "dead", "cancelled", "skipped")}
    assert left == young | {"pending old", "queued old"}


@pytest.mark.rule(22)
async def test_refund_attempts_reminder_batches_and_audit_stay_for_ever(rig: Rig) -> None:
    await rig.database.rows(
        "WITH r AS (INSERT INTO refunds (payment_intent_id, amount, currency) VALUES ('pi', 1, 'eur') RETURNING id)"
        " INSERT INTO refund_attempts (refund_id, generation, idempotency_key, run_id, run_attempt, started_at)"
        f" SELECT id, 1, 'k', id, 1, {OLD} FROM r RETURNING id"
    )
    await rig.database.rows(
        f"INSERT INTO reminder_batches (tag, content, created_at) VALUES ('t', '{{}}', {OLD}) RETURNING id"
    )
    await rig.database.rows(
        "INSERT INTO audit_log (actor, action, subject_kind, subject_id, at)"
        f" VALUES ('a', 'retried', 'run', 'x', {OLD}) RETURNING id"
    )

    await clean(rig)

    for table in ("refund_attempts", "reminder_batches", "audit_log"):
        assert [row.n for row in await rig.database.rows(f"SELECT count(*) AS n FROM {table}")] == [1], table


async def test_applied_events_go_and_waiting_ones_stay_however_old(rig: Rig) -> None:
    await rig.database.rows(
        "INSERT INTO webhook_events (provider, event_id, type, body, received_at, applied_at) VALUES"
        f" ('stripe', 'old', 't', '{{}}', {OLD}, {OLD}), ('stripe', 'young', 't', '{{}}', {YOUNG}, {YOUNG}),"
        f" ('brevo', 'waiting', 't', '{{}}', {OLD}, NULL) RETURNING event_id"
    )

    assert (await clean(rig))["webhook_events"] == 1

    left = await rig.database.rows("SELECT event_id FROM webhook_events ORDER BY event_id")
    assert [row.event_id for row in left] == ["waiting", "young"]


async def test_the_latest_term_stays_even_if_it_is_old(rig: Rig) -> None:
    for holder in ("first", "last"):
        await rig.database.rows(
            f"INSERT INTO leader_terms (holder, started_at) VALUES ('{holder}', {OLD}) RETURNING term"
        )

    assert (await clean(rig))["leader_terms"] == 1

    assert [row.holder for row in await rig.database.rows("SELECT holder FROM leader_terms")] == ["last"]


async def test_more_than_a_batch_goes_batch_by_batch(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleanup, "BATCH", 3)
    await rig.database.rows(
        "INSERT INTO job_runs (job, queue, state, finished_at)"
        f" SELECT 'ping', 'refunds', 'succeeded', {OLD} FROM generate_series(1, 10) RETURNING id"
    )

    assert (await clean(rig))["job_runs"] == 10
