"""Rows 19 to 21: Stripe fails, drops connections, is busy, refuses, and changes its mind days later."""

from typing import Any

import pytest

from shared import jobs
from shared.core.jobspec import NoArgs
from tests.chaos.business import (
    DONE_WITHIN_S,
    REFUNDS,
    judge,
    later,
    probe_now,
    refund,
    retry_now,
    runs_of,
    sweep,
)
from tests.chaos.rig.cluster import SHORT, Cluster
from tests.stripe_sandbox import CREATE
from tests.wait import wait_until

#: Longer than the time-out.
TOO_LATE_S = float(SHORT["STRIPE_TIMEOUT_S"]) + 1.5

# --------------------------------------------------------------------------- 19: 500, no answer, a dropped connection

FAULTS: dict[str, dict[str, Any]] = {
    "a 500 that is replayed, the refund made": {"mode": "status", "status": 500, "commit": True},
    "a 502, the refund made": {"mode": "status", "status": 502, "commit": True},
    "a 503, nothing made": {"mode": "status", "status": 503},
    "no answer in time, the refund made": {"mode": "delay", "delay_s": TOO_LATE_S},
    "dropped before": {"mode": "drop_before"},
    "dropped after": {"mode": "drop_after"},
}


@pytest.mark.row(19)
def test_row_19_whatever_becomes_of_stripes_answer_each_refund_is_paid_once(staffed: Cluster) -> None:
    for fault in FAULTS.values():
        _, intent = refund(staffed)
        staffed.stripe.fault(match={**CREATE, "body_contains": intent}, **fault)
    sweep(staffed)
    wait_until(lambda: staffed.stripe.creates() >= len(FAULTS), DONE_WITHIN_S, "each has met its fault")
    retry_when_they_wait(staffed, len(FAULTS))
    REFUNDS.wait_done(staffed)
    assert REFUNDS.effects(staffed) == len(FAULTS)
    judge(staffed)


def retry_when_they_wait(cluster: Cluster, n: int) -> None:
    """Once every refund's run has failed, or has ended: their backoff is over."""
    sql = "SELECT count(*) AS n FROM job_runs WHERE job = 'process_refund' AND (error IS NOT NULL OR state = 'succeeded')"
    wait_until(lambda: cluster.work.rows(sql)[0].n == n, DONE_WITHIN_S, "every run has ended its attempt")
    retry_now(cluster, "process_refund")


@pytest.mark.row(19)
def test_row_19_a_link_that_dies_under_the_answers_pays_nothing_twice(staffed: Cluster) -> None:
    """Stripe does what it is asked, and nobody hears of it until the route is back."""
    link = staffed.link("worker-1", "stripe")
    refund(staffed)
    REFUNDS.slow(staffed, 2.0)
    sweep(staffed)
    wait_until(lambda: REFUNDS.effects(staffed) == 1, DONE_WITHIN_S, "Stripe has paid it")
    link.blackhole("answers")
    wait_until(lambda: staffed.members["worker-1"].events("refund_call_failed"), 20, "the call has timed out")
    link.heal()
    link.reset_connections()
    wait_until(lambda: runs_of(staffed, "process_refund")[0].error, 20, "it is to be tried again")
    probe_now(staffed, "refunds")
    retry_now(staffed, "process_refund")
    REFUNDS.wait_done(staffed)
    assert REFUNDS.effects(staffed) == 1
    judge(staffed)


@pytest.mark.row(19)
def test_row_19_a_key_that_stripe_answers_with_the_same_500_for_ever_goes_to_a_person_and_is_never_paid(
    staffed: Cluster,
) -> None:
    """Nothing was made, and the key says 500 for 24 hours: after 23 it is not sent any more, and nothing is listed."""
    refund_id, _ = refund(staffed)
    staffed.stripe.fault("status", status=500)
    sweep(staffed)
    wait_until(lambda: staffed.stripe.creates() == 1, DONE_WITHIN_S, "the call")
    wait_until(lambda: runs_of(staffed, "process_refund")[0].error, 20, "it is to be tried again")
    retry_now(staffed, "process_refund")
    wait_until(lambda: staffed.stripe.creates() == 2, DONE_WITHIN_S, "the same key again")
    wait_until(lambda: runs_of(staffed, "process_refund")[0].state == "pending", 20, "no better")
    calls = staffed.stripe.creates()
    later(staffed, "UPDATE refund_attempts SET started_at = started_at - interval '23 hours'")
    retry_now(staffed, "process_refund")
    row = staffed.work.refund_in(refund_id, "needs_review", within_s=DONE_WITHIN_S)
    assert "too old" in row.review_reason
    assert staffed.stripe.creates() == calls
    assert REFUNDS.effects(staffed) == 0
    judge(staffed)


# --------------------------------------------------------------------------------------------------------- 20: 409, 429


