"""The trigger of a schedule, as options of a command: `--every`, `--cron`, `--at`, `--tz`."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from shared.core.schedule import TriggerSpec

F = TypeVar("F", bound=Callable[..., Any])


def trigger_options(command: F) -> F:
    """`--every`, `--cron`, `--at` and `--tz`, for `trigger_of`."""
    for option in (
        click.option(
            "--tz", metavar="ZONE", help="Zone of --cron and --at, such as Europe/Berlin. [default: UTC]"
        ),
        click.option(
            "--at", "at_time", metavar="TIME", help="Once: 2030-01-31T08:00:00Z, or a local time with --tz."
        ),
        click.option("--cron", "cron_line", metavar="LINE", help="As in crontab(5): '0 2 * * *'."),
        click.option("--every", "every_span", metavar="DURATION", help="90s, 5m, 1h30m, 2d."),
    ):
        command = option(command)
    return command


def trigger_of(
    every_span: str | None, cron_line: str | None, at_time: str | None, tz: str | None
) -> "TriggerSpec":
    if sum(value is not None for value in (every_span, cron_line, at_time)) != 1:
        raise click.UsageError("give one of --every, --cron and --at")
    if every_span is not None and tz is not None:
        raise click.UsageError("--tz goes with --cron and --at: an interval has no zone")
    if at_time is not None and tz is None and _is_naive(at_time):
        raise click.UsageError(f"--at {at_time}: has no zone; write {at_time}Z, or give --tz")
    from shared.core import schedule
    from shared.core.errors import BadInput

    try:
        if every_span is not None:
            return schedule.every(every_span)
        if cron_line is not None:
            return schedule.cron(cron_line, tz or "UTC")
        return schedule.at(at_time or "", tz or "UTC")
    except BadInput as error:
        option = "--every" if every_span is not None else "--cron" if cron_line is not None else "--at"
        what, _, rest = str(error).partition(": ")
        if what in ("every_s", "expression", "at"):
            raise BadInput(f"{option}: {rest}") from None
        raise BadInput(f"--tz: {rest}" if what == "zone" else f"{option}: {error}") from None


def _is_naive(text: str) -> bool:
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).tzinfo is None
    except ValueError:
        return False
