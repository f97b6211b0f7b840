"""What people do meanwhile: they edit schedules, pause queues, cancel and retry runs, decide about money and mail."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from scheduler_svc.schedules import Schedules
from shared import refund_review, reminder_review
from shared.core.refund_review import Decision
from shared.core.schedule import ScheduleSpec
from shared.db import audit, ledger, pauses
from shared.db.engine import Database
from shared.enqueue import Enqueuer
from shared.ports import RefundGateway
from shared.reminder_review import Action

ACTOR = "storm"
_LIVE_PING = (
    "SELECT id FROM job_runs WHERE state IN ('pending', 'queued', 'running') AND job = 'ping'"
    " ORDER BY id DESC OFFSET :nth LIMIT 1"
)
_DEAD_RUN = "SELECT id FROM job_runs WHERE state = 'dead' ORDER BY id DESC OFFSET :nth LIMIT 1"
_OPEN_REFUND = (
    "SELECT id FROM refunds WHERE status IN ('needs_review', 'failed')"
    " ORDER BY updated_at DESC, id OFFSET :nth LIMIT 1"
)
_OPEN_REMINDER = (
    "SELECT id FROM payment_reminders WHERE status IN ('needs_review', 'failed')"
    " ORDER BY updated_at DESC, id OFFSET :nth LIMIT 1"
)


class Operators:
    """For one event loop. `acts` by the kinds of a plan's steps; what is refused raises BadInput."""

    def __init__(
        self, database: Database, enqueuer: Enqueuer, schedules: Schedules, gateway: RefundGateway
    ) -> None:
        self._database = database
        self._enqueuer = enqueuer
        self._schedules = schedules
        self._gateway = gateway
        self.acts: Mapping[str, Callable[..., Awaitable[object]]] = {
            "add schedule": self._add_schedule,
            "edit schedule": self._edit_schedule,
            "pause schedule": self._on_schedules(lambda id: schedules.pause(id, actor=ACTOR)),
            "resume schedule": self._on_schedules(lambda id: schedules.resume(id, actor=ACTOR)),
            "remove schedule": self._on_schedules(lambda id: schedules.remove(id, actor=ACTOR)),
            "pause queue": self._pause_queue,
            "resume queue": self._resume_queue,
            "cancel a run": self._cancel_a_run,
            "retry a dead run": self._retry_a_dead_run,
            "decide about a refund": self._decide_about_a_refund,
            "decide about a reminder": self._decide_about_a_reminder,
        }

    async def _add_schedule(self, spec: dict[str, Any]) -> object:
        return (await asyncio.to_thread(self._schedules.add, _spec(spec), actor=ACTOR)).id

    async def _edit_schedule(self, spec: dict[str, Any]) -> object:
        return (await asyncio.to_thread(self._schedules.add, _spec(spec), actor=ACTOR, replace=True)).id

    def _on_schedules(self, act: Callable[[str], object]) -> Callable[..., Awaitable[object]]:
        async def do(id: str) -> object:
            await asyncio.to_thread(act, id)
            return id

        return do

    async def _pause_queue(self, queue: str) -> object:
        async with self._database.session() as session:
            return await pauses.pause(session, "queue", queue, actor=ACTOR)

    async def _resume_queue(self, queue: str) -> object:
        async with self._database.session() as session:
            return await pauses.resume(session, "queue", queue, actor=ACTOR)

    async def _cancel_a_run(self, nth: int) -> object:
        run_id = await self._nth(_LIVE_PING, nth)
        if run_id is None:
            return "nothing to cancel"
        async with self._database.session() as session:
            state = await ledger.cancel(session, run_id, reason="by the storm")
            if state is not None:
                await audit.record(session, actor=ACTOR, action="cancelled", kind="run", subject=run_id)
        return f"{run_id} {state}"

    async def _retry_a_dead_run(self, nth: int) -> object:
        run_id = await self._nth(_DEAD_RUN, nth)
        if run_id is None:
            return "nothing is dead"
        async with self._database.session() as session:
            message = await ledger.replay(session, run_id, more_attempts=2)
            if message is not None:
                await audit.record(session, actor=ACTOR, action="retried", kind="run", subject=run_id)
        return run_id

    async def _decide_about_a_refund(self, nth: int, decision: str) -> object:
        refund_id = await self._nth(_OPEN_REFUND, nth)
        if refund_id is None:
            return "nothing to decide"
        view = await refund_review.resolve(
            self._database, self._enqueuer, self._gateway, refund_id, Decision(decision), actor=ACTOR
        )
        return f"{refund_id} {decision}: {view.status}"

    async def _decide_about_a_reminder(self, nth: int, action: str) -> object:
        reminder_id = await self._nth(_OPEN_REMINDER, nth)
        if reminder_id is None:
            return "nothing to decide"
        async with self._database.session() as session:
            status = await reminder_review.resolve(session, reminder_id, Action(action), actor=ACTOR)
        return f"{reminder_id} {action}: {status}"

    async def _nth(self, sql: str, nth: int) -> UUID | None:
        async with self._database.session() as session:
            found: UUID | None = await session.scalar(text(sql), {"nth": nth})
        return found


def _spec(raw: Mapping[str, Any]) -> ScheduleSpec:
    trigger = dict(raw["trigger"])
    if trigger["type"] == "date":
        trigger["at"] = datetime.now(UTC) + timedelta(seconds=trigger.pop("in_s"))
    return ScheduleSpec.model_validate({**raw, "trigger": trigger})
