"""The run ledger, simulated: what each statement of `shared/db/sql` does to the rows. `test_conformance.py` holds it to the
real ones."""

import json
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.exc import DataError, IntegrityError

from scheduler_svc import sweeper
from shared.core.states import LIVE
from tests.model.database import Database, Row, Tx, answers, refuse

RUNS = "job_runs"
#: Without rule 22: the ledger's partitions, in seconds of `enqueued_at`.
PARTITION_S = 20.0


@dataclass(frozen=True)
class Run:
    id: UUID
    job: str
    queue: str
    args: Any
    priority: int
    max_attempts: int
    run_at: datetime
    enqueued_at: datetime
    key: str | None = None
    schedule_id: str | None = None
    schedule_generation: int | None = None
    due_at: datetime | None = None
    coalesced: int = 0
    overlap: str = "allow"
    state: str = "pending"
    attempt: int = 0
    losses: int = 0
    worker: str | None = None
    lease_until: datetime | None = None
    cancel_requested: bool = False
    error: str | None = None
    reason: str | None = None
    result: Any = field(default=None, hash=False)
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    def __str__(self) -> str:
        return f"run {self.id.int} {self.job} {self.state}:{self.attempt}/{self.max_attempts} {self.error or self.reason or ''}"


def paused(tx: Tx, run: Run) -> bool:
    """Rule 23."""
    places = (("queue", run.queue), ("job", run.job), ("schedule", run.schedule_id))
    return tx.database.world.rules.on(23) and any(tx.get("pauses", place) is not None for place in places)


def _matches(tx: Tx, message: tuple[UUID, int], *states: str) -> Run | None:
    """The run that a message stands for (rule 5)."""
    run: Run | None = tx.get(RUNS, message[0])
    if run is None or (tx.database.world.rules.on(5) and run.attempt != message[1] - 1):
        return None
    return run if run.state in states or not tx.database.world.rules.on(5) else None


def save(tx: Tx, run: Run, **changes: Any) -> Run:
    changed = replace(run, **changes)
    assert (changed.state == "running") == (changed.lease_until is not None)
    tx.put(RUNS, run.id, changed)
    return changed


def insert(tx: Tx, **columns: Any) -> Run:
    now = tx.now()
    run = Run(**{"id": UUID(int=tx.database.next("runs")), "run_at": now, "enqueued_at": now, **columns})
    tx.put(RUNS, run.id, run)
    return run


def taken(tx: Tx, *unique: Any, now: datetime) -> bool:
    """Whether a unique key is; waits for whoever is about to take it. Without rule 22 each partition has keys of its own."""
    if not tx.database.world.rules.on(22):
        unique = (*unique, now.timestamp() // PARTITION_S)
    tx.lock("unique", *unique)
    if tx.get("unique", unique) is not None:
        return True
    tx.put("unique", unique, True)
    return False


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
        columns = dict(
            job=job, queue=queue, priority=priority, max_attempts=max_attempts, schedule_id=schedule_id
        )
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
        run = _matches(tx, message, "pending", "queued")
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
        changes = dict(worker=worker, started_at=now, queued_at=None, lease_until=lease)
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
            other.schedule_id == run.schedule_id and other.overlap == "queue" and other.schedule_id is not None
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
        cost = dict(max_attempts=run.max_attempts + free[n])
        if free[n] and not rules.on(4):
            cost = dict(attempt=run.attempt - 1)
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
            **cost,  # type: ignore[arg-type]
        )
        db.world.watch.outcome(run, attempts[n])
    return [Row(id=run.id) for _, run in held]


@answers("relay_pick")
def relay_pick(db: Database, tx: Tx, *, queues: list[str], per_queue: int) -> list[Row]:
    now, runs = tx.now(), tx.rows(RUNS)
    heads: dict[str, Run] = {}
    series = [r for r in runs if r.overlap == "queue" and r.due_at is not None and r.state in LIVE]
    for run in sorted(series, key=lambda r: (r.state == "pending", r.schedule_generation, r.due_at)):
        heads.setdefault(str(run.schedule_id), run)
    due = [
        run
        for run in runs
        if run.state == "pending" and run.run_at <= now and not paused(tx, run)
        if run.overlap != "queue"
        or run.due_at is None
        or heads[run.schedule_id].id == run.id
        or not db.world.rules.on(19)
    ]
    picked = []
    for queue in queues:
        mine = sorted((r for r in due if r.queue == queue), key=lambda r: (r.run_at, r.id))
        picked += [Row(id=r.id, attempt=r.attempt + 1, queue=queue, priority=r.priority) for r in mine[:per_queue]]
    return picked


