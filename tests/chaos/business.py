"""The two kinds of work that reach outside, refunds and reminders, as a row does something to either."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol
from uuid import UUID

from shared import jobs
from shared.core.jobspec import NoArgs
from tests.chaos.rig.cluster import Cluster
from tests.wait import wait_until

#: A row begins its work by itself: no sweep of a schedule does.
BY_HAND: Final = {"REFUNDS_EVERY_S": "3600", "REMINDERS_EVERY_S": "3600"}
#: Reminders look for a batch's events before they repeat its call; after a lost worker they take a few seconds more.
DONE_WITHIN_S: Final = 30.0


class Business(Protocol):
    """`provider` names its link and sandbox, `job` the run that calls it."""

    provider: str
    job: str

    def begin(self, cluster: Cluster, n: int = 1) -> None:
        """Puts in n pieces of work and the runs that do them."""

    def calls(self, cluster: Cluster) -> int:
        """How often the provider was asked to act, answered or not."""

    def effects(self, cluster: Cluster) -> int:
        """What it did, by its own book."""

    def keys(self, cluster: Cluster) -> set[str]:
        """The idempotency keys of what it did."""

    def wait_done(self, cluster: Cluster) -> None:
        """Returns when all of it is done, by our book."""

    def run_id(self, cluster: Cluster) -> UUID:
        """The one run of `job`."""

    def slow(self, cluster: Cluster, seconds: float) -> None:
        """The provider acts at once, and answers its next call so much later."""


def only_run(cluster: Cluster, job: str) -> UUID:
    rows = wait_until(lambda: cluster.work.rows("SELECT id FROM job_runs WHERE job = :job", job=job), 20, job)
    [row] = rows
    run_id: UUID = row.id
    return run_id


@dataclass(frozen=True)
class Refunds:
    provider: str = "stripe"
    job: str = jobs.PROCESS_REFUND.name

    def begin(self, cluster: Cluster, n: int = 1) -> None:
        for refund_id in cluster.work.refunds(n):
            cluster.work.pay_now(refund_id)

    def calls(self, cluster: Cluster) -> int:
        return cluster.stripe.creates()

    def effects(self, cluster: Cluster) -> int:
        return len(cluster.stripe.refunds())

    def keys(self, cluster: Cluster) -> set[str]:
        return {refund["idempotency_key"] for refund in cluster.stripe.refunds()}

    def wait_done(self, cluster: Cluster) -> None:
        for refund_id in cluster.work.refund_ids:
            cluster.work.refund_in(refund_id, "succeeded", within_s=DONE_WITHIN_S)

    def run_id(self, cluster: Cluster) -> UUID:
        return only_run(cluster, self.job)

    def slow(self, cluster: Cluster, seconds: float) -> None:
        cluster.stripe.fault("delay", delay_s=seconds)


@dataclass(frozen=True)
class Reminders:
    provider: str = "brevo"
    job: str = jobs.SEND_PAYMENT_REMINDER_EMAILS.name

    def begin(self, cluster: Cluster, n: int = 1) -> None:
        cluster.work.invoices(n)
        cluster.work.enqueue(jobs.SEND_PAYMENT_REMINDER_EMAILS, [jobs.RemindersArgs()])

    def calls(self, cluster: Cluster) -> int:
        return sum(cluster.brevo.sends().values())

    def effects(self, cluster: Cluster) -> int:
        return len(cluster.brevo.addresses())

    def keys(self, cluster: Cluster) -> set[str]:
        return {mail["key"] for mail in cluster.brevo.books()["mails"]}

    def wait_done(self, cluster: Cluster) -> None:
        wait_until(
            lambda: len(reminders_in(cluster, "sent")) == len(cluster.work.owed),
            DONE_WITHIN_S,
            "every reminder sent",
        )

    def run_id(self, cluster: Cluster) -> UUID:
        return only_run(cluster, self.job)

    def slow(self, cluster: Cluster, seconds: float) -> None:
        cluster.brevo.fault("delay", delay_s=seconds)


REFUNDS: Final[Business] = Refunds()
REMINDERS: Final[Business] = Reminders()


def refund(cluster: Cluster, **what: Any) -> tuple[UUID, str]:
    """One more refund, which nobody pays yet, and its payment intent."""
    [refund_id] = cluster.work.refunds(1, **what)
    return refund_id, cluster.work.refund(refund_id).payment_intent_id


def sweep(cluster: Cluster) -> None:
    """Pays all refunds that wait."""
    cluster.work.enqueue(jobs.PROCESS_PENDING_REFUNDS, [NoArgs()])


def runs_of(cluster: Cluster, job: str) -> list[Any]:
    return list(cluster.work.rows("SELECT * FROM job_runs WHERE job = :job", job=job))


def reminders_in(cluster: Cluster, status: str) -> list[str]:
    """The addresses of the reminders of the due date that have this status."""
    sql = "SELECT email FROM payment_reminders WHERE stage = '0d' AND status = :status"
    return [row.email for row in cluster.work.rows(sql, status=status)]


def later(cluster: Cluster, *statements: str) -> None:
    """Makes time pass for what is stored: statements that set instants back. Unseen by triggers, which would take it for a
    change of what is frozen, and by the flight recorder."""
    cluster.work.rows(
        "DO $$ BEGIN SET LOCAL session_replication_role = replica; " + "; ".join(statements) + "; END $$"
    )


def retry_now(cluster: Cluster, job: str) -> None:
    """The backoff of the job's runs is over."""
    later(cluster, f"UPDATE job_runs SET run_at = now() WHERE job = '{job}' AND state = 'pending'")


def probe_now(cluster: Cluster, queue: str) -> None:
    """The wait before a paused queue's next probe is over."""
    later(cluster, f"UPDATE pauses SET probe_at = now() WHERE name = '{queue}'")


def settle(cluster: Cluster, condition: Callable[[], object], what: str) -> None:
    """Waits for it, then for quiet, then audits."""
    wait_until(condition, DONE_WITHIN_S, what)
    judge(cluster)


def judge(cluster: Cluster) -> None:
    """All is done or parked, and the providers' books agree with ours, to the cent and to the e-mail."""
    cluster.wait_quiet()
    cluster.audit()
