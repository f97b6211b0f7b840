"""Pruning by retention, in small batches that leave the tables usable meanwhile (rule 22)."""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import text

from shared.core.jobspec import NoArgs
from shared.core.outcomes import Done
from worker_svc.context import JobContext

BATCH = 2000

#: What ages, and how it is found. Refund attempts, reminder batches and the audit log are never pruned.
_PRUNED: Final[Mapping[str, str]] = {
    "job_runs": (
        "DELETE FROM job_runs WHERE id = ANY (ARRAY(SELECT id FROM job_runs"
        " WHERE state IN ('succeeded', 'dead', 'cancelled', 'skipped') AND finished_at < now() - CAST(:age AS interval)"
        " ORDER BY finished_at LIMIT :batch FOR UPDATE SKIP LOCKED)) RETURNING 1"
    ),
    "webhook_events": (
        "DELETE FROM webhook_events WHERE (provider, event_id) IN (SELECT provider, event_id FROM webhook_events"
        " WHERE applied_at < now() - CAST(:age AS interval) LIMIT :batch FOR UPDATE SKIP LOCKED) RETURNING 1"
    ),
    "leader_terms": (
        "DELETE FROM leader_terms WHERE term IN (SELECT term FROM leader_terms"
        " WHERE started_at < now() - CAST(:age AS interval) AND term < (SELECT max(term) FROM leader_terms)"
        " ORDER BY term LIMIT :batch) RETURNING 1"
    ),
}


async def daily_cleanup(context: JobContext, _: NoArgs) -> Done:
    """Deletes what ended longer ago than the retention; how many rows of each table."""
    pruned: dict[str, int] = {}
    for table, sql in _PRUNED.items():
        pruned[table] = 0
        while True:
            context.lease.check()
            async with context.services.database.session() as session:
                rows = (
                    await session.execute(text(sql), {"age": context.services.retention, "batch": BATCH})
                ).all()
            pruned[table] += len(rows)
            if len(rows) < BATCH:
                break
        context.log.info("pruned", table=table, rows=pruned[table])
    return Done({**pruned})
