"""cuebx schedules: what fires when."""

from datetime import timedelta
from typing import TYPE_CHECKING

import click

from cli.output import fail, json_option, print_json, print_record, print_table, say, show
from cli.schedule_display import COLUMNS, answer, last_run, row, state
from cli.schedule_trigger import trigger_of, trigger_options
from cli.values import find_job, parse_arguments, time_span

if TYPE_CHECKING:
    from shared.db.insights import RunView

STORES = ("refunds", "payment_reminders", "maintenance")


@click.group()
def schedules() -> None:
    """Schedules: a trigger bound to a job and its arguments, kept in the database.

    Edits reach the running leader at once. Those that code defines (process_pending_refunds_job …) may be edited,
    paused and removed too: that holds until `cuebx schedules reset ID`.
    """


@schedules.command("list")
@click.option("-n", "--limit", type=click.IntRange(1, 10_000), default=500, show_default=True)
@click.option("--after", metavar="ID", default="", help="Go on after this one, the last that was listed.")
@json_option
def list_(limit: int, after: str, as_json: bool) -> None:
    """Schedules by id, with their next and last runs."""
    from cli.schedule_store import open_schedules

    with open_schedules() as store:
        found = store.page(after=after, limit=limit)
    if as_json:
        print_json([view.model_dump(mode="json") for view in found])
    else:
        print_table(COLUMNS, [row(view) for view in found], empty="schedules")
    if len(found) == limit and found[-1].removed_by is None:  # removed ones end the last page
        click.echo(f"there may be more: --after {found[-1].id}", err=True)


