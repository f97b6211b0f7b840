"""What can happen to refunds: one method an act (`plan.py`), which does nothing where there is nothing to do it to."""

from datetime import timedelta
from typing import Final

from shared.core.refund_review import Decision
from shared.jobs import PROCESS_REFUND, RefundArgs
from tests.model.money.database import Row
from tests.model.money.plan import Act, pick, play
from tests.model.money.refund_sql import WAITING
from tests.model.money.refund_world import RefundWorld

ACTS: Final = (
    *("attempt",) * 8,
    *("go_on", "due_run", "time", "decide") * 3,
    *(
        "settle",
        "sweep",
        "enqueue",
        "reconcile",
        "webhook",
        "late",
        "cancel",
        "edit",
        "decline",
        "another",
        "bury",
        "by_hand",
    ),
)
TIMES: Final = tuple(timedelta(seconds=s) for s in (6, 20, 120, 1500, 3 * 3600, 22.5 * 3600, 25 * 3600))
DECISIONS: Final = (Decision.RETRY, Decision.RETRY, *Decision)
PAYMENT: Final = "pi_1"


class RefundActs:
    def __init__(self, world: RefundWorld) -> None:
        self.world, self.stage, self.workers, self.stripe = world, world.stage, world.workers, world.stripe

    def perform(self, act: Act) -> None:
        getattr(self, act.what)(act)

    def _refund(self, act: Act, *statuses: str) -> Row | None:
        refunds = list(self.world.database.tables["refunds"].values())
        found = [each for each in refunds if not statuses or each.status in statuses]
        return pick(found, act.which) if found else None

    # ------------------------------------------------------------------------------------------------------ our side

    def attempt(self, act: Act) -> None:
        """The next attempt at a refund; a worker that has its run must have lost it."""
        refund = self._refund(act, *WAITING)
        if refund is None:
            return
        run = self.world.run_of(refund.id)
        if run.state == "running":
            self.workers.pass_time(timedelta(seconds=20))
            self.workers.sweep_leases()
        if run.state == "pending" and refund.run_id == run.id:
            play(self.workers, self.world.attempt(refund.id), act)

    def go_on(self, act: Act) -> None:
        if self.stage.processes:
            play(self.workers, pick(self.stage.processes, act.which), act)

    def due_run(self, act: Act) -> None:
        if due := self.workers.due():
            play(self.workers, self.workers.claim(pick(due, act.which)), act)

    def time(self, act: Act) -> None:
        self.workers.pass_time(pick(TIMES, act.choice))
        self.workers.sweep_leases()

    def sweep(self, act: Act) -> None:
        play(self.workers, self.world.sweep(), act)

    def reconcile(self, act: Act) -> None:
        play(self.workers, self.world.reconcile(), act)

    def enqueue(self, act: Act) -> None:
        if refund := self._refund(act):
            play(self.workers, self.world.enqueue(refund.id), act)

    def bury(self, act: Act) -> None:
        """A run has used up its attempts."""
        if waiting := [run for run in self.workers.live(PROCESS_REFUND.name) if run.state == "pending"]:
            pick(waiting, act.which).state = "dead"

    # ------------------------------------------------------------------------------------------------------ people

    def by_hand(self, act: Act) -> None:
        """A run that the refund does not name."""
        if refund := self._refund(act):
            run = self.workers.enqueue(PROCESS_REFUND, RefundArgs(refund_id=refund.id))
            self.world.by_hand.add(run.id)
            play(self.workers, self.workers.claim(run), act)

    def decide(self, act: Act) -> None:
        if refund := self._refund(act, "needs_review", "failed"):
            play(self.workers, self.world.decide(refund.id, pick(DECISIONS, act.choice)), act)

    def cancel(self, act: Act) -> None:
        if live := self.workers.live(PROCESS_REFUND.name):
            self.workers.cancel(pick(live, act.which))

    def edit(self, act: Act) -> None:
        if refund := self._refund(act):
            self.world.edit(refund, amount=30 + 20 * (act.choice % 2))

    # ------------------------------------------------------------------------------------------------------ Stripe

    def settle(self, act: Act) -> None:
        if paying := self.stripe.paying():
            found = pick(paying, act.which)
            if found.status == "succeeded":
                self.stripe.settle(found.id, "failed")
            else:
                status = pick(("succeeded", "failed", "canceled", "requires_action"), act.choice)
                self.stripe.settle(found.id, status)

    def webhook(self, act: Act) -> None:
        if self.stripe.webhooks:
            self.world.deliver(pick(self.stripe.webhooks, act.which), again=act.choice % 2 == 0)

    def late(self, act: Act) -> None:
        if self.stage.under_way:
            self.stage.arrive(pick(self.stage.under_way, act.which))

    def decline(self, _: Act) -> None:
        """The balance is used up, or filled again."""
        self.stripe.refuses ^= {PAYMENT}

    def another(self, _: Act) -> None:
        """Somebody refunds a part by hand."""
        if sum(each.amount for each in self.stripe.paying(intent=PAYMENT)) <= 50:
            self.stripe.add(PAYMENT, 50, {})
