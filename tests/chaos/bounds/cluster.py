"""Two schedulers and two workers with default settings, on servers of their own, that a try may break and mend.

One clock for everything: this machine's. The ledger's times are PostgreSQL's `now()`, and that reads the same clock.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Engine, text

from local_stack.postgres import EmbeddedPostgres
from local_stack.valkey import EmbeddedValkey
from scheduler_svc.notices import schedules_changed
from scheduler_svc.schedules import Schedules
from shared.core.jobspec import Overlap
from shared.core.schedule import ScheduleSpec, every
from shared.db.engine import sync_engine
from shared.db.migrate import upgrade
from tests.chaos.rig.link import Link, Wires
from tests.e2e.processes import Process
from tests.wait import wait_until

TICK = "tick"
SCHEDULERS = WORKERS = 2
PATIENCE_S = 60.0
#: Alembic keeps its context in a module.
_migrating = threading.Lock()


class Cluster:
    """`mend` brings it to full strength; its servers are the caller's to stop and to start again.

    With `linked` its processes reach the servers through `redis_link` and `postgres_link`, which can be cut; what looks
    at it from outside never does.
    """

    redis_link: Link
    postgres_link: Link

    def __init__(self, directory: Path, *, linked: bool = False) -> None:
        self.linked = linked
        self._directory = directory
        self._numbers = itertools.count(1)
        self._started = ExitStack()
        self.postgres = EmbeddedPostgres(directory / "postgres")
        self.valkey = EmbeddedValkey(directory / "valkey")
        self.schedulers: list[Process] = []
        self.workers: list[Process] = []
        self._engine: Engine | None = None

    def __enter__(self) -> Self:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._directory.chmod(0o755)  # as root the servers are somebody else
        try:
            for server in (self.postgres, self.valkey):
                self._started.enter_context(server)
            if self.linked:
                wires = self._started.enter_context(Wires())
                self.postgres_link, self.redis_link = map(wires.link, (self.postgres.port, self.valkey.port))
            with _migrating:
                upgrade(self.postgres.url)
            self._engine = sync_engine(self.postgres.url, application="bounds", bound_s=10)
            self._started.callback(self._engine.dispose)
        except BaseException:
            self._started.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._started.close()

    def start(self, module: str) -> Process:
        """A process that is not ready yet; killed at the end."""
        urls = {"DATABASE_URL": self.postgres.url, "REDIS_URL": self.valkey.url}
        if self.linked:
            urls["DATABASE_URL"] = _at(self.postgres.url, self.postgres.port, self.postgres_link.port)
            urls["REDIS_URL"] = _at(self.valkey.url, self.valkey.port, self.redis_link.port)
        process = Process(module, urls, self._directory / f"{module}-{next(self._numbers)}.log")
        self._started.callback(process.kill)
        return process

    def mend(self) -> None:
        """Replaces processes that have ended; returns when all are ready and one of the schedulers leads."""
        for module, processes, wanted in (
            ("scheduler_svc", self.schedulers, SCHEDULERS),
            ("worker_svc", self.workers, WORKERS),
        ):
            processes[:] = [each for each in processes if each.status is None]
            processes += [self.start(module) for _ in range(wanted - len(processes))]
        for process in (*self.schedulers, *self.workers):
            process.wait_ready(PATIENCE_S)
        wait_until(self._is_led, PATIENCE_S, "a leader")

    def leader(self) -> Process:
        """The scheduler that began the latest term."""
        [[holder]] = self.rows("SELECT holder FROM leader_terms ORDER BY term DESC LIMIT 1")
        return _of(holder, self.schedulers)

    def worker(self, name: str) -> Process:
        return _of(name, self.workers)

    def everybody_is_alive(self) -> None:
        """An outage must not end a process."""
        ended = [each for each in (*self.schedulers, *self.workers) if each.status is not None]
        assert not ended, f"ended: {[(each.module, each.status, each.output[-2000:]) for each in ended]}"

    def rows(self, sql: str, **params: Any) -> list[Any]:
        assert self._engine is not None, "not started"
        with self._engine.begin() as connection:
            result = connection.execute(text(sql), params)
            return list(result.all()) if result.returns_rows else []

    def value(self, sql: str, what: str, **params: Any) -> float:
        """Waits until the query answers with a row; the number in it. What cannot be asked is asked again."""
        found = wait_until(lambda: self.rows(sql, **params), PATIENCE_S, what)
        return float(found[0][0])

    def enqueue(self, sleep_s: float = 0.0) -> UUID:
        """A `ping`, put into the ledger as an outside program does: the relay has to push it."""
        [[run_id]] = self.rows(
            "INSERT INTO job_runs (job, queue, args) VALUES"
            " ('ping', 'maintenance', jsonb_build_object('sleep_s', CAST(:sleep_s AS float8))) RETURNING id",
            sleep_s=sleep_s,
        )
        return UUID(str(run_id))

    @contextmanager
    def ticking(self, interval: str) -> Iterator[Callable[[], None]]:
        """Fires a `ping` every so often, and yields once that flows. What it yields waits until it flows again."""

        def flows() -> None:
            since = time.time()
            self.value(FIRE_AFTER, "a tick that ran", since=since)

        assert self._engine is not None, "not started"
        schedules = Schedules(self._engine, schedules_changed(self.valkey.url))
        # Overlap `allow`: a fire is measured, not whether the one before has ended.
        spec = ScheduleSpec(id=TICK, job="ping", trigger=every(interval), overlap=Overlap.ALLOW)
        schedules.add(
            spec, actor="bounds", replace=bool(self.rows("SELECT 1 FROM schedules WHERE id = 'tick'"))
        )
        flows()
        yield flows
        schedules.remove(TICK, actor="bounds")

    def _is_led(self) -> bool:
        return any(each.status is None and self._leads(each) for each in self.schedulers)

    def _leads(self, process: Process) -> bool:
        newest = self.rows(
            "SELECT holder FROM leader_terms WHERE ended_at IS NULL ORDER BY term DESC LIMIT 1"
        )
        return bool(newest) and str(newest[0][0]).endswith(f":{process.pid}")


#: The end of the first run whose fire was due after `since`: the job does nothing, so its handler began a moment before.
FIRE_AFTER = """
SELECT extract(epoch FROM finished_at) FROM job_runs
WHERE schedule_id = 'tick' AND due_at > to_timestamp(:since) AND finished_at IS NOT NULL ORDER BY finished_at LIMIT 1
"""


def _of(name: str, processes: list[Process]) -> Process:
    [found] = [each for each in processes if name.endswith(f":{each.pid}")]
    return found


def _at(url: str, port: int, other: int) -> str:
    return url.replace(f":{port}/", f":{other}/")
