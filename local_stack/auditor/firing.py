"""U, and L for fires: each schedule's runs against its trigger.

A definition (a generation of a schedule) has a first fire and, as far as it has advanced, a next one. Between the two every
fire is in exactly one run: a run stands for the one at its `due_at` and for `coalesced` earlier ones.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, zip_longest
from typing import Any

from local_stack.auditor.findings import Finding
from local_stack.auditor.fires import Fires
from local_stack.auditor.history import History
from local_stack.auditor.known import Known


@dataclass(frozen=True, slots=True)
class Definition:
    """`next`: the fire it waits for, or waited for when it was replaced or removed. `ended`: that one was its last, and
    had to become a run. `until`: it was replaced then while it was paused, and what the pause dropped had to be counted."""

    trigger: Mapping[str, Any]
    first: datetime | None
    next: datetime | None
    ended: bool = False
    until: datetime | None = None


def check(history: History, known: Known) -> Iterator[Finding]:
    fired: dict[tuple[str, int], list[Any]] = defaultdict(list)
    for run in history.runs:
        if run.due_at is not None:
            fired[run.schedule_id, run.schedule_generation].append(run)
    definitions = _recorded(history) if history.recorded else _current(history)
    # Parked: it has never fired, and when it would have nobody can say.
    parked = {(row.id, row.generation) for row in history.schedules if row.broken is not None} - fired.keys()
    for key in sorted(fired.keys() | definitions.keys()):
        runs = sorted(fired[key], key=lambda run: run.due_at)
        yield from _doubled(key, runs)
        if key in definitions and key not in parked:
            yield from _add_up(key, definitions[key], runs)
    yield from _expected(known, fired)


def _doubled(key: tuple[str, int], runs: Sequence[Any]) -> Iterator[Finding]:
    for due_at, times in Counter(run.due_at for run in runs).items():
        if times > 1:
            yield Finding("U", f"schedule {key[0]}", f"the fire of {_at(due_at)} has {times} runs")


def _add_up(key: tuple[str, int], definition: Definition, runs: Sequence[Any]) -> Iterator[Finding]:
    subject = f"schedule {key[0]}"
    first = definition.first or (runs[0].due_at if runs else None)
    if first is None:
        return
    try:
        fires = Fires(definition.trigger, first)
    except (ValueError, KeyError, LookupError) as error:
        yield Finding("U", subject, f"its first fire cannot be right: {error}")
        return
    # Where nobody recorded the first fire, the first run is believed.
    covered = 0 if definition.first is not None else -runs[0].coalesced
    seen: set[datetime] = set()
    for run in runs:
        if run.due_at in seen:
            continue  # told already
        seen.add(run.due_at)
        number = fires.number_of(run.due_at)
        if number is None:
            yield Finding(
                "U", subject, f"run {run.id} is of {_at(run.due_at)}, where the trigger does not fire"
            )
            continue
        yield from _compare(subject, f"until {_at(run.due_at)}", number + 1 - covered, 1 + run.coalesced)
        covered = number + 1
    yield from _at_its_end(subject, definition, fires, covered)


def _at_its_end(subject: str, definition: Definition, fires: Fires, covered: int) -> Iterator[Finding]:
    """All fires before the one it waits for are in a run, and no others."""
    if definition.until is not None:
        dropped = fires.until(definition.until) - covered
        yield from _compare(subject, f"until it was replaced at {_at(definition.until)}", dropped, 0)
    elif definition.next is not None and (number := fires.number_of(definition.next)) is not None:
        until = f"before {_at(definition.next)}" if not definition.ended else "when it ended"
        yield from _compare(subject, until, number + definition.ended - covered, 0)
    elif definition.next is not None:
        yield Finding("U", subject, f"waits for {_at(definition.next)}, where the trigger does not fire")


def _compare(subject: str, until: str, fires: int, accounted: int) -> Iterator[Finding]:
    if accounted < fires:
        yield Finding("L", subject, f"{fires - accounted} fires {until} are in no run")
    elif accounted > fires:
        yield Finding("U", subject, f"its runs count {accounted - fires} fires too many {until}")


def _expected(known: Known, fired: Mapping[tuple[str, int], Sequence[Any]]) -> Iterator[Finding]:
    for schedule_id, expected in known.fires.items():
        counted = sum(
            1 + run.coalesced for (found, _), runs in fired.items() if found == schedule_id for run in runs
        )
        yield from _compare(f"schedule {schedule_id}", "of those expected", expected, counted)


def _current(history: History) -> dict[tuple[str, int], Definition]:
    """Without a recorder: the definitions that are in force."""
    return {
        (row.id, row.generation): Definition(trigger, None, _next(row))
        for row in history.schedules
        if isinstance(row.job_state, dict) and isinstance(trigger := row.job_state.get("trigger"), dict)
    }


def _next(row: Any) -> datetime | None:
    return _instant(
        next((v for v in (row.next_run_time, row.paused_from, row.broken_due) if v is not None), None)
    )


def _recorded(history: History) -> dict[tuple[str, int], Definition]:
    assert history.recorded is not None
    steps: dict[str, list[Any]] = defaultdict(list)
    for step in history.recorded.schedule_steps:
        steps[step.schedule_id].append(step)
    removed = {(row.subject_id, row.at) for row in history.audit if row.action == "removed"}
    found = {}
    for schedule_id, all_steps in steps.items():
        by_definition = [list(each) for _, each in groupby(all_steps, lambda step: step.generation)]
        for each, following in zip_longest(by_definition, by_definition[1:]):
            dues = [step.next_due for step in each if step.next_due is not None]
            last = each[-1]
            if not isinstance(last.trigger, dict) or not dues:
                continue
            # One that is replaced in another store moves there: deleted and inserted by one transaction.
            replaced = following is not None and (last.op != "DELETE" or following[0].tx == last.tx)
            ended = (
                last.op == "DELETE"
                and last.trigger.get("type") == "date"
                and not replaced
                and (schedule_id, last.at) not in removed
            )
            until = following[0].at if following is not None and replaced and last.paused else None
            definition = Definition(last.trigger, _instant(dues[0]), _instant(dues[-1]), ended, until)
            found[schedule_id, last.generation] = definition
    return found


def _instant(epoch: float | None) -> datetime | None:
    try:
        return None if epoch is None else datetime.fromtimestamp(epoch, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _at(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
