"""A scheduler of the next version: one of its own schedules has changed, and so has its version."""

import dataclasses
from typing import Final

from scheduler_svc import bootstrap, builtin
from scheduler_svc.builtin import Definition
from shared.core.schedule import IntervalTrigger
from shared.process import run_process
from shared.settings import SchedulerSettings

CHANGED: Final = "reconcile_refunds_job"
NEXT_VERSION: Final = 2
NEXT_EVERY_S: Final = 777.0


def next_schedules(settings: SchedulerSettings) -> tuple[Definition, ...]:
    return tuple(
        _changed(each) if each.spec.id == CHANGED else each for each in builtin.builtin_schedules(settings)
    )


def _changed(each: Definition) -> Definition:
    trigger = IntervalTrigger(every_s=NEXT_EVERY_S)
    return dataclasses.replace(
        each, spec=each.spec.model_copy(update={"trigger": trigger}), version=NEXT_VERSION
    )


if __name__ == "__main__":
    bootstrap.builtin_schedules = next_schedules
    run_process("scheduler", SchedulerSettings, bootstrap.main)
