"""cuebx runs: the ledger, read and decided about."""

from typing import TYPE_CHECKING
from uuid import UUID

import click

from cli.output import duration, fail, json_option, print_json, print_record, print_table, say

if TYPE_CHECKING:
    from cli.services import Services
    from shared.db.insights import RunView
    from shared.db.ledger import QueuedMessage

STATES = ("pending", "queued", "running", "succeeded", "dead", "cancelled", "skipped")
ROUNDS_OF_ATTEMPTS = 10
COLUMNS = ("id", "job", "state", "attempt", "due", "took", "schedule", "error or reason")
ERROR_WIDTH = 70


@click.group()
def runs() -> None:
    """The run ledger: every intended execution, and what became of it."""


@runs.command("list")
@click.option("--state", "states", type=click.Choice(STATES), multiple=True, help="Only these states.")
@click.option("--job", help="Only this job.")
@click.option("--schedule", help="Only this schedule.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@json_option
def list_(states: tuple[str, ...], job: str | None, schedule: str | None, limit: int, as_json: bool) -> None:
    """Runs, the newest first."""
    from cli.services import run
    from shared.core.states import RunState
    from shared.db import insights

    async def read(services: "Services") -> "list[RunView]":
        async with services.database.begin() as db:
            return await insights.list_runs(
                db, states=[RunState(state) for state in states], job=job, schedule=schedule, limit=limit
            )

    found = run(read)
    if as_json:
        print_json(found)
    else:
        print_table(COLUMNS, [_row(view) for view in found], empty="runs")


@runs.command()
@click.argument("run_id", metavar="ID", type=click.UUID)
@json_option
def show(run_id: UUID, as_json: bool) -> None:
    """One run with its arguments, error, and the decisions about it."""
    from dataclasses import asdict

    from cli.services import run
    from shared.db import insights

    async def read(services: "Services") -> "tuple[RunView, list[insights.AuditView]]":
        async with services.database.begin() as db:
            view = await insights.show_run(db, run_id)
            if view is None:
                fail(f"there is no run {run_id}")
            return view, await insights.audit_of(db, "run", run_id)

    view, decisions = run(read)
    if as_json:
        print_json({**asdict(view), "audit": decisions})
        return
    print_record(asdict(view))
    if decisions:
        say("")
        print_table(
            ("at", "actor", "action", "detail"), [(d.at, d.actor, d.action, d.detail) for d in decisions]
        )


@runs.command()
@click.argument("run_id", metavar="ID", type=click.UUID)
@json_option
def retry(run_id: UUID, as_json: bool) -> None:
    """Run a dead run again, with a fresh set of attempts. The decision is kept in the audit log."""
    from cli.services import run
    from shared.db import audit, insights, ledger
    from shared.jobs import JOBS

    async def replay(services: "Services") -> "RunView":
        async with services.database.begin() as db:
            before = await insights.show_run(db, run_id)
            if before is None:
                fail(f"there is no run {run_id}")
            spec = JOBS.get(before.job)
            attempts = spec.retry.max_attempts if spec is not None else ROUNDS_OF_ATTEMPTS
            queued: QueuedMessage | None = await ledger.replay(db, run_id, more_attempts=attempts)
            if queued is None:
                fail(f"run {run_id} is {before.state}: only a dead run can be retried")
            detail = {"attempt": before.attempt, "error": before.error}
            await audit.record(
                db, actor=services.actor, action="retried", kind="run", subject=run_id, detail={**detail}
            )
        await services.enqueuer.push_now(queued.queue, [queued.message])
        return await _reread(services, run_id)

    view = run(replay)
    if as_json:
        print_json(view)
    else:
        say(
            f"{view.id}  {view.job} is {view.state} again, with {view.max_attempts - view.attempt} attempts left"
        )


@runs.command()
@click.argument("run_id", metavar="ID", type=click.UUID)
@click.option("--reason", default="", help="Kept with the run.")
@json_option
def cancel(run_id: UUID, reason: str, as_json: bool) -> None:
    """Cancel a run that waits; ask one that runs to end."""
    from cli.services import run
    from shared.core.decide import clean_text
    from shared.db import audit, insights, ledger

    async def stop(services: "Services") -> "RunView":
        why = clean_text(reason) or f"cancelled by {services.actor}"
        async with services.database.begin() as db:
            before = await insights.show_run(db, run_id)
            if before is None:
                fail(f"there is no run {run_id}")
            state = await ledger.cancel(db, run_id, reason=why)
            if state is None:
                fail(f"run {run_id} is {before.state} already")
            action = "cancelled" if state == "cancelled" else "cancel_requested"
            await audit.record(
                db, actor=services.actor, action=action, kind="run", subject=run_id, detail={"reason": why}
            )
        return await _reread(services, run_id)

    view = run(stop)
    if as_json:
        print_json(view)
    elif view.state == "running":
        say(f"{view.id}  {view.job} is running: its worker has been asked to cancel it")
    else:
        say(f"{view.id}  {view.job} is {view.state}")


@runs.command()
@click.option("--job", help="Only this job.")
@click.option("--schedule", help="Only this schedule.")
@click.option(
    "-n", "--last", type=click.IntRange(0, 500), default=10, show_default=True, help="Show so many first."
)
@json_option
def tail(job: str | None, schedule: str | None, last: int, as_json: bool) -> None:
    """Follow runs as they change, until Ctrl-C. With --json one object a line."""
    from cli.follow import follow
    from cli.services import run

    try:
        run(
            lambda services: follow(services.database, job=job, schedule=schedule, last=last, as_json=as_json)
        )
    except KeyboardInterrupt:
        return  # the way to end it


async def _reread(services: "Services", run_id: UUID) -> "RunView":
    from shared.db import insights

    async with services.database.begin() as db:
        view = await insights.show_run(db, run_id)
    if view is None:
        fail(f"run {run_id} was pruned meanwhile")
    return view


def _job(view: "RunView") -> str:
    """Runs that share a long work say which part of it they are."""
    args: object = view.args  # as the row has it: an outside program's may be no object
    part = args.get("part") if isinstance(args, dict) else None
    return f"{view.job} (part {part['number']})" if isinstance(part, dict) and "number" in part else view.job


def _row(view: "RunView") -> tuple[object, ...]:
    took = (
        duration((view.finished_at - view.started_at).total_seconds())
        if view.finished_at and view.started_at
        else None
    )
    said = (view.error or view.reason or "").splitlines()
    line = said[0] if said else ""
    return (
        view.id,
        _job(view),
        view.state,
        f"{view.attempt}/{view.max_attempts}",
        view.due_at or view.run_at,
        took,
        view.schedule_id,
        line if len(line) <= ERROR_WIDTH else f"{line[: ERROR_WIDTH - 1]}…",
    )
