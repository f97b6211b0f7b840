"""C, and P over time: from the flight recorder's steps where there is one, else what the tables alone can show."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

from local_stack.auditor.findings import Finding
from local_stack.auditor.history import History
from shared.core.states import TERMINAL, RunState, may_move

#: A statement may begin under its attempt, and be recorded just after that was taken away.
_SLACK = timedelta(seconds=1)


def check(history: History) -> Iterator[Finding]:
    yield from _named_attempts(history)
    if history.recorded is None:
        return
    steps: dict[UUID, list[Any]] = defaultdict(list)
    for step in history.recorded.run_steps:
        steps[step.run_id].append(step)
    replayed = {(row.subject_id, row.action) for row in history.audit if row.subject_kind == "run"}
    for run_id, each in steps.items():
        yield from _life(run_id, each, replayed)
    yield from _stale(history.recorded.writes, steps)


def _named_attempts(history: History) -> Iterator[Finding]:
    """No row names an attempt that its run has not had; a run's attempts at a refund begin one after the other."""
    attempts = {run.id: run.attempt for run in history.runs}
    rows = [
        *((f"refund {row.refund_id}", row) for row in history.attempts),
        *((f"refund {row.id}", row) for row in history.refunds),
        *((f"reminder batch {row.id}", row) for row in history.batches),
        *((f"reminder {row.id}", row) for row in history.reminders),
    ]
    for subject, row in rows:
        if row.run_attempt is not None and row.run_attempt > attempts.get(row.run_id, row.run_attempt):
            had = attempts[row.run_id]
            yield Finding(
                "C", subject, f"names attempt {row.run_attempt} of run {row.run_id}, which has had {had}"
            )
    started: dict[tuple[UUID, UUID], list[Any]] = defaultdict(list)
    for row in sorted(history.attempts, key=lambda row: (row.started_at, row.run_attempt)):
        started[row.refund_id, row.run_id].append(row)
    for (refund_id, run_id), each in started.items():
        for before, after in pairwise(each):
            if after.run_attempt < before.run_attempt or (
                after.run_attempt == before.run_attempt and after.generation == before.generation
            ):
                said = f"attempt {after.run_attempt} of run {run_id} began after attempt {before.run_attempt}"
                yield Finding("C", f"refund {refund_id}", said)


def _life(run_id: UUID, steps: Sequence[Any], audited: set[tuple[str, str]]) -> Iterator[Finding]:
    subject = f"run {run_id}"
    for step in steps:
        if step.state is None:
            continue  # pruned
        if step.state_was is None:
            if step.attempt != 0:
                yield Finding("C", subject, f"began with attempt {step.attempt}")
            continue
        claimed = step.state == "running" and step.state_was != "running"
        if step.attempt != step.attempt_was + claimed:
            yield Finding(
                "C",
                subject,
                f"went from attempt {step.attempt_was} to {step.attempt} as {step.state_was} became {step.state}",
            )
        if step.state == step.state_was and step.state in TERMINAL:
            yield Finding("C", subject, f"had {step.state}, and was finished again")
        elif step.state != step.state_was and not may_move(RunState(step.state_was), RunState(step.state)):
            yield Finding("C", subject, f"was {step.state_was}, and became {step.state}")
        free = step.max_attempts - step.max_attempts_was
        replayed = step.state_was == "dead" and step.state == "pending"
        handed_back = step.state_was == "running" and step.state == "pending"
        if free and not replayed and not (handed_back and free == 1):
            yield Finding("P", subject, f"got {free} more attempts as {step.state_was} became {step.state}")
        if replayed and not any(found == str(run_id) for found, _ in audited):
            yield Finding("P", subject, "was replayed, and nobody is on record for it")


def _stale(writes: Sequence[Any], steps: Mapping[UUID, Sequence[Any]]) -> Iterator[Finding]:
    for write in writes:
        if write.kind == "refund" and write.status_was != "processing" and write.status != "processing":
            continue  # no run's: a webhook, reconciliation, a person
        if write.kind == "reminder batch" and write.status_was not in ("pending", "sending"):
            continue  # events settle what is unconfirmed
        ended = _ended(steps.get(write.run_id, ()), write.run_attempt)
        swept = write.kind == "refund" and write.status == "needs_review"  # its runs keep dying: by the sweep
        if ended is not None and write.began > ended + _SLACK and not swept:
            late = (write.began - ended).total_seconds()
            says = f"attempt {write.run_attempt} of run {write.run_id} wrote {late:.1f} s after it was over"
            yield Finding(
                "C", f"{write.kind} {write.subject}", f"{write.status_was or 'new'} to {write.status}: {says}"
            )


def _ended(steps: Sequence[Any], attempt: int) -> datetime | None:
    for step in steps:
        if step.state_was == "running" and step.attempt_was == attempt and step.state != "running":
            return step.at  # type: ignore[no-any-return]  # a row's column
    return None
