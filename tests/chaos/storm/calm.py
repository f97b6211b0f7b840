"""After the storm: everything is healed, nothing new comes in, and all that is open has to end."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from local_stack.auditor import Rest
from shared import jobs
from shared.core.errors import BadInput
from shared.core.jobspec import NoArgs
from tests.chaos.rig.cluster import Cluster
from tests.chaos.rig.work import Work
from tests.chaos.storm.operators import ACTOR

#: Runs have to end, or be parked, within so many seconds.
RUNS_WITHIN_S = 60.0
#: What waits by design may take longer: an e-mail whose call was cut off (45 s), a refund that Stripe settles (a minute).
EFFECTS_WITHIN_S = 150.0
LOOK_EVERY_S = 0.2
NUDGE_EVERY_S = 5.0
#: A queue that paused itself is parked: its probe ends that.
_LIVE = """
SELECT 'run ' || id || ' (' || job || ') is ' || state || ', attempt ' || attempt AS what FROM job_runs
WHERE state IN ('pending', 'queued', 'running') AND enqueued_at <= :at AND run_at <= clock_timestamp()
  AND NOT EXISTS (SELECT FROM pauses WHERE kind = 'queue' AND name = queue)
LIMIT 5"""
_UNDER_WAY = "SELECT FROM job_runs WHERE job = :job AND state IN ('pending', 'queued', 'running') LIMIT 1"
_EFFECTS = """
SELECT 'refund ' || id || ' is ' || status AS what FROM refunds WHERE status IN ('pending', 'processing')
  AND NOT EXISTS (SELECT FROM job_runs r WHERE r.id = run_id AND r.state = 'pending' AND r.run_at > clock_timestamp())
UNION ALL SELECT 'reminder ' || id || ' is ' || status FROM payment_reminders WHERE status IN ('pending', 'sending')
UNION ALL SELECT 'invoice ' || id || ' has no reminder' FROM invoices i WHERE status = 'open' AND due_at <= :at
  AND NOT EXISTS (SELECT FROM payment_reminders p WHERE p.invoice_id = i.id AND p.stage = '0d')
UNION ALL SELECT kind || ' ' || name || ' is paused: ' || reason FROM pauses WHERE cause IS NOT NULL
LIMIT 5"""


@dataclass(frozen=True, slots=True)
class Calm:
    """`took_s`: until every run had ended or was parked. `left`: what had not, in the time that it had."""

    rest: Rest
    took_s: float
    left: tuple[str, ...]


def settle(cluster: Cluster, say: Callable[[str], None]) -> Calm:
    """To be called when all is healed. People end their pauses and take their schedules away; the rest goes by itself."""
    work = cluster.work
    work.rows("DELETE FROM pauses WHERE cause IS NULL AND kind = 'queue'")
    for view in work.schedules.list():
        if view.source != "code" and view.removed_by is None:
            with suppress(BadInput):  # a one-shot that has just fired
                work.schedules.remove(view.id, actor=ACTOR)
    at = work.now()
    began = time.monotonic()
    live = _until(lambda: _rows(work, _LIVE, at=at), RUNS_WITHIN_S, say)
    took_s = round(time.monotonic() - began, 1)
    # Webhooks may have been given up. What succeeded is read again once a day: that day has passed.
    work.rows("UPDATE refunds SET reconciled_at = reconciled_at - interval '1 day'")
    effects = _until(lambda: _open_effects(cluster, at), EFFECTS_WITHIN_S, say, lambda: _nudge(work))
    return Calm(Rest(at=at, within_s=RUNS_WITHIN_S), took_s, (*live, *effects))


def _rows(work: Work, sql: str, **params: object) -> Sequence[str]:
    return [row.what for row in work.rows(sql, **params)]


def _open_effects(cluster: Cluster, at: datetime) -> Sequence[str]:
    left = list(_rows(cluster.work, _EFFECTS, at=at))
    if not left:
        booked = {entry["id"]: entry["status"] for entry in cluster.stripe.refunds()}
        sql = "SELECT id, status, provider_refund_id FROM refunds WHERE status IN ('submitted', 'succeeded')"
        for row in cluster.work.rows(sql):
            if booked.get(row.provider_refund_id) != {"submitted": "pending"}.get(row.status, row.status):
                left.append(f"refund {row.id} is {row.status}, and Stripe says otherwise")
    return left


def _nudge(work: Work) -> None:
    """Built-in schedules do this every ten minutes, and skip what still runs, as is done here."""
    for job in (jobs.RECONCILE_REFUNDS, jobs.CONFIRM_REMINDERS):
        if not work.rows(_UNDER_WAY, job=job.name):
            work.enqueue(job, [NoArgs()])


def _until(
    left: Callable[[], Sequence[str]],
    within_s: float,
    say: Callable[[str], None],
    nudge: Callable[[], None] = lambda: None,
) -> Sequence[str]:
    """Returns what is left: nothing, as soon as that is so."""
    deadline = time.monotonic() + within_s
    nudged = time.monotonic()
    while (found := left()) and time.monotonic() < deadline:
        if time.monotonic() - nudged > NUDGE_EVERY_S:
            nudged = time.monotonic()
            nudge()
            say(f"calm: waiting for {found[0]}")
        time.sleep(LOOK_EVERY_S)
    return found
