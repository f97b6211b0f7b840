"""Random operations on the ledger and on schedules: the same on PostgreSQL and in the model, and their answers compared."""

import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from scheduler_svc import definitions, pausing
from scheduler_svc.definitions import Origin
from scheduler_svc.editing import edit_prepared
from scheduler_svc.firing import Firing
from shared.core.outcomes import Decision
from shared.core.schedule import ScheduleSpec, every
from shared.core.states import RunState
from shared.db import ledger
from shared.db.ledger import Finished
from shared.ports import Message
from tests.model.cluster import LEASE_S
from tests.model.database import answers
from tests.model.jobs import JOBS
from tests.model.sides import Side
from tests.model.world import instant

#: What happens, as often as it is named.
VERBS = (
    *(
        "enqueue",
        "claim",
        "claim",
        "claim",
        "mark",
        "mark",
        "beat",
        "finish",
        "finish",
        "sweep",
        "pick",
        "page",
    ),
    *("unqueue", "cancel", "replay", "fire", "fire", "pause", "resume", "edit", "hold", "release"),
)
DECISIONS = [
    Decision(RunState.SUCCEEDED, result={"n": 1}),
    Decision(RunState.SUCCEEDED, result={}),
    Decision(RunState.PENDING, 0.0, error="again"),
    Decision(RunState.PENDING, 1.5, free=True),
    Decision(RunState.PENDING, run_at=instant(30.0), error="later"),
    Decision(RunState.DEAD, error="never"),
    Decision(RunState.CANCELLED, error="unwanted"),
    Decision(RunState.SUCCEEDED, result={"text": "\x00"}),
]
HOLD = "INSERT INTO pauses (kind, name) VALUES ('job', 'quick') ON CONFLICT DO NOTHING"
RELEASE = "DELETE FROM pauses WHERE kind = 'job' AND name = 'quick'"


