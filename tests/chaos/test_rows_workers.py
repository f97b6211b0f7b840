"""Rows 15 to 18: a worker killed, told to stop, or stopped around the call that pays or sends."""

import signal

import pytest

from tests.chaos.business import BY_HAND, DONE_WITHIN_S, REFUNDS, REMINDERS, Business, judge, later
from tests.chaos.rig.cluster import SHORT, Cluster
from tests.chaos.rig.member import Member
from tests.wait import wait_until

LEASE_S = float(SHORT["RUN_LEASE_S"])
SLACK_S = 20.0
EACH = pytest.mark.parametrize("business", [REFUNDS, REMINDERS], ids=["refund", "reminder"])
POINT = {
    REFUNDS: {"claimed": "claim.committed", "before": "stripe.before_call", "answered": "stripe.answered"},
    REMINDERS: {"claimed": "claim.committed", "before": "brevo.before_call", "answered": "brevo.answered"},
}


def struck(cluster: Cluster, business: Business, point: str, action: str) -> Member:
    """The only worker, when the failpoint has struck; what was begun is its."""
    cluster.start("scheduler", env=BY_HAND)
    at = POINT[business].get(point, point)
    worker = cluster.start("worker", failpoints=f"{at}={action}").wait_ready()
    business.begin(cluster)
    worker.wait_for("failpoint_struck")
    return worker


def killed(cluster: Cluster, business: Business, point: str) -> None:
    assert struck(cluster, business, point, "kill").end() == -signal.SIGKILL


def wait_taken_over(cluster: Cluster, business: Business) -> None:
    """The first loss of a lease is retried at once (rule 13). Generous, as the machine may be busy: `make bounds` measures it."""
    run_id = business.run_id(cluster)
    wait_until(lambda: cluster.work.run(run_id).attempt == 2, LEASE_S + SLACK_S, "the second attempt")


# -------------------------------------------------------------------------------------------------- 15: before the call


@pytest.mark.row(15)
@EACH
def test_row_15_a_run_whose_worker_was_killed_before_it_began_is_done_by_another(
    cluster: Cluster, business: Business
) -> None:
    killed(cluster, business, "claimed")
    assert business.calls(cluster) == 0
    cluster.start("worker")
    wait_taken_over(cluster, business)
    business.wait_done(cluster)
    assert (business.calls(cluster), business.effects(cluster)) == (1, 1)
    judge(cluster)


@pytest.mark.row(15)
def test_row_15_a_refund_whose_worker_was_killed_just_before_the_call_is_paid_once(cluster: Cluster) -> None:
    killed(cluster, REFUNDS, "before")
    assert REFUNDS.calls(cluster) == 0
    cluster.start("worker")
    wait_taken_over(cluster, REFUNDS)
    REFUNDS.wait_done(cluster)
    assert (REFUNDS.calls(cluster), REFUNDS.effects(cluster)) == (1, 1)
    judge(cluster)


@pytest.mark.row(15)
def test_row_15_a_reminder_whose_worker_was_killed_just_before_the_call_waits_until_it_cannot_be_under_way_and_is_sent(
    cluster: Cluster,
) -> None:
    """The call is on record and Brevo shows nothing of it: it may be on its way, so that nobody repeats it at once."""
    killed(cluster, REMINDERS, "before")
    worker = cluster.start("worker")
    run_id = REMINDERS.run_id(cluster)
    cluster.work.in_state(run_id, "pending", "queued", within_s=5)
    wait_until(
        lambda: str(run_id) in worker.ended_runs(),
        LEASE_S + SLACK_S,
        "the second attempt has looked",
    )
    assert REMINDERS.calls(cluster) == 0
    later(
        cluster,
        "UPDATE reminder_batches SET first_call_at = first_call_at - interval '46 s', last_call_at = last_call_at - interval '46 s'",
        f"UPDATE job_runs SET run_at = now() WHERE id = '{run_id}' AND state = 'pending'",
    )
    REMINDERS.wait_done(cluster)
    assert (REMINDERS.calls(cluster), REMINDERS.effects(cluster)) == (1, 1)
    judge(cluster)


# ---------------------------------------------------------------------------------- 16: after the call, before the commit


@pytest.mark.row(16)
@pytest.mark.parametrize("point", ["answered", "run.decided"])
@EACH
def test_row_16_what_a_provider_did_for_a_worker_that_died_before_it_wrote_it_down_is_not_done_again(
    cluster: Cluster, business: Business, point: str
) -> None:
    killed(cluster, business, point)
    assert business.effects(cluster) == 1
    keys = business.keys(cluster)
    cluster.start("worker")
    business.wait_done(cluster)
    assert business.effects(cluster) == 1
    assert business.keys(cluster) == keys
    judge(cluster)


# --------------------------------------------------------------------------------------------------------- 17: SIGTERM


def begun(cluster: Cluster, business: Business, *, answered_after_s: float, grace_s: float) -> Member:
    """A worker in the middle of the provider's call."""
    cluster.start("scheduler", env=BY_HAND)
    worker = cluster.start("worker", env={"WORKER_GRACE_S": str(grace_s)}).wait_ready()
    business.slow(cluster, answered_after_s)
    business.begin(cluster)
    wait_until(lambda: business.effects(cluster) == 1, 15, "the provider has done it")
    return worker


