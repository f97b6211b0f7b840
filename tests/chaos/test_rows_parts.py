"""Row 16 among many: two workers share reminders in parts, and one of them is killed in the middle."""

import pytest

from tests.chaos.business import BY_HAND, DONE_WITHIN_S, REMINDERS, judge, later
from tests.chaos.rig.cluster import SHORT, Cluster
from tests.wait import wait_until

LOST_WITHIN_S = float(SHORT["RUN_LEASE_S"]) + 20.0
MAILS = 12_000  # more than two parts


@pytest.mark.row(16)
def test_row_16_of_two_workers_that_share_many_reminders_one_dies_and_each_goes_out_once(
    cluster: Cluster,
) -> None:
    cluster.start("scheduler", env=BY_HAND)
    doomed, _ = (cluster.start("worker").wait_ready() for _ in range(2))
    REMINDERS.begin(cluster, MAILS)
    at_work = "SELECT FROM job_runs WHERE job = :job AND state = 'running' GROUP BY worker"
    wait_until(
        lambda: len(cluster.work.rows(at_work, job=REMINDERS.job)) == 2, DONE_WITHIN_S, "both send a part"
    )
    doomed.kill()
    lost = "SELECT FROM job_runs WHERE job = :job AND losses = 1 AND state <> 'running'"
    wait_until(
        lambda: cluster.work.rows(lost, job=REMINDERS.job),
        LOST_WITHIN_S,
        "its part was lost",
    )
    later(
        cluster,
        "UPDATE reminder_batches SET first_call_at = first_call_at - interval '46 s', last_call_at = last_call_at - interval '46 s'",
        f"UPDATE job_runs SET run_at = now() WHERE job = '{REMINDERS.job}' AND state = 'pending'",
    )
    REMINDERS.wait_done(cluster)
    assert REMINDERS.effects(cluster) == len(set(cluster.brevo.addresses())) == MAILS
    judge(cluster)
