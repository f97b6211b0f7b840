"""Every job there is. To add one: declare it here, write its handler in `worker_svc/handlers`, name it there."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from pydantic import AwareDatetime, Field, SerializerFunctionWrapHandler, model_serializer

from shared.core.backoff import RetryPolicy
from shared.core.jobspec import JobArgs, JobSpec, NoArgs, Overlap, Queue


class PingArgs(JobArgs):
    sleep_s: float = Field(default=0.0, ge=0, le=3600, description="how long to sleep, in seconds")


class RefundArgs(JobArgs):
    refund_id: UUID


class ReminderPart(JobArgs):
    """Where a run goes on that an earlier one has called for: behind that one's last invoice."""

    of: UUID = Field(description="the run that is part 1")
    number: int = Field(ge=2)
    as_of: AwareDatetime
    after_due_at: AwareDatetime
    after_invoice: UUID


class RemindersArgs(JobArgs):
    tolerance: timedelta = Field(
        default=timedelta(hours=24),
        gt=timedelta(0),
        description="owed for longer than this is too late (seconds, or ISO 8601)",
    )
    part: ReminderPart | None = Field(default=None, description="set by the run that goes on with another")

    @model_serializer(mode="wrap")
    def _without_nothing(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if value is not None}


class ReminderArgs(JobArgs):
    user_id: UUID = Field(description="the customer who gets one e-mail about their open invoices")


class WebhookArgs(JobArgs):
    event_id: str


#: For what nobody leaves for an hour: while a run waits for its next try, its schedule's fires are skipped, or a customer has
#: no mail. Some twenty minutes in all; outages of providers use no tries up, they pause the queue.
SOON: Final = RetryPolicy(max_attempts=30, cap_s=60.0)

PING: Final = JobSpec(
    "ping",
    PingArgs,
    Queue.MAINTENANCE,
    "Does nothing, or sleeps: for doctor, checks and benchmarks.",
    timeout=timedelta(hours=2),
    retry=RetryPolicy(cap_s=60.0),
    overlap=Overlap.SKIP,
    priority=3,
)
PROCESS_PENDING_REFUNDS: Final = JobSpec(
    "process_pending_refunds",
    NoArgs,
    Queue.REFUNDS,
    "Enqueues one process_refund for each refund that waits and has none.",
    retry=SOON,
    priority=2,
)
PROCESS_REFUND: Final = JobSpec(
    "process_refund",
    RefundArgs,
    Queue.REFUNDS,
    "Pays one refund through Stripe, once.",
    timeout=timedelta(minutes=2),
    cancellable=False,
)
RECONCILE_REFUNDS: Final = JobSpec(
    "reconcile_refunds",
    NoArgs,
    Queue.REFUNDS,
    "Re-reads refunds from Stripe that wait there, and succeeded ones for 30 days.",
    timeout=timedelta(minutes=20),
    retry=SOON,
    priority=6,
)
SEND_PAYMENT_REMINDER_EMAILS: Final = JobSpec(
    "send_payment_reminder_emails",
    RemindersArgs,
    Queue.PAYMENT_REMINDERS,
    "Sends the payment reminders that are owed.",
    timeout=timedelta(minutes=30),
    retry=SOON,
    cancellable=False,
)
SEND_REMINDER: Final = JobSpec(
    "send_reminder",
    ReminderArgs,
    Queue.PAYMENT_REMINDERS,
    "Sends one customer one e-mail about their open invoices.",
    retry=SOON,
    overlap=Overlap.ALLOW,
    priority=3,
    cancellable=False,
)
CONFIRM_REMINDERS: Final = JobSpec(
    "confirm_reminders",
    NoArgs,
    Queue.PAYMENT_REMINDERS,
    "Resolves reminder batches whose outcome is unclear.",
    timeout=timedelta(minutes=20),
    retry=SOON,
    priority=4,
)
DAILY_CLEANUP: Final = JobSpec(
    "daily_cleanup",
    NoArgs,
    Queue.MAINTENANCE,
    "Prunes what is older than the retention, in small batches.",
    timeout=timedelta(hours=1),
    retry=RetryPolicy(max_attempts=5),
    priority=8,
)
APPLY_STRIPE_EVENT: Final = JobSpec(
    "apply_stripe_event",
    WebhookArgs,
    Queue.REFUNDS,
    "Applies a stored Stripe event.",
    key=lambda args: f"stripe:{args.event_id}",
    priority=4,
)
APPLY_BREVO_EVENT: Final = JobSpec(
    "apply_brevo_event",
    WebhookArgs,
    Queue.PAYMENT_REMINDERS,
    "Applies a stored Brevo event.",
    key=lambda args: f"brevo:{args.event_id}",
    priority=4,
)

JOBS: Final[Mapping[str, JobSpec[Any]]] = {
    spec.name: spec
    for spec in (
        PING,
        PROCESS_PENDING_REFUNDS,
        PROCESS_REFUND,
        RECONCILE_REFUNDS,
        SEND_PAYMENT_REMINDER_EMAILS,
        SEND_REMINDER,
        CONFIRM_REMINDERS,
        DAILY_CLEANUP,
        APPLY_STRIPE_EVENT,
        APPLY_BREVO_EVENT,
    )
}
