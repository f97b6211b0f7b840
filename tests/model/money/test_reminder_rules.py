"""Rules 30 to 34, each switched off in turn: one short story that ends well with the rule, and badly without it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from shared.core.reminders import Refusal, Step
from shared.db import reminder_batches
from shared.jobs import SEND_PAYMENT_REMINDER_EMAILS
from tests.model.money.reminder_world import ReminderWorld
from tests.model.money.stage import GO, LOST_AFTER, SERVER_ERROR, Process
from tests.model.money.switches import Switch, both, ends_well_and_badly, patched, sql, without
from worker_svc import reminder_sending
from worker_svc.reminder_sending import BatchSender

MINUTE = timedelta(minutes=1)


def call_ends(world: ReminderWorld, process: Process, word: str) -> None:
    """Up to its call of Brevo, and that one with `word`."""
    assert world.goes_to(process, "Brevo send")
    world.stage.play(process, [word])


def remind(world: ReminderWorld, word: str = GO) -> Any:
    """One attempt, whose call ends so; its run."""
    run = world.enqueue(SEND_PAYMENT_REMINDER_EMAILS)
    process = world.workers.claim(run)
    call_ends(world, process, word)
    world.stage.finish(process)
    return run


def owed_since_this_morning(world: ReminderWorld) -> None:
    world.owing("a@x", since=timedelta(hours=5))


def a_crash_after_the_mail_went_out(world: ReminderWorld) -> None:
    world.owing("a@x")
    run = world.enqueue(SEND_PAYMENT_REMINDER_EMAILS)
    process = world.workers.claim(run)
    call_ends(world, process, LOST_AFTER)
    world.stage.kill(process)
    world.stage.finish(world.again(run))


def one_address_of_three_is_refused(world: ReminderWorld) -> None:
    world.owing("a@x", "bad@x", "c@x")
    world.brevo.refuses = {"bad@x"}
    remind(world)
    told = {each.email: each.status for each in world.reminders()}
    world.must(told == {"a@x": "sent", "bad@x": "failed", "c@x": "sent"}, f"the innocent are {told}")


def a_refusal_after_an_unclear_call(world: ReminderWorld) -> None:
    """Brevo has the mails, shows no event of them yet, and now refuses one of the addresses."""
    world.owing("a@x", "b@x")
    run = remind(world, LOST_AFTER)
    world.brevo.events_are_lost, world.brevo.refuses = True, {"b@x"}
    world.workers.pass_time(MINUTE)
    world.stage.finish(world.again(run))


def an_unclear_call_without_keys(world: ReminderWorld) -> None:
    world.brevo.honours_keys = False
    world.owing("a@x")
    run = remind(world, LOST_AFTER)
    world.workers.pass_time(MINUTE)
    world.stage.finish(world.again(run))


def an_unclear_call_forgotten_by_brevo(world: ReminderWorld) -> None:
    world.owing("a@x")
    run = remind(world, LOST_AFTER)
    world.brevo.events_are_lost = True
    world.workers.pass_time(31 * MINUTE)
    world.stage.finish(world.again(run))


def a_key_is_known_and_nothing_was_sent(world: ReminderWorld) -> None:
    world.owing("a@x")
    run = remind(world, SERVER_ERROR)
    world.workers.pass_time(MINUTE)
    world.stage.finish(world.again(run))


def a_one_off_whose_answer_is_lost(world: ReminderWorld) -> None:
    world.owing("a@x")
    run = world.remind_once("a@x")
    process = world.workers.claim(run)
    call_ends(world, process, LOST_AFTER)
    world.stage.finish(process)
    world.workers.pass_time(MINUTE)
    world.stage.finish(world.again(run))


def _nothing_frozen(_: Callable[..., Any], s: Any, p: Any) -> list[Any]:
    """What was being sent was only in the dead worker's memory."""
    for reminder in list(s.database.tables["payment_reminders"].values()):
        if reminder.status in ("pending", "sending"):
            s.delete("payment_reminders", reminder)
    return []


def _whatever_came_before(statement: Callable[..., Any], s: Any, p: Any) -> Any:
    s.put(s.database.tables["reminder_batches"][p.id], calls=1)
    return statement(s, p)


async def _take_it_for_sent(sender: BatchSender, batch: Any, why: str, events: Any = None) -> None:
    await sender._sent(batch, [""] * len(batch.members))


ASK_AGAIN = patched(reminder_sending, "next_step", lambda *_: Step.CALL)

SWITCHES = [
    Switch(30, "only what the last hour brought", owed_since_this_morning, without(all_that_is_owed=False)),
    Switch(31, "nothing is frozen", a_crash_after_the_mail_went_out, sql("reminder_adopt", _nothing_frozen)),
    Switch(32, "all are refused with one", one_address_of_three_is_refused,
           patched(reminder_sending, "on_refusal", lambda *_: Refusal.PARK)),
    Switch(32, "a refusal speaks for earlier calls", a_refusal_after_an_unclear_call,
           both(patched(reminder_sending, "on_refusal", lambda _, n: Refusal.SPLIT if n > 1 else Refusal.PARK),
                sql("reminder_refused", _whatever_came_before))),
    Switch(33, "asked again without a look", an_unclear_call_without_keys, ASK_AGAIN),
    Switch(33, "asked again with an old key", an_unclear_call_forgotten_by_brevo,
           both(ASK_AGAIN, patched(reminder_batches, "REPEAT_WITHIN", timedelta(days=9)))),
    Switch(33, "a known key is a sent mail", a_key_is_known_and_nothing_was_sent,
           patched(BatchSender, "_leave_unconfirmed", _take_it_for_sent)),
    Switch(34, "no business id", a_one_off_whose_answer_is_lost, without(once=False)),
]  # fmt: skip


@pytest.mark.parametrize("switch", SWITCHES, ids=[each.name for each in SWITCHES])
def test_a_reminder_ends_well_with_the_rule_and_badly_without_it(switch: Switch) -> None:
    ends_well_and_badly(ReminderWorld, switch)
