"""Every handler there is, by its job's name."""

from collections.abc import Mapping
from typing import Final

from shared import jobs
from worker_svc.context import Handler
from worker_svc.handlers.brevo_events import apply_brevo_event
from worker_svc.handlers.cleanup import daily_cleanup
from worker_svc.handlers.confirm_reminders import confirm_reminders
from worker_svc.handlers.ping import ping
from worker_svc.handlers.reconcile_refunds import reconcile_refunds
from worker_svc.handlers.refunds import process_pending_refunds, process_refund
from worker_svc.handlers.reminders import send_payment_reminder_emails
from worker_svc.handlers.send_reminder import send_reminder
from worker_svc.handlers.stripe_events import apply_stripe_event

HANDLERS: Final[Mapping[str, Handler]] = {
    jobs.PING.name: ping,
    jobs.PROCESS_PENDING_REFUNDS.name: process_pending_refunds,
    jobs.PROCESS_REFUND.name: process_refund,
    jobs.RECONCILE_REFUNDS.name: reconcile_refunds,
    jobs.APPLY_STRIPE_EVENT.name: apply_stripe_event,
    jobs.SEND_PAYMENT_REMINDER_EMAILS.name: send_payment_reminder_emails,
    jobs.SEND_REMINDER.name: send_reminder,
    jobs.CONFIRM_REMINDERS.name: confirm_reminders,
    jobs.APPLY_BREVO_EVENT.name: apply_brevo_event,
    jobs.DAILY_CLEANUP.name: daily_cleanup,
}
