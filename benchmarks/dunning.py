"""A hundred thousand customers with an invoice that is overdue, and what came of the reminders about it."""

from benchmarks.ours import Ours
from benchmarks.sandboxes import Sandbox
from benchmarks.watching import wait_for_none
from shared.jobs import SEND_PAYMENT_REMINDER_EMAILS as JOB

#: Overdue, so that the amount stands in the subject: for the audit.
STAGE = "+3d"
_FORGET = "TRUNCATE payment_reminders, reminder_batches, invoices CASCADE"
_CUSTOMERS = """
INSERT INTO customers (id, email, name, locale)
SELECT CAST(lpad(to_hex(n), 32, '0') AS uuid), 'customer' || n || '@example.com', 'Customer ' || n,
  CASE n % 2 WHEN 0 THEN 'en_US' ELSE 'de_DE' END
FROM generate_series(1, CAST(:count AS int)) n
ON CONFLICT DO NOTHING
"""
_OWE = """
INSERT INTO invoices (customer_id, number, amount_due, currency, due_at, created_at)
SELECT CAST(lpad(to_hex(n), 32, '0') AS uuid), 'R' || :round || '-' || n, 1000 + n * 7919 % 900000, 'eur',
  now() - interval '3 days 1 hour' - n % 1000 * interval '1 second', now() - interval '2 days'
FROM generate_series(1, CAST(:count AS int)) n
"""
_WRONG = """
SELECT count(*) FILTER (WHERE r.status = 'sent' AND r.stage = :stage AND r.message_id IS NOT NULL) AS sent,
  count(*) AS rows, count(DISTINCT (r.invoice_id, r.stage)) AS distinct,
  (SELECT sum(amount_due) FROM invoices) AS amount
FROM payment_reminders r
"""
_LIVE = """
SELECT count(*) AS live FROM job_runs
WHERE state IN ('pending', 'queued', 'running') AND queue = 'payment_reminders'
"""
_ENDED = """
SELECT extract(epoch FROM max(finished_at))::float8 AS last, count(*) FILTER (WHERE state <> 'succeeded') AS bad
FROM job_runs WHERE queue = 'payment_reminders' AND enqueued_at >= to_timestamp(:since)
"""


def owe(ours: Ours, count: int, number: int) -> None:
    """Everybody owes something new; what was before is forgotten."""
    ours.rows(_FORGET)
    ours.rows(_CUSTOMERS, count=count)
    ours.rows(_OWE, count=count, round=str(number))
    for table in ("customers", "invoices", "payment_reminders", "reminder_batches", "job_runs"):
        ours.rows(f"ANALYZE {table}")


def wait_for_reminders(ours: Ours, since: float, limit_s: float = 300) -> float:
    """Until no run of their queue is alive; when the last ended. Raises RuntimeError where one failed."""
    wait_for_none(ours, _LIVE, limit_s)
    found = ours.rows(_ENDED, since=since)[0]
    if found.bad or found.last is None:
        raise RuntimeError(f"{found.bad} runs of {JOB.name} did not succeed")
    return float(found.last)


def audit(ours: Ours, brevo: Sandbox, count: int) -> str:
    """Each (invoice, stage) once, each address once, the amounts to the cent; what is wrong, or empty."""
    rows = ours.rows(_WRONG, stage=STAGE)[0]
    books = brevo.books()
    mails = books["mails"]
    addresses = {mail["email"] for mail in mails}
    amount = sum(_cents(mail["subject"]) for mail in mails)
    wrong = [
        f"{name}: {found} instead of {wanted}"
        for name, found, wanted in (
            ("reminders sent", rows.sent, count),
            ("rows", rows.rows, count),
            ("distinct rows", rows.distinct, count),
            ("mails", len(mails), count),
            ("addresses", len(addresses), count),
            ("doubled", len(books["doubled"]), 0),
            ("cents in subjects", amount, int(rows.amount)),
        )
        if found != wanted
    ]
    return "; ".join(wrong)


def _cents(subject: str) -> int:
    """Of `Invoice R1-17 is overdue: €1,234.56`, in whatever locale."""
    return int("".join(character for character in subject.rpartition(":")[2] if character.isdigit()))
