"""Many refunds at the same step, and what goes to the database meanwhile."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import TextClause, event

from shared.core.outcomes import Outcome
from shared.db.single import Rows, Single
from tests.fakes.gateway import FakeGateway
from tests.integration.refunds.desk import Desk
from worker_svc.context import JobContext


async def add(desk: Desk, stripe: FakeGateway, count: int) -> list[UUID]:
    """Refunds of as many payments, each with its run."""
    for number in range(count):
        stripe.add_intent(f"pi_t{number}")
    ids = [await desk.add_refund(f"pi_t{number}", 100 + number) for number in range(count)]
    await desk.sweep()
    return ids


async def claim(desk: Desk, ids: list[UUID]) -> list[JobContext]:
    return [await desk.claim((await desk.refund(each)).run_id) for each in ids]


async def handle(desk: Desk, contexts: list[JobContext]) -> list[Outcome | Exception]:
    return await asyncio.gather(*(desk.handle(each) for each in contexts))


async def statuses(desk: Desk, ids: list[UUID]) -> list[str]:
    return [(await desk.refund(each)).status for each in ids]


@contextmanager
def counted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The statements that go to the database meanwhile: through SQLAlchemy, and past it."""
    seen: list[str] = []
    engine = desk.database.engine.sync_engine
    execute = Single.execute

    def note(_: Any, __: Any, sql: str, *___: Any) -> None:
        seen.append(sql)

    async def note_single(single: Single, sql: TextClause, params: Mapping[str, Any] | None = None) -> Rows:
        seen.append(sql.text)
        return await execute(single, sql, params)

    event.listen(engine, "before_cursor_execute", note)
    with monkeypatch.context() as patched:
        patched.setattr(Single, "execute", note_single)
        yield seen
    event.remove(engine, "before_cursor_execute", note)
