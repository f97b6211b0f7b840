"""One audit: all checks over one history."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from local_stack.auditor import fencing, firing, ledger, refunds, reminders, runs
from local_stack.auditor.findings import Finding
from local_stack.auditor.history import read
from local_stack.auditor.known import Books, Known, Rest


def audit(
    connection: Connection,
    *,
    stripe: Books | None = None,
    brevo: Books | None = None,
    known: Known | None = None,
    rest: Rest | None = None,
) -> list[Finding]:
    """All violations in this database, in its whole history. Reads in the caller's transaction, and changes nothing.

    `stripe`, `brevo`: what the sandboxes' `/_sandbox/books` answer; without one, its effects are not compared. `rest`: the
    system was given the time to finish; without it, what is still open is no finding.
    """
    known = known or Known()
    history = read(connection)
    return [
        *firing.check(history, known),
        *ledger.check(history, known, rest),
        *refunds.check(history, known, rest, stripe),
        *reminders.check(history, known, rest, brevo),
        *fencing.check(history),
        *runs.check(history),
    ]


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """For an audit while fires go on: all of it is read as it was at one moment. Read the providers' books before.

    The engine's bounds do not apply: an audit judges between its reads, for minutes after a long history, and holds no lock that
    anybody waits for.
    """
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
        for bound in ("statement_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(text(f"SET LOCAL {bound} = 0"))
        yield connection
        connection.rollback()
