"""What ledger and providers' books say about a cluster's history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.chaos.rig.work import Work

if TYPE_CHECKING:
    from tests.chaos.rig.cluster import Cluster


def audit(cluster: Cluster) -> list[str]:
    """Each violation in a line; none if the invariants held."""
    return [*_runs(cluster.work), *_refunds(cluster), *_reminders(cluster)]


def _runs(work: Work) -> list[str]:
    known = {
        row.id for row in work.rows("SELECT id FROM job_runs WHERE id = ANY (:ids)", ids=list(work.accepted))
    }
    doubled = work.rows(
        "SELECT schedule_id, due_at FROM job_runs WHERE due_at IS NOT NULL"
        " GROUP BY schedule_id, schedule_generation, due_at HAVING count(*) > 1"
    )
    return [
        *(f"L: run {run_id} was accepted, and is not in the ledger" for run_id in work.accepted - known),
        *(f"U: {row.schedule_id} has two runs for {row.due_at}" for row in doubled),
    ]


def _refunds(cluster: Cluster) -> list[str]:
    booked = {
        (each["metadata"].get("refund_id"), each["amount"], each["currency"])
        for each in cluster.stripe.refunds()
        if each["status"] not in ("failed", "canceled")
    }
    here = {
        (str(row.id), row.amount, row.currency)
        for row in cluster.work.rows("SELECT * FROM refunds WHERE status IN ('submitted', 'succeeded')")
    }
    parked = {
        str(row.id) for row in cluster.work.rows("SELECT id FROM refunds WHERE status = 'needs_review'")
    }
    return [
        *(f"M: Stripe has refunds twice: {each}" for each in cluster.stripe.books()["doubled"]),
        *(f"M: {entry} is paid here, and not at Stripe" for entry in here - booked),
        *(f"M: {entry} is paid at Stripe, and not here" for entry in booked - here if entry[0] not in parked),
    ]


def _reminders(cluster: Cluster) -> list[str]:
    sent = cluster.work.rows("SELECT message_id FROM payment_reminders WHERE status = 'sent'")
    mails = cluster.brevo.books()["mails"]
    return [
        *(f"M: Brevo sent twice: {each}" for each in cluster.brevo.books()["doubled"]),
        *(
            f"M: Brevo does not know the mail {row.message_id}"
            for row in sent
            if row.message_id not in {mail["messageId"] for mail in mails}
        ),
    ]
