"""Where the next part of a long run of reminders begins, once it has been called for."""

from sqlalchemy import text

from shared.db.ledger import Executor
from shared.db.reminders import Place
from shared.jobs import SEND_PAYMENT_REMINDER_EMAILS as JOB

_ARGS = text("SELECT args FROM job_runs WHERE job = :job AND key = :key")


async def begins(db: Executor, key: str) -> Place | None:
    """The place behind which the part with this key begins; None where nobody has called for it."""
    row = (await db.execute(_ARGS, {"job": JOB.name, "key": key})).first()
    part = None if row is None else JOB.decode(row.args).part
    return None if part is None else Place(part.after_due_at, part.after_invoice)
