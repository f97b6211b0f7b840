"""The cuebx command. Each command imports what it needs when it runs: help answers at once.

Exit status: 0 done, 1 failed or nothing found, 2 usage or configuration. Errors are one line, `error: …`.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from cli.lazy import Lazy, LazyGroup
from shared.core.errors import BadInput, ConfigError

COMMANDS: Mapping[str, Lazy] = {
    "demo": Lazy("cli.demo:demo", "See it work, break, and work: the finite showcase."),
    "up": Lazy("cli.up:up", "Run everything on this machine until Ctrl-C."),
    "migrate": Lazy("cli.migrate:migrate", "Bring the database's schema to this version."),
    "doctor": Lazy("cli.doctor:doctor", "Name each problem and its fix."),
    "status": Lazy("cli.status:status", "Leader, processes, queues and runs at a glance."),
    "schedules": Lazy("cli.schedules:schedules", "What fires when: list, add, pause, run, preview …"),
    "enqueue": Lazy("cli.enqueue:enqueue", "Enqueue one run of a job."),
    "runs": Lazy("cli.runs:runs", "The run ledger: list, show, retry, cancel, tail."),
    "queues": Lazy("cli.queues:queues", "Depth, age and pauses of the queues."),
    "refunds": Lazy("cli.refunds:refunds", "Refunds, and those that a person must decide."),
    "reminders": Lazy("cli.reminders:reminders", "Payment reminders, and those that a person must decide."),
}
INTERRUPTED = 130


class Root(LazyGroup):
    """Turns every error into one line and an exit status."""

    lazy = COMMANDS

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, False, **extra)
        try:
            _refuse_what_is_no_text(sys.argv[1:] if args is None else args)
            answer = super().main(args, prog_name or "cuebx", complete_var, False, **extra)
            status = answer if isinstance(answer, int) else 0
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader has seen enough (`| head`); nothing may be written to it any more, at exit either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status = 1
        except (Exception, KeyboardInterrupt) as error:
            status = report(error)
        sys.exit(status)


def report(error: BaseException) -> int:
    """Prints what went wrong, in one line, and returns the exit status."""
    match error:
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message(), err=True)
            return 2
        case click.UsageError():
            message = error.format_message()
            hint = f" (see {error.ctx.command_path} --help)" if error.ctx is not None else ""
            return _error(f"{message[:1].lower()}{message[1:].rstrip('.')}{hint}", 2)
        case click.Abort() | KeyboardInterrupt():
            return _error("interrupted", INTERRUPTED)
        case click.ClickException():
            return _error(error.format_message(), error.exit_code)
        case ConfigError():
            return _error(str(error), 2)
        case BadInput():
            return _error(str(error), 1)
    from cli.failures import explain

    if os.environ.get("LOG_LEVEL") == "DEBUG":
        import traceback

        from shared.core.mask import mask

        click.echo(mask("".join(traceback.format_exception(error))), err=True)
    return _error(explain(error), 1)


def _refuse_what_is_no_text(words: Sequence[str]) -> None:
    """Bytes that are no UTF-8 arrive as lone surrogates, which no server takes."""
    for word in words:
        if "\x00" in word or any("\ud800" <= character <= "\udfff" for character in word):
            raise click.UsageError(f"{word!r}: is no text in UTF-8")


def _error(message: str, status: int) -> int:
    # It may quote what was typed, and click puts choices on lines of their own.
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(message.split()))
    click.echo(f"error: {line}", err=True)
    return status


@click.group(
    "cuebx", cls=Root, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="cuebx-jobs", prog_name="cuebx")
def cli() -> None:
    """The CueBX job system: schedules, runs, refunds, reminders.

    Commands read DATABASE_URL, REDIS_URL and the other variables of .env.example. Where DATABASE_URL is not set, they
    use the stack that `cuebx up` runs in this directory.

    \b
    cuebx up                                        everything, on this machine
    cuebx schedules add nightly --job ping --cron "0 2 * * *"
    cuebx enqueue ping -a sleep_s=2
    cuebx runs tail
    """


def main() -> None:
    """The console script."""
    cli()


if __name__ == "__main__":
    main()
