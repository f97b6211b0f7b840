"""cuebx queues."""

from typing import TYPE_CHECKING

import click

from cli.output import duration, json_option, print_json, print_table, say

if TYPE_CHECKING:
    from cli.services import Services
    from shared.db.insights import QueueView

NAMES = ("refunds", "payment_reminders", "maintenance")
COLUMNS = ("queue", "depth", "ready", "running", "oldest", "dead", "paused", "why")


@click.group()
def queues() -> None:
    """Queues: what waits, for how long, what is paused."""


@queues.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Depth (of it ready now), running, age of the oldest ready run, dead, pause."""
    from cli.services import run
    from shared.db import insights

    async def read(services: "Services") -> "list[QueueView]":
        async with services.database.begin() as db:
            return await insights.list_queues(db)

    found = run(read)
    if as_json:
        print_json(found)
    else:
        print_table(COLUMNS, queue_rows(found))


@queues.command()
@click.argument("name", type=click.Choice(NAMES))
@click.option("--reason", default="", help="Shown to whoever wonders.")
def pause(name: str, reason: str) -> None:
    """Hold a queue's runs where they are until it is resumed. What runs now ends as usual."""
    from cli.services import run
    from shared.db import pauses

    async def hold(services: "Services") -> bool:
        async with services.database.begin() as db:
            return await pauses.pause(db, "queue", name, actor=services.actor, reason=reason)

    say(f"queue {name} is paused" if run(hold) else f"queue {name} was paused already")


@queues.command()
@click.argument("name", type=click.Choice(NAMES))
def resume(name: str) -> None:
    """End a queue's pause, whoever began it."""
    from cli.notices import wake_relay
    from cli.services import run
    from shared.db import pauses

    async def release(services: "Services") -> bool:
        async with services.database.begin() as db:
            ended = await pauses.resume(db, "queue", name, actor=services.actor)
        await wake_relay(services.redis)
        return ended

    say(f"queue {name} goes on" if run(release) else f"queue {name} was not paused")


def queue_rows(views: "list[QueueView]") -> list[tuple[object, ...]]:
    """For a table with COLUMNS."""
    return [
        (
            view.name,
            view.depth,
            view.ready,
            view.running,
            duration(view.oldest_s),
            view.dead,
            view.pause_cause or ("by a person" if view.paused else None),
            view.pause_reason,
        )
        for view in views
    ]
