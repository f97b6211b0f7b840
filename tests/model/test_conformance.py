"""The simulated ledger is the real one: the same operations, on the simulated statements and on PostgreSQL's, leave the same
rows and give the same answers."""

import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, text

from scheduler_svc import definitions, pausing
from scheduler_svc.definitions import Origin
from scheduler_svc.firing import Firing
from scheduler_svc.schedules import Schedules
from shared.core.outcomes import Decision
from shared.core.schedule import ScheduleSpec, every
from shared.core.states import RunState
from shared.db import ledger
from shared.db.engine import Database, sync_engine
from shared.db.ledger import Finished
from shared.ports import Message
from tests.model import database as simulated
from tests.model.cluster import LEASE_S, Cluster
from tests.model.jobs import JOBS
from tests.model.world import EPOCH, instant

QUEUES = ["maintenance"]
#: Columns of the ledger that are compared; ids are compared by age.
COLUMNS = (
    "job queue priority key schedule_id due_at coalesced overlap run_at state attempt max_attempts losses worker"
    " lease_until cancel_requested error reason result queued_at started_at finished_at"
).split()

#: now() and the server's start are the model's: an unqualified name finds these first.
CLOCK = """
CREATE SCHEMA clock;
CREATE TABLE clock.time (at timestamptz NOT NULL);
INSERT INTO clock.time VALUES ('2030-01-31T00:00:00Z');
CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM clock.time';
ALTER TABLE job_runs ALTER run_at SET DEFAULT clock.now(), ALTER enqueued_at SET DEFAULT clock.now();
"""


class Side:
    """One of the two. Runs are known by their age: the number of their insertion, those of one statement in the order of
    what is in them."""

    engine: Any
    database: Any

    def __init__(self) -> None:
        self.ids: list[UUID] = []

    async def call(self, verb: Any, *args: Any, **more: Any) -> Any:
        async with self.database.begin() as connection:
            answer = await verb(connection, *args, **more)
        new = [row for row in await self.runs() if row["id"] not in self.ids]
        self.ids += [row["id"] for row in sorted(new, key=lambda row: [str(row[c]) for c in COLUMNS])]
        return answer

    async def runs(self) -> list[dict[str, Any]]:
        raise NotImplementedError

    async def rows(self) -> list[dict[str, Any]]:
        runs = {row.pop("id"): row for row in await self.runs()}
        return [runs[each] for each in self.ids]

    def age(self, run_id: UUID) -> int:
        return self.ids.index(run_id) + 1 if run_id in self.ids else run_id.int - 2**100

    def id(self, age: int) -> UUID:
        return self.ids[age - 1] if age <= len(self.ids) else UUID(int=2**100 + age)


class Real(Side):
    """PostgreSQL."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.engine: Engine = sync_engine(url, application="test", bound_s=10)
        with self.engine.begin() as connection:
            for each in CLOCK.strip().split(";\n"):
                connection.execute(text(each))
            name = connection.execute(text("SELECT current_database()")).scalar_one()
            connection.execute(text(f"ALTER DATABASE {name} SET search_path = clock, pg_catalog, public"))
        self.engine.dispose()
        self.database = Database(url, application="test", bound_s=10)

    async def tick(self, now: datetime) -> None:
        await self.database.rows("UPDATE clock.time SET at = :now RETURNING at", now=now)

    async def runs(self) -> list[dict[str, Any]]:
        rows = await self.database.rows(f"SELECT id, {', '.join(COLUMNS)} FROM job_runs")
        return [dict(row._mapping) for row in rows]

    async def schedules(self) -> list[tuple[Any, ...]]:
        return [tuple(r) for r in await self.database.rows(f"SELECT {SCHEDULE} FROM schedules ORDER BY id")]


SCHEDULE = "id, next_run_time, paused_from, broken IS NOT NULL"


class Model(Side):
    """The simulated one."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = Cluster()
        self.engine = simulated.Engine(self.cluster.postgres, "test", 10.0)
        self.database = simulated.AsyncDatabase(self.engine)

    async def tick(self, now: datetime) -> None:
        self.cluster.now = (now - EPOCH).total_seconds()

    async def runs(self) -> list[dict[str, Any]]:
        runs = self.cluster.postgres.tables["job_runs"].values()
        return [{name: getattr(run, name) for name in ["id", *COLUMNS]} for run in runs]

    async def schedules(self) -> list[tuple[Any, ...]]:
        found = sorted(self.cluster.postgres.tables["schedules"].values(), key=lambda s: s.id)
        return [(s.id, s.next_run_time, s.paused_from, s.broken is not None) for s in found]


