"""The state of the whole in numbers: ledger, schedules, leadership, what a person must decide."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text

from shared.core.states import LIVE, TERMINAL, RunState
from shared.db.ledger import Executor

#: Something due for longer than this is overdue: nobody fires, relays or works.
OVERDUE_S = 15.0


@dataclass(frozen=True, slots=True)
class TermView:
    """A leader's term; `ended_at` None: the latest is under way, or its leader was lost."""

    term: int
    holder: str
    started_at: datetime
    ended_at: datetime | None
    end_reason: str | None


@dataclass(frozen=True, slots=True)
class LedgerSummary:
    """Counts by state: the live ones and the dead in full, the other terminal ones over the last hour."""

    live: dict[str, int]
    dead: int
    ended_last_hour: dict[str, int]
    overdue_runs: int
    schedules: int
    overdue_schedules: int
    broken_schedules: int
    refunds_need_review: int
    reminders_need_review: int


async def latest_term(db: Executor) -> TermView | None:
    """The newest term of leadership. Whether its leader lives, Redis knows: `shared.queue.insights.leader_lives`."""
    sql = text(
        "SELECT term, holder, started_at, ended_at, end_reason FROM leader_terms ORDER BY term DESC LIMIT 1"
    )
    row = (await db.execute(sql)).first()
    return None if row is None else TermView(*row)


async def summary(db: Executor) -> LedgerSummary:
    """The numbers of `cuebx status`."""
    states = (
        await db.execute(
            text("""
        SELECT state, true AS in_full, count(*) FROM job_runs WHERE state IN ('pending', 'queued', 'running') GROUP BY state
        UNION ALL SELECT 'dead', true, count(*) FROM job_runs WHERE state = 'dead'
        UNION ALL SELECT state, false, count(*) FROM job_runs WHERE state IN ('succeeded', 'dead', 'cancelled', 'skipped')
          AND finished_at > now() - interval '1 hour' GROUP BY state""")
        )
    ).all()
    in_full = {state: count for state, full, count in states if full}
    last_hour = {state: count for state, full, count in states if not full}
    sql = """
        SELECT (SELECT count(*) FROM job_runs WHERE state IN ('pending', 'queued')
                AND run_at < now() - make_interval(secs => :late)) AS overdue_runs,
          (SELECT count(*) FROM refunds WHERE status = 'needs_review') AS refunds,
          (SELECT count(*) FROM payment_reminders WHERE status = 'needs_review') AS reminders,
          count(*) AS schedules,
          count(*) FILTER (WHERE next_run_time < extract(epoch FROM now()) - :late) AS overdue_schedules,
          count(*) FILTER (WHERE broken IS NOT NULL) AS broken
        FROM schedules"""
    row = (await db.execute(text(sql), {"late": OVERDUE_S})).one()
    return LedgerSummary(
        live={state.value: in_full.get(state, 0) for state in RunState if state in LIVE},
        dead=in_full.get(RunState.DEAD, 0),
        ended_last_hour={state.value: last_hour.get(state, 0) for state in RunState if state in TERMINAL},
        overdue_runs=row.overdue_runs,
        schedules=row.schedules,
        overdue_schedules=row.overdue_schedules,
        broken_schedules=row.broken,
        refunds_need_review=row.refunds,
        reminders_need_review=row.reminders,
    )


async def broken_schedules(db: Executor) -> list[tuple[str, str]]:
    """Schedules that cannot be restored: id and why (rule 21)."""
    sql = text("SELECT id, broken FROM schedules WHERE broken IS NOT NULL ORDER BY id")
    return [(row.id, row.broken) for row in await db.execute(sql)]
