"""The schedules that come with the product. Raise a version when its definition changes here (rule 17)."""

import hashlib
from dataclasses import dataclass

from scheduler_svc.triggers import make_trigger
from shared import jobs
from shared.core.errors import BadInput, ConfigError
from shared.core.schedule import CronTrigger, IntervalTrigger, ScheduleSpec, cron
from shared.jobs import JOBS
from shared.settings import SchedulerSettings

RECONCILE_EVERY_S = 600


@dataclass(frozen=True, slots=True)
class Definition:
    """A schedule that code defines. At the same version, what the settings make of it may differ: `settings_hash`."""

    spec: ScheduleSpec
    version: int = 1

    @property
    def settings_hash(self) -> str:
        return hashlib.sha256(self.spec.model_dump_json().encode()).hexdigest()[:16]


def builtin_schedules(settings: SchedulerSettings) -> tuple[Definition, ...]:
    """Raises ConfigError where CLEANUP_CRON cannot be read."""
    return (
        _every("process_pending_refunds_job", jobs.PROCESS_PENDING_REFUNDS.name, settings.refunds_every_s),
        Definition(
            _bound(
                ScheduleSpec(
                    id="send_payment_reminder_emails_job",
                    job=jobs.SEND_PAYMENT_REMINDER_EMAILS.name,
                    args={"tolerance": settings.reminder_tolerance_s},
                    trigger=IntervalTrigger(every_s=settings.reminders_every_s),
                )
            )
        ),
        Definition(
            _bound(
                ScheduleSpec(
                    id="daily_cleanup_job", job=jobs.DAILY_CLEANUP.name, trigger=_cron(settings.cleanup_cron)
                )
            )
        ),
        _every("reconcile_refunds_job", jobs.RECONCILE_REFUNDS.name, RECONCILE_EVERY_S),
        _every("confirm_reminders_job", jobs.CONFIRM_REMINDERS.name, RECONCILE_EVERY_S),
    )


def _every(schedule_id: str, job: str, seconds: float) -> Definition:
    return Definition(_bound(ScheduleSpec(id=schedule_id, job=job, trigger=IntervalTrigger(every_s=seconds))))


def _bound(spec: ScheduleSpec) -> ScheduleSpec:
    return spec.bound_to(JOBS)


def _cron(expression: str) -> CronTrigger:
    try:
        trigger = cron(expression)
        make_trigger(trigger)
    except BadInput as error:
        raise ConfigError(f"CLEANUP_CRON: {error}; expected: crontab(5), such as '0 2 * * *'") from None
    return trigger
