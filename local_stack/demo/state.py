"""What the demo sees while it runs: one query on the database, as an operator's dashboard would ask."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

_SQL = text("""
SELECT
  (SELECT count(*) FROM refunds WHERE status IN ('succeeded', 'failed', 'needs_review')) AS refunds_done,
  (SELECT count(*) FROM payment_reminders WHERE invoice_id IS NOT NULL AND status = 'sent') AS reminders_sent,
  (SELECT count(*) FROM payment_reminders WHERE status IN ('pending', 'sending', 'unconfirmed')) AS reminders_open,
  (SELECT count(*) FROM job_runs WHERE state IN ('pending', 'queued') AND queue = 'refunds') AS refunds_waiting,
  (SELECT count(*) FROM job_runs WHERE state IN ('pending', 'queued') AND queue = 'payment_reminders') AS reminders_waiting,
  (SELECT count(*) FROM job_runs WHERE state = 'running') AS running,
  (SELECT count(*) FROM job_runs WHERE state = 'succeeded') AS succeeded,
  (SELECT max(due_at) FROM job_runs WHERE schedule_id = :tick AND started_at IS NOT NULL) AS last_tick,
  (SELECT worker FROM job_runs WHERE state = 'running' AND job = 'process_refund' LIMIT 1) AS busy_worker,
  term.term, term.holder
FROM (SELECT 1) one LEFT JOIN LATERAL (
  SELECT term, holder FROM leader_terms WHERE ended_at IS NULL ORDER BY term DESC LIMIT 1) term ON true
""")


@dataclass(frozen=True, slots=True)
class State:
    """`holder` and `busy_worker` are process names, `host:pid`."""

    refunds_done: int
    reminders_sent: int
    reminders_open: int
    refunds_waiting: int
    reminders_waiting: int
    running: int
    succeeded: int
    last_tick: object | None
    busy_worker: str | None
    term: int | None
    holder: str | None


def look(connection: Connection, tick: str) -> State:
    """The state of this moment. `tick` is the schedule whose fires show that somebody leads."""
    return State(**connection.execute(_SQL, {"tick": tick}).one()._mapping)
