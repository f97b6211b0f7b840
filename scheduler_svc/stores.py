"""APScheduler's job stores with readable JSON: nothing is pickled, no table is made at start, no row is ever deleted
because it cannot be read (APScheduler's own store does all three)."""

import json
from datetime import datetime
from typing import Any

from apscheduler.job import Job
from apscheduler.jobstores.base import BaseJobStore, ConflictingIdError, JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from sqlalchemy import Column, Engine, Float, MetaData, Table, Unicode, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError

from scheduler_svc.firing import break_rows
from scheduler_svc.rows import DueRow, Unreadable, decode_state, decode_trigger, from_epoch, to_epoch
from shared.core.jobspec import Queue
from shared.core.schedule import JobState


def run_through_ledger(job: str, args: dict[str, Any]) -> None:
    """What APScheduler's `Job` objects name as their function. It is never called: a fire is a row in the ledger."""
    raise RuntimeError(f"job {job} was called by APScheduler; its fires go through the run ledger")


class JsonJobStore(SQLAlchemyJobStore):  # type: ignore[misc]  # APScheduler ships no types
    """One store: jobs whose function is `run_through_ledger`, with `kwargs={"job": …, "args": {…}}`."""

    def __init__(self, engine: Engine, store: Queue) -> None:
        super().__init__(engine=engine, tablename=f"scheduler_{store.value}_jobs")
        self.store = store
        self.jobs_t = Table(
            f"scheduler_{store.value}_jobs",
            MetaData(),
            Column("id", Unicode(191), primary_key=True),
            Column("next_run_time", Float(53)),
            Column("job_state", JSONB, nullable=False),
            Column("generation"),
            Column("misfire_grace_s", Float(53)),
            Column("catch_up"),
            Column("overlap", Unicode),
        )

    def start(self, scheduler: Any, alias: str) -> None:
        BaseJobStore.start(self, scheduler, alias)  # the schema is migrated, not made here

    def shutdown(self) -> None:
        """The engine is shared: whoever made it closes it."""

    def lookup_job(self, job_id: str) -> Job | None:
        jobs = self._get_jobs(self.jobs_t.c.id == job_id)
        return jobs[0] if jobs else None

    def add_job(self, job: Job) -> None:
        try:
            with self.engine.begin() as connection:
                connection.execute(self.jobs_t.insert().values(id=job.id, **_columns(job)))
        except IntegrityError:
            raise ConflictingIdError(job.id) from None

    def update_job(self, job: Job) -> None:
        update = self.jobs_t.update().values(**_columns(job)).where(self.jobs_t.c.id == job.id)
        with self.engine.begin() as connection:
            if connection.execute(update).rowcount == 0:
                raise JobLookupError(job.id)

    def _get_jobs(self, *conditions: Any) -> list[Job]:
        query = select(self.jobs_t).where(*conditions).order_by(self.jobs_t.c.next_run_time)
        jobs, broken = [], []
        with self.engine.begin() as connection:
            for r in connection.execute(query).all():
                row = DueRow(self.store.value, *(getattr(r, name) for name in DueRow.__slots__[1:]))
                try:
                    jobs.append(self._job(row))
                except Unreadable as error:
                    broken.append((row, str(error)))
            if broken:
                break_rows(connection, broken)
        return jobs

    def _job(self, row: DueRow) -> Job:
        state = decode_state(row.job_state)
        job = Job.__new__(Job)
        job.__setstate__(
            {
                "id": row.id,
                "func": f"{run_through_ledger.__module__}:{run_through_ledger.__name__}",
                "trigger": decode_trigger(state),
                "executor": "default",
                "args": (),
                "kwargs": {"job": state.job, "args": state.args},
                "name": state.job,
                "misfire_grace_time": row.misfire_grace_s,
                "coalesce": not row.catch_up,
                "max_instances": 1,
                "next_run_time": _instant(row),
                "jobstore": self,
            }
        )
        job._scheduler = self._scheduler
        job._jobstore_alias = self._alias
        return job


class NoStore(MemoryJobStore):  # type: ignore[misc]  # APScheduler ships no types
    """APScheduler's default store: refuses jobs, because what it held would never fire."""

    def add_job(self, job: Job) -> None:
        raise ValueError(f"job {job.id}: name its store, one of {', '.join(Queue)}")


def _instant(row: DueRow) -> datetime | None:
    if row.next_run_time is None:
        return None
    try:
        return from_epoch(row.next_run_time)
    except (ValueError, OverflowError, OSError):
        raise Unreadable(f"next_run_time {row.next_run_time} is no time") from None


def _columns(job: Job) -> dict[str, Any]:
    spec = getattr(job.trigger, "spec", None)
    if job.func is not run_through_ledger or spec is None:
        raise ValueError(f"job {job.id}: use run_through_ledger, and a trigger of scheduler_svc.triggers")
    state = JobState(job=job.kwargs["job"], args=job.kwargs["args"], trigger=spec)
    return {
        "next_run_time": None if job.next_run_time is None else to_epoch(job.next_run_time),
        "job_state": json.loads(state.model_dump_json()),
    }
