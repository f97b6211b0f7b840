"""Refunds under every interleaving that Hypothesis finds: invariant M, and that nobody is forgotten."""

from hypothesis import given
from hypothesis import strategies as st

from tests.model.money.plan import PROFILE, Act, plans
from tests.model.money.refund_acts import ACTS, RefundActs
from tests.model.money.refund_world import CALL_WORDS, RefundWorld


@PROFILE
@given(
    plan=plans(ACTS, CALL_WORDS),
    refunds=st.integers(1, 3),
    first_status=st.sampled_from(["succeeded", "pending"]),
    keeps_refusals=st.booleans(),
    attempts=st.sampled_from([10, 2]),
)
def test_each_refund_is_paid_at_most_once_and_none_is_forgotten(
    plan: list[Act], refunds: int, first_status: str, keeps_refusals: bool, attempts: int
) -> None:
    with RefundWorld() as world:
        world.stripe.first_status, world.stripe.keeps_refusals = first_status, keeps_refusals
        world.database.rules.attempts = attempts
        for _ in range(refunds):
            world.add()
        acts = RefundActs(world)
        for act in plan:
            acts.perform(act)
            world.check()
        world.calm()
        world.check_end()
