"""Row 24: the providers' webhooks find nobody, come twice, or come in any order."""

import pytest

from shared import jobs
from shared.core.jobspec import NoArgs
from tests.chaos.business import DONE_WITHIN_S, REMINDERS, judge, later, refund, sweep
from tests.chaos.rig.cluster import Cluster
from tests.wait import wait_until


def suppressed(cluster: Cluster) -> bool:
    return bool(cluster.work.rows("SELECT FROM suppressions"))


@pytest.mark.row(24)
def test_row_24_what_no_webhook_tells_a_poll_finds(staffed: Cluster) -> None:
    """Nobody listens where the providers tell: refunds settle late, one fails, mail bounces."""
    staffed.start("api").wait_ready()
    staffed.members["api-1"].kill()
    late, _ = refund(staffed, behaviour="late")
    failing, _ = refund(staffed, behaviour="fail")
    sweep(staffed)
    staffed.work.invoices(1, local="bounce")
    REMINDERS.begin(staffed)
    REMINDERS.wait_done(staffed)
    wait_until(
        lambda: {each["status"] for each in staffed.stripe.refunds()} == {"succeeded", "failed"},
        20,
        "settled",
    )
    for refund_id in (late, failing):
        staffed.work.refund_in(refund_id, "submitted")
    later(staffed, "UPDATE refunds SET reconciled_at = reconciled_at - interval '5 minutes'")
    staffed.work.enqueue(jobs.RECONCILE_REFUNDS, [NoArgs()])
    staffed.work.refund_in(late, "succeeded", within_s=DONE_WITHIN_S)
    staffed.work.refund_in(failing, "failed", within_s=DONE_WITHIN_S)
    later(staffed, "UPDATE reminder_batches SET finished_at = finished_at - interval '3 days'")
    staffed.work.enqueue(jobs.CONFIRM_REMINDERS, [NoArgs()])
    wait_until(lambda: suppressed(staffed), DONE_WITHIN_S, "the address that bounced is suppressed")
    assert not staffed.work.rows("SELECT FROM webhook_events")
    judge(staffed)


@pytest.mark.row(24)
def test_row_24_events_that_come_twice_and_in_any_order_are_applied_once_and_as_stripe_has_it(
    staffed: Cluster,
) -> None:
    for sandbox in (staffed.stripe, staffed.brevo):
        sandbox.control("POST", "webhooks", {"duplicate": 1.0, "disorder_s": 1.5})
    staffed.start("api").wait_ready()
    ids = {
        behaviour: refund(staffed, behaviour=behaviour)[0]
        for behaviour in ("late", "fail", "reverse", "succeed")
    }
    sweep(staffed)
    staffed.work.invoices(1, local="bounce")
    REMINDERS.begin(staffed, 2)
    for behaviour, status in (
        ("late", "succeeded"), ("fail", "failed"), ("succeed", "succeeded"), ("reverse", "needs_review"),
    ):  # fmt: skip
        staffed.work.refund_in(ids[behaviour], status, within_s=DONE_WITHIN_S)
    wait_until(lambda: suppressed(staffed), DONE_WITHIN_S, "the address that bounced is suppressed")
    for sandbox in (staffed.stripe, staffed.brevo):
        wait_until(lambda sandbox=sandbox: sandbox.books()["webhooks"]["open"] == 0, 20, "all told")
    stored = staffed.work.rows("SELECT provider, event_id FROM webhook_events")
    applied = staffed.work.rows(
        "SELECT id FROM job_runs WHERE job IN ('apply_stripe_event', 'apply_brevo_event')"
    )
    told = sum(sandbox.books()["webhooks"]["delivered"] for sandbox in (staffed.stripe, staffed.brevo))
    assert len(stored) == len(applied) == told / 2
    judge(staffed)


@pytest.mark.row(24)
def test_row_24_an_event_whose_answer_was_lost_with_the_api_is_told_again_and_stored_once(
    staffed: Cluster,
) -> None:
    api = staffed.start("api", failpoints="webhook.stored=kill").wait_ready()
    late, _ = refund(staffed, behaviour="late")
    sweep(staffed)
    assert api.end() < 0
    stored = {row.event_id for row in staffed.work.rows("SELECT event_id FROM webhook_events")}
    assert stored, "before its answer was lost"
    staffed.restart("api-1").wait_ready()
    staffed.work.refund_in(late, "succeeded", within_s=DONE_WITHIN_S)
    wait_until(lambda: staffed.stripe.books()["webhooks"]["open"] == 0, DONE_WITHIN_S, "all told")
    events = staffed.work.rows("SELECT event_id FROM webhook_events")
    assert len({row.event_id for row in events}) == len(events)
    assert stored <= {row.event_id for row in events}
    judge(staffed)
