"""Who is at the system from outside: a caller that enqueues, and an operator."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from redis.exceptions import RedisError
from sqlalchemy.exc import IntegrityError

from scheduler_svc import definitions, pausing
from scheduler_svc.definitions import Origin
from scheduler_svc.editing import edit_prepared
from shared.core.errors import BadInput
from shared.core.jobspec import NoArgs
from shared.core.schedule import ScheduleSpec
from shared.db import ledger
from shared.enqueue import Enqueuer
from shared.ports import Message
from tests.model.cluster import Cluster
from tests.model.connections import AsyncDatabase, Engine
from tests.model.database import Database, Row, Tx
from tests.model.jobs import JOBS
from tests.model.processes import Process
from tests.model.rules import Violation
from tests.model.stores import SCHEDULES
from tests.model.world import drive

AWAY = (OSError, RedisError)


class Insistent(Enqueuer):
    """Without rule 35: a push that fails is the caller's error."""

    async def push_now(self, queue: str, messages: Sequence[Message]) -> bool:
        if messages:
            await self._transport.push(queue, messages)
        return True


class Caller(Process):
    """An API process, say. Each request is a task."""

    def __init__(self, world: Cluster, name: str) -> None:
        super().__init__(world, name)
        self.cluster = world

    def enqueue(self, job: str, key: str | None = None) -> None:
        if self.alive:
            self.spawn(f"enqueue {job} {key or ''}".strip(), partial(self._enqueue, job, key))

    def _enqueue(self, job: str, key: str | None) -> None:
        database: Any = AsyncDatabase(Engine(self.cluster.postgres, self.name, 3.0))
        enqueuer = (Enqueuer if self.world.rules.on(35) else Insistent)(database, self.cluster.redis)
        push, committed = enqueuer.push_now, []

        async def push_now(queue: str, messages: Sequence[Message]) -> bool:
            committed.append(queue)
            return await push(queue, messages)

        enqueuer.push_now = push_now
        try:
            drive(enqueuer.enqueue(JOBS[job], NoArgs(), key=key))
        except AWAY:
            if committed:
                raise Violation("L", "the caller was told that a committed run failed") from None


class Operator(Process):
    """A person at the command line; each of their acts is a task. One that meets an outage is left undone."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster, "operator")
        self.cluster = cluster
        self.engine: Any = Engine(cluster.postgres, "operator", 3.0)

    def do(self, what: str, act: Callable[[], Any]) -> None:
        def body() -> None:
            try:
                act()
            except (*AWAY, BadInput, IntegrityError, TimeoutError) as error:
                self.world.fault(f"operator: {what} left undone: {type(error).__name__}")

        self.spawn(what, body)

    def add(self, spec: ScheduleSpec) -> None:
        with self.engine.begin() as db:
            definitions.insert(db, spec.bound_to(JOBS), Origin(), self.cluster.postgres.now())

    def garble(self, schedule_id: str) -> None:
        """Somebody makes a row that cannot be read any more."""
        with self.engine.begin() as db:
            self.cluster.postgres.call(db.tx, garble_schedule, id=schedule_id)

    def remove(self, schedule_id: str) -> None:
        with self.engine.begin() as db:
            if definitions.lock_rows(db, [schedule_id]):
                db.execute(_DELETE, {"id": schedule_id})
                db.tx.put("removals", schedule_id, schedule_id)

    def pause(self, schedule_id: str) -> None:
        with self.engine.begin() as db:
            if definitions.lock_rows(db, [schedule_id]):
                pausing.pause(db, schedule_id, actor="operator", reason="")

    def resume(self, schedule_id: str) -> None:
        def edit(db: Any, row: Any, missed: Any) -> None:
            if row.paused:
                pausing.resume(db, row, missed, JOBS)

        edit_prepared(self.engine, JOBS, schedule_id, edit)

    def edit(self, spec: ScheduleSpec) -> None:
        """`cuebx schedules add --replace`."""

        def edit(db: Any, row: Any, missed: Any) -> None:
            pausing.settle(db, row, missed, JOBS)
            definitions.replace(db, row, spec.bound_to(JOBS), Origin(edited_by="operator"))

        edit_prepared(self.engine, JOBS, spec.id, edit)

    def hold(self, kind: str, name: str, *, on: bool) -> None:
        """A queue, or a job."""
        with self.engine.begin() as db:
            self.cluster.postgres.call(db.tx, hold, kind=kind, name=name, on=on)

    def run(self, verb: Callable[..., Any], *args: Any, **more: Any) -> Any:
        """One of the ledger's verbs, as the command line calls it."""

        async def call() -> Any:
            async with AsyncDatabase(self.engine).begin() as connection:
                return await verb(connection, *args, **more)

        return drive(call())

    def cancel(self, run_id: UUID) -> None:
        self.run(ledger.cancel, run_id, reason="by a person")

    def replay(self, run_id: UUID) -> None:
        self.run(ledger.replay, run_id, more_attempts=3)


_DELETE = definitions.text("DELETE FROM schedules WHERE id = :id")


def garble_schedule(db: Database, tx: Tx, *, id: str) -> list[Row]:
    if tx.get(SCHEDULES, id) is not None:
        tx.lock(SCHEDULES, id)
        tx.put(SCHEDULES, id, replace(tx.get(SCHEDULES, id), job_state={}))
    return []


def hold(db: Database, tx: Tx, *, kind: str, name: str, on: bool) -> list[Row]:
    tx.lock("pauses", (kind, name))
    tx.put("pauses", (kind, name), "by a person" if on else None)
    return []
