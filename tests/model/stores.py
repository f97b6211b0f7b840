"""Schedules, simulated: the firing pass's statements, and that which mends what was broken."""

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from scheduler_svc.rows import DueRow, decode_state, to_epoch
from scheduler_svc.triggers import make_trigger
from shared.core.states import LIVE
from tests.model.database import Database, Row, Tx, answers
from tests.model.runs import RUNS, insert, paused, taken
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


@answers("fire_due")
def fire_due(
    db: Database, tx: Tx, *, queues: list[str], most: int, counting: list[str], only: list[str] | None
) -> list[Row]:
    now = tx.now()
    epoch, runs = to_epoch(now), tx.rows(RUNS)
    nexts = [s for s in tx.rows(SCHEDULES) if s.next_run_time is not None]
    later = [s.next_run_time - epoch for s in nexts if s.next_run_time > epoch]
    waiting = [r.run_at for r in runs if r.state == "pending" and r.queue in queues]
    head = {
        "now": now,
        "next_due_s": min([*later, 3600.0]) if later else None,
        "relay_in_s": max(0.0, min((min(waiting) - now).total_seconds(), 3600.0)) if waiting else None,
        "resets": False,
        "leases_lost": any(r.state == "running" and r.lease_until < now for r in runs),
    }
    due = [s for s in nexts if s.next_run_time <= epoch and s.id not in counting]
    if only is not None:
        due = [s for s in due if s.id in only]
    due = sorted(due, key=lambda s: s.next_run_time)[:most]
    columns = DueRow.__slots__
    return [Row(head | {name: getattr(s, name) for name in columns}) for s in due] or [Row(**head, id=None)]


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
        states, ready = [], []
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
            if run.state == "pending" and run.overlap != "queue" and not paused(tx, run):
                ready.append(str(run.id))
        skips = states.count("skipped")
        written.append(Row(n=n + 1, id=row.id, runs=len(states), skipped=skips, ready=ready or None))
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
        if (
            row is not None
            and row.generation == number
            and row.next_run_time == due
            and db.world.rules.on(21)
        ):
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
        due, held = (
            (None, row.paused_from or row.broken_due) if on_hold else (row.broken_due, row.paused_from)
        )
        changed = replace(row, broken=None, broken_due=None, next_run_time=due, paused_from=held)
        tx.put(SCHEDULES, row.id, changed)
        mended.append(Row(id=row.id))
    return mended
