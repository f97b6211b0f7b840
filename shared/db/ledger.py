"""The run ledger: every statement that moves a run, in batches from the start.

Each function takes an open connection or session and commits nothing: the caller's transaction decides. What a
compare-and-set refused is absent from the answer, never an error.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import JsonValue
from sqlalchemy import TextClause
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from shared.core.jobspec import JobSpec
from shared.core.outcomes import Decision
from shared.core.states import RunState
from shared.db.single import Single
from shared.db.statements import statement
from shared.ports import Message

Executor = AsyncConnection | AsyncSession
#: For what is one statement: it may also commit by itself.
AnyExecutor = Executor | Single
#: A success with nothing to tell.
PLAIN = Decision(RunState.SUCCEEDED, result={})


class ClaimedRun(NamedTuple):
    """A run under this worker's lease. `attempt` is the fence: every write carries it."""

    id: UUID
    job: str
    queue: str
    args: Mapping[str, JsonValue]
    attempt: int
    max_attempts: int
    losses: int
    cancel_requested: bool
    schedule_id: str | None
    due_at: datetime | None
    overlap: str
    enqueued_at: datetime
    started_at: datetime


class Finished(NamedTuple):
    """The decision for one attempt of one run."""

    run_id: UUID
    attempt: int
    decision: Decision


@dataclass(frozen=True, slots=True)
class Beat:
    """What a heartbeat found for one run. `lost`: another attempt, or none, owns it now."""

    run_id: UUID
    attempt: int
    renewed: bool
    lost: bool
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message and the queue it belongs to."""

    queue: str
    message: Message


@dataclass(frozen=True, slots=True)
class LostRun:
    """A run whose lease ran out, now for the `losses`-th time."""

    id: UUID
    job: str
    attempt: int
    max_attempts: int
    losses: int


@dataclass(frozen=True, slots=True)
class Inserted:
    """One row of an enqueue: a new run's id, or None where the key existed. `due`: it may be pushed now."""

    id: UUID | None
    key: str | None
    due: bool


async def _execute(db: AnyExecutor, sql: TextClause, **params: Any) -> Sequence[Any]:
    return (await db.execute(sql, params)).all()


async def enqueue(
    db: AnyExecutor,
    spec: JobSpec[Any],
    args: Sequence[Mapping[str, JsonValue]],
    *,
    keys: Sequence[str | None] | None = None,
    run_ats: Sequence[datetime | None] | None = None,
    schedule_id: str | None = None,
) -> list[Inserted]:
    """Inserts runs of one job; the answers in the order of `args`. `schedule_id` marks a manual run of a schedule."""
    rows = await _execute(
        db,
        statement("enqueue"),
        job=spec.name,
        queue=spec.queue.value,
        priority=spec.priority,
        max_attempts=spec.retry.max_attempts,
        schedule_id=schedule_id,
        args=[json.dumps(each) for each in args],
        keys=list(keys) if keys is not None else [None] * len(args),
        run_ats=list(run_ats) if run_ats is not None else [None] * len(args),
    )
    return [Inserted(row.id, row.key, row.due) for row in rows]


async def claim(
    db: AnyExecutor, messages: Sequence[Message], *, worker: str, lease_s: float
) -> list[ClaimedRun]:
    """Takes what the messages stand for under a lease of `lease_s` seconds (rule 5)."""
    rows = await _execute(
        db,
        statement("claim"),
        ids=[m.run_id for m in messages],
        attempts=[m.attempt for m in messages],
        worker=worker,
        lease_s=lease_s,
    )
    return [ClaimedRun(*row) for row in rows]  # in the order of claim.sql's RETURNING


async def heartbeat(db: AnyExecutor, runs: Sequence[tuple[UUID, int]], *, lease_s: float) -> list[Beat]:
    """Renews the leases of `runs`, given as (id, attempt)."""
    rows = await _execute(
        db,
        statement("heartbeat"),
        ids=[run_id for run_id, _ in runs],
        attempts=[attempt for _, attempt in runs],
        lease_s=lease_s,
    )
    return [Beat(row.id, row.attempt, row.renewed, row.lost, row.cancel_requested) for row in rows]


async def finish(db: AnyExecutor, finished: Sequence[Finished]) -> set[UUID]:
    """Records decisions (rule 6); the ids of the runs that were still this worker's."""
    # Most are plain: they come last, and the driver has nothing to encode of them but the id and the attempt.
    plain = [f for f in finished if f.decision == PLAIN]
    told = [f for f in finished if f.decision != PLAIN]
    rows = await _execute(
        db,
        statement("finish"),
        ids=[f.run_id for f in (*told, *plain)],
        attempts=[f.attempt for f in (*told, *plain)],
        states=[f.decision.state.value for f in told],
        delays=[f.decision.delay_s for f in told],
        run_ats=[f.decision.run_at for f in told],
        free=[f.decision.free for f in told],
        errors=[f.decision.error for f in told],
        results=[None if f.decision.result is None else json.dumps(f.decision.result) for f in told],
    )
    return {row.id for row in rows}


async def pick_due(db: AnyExecutor, queues: Sequence[str], *, per_queue: int) -> list[QueuedMessage]:
    """Due runs that wait for the relay."""
    rows = await _execute(db, statement("relay_pick"), queues=list(queues), per_queue=per_queue)
    return [_queued(row) for row in rows]


async def mark_queued(db: AnyExecutor, messages: Sequence[Message]) -> int:
    """Notes that messages were pushed; how many were still pending."""
    rows = await _execute(
        db,
        statement("relay_mark"),
        ids=[m.run_id for m in messages],
        attempts=[m.attempt for m in messages],
    )
    return len(rows)


async def unqueue(db: Executor, messages: Sequence[Message], *, delay_s: float) -> None:
    """Puts queued runs back to pending, unclaimed, due in `delay_s` seconds."""
    await db.execute(
        statement("unqueue"),
        {
            "ids": [m.run_id for m in messages],
            "attempts": [m.attempt for m in messages],
            "delay_s": delay_s,
        },
    )


async def pick_lost(db: Executor, *, most: int) -> list[LostRun]:
    """Locks runs whose lease ran out: decide and `finish` them in the same transaction, then `note_losses`."""
    rows = await _execute(db, statement("sweep_pick"), most=most)
    return [LostRun(**row._mapping) for row in rows]


async def note_losses(db: Executor, ids: Sequence[UUID]) -> None:
    await db.execute(statement("sweep_note"), {"ids": list(ids)})


async def queued_page(
    db: Executor, *, after: UUID, most: int, older_than_s: float = 0.0
) -> list[QueuedMessage]:
    """Queued runs by id, after `after`, that were queued at least `older_than_s` seconds ago (rule 14)."""
    rows = await _execute(db, statement("queued_page"), after=after, most=most, older_than_s=older_than_s)
    return [_queued(row) for row in rows]


async def cancel(db: Executor, run_id: UUID, *, reason: str) -> str | None:
    """`cancelled`, or `running` where it was only asked for; None for a run that is terminal or unknown."""
    rows = await _execute(db, statement("cancel"), id=run_id, reason=reason)
    return rows[0].state if rows else None


async def replay(db: Executor, run_id: UUID, *, more_attempts: int) -> QueuedMessage | None:
    """Makes a dead run pending again; its next message, or None where it is not dead."""
    rows = await _execute(db, statement("replay"), id=run_id, more=more_attempts)
    return _queued(rows[0]) if rows else None


def _queued(row: Any) -> QueuedMessage:
    return QueuedMessage(row.queue, Message(row.id, row.attempt, row.priority))
