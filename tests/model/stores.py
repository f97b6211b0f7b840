"""Schedules, simulated: the firing pass's statements, and those of who defines, pauses and mends schedules."""

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError

from scheduler_svc import definitions, pausing
from scheduler_svc.rows import decode_state, to_epoch
from scheduler_svc.triggers import make_trigger
from shared.core.states import LIVE
from tests.model.database import Database, Row, Tx, answers, refuse
from tests.model.ledger import RUNS, insert, taken
from tests.model.world import instant

SCHEDULES = "schedules"


@dataclass(frozen=True)
class Schedule:
    id: str
    store: str
    job_state: Any
    next_run_time: float | None = None
    generation: int = 0
    misfire_grace_s: float | None = None
    catch_up: bool = False
    overlap: str | None = None
    version: int | None = None
    settings_hash: str | None = None
    edited_by: str | None = None
    paused_from: float | None = None
    broken: str | None = None
    broken_due: float | None = None

    @property
    def upcoming(self) -> float | None:
        """The first fire that is not in the ledger yet, paused and broken schedules' too."""
        waiting = (self.next_run_time, self.paused_from, self.broken_due)
        return next((each for each in waiting if each is not None), None)


def generation(db: Database) -> int:
    """Rule 18."""
    return db.next("schedule_generations") if db.world.rules.on(18) else 1


@answers("fire_due")
def fire_due(
    db: Database, tx: Tx, *, queues: list[str], most: int, counting: list[str], only: list[str] | None
) -> list[Row]:
    now = tx.now()
    epoch, runs = to_epoch(now), tx.rows(RUNS)
    nexts = [s for s in tx.rows(SCHEDULES) if s.next_run_time is not None]
    later = [s.next_run_time - epoch for s in nexts if s.next_run_time > epoch]
    waiting = [r.run_at for r in runs if r.state == "pending" and r.queue in queues]
    head = dict(
        now=now,
        next_due_s=min([*later, 3600.0]) if later else None,
        relay_in_s=max(0.0, min((min(waiting) - now).total_seconds(), 3600.0)) if waiting else None,
        resets=False,
        leases_lost=any(r.state == "running" and r.lease_until < now for r in runs),
    )
    due = [s for s in nexts if s.next_run_time <= epoch and s.id not in counting]
    if only is not None:
        due = [s for s in due if s.id in only]
    due = sorted(due, key=lambda s: s.next_run_time)[:most]
    return [Row(**head, **asdict(s)) for s in due] or [Row(**head, id=None)]


@answers("fire")
def fire(db: Database, tx: Tx, **p: Any) -> list[Row]:
    rules, before, held = db.world.rules, tx.rows(RUNS), []
    for n, schedule_id in enumerate(p["ids"]):
        row: Schedule | None = tx.get(SCHEDULES, schedule_id)
        same = row is not None and row.generation == p["generations"][n] and row.store == p["stores"][n]
        current = row is not None and (row.next_run_time == p["was"][n] or not rules.on(20))
        if row is not None and same and current and tx.lock(SCHEDULES, schedule_id, skip=True):
            held.append((n, row))
    written = []
    for n, row in held:
        upcoming = p["next"][n]
        if upcoming is not None and not rules.on(2):  # asked with the host's clock, as APScheduler does
            upcoming = to_epoch(_asked_by_wall_clock(db, row))
        tx.put(SCHEDULES, row.id, None if upcoming is None else replace(row, next_run_time=upcoming))
        busy = any(r.schedule_id == row.id and r.state in LIVE for r in before)
        overlaps = rules.on(19) and p["overlaps"][n] == "skip" and busy
        plan = [i for i, of in enumerate(p["ns"]) if of == n + 1]
        states = []
        for i in plan:
            if taken(tx, "fire", row.id, row.generation, p["due_ats"][i], now=tx.now()):
                continue
            skipped = p["skipped"][i] or ("overlap" if overlaps else None)
            run = insert(
                tx,
                job=p["jobs"][n],
                queue=p["queues"][n],
                args={},
                priority=p["priorities"][n],
                max_attempts=p["max_attempts"][n],
                overlap=p["overlaps"][n],
                schedule_id=row.id,
                schedule_generation=row.generation,
                due_at=p["due_ats"][i],
                coalesced=p["coalesced"][i],
                state="skipped" if skipped else "pending",
                reason=skipped,
                finished_at=tx.now() if skipped else None,
            )
            states.append(run.state)
        written.append(Row(n=n + 1, id=row.id, runs=len(states), skipped=states.count("skipped")))
    return written


