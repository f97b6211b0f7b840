"""Reminders under every interleaving that Hypothesis finds: invariant M, and that nobody is forgotten."""

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from tests.model.money.plan import PROFILE, Act, plans
from tests.model.money.reminder_acts import ACTS, ADDRESSES, ReminderActs
from tests.model.money.reminder_world import CALL_WORDS, ReminderWorld
from worker_svc import reminder_parts


@PROFILE
@given(
    plan=plans(ACTS, CALL_WORDS),
    owing=st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=4),
    honours_keys=st.booleans(),
)
def test_each_reminder_goes_out_at_most_once_and_none_is_forgotten(
    plan: list[Act], owing: list[str], honours_keys: bool
) -> None:
    lived(plan, owing, honours_keys)


@PROFILE
@given(
    plan=plans((*ACTS, *("due_run",) * 4), CALL_WORDS),
    owing=st.lists(st.sampled_from(ADDRESSES), min_size=2, max_size=5),
    mails=st.integers(1, 2),
)
def test_neither_does_sharing_the_work_in_parts_double_or_forget_one(
    plan: list[Act], owing: list[str], mails: int
) -> None:
    with patch.object(reminder_parts, "MAILS", mails):
        lived(plan, owing, honours_keys=True)


def lived(plan: list[Act], owing: list[str], honours_keys: bool) -> None:
    with ReminderWorld(honours_keys) as world:
        world.owing(*owing)
        acts = ReminderActs(world)
        for act in plan:
            acts.perform(act)
            world.check()
        world.calm()
        world.check_end()
