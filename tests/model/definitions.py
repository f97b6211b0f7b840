"""Who defines, pauses and resumes schedules; terms, and what PostgreSQL knows of Redis: simulated."""

import json
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError

from scheduler_svc import definitions, pausing
from tests.model.database import Database, Row, Tx, answers, refuse
from tests.model.runs import insert, taken
from tests.model.stores import SCHEDULES, Schedule


def generation(db: Database) -> int:
    """Rule 18."""
    return db.next("schedule_generations") if db.world.rules.on(18) else 1


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
    new = {
        "job_state": json.loads(job_state),
        "generation": generation(db),
        "broken": None,
        "broken_due": None,
    }
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
        fire_of = {"schedule_id": id, "schedule_generation": row.generation, "due_at": due_at}
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
