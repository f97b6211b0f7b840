"""What happened around a finding's subject: faults, log lines and recorded steps about it, merged by time."""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from local_stack.auditor import Finding
from tests.chaos.rig.work import Work
from tests.chaos.storm.diary import Diary

MOST_SUBJECTS = 4
MOST_LINES = 120
#: Faults this long before and after a subject's own lines are shown with it.
_AROUND = timedelta(seconds=3)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NOISE = ("event", "timestamp", "level", "logger", "service")
Line = tuple[datetime, str]


def timelines(findings: Sequence[Finding], work: Work, diary: Diary, logs: Path) -> Iterator[str]:
    """A timeline for each of the first few subjects."""
    for subject in list(dict.fromkeys(finding.subject for finding in findings))[:MOST_SUBJECTS]:
        said = " ".join(finding.says for finding in findings if finding.subject == subject)
        names = _names(subject, said, work)
        own = sorted([*_logged(names, logs), *_recorded(names, work), *_worked(names, diary)])
        if own:
            first, last = own[0][0] - _AROUND, own[-1][0] + _AROUND
            faults = [(e.at, f"FAULT {e.kind} {e.says}") for e in diary.entries if e.lane == "fault"]
            own = sorted([*own, *(line for line in faults if first <= line[0] <= last)])
        lines = [f"  {at.strftime('%H:%M:%S.%f')[:-3]}  {text}" for at, text in own[-MOST_LINES:]]
        yield "\n".join([subject, *lines])


def _names(subject: str, said: str, work: Work) -> set[str]:
    """Its own id, those that the finding names, and the runs that have worked on it."""
    names = set(_UUID.findall(f"{subject} {said}")) or {subject.partition(" ")[2]}
    for name in [each for each in names if _UUID.fullmatch(each)]:
        rows = work.rows(
            "SELECT run_id FROM auditor.writes WHERE subject = CAST(:id AS uuid)"
            " UNION SELECT run_id FROM refunds WHERE id = CAST(:id AS uuid)"
            " UNION SELECT batch_id FROM payment_reminders WHERE id = CAST(:id AS uuid)",
            id=name,
        )
        names |= {str(row.run_id) for row in rows if row.run_id is not None}
    return names


def _logged(names: set[str], logs: Path) -> Iterator[Line]:
    for path in sorted(logs.glob("*.log")):
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("{") and any(name in line for name in names):
                try:
                    entry: dict[str, Any] = json.loads(line)
                    at = datetime.fromisoformat(entry["timestamp"])
                except (ValueError, KeyError):
                    continue
                fields = " ".join(f"{key}={value}" for key, value in entry.items() if key not in _NOISE)
                yield at, f"{path.stem:<14} {entry.get('event')} {fields}"


def _recorded(names: set[str], work: Work) -> Iterator[Line]:
    ids = [name for name in names if _UUID.fullmatch(name)]
    for row in work.rows(
        "SELECT * FROM auditor.run_steps WHERE run_id = ANY (CAST(:ids AS uuid[]))", ids=ids
    ):
        yield (
            row.at,
            f"ledger         run {row.run_id} {row.state_was}/{row.attempt_was} -> {row.state}/{row.attempt}",
        )
    for row in work.rows("SELECT * FROM auditor.writes WHERE subject = ANY (CAST(:ids AS uuid[]))", ids=ids):
        says = f"{row.kind} {row.subject} {row.status_was} -> {row.status} by {row.run_id}/{row.run_attempt}"
        yield row.at, f"database       {says}"
    steps = "SELECT * FROM auditor.schedule_steps WHERE schedule_id = ANY (CAST(:ids AS text[]))"
    for row in work.rows(steps, ids=sorted(names)):
        due = None if row.next_due is None else datetime.fromtimestamp(row.next_due, UTC).time()
        yield row.at, f"database       schedule {row.schedule_id}/{row.generation} {row.op} waits for {due}"


def _worked(names: set[str], diary: Diary) -> Iterator[Line]:
    for entry in diary.entries:
        if entry.lane == "work" and any(name in entry.says for name in names):
            yield (
                entry.at,
                f"outside        {entry.kind} {entry.says}{' (not answered)' if entry.failed else ''}",
            )
