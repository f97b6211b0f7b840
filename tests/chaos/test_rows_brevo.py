"""Rows 22 and 23: Brevo accepts mail and does not answer; it is busy, or the account is not in order."""

from typing import Any

import pytest

from shared import jobs
from shared.core.jobspec import NoArgs
from tests.chaos.business import (
    BY_HAND,
    DONE_WITHIN_S,
    REMINDERS,
    judge,
    later,
    probe_now,
    reminders_in,
    retry_now,
    runs_of,
    settle,
)
from tests.chaos.conftest import MakeCluster
from tests.chaos.rig.cluster import SHORT, Cluster
from tests.wait import wait_until

#: Longer than the time-out.
TOO_LATE_S = float(SHORT["BREVO_TIMEOUT_S"]) + 1.5

# ------------------------------------------------------------------------------------------- 22: accepted, and no answer


@pytest.mark.row(22)
@pytest.mark.parametrize(
    "fault", [{"mode": "delay", "delay_s": TOO_LATE_S}, {"mode": "drop_after"}], ids=["late", "cut"]
)
def test_row_22_mail_that_brevo_accepted_without_an_answer_is_confirmed_by_its_events(
    staffed: Cluster, fault: dict[str, Any]
) -> None:
    staffed.brevo.fault(**fault)
    REMINDERS.begin(staffed, 3)
    wait_until(lambda: runs_of(staffed, REMINDERS.job)[0].error, DONE_WITHIN_S, "the outcome is unclear")
    retry_now(staffed, REMINDERS.job)
    REMINDERS.wait_done(staffed)
    # Its book has a call when it is answered.
    wait_until(lambda: REMINDERS.calls(staffed), 10, "the late answer")
    judge(staffed)
    assert (REMINDERS.calls(staffed), REMINDERS.effects(staffed)) == (1, 3)


@pytest.mark.row(22)
def test_row_22_while_brevo_shows_nothing_the_same_key_asks_again_and_is_known(
    make_cluster: MakeCluster,
) -> None:
    """Its events are late: the second call, under the key of the first, is refused as a duplicate, and the events decide."""
    cluster = make_cluster(brevo={"events_delay_s": 300})
    cluster.start("scheduler", env=BY_HAND)
    cluster.start("worker").wait_ready()
    cluster.brevo.fault("drop_after")
    REMINDERS.begin(cluster, 2)
    wait_until(lambda: runs_of(cluster, REMINDERS.job)[0].error, DONE_WITHIN_S, "the outcome is unclear")
    later(
        cluster,
        "UPDATE reminder_batches SET first_call_at = first_call_at - interval '1 minute',"
        " last_call_at = last_call_at - interval '1 minute'",
    )
    retry_now(cluster, REMINDERS.job)
    wait_until(lambda: len(reminders_in(cluster, "unconfirmed")) == 2, DONE_WITHIN_S, "a duplicate key")
    assert REMINDERS.calls(cluster) == 2
    cluster.brevo.advance(600)
    cluster.work.enqueue(jobs.CONFIRM_REMINDERS, [NoArgs()])
    REMINDERS.wait_done(cluster)
    assert REMINDERS.effects(cluster) == 2
    judge(cluster)


@pytest.mark.row(22)
def test_row_22_what_stays_unknown_is_parked_address_by_address(make_cluster: MakeCluster) -> None:
    """Brevo took the call and shows nothing of it, for hours: a person decides, and nobody sends again."""
    cluster = make_cluster(brevo={"events_delay_s": 86_400})
    cluster.start("scheduler", env=BY_HAND)
    cluster.start("worker").wait_ready()
    cluster.brevo.fault("drop_after")
    REMINDERS.begin(cluster, 2)
    wait_until(lambda: runs_of(cluster, REMINDERS.job)[0].error, DONE_WITHIN_S, "the outcome is unclear")
    later(
        cluster,
        "UPDATE reminder_batches SET first_call_at = first_call_at - interval '3 hours',"
        " last_call_at = last_call_at - interval '3 hours'",
    )
    retry_now(cluster, REMINDERS.job)
    settle(cluster, lambda: len(reminders_in(cluster, "needs_review")) == 2, "both are parked")
    assert (REMINDERS.calls(cluster), REMINDERS.effects(cluster)) == (1, 2)


# ------------------------------------------------------------------------------------------------------ 23: 429, 402, 401


@pytest.mark.row(23)
def test_row_23_brevos_429_holds_everybody_for_as_long_as_its_header_says(staffed: Cluster) -> None:
    staffed.brevo.fault("rate_limit", times=2)
    REMINDERS.begin(staffed, 3)
    REMINDERS.wait_done(staffed)
    assert REMINDERS.effects(staffed) == 3
    assert staffed.brevo.sends()["429"] == 2
    [run] = runs_of(staffed, REMINDERS.job)
    assert run.max_attempts - run.attempt == jobs.SEND_PAYMENT_REMINDER_EMAILS.retry.max_attempts - 1
    judge(staffed)


def wait_unpaused(cluster: Cluster, queue: str) -> None:
    wait_until(
        lambda: not cluster.work.rows("SELECT FROM pauses WHERE name = :queue", queue=queue),
        DONE_WITHIN_S,
        f"{queue} goes on by itself",
    )


def wait_paused(cluster: Cluster, queue: str, cause: str) -> None:
    sql = "SELECT FROM pauses WHERE kind = 'queue' AND name = :queue AND cause = :cause"
    wait_until(lambda: cluster.work.rows(sql, queue=queue, cause=cause), 20, f"{queue} paused: {cause}")


ACCOUNTS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "402": ({"credits": 0}, {"credits": 100}, "credits"),
    "401": ({"keys": ["xkeysib-another"]}, {"keys": None}, "credentials"),
    "403": ({"forbidden": True}, {"forbidden": False}, "credentials"),
}


@pytest.mark.row(23)
@pytest.mark.parametrize("status", ACCOUNTS)
def test_row_23_the_queue_pauses_while_the_account_is_not_in_order_and_loses_nothing(
    staffed: Cluster, status: str
) -> None:
    broken, mended, cause = ACCOUNTS[status]
    staffed.brevo.account(**broken)
    REMINDERS.begin(staffed, 3)
    wait_paused(staffed, "payment_reminders", cause)
    calls = REMINDERS.calls(staffed)
    [waiting] = staffed.work.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS, [jobs.RemindersArgs()])
    [ping] = staffed.work.ping()
    staffed.work.in_state(ping, "succeeded")
    assert staffed.work.run(waiting).state in ("pending", "queued"), "it waits, unclaimed"
    assert REMINDERS.calls(staffed) == calls, "nobody tries in vain"
    staffed.brevo.account(**mended)
    probe_now(staffed, "payment_reminders")
    wait_unpaused(staffed, "payment_reminders")
    REMINDERS.wait_done(staffed)
    assert REMINDERS.effects(staffed) == 3
    for run in runs_of(staffed, REMINDERS.job):
        assert run.max_attempts - run.attempt >= jobs.SEND_PAYMENT_REMINDER_EMAILS.retry.max_attempts - 1
    judge(staffed)
