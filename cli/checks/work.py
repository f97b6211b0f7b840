"""Whether the work gets done: leader, workers, schedules, and what has stopped moving."""

from redis.exceptions import RedisError

from cli.checks.finding import Finding, ok, problem, warning
from cli.output import duration
from cli.services import Services
from shared.core.jobspec import Queue
from shared.db import insights, pauses
from shared.queue.insights import ProcessView, leader_lives, live_processes, parked


async def check_processes(services: Services) -> list[Finding]:
    """Leader and workers. Needs Redis, which its own check is about."""
    try:
        alive, processes = await leader_lives(services.redis), await live_processes(services.redis)
        unreadable = await parked(services.redis)
    except (RedisError, OSError):
        return []
    async with services.database.begin() as db:
        term = await insights.latest_term(db)
    findings = [_leader(alive, term), *_workers(processes)]
    if unreadable:
        fix = "read them with LRANGE cuebx:parked 0 -1: somebody else writes to this Redis"
        findings.append(problem("parked messages", f"{unreadable} could not be read", fix))
    return findings


async def check_ledger(services: Services) -> list[Finding]:
    async with services.database.begin() as db:
        summary, broken = await insights.summary(db), await insights.broken_schedules(db)
        held, queues = await pauses.list_pauses(db), await insights.list_queues(db)
    findings = [
        problem(
            "schedule",
            f"{name} is broken: {why}",
            f"cuebx schedules show {name}; then add --replace, or remove",
        )
        for name, why in broken
    ]
    if summary.overdue_schedules:
        found = f"{summary.overdue_schedules} are due and do not fire"
        findings.append(problem("schedules", found, "see the leader's log"))
    findings += [_pause(pause) for pause in held]
    paused = {pause.name for pause in held if pause.kind == "queue"}
    findings += [
        problem(
            "overdue",
            f"queue {queue.name}: {queue.ready} runs wait, for {duration(queue.oldest_s)} by now",
            "start more workers: python -m worker_svc",
        )
        for queue in queues
        if (queue.oldest_s or 0) > insights.OVERDUE_S and queue.name not in paused
    ]
    if summary.dead:
        fix = "cuebx runs list --state dead; then cuebx runs retry ID"
        findings.append(problem("dead runs", f"{summary.dead} used up their attempts", fix))
    for what, count in (
        ("refunds", summary.refunds_need_review),
        ("reminders", summary.reminders_need_review),
    ):
        if count:
            fix = f"cuebx {what} list --help"
            findings.append(warning(what, f"{count} wait for a person's decision", fix))
    return findings or [ok("ledger", "nothing is overdue, dead, broken or paused")]


def _leader(alive: bool, term: insights.TermView | None) -> Finding:
    if alive and term is not None:
        return ok("leader", f"{term.holder}, term {term.term}")
    return problem("leader", "nobody leads: nothing fires", "start a scheduler: python -m scheduler_svc")


def _workers(processes: list[ProcessView]) -> list[Finding]:
    workers = [process for process in processes if process.kind == "worker"]
    served = {name for worker in workers for name in worker.facts.get("queues", "").split(",")}
    unserved = [queue.value for queue in Queue if queue.value not in served]
    if unserved:
        fix = "start a worker: python -m worker_svc (WORKER_QUEUES chooses)"
        return [problem("workers", f"nobody serves {', '.join(unserved)}", fix)]
    return [ok("workers", f"{len(workers)}, every queue is served")]


def _pause(pause: pauses.Pause) -> Finding:
    found = f"{pause.kind} {pause.name} is paused ({pause.cause or pause.actor}): {pause.reason or 'no reason given'}"
    fix = "cuebx queues resume NAME" if pause.kind == "queue" else f"cuebx {pause.kind}s resume NAME"
    fix = fix.replace("NAME", pause.name)
    if pause.cause is None:
        return warning("pause", found, fix)
    return problem("pause", found, f"correct the cause; it ends by itself after a probe, or with {fix}")
