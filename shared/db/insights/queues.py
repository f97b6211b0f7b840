"""Queues: how much waits, for how long, and what is paused."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from shared.core.jobspec import Queue
from shared.db.ledger import Executor


@dataclass(frozen=True, slots=True)
class QueueView:
    """`depth` waits, `ready` of it is due now, `oldest_s` is how long the oldest of these has been due, in seconds."""

    name: str
    depth: int
    ready: int
    running: int
    oldest_s: float | None
    dead: int
    paused: bool
    pause_reason: str | None
    pause_cause: str | None
    paused_by: str | None
    paused_at: datetime | None
    probe_at: datetime | None


async def list_queues(db: Executor) -> list[QueueView]:
    """Every queue there is, and any other that the ledger has live runs of."""
    sql = text("""
        WITH counted AS (
          SELECT queue, count(*) FILTER (WHERE state <> 'running') AS depth,
            count(*) FILTER (WHERE state <> 'running' AND run_at <= now()) AS ready,
            count(*) FILTER (WHERE state = 'running') AS running,
            extract(epoch FROM now() - min(run_at) FILTER (WHERE state <> 'running' AND run_at <= now())) AS oldest_s
          FROM job_runs WHERE state IN ('pending', 'queued', 'running') GROUP BY queue
        ), dead AS (
          SELECT queue, count(*) AS dead FROM job_runs WHERE state = 'dead' GROUP BY queue
        ), name AS (
          SELECT unnest(CAST(:queues AS text[])) AS queue UNION SELECT queue FROM counted
        )
        SELECT n.queue, coalesce(c.depth, 0) AS depth, coalesce(c.ready, 0) AS ready, coalesce(c.running, 0) AS running,
          c.oldest_s, coalesce(d.dead, 0) AS dead, p.name IS NOT NULL AS paused, p.reason, p.cause, p.actor, p.created_at,
          p.probe_at
        FROM name n LEFT JOIN counted c USING (queue) LEFT JOIN dead d USING (queue)
        LEFT JOIN pauses p ON p.kind = 'queue' AND p.name = n.queue
        ORDER BY array_position(CAST(:queues AS text[]), n.queue), n.queue""")
    rows = await db.execute(sql, {"queues": [queue.value for queue in Queue]})
    return [
        QueueView(
            r.queue, r.depth, r.ready, r.running, None if r.oldest_s is None else float(r.oldest_s), r.dead,
            r.paused, r.reason, r.cause, r.actor, r.created_at, r.probe_at,
        )
        for r in rows
    ]  # fmt: skip
