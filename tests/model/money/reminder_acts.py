"""What can happen to reminders: one method an act (`plan.py`), which does nothing where there is nothing to do it to."""

from datetime import timedelta
from typing import Final

from shared.jobs import CONFIRM_REMINDERS, SEND_PAYMENT_REMINDER_EMAILS
from shared.reminder_review import ALLOWED, Action
from tests.model.money.ledger_sql import LIVE
from tests.model.money.plan import Act, pick, play
from tests.model.money.reminder_world import SENDS, ReminderWorld

ACTS: Final = (
    *("again",) * 6,
    *("remind", "go_on", "time") * 3,
    *("confirm", "decide") * 2,
    *(
        "once",
        "due_run",
        "webhook",
        "late",
        "refuse",
        "bounce",
        "lose_events",
        "pay",
        "owe",
        "bury",
        "cancel",
    ),
)
TIMES: Final = tuple(timedelta(seconds=s) for s in (20, 50, 50, 300, 1560, 1900, 8000, 90_000))
ADDRESSES: Final = ("a@x", "b@x", "c@x", "d@x")


class ReminderActs:
    def __init__(self, world: ReminderWorld) -> None:
        self.world, self.stage, self.workers, self.brevo = world, world.stage, world.workers, world.brevo

    def perform(self, act: Act) -> None:
        getattr(self, act.what)(act)

    # ------------------------------------------------------------------------------------------------------ our side

    def remind(self, act: Act) -> None:
        play(self.workers, self.world.start(SEND_PAYMENT_REMINDER_EMAILS), act)

    def confirm(self, act: Act) -> None:
        play(self.workers, self.world.start(CONFIRM_REMINDERS), act)

    def once(self, act: Act) -> None:
        customers = list(self.world.database.tables["customers"].values())
        run = self.world.remind_once(pick(customers, act.which).email)
        play(self.workers, self.workers.claim(run), act)

    def again(self, act: Act) -> None:
        """The next attempt of a run that sends; who had it has lost it, or it goes on."""
        runs = [r for r in self.world.database.rows("job_runs") if r.job in SENDS and r.state in LIVE]
        if not runs:
            return
        run = pick(runs, act.which)
        if run.state == "running":
            self.workers.pass_time(timedelta(seconds=20))
            self.workers.sweep_leases()
        if run.state == "pending":
            play(self.workers, self.world.again(run), act)

    def go_on(self, act: Act) -> None:
        if self.stage.processes:
            play(self.workers, pick(self.stage.processes, act.which), act)

    def due_run(self, act: Act) -> None:
        if due := self.workers.due():
            play(self.workers, self.workers.claim(pick(due, act.which)), act)

    def time(self, act: Act) -> None:
        self.workers.pass_time(pick(TIMES, act.choice))
        self.workers.sweep_leases()

    def bury(self, act: Act) -> None:
        """A run has used up its attempts."""
        if waiting := [r for r in self.world.database.rows("job_runs", state="pending") if r.job in SENDS]:
            pick(waiting, act.which).state = "dead"

    # ------------------------------------------------------------------------------------------------------ people

    def decide(self, act: Act) -> None:
        action = pick(list(Action), act.choice)
        if parked := self.world.reminders(*ALLOWED[action]):
            play(self.workers, self.world.decide(pick(parked, act.which), action), act)

    def cancel(self, act: Act) -> None:
        if runs := [r for r in self.world.database.rows("job_runs") if r.job in SENDS and r.state in LIVE]:
            self.workers.cancel(pick(runs, act.which))

    def pay(self, act: Act) -> None:
        if invoices := self.world.database.rows("invoices", status="open"):
            self.world.pay(pick(invoices, act.which))

    def owe(self, act: Act) -> None:
        self.world.owing(pick(ADDRESSES, act.which))

    # ------------------------------------------------------------------------------------------------------ Brevo

    def webhook(self, act: Act) -> None:
        if self.brevo.webhooks:
            self.world.deliver(pick(self.brevo.webhooks, act.which), again=act.choice % 2 == 0)

    def late(self, act: Act) -> None:
        if self.stage.under_way:
            self.stage.arrive(pick(self.stage.under_way, act.which))

    def refuse(self, act: Act) -> None:
        """An address makes whole calls fail from now on, or no more."""
        self.brevo.refuses ^= {pick(ADDRESSES, act.which)}

    def bounce(self, act: Act) -> None:
        self.brevo.bounces |= {pick(ADDRESSES, act.which)}

    def lose_events(self, _: Act) -> None:
        """Brevo's report shows nothing; where our spelling of the key is none, only events protect."""
        if self.brevo.honours_keys:
            self.brevo.events_are_lost = not self.brevo.events_are_lost