@answers("relay_mark")
def relay_mark(db: Database, tx: Tx, *, ids: list[UUID], attempts: list[int]) -> list[Row]:
    marked = []
    for message in sorted(zip(ids, attempts, strict=True)):
        run = _matches(tx, message, "pending")
        due = run is not None and (run.run_at <= tx.now() or not db.world.rules.on(5)) and not paused(tx, run)
        if run is not None and due and tx.lock(RUNS, run.id, skip=True):
            marked.append(save(tx, run, state="queued", queued_at=tx.now(), lease_until=None))
    return [Row(id=run.id) for run in marked]


@answers("unqueue")
def unqueue(db: Database, tx: Tx, *, ids: list[UUID], attempts: list[int], delay_s: float) -> list[Row]:
    later = tx.now() + timedelta(seconds=delay_s)
    for message in sorted(zip(ids, attempts, strict=True)):
        run = _matches(tx, message, "pending", "queued")
        if run is not None:
            tx.lock(RUNS, run.id)
            save(tx, run, state="pending", queued_at=None, run_at=later, lease_until=None)
    return []


@answers("sweep_pick")
def sweep_pick(db: Database, tx: Tx, *, most: int) -> list[Row]:
    lost = []
    for run in tx.rows(RUNS):
        if run.state == "running" and run.lease_until < tx.now() and len(lost) < most:
            if tx.lock(RUNS, run.id, skip=True):
                lost.append(run)
                db.world.watch.judged(run)
    names = ("id", "job", "attempt", "max_attempts")
    return [Row({**{n: getattr(run, n) for n in names}, "losses": run.losses + 1}) for run in lost]


@answers("sweep_note")
def sweep_note(db: Database, tx: Tx, *, ids: list[UUID]) -> list[Row]:
    for run_id in ids:
        tx.lock(RUNS, run_id)
        run = tx.get(RUNS, run_id)
        save(tx, run, losses=run.losses + 1)
    return []


@answers(sweeper._SERVER_IS_YOUNG)
def server_is_young(db: Database, tx: Tx, *, lease_s: float) -> list[Row]:
    return [Row(young=db.world.rules.on(12) and db.world.now - db.started_at < lease_s)]


@answers("queued_page")
def queued_page(db: Database, tx: Tx, *, after: UUID, most: int, older_than_s: float) -> list[Row]:
    before = tx.now() - timedelta(seconds=older_than_s)
    page = [r for r in tx.rows(RUNS) if r.state == "queued" and r.id > after and r.queued_at < before]
    return [Row(id=r.id, attempt=r.attempt + 1, queue=r.queue, priority=r.priority) for r in page[:most]]


@answers("cancel")
def cancel(db: Database, tx: Tx, *, id: UUID, reason: str) -> list[Row]:
    run: Run | None = tx.get(RUNS, id)
    if run is None or run.state not in LIVE:
        return []
    tx.lock(RUNS, id)
    if run.state == "running":
        return [Row(id=id, state=save(tx, run, cancel_requested=True).state)]
    ended = dict(reason=reason, finished_at=tx.now(), queued_at=None)
    return [Row(id=id, state=save(tx, run, state="cancelled", cancel_requested=True, **ended).state)]  # type: ignore[arg-type]


@answers("replay")
def replay(db: Database, tx: Tx, *, id: UUID, more: int) -> list[Row]:
    run: Run | None = tx.get(RUNS, id)
    if run is None or run.state != "dead":
        return []
    tx.lock(RUNS, id)
    attempt = run.attempt if db.world.rules.on(4) else 0
    fresh = dict(max_attempts=attempt + more, losses=0, cancel_requested=False, finished_at=None)
    run = save(tx, run, state="pending", run_at=tx.now(), attempt=attempt, **fresh)
    return [Row(id=run.id, attempt=run.attempt + 1, queue=run.queue, priority=run.priority)]
