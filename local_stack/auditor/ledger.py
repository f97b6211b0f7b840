"""L and T: whatever was accepted has its run, and every run has ended, or waits where it can be seen."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

from local_stack.auditor.findings import Finding
from local_stack.auditor.history import History
from local_stack.auditor.known import Known, Rest
from shared.core.states import LIVE


def check(history: History, known: Known, rest: Rest | None) -> Iterator[Finding]:
    yield from _accepted(history, known)
    yield from _keys(history, known)
    yield from _ends(history)
    if rest is not None:
        yield from _in_time(history, rest)
        yield from _events(history)


def _accepted(history: History, known: Known) -> Iterator[Finding]:
    runs = {run.id: run for run in history.runs}
    keys = {(run.job, run.key) for run in history.runs}
    for each in known.accepted:
        row = runs.get(each.run_id) if each.run_id is not None else None
        if each.run_id is not None and row is None:
            yield Finding("L", f"run {each.run_id}", f"{each.job} was accepted, and is not in the ledger")
        elif row is not None and (row.job, row.key) != (each.job, each.key):
            says = f"is {row.job} with key {row.key}, not {each.job} with {each.key}"
            yield Finding("L", f"run {each.run_id}", says)
        elif each.run_id is None and (each.job, each.key) not in keys:
            yield Finding("L", f"key {each.key}", f"{each.job} was accepted under it, and no run has it")
    for run_id in sorted(set(known.rolled_back) & runs.keys()):
        yield Finding("L", f"run {run_id}", "is in the ledger, though its transaction was rolled back")


def _keys(history: History, known: Known) -> Iterator[Finding]:
    counted = Counter((run.job, run.key) for run in history.runs if run.key is not None)
    for (job, key), times in counted.items():
        if times > 1:
            yield Finding("L", f"key {key}", f"{times} runs of {job} have it")
    answered: dict[tuple[str, str], set[UUID]] = defaultdict(set)
    for each in known.accepted:
        if each.key is not None and each.run_id is not None:
            answered[each.job, each.key].add(each.run_id)
    for (job, key), ids in answered.items():
        if len(ids) > 1:
            yield Finding(
                "L", f"key {key}", f"enqueues of {job} were answered with {len(ids)} different runs"
            )


def _ends(history: History) -> Iterator[Finding]:
    """A run that has ended says when and, where nothing came of it, why."""
    for run in history.runs:
        live = run.state in LIVE
        if live == (run.finished_at is not None):
            yield Finding("L", f"run {run.id}", f"is {run.state}, and finished_at is {run.finished_at}")
        if run.state == "skipped" and not run.reason:
            yield Finding("L", f"run {run.id}", "was skipped without a reason")


def _in_time(history: History, rest: Rest) -> Iterator[Finding]:
    within = timedelta(seconds=rest.within_s)
    heads: dict[str, Any] = {}
    for run in sorted((r for r in history.runs if _in_series(r)), key=lambda run: run.due_at):
        heads.setdefault(run.schedule_id, run)
    for run in history.runs:
        late = (run.finished_at or history.now) - max(run.run_at, rest.at)
        if late <= within:
            continue
        behind = _in_series(run) and heads[run.schedule_id] is not run
        if run.state in LIVE and not run.paused and not behind:
            says = f"is {run.state} {late.total_seconds():.0f} s after it could have ended"
            yield Finding("T", f"run {run.id}", f"{run.job} {says}")
        elif run.finished_at is not None and run.enqueued_at <= rest.at and run.overlap != "queue":
            says = f"ended {late.total_seconds():.0f} s after everything was well again"
            yield Finding("T", f"run {run.id}", f"{run.job} {says}")


def _in_series(run: Any) -> bool:
    """One fire after the other: what is behind the head waits for it."""
    return run.state in LIVE and run.overlap == "queue" and run.due_at is not None


def _events(history: History) -> Iterator[Finding]:
    """Webhooks that were accepted: each is applied, or has a run that still sees to it."""
    live = {
        run.args.get("event_id") for run in history.runs if run.state in LIVE and isinstance(run.args, dict)
    }
    dead = {
        run.args.get("event_id") for run in history.runs if run.state == "dead" and isinstance(run.args, dict)
    }
    for event in history.events:
        if event.applied_at is None and event.event_id not in live | dead:
            yield Finding("L", f"event {event.event_id}", f"{event.type} was stored, and nobody applies it")
