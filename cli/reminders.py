"""cuebx reminders."""

from typing import TYPE_CHECKING
from uuid import UUID

import click

from cli.output import json_option, print_json, print_table, say

if TYPE_CHECKING:
    from cli.services import Services
    from shared.reminder_review import ReminderView

STATUSES = ("pending", "sending", "unconfirmed", "sent", "skipped", "suppressed", "failed", "needs_review")
ACTIONS = ("mark-sent", "resend", "give-up")
COLUMNS = ("id", "status", "stage", "email", "invoice", "first call", "tag", "reason")


@click.group()
def reminders() -> None:
    """Payment reminders, and those that a person must decide."""


@reminders.command("list")
@click.option(
    "--status",
    "statuses",
    multiple=True,
    type=click.Choice(STATUSES),
    help="May be given several times. Default: needs_review, unconfirmed and failed.",
)
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1, 10_000))
@json_option
def list_(statuses: tuple[str, ...], limit: int, as_json: bool) -> None:
    """What is parked, the newest first. The tag finds a reminder in Brevo's logs."""
    from cli.services import run
    from shared import reminder_review

    async def read(services: "Services") -> "list[ReminderView]":
        async with services.database.begin() as db:
            return await reminder_review.list_reminders(db, statuses or reminder_review.PARKED, most=limit)

    found = run(read)
    if as_json:
        print_json(found)
        return
    rows = [(r.id, r.status, r.stage, r.email, r.invoice_id, r.first_call_at, r.tag, r.reason) for r in found]
    print_table(COLUMNS, rows, empty="reminders")


@reminders.command()
@click.argument("reminder_id", type=click.UUID, metavar="ID")
@click.argument("action", type=click.Choice(ACTIONS))
@click.option("--note", default="", help="Why; kept in the audit log.")
@json_option
def resolve(reminder_id: UUID, action: str, note: str, as_json: bool) -> None:
    """Decide what nobody but a person can.

    \b
    mark-sent  it did go out: Brevo's logs show it under its tag
    resend     it did not: send it once more, under a new key
    give-up    it shall not go out
    """
    from cli.notices import wake_relay
    from cli.services import run
    from shared.reminder_review import Action
    from shared.reminder_review import resolve as decide

    async def write(services: "Services") -> str:
        async with services.database.begin() as db:
            status = await decide(db, reminder_id, Action(action), actor=services.actor, note=note)
        if action == "resend":
            await wake_relay(services.redis)
        return status

    status = run(write)
    if as_json:
        print_json({"id": reminder_id, "status": status})
    else:
        say(f"reminder {reminder_id} is {status}")
