"""A pass over the schedules that are due: read, plan outside any transaction, write run and advance in one.

Everything here is synchronous and runs in a thread of its own, off the event loop. Who calls it may not be the only one
to do so: each write is a compare-and-set, so that two leaders, or a leader and an operator's edit, cannot fire twice.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, TextClause, text
from sqlalchemy.exc import DBAPIError

from scheduler_svc import metrics
from scheduler_svc.planned import Planned, Written, in_batches, parameters, ready, tell
from scheduler_svc.reading import BATCH, DueSchedules, Look
from scheduler_svc.rows import DueRow, DueSchedule, to_epoch
from shared.core.decide import clean_text
from shared.core.firing import Tally, TriggerStuck, count_fires, kept_for, plan_fires
from shared.core.jobspec import JobSpec
from shared.db.errors import is_outage
from shared.db.statements import statement
from shared.failpoints import Point, failpoint
from shared.ports import Message

log = structlog.get_logger(__name__)

#: Steps of counting in one pass: about a tenth of a second.
COUNTING_BUDGET = 4000
FIRST_SHARE = 50
#: However far away the next fire is: edits of other processes are noticed within this time.
POLL_S = 1.0
#: A schedule that is being edited at this moment is tried again after this time.
CONTENDED_S = 0.05


@dataclass(frozen=True, slots=True)
class Pass:
    """What a pass did. `wait_s`: until the next one; `relay_in_s`: until the earliest pending run is due, an hour at most.

    `leases_lost`: there is work for the sweeper. `runs` are those that are to run, and `ready` those of them that the relay
    can push without looking them up, by queue; `due` counts the schedules that were due, still being counted ones included.
    """

    wait_s: float
    relay_in_s: float | None = None
    schedules: int = 0
    runs: int = 0
    due: int = 0
    resets: bool = False
    leases_lost: bool = False
    ready: Mapping[str, Sequence[Message]] = field(default_factory=dict)


class Firing:
    """Fires what is due. `check_trust` raises where this process may no longer act as leader; it is asked right before
    each write. `bound_s` limits a transaction as a whole where PostgreSQL can (17). `reads`: an engine of single statements, for
    one who looks all the time."""

    def __init__(
        self,
        engine: Engine,
        jobs: Mapping[str, JobSpec[Any]],
        *,
        bound_s: float,
        check_trust: Callable[[], None] = lambda: None,
        reads: Engine | None = None,
    ) -> None:
        self._engine = engine
        self._due = DueSchedules(reads or engine.execution_options(isolation_level="AUTOCOMMIT"), jobs)
        self._bound_s = bound_s
        self._check_trust = check_trust
        #: Read but not written yet: fires that are still to be counted, by schedule.
        self._counting: dict[str, tuple[DueSchedule, Tally | None]] = {}

    def fire_due(self, only: Collection[str] | None = None) -> Pass:
        """One pass: at most BATCH schedules, and a bounded amount of counting. `only` limits it to these ids."""
        look = self._look(only)
        head, broken = look.head, list(look.broken)
        self._counting |= {schedule.row.id: (schedule, None) for schedule in look.schedules}
        planned = self._count(head.now, broken)
        if broken:
            self._break(broken)
        if look.full and only is None:
            self._due.read_ahead([*self._counting, *(each.schedule.row.id for each in planned)])
        try:
            written = [each for batch in in_batches(planned) for each in self._write(batch)]
        except BaseException:
            self._due.forget()
            raise
        if look.full or look.ahead or self._counting:
            # After the last write nobody has looked yet, where this look was ahead of it.
            wait_s = 0.0
        elif len(written) < len(planned):
            wait_s = CONTENDED_S
        else:
            read_at = to_epoch(head.now)
            times = [to_epoch(each.plan.next) - read_at for each in planned if each.plan.next is not None]
            upcoming = min([*times, *([] if head.next_due_s is None else [head.next_due_s])], default=None)
            took_s = time.monotonic() - look.began_at
            wait_s = POLL_S if upcoming is None else min(POLL_S, max(0.0, upcoming - took_s))
        return Pass(
            wait_s=wait_s,
            relay_in_s=head.relay_in_s,
            schedules=len(written),
            runs=sum(each.runs - each.skipped for each in written),
            due=look.due + len(self._counting),
            resets=head.resets,
            leases_lost=head.leases_lost,
            ready=ready(written),
        )

    def _look(self, only: Collection[str] | None) -> Look:
        try:
            return self._due.read(self._counting, only)
        except DBAPIError:
            # What broke this connection broke those that wait for a write, too: each would fail a pass of its own.
            self._engine.dispose()
            raise

    def fire_all(self, only: Collection[str], *, within_s: float = 60.0) -> None:
        """Fires until none of these ids is due (rule 17: before a definition changes). For an instance of its own.

        Raises TimeoutError.
        """
        deadline = time.monotonic() + within_s
        while (done := self.fire_due(only)).due:
            if time.monotonic() > deadline:
                raise TimeoutError(f"schedules are still due after {within_s:g} s: {', '.join(sorted(only))}")
            if not done.schedules:
                time.sleep(done.wait_s)

    def _count(self, now: datetime, broken: list[tuple[DueRow, str]]) -> list[Planned]:
        """Plans for what could be counted within the budget; the rest stays in memory for the next pass.

        Those that are new come first, each with a small share: most have missed little.
        """
        budget = COUNTING_BUDGET
        planned: list[Planned] = []
        for schedule, so_far in sorted(self._counting.values(), key=lambda each: each[1] is not None):
            if budget <= 0 or len(planned) >= BATCH:
                break
            row = schedule.row
            del self._counting[row.id]
            try:
                tally, cost = count_fires(
                    schedule.trigger,
                    schedule.due,
                    now,
                    keep=kept_for(catch_up=row.catch_up),
                    budget=min(budget, FIRST_SHARE) if so_far is None else budget,
                    so_far=so_far,
                )
                budget -= cost
                if not tally.complete:
                    self._counting[row.id] = (schedule, tally)  # behind the others: everybody gets a turn
                    continue
                plan = plan_fires(tally, now, catch_up=row.catch_up, misfire_grace_s=row.misfire_grace_s)
            except (TriggerStuck, OverflowError, ValueError) as error:
                broken.append((row, f"trigger, or misfire_grace_s: {error}"))
                continue
            planned.append(Planned(schedule, plan))
        return planned

    def _write(self, batch: Sequence[Planned]) -> Sequence[Written]:
        """One transaction. One that the data refuse is repeated schedule by schedule, the culprit is broken (rule 9)."""
        params = parameters(batch)
        self._check_trust()
        try:
            with self._engine.begin() as connection:
                rows = connection.execute(bounded(connection, statement("fire"), self._bound_s), params).all()
                self._check_trust()  # raising rolls back
                failpoint(Point.FIRE_BEFORE_COMMIT)
        except DBAPIError as error:
            if is_outage(error):
                raise
            if len(batch) > 1:
                return [written for each in batch for written in self._write([each])]
            self._break([(batch[0].schedule.row, f"refused by the database: {error.orig}")])
            return []
        failpoint(Point.FIRE_COMMITTED)
        written = [Written(batch[row[0] - 1], *row) for row in rows]
        tell(written)
        return written

    def _break(self, broken: Sequence[tuple[DueRow, str]]) -> None:
        self._check_trust()
        with self._engine.begin() as connection:
            break_rows(connection, broken, self._bound_s)


def break_rows(
    connection: Connection, broken: Sequence[tuple[DueRow, str]], bound_s: float | None = None
) -> None:
    """Marks rows as broken, where they are still as they were read; `bound_s` is for a transaction that begins with this."""
    params = {
        "ids": [row.id for row, _ in broken],
        "generations": [row.generation for row, _ in broken],
        "was": [row.next_run_time for row, _ in broken],
        "reasons": [clean_text(reason) for _, reason in broken],
    }
    sql = statement("fire_break")
    if bound_s is not None:
        sql = bounded(connection, sql, bound_s)
    marked = {row.id for row in connection.execute(sql, params)}
    metrics.BROKEN.inc(len(marked))
    for row, reason in broken:
        if row.id in marked:
            log.error("schedule_broken", schedule_id=row.id, store=row.store, error=clean_text(reason))


def bounded(connection: Connection, sql: TextClause, bound_s: float) -> TextClause:
    """The same statement, which also limits its transaction as a whole, in the same round trip: a process stopped inside it
    must not hold locks for long (rule 15)."""
    if (connection.dialect.server_version_info or (0,)) < (17,):
        return sql
    return _with_limit(sql, max(1, int(bound_s * 1000)))


@cache
def _with_limit(sql: TextClause, ms: int) -> TextClause:
    return text(f"SELECT set_config('transaction_timeout', '{ms}', true);\n{sql.text}")