class Step:
    """One operation; its answer names runs by their age."""

    def __init__(self, dice: random.Random, runs: int) -> None:
        self.verb = dice.choice(VERBS)
        self.now_s = dice.choice([0.0, 0.0, 0.5, 2.0, 7.0])
        most = max(1, runs)
        self.ages = sorted({max(1, dice.randint(most - 6, most + 1)) for _ in range(dice.randint(1, 4))})
        self.attempts = [dice.choice([1, 1, 1, 2, 2, 3]) for _ in self.ages]
        self.jobs = [dice.choice(["quick", "short", "long"]) for _ in self.ages]
        self.keys = [dice.choice([None, None, "a", "b"]) for _ in self.ages]
        self.schedule = dice.choice(["tick", "series", "often"])
        self.decisions = [dice.choice(DECISIONS) for _ in self.ages]
        self.delay_s = dice.choice([0.0, 1.0, 5.0])
        self.every_s = dice.choice([1, 2, 5])

    def __str__(self) -> str:
        return f"{self.verb} {vars(self)}"

    async def on(self, side: Side, now: datetime) -> Any:
        return await getattr(self, f"_{self.verb}")(side, now)

    def _messages(self, side: Side) -> list[Message]:
        return [Message(side.id(age), n) for age, n in zip(self.ages, self.attempts, strict=True)]

    # ------------------------------------------------------------------------------------------------- the ledger

    async def _enqueue(self, side: Side, now: datetime) -> Any:
        run_ats = [None if n == 1 else now + timedelta(seconds=n - 2) for n in self.attempts]
        args: list[Any] = [{} for _ in self.ages]
        rows = await side.call(ledger.enqueue, JOBS[self.jobs[0]], args, keys=self.keys, run_ats=run_ats)
        return sorted((side.age(row.id) if row.id else 0, row.key or "", row.due) for row in rows)

    async def _claim(self, side: Side, now: datetime) -> Any:
        claimed = await side.call(ledger.claim, self._messages(side), worker="w", lease_s=LEASE_S)
        return sorted((side.age(r.id), r.attempt, r.max_attempts, r.losses, r.due_at) for r in claimed)

    async def _mark(self, side: Side, now: datetime) -> Any:
        return await side.call(ledger.mark_queued, self._messages(side))

    async def _beat(self, side: Side, now: datetime) -> Any:
        pairs = [(m.run_id, m.attempt) for m in self._messages(side)]
        beats = await side.call(ledger.heartbeat, pairs, lease_s=LEASE_S)
        return sorted((side.age(b.run_id), b.renewed, b.lost, b.cancel_requested) for b in beats)

    async def _finish(self, side: Side, now: datetime) -> Any:
        pairs = zip(self._messages(side), self.decisions, strict=True)
        ended = await side.call(ledger.finish, [Finished(m.run_id, m.attempt, d) for m, d in pairs])
        return sorted(side.age(run_id) for run_id in ended)

    async def _sweep(self, side: Side, now: datetime) -> Any:
        return await side.call(_sweep_once, side)

    async def _pick(self, side: Side, now: datetime) -> Any:
        picked = await side.call(ledger.pick_due, ["maintenance"], per_queue=100)
        return sorted((side.age(p.message.run_id), p.message.attempt, p.queue) for p in picked)

    async def _page(self, side: Side, now: datetime) -> Any:
        page = await side.call(ledger.queued_page, after=UUID(int=0), most=100, older_than_s=self.delay_s)
        return sorted((side.age(p.message.run_id), p.message.attempt) for p in page)

    async def _unqueue(self, side: Side, now: datetime) -> Any:
        return await side.call(ledger.unqueue, self._messages(side), delay_s=self.delay_s)

    async def _cancel(self, side: Side, now: datetime) -> Any:
        return await side.call(ledger.cancel, side.id(self.ages[0]), reason="test")

    async def _replay(self, side: Side, now: datetime) -> Any:
        again = await side.call(ledger.replay, side.id(self.ages[0]), more_attempts=2)
        return again and (side.age(again.message.run_id), again.message.attempt)

    # ------------------------------------------------------------------------------------------------- schedules

    async def _fire(self, side: Side, now: datetime) -> Any:
        done = Firing(side.engine, JOBS, bound_s=10).fire_due()
        await side.call(_nothing)
        return done.schedules, done.runs, done.due, done.leases_lost

    async def _pause(self, side: Side, now: datetime) -> Any:
        with side.engine.begin() as db:
            definitions.lock_rows(db, [self.schedule])
            return pausing.pause(db, self.schedule, actor="test", reason="test")

    async def _resume(self, side: Side, now: datetime) -> None:
        def resume(db: Any, row: Any, missed: Any) -> None:
            if row.paused:
                pausing.resume(db, row, missed, JOBS)

        edit_prepared(side.engine, JOBS, self.schedule, resume)
        await side.call(_nothing)

    async def _edit(self, side: Side, now: datetime) -> None:
        series = self.schedule == "series"
        spec = ScheduleSpec(
            id=self.schedule,
            job="short" if series else "quick",
            trigger=every(f"{self.every_s}s"),
            catch_up=series,
        )

        def edit(db: Any, row: Any, missed: Any) -> None:
            pausing.settle(db, row, missed, JOBS)
            definitions.replace(db, row, spec.bound_to(JOBS), Origin())

        edit_prepared(side.engine, JOBS, self.schedule, edit)
        await side.call(_nothing)

    async def _hold(self, side: Side, now: datetime) -> None:
        await side.call(_do, HOLD)

    async def _release(self, side: Side, now: datetime) -> None:
        await side.call(_do, RELEASE)


async def _nothing(db: Any) -> None:
    """For `Side.call` to learn the new ids."""


async def _do(db: Any, sql: str) -> None:
    await db.execute(text(sql))


async def _sweep_once(db: Any, side: Side) -> Any:
    lost = await ledger.pick_lost(db, most=100)
    decision = Decision(RunState.PENDING, 1.0, error="lost")
    await ledger.finish(db, [Finished(run.id, run.attempt, decision) for run in lost])
    await ledger.note_losses(db, [run.id for run in lost])
    return sorted((side.age(run.id), run.attempt, run.max_attempts, run.losses) for run in lost)


@answers(HOLD)
def _hold_job(db: Any, tx: Any) -> list[Any]:
    tx.put("pauses", ("job", "quick"), "held")
    return []


@answers(RELEASE)
def _release_job(db: Any, tx: Any) -> list[Any]:
    tx.put("pauses", ("job", "quick"), None)
    return []
