"""What a firing pass is about to write, as one statement's parameters, and what becomes known of it once it is written."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog
from asyncpg.pgproto.pgproto import UUID  # a uuid.UUID that is read and written ten times as fast

from scheduler_svc import metrics
from scheduler_svc.rows import DueSchedule, to_epoch
from shared.core.firing import Plan
from shared.ports import Message

log = structlog.get_logger(__name__)

#: Runs that one transaction writes at most.
MOST_RUNS = 5000
#: Schedules of a batch that are logged one by one.
MOST_LINES = 20


@dataclass(frozen=True, slots=True)
class Planned:
    schedule: DueSchedule
    plan: Plan


class Written(NamedTuple):
    """A schedule whose fires were committed, and the answer of `fire.sql` for it, in the order of its columns."""

    planned: Planned
    n: int
    schedule_id: str
    runs: int
    skipped: int
    ready: Sequence[str] | None


def in_batches(planned: Iterable[Planned]) -> Iterable[list[Planned]]:
    batch: list[Planned] = []
    runs = 0
    for each in planned:
        if batch and runs + len(each.plan.runs) > MOST_RUNS:
            yield batch
            batch, runs = [], 0
        batch.append(each)
        runs += len(each.plan.runs)
    if batch:
        yield batch


def ready(written: Iterable[Written]) -> dict[str, list[Message]]:
    """What may be pushed at once, by queue."""
    messages: dict[str, list[Message]] = {}
    for each in written:
        job = each.planned.schedule.job
        for run_id in each.ready or ():
            messages.setdefault(job.queue.value, []).append(Message(UUID(run_id), 1, job.priority))
    return messages


def parameters(batch: Sequence[Planned]) -> dict[str, Any]:
    schedules = [each.schedule for each in batch]
    runs = [(n, run) for n, each in enumerate(batch, 1) for run in each.plan.runs]
    return {
        "stores": [s.row.store for s in schedules],
        "ids": [s.row.id for s in schedules],
        "generations": [s.row.generation for s in schedules],
        "was": [s.row.next_run_time for s in schedules],
        "next": [None if each.plan.next is None else to_epoch(each.plan.next) for each in batch],
        "jobs": [s.job.name for s in schedules],
        "queues": [s.job.queue.value for s in schedules],
        "args": [json.dumps(s.args) for s in schedules],
        "priorities": [s.job.priority for s in schedules],
        "max_attempts": [s.job.retry.max_attempts for s in schedules],
        "overlaps": [s.overlap.value for s in schedules],
        "ns": [n for n, _ in runs],
        "due_ats": [run.due_at for _, run in runs],
        "coalesced": [run.coalesced for _, run in runs],
        "skipped": [run.skipped for _, run in runs],
    }


def tell(written: Sequence[Written]) -> None:
    """A line for each schedule, or one for all of a batch of many: a log of thousands of lines takes longer to write
    than the fires themselves."""
    if len(written) > MOST_LINES:
        log.info(
            "schedules_fired",
            schedules=len(written),
            due_from=min(each.planned.plan.runs[0].due_at for each in written).isoformat(),
            due_until=max(each.planned.plan.runs[-1].due_at for each in written).isoformat(),
            runs=sum(each.runs for each in written),
            skipped=sum(each.skipped for each in written),
        )
    metrics.FIRES.inc(sum(run.fires for each in written for run in each.planned.plan.runs))
    metrics.SKIPPED.inc(sum(each.skipped for each in written))
    for each in written:
        runs = each.planned.plan.runs
        if len(written) <= MOST_LINES:
            log.info(
                "schedule_fired",
                schedule_id=each.schedule_id,
                job=each.planned.schedule.job.name,
                due_at=runs[-1].due_at.isoformat(),
                coalesced=runs[-1].coalesced,
                runs=each.runs,
                skipped=each.skipped,
            )
        if each.runs < len(runs):
            log.warning("fire_already_recorded", schedule_id=each.schedule_id, runs=len(runs) - each.runs)
