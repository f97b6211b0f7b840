"""What the rules do not promise, and what stands behind it."""

from tests.model.money.refund_world import RefundWorld
from tests.model.money.stage import LATE


def test_a_call_that_takes_effect_after_another_was_refused_is_a_persons_by_its_webhook() -> None:
    """Nothing is paid twice: the row says `failed` until Stripe tells, and a retry is refused while Stripe pays."""
    with RefundWorld() as world:
        world.stripe.keeps_refusals = False
        refund = world.add()
        world.pay(refund, LATE)
        world.stripe.refuses = {"pi_1"}
        world.pay(refund)
        assert world.refund(refund).status == "failed"
        world.stripe.refuses = set()
        world.stage.arrive(world.stage.under_way[0])
        world.stage.finish(world.workers.claim(world.deliver(world.stripe.webhooks[-1])))
        assert world.refund(refund).status == "needs_review"
