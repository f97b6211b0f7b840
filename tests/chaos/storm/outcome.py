"""What came out of a storm, as a table and as JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from local_stack.auditor import Finding
from tests.chaos.rig.work import Work
from tests.chaos.storm.calm import Calm
from tests.chaos.storm.diary import Diary
from tests.chaos.storm.fault_plan import MENDS


@dataclass(frozen=True, slots=True)
class Outcome:
    """Numbers of one storm. `calm_s`: seconds of calm until every run had ended or was parked."""

    seed: int
    minutes: float
    faults: Mapping[str, int]
    work: Mapping[str, int]
    unanswered: int
    fires: int
    terms: int
    runs: Mapping[str, int]
    runs_retried: int
    leases_lost: int
    refunds: Mapping[str, int]
    reminders: Mapping[str, int]
    mails: int
    calm_s: float
    findings: Sequence[str]

    @property
    def ok(self) -> bool:
        return not self.findings

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """What `as_json` told. Raises TypeError for fields of another version."""
        return cls(**{name: value for name, value in told.items() if name != "ok"})


def outcome(
    seed: int,
    minutes: float,
    work: Work,
    diary: Diary,
    calm: Calm,
    mails: int,
    findings: Sequence[Finding],
) -> Outcome:
    def by(sql: str) -> dict[str, int]:
        return {row[0]: int(row[1]) for row in work.rows(sql)}

    [numbers] = work.rows(
        "SELECT (SELECT coalesce(sum(1 + coalesced), 0) FROM job_runs WHERE due_at IS NOT NULL) AS fires,"
        " (SELECT count(*) FROM leader_terms) AS terms, (SELECT sum(losses) FROM job_runs) AS losses, (SELECT count(*) FROM job_runs WHERE attempt > 1) AS retried"
    )
    return Outcome(
        seed=seed,
        minutes=minutes,
        faults={kind: n for kind, n in diary.counts("fault").items() if kind not in MENDS},
        work=dict(diary.counts("work")),
        unanswered=diary.unanswered(),
        fires=int(numbers.fires),
        terms=int(numbers.terms),
        runs=by("SELECT state, count(*) FROM job_runs GROUP BY 1 ORDER BY 1"),
        runs_retried=int(numbers.retried),
        leases_lost=int(numbers.losses),
        refunds=by("SELECT status, count(*) FROM refunds GROUP BY 1 ORDER BY 1"),
        reminders=by("SELECT status, count(*) FROM payment_reminders GROUP BY 1 ORDER BY 1"),
        mails=mails,
        calm_s=calm.took_s,
        findings=[str(finding) for finding in findings],
    )


def table(result: Outcome) -> str:
    """For a person, and for docs/reliability.md."""
    rows = [
        ("faults", _listed(result.faults)),
        ("work from outside", f"{_listed(result.work)}; not answered: {result.unanswered}"),
        ("fires", f"{result.fires:,}, in {result.terms} terms of leadership"),
        (
            "runs",
            f"{_listed(result.runs)}; {result.runs_retried:,} took more than one attempt, {result.leases_lost:,} leases were lost",
        ),
        ("refunds", _listed(result.refunds)),
        ("reminders", f"{_listed(result.reminders)}; {result.mails:,} e-mails"),
        ("calm", f"every run ended or parked after {result.calm_s:g} s"),
        ("findings", str(len(result.findings))),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {says} |" for name, says in rows)])


def section(results: Sequence[Outcome], measured: str) -> str:
    """For docs/reliability.md: a line for each storm, then all faults by kind."""
    head = (
        "| seed | minutes | faults | fires | terms | runs | retried | refunds | e-mails | calm, s | findings |",
        "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    )
    faults: Counter[str] = Counter()
    lines = []
    for each in results:
        faults.update(each.faults)
        cells = [
            *(
                each.seed,
                f"{each.minutes:g}",
                f"{sum(each.faults.values()):,}",
                f"{each.fires:,}",
                each.terms,
            ),
            *(f"{sum(each.runs.values()):,}", f"{each.runs_retried:,}", f"{sum(each.refunds.values()):,}"),
            *(f"{each.mails:,}", f"{each.calm_s:g}", len(each.findings)),
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join([*head, *lines, "", f"Faults: {_listed(faults)}. {measured}"])


def _listed(counts: Mapping[str, int]) -> str:
    total = sum(counts.values())
    each = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda c: -c[1]))
    return f"{total:,} ({each})"