@pytest.fixture
async def real(database_url: str) -> AsyncIterator[Real]:
    side = Real(database_url)
    yield side
    side.engine.dispose()
    await side.database.close()


class Step:
    """A random operation, the same for both sides."""

    def __init__(self, dice: random.Random, runs: int) -> None:
        self.verb = dice.choice(
            ["enqueue", "claim", "claim", "claim", "mark", "mark", "beat", "finish", "finish", "sweep", "pick", "page"]
            + ["unqueue", "cancel", "replay", "fire", "fire", "pause", "resume", "edit", "hold", "release"]
        )
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

    def messages(self, side: Side) -> list[Message]:
        return [Message(side.id(age), n) for age, n in zip(self.ages, self.attempts, strict=True)]

    async def on(self, side: Side, now: datetime) -> Any:
        """Its answer, in ages."""
        messages = self.messages(side)
        match self.verb:
            case "enqueue":
                run_ats = [None if n == 1 else now + timedelta(seconds=n - 2) for n in self.attempts]
                args: list[Any] = [{} for _ in self.ages]
                rows = await side.call(
                    ledger.enqueue, JOBS[self.jobs[0]], args, keys=self.keys, run_ats=run_ats
                )
                return sorted((side.age(row.id) if row.id else 0, row.key or "", row.due) for row in rows)
            case "claim":
                claimed = await side.call(ledger.claim, messages, worker="w", lease_s=LEASE_S)
                return sorted((side.age(r.id), r.attempt, r.max_attempts, r.losses, r.due_at) for r in claimed)
            case "mark":
                return await side.call(ledger.mark_queued, messages)
            case "beat":
                pairs = [(m.run_id, m.attempt) for m in messages]
                beats = await side.call(ledger.heartbeat, pairs, lease_s=LEASE_S)
                return sorted((side.age(b.run_id), b.renewed, b.lost, b.cancel_requested) for b in beats)
            case "finish":
                pairs_ = zip(messages, self.decisions, strict=True)
                ended = await side.call(ledger.finish, [Finished(m.run_id, m.attempt, d) for m, d in pairs_])
                return sorted(side.age(run_id) for run_id in ended)
            case "sweep":
                return await side.call(_sweep, side)
            case "pick":
                picked = await side.call(ledger.pick_due, QUEUES, per_queue=100)
                return sorted((side.age(p.message.run_id), p.message.attempt, p.queue) for p in picked)
            case "page":
                page = await side.call(
                    ledger.queued_page, after=UUID(int=0), most=100, older_than_s=self.delay_s
                )
                return sorted((side.age(p.message.run_id), p.message.attempt) for p in page)
            case "unqueue":
                return await side.call(ledger.unqueue, messages, delay_s=self.delay_s)
            case "cancel":
                return await side.call(ledger.cancel, messages[0].run_id, reason="test")
            case "replay":
                again = await side.call(ledger.replay, messages[0].run_id, more_attempts=2)
                return again and (side.age(again.message.run_id), again.message.attempt)
            case _:
                return await self._schedules(side)

    async def _schedules(self, side: Side) -> Any:
        schedules, engine = Schedules(side.engine, jobs=JOBS), side.engine
        match self.verb:
            case "fire":
                done = Firing(engine, JOBS, bound_s=10).fire_due()
                await side.call(_nothing)
                return done.schedules, done.runs, done.due, done.leases_lost
            case "pause":
                with engine.begin() as db:
                    definitions.lock_rows(db, [self.schedule])
                    return pausing.pause(db, self.schedule, actor="test", reason="test")
            case "resume" | "edit":
                edit = _resume if self.verb == "resume" else self._edit
                schedules._edit(self.schedule, edit)
                await side.call(_nothing)
            case "hold":
                await side.call(_hold, True)
            case "release":
                await side.call(_hold, False)
        return None

    def _edit(self, db: Any, row: Any, missed: Any) -> None:
        pausing.settle(db, row, missed, JOBS)
        job = "short" if self.schedule == "series" else "quick"
        spec = ScheduleSpec(
            id=self.schedule, job=job, trigger=every(f"{self.every_s}s"), catch_up=self.schedule == "series"
        )
        definitions.replace(db, row, spec.bound_to(JOBS), Origin())