@pytest.mark.row(17)
@EACH
def test_row_17_a_job_in_the_middle_of_its_call_ends_in_the_grace_of_its_worker(
    cluster: Cluster, business: Business
) -> None:
    worker = begun(cluster, business, answered_after_s=2.0, grace_s=10)
    assert worker.stop() == 0
    business.wait_done(cluster)
    assert cluster.work.run(business.run_id(cluster)).attempt == 1
    assert (business.calls(cluster), business.effects(cluster)) == (1, 1)
    cluster.start("worker")  # for the rest: what told of the work
    judge(cluster)


@pytest.mark.row(17)
@EACH
def test_row_17_a_job_that_outlasts_the_grace_is_handed_back_at_no_cost_and_acts_once(
    cluster: Cluster, business: Business
) -> None:
    worker = begun(cluster, business, answered_after_s=20.0, grace_s=0.3)
    run_id = business.run_id(cluster)
    allowed = cluster.work.run(run_id).max_attempts
    assert worker.stop() == 0
    handed_back = cluster.work.run(run_id)
    assert handed_back.state in ("pending", "queued")
    assert handed_back.max_attempts - handed_back.attempt == allowed, "it costs no attempt"
    assert handed_back.losses == 0, "no lease had to run out"
    cluster.start("worker")
    business.wait_done(cluster)
    assert business.effects(cluster) == 1
    judge(cluster)


# ------------------------------------------------------------------------------------- 18: stopped beyond its lease


@pytest.mark.row(18)
@EACH
def test_row_18_a_worker_that_wakes_after_its_lease_changes_nothing_that_others_wrote(
    cluster: Cluster, business: Business
) -> None:
    """Stopped after the answer: it wakes with the outcome in its hand."""
    worker = struck(cluster, business, "answered", "stop")
    worker.wait_stopped()
    cluster.start("worker")
    business.wait_done(cluster)
    cluster.work.in_state(business.run_id(cluster), "succeeded")
    before = rows(cluster)
    worker.send(signal.SIGCONT)
    wakes(worker)
    assert rows(cluster) == before
    assert business.effects(cluster) == 1
    judge(cluster)


@pytest.mark.row(18)
def test_row_18_a_refund_that_a_sleeping_worker_was_about_to_pay_is_paid_once(cluster: Cluster) -> None:
    """Stopped after its last look at the lease: its late call bears the key of the refund that was paid meanwhile."""
    worker = struck(cluster, REFUNDS, "before", "stop")
    worker.wait_stopped()
    cluster.start("worker")
    REFUNDS.wait_done(cluster)
    cluster.work.in_state(REFUNDS.run_id(cluster), "succeeded")
    before = rows(cluster)
    worker.send(signal.SIGCONT)
    wait_until(lambda: REFUNDS.calls(cluster) == 2, 10, "its late call")
    wakes(worker)
    assert rows(cluster) == before
    assert REFUNDS.effects(cluster) == 1
    judge(cluster)


@pytest.mark.row(18)
def test_row_18_mail_that_a_sleeping_worker_was_about_to_send_goes_out_once(cluster: Cluster) -> None:
    """Nobody sends it again while it may still be under way; and so it goes out late, from the one that slept."""
    worker = struck(cluster, REMINDERS, "before", "stop")
    worker.wait_stopped()
    other = cluster.start("worker")
    run_id = str(REMINDERS.run_id(cluster))
    wait_until(
        lambda: run_id in other.ended_runs(),
        LEASE_S + SLACK_S,
        "another worker has looked",
    )
    worker.send(signal.SIGCONT)
    wait_until(lambda: REMINDERS.effects(cluster) == 1, 10, "its late call")
    wakes(worker)
    later(cluster, f"UPDATE job_runs SET run_at = now() WHERE id = '{run_id}' AND state = 'pending'")
    REMINDERS.wait_done(cluster)
    assert REMINDERS.effects(cluster) == 1
    judge(cluster)


def wakes(worker: Member) -> None:
    """It has given up what it held, or, stuck for a whole lease, itself."""
    wait_until(
        lambda: worker.status is not None or worker.ended_runs() or worker.events("run_lost"),
        DONE_WITHIN_S,
        "the worker that slept has noticed",
    )


def rows(cluster: Cluster) -> list[tuple[object, ...]]:
    """What is on record of the work, without what every look at it touches."""
    sql = (
        "SELECT id::text, state, attempt::text, result::text FROM job_runs"
        " WHERE job IN ('process_refund', 'send_payment_reminder_emails')"
        " UNION ALL SELECT id::text, status, provider_refund_id, run_attempt::text FROM refunds"
        " UNION ALL SELECT id::text, outcome, provider_refund_id, run_attempt::text FROM refund_attempts"
        " UNION ALL SELECT id::text, status, calls::text, run_attempt::text FROM reminder_batches"
        " UNION ALL SELECT id::text, status, message_id, email FROM payment_reminders ORDER BY 1"
    )
    return [tuple(row) for row in cluster.work.rows(sql)]
