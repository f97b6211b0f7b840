"""When a cluster has done all that it was given."""

from datetime import datetime
from typing import Any

from tests.chaos.rig.work import Work
from tests.wait import wait_until

#: What nobody has finished or parked of what was there at :cutoff. Fires go on meanwhile; a pause is a visible wait.
_OPEN = """
SELECT 'run ' || id || ' (' || job || ') is ' || state || ', attempt ' || attempt AS what FROM job_runs r
  WHERE state IN ('pending', 'queued', 'running') AND enqueued_at <= :cutoff
    AND NOT EXISTS (SELECT FROM pauses p WHERE r.state <> 'running'
                    AND ((p.kind, p.name) IN (('queue', r.queue), ('job', r.job), ('schedule', r.schedule_id))))
UNION ALL
SELECT 'refund ' || id || ' is ' || status FROM refunds
  WHERE status IN ('pending', 'processing') AND created_at <= :cutoff
    AND NOT EXISTS (SELECT FROM pauses WHERE kind = 'queue' AND name = 'refunds')
UNION ALL
SELECT 'reminder ' || id || ' is ' || status FROM payment_reminders
  WHERE status IN ('pending', 'sending') AND created_at <= :cutoff
    AND NOT EXISTS (SELECT FROM pauses WHERE kind = 'queue' AND name = 'payment_reminders')
UNION ALL
SELECT 'invoice ' || id || ' has no reminder' FROM invoices i
  WHERE id = ANY (:owed) AND NOT EXISTS (SELECT FROM payment_reminders r WHERE r.invoice_id = i.id)
    AND NOT EXISTS (SELECT FROM pauses WHERE kind = 'queue' AND name = 'payment_reminders')
LIMIT 5
"""


def wait_quiet(work: Work, cutoff: datetime, within_s: float) -> None:
    """Returns when all that was there at `cutoff` is terminal, parked, or behind a pause. AssertionError names some of the rest.

    A refund that Stripe has and has not settled (`submitted`), and a reminder that waits for Brevo's events
    (`unconfirmed`), are waits with a date: they count as done.
    """
    left: list[str] = []

    def quiet() -> bool:
        rows: Any = work.rows(_OPEN, cutoff=cutoff, owed=list(work.owed))
        left[:] = [row.what for row in rows]
        return not left

    try:
        wait_until(quiet, within_s)
    except AssertionError:
        raise AssertionError(f"not quiet within {within_s:g} s:\n" + "\n".join(left)) from None