DECISIONS = [
    Decision(RunState.SUCCEEDED, result={"n": 1}),
    Decision(RunState.PENDING, 0.0, error="again"),
    Decision(RunState.PENDING, 1.5, free=True),
    Decision(RunState.PENDING, run_at=instant(30.0), error="later"),
    Decision(RunState.DEAD, error="never"),
    Decision(RunState.CANCELLED, error="unwanted"),
    Decision(RunState.SUCCEEDED, result={"text": "\x00"}),
]


async def _nothing(db: Any) -> None:
    """For `Real.call` to learn the new ids."""


async def _sweep(db: Any, side: Side) -> Any:
    lost = await ledger.pick_lost(db, most=100)
    decision = Decision(RunState.PENDING, 1.0, error="lost")
    await ledger.finish(db, [Finished(run.id, run.attempt, decision) for run in lost])
    await ledger.note_losses(db, [run.id for run in lost])
    return sorted((side.age(run.id), run.attempt, run.max_attempts, run.losses) for run in lost)


async def _hold(db: Any, on: bool) -> None:
    insert = "INSERT INTO pauses (kind, name) VALUES ('job', 'quick') ON CONFLICT DO NOTHING"
    await db.execute(text(insert if on else "DELETE FROM pauses WHERE kind = 'job' AND name = 'quick'"))


def _resume(db: Any, row: Any, missed: Any) -> None:
    if row.paused:
        pausing.resume(db, row, missed, JOBS)


@simulated.answers("INSERT INTO pauses (kind, name) VALUES ('job', 'quick') ON CONFLICT DO NOTHING")
def _hold_job(db: Any, tx: Any) -> list[Any]:
    tx.put("pauses", ("job", "quick"), "held")
    return []


@simulated.answers("DELETE FROM pauses WHERE kind = 'job' AND name = 'quick'")
def _release_job(db: Any, tx: Any) -> list[Any]:
    tx.put("pauses", ("job", "quick"), None)
    return []


async def _outcome(step: Step, side: Side, now: datetime) -> Any:
    """Its answer, or what kind of error it is."""
    try:
        return await step.on(side, now)
    except Exception as error:
        if getattr(error, "orig", None) is None:
            raise
        return "refused"


@pytest.mark.parametrize("seed", range(4))
async def test_the_simulated_statements_do_what_postgresql_does(real: Real, seed: int) -> None:
    dice, model, now = random.Random(seed), Model(), EPOCH
    for side in (real, model):
        with side.engine.begin() as db:
            for name, job in (("tick", "quick"), ("series", "short"), ("often", "long")):
                spec = ScheduleSpec(id=name, job=job, trigger=every("2s"), catch_up=name == "series")
                definitions.insert(db, spec.bound_to(JOBS), Origin(), now)
    for number in range(150):
        step = Step(dice, len(real.ids))
        now += timedelta(seconds=step.now_s)
        answers = []
        for side in (real, model):
            await side.tick(now)
            answers.append(await _outcome(step, side, now))
        assert answers[1] == answers[0], f"{number}: {step}"
        assert await model.rows() == await real.rows(), f"{number}: {step}"
        assert await model.schedules() == await real.schedules(), f"{number}: {step}"

