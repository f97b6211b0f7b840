"""The ledger as its tests see it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.core.outcomes import Decision
from shared.core.states import RunState
from shared.db import ledger
from shared.db.engine import Database
from shared.db.ledger import Finished
from shared.ports import Message

SUCCEEDED = Decision(RunState.SUCCEEDED)
STATES = [state.value for state in RunState]
DUE = datetime(2030, 1, 31, tzinfo=UTC)


class Book:
    """The ledger as a test sees it: rows in any state, and each statement in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def add(self, state: str = "pending", **columns: Any) -> UUID:
        values = {"job": "ping", "queue": "maintenance", "state": state, **columns}
        if state == "running":
            values = {"lease_until": datetime.now(UTC) + timedelta(minutes=1), "worker": "w", **values}
        names = ", ".join(values)
        [row] = await self.database.rows(
            f"INSERT INTO job_runs ({names}) VALUES ({', '.join(f':{name}' for name in values)}) RETURNING id",
            **values,
        )
        run_id: UUID = row[0]
        return run_id

    async def row(self, run_id: UUID) -> Any:
        [row] = await self.database.rows("SELECT *, now() AS now FROM job_runs WHERE id = :id", id=run_id)
        return row

    async def state(self, run_id: UUID) -> tuple[str, int]:
        row = await self.row(run_id)
        return row.state, row.attempt

    async def claim(self, *runs: tuple[UUID, int]) -> list[ledger.ClaimedRun]:
        async with self.database.begin() as connection:
            messages = [Message(*run) for run in runs]
            return await ledger.claim(connection, messages, worker="me", lease_s=15)

    async def finish(self, *runs: tuple[UUID, int, Decision]) -> set[UUID]:
        async with self.database.begin() as connection:
            return await ledger.finish(connection, [Finished(*run) for run in runs])

    async def heartbeat(self, *runs: tuple[UUID, int]) -> dict[UUID, ledger.Beat]:
        async with self.database.begin() as connection:
            return {beat.run_id: beat for beat in await ledger.heartbeat(connection, runs, lease_s=15)}

    async def mark(self, *runs: tuple[UUID, int]) -> int:
        async with self.database.begin() as connection:
            return await ledger.mark_queued(connection, [Message(*run) for run in runs])

    async def pick(self, *queues: str, per_queue: int = 100) -> list[UUID]:
        async with self.database.begin() as connection:
            picked = await ledger.pick_due(connection, queues or ["maintenance"], per_queue=per_queue)
        return [each.message.run_id for each in picked]


async def somebody_waits(book: Book) -> bool:
    rows = await book.database.rows(
        "SELECT pid FROM pg_locks WHERE NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())"
    )
    return bool(rows)


async def lock(connection: AsyncConnection, run_id: UUID) -> None:
    await connection.execute(text("SELECT FROM job_runs WHERE id = :id FOR UPDATE"), {"id": run_id})
