"""What relay and sweeper do to the run ledger, simulated."""

from datetime import timedelta
from uuid import UUID

from scheduler_svc import sweeper
from shared.core.states import LIVE
from tests.model.database import Database, Row, Tx, answers
from tests.model.runs import RUNS, Run, named, paused, save


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
        picked += [
            Row(id=r.id, attempt=r.attempt + 1, queue=queue, priority=r.priority) for r in mine[:per_queue]
        ]
    return picked


@answers("relay_mark")
def relay_mark(db: Database, tx: Tx, *, ids: list[UUID], attempts: list[int]) -> list[Row]:
    marked = []
    for message in sorted(zip(ids, attempts, strict=True)):
        run = named(tx, message, "pending")
        due = run is not None and (run.run_at <= tx.now() or not db.world.rules.on(5)) and not paused(tx, run)
        if run is not None and due and tx.lock(RUNS, run.id, skip=True):
            marked.append(save(tx, run, state="queued", queued_at=tx.now(), lease_until=None))
    return [Row(id=run.id) for run in marked]


@answers("unqueue")
def unqueue(db: Database, tx: Tx, *, ids: list[UUID], attempts: list[int], delay_s: float) -> list[Row]:
    later = tx.now() + timedelta(seconds=delay_s)
    for message in sorted(zip(ids, attempts, strict=True)):
        run = named(tx, message, "pending", "queued")
        if run is not None:
            tx.lock(RUNS, run.id)
            save(tx, run, state="pending", queued_at=None, run_at=later, lease_until=None)
    return []


@answers("sweep_pick")
def sweep_pick(db: Database, tx: Tx, *, most: int) -> list[Row]:
    lost = []
    for run in tx.rows(RUNS):
        late = run.state == "running" and run.lease_until < tx.now()
        if late and len(lost) < most and tx.lock(RUNS, run.id, skip=True):
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
