"""P and S for runs and schedules: attempts are counted and bounded, a death says why, all that is stored can be read."""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from local_stack.auditor.findings import Finding
from local_stack.auditor.history import History
from shared.core.schedule import JobState
from shared.jobs import JOBS


def check(history: History) -> Iterator[Finding]:
    for run in history.runs:
        yield from _poison(run)
        yield from _readable(run)
    for schedule in history.schedules:
        yield from _restorable(schedule)


def _poison(run: Any) -> Iterator[Finding]:
    subject = f"run {run.id}"
    if run.attempt > run.max_attempts:
        yield Finding("P", subject, f"has had {run.attempt} attempts of {run.max_attempts}")
    if run.state == "dead" and not run.error:
        yield Finding("P", subject, "is dead without an error")
    if run.state in ("running", "succeeded", "dead") and run.attempt < 1:
        yield Finding("P", subject, f"is {run.state}, and no attempt was counted")
    if run.losses > run.attempt:
        yield Finding("P", subject, f"lost its worker {run.losses} times in {run.attempt} attempts")


def _readable(run: Any) -> Iterator[Finding]:
    job = JOBS.get(run.job)
    if run.state not in ("running", "succeeded", "skipped") or job is None:
        return  # parked with its error, or about to be; or of a version that this one does not know
    try:
        job.decode(run.args)
    except ValidationError as error:
        yield Finding("S", f"run {run.id}", f"the arguments of {run.job} cannot be read: {_first(error)}")


def _restorable(schedule: Any) -> Iterator[Finding]:
    if schedule.broken is not None:
        return  # parked, and shown
    subject = f"schedule {schedule.id}"
    try:
        state = JobState.model_validate(schedule.job_state)
    except ValidationError as error:
        yield Finding("S", subject, f"job_state cannot be read, and is not marked as broken: {_first(error)}")
        return
    job = JOBS.get(state.job)
    if job is None:
        return
    try:
        job.decode(state.args)
    except ValidationError as error:
        yield Finding("S", subject, f"the arguments of {state.job} cannot be read: {_first(error)}")


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
