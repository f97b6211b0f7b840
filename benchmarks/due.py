"""What the firing benchmarks share: adding schedules through the public entry point, and when handlers really began."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from benchmarks.ours import Ours
from benchmarks.process import Process
from scheduler_svc.notices import schedules_changed
from scheduler_svc.schedules import Schedules
from shared.db.engine import sync_engine

ACTOR = "benchmark"


@contextmanager
def opened(ours: Ours) -> Iterator[Schedules]:
    """The schedules of our processes' database; edits reach the leader at once."""
    engine = sync_engine(ours.database_url, application="benchmark", bound_s=300)
    try:
        yield Schedules(engine, schedules_changed(ours.redis_url))
    finally:
        engine.dispose()


def handler_starts(worker: Process) -> dict[str, datetime]:
    """When each run's handler began, by run id, from the worker's log.

    `run_ended` is stamped after the outcome was committed, and says how long that took from the moment at which the claim's
    answer was handed to the funnel; decoding the arguments lies in between and takes some hundredth of a millisecond.
    `runs_ended` says so of each of many. `job_runs.started_at` is earlier than this: it is the time at which the claim's
    transaction began.
    """
    took = [(event, event["run_id"], event["seconds"]) for event in worker.events("run_ended")]
    for event in worker.events("runs_ended"):
        took += [(event, *each) for each in zip(event["run_ids"], event["seconds"], strict=True)]
    return {
        run_id: datetime.fromisoformat(event["timestamp"]) - timedelta(seconds=seconds)
        for event, run_id, seconds in took
    }