@schedules.command("show")
@click.argument("schedule_id", metavar="ID")
@json_option
def show_(schedule_id: str, as_json: bool) -> None:
    """One schedule, and when it fires next."""
    from cli.schedule_store import open_schedules

    with open_schedules() as store:
        view = store.get(schedule_id)
        alive = view.broken is None and view.removed_by is None
        coming = store.preview(schedule_id, 3) if alive and not view.paused else []
    if as_json:
        print_json({**view.model_dump(mode="json"), "next_fires": coming})
        return
    print_record({**dict(view), "trigger": view.trigger, "last_run": last_run(view), "state": state(view)})
    print_record({"next_fires": ", ".join(map(show, coming))})


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@click.option("--job", required=True, help="What it runs: see cuebx enqueue --help.")
@trigger_options
@click.option(
    "-a", "--arg", "pairs", multiple=True, metavar="KEY=VALUE", help="An argument; JSON, or else text."
)
@click.option("--store", type=click.Choice(STORES), help="The job store. [default: the job's queue]")
@click.option(
    "--catch-up", is_flag=True, help="Run every missed fire, one after the other, instead of one for all."
)
@click.option(
    "--misfire-grace", type=time_span, metavar="DURATION", help="Skip a fire that is later than this."
)
@click.option(
    "--overlap",
    type=click.Choice(("skip", "queue", "allow")),
    help="A fire while an earlier run is not done: skip it, queue it, or run both. [default: the job's]",
)
@click.option("--replace", is_flag=True, help="Edit the schedule if there is one with this id.")
@json_option
def add(
    schedule_id: str,
    job: str,
    every_span: str | None,
    cron_line: str | None,
    at_time: str | None,
    tz: str | None,
    pairs: tuple[str, ...],
    store: str | None,
    catch_up: bool,
    misfire_grace: timedelta | None,
    overlap: str | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Add a schedule.

    \b
    cuebx schedules add heartbeat --job ping --every 5m
    cuebx schedules add nightly --job daily_cleanup --cron "0 2 * * *" --tz Europe/Berlin
    cuebx schedules add welcome --job send_reminder --at 2030-01-31T08:00:00Z -a user_id=7b0c…
    """
    trigger = trigger_of(every_span, cron_line, at_time, tz)
    spec = find_job(job)
    from cli.schedule_store import open_schedules
    from cli.services import operator
    from shared.core.schedule import ScheduleSpec

    asked = ScheduleSpec.parse(
        {
            "id": schedule_id,
            "job": job,
            "args": spec.encode(parse_arguments(spec, pairs)),
            "trigger": trigger,
            "store": store,
            "catch_up": catch_up,
            "misfire_grace_s": None if misfire_grace is None else misfire_grace.total_seconds(),
            "overlap": overlap,
        }
    )
    with open_schedules() as opened:
        view = opened.add(asked, actor=operator(), replace=replace)
    answer(view, as_json)


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@click.option("--reason", default="", help="Shown to whoever wonders.")
@json_option
def pause(schedule_id: str, reason: str, as_json: bool) -> None:
    """Stop firing until it is resumed."""
    from cli.schedule_store import open_schedules
    from cli.services import operator

    with open_schedules() as store:
        view = store.pause(schedule_id, actor=operator(), reason=reason)
    answer(view, as_json)


@schedules.command()
@click.argument("schedule_id", metavar="ID")
@json_option
def resume(schedule_id: str, as_json: bool) -> None:
    """Fire again. What was missed meanwhile becomes one skipped run that counts it."""
    from cli.schedule_store import open_schedules
    from cli.services import operator

    with open_schedules() as store:
        view = store.resume(schedule_id, actor=operator())
    if view is not None:
        answer(view, as_json)
    elif as_json:
        print_json(None)
    else:
        say(f"{schedule_id}: its date passed during the pause; it is finished, with one skipped run")


@schedules.command("run")
@click.argument("schedule_id", metavar="ID")
@json_option
def run_(schedule_id: str, as_json: bool) -> None:
    """Run it once now, beside its own fires."""
    from cli.schedule_store import open_schedules
    from cli.services import Services, run
    from shared.db import insights

    with open_schedules() as store:
        job, args = store.job_and_args(schedule_id)
    spec = find_job(job)

    async def enqueue(services: Services) -> "RunView":
        enqueued = await services.enqueuer.enqueue(spec, spec.decode(args), schedule_id=schedule_id)
        async with services.database.begin() as db:
            view = await insights.show_run(db, enqueued.run_id)
        return view if view is not None else fail(f"run {enqueued.run_id} was pruned meanwhile")

    view = run(enqueue)
    if as_json:
        print_json(view)
    else:
        say(f"{view.id}  {view.job} on {view.queue}, {view.state}")


@schedules.command()
@click.argument("schedule_id", metavar="ID")
def remove(schedule_id: str) -> None:
    """Remove it. Its runs stay."""
    from cli.schedule_store import open_schedules
    from cli.services import operator

    with open_schedules() as store:
        store.remove(schedule_id, actor=operator())
    say(f"schedule {schedule_id} is removed")


@schedules.command()
@click.argument("schedule_id", metavar="ID")
def reset(schedule_id: str) -> None:
    """Restore what code defines: an operator's edit, pause or removal is dropped."""
    from cli.schedule_store import open_schedules
    from cli.services import operator

    with open_schedules() as store:
        store.reset(schedule_id, actor=operator())
    say(f"schedule {schedule_id}: the leader restores what code defines")


@schedules.command()
@click.argument("schedule_id", metavar="[ID]", required=False)
@trigger_options
@click.option("-n", "--count", type=click.IntRange(1, 1000), default=5, show_default=True)
@json_option
def preview(
    schedule_id: str | None,
    every_span: str | None,
    cron_line: str | None,
    at_time: str | None,
    tz: str | None,
    count: int,
    as_json: bool,
) -> None:
    """When a schedule fires next, or would: give an ID, or a trigger.

    \b
    cuebx schedules preview process_pending_refunds_job
    cuebx schedules preview --cron "30 2 * * *" --tz Europe/Berlin -n 3
    """
    given = any((every_span, cron_line, at_time))
    if given == (schedule_id is not None):
        raise click.UsageError("give either an ID, or one of --every, --cron and --at")
    trigger = trigger_of(every_span, cron_line, at_time, tz) if given else None
    from cli.schedule_store import open_schedules
    from shared.core.schedule import ScheduleSpec

    asked: str | ScheduleSpec = schedule_id or ""
    if trigger is not None:
        asked = ScheduleSpec(id="preview", job="ping", trigger=trigger)

    with open_schedules() as store:
        fires = store.preview(asked, count)
    if as_json:
        print_json(list(fires))
        return
    for at in fires:
        say(show(at))
    if not fires:
        fail("it never fires (again)")
