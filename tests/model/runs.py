"""A row of the simulated run ledger, and what its statements have in common."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from tests.model.database import Tx

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


def named(tx: Tx, message: tuple[UUID, int], *states: str) -> Run | None:
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