def _asked_by_wall_clock(db: Database, row: Schedule) -> datetime:
    assert db.world.asking is not None
    wall = instant(db.world.now + db.world.asking.skew_s)
    upcoming = make_trigger(decode_state(row.job_state).trigger).first(wall)
    assert upcoming is not None
    return upcoming


@answers("fire_break")
def fire_break(
    db: Database, tx: Tx, *, ids: list[str], generations: list[int], was: list[float], reasons: list[str]
) -> list[Row]:
    marked = []
    for schedule_id, number, due, reason in zip(ids, generations, was, reasons, strict=True):
        row: Schedule | None = tx.get(SCHEDULES, schedule_id)
        if row is not None and row.generation == number and row.next_run_time == due and db.world.rules.on(21):
            tx.lock(SCHEDULES, schedule_id)
            tx.put(SCHEDULES, row.id, replace(row, broken=reason, broken_due=due, next_run_time=None))
            marked.append(Row(id=row.id))
    return marked


@answers("SELECT id, generation, job_state, broken_due FROM schedules WHERE broken IS NOT NULL ORDER BY id")
def broken(db: Database, tx: Tx) -> list[Row]:
    return [Row(asdict(s)) for s in tx.rows(SCHEDULES) if s.broken is not None]


@answers("fire_mend")
def fire_mend(db: Database, tx: Tx, *, ids: list[str], generations: list[int]) -> list[Row]:
    mended = []
    for schedule_id, number in zip(ids, generations, strict=True):
        row: Schedule | None = tx.get(SCHEDULES, schedule_id)
        if row is None or row.generation != number or row.broken is None:
            continue
        tx.lock(SCHEDULES, schedule_id)
        on_hold = tx.get("pauses", ("schedule", row.id)) is not None
        due, held = (None, row.paused_from or row.broken_due) if on_hold else (row.broken_due, row.paused_from)
        changed = replace(row, broken=None, broken_due=None, next_run_time=due, paused_from=held)
        tx.put(SCHEDULES, row.id, changed)
        mended.append(Row(id=row.id))
    return mended


# ------------------------------------------------------------------------------------------- definitions and pauses


@answers(definitions._LOCKED)
def lock_rows(db: Database, tx: Tx, *, ids: list[str]) -> list[Row]:
    rows = []
    for schedule_id in sorted(ids):
        if tx.get(SCHEDULES, schedule_id) is not None:
            tx.lock(SCHEDULES, schedule_id)
            on_hold = tx.get("pauses", ("schedule", schedule_id)) is not None
            rows.append(Row(**asdict(tx.get(SCHEDULES, schedule_id)), now=tx.now(), paused=on_hold))
    return rows


@answers(definitions._INSERT)
def insert_schedule(db: Database, tx: Tx, *, id: str, job_state: str, **columns: Any) -> list[Row]:
    tx.lock(SCHEDULES, id)
    if tx.get(SCHEDULES, id) is not None:
        raise refuse(IntegrityError, "schedule_ids")
    state = json.loads(job_state)
    tx.put(SCHEDULES, id, Schedule(id=id, job_state=state, generation=generation(db), **columns))
    return []


@answers(definitions._UPDATE)
def update_schedule(db: Database, tx: Tx, *, id: str, job_state: str, **columns: Any) -> list[Row]:
    tx.lock(SCHEDULES, id)
    new = dict(job_state=json.loads(job_state), generation=generation(db), broken=None, broken_due=None)
    tx.put(SCHEDULES, id, replace(tx.get(SCHEDULES, id), **new, **columns))
    return []


