"""The run ledger, simulated: what each statement of `shared/db/sql` does to the rows. `test_conformance.py` holds it to the
real ones. Here: what enqueuers, workers and people do; `ledger_relay.py` has relay and sweeper."""

import json
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.exc import DataError, IntegrityError

from shared.core.states import LIVE
from tests.model.database import Database, Row, Tx, answers, refuse
from tests.model.runs import RUNS, Run, insert, named, paused, save, taken


@answers("enqueue")
def enqueue(
    db: Database,
    tx: Tx,
    *,
    job: str,
    queue: str,
    priority: int,
    max_attempts: int,
    schedule_id: str | None,
    args: list[str],
    keys: list[str | None],
    run_ats: list[datetime | None],
) -> list[Row]:
    now = tx.now()
    order = sorted(range(len(args)), key=lambda n: (keys[n] is None, keys[n] or "", n))
    for key in sorted({key for key in keys if key is not None}):
        tx.lock("key", job, key)
    ids: dict[int, UUID] = {}
    for n in order:
        if keys[n] is not None and taken(tx, "key", job, keys[n], now=now) and db.world.rules.on(36):
            continue
        columns = {
            "job": job,
            "queue": queue,
            "priority": priority,
            "max_attempts": max_attempts,
            "schedule_id": schedule_id,
        }
        ids[n] = insert(tx, **columns, args=json.loads(args[n]), key=keys[n], run_at=run_ats[n] or now).id
    return [
        Row(ord=n + 1, id=ids.get(n), key=keys[n], due=(run_ats[n] or now) <= now) for n in range(len(args))
    ]


@answers("SELECT key, id FROM job_runs WHERE job = :job AND key = ANY (CAST(:keys AS text[]))")
def find_keys(db: Database, tx: Tx, *, job: str, keys: list[str]) -> list[Row]:
    return [Row(key=run.key, id=run.id) for run in tx.rows(RUNS) if run.job == job and run.key in keys]


@answers("claim")
def claim(
    db: Database, tx: Tx, *, ids: list[UUID], attempts: list[int], worker: str, lease_s: float
) -> list[Row]:
    now = tx.now()
    found = {}
    for message in sorted(zip(ids, attempts, strict=True)):
        run = named(tx, message, "pending", "queued")
        if run is not None and run.run_at <= now:
            tx.lock(RUNS, run.id)
            found[run.id] = run
    claimed = []
    for run in found.values():
        if paused(tx, run):
            save(tx, run, state="pending", queued_at=None)
            continue
        _one_running(tx, run)
        lease = now + timedelta(seconds=lease_s)
        changes = {"worker": worker, "started_at": now, "queued_at": None, "lease_until": lease}
        claimed.append(save(tx, run, state="running", attempt=run.attempt + 1, **changes))
    names = "id job queue args attempt max_attempts losses cancel_requested schedule_id due_at overlap enqueued_at started_at"
    return [Row({name: getattr(run, name) for name in names.split()}) for run in claimed]


def _one_running(tx: Tx, run: Run) -> None:
    """The partial unique index below rule 19."""
    if run.overlap != "queue" or not tx.database.world.rules.on(19):
        return
    tx.lock("running", run.schedule_id)
    for other in tx.rows(RUNS):
        same = (
            other.schedule_id == run.schedule_id
            and other.overlap == "queue"
            and other.schedule_id is not None
        )
        if same and other.state == "running" and other.id != run.id:
            raise refuse(IntegrityError, "job_runs_one_running")


@answers("heartbeat")
def heartbeat(db: Database, tx: Tx, *, ids: list[UUID], attempts: list[int], lease_s: float) -> list[Row]:
    beats = []
    lease = tx.now() + timedelta(seconds=lease_s)
    for run_id, attempt in zip(ids, attempts, strict=True):
        run: Run | None = tx.get(RUNS, run_id)
        mine = run is not None and run.state == "running" and run.attempt == attempt
        renewed = run is not None and mine and tx.lock(RUNS, run_id, skip=True)
        if run is not None and renewed and db.world.rules.on(11):
            save(tx, run, lease_until=lease)
        requested = run is not None and run.cancel_requested
        beats.append(
            Row(id=run_id, attempt=attempt, renewed=renewed, lost=not mine, cancel_requested=requested)
        )
    return beats


@answers("finish")
def finish(
    db: Database,
    tx: Tx,
    *,
    ids: list[UUID],
    attempts: list[int],
    states: list[str],
    delays: list[float],
    run_ats: list[datetime | None],
    free: list[bool],
    errors: list[str | None],
    results: list[str | None],
) -> list[Row]:
    now, rules = tx.now(), db.world.rules
    plain = len(ids) - len(states)
    states, results = [*states, *["succeeded"] * plain], [*results, *["{}"] * plain]
    delays, run_ats = [*delays, *[0.0] * plain], [*run_ats, *[None] * plain]
    free, errors = [*free, *[False] * plain], [*errors, *[None] * plain]
    held = []
    for n in sorted(range(len(ids)), key=lambda n: ids[n]):
        run: Run | None = tx.get(RUNS, ids[n])
        if run is not None and (not rules.on(6) or (run.state == "running" and run.attempt == attempts[n])):
            tx.lock(RUNS, run.id)
            held.append((n, run))
    if any("\\u0000" in (results[n] or "") for n, _ in held):
        raise refuse(DataError, "unsupported Unicode escape sequence")
    for n, run in held:
        back, error = states[n] == "pending", errors[n]
        run_at = (run_ats[n] or now + timedelta(seconds=delays[n])) if back else run.run_at
        cost = {"max_attempts": run.max_attempts + free[n]}
        if free[n] and not rules.on(4):
            cost = {"attempt": run.attempt - 1}
        save(
            tx,
            run,
            state=states[n],
            run_at=run_at,
            lease_until=None,
            worker=None,
            queued_at=None,
            error=(run.error if error is None else error)
            if back
            else (None if states[n] == "cancelled" else error),
            reason=error if states[n] == "cancelled" else run.reason,
            result=None if results[n] is None else json.loads(str(results[n])),
            finished_at=None if back else now,
            **cost,
        )
        db.world.watch.outcome(run, attempts[n])
    return [Row(id=run.id) for _, run in held]


@answers("cancel")
def cancel(db: Database, tx: Tx, *, id: UUID, reason: str) -> list[Row]:
    run: Run | None = tx.get(RUNS, id)
    if run is None or run.state not in LIVE:
        return []
    tx.lock(RUNS, id)
    if run.state == "running":
        return [Row(id=id, state=save(tx, run, cancel_requested=True).state)]
    ended = {"reason": reason, "finished_at": tx.now(), "queued_at": None}
    return [Row(id=id, state=save(tx, run, state="cancelled", cancel_requested=True, **ended).state)]


@answers("replay")
def replay(db: Database, tx: Tx, *, id: UUID, more: int) -> list[Row]:
    run: Run | None = tx.get(RUNS, id)
    if run is None or run.state != "dead":
        return []
    tx.lock(RUNS, id)
    attempt = run.attempt if db.world.rules.on(4) else 0
    fresh = {"max_attempts": attempt + more, "losses": 0, "cancel_requested": False, "finished_at": None}
    run = save(tx, run, state="pending", run_at=tx.now(), attempt=attempt, **fresh)
    return [Row(id=run.id, attempt=run.attempt + 1, queue=run.queue, priority=run.priority)]
