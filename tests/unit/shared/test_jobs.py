"""What the declarations of jobs promise together."""

import pytest

from scheduler_svc.builtin import builtin_schedules
from shared.core.jobspec import Overlap
from shared.jobs import DAILY_CLEANUP, JOBS
from shared.settings import SchedulerSettings

SCHEDULED = sorted({each.spec.job for each in builtin_schedules(SchedulerSettings.model_construct())})


@pytest.mark.parametrize("name", [name for name in SCHEDULED if name != DAILY_CLEANUP.name])
def test_a_schedule_is_not_silent_for_longer_than_a_minute_because_a_run_waits_for_its_next_try(
    name: str,
) -> None:
    """`skip`: whatever fires meanwhile is no run."""
    assert JOBS[name].overlap is Overlap.SKIP
    assert JOBS[name].retry.cap_s <= 60
