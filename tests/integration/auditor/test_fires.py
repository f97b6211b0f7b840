"""The auditor's own reading of crontab agrees with the product's: two that were written apart."""

from datetime import UTC, datetime
from itertools import islice

import pytest

from local_stack.auditor.fires import Fires
from scheduler_svc.triggers import make_trigger
from shared.core.schedule import CronTrigger

NEW_YEAR = datetime(2030, 1, 1, 0, 0, 30, tzinfo=UTC)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
@pytest.mark.parametrize(
    "expression",
    [
        "* * * * *",
        "*/7 * * * *",
        "5-20/5 */6 * * *",
        "0 9 * * 1-5",
        "30 4 1,15 * 5",
        "0 0 * jan,mar sun",
        "15 3 * * 7",
    ],
)
def test_every_fire_has_the_next_number(expression: str, zone: str) -> None:
    spec = CronTrigger(expression=expression, zone=zone)
    trigger = make_trigger(spec)
    due = trigger.first(NEW_YEAR)
    assert due is not None
    fires = Fires(spec.model_dump(mode="json"), due)
    for number in islice(range(1000), 8):
        assert fires.number_of(due) == number
        due = trigger.after(due)
        assert due is not None