@answers("DELETE FROM schedules WHERE id = :id")
def delete_schedule(db: Database, tx: Tx, *, id: str) -> list[Row]:
    tx.lock(SCHEDULES, id)
    tx.put(SCHEDULES, id, None)
    return []


@answers("SELECT pg_advisory_xact_lock(hashtext('cuebx schedules'))")
def lock_definitions(db: Database, tx: Tx) -> list[Row]:
    tx.lock("advisory")
    return []


@answers("SELECT id FROM schedule_removals", "SELECT id FROM schedule_resets")
def none(db: Database, tx: Tx) -> list[Row]:
    return []


@answers("SELECT now()")
def now(db: Database, tx: Tx) -> list[Row]:
    return [Row(now=tx.now())]


@answers(pausing._PAUSE)
def pause_schedule(db: Database, tx: Tx, *, id: str, reason: str, actor: str) -> list[Row]:
    tx.lock("pauses", ("schedule", id))
    if tx.get("pauses", ("schedule", id)) is not None:
        return []
    tx.put("pauses", ("schedule", id), reason)
    return [Row(name=id)]


@answers(pausing._PARK)
def park(db: Database, tx: Tx, *, id: str) -> list[Row]:
    tx.lock(SCHEDULES, id)
    row: Schedule = tx.get(SCHEDULES, id)
    first = row.paused_from if row.next_run_time is None else row.next_run_time
    tx.put(SCHEDULES, id, replace(row, paused_from=first, next_run_time=None))
    return []


@answers(pausing._UNPAUSE)
def unpause(db: Database, tx: Tx, *, id: str) -> list[Row]:
    tx.lock("pauses", ("schedule", id))
    ended = tx.get("pauses", ("schedule", id)) is not None
    tx.put("pauses", ("schedule", id), None)
    return [Row(name=id)] if ended else []


@answers(pausing._GO_ON)
def go_on(db: Database, tx: Tx, *, id: str, next: float) -> list[Row]:
    tx.lock(SCHEDULES, id)
    row: Schedule = tx.get(SCHEDULES, id)
    if row.broken is None:
        tx.put(SCHEDULES, id, replace(row, next_run_time=next, paused_from=None))
    return []


@answers(pausing._SKIPPED)
def insert_skipped(db: Database, tx: Tx, *, id: str, due_at: datetime, **columns: Any) -> list[Row]:
    row: Schedule = tx.get(SCHEDULES, id)
    key = ("fire", id, row.generation, due_at)
    if db.world.rules.on(23) and not taken(tx, *key, now=tx.now()):
        fire_of = dict(schedule_id=id, schedule_generation=row.generation, due_at=due_at)
        args = row.job_state["args"]
        insert(tx, **columns, **fire_of, args=args, overlap="skip", state="skipped", finished_at=tx.now())
    return []


# ------------------------------------------------------------------------------------------------- terms and marks


@answers("INSERT INTO leader_terms (holder) VALUES (:holder) RETURNING term")
def begin_term(db: Database, tx: Tx, *, holder: str) -> list[Row]:
    return [Row(term=db.next("leader_terms"))]


@answers("SELECT redis_run_id, counter FROM redis_marks")
def read_mark(db: Database, tx: Tx) -> list[Row]:
    mark = tx.get("redis_marks", 1)
    return [] if mark is None else [Row(redis_run_id=mark[0], counter=mark[1])]


@answers(
    "INSERT INTO redis_marks (redis_run_id, counter) VALUES (:identity, :counter) ON CONFLICT (one) DO UPDATE"
    " SET redis_run_id = excluded.redis_run_id, counter = excluded.counter, seen_at = now() RETURNING counter"
)
def write_mark(db: Database, tx: Tx, *, identity: str, counter: int) -> list[Row]:
    tx.lock("redis_marks", 1)
    tx.put("redis_marks", 1, (identity, counter))
    return [Row(counter=counter)]
