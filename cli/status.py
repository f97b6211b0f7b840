"""cuebx status: the whole system at a glance."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from cli.output import json_option, print_json, print_record, print_table, say, show

if TYPE_CHECKING:
    from cli.services import Services
    from shared.db.insights import LedgerSummary, QueueView, TermView
    from shared.db.pauses import Pause
    from shared.queue.insights import ProcessView


@dataclass(frozen=True, slots=True)
class Status:
    """`leader_alive` and `processes` are None where Redis does not answer; `redis` says why."""

    term: "TermView | None"
    leader_alive: bool | None
    processes: "list[ProcessView] | None"
    queues: "list[QueueView]"
    summary: "LedgerSummary"
    pauses: "list[Pause]"
    redis: str

    def as_json(self) -> dict[str, object]:
        summary = asdict(self.summary)
        return {
            "leader": None
            if self.term is None
            else {
                "term": self.term.term,
                "holder": self.term.holder,
                "since": self.term.started_at,
                "ended_at": self.term.ended_at,
                "alive": self.leader_alive,
            },
            "processes": self.processes,
            "queues": self.queues,
            "runs": {**summary.pop("live"), "dead": summary.pop("dead")},
            **summary,
            "pauses": self.pauses,
            "redis": self.redis,
        }


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Leader and term, processes, queues, runs by state, what is overdue, paused, or waits for a person."""
    from cli.services import run

    found = run(_read)
    if as_json:
        print_json(found.as_json())
    else:
        _print(found)


async def _read(services: "Services") -> Status:
    from redis.exceptions import RedisError

    from shared.core.mask import mask
    from shared.db import insights, pauses
    from shared.queue.insights import leader_lives, live_processes

    async with services.database.begin() as db:
        term, queues = await insights.latest_term(db), await insights.list_queues(db)
        summary, paused = await insights.summary(db), await pauses.list_pauses(db)
    try:
        alive, processes = await leader_lives(services.redis), await live_processes(services.redis)
    except (RedisError, OSError) as error:
        return Status(term, None, None, queues, summary, paused, f"away: {mask(str(error))}")
    return Status(term, alive, processes, queues, summary, paused, "ok")


def _print(found: Status) -> None:
    summary = found.summary
    print_record(
        {
            "leader": _leader(found),
            "schedules": _schedules(summary),
            "runs": _counts({**summary.live, "dead": summary.dead}),
            "last hour": _counts(summary.ended_last_hour),
            "overdue": f"{summary.overdue_runs} runs, {summary.overdue_schedules} schedules",
            "for a person": f"{summary.refunds_need_review} refunds, {summary.reminders_need_review} reminders,"
            f" {summary.dead} dead runs",
            "redis": found.redis,
        }
    )
    from cli.queues import COLUMNS, queue_rows

    say("")
    print_table(COLUMNS, queue_rows(found.queues))
    say("")
    rows = [
        (p.kind, p.name, ", ".join(f"{k}={v}" for k, v in p.facts.items())) for p in found.processes or ()
    ]
    print_table(("process", "name", "facts"), rows, empty="live processes")
    others = [pause for pause in found.pauses if pause.kind != "queue"]
    if others:
        say("")
        print_table(
            ("paused", "name", "why", "by", "since"),
            [(p.kind, p.name, p.reason, p.actor, p.created_at) for p in others],
        )


def _leader(found: Status) -> str:
    term = found.term
    if term is None:
        return "none yet: start python -m scheduler_svc"
    if term.ended_at is not None or found.leader_alive is False:
        return f"NONE (term {term.term} of {term.holder} ended {show(term.ended_at)})"
    doubt = "" if found.leader_alive else ", unconfirmed: Redis is away"
    return f"{term.holder}, term {term.term} since {show(term.started_at)}{doubt}"


def _schedules(summary: "LedgerSummary") -> str:
    broken = f", {summary.broken_schedules} BROKEN" if summary.broken_schedules else ""
    return f"{summary.schedules}{broken}"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items())
