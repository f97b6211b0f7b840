"""What is due, restored. Of many, the next batch is read while the last one is being written.

What was read ahead may have changed since: each write is a compare-and-set on what was read, as it is for any batch.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event

from scheduler_svc.rows import DueRow, DueSchedule, Unreadable, restore
from shared.core.jobspec import JobSpec, Queue
from shared.db.statements import statement

#: Schedules that are read at a time, and that one transaction writes at most.
BATCH = 1000

_STORES = [queue.value for queue in Queue]
#: How many columns of `fire_due.sql` are a schedule's: its last ones, in the order of `DueRow`. By their names each takes as long
#: as the whole row.
_OF_SCHEDULE = len(DueRow.__slots__)


@dataclass(frozen=True, slots=True)
class Look:
    """`head`: what `fire_due.sql` says once; `began_at`: before the question, on the monotonic clock; `full`: there may be more;
    `ahead`: it knows nothing of what was written meanwhile."""

    began_at: float
    head: Any
    schedules: Sequence[DueSchedule]
    broken: Sequence[tuple[DueRow, str]]
    ahead: bool = False

    @property
    def due(self) -> int:
        return len(self.schedules) + len(self.broken)

    @property
    def full(self) -> bool:
        return self.due == BATCH


def single_statements(engine: Engine) -> Engine:
    """Has each statement commit by itself: BEGIN and COMMIT around one would be two round trips more, and an execution
    option, which switches a connection there and back, is one."""

    def connected(connection: Any, _record: object) -> None:
        connection.autocommit = True

    event.listen(engine, "connect", connected)
    return engine


class DueSchedules:
    """Whoever fires has one of its own, on an engine of single statements."""

    def __init__(self, reads: Engine, jobs: Mapping[str, JobSpec[Any]]) -> None:
        self._reads = reads
        self._jobs = jobs
        self._ahead: Future[Look] | None = None

    def read(self, without: Collection[str], only: Collection[str] | None = None) -> Look:
        """What is due but for `without`, of `only` these ids; what was read ahead, if anything was."""
        ahead, self._ahead = self._ahead, None
        return ahead.result() if ahead is not None and only is None else self._read(without, only)

    def read_ahead(self, without: Collection[str]) -> None:
        """Begins to read what the next `read` returns, in a thread of its own."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="reading")
        self._ahead = thread.submit(self._read, without, None, ahead=True)
        thread.shutdown(wait=False)

    def forget(self) -> None:
        """What was read ahead: the next `read` looks anew."""
        self._ahead = None

    def _read(self, without: Collection[str], only: Collection[str] | None, *, ahead: bool = False) -> Look:
        began_at = time.monotonic()
        params = {
            "queues": _STORES,
            "most": BATCH,
            "counting": list(without),
            "only": None if only is None else list(only),
        }
        with self._reads.begin() as connection:
            rows = connection.execute(statement("fire_due"), params).all()
        schedules, broken = [], []
        for row in (DueRow(*each[-_OF_SCHEDULE:]) for each in rows if each.id is not None):
            try:
                schedules.append(restore(row, self._jobs))
            except Unreadable as error:
                broken.append((row, str(error)))
        return Look(began_at, rows[0], schedules, broken, ahead)
