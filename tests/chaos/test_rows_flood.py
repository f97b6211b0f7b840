"""Row 29: a hundred thousand schedules due in the same second."""

import signal
import time
from datetime import datetime

import pytest
from sqlalchemy import text

from scheduler_svc.rows import encode_state
from shared.core.schedule import DateTrigger, IntervalTrigger, ScheduleSpec
from tests.chaos.business import BY_HAND
from tests.chaos.rig.cluster import Cluster
from tests.wait import wait_until

FLOOD, SMALLER_FLOOD = 100_000, 20_000
#: No interval comes round a second time within a test.
YEAR_S = 365 * 86_400.0
#: Within seconds, as ever: the flood goes on for ten times as long.
PAID_WITHIN_S = 5.0
#: On a machine that is busy with other tests.
FLOOD_WITHIN_S = 120.0
INSERT = """
INSERT INTO schedules (id, store, job_state, next_run_time)
SELECT 'flood-' || n, 'maintenance', CAST(CASE n % 2 WHEN 0 THEN :once ELSE :again END AS jsonb),
  extract(epoch FROM CAST(:due AS timestamptz))
FROM generate_series(CAST(:first AS int), :last) AS n
"""
#: Schedules that one statement inserts: the flight recorder notes each, and a statement has ten seconds.
AT_ONCE = 10_000
WRONG = """
WITH fired AS (SELECT * FROM job_runs WHERE schedule_id LIKE 'flood-%'),
  asked AS (SELECT 'flood-' || n AS id FROM generate_series(1, :n) AS n)
SELECT 'never fired' AS what, count(*) AS n FROM (SELECT id FROM asked EXCEPT SELECT schedule_id FROM fired) missing
UNION ALL SELECT 'fired, and nobody asked for it', count(*) FROM (SELECT schedule_id FROM fired EXCEPT SELECT id FROM asked) odd
UNION ALL SELECT 'runs too many', count(*) - count(DISTINCT schedule_id) FROM fired
UNION ALL SELECT 'fires that do not add up', sum(1 + coalesced) - :n FROM fired
UNION ALL SELECT 'of another time', count(*) FROM fired WHERE due_at <> :due
UNION ALL SELECT 'not done at the first attempt', count(*) FROM fired WHERE (state, attempt) <> ('succeeded', 1)
UNION ALL SELECT 'one-shots that are still there', count(*) FROM schedules
  WHERE id LIKE 'flood-%' AND job_state -> 'trigger' ->> 'type' = 'date'
UNION ALL SELECT 'intervals that are gone, or still due', :n / 2 - count(*) FROM schedules
  WHERE id LIKE 'flood-%' AND next_run_time = extract(epoch FROM CAST(:due AS timestamptz)) + :every_s
"""


def begin_flood(cluster: Cluster, n: int) -> datetime:
    """Half of them one-shots, half intervals; they are all there at once, with their commit, and due. Returns when they were."""
    due: datetime = cluster.work.now()
    triggers = {"once": DateTrigger(at=due), "again": IntervalTrigger(every_s=YEAR_S, start=due)}
    states = {
        name: encode_state(ScheduleSpec(id="flood", job="ping", trigger=trigger))
        for name, trigger in triggers.items()
    }
    with cluster.work.engine.begin() as connection:
        for first in range(1, n + 1, AT_ONCE):
            last = min(n, first + AT_ONCE - 1)
            connection.execute(text(INSERT), {"first": first, "last": last, "due": due, **states})
    return due


def fired(cluster: Cluster) -> int:
    sql = "SELECT count(*) AS n FROM job_runs WHERE schedule_id LIKE 'flood-%'"
    count: int = cluster.work.rows(sql)[0].n
    return count


def still_due(cluster: Cluster, due: datetime) -> bool:
    sql = "SELECT FROM schedules WHERE next_run_time <= extract(epoch FROM CAST(:due AS timestamptz)) LIMIT 1"
    return bool(cluster.work.rows(sql, due=due))


def judge(cluster: Cluster, n: int, due: datetime) -> None:
    """Each has fired once, and each run is done."""
    wait_until(lambda: not still_due(cluster, due), FLOOD_WITHIN_S, "all of them fired")
    cluster.wait_quiet(FLOOD_WITHIN_S)
    wrong = cluster.work.rows(WRONG, n=n, due=due, every_s=YEAR_S)
    assert {row.what: int(row.n) for row in wrong if row.n} == {}


@pytest.mark.row(29)
@pytest.mark.timeout(300)
def test_row_29_a_hundred_thousand_fires_of_one_second_are_one_run_each_and_refunds_do_not_wait_for_them(
    cluster: Cluster,
) -> None:
    """Given a flood that has begun to fire, when one refund is enqueued and another waits for the next sweep, whose own fire comes
    due behind the flood, then both are paid while it goes on; and the leader that fires it all is the one that began."""
    cluster.start("worker").wait_ready()
    cluster.start("scheduler").wait_ready()
    due = begin_flood(cluster, FLOOD)
    wait_until(lambda: fired(cluster) > FLOOD // 20, 60, "the flood fires")
    enqueued, swept = cluster.work.refunds(2)
    began = time.monotonic()
    cluster.work.pay_now(enqueued)
    for refund_id in (enqueued, swept):
        cluster.work.refund_in(refund_id, "submitted", "succeeded", within_s=FLOOD_WITHIN_S)
    took = time.monotonic() - began
    assert still_due(cluster, due), f"they were paid after {took:.1f} s, behind the flood"
    assert took < PAID_WITHIN_S, f"it took {took:.1f} s"
    # Not the audit: it judges fire by fire, for half a minute. These statements judge the same sums.
    judge(cluster, FLOOD, due)
    terms = cluster.work.rows("SELECT ended_at FROM leader_terms")
    assert [row.ended_at for row in terms] == [None], "one term, and it goes on"


@pytest.mark.row(29)
def test_row_29_what_a_leader_killed_in_the_middle_of_a_flood_left_its_successor_fires(
    cluster: Cluster,
) -> None:
    cluster.start("worker").wait_ready()
    leader = cluster.start("scheduler", env=BY_HAND, failpoints="fire.committed=kill@10").wait_ready()
    cluster.start("scheduler", env=BY_HAND).wait_ready()
    due = begin_flood(cluster, SMALLER_FLOOD)
    assert leader.end(60) == -signal.SIGKILL
    assert 0 < fired(cluster) < SMALLER_FLOOD, "some have fired, and some have not"
    judge(cluster, SMALLER_FLOOD, due)
    assert len(cluster.work.rows("SELECT FROM leader_terms")) == 2
    cluster.audit()
