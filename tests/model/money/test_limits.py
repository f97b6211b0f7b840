"""What the rules do not promise: each assumption about the world, shown to be needed, and what stands behind it."""

from datetime import timedelta

from shared.jobs import SEND_PAYMENT_REMINDER_EMAILS
from shared.reminder_review import Action
from tests.model.money.refund_world import RefundWorld
from tests.model.money.reminder_world import ReminderWorld
from tests.model.money.stage import LATE, LOST_AFTER

MINUTE = timedelta(minutes=1)


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


def test_a_process_that_sleeps_for_a_day_between_its_last_look_and_its_request_pays_twice() -> None:
    """Nobody can look at a lease in the instant of the request: Stripe's key has to outlive the sleep."""
    with RefundWorld() as world:
        world.stage.latest = timedelta(days=2)  # the model takes such a process for dead
        refund = world.add()
        sleeper = world.attempt(refund)
        world.go_to(sleeper, "Stripe create")
        sleeper.stopped = True
        world.pay(refund)
        world.workers.pass_time(timedelta(hours=25))
        sleeper.stopped = False
        world.stage.finish(sleeper)
        assert len(world.stripe.paying(refund_id=refund)) == 2


def test_a_process_that_sleeps_for_half_an_hour_between_its_last_look_and_its_request_sends_twice() -> None:
    with ReminderWorld() as world:
        world.stage.latest = timedelta(days=2)
        world.owing("a@x")
        run = world.enqueue(SEND_PAYMENT_REMINDER_EMAILS)
        sleeper = world.workers.claim(run)
        assert world.goes_to(sleeper, "Brevo send")
        sleeper.stopped = True
        world.workers.pass_time(MINUTE)
        world.stage.finish(world.again(run))
        world.workers.pass_time(31 * MINUTE)
        sleeper.stopped = False
        world.stage.finish(sleeper)
        assert len(world.brevo.mails) == 2


def test_without_keys_and_without_events_nothing_protects_a_mail_whose_answer_was_lost() -> None:
    """Either of them does."""
    with ReminderWorld(honours_keys=False) as world:
        world.brevo.events_are_lost = True
        world.owing("a@x")
        run = world.enqueue(SEND_PAYMENT_REMINDER_EMAILS)
        process = world.workers.claim(run)
        assert world.goes_to(process, "Brevo send")
        world.stage.play(process, [LOST_AFTER])
        world.stage.finish(process)
        world.workers.pass_time(MINUTE)
        world.stage.finish(world.again(run))
        assert len(world.brevo.mails) == 2


def test_two_hours_without_an_event_do_not_prove_that_a_refused_batch_was_never_sent() -> None:
    """Why a person decides: the refusal says nothing about the earlier call, and a report can be empty for all of a batch."""
    with ReminderWorld() as world:
        world.owing("a@x", "b@x")
        run = world.enqueue(SEND_PAYMENT_REMINDER_EMAILS)
        process = world.workers.claim(run)
        assert world.goes_to(process, "Brevo send")
        world.stage.play(process, [LOST_AFTER])
        world.stage.finish(process)
        world.brevo.events_are_lost, world.brevo.refuses = True, {"b@x"}
        world.workers.pass_time(MINUTE)
        world.stage.finish(world.again(run))
        assert {each.status for each in world.reminders()} == {"unconfirmed"}
        world.calm()
        assert {each.status for each in world.reminders()} == {"needs_review"}
        for reminder in world.reminders():
            world.stage.finish(world.decide(reminder, Action.RESEND))
        world.calm()
        assert set(world.accepted.values()) == {2}