@pytest.mark.row(20)
def test_row_20_stripes_429_slows_all_workers_and_costs_nobody_an_attempt(staffed: Cluster) -> None:
    staffed.start("worker").wait_ready()
    refused, paid = 12, 6
    staffed.stripe.fault("rate_limit", times=refused)
    REFUNDS.begin(staffed, paid)
    REFUNDS.wait_done(staffed)
    assert staffed.stripe.books()["requests"]["POST /v1/refunds"] == {"429": refused, "200": paid}
    for run in runs_of(staffed, "process_refund"):
        assert run.max_attempts - run.attempt == jobs.PROCESS_REFUND.retry.max_attempts - 1, (
            "one attempt spent"
        )
    judge(staffed)


@pytest.mark.row(20)
def test_row_20_after_a_429_no_worker_calls_before_the_time_that_was_asked_for(staffed: Cluster) -> None:
    """One limiter for all: the first refusal stops those who have not called yet, too."""
    staffed.start("worker").wait_ready()
    staffed.stripe.fault("rate_limit", times=1)
    REFUNDS.begin(staffed, 4)
    wait_until(lambda: staffed.stripe.creates() >= 1, DONE_WITHIN_S, "the first call")
    REFUNDS.wait_done(staffed)
    counts = staffed.stripe.books()["requests"]["POST /v1/refunds"]
    assert counts == {"429": 1, "200": 4}
    judge(staffed)


@pytest.mark.row(20)
def test_row_20_a_key_that_stripe_says_is_in_use_is_used_again_and_pays_once(staffed: Cluster) -> None:
    staffed.stripe.fault("status", status=409, times=1)
    REFUNDS.begin(staffed)
    wait_until(lambda: runs_of(staffed, "process_refund"), 20, "the run")
    wait_until(lambda: runs_of(staffed, "process_refund")[0].error, 20, "it is to be tried again")
    retry_now(staffed, "process_refund")
    REFUNDS.wait_done(staffed)
    assert (REFUNDS.calls(staffed), REFUNDS.effects(staffed)) == (2, 1)
    keys = staffed.work.rows("SELECT DISTINCT idempotency_key FROM refund_attempts")
    assert len(keys) == 1
    judge(staffed)


# ------------------------------------------------------------------------------------------------ 21: refused, or fails later


@pytest.mark.row(21)
def test_row_21_a_refund_that_stripe_refuses_is_failed_with_its_reason_and_the_others_are_paid(
    staffed: Cluster,
) -> None:
    refused = {
        behaviour: refund(staffed, behaviour=behaviour)[0] for behaviour in ("refuse", "disputed", "missing")
    }
    failing, _ = refund(staffed, behaviour="failnow")
    paid, _ = refund(staffed)
    sweep(staffed)
    reasons = {
        behaviour: staffed.work.refund_in(refund_id, "failed", within_s=DONE_WITHIN_S).failure_reason
        for behaviour, refund_id in refused.items()
    }
    assert "charge_already_refunded" in reasons["refuse"]
    assert "disputed" in reasons["disputed"]
    assert "resource_missing" in reasons["missing"]
    assert staffed.work.refund_in(failing, "failed", within_s=DONE_WITHIN_S).failure_reason == "declined"
    staffed.work.refund_in(paid, "succeeded", within_s=DONE_WITHIN_S)
    judge(staffed)


@pytest.mark.row(21)
@pytest.mark.parametrize("told", [True, False], ids=["webhook", "nobody-tells"])
def test_row_21_a_refund_that_fails_days_later_is_failed_or_goes_to_a_person_if_it_had_succeeded(
    staffed: Cluster, told: bool
) -> None:
    """Given one refund that is paid and one that Stripe still has, when both fail five days on, then the second is failed, and
    the first, of which the customer may have heard, is a person's, with an alarm."""
    if told:
        staffed.start("api").wait_ready()
    paid, paid_intent = refund(staffed)
    open_, open_intent = refund(staffed, behaviour="pending")
    sweep(staffed)
    staffed.work.refund_in(paid, "succeeded", within_s=DONE_WITHIN_S)
    staffed.work.refund_in(open_, "submitted", within_s=DONE_WITHIN_S)
    staffed.stripe.advance(5 * 86_400)
    later(
        staffed,
        "UPDATE refunds SET created_at = created_at - interval '5 days', submitted_at = submitted_at - interval '5 days',"
        " succeeded_at = succeeded_at - interval '5 days', reconciled_at = reconciled_at - interval '5 days'",
        "UPDATE refund_attempts SET started_at = started_at - interval '5 days'",
    )
    for intent in (paid_intent, open_intent):
        [made] = staffed.stripe.refunds(intent)
        staffed.stripe.settle(made["id"], "failed", "expired_or_canceled_card")
    if not told:
        staffed.work.enqueue(jobs.RECONCILE_REFUNDS, [NoArgs()])
    parked = staffed.work.refund_in(paid, "needs_review", within_s=DONE_WITHIN_S)
    failed = staffed.work.refund_in(open_, "failed", within_s=DONE_WITHIN_S)
    assert failed.failure_reason == "expired_or_canceled_card"
    assert "expired_or_canceled_card" in parked.review_reason
    alarm = staffed.members["worker-1"].wait_for("refund_failed_after_success")  # told once it is committed
    assert (alarm["level"], alarm["refund_id"]) == ("error", str(paid))
    judge(staffed)
