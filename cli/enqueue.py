"""cuebx enqueue."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from cli.output import json_option, note, say, show, to_json
from cli.values import find_job, instant, parse_arguments, time_span

if TYPE_CHECKING:
    from cli.services import Services
    from shared.core.jobspec import JobArgs, JobSpec
    from shared.db.insights import RunView


class _EnqueueCommand(click.Command):
    """Its help names the jobs there are and what they take."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from shared.jobs import JOBS

        with formatter.section("Jobs"):
            formatter.write_dl(
                [(" ".join([spec.name, *spec.args.model_fields]), spec.description) for spec in JOBS.values()]
            )


@click.command(cls=_EnqueueCommand)
@click.argument("job")
@click.option(
    "-a", "--arg", "pairs", multiple=True, metavar="KEY=VALUE", help="An argument; JSON, or else text."
)
@click.option("--at", type=instant, metavar="TIME", help="Not before this instant (ISO 8601 with a zone).")
@click.option(
    "--in",
    "after",
    type=time_span,
    metavar="DURATION",
    help="Not before this much time has passed: 90s, 5m, 2d.",
)
@click.option("--key", help="Unique among the job's runs: one that exists returns its run.")
@json_option
def enqueue(
    job: str,
    pairs: tuple[str, ...],
    at: datetime | None,
    after: timedelta | None,
    key: str | None,
    as_json: bool,
) -> None:
    """Enqueue one run of JOB.

    \b
    cuebx enqueue ping -a sleep_s=2
    cuebx enqueue send_reminder -a user_id=7b0c… --at 2030-01-31T08:00:00Z
    cuebx enqueue daily_cleanup --in 5m --key cleanup-today --json
    """
    if at is not None and after is not None:
        raise click.UsageError("--at and --in exclude each other")
    if key == "":
        raise click.UsageError("--key: is empty")
    spec = find_job(job)
    args = parse_arguments(spec, pairs)
    from cli.services import run

    view, existing = run(lambda services: _enqueue(services, spec, args, at, after, key))
    if as_json:
        click.echo(to_json({**_fields(view), "existing": existing}))
        return
    if existing:
        note(f"the key is taken: this is the run that has it, {view.state}")
    say(f"{view.id}  {view.job} on {view.queue}, {view.state}, due {show(view.run_at)}")


async def _enqueue(
    services: "Services",
    spec: "JobSpec[Any]",
    args: "JobArgs",
    at: datetime | None,
    after: timedelta | None,
    key: str | None,
) -> tuple["RunView", bool]:
    from shared.core.errors import BadInput
    from shared.db import insights

    if after is not None:
        # The database's clock decides what is due, not this machine's.
        now: datetime = (await services.database.rows("SELECT now()"))[0][0]
        try:
            at = now + after
        except OverflowError:
            raise BadInput(f"--in: {after} from now is beyond the calendar") from None
    enqueued = await services.enqueuer.enqueue(spec, args, run_at=at, key=key)
    async with services.database.begin() as db:
        view = await insights.show_run(db, enqueued.run_id)
    if view is None:
        raise RuntimeError(f"run {enqueued.run_id} vanished")
    return view, enqueued.existing


def _fields(view: "RunView") -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(view)
